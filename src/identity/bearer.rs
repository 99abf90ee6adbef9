//! A CI identity that is a token: from a file, a variable or an input.

use std::path::Path;

use anyhow::Context as _;
use kube::config::AuthInfo;

use super::{
    Identity, form, migrating, missing, mounted, oidc,
    rank::Rank,
    source::{AGAIN, Kind as IdentityKind, Ranked, Source, counts},
    token_of,
};
use crate::{
    context::Context,
    env::Env,
    failure::{Code, Failure},
    files,
    options::{self as o, Setting},
    origin::{Origin, Word},
    secret::Secret,
    shown::Kind,
};

/// A token as the CI identity.
pub(super) struct Bearer;

impl Source for Bearer {
    fn name(&self) -> Option<&'static str> {
        Some("identity token")
    }

    fn kind(&self) -> IdentityKind {
        IdentityKind::Token
    }

    fn settings(&self) -> &'static [&'static Setting] {
        &[&o::IDENTITY_TOKEN_FILE, &o::IDENTITY_TOKEN]
    }

    fn asked(&self, context: &Context) -> Result<Option<Identity>, Failure> {
        let Context { options, env, .. } = context;
        if let Some(given) = options.get(&o::IDENTITY_TOKEN_FILE) {
            if let Some(token) = options.piped(&o::IDENTITY_TOKEN_FILE) {
                return from_token(&token, &given.source.to_string(), context).map(Some).map_err(|failure| with_server(failure, env));
            }
            let path = env.absolute(given.text.as_ref());
            return mounted::directed(from_file(&path, &given.source.to_string(), context)?, env).map(Some);
        }
        let Some((token, source)) = options.secret(&o::IDENTITY_TOKEN) else { return Ok(None) };
        let found = from_token(token, &source.to_string(), context).map_err(|failure| with_server(failure, env))?;
        mounted::directed(found, env).map(Some)
    }

    fn again(&self, origin: &Origin, context: &Context, word: Word) -> Result<Option<Identity>, Failure> {
        let Context { options, env, .. } = context;
        let Origin::Bearer { token_file: Some(path) } = origin else { return Ok(None) };
        let file = env.absolute(path.as_ref());
        if !counts(path, context, word) || options.get(&o::SERVER).is_none() || !file.exists() {
            return Ok(None);
        }
        mounted::directed(from_file(&file, AGAIN, context)?, env).map(Some)
    }

    fn rank(&self, identity: &Identity, context: &Context) -> Rank {
        let Context { options, env, .. } = context;
        let given = options.get(&o::IDENTITY_TOKEN_FILE).map(|given| &given.source);
        let given = given.or_else(|| options.secret(&o::IDENTITY_TOKEN).map(|(_, source)| source));
        match (given, &identity.origin) {
            // Who reads it here could use it where it is meant for, so a variable may send it there only.
            (Some(_), _) if mounted::for_another(identity).is_some_and(|audiences| !oidc::are_server(&audiences, options)) => Rank::Flag,
            (Some(source), _) => Rank::of(source),
            // The lease remembers the file but not which setting named it. A variable that still names it is taken for that
            // setting.
            (None, Origin::Bearer { token_file: Some(path) }) if env.names_path(path.as_ref()) => Rank::Variable,
            (None, _) => Rank::Flag,
        }
    }

    fn ranked(&self, identity: &Identity, _: &Context) -> Option<Ranked> {
        mounted::for_another(identity).map(|audiences| oidc::elsewhere(&audiences))
    }
}

/// Names the variable that may hold the server, where a token has none.
fn with_server(failure: Failure, env: &Env) -> Failure {
    match migrating::server(env).filter(|_| failure.code() == Code::UsageMissing) {
        Some(name) => {
            failure.hint(format!("set `{}=${name}`: an identity token needs the API server that it is for", o::SERVER.variable()))
        }
        None => failure,
    }
}

/// The identity with a token that a setting holds.
fn from_token(token: &Secret, source: &str, context: &Context) -> Result<Identity, Failure> {
    identity(token, source, Origin::Bearer { token_file: None }, context)
}

/// The identity with a token from a file.
fn from_file(path: &Path, source: &str, context: &Context) -> Result<Identity, Failure> {
    let text = files::read_text(path).with_context(|| format!("cannot read `{}`", path.display()));
    let text = text.map_err(|error| {
        let failure = Failure::new(Code::IdentityToken, format!("cannot use the identity token of {source}")).chain(&error);
        match Kind::of(&path.to_string_lossy()) {
            Some(_) => failure
                .hint(format!("{source} takes a path; the token itself goes to `JOBPASS_IDENTITY_TOKEN` or the input `identity-token`")),
            None => failure,
        }
    })?;
    let origin = Origin::Bearer { token_file: Some(path.to_string_lossy().into_owned()) };
    identity(&Secret::new(text), source, origin, context)
}

fn identity(token: &Secret, source: &str, origin: Origin, context: &Context) -> Result<Identity, Failure> {
    let options = &context.options;
    if token.is_blank() {
        return Err(Failure::new(Code::IdentityToken, format!("the identity token of {source} is empty"))
            .hint(missing::where_a_token_comes_from(context.platform, &origin)));
    }
    if let Some((cause, hint)) = form::misshapen(token) {
        return Err(Failure::new(Code::IdentityToken, format!("the identity token of {source} is in a form that no API server takes"))
            .cause(cause)
            .hint(hint));
    }
    if !token.trimmed().expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(Code::IdentityToken, format!("the identity token of {source} is no token"))
            .cause("a token is one word of printable ASCII")
            .hint("hand over the token alone, without quotes, `Bearer` or line breaks"));
    }
    if options.get(&o::SERVER).is_none() {
        return Err(Failure::new(Code::UsageMissing, format!("{} is missing", options.missing(&o::SERVER)))
            .hint("an identity token needs the API server that it is for"));
    }
    let token_file = match &origin {
        Origin::Bearer { token_file } => token_file.clone(),
        Origin::Kubeconfig { .. }
        | Origin::KubeconfigText
        | Origin::InCluster
        | Origin::Oidc { .. }
        | Origin::Openshift
        | Origin::Exchange => None,
    };
    let identity = Identity::new(origin, format!("the identity token of {source}"));
    Ok(Identity { user: AuthInfo { token: Some(token_of(token)), token_file, ..AuthInfo::default() }, ..identity })
}
