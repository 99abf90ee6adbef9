//! `jobpass setup identity`: a kubeconfig of a CI identity that ends by itself, and sooner when its Secret is deleted.

use std::{path::Path, time::Duration};

use clap::Args;
use jiff::Timestamp;
use kube::config::AuthInfo;
use serde_json::json;

use super::{
    objects::labels,
    wish::{self, IDENTITIES, Identity, of_flag},
};
use crate::{
    env::Env,
    failure::{Code, Failure},
    files,
    identity::one,
    name::random_hex,
    operate::{Outcome, reach::Reach, server::Server},
    out::Out,
    secret::Secret,
    spec::is_subdomain,
};

/// The shortest and longest time that such a token is asked for.
const BOUNDS: (Duration, Duration) = (Duration::from_mins(10), Duration::from_hours(24 * 366));

/// Its flags.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The CI identity
    #[arg(value_name = "jobpass/NAME", default_value = "jobpass/ci")]
    account: String,
    /// How long its token lives, 10m to 366d
    #[arg(long, value_name = "LENGTH", default_value = "90d")]
    ttl: String,
    /// Who is to have it, such as `acme-app`: the end of the name of the Secret whose deletion ends it [default: random]
    #[arg(long = "for", value_name = "NAME")]
    whose: Option<String>,
    /// Write it into this file, mode 0600, instead of stdout
    #[arg(long, value_name = "PATH")]
    out: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

/// Makes it.
///
/// # Errors
/// When the call is wrong, or the cluster gives no token; then nothing is left.
pub async fn make(arguments: &Arguments, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    let Identity::Account(account) = wish::identity(&arguments.account).map_err(|why| of_flag("jobpass/NAME", why))? else {
        return Err(Failure::new(Code::UsageValue, "this identity has no token of the cluster's"));
    };
    let ttl = wish::duration(&arguments.ttl).filter(|ttl| (BOUNDS.0..=BOUNDS.1).contains(ttl));
    let ttl = ttl.ok_or_else(|| {
        Failure::new(Code::UsageValue, "`--ttl` is no length of time from 10m to 366d").hint("write it as `90d` or `12h`")
    })?;
    let name = match &arguments.whose {
        Some(whose) => format!("{account}-{whose}"),
        None => format!("{account}-{}", &random_hex()[..8]),
    };
    if !is_subdomain(&name) {
        return Err(
            Failure::new(Code::UsageValue, "`--for` cannot be a part of a name").hint("write lower-case letters, digits and hyphens")
        );
    }
    let path = arguments.out.as_deref().map(|path| env.absolute(Path::new(path)));
    match &path {
        // A kubeconfig of ours from before: nothing else that lies there is replaced.
        Some(path) => files::check_user_file(path, is_former)?,
        None if console::user_attended() => {
            return Err(Failure::new(Code::UsageMissing, "what is printed is a secret, and stdout is a terminal")
                .hint("write it into a file by `--out`, or pipe it to where it is stored"));
        }
        None => {}
    }
    let mut server = arguments.reach.open_one(env, out).await?;
    let (token, until) = token(&mut server, &account, &name, ttl).await?;
    out.hide(&token);
    let text = kubeconfig(&server, &account, &token);
    let written = match &path {
        Some(path) => files::write_user_file(path, text.expose().as_bytes(), 0o600, is_former),
        None => out.data(text.expose().trim_end()),
    };
    if let Err(failure) = written {
        end(&mut server, &name).await?;
        return Err(failure);
    }
    let asked = server.now() + jiff::SignedDuration::try_from(ttl).unwrap_or_default();
    if until < asked - jiff::SignedDuration::from_mins(1) {
        out.warn(format!("the server gives it until {until}, and not {}", arguments.ttl));
    }
    if server.cluster.identity().cluster.insecure_skip_tls_verify == Some(true) {
        out.warn(
            "your kubeconfig does not check the server's certificate, and so neither does this one: whoever stands between gets the token",
        );
    }
    out.say(format!(
        "{IDENTITIES}/{account} on {} until {until}; to end it before: kubectl delete secret -n {IDENTITIES} {name}",
        server.name
    ));
    let file = arguments.out.as_deref().unwrap_or("ci.kubeconfig");
    out.say(format!("next:  gh secret set JOBPASS_IDENTITY_KUBECONFIG <{file}"));
    Ok(Outcome::Done)
}

/// Whether a file is a kubeconfig that this verb has made.
fn is_former(text: &str) -> bool {
    text.contains("\"jobpass-identity\"")
}

/// A token that is bound to a Secret of its own, and until when it lives.
async fn token(server: &mut Server, account: &str, name: &str, ttl: Duration) -> Result<(Secret, Timestamp), Failure> {
    let metadata = json!({"name": name, "labels": labels(), "annotations": {"jobpass.dev/identity-of": format!("{IDENTITIES}/{account}")}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "jobpass.dev/identity"});
    let what = format!("cannot make the Secret `{IDENTITIES}/{name}`");
    let path = format!("/api/v1/namespaces/{IDENTITIES}/secrets");
    let made = server.cluster.post(&path, &what, &format!("`create` on `secrets` in namespace `{IDENTITIES}`"), &secret).await;
    let made = made.map_err(|failure| match failure.code() {
        Code::ApiNameTaken => {
            failure.hint("its token may be in use: name another one by `--for`, store the new one, then delete the old Secret")
        }
        _ => failure,
    })?;
    let uid = made["metadata"]["uid"].clone();
    let bound = json!({"apiVersion": "v1", "kind": "Secret", "name": name, "uid": uid});
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": ttl.as_secs(), "boundObjectRef": bound},
    });
    let what = format!("cannot request a token of `{IDENTITIES}/{account}`");
    let path = format!("/api/v1/namespaces/{IDENTITIES}/serviceaccounts/{account}/token");
    let permission = format!("`create` on `serviceaccounts/token` (resourceName `{account}`) in namespace `{IDENTITIES}`");
    let granted = match server.cluster.granted(&path, &what, &permission, &request).await {
        Ok(granted) => granted,
        Err(failure) => {
            end(server, name).await?;
            return Err(failure);
        }
    };
    Ok(granted)
}

/// Removes what was made for nothing.
async fn end(server: &mut Server, name: &str) -> Result<(), Failure> {
    let what = format!("cannot delete the Secret `{IDENTITIES}/{name}`");
    let path = format!("/api/v1/namespaces/{IDENTITIES}/secrets/{name}");
    server.cluster.remove(&path, &what, &format!("`delete` on `secrets` in namespace `{IDENTITIES}`")).await
}

/// A kubeconfig for the server that we have reached, with this token and nothing of the operator's.
fn kubeconfig(server: &Server, account: &str, token: &Secret) -> Secret {
    let mut cluster = server.cluster.identity().cluster.clone();
    cluster.extensions = None;
    let user = AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() };
    let mut config = one(cluster, user);
    for context in &mut config.contexts {
        account.clone_into(&mut context.name);
    }
    for user in &mut config.auth_infos {
        "jobpass-identity".clone_into(&mut user.name);
    }
    for context in config.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
        context.user = Some("jobpass-identity".to_owned());
    }
    config.current_context = Some(account.to_owned());
    config.api_version = Some("v1".into());
    config.kind = Some("Config".into());
    Secret::new(serde_json::to_string_pretty(&config).unwrap_or_default())
}
