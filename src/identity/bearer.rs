//! A CI identity that is a token: from a file, a variable or an input.

use std::path::Path;

use anyhow::Context;
use kube::config::{AuthInfo, Cluster};

use super::{Identity, Origin, token_of};
use crate::{
    failure::Failure,
    net::Way,
    options::{self as o, Options},
    place,
    secret::Secret,
    shown::Kind,
};

/// A token that a setting holds.
pub(super) fn from_token(token: &Secret, source: &str, options: &Options) -> Result<Identity, Failure> {
    identity(token, source, Origin::Bearer { token_file: None }, options)
}

/// A token that stands in a file.
pub(super) fn from_file(path: &Path, source: &str, options: &Options) -> Result<Identity, Failure> {
    let text = place::read_named(path).with_context(|| format!("cannot read `{}`", path.display()));
    let text = text.map_err(|error| {
        let failure = Failure::usage(format!("cannot use the identity token of {source}")).chain(&error);
        match Kind::of(&path.to_string_lossy()) {
            Some(_) => failure
                .hint(format!("{source} takes a path; the token itself goes to `JOBPASS_IDENTITY_TOKEN` or the input `identity-token`")),
            None => failure,
        }
    })?;
    let origin = Origin::Bearer { token_file: Some(path.to_string_lossy().into_owned()) };
    identity(&Secret::new(text), source, origin, options)
}

fn identity(token: &Secret, source: &str, origin: Origin, options: &Options) -> Result<Identity, Failure> {
    if token.is_blank() {
        return Err(Failure::usage(format!("the identity token of {source} is empty"))
            .hint("check the secret's name; secrets are not given to pull requests from forks or by Dependabot"));
    }
    if !token.trimmed().expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(format!("the identity token of {source} is no token"))
            .cause("a token is one word of printable ASCII")
            .hint("hand over the token alone, without quotes, `Bearer` or line breaks"));
    }
    if options.get(&o::SERVER).is_none() {
        return Err(Failure::usage(format!("{} is missing", options.missing(&o::SERVER)))
            .hint("an identity token needs the API server that it is for"));
    }
    let token_file = match &origin {
        Origin::Bearer { token_file } => token_file.clone(),
        Origin::Kubeconfig { .. } | Origin::KubeconfigText | Origin::InCluster => None,
    };
    Ok(Identity {
        origin,
        why: format!("the identity token of {source}"),
        cluster: Cluster::default(),
        user: AuthInfo { token: Some(token_of(token)), token_file, ..AuthInfo::default() },
        authority: String::new(),
        pod_namespace: None,
        way: Way::default(),
    })
}
