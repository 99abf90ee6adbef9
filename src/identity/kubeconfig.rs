//! A CI identity from a kubeconfig, given as files or as text: one of its contexts.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use kube::config::{AuthInfo, Kubeconfig, KubeconfigError};

use super::{
    Identity,
    form::{self, WHOLE},
    mounted,
    rank::Rank,
    source::{self, AGAIN, Kind as IdentityKind, Source, counts},
    token_of,
};
use crate::{
    context::Context,
    failure::{Code, Failure},
    files::{self, Unusual},
    kubeconfig_text::{self, text_of},
    name::is_name,
    options::{self as o, Setting},
    origin::{Origin, Word},
    pass_extension::PassExtension,
    platform::Platform,
    secret::Secret,
    shown::Kind,
};

/// A kubeconfig that a setting names or contains, or that `KUBECONFIG` names.
pub(super) struct Named;

impl Source for Named {
    fn name(&self) -> Option<&'static str> {
        Some("kubeconfig")
    }

    fn kind(&self) -> IdentityKind {
        IdentityKind::Kubeconfig
    }

    fn settings(&self) -> &'static [&'static Setting] {
        &[&o::KUBECONFIG, &o::IDENTITY_KUBECONFIG]
    }

    fn has_contexts(&self) -> bool {
        true
    }

    fn asked(&self, context: &Context) -> Result<Option<Identity>, Failure> {
        let Context { options, env, .. } = context;
        let named = options.text(&o::CONTEXT);
        if let Some(given) = options.get(&o::KUBECONFIG) {
            if let Some(text) = options.piped(&o::KUBECONFIG) {
                return from_text(&text, named, &given.source.to_string()).map(Some);
            }
            return from_files(&[env.absolute(given.text.as_ref())], named, &given.source.to_string()).map(Some);
        }
        let Some((text, source)) = options.secret(&o::IDENTITY_KUBECONFIG) else { return Ok(None) };
        from_text(text, named, &source.to_string()).map(Some)
    }

    fn again(&self, origin: &Origin, context: &Context, word: Word) -> Result<Option<Identity>, Failure> {
        let Origin::Kubeconfig { paths, context: remembered } = origin else { return Ok(None) };
        let is_ours = word == Word::Ours;
        if !paths.iter().all(|path| counts(path, context, word)) {
            return Ok(None);
        }
        let named = context.options.text(&o::CONTEXT).or(remembered.as_deref().filter(|_| is_ours));
        let paths: Vec<_> = paths.iter().map(|path| context.env.absolute(path.as_ref())).collect();
        if !paths.iter().any(|path| path.exists()) {
            return Ok(None);
        }
        let found = from_files(&paths, named, AGAIN)?;
        Ok(Some(found).filter(|found| is_ours || found.user.exec.is_none()))
    }

    fn offered(&self, context: &Context) -> Result<Option<Identity>, Failure> {
        let Some(list) = context.env.get("KUBECONFIG") else { return Ok(None) };
        // Missing files are ignored, as kubectl does: `revoke` may have removed the kubeconfig of an earlier pass.
        let paths = context.env.paths(list).into_iter().filter(|path| path.exists());
        let (passes, others): (Vec<_>, Vec<_>) = paths.partition(|path| PassExtension::of_file(path).is_some());
        if !others.is_empty() {
            return from_files(&others, context.options.text(&o::CONTEXT), "`KUBECONFIG`").map(Some);
        }
        // The kubeconfig of a pass is never a CI identity: a pass could then create more passes. But it says where the CI identity
        // was found that requested it.
        let before = passes.first().and_then(|path| PassExtension::of_file(path)).and_then(|mark| mark.identity);
        let before = before.map(|origin| source::of(&origin).again(&origin, context, Word::Ours)).transpose()?.flatten();
        Ok(before.map(|mut before| {
            before.why.push_str(", as `KUBECONFIG` is a pass of jobpass");
            before
        }))
    }

    fn rank(&self, _: &Identity, _: &Context) -> Rank {
        Rank::Kubeconfig
    }
}

/// The user's own `~/.kube/config`, where nothing else is found: only on a plain shell.
pub(super) struct OfHome;

impl Source for OfHome {
    fn name(&self) -> Option<&'static str> {
        None
    }

    fn kind(&self) -> IdentityKind {
        IdentityKind::Kubeconfig
    }

    fn has_contexts(&self) -> bool {
        true
    }

    fn offered(&self, context: &Context) -> Result<Option<Identity>, Failure> {
        let home = context.env.path("HOME").filter(|_| context.platform == Platform::Local);
        let why = Instead::of(context).map_or("nothing else is set", Instead::why);
        match home.map(|home| home.join(".kube/config")).filter(|path| path.exists()) {
            Some(path) => from_files(&[path], context.options.text(&o::CONTEXT), why).map(Some),
            None => Ok(None),
        }
    }

    fn rank(&self, identity: &Identity, context: &Context) -> Rank {
        Named.rank(identity, context)
    }
}

/// What `KUBECONFIG` names instead of a CI identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    /// The kubeconfig of a pass.
    Pass,
    /// The kubeconfig of a pass that is over, which is gone with it.
    Over,
}

impl Instead {
    /// None where it is not set, or names something else.
    pub(super) fn of(context: &Context) -> Option<Self> {
        let env = &context.env;
        let paths = env.paths(env.get("KUBECONFIG")?);
        if paths.iter().any(|path| PassExtension::of_file(path).is_some()) {
            return Some(Self::Pass);
        }
        // The file of a token is in the place of its pass; a kubeconfig may be elsewhere, by `--kubeconfig-out`.
        let is_place = |path: &PathBuf| path.parent().and_then(Path::file_name).and_then(OsStr::to_str).is_some_and(is_name);
        let is_over = env.path("JOBPASS_TOKEN_FILE").is_some_and(|path| is_place(&path) && !path.exists());
        paths.iter().any(|path| !path.exists() && (is_over || is_place(path))).then_some(Self::Over)
    }

    fn why(self) -> &'static str {
        match self {
            Self::Pass => "`KUBECONFIG` is a pass of jobpass",
            Self::Over => "`KUBECONFIG` names a pass that is over",
        }
    }
}

/// The kubeconfig that an operator has: `--kubeconfig`, its text in a variable, `KUBECONFIG` without passes, or that of the home. None
/// where there is none, as in a pod.
///
/// # Errors
/// When there is one that cannot be read.
#[cfg(feature = "operate")]
pub fn whole(context: &Context) -> Result<Option<Kubeconfig>, Failure> {
    let Context { options, env, .. } = context;
    if let Some(given) = options.get(&o::KUBECONFIG) {
        return merged(&[env.absolute(given.text.as_ref())], &given.source.to_string()).map(Some);
    }
    if let Some((text, source)) = options.secret(&o::IDENTITY_KUBECONFIG) {
        return parsed(text, &source.to_string()).map(Some);
    }
    let listed = env.get("KUBECONFIG").map(|list| env.paths(list)).unwrap_or_default();
    let listed: Vec<_> = listed.into_iter().filter(|path| path.exists() && PassExtension::of_file(path).is_none()).collect();
    if !listed.is_empty() {
        return merged(&listed, "`KUBECONFIG`").map(Some);
    }
    let home = env.path("HOME").map(|home| home.join(".kube/config")).filter(|path| path.exists());
    home.map(|path| merged(&[path], "nothing else is set")).transpose()
}

/// Files merged as kubectl does it: the first file to set a value wins.
fn merged(paths: &[PathBuf], source: &str) -> Result<Kubeconfig, Failure> {
    let shown = shown(paths);
    let failed = |cause: String| {
        let failure = Failure::new(Code::IdentityKubeconfig, format!("cannot use the kubeconfig {shown}")).cause(cause);
        match paths.iter().find_map(|path| Kind::of(&path.to_string_lossy())) {
            Some(_) => failure.hint(format!("{source} takes a path; a kubeconfig's text or its base64 goes to `JOBPASS_IDENTITY_KUBECONFIG` or the input `identity-kubeconfig`")),
            None => failure,
        }
    };
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        // In a list, files may be missing, as for kubectl; a single file must exist.
        if paths.len() > 1 && !path.exists() {
            continue;
        }
        let config = without_blanks(read(path).map_err(|cause| {
            match cause.downcast_ref::<Unusual>() {
                Some(Unusual::Pipe) => failed(format!("{source} names it"))
                    .cause(cause)
                    .hint("name a file; only a flag may name a pipe, such as `--kubeconfig <(…)`"),
                Some(_) => failed(format!("{source} names it")).cause(cause),
                None => failed(cause.to_string()),
            }
        })?);
        merged = Some(match merged {
            Some(merged) => merged.merge(config).map_err(|error| failed(why(&error)))?,
            None => config,
        });
    }
    merged.ok_or_else(|| failed("none of these files exists".into()))
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

/// An identity from files, merged as kubectl does it: the first file to set a value wins.
fn from_files(paths: &[PathBuf], context: Option<&str>, source: &str) -> Result<Identity, Failure> {
    let config = merged(paths, source)?;
    let shown = shown(paths);
    let origin = Origin::Kubeconfig {
        paths: paths.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
        context: context.map(str::to_owned),
    };
    let why = |context: &str| format!("context `{context}` of the kubeconfig {shown} ({source})");
    select(&config, context, origin, why).map_err(|failure| failure.within(format!("cannot use the kubeconfig {shown}")))
}

/// Reads a kubeconfig file. As for kubectl, relative paths in it start from the file's directory.
fn read(path: &Path) -> anyhow::Result<Kubeconfig> {
    let text = text_of(files::read_bytes(path)?.to_vec()).map(Secret::new)?;
    let mut config = kubeconfig_text::parse(text.expose()).map_err(|error| anyhow!(why(&error)))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let seen = |field: &mut Option<String>| {
        if let Some(named) = field.as_mut().filter(|named| !named.is_empty() && Path::new(named.as_str()).is_relative()) {
            *named = directory.join(named.as_str()).to_string_lossy().into_owned();
        }
    };
    for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        seen(&mut cluster.certificate_authority);
    }
    for user in config.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        [&mut user.client_certificate, &mut user.client_key, &mut user.token_file].into_iter().for_each(seen);
        // A command without a slash is looked up in `PATH`.
        if let Some(exec) = user.exec.as_mut().filter(|exec| exec.command.as_ref().is_some_and(|command| command.contains('/'))) {
            seen(&mut exec.command);
        }
    }
    Ok(config)
}

/// A kubeconfig from its text, plain or in base64.
fn parsed(text: &Secret, source: &str) -> Result<Kubeconfig, Failure> {
    let what = format!("cannot use the kubeconfig of {source}");
    let decoded = kubeconfig_text::decoded(text.expose()).and_then(|bytes| text_of(bytes.to_vec()).ok()).map(Secret::new);
    let text = decoded.as_ref().unwrap_or(text);
    let config = kubeconfig_text::parse(text.expose()).map_err(|error| {
        let hint = "hand over the whole kubeconfig, as it is or in base64; a path goes to `--kubeconfig`";
        Failure::new(Code::IdentityKubeconfig, what.clone()).cause(why(&error)).hint(hint)
    })?;
    let config = without_blanks(config);
    mounted::names_none(&config).map_err(|failure| failure.within(&what))?;
    Ok(config)
}

/// An identity from a kubeconfig's text, plain or in base64.
fn from_text(text: &Secret, context: Option<&str>, source: &str) -> Result<Identity, Failure> {
    let config = parsed(text, source)?;
    let what = format!("cannot use the kubeconfig of {source}");
    let why = |context: &str| format!("context `{context}` of the kubeconfig in {source}");
    select(&config, context, Origin::KubeconfigText, why).map_err(|failure| failure.within(what))
}

/// Treats empty fields as not set, as client-go does. kube would send an empty token, or try to parse an empty certificate.
fn without_blanks(mut config: Kubeconfig) -> Kubeconfig {
    let blank = |field: &mut Option<String>| drop(field.take_if(|text| text.is_empty()));
    blank(&mut config.current_context);
    for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        blank(&mut cluster.certificate_authority);
        blank(&mut cluster.certificate_authority_data);
        blank(&mut cluster.proxy_url);
        blank(&mut cluster.tls_server_name);
    }
    for user in config.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        user.token.take_if(|token| Secret::from(token.clone()).size() == 0);
        user.client_key_data.take_if(|key| Secret::from(key.clone()).size() == 0);
        blank(&mut user.token_file);
        blank(&mut user.client_certificate);
        blank(&mut user.client_certificate_data);
        blank(&mut user.client_key);
    }
    config
}

/// Selects the cluster and user of one context, and refuses what would only fail later and less clearly.
fn select(config: &Kubeconfig, context: Option<&str>, origin: Origin, why: impl Fn(&str) -> String) -> Result<Identity, Failure> {
    if let Some(mark) = PassExtension::of_config(config) {
        return Err(Failure::new(Code::IdentityPass, format!("it is the pass `{}` of jobpass, which is never a CI identity", mark.lease))
            .hint("name the kubeconfig of the CI identity itself"));
    }
    let known = || config.contexts.iter().map(|named| format!("`{}`", named.name)).collect::<Vec<_>>().join(", ");
    let Some(name) = context.or(config.current_context.as_deref()).filter(|name| !name.is_empty()) else {
        let failure = Failure::new(Code::IdentityKubeconfig, "it has no current context");
        return Err(if config.contexts.is_empty() {
            failure.cause("it has no context at all")
        } else {
            failure.hint(format!("choose one by `--context`: {}", known()))
        });
    };
    let context = config.contexts.iter().find(|named| named.name == name).and_then(|named| named.context.as_ref());
    let context = context.ok_or_else(|| {
        let failure = Failure::new(Code::IdentityKubeconfig, format!("it has no context `{name}`"));
        if config.contexts.is_empty() { failure } else { failure.hint(format!("choose one by `--context`: {}", known())) }
    })?;
    let cluster = config.clusters.iter().find(|named| named.name == context.cluster).and_then(|named| named.cluster.clone());
    let cluster = cluster.ok_or_else(|| {
        Failure::new(Code::IdentityKubeconfig, format!("its context `{name}` names the cluster `{}`, which is not there", context.cluster))
    })?;
    let user = context.user.as_deref().unwrap_or_default();
    let user = config.auth_infos.iter().find(|named| named.name == user).and_then(|named| named.auth_info.clone()).ok_or_else(|| {
        // kube and kubectl would go on without a credential, and the error would be about `system:anonymous`.
        Failure::new(Code::IdentityKubeconfig, format!("its context `{name}` names the user `{user}`, which is not there"))
    })?;
    form::refuse_omitted(&cluster, &user)?;
    let why = why(name);
    let authority = format!("the certificate authority of {why}");
    Ok(Identity { authority, cluster, user: usable(user)?, ..Identity::new(origin, why) })
}

/// Checks the user, and reads its token file.
fn usable(mut user: AuthInfo) -> Result<AuthInfo, Failure> {
    if let Some(provider) = &user.auth_provider {
        return Err(Failure::new(
            Code::IdentityKubeconfig,
            format!("its user needs the auth provider `{}`, which Kubernetes removed in 1.26", provider.name),
        )
        .hint("use an exec plugin, such as `kubelogin` or `gke-gcloud-auth-plugin`"));
    }
    if user.token.is_none()
        && let Some(path) = &user.token_file
    {
        let text = files::read_text(path.as_ref())
            .map_err(|error| Failure::new(Code::IdentityToken, format!("cannot read its token file `{path}`")).cause(error).hint(WHOLE))?;
        // kube would send the file's trailing newline as part of the token.
        user.token = Some(token_of(&Secret::new(text)));
    }
    if let Some((cause, hint)) = user.token.clone().map(Secret::from).as_ref().and_then(form::misshapen) {
        return Err(Failure::new(Code::IdentityToken, "its token is in a form that no API server takes").cause(cause).hint(hint));
    }
    Ok(user)
}

/// The reason in our own words: kube's errors quote the file, which may contain secrets.
fn why(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => match error.location() {
            Some(location) => format!("it is no kubeconfig: line {} cannot be read", location.line()),
            None => "it is no kubeconfig".into(),
        },
        KubeconfigError::KindMismatch | KubeconfigError::ApiVersionMismatch => "its files are of different kinds".into(),
        _ => "it is no kubeconfig".into(),
    }
}
