//! A CI identity of OpenShift's own login: a user and a password, for which its OAuth server gives a token. The token is used for the
//! lease and nothing else, and revoked again.
//!
//! Also a token that such a server has given to somebody, which `--revoke-identity` revokes with the pass.

use std::sync::Arc;

use super::{
    Identity,
    bearer::Bearer,
    issuer::{Asking, Issued, Issuer, Issuing, Returning, When},
    rank::{Purpose, Rank},
    source::{Kind, Source},
};
use crate::{
    context::Context,
    failure::{Code, Failure},
    files,
    options::{self as o, Options, Setting},
    origin::{Origin, Word},
    secret::Secret,
    shown,
};

mod login;
mod token;

use login::Login;

/// OpenShift's login as the CI identity.
pub(super) struct Openshift;

impl Source for Openshift {
    fn name(&self) -> Option<&'static str> {
        None
    }

    fn kind(&self) -> Kind {
        Kind::Openshift
    }

    fn takes(&self, kind: Kind) -> bool {
        match kind {
            // A token of the OAuth server may be given instead of a password.
            Kind::Token | Kind::Openshift => true,
            Kind::Kubeconfig | Kind::InCluster | Kind::Oidc | Kind::Exchange => false,
        }
    }

    fn settings(&self) -> &'static [&'static Setting] {
        &[&o::IDENTITY_USERNAME]
    }

    fn asked(&self, context: &Context) -> Result<Option<Identity>, Failure> {
        let options = &context.options;
        if options.get(&o::IDENTITY_USERNAME).is_some() {
            return by_password(context).map(Some);
        }
        if Kind::chosen(options)? != Some(Kind::Openshift) {
            return Ok(None);
        }
        let given = Bearer.asked(context)?.ok_or_else(|| {
            Failure::new(Code::UsageMissing, format!("{} is missing", options.missing(&o::IDENTITY_USERNAME)))
                .hint("name a user and its password, or give a token that `oc whoami --show-token` prints by `JOBPASS_IDENTITY_TOKEN`")
        })?;
        if !given.user.token.clone().is_some_and(|token| token::is_one(&token.into())) {
            return Err(no_oauth_token(&given.why));
        }
        Ok(Some(given))
    }

    fn again(&self, _: &Origin, context: &Context, _: Word) -> Result<Option<Identity>, Failure> {
        self.asked(context)
    }

    fn rank(&self, _: &Identity, context: &Context) -> Rank {
        let options = &context.options;
        let given = options.get(&o::IDENTITY_PASSWORD_FILE).map(|given| &given.source);
        given.or_else(|| options.secret(&o::IDENTITY_PASSWORD).map(|(_, source)| source)).map_or(Rank::Flag, Rank::of)
    }
}

/// The identity of a user who logs in by a password.
fn by_password(context: &Context) -> Result<Identity, Failure> {
    let options = &context.options;
    let user = user(options)?;
    options.exclusive(&o::IDENTITY_PASSWORD_FILE, &o::IDENTITY_PASSWORD)?;
    let (password, source) = match (options.get(&o::IDENTITY_PASSWORD_FILE), options.secret(&o::IDENTITY_PASSWORD)) {
        (Some(given), _) => {
            let path = context.env.absolute(given.text.as_ref());
            let text = files::read_text(&path)
                .map_err(|error| Failure::new(Code::IdentityLogin, format!("cannot use the password of {}", given.source)).chain(&error))?;
            (Secret::new(text), given.source.to_string())
        }
        (None, Some((password, source))) => (password.clone(), source.to_string()),
        (None, None) => {
            return Err(Failure::new(Code::UsageMissing, format!("{} is missing", options.missing(&o::IDENTITY_PASSWORD))).hint(format!(
                "give the password of {}, by a variable or in a file, never by a flag",
                options.named(&o::IDENTITY_USERNAME)
            )));
        }
    };
    // A file ends in a line break; blanks may be a part of the password.
    let password = Secret::of_parts(&[password.expose().trim_end_matches(['\r', '\n'])]);
    if password.is_blank() || password.expose().contains(['\r', '\n', '\0']) {
        return Err(Failure::new(Code::IdentityLogin, format!("the password of {source} is no password"))
            .cause("it is empty, or has several lines")
            .hint("check the secret's name; secrets are not given to pull requests from forks or by Dependabot"));
    }
    if options.get(&o::SERVER).is_none() {
        return Err(Failure::new(Code::UsageMissing, format!("{} is missing", options.missing(&o::SERVER)))
            .hint("a login needs the API server that it is for"));
    }
    let identity = Identity::new(Origin::Openshift, format!("the OpenShift user `{user}`, by password"));
    Ok(Identity { issuer: Some(Arc::new(Login::of(user, password))), ..identity })
}

/// The name of the user who is to log in.
fn user(options: &Options) -> Result<String, Failure> {
    let Some(given) = options.get(&o::IDENTITY_USERNAME) else { return Ok(String::new()) };
    let user = given.text.trim();
    if let Some(kind) = shown::Kind::of(user) {
        return Err(Failure::new(Code::UsageSecret, format!("{} names no user: it is {kind}", given.source)));
    }
    if user == "kube:admin" || user == "kubeadmin" {
        return Err(Failure::new(Code::UsageValue, format!("{} names the cluster's first admin", given.source))
            .cause("jobpass does not log in as `kubeadmin`: whoever gets hold of its password has the whole cluster")
            .hint("make a service account, give it the three rights of `deploy/`, and let the job ask as that one"));
    }
    if user.is_empty() || user.contains(':') || user.chars().any(char::is_control) {
        return Err(Failure::new(Code::UsageValue, format!("{} names no user who can log in by a password", given.source))
            .cause("such a name is not empty and has no `:`"));
    }
    Ok(user.to_owned())
}

/// What is said of a login when a pass is begun, if the identity is one.
#[must_use]
pub fn warning(identity: &Identity) -> Option<String> {
    (identity.origin == Origin::Openshift).then(|| {
        format!(
            "the CI identity is {}: that is a person's credential, and outlives every job; a service account with the three rights of \
             `deploy/` needs no password",
            identity.why
        )
    })
}

/// Has a token that was given revoked with the pass, if that is wished.
///
/// # Errors
/// When it is none that can be revoked so; but where a pass is to end, it ends without that.
pub(super) fn with_revocation(mut identity: Identity, options: &Options, purpose: Purpose<'_>) -> Result<Identity, Failure> {
    let is_wished = match (options.switch(&o::REVOKE_IDENTITY), purpose) {
        (Err(_), Purpose::End(_)) => false,
        (is_wished, _) => is_wished?,
    };
    if !is_wished || identity.issuer.is_some() {
        return Ok(identity);
    }
    match (identity.user.token.clone().map(Secret::from).filter(token::is_one), purpose) {
        (Some(token), _) => {
            identity.issuer = Some(Arc::new(Given { token }));
            Ok(identity)
        }
        (None, Purpose::End(_)) => Ok(identity),
        (None, Purpose::Begin) => {
            let hint = format!("leave {} out: it is for such tokens only", options.named(&o::REVOKE_IDENTITY));
            Err(no_oauth_token(&identity.why).hint(hint))
        }
    }
}

fn no_oauth_token(why: &str) -> Failure {
    Failure::new(Code::UsageValue, format!("{why} is no token of OpenShift's OAuth server"))
        .cause("such a token begins with `sha256~` and has 43 characters more")
}

/// A token that was given, and is revoked when the pass is over.
struct Given {
    token: Secret,
}

impl Issuer for Given {
    fn issue<'a>(&'a self, _: Asking<'a>) -> Issuing<'a> {
        Box::pin(async { Ok(Issued { token: self.token.clone(), lifetime: None }) })
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![self.token.clone()]
    }

    fn give_back<'a>(&'a self, asking: Asking<'a>, when: When) -> Returning<'a> {
        Box::pin(async move {
            match when {
                When::Unneeded => Vec::new(),
                When::Over => vec![token::revoke(&self.token, "that was given as the CI identity", None, &asking).await],
            }
        })
    }
}
