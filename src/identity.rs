//! The CI identity: as whom the job itself asks. Every kind of it becomes one cluster and one user of kube's kubeconfig types.

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::config::{AuthInfo, Cluster, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};

use rank::Directions;
use source::{SOURCES, Source};

use crate::{
    context::Context,
    failure::{Code, Failure},
    files,
    net::{Target, Trust, Way, way::Address},
    options::{self as o, Options},
    origin::Origin,
    platform::Platform,
    secret::Secret,
};

pub mod bearer;
mod credential;
pub mod held;
pub mod in_cluster;
pub mod kubeconfig;
mod mounted;
mod plugin;
pub mod rank;
pub mod server;
mod source;

pub use plugin::is_asking as is_asking_a_plugin;
pub use rank::Purpose;

/// The first identity that a source has.
fn first(find: impl Fn(&dyn Source) -> Result<Option<Identity>, Failure>) -> Result<Option<Identity>, Failure> {
    SOURCES.iter().find_map(|source| find(*source).transpose()).transpose()
}

/// Refuses settings of which each asks for an identity of its own.
fn refuse_two(options: &Options) -> Result<(), Failure> {
    let of_each: Vec<_> = SOURCES.iter().map(|source| source.settings()).collect();
    for settings in &of_each {
        for (at, one) in settings.iter().enumerate() {
            settings[at + 1..].iter().try_for_each(|other| options.exclusive(one, other))?;
        }
    }
    for (at, settings) in of_each.iter().enumerate() {
        for one in *settings {
            of_each[at + 1..].iter().copied().flatten().try_for_each(|other| options.exclusive(one, other))?;
        }
    }
    Ok(())
}

/// Who we are to the API server, and how it is reached.
#[derive(Clone)]
pub struct Identity {
    /// Where it was found.
    pub origin: Origin,
    /// Which one it is and why, in one line.
    pub why: String,
    /// How the API server is reached: the server in its plain form, its CA inline.
    pub cluster: Cluster,
    /// What shows who we are.
    pub user: AuthInfo,
    /// What the API server's certificate is checked against, in words.
    pub authority: String,
    /// The namespace of our pod, if the identity is its service account.
    pub pod_namespace: Option<String>,
    /// The rest of the way to it, which the environment says: none until it is asked, see `net::way`.
    pub way: Way,
}

impl Identity {
    /// Finds the CI identity: what was asked for, else what the pass to be ended says, else what this place offers. With it comes what
    /// was passed over, as it has no say in where its credential goes.
    ///
    /// # Errors
    /// When there is none, or the one there is is no good. Nothing has been sent by then.
    pub fn find(context: &Context, purpose: Purpose<'_>) -> Result<(Self, Vec<Failure>), Failure> {
        let options = &context.options;
        refuse_two(options)?;
        let remembered = match purpose {
            Purpose::Begin => None,
            Purpose::End(remembered) => remembered,
        };
        let found = match first(|source| source.asked(context))? {
            Some(asked) => asked,
            None => match remembered.map(|(origin, word)| source::of(origin).again(origin, context, word)).transpose()?.flatten() {
                Some(again) => again,
                None => first(|source| source.offered(context))?.ok_or_else(|| none(context))?,
            },
        };
        if let Some(context) = options.get(&o::CONTEXT)
            && !source::of(&found.origin).has_contexts()
        {
            return Err(Failure::new(Code::UsageConflict, format!("{} needs a kubeconfig", context.source))
                .cause(format!("the CI identity is {}", found.why)));
        }
        let directions = Directions::of(&found, context, purpose)?;
        found.directed(&directions, context).map(|identity| (identity, directions.passed_over))
    }

    /// Applies the server, the authority and "no check" that have a say, and brings the rest into its plain form.
    fn directed(mut self, directions: &Directions<'_>, context: &Context) -> Result<Self, Failure> {
        let Context { options, env, .. } = context;
        if let Some(given) = directions.server {
            self.cluster.server = Some(given.text.clone());
            // Its pod may be none of that server's: as the owner of a lease there it would end it at once.
            self.pod_namespace = None;
        }
        let source = directions.server.map_or_else(|| self.why.clone(), |given| given.source.to_string());
        self.cluster.server = Some(server::plain(self.cluster.server.as_deref().unwrap_or_default(), &source)?);
        if let Some(given) = directions.authority {
            let pem = match options.piped(&o::CERTIFICATE_AUTHORITY) {
                Some(pem) => server::authority_in(pem.expose().as_bytes().to_vec(), &given.source.to_string())?,
                None => server::authority(&given.text, &given.source.to_string(), env)?,
            };
            self.cluster.certificate_authority_data = Some(STANDARD.encode(pem));
            self.cluster.certificate_authority = None;
            self.cluster.insecure_skip_tls_verify = None;
            self.authority = format!("the certificate authority of {}", given.source);
        }
        if directions.is_unchecked {
            self.cluster.insecure_skip_tls_verify = Some(true);
        }
        if self.cluster.insecure_skip_tls_verify == Some(true) {
            self.cluster.certificate_authority = None;
            self.cluster.certificate_authority_data = None;
            "nothing".clone_into(&mut self.authority);
        } else {
            let pem = server::pem_of(&self.cluster).and_then(|pem| match pem {
                Some(pem) => server::checked_authority(&pem).map(|()| Some(pem)),
                None => Ok(None),
            });
            let pem = pem.map_err(|cause| {
                let what = format!("cannot use {}", self.authority);
                let hint = "give the API server's own, as in the ConfigMap `kube-root-ca.crt` of any namespace";
                Failure::new(Code::IdentityAuthority, what).chain(&cause).hint(hint)
            })?;
            if pem.is_none() {
                "the system's roots, as no certificate authority was given".clone_into(&mut self.authority);
            }
            self.cluster.certificate_authority = None;
            self.cluster.certificate_authority_data = pem.map(|pem| STANDARD.encode(pem));
        }
        mounted::guard(&self, env)?;
        Ok(self)
    }

    /// The API server, in its plain form.
    #[must_use]
    pub fn server(&self) -> &str {
        self.cluster.server.as_deref().unwrap_or_default()
    }

    /// What is not possible if it is no good.
    fn what(&self) -> String {
        format!("cannot use the CI identity: {}", self.why)
    }

    /// Where its API server is.
    #[must_use]
    pub fn address(&self) -> Address<'_> {
        let cluster = &self.cluster;
        let has_trust = cluster.certificate_authority_data.is_some() || cluster.insecure_skip_tls_verify == Some(true);
        Address { server: self.server(), proxy: cluster.proxy_url.as_deref().filter(|own| !own.is_empty()), has_trust }
    }

    /// Its API server, and how it is reached.
    #[must_use]
    pub fn target(&self) -> Target {
        let cluster = &self.cluster;
        let trust = match &cluster.certificate_authority_data {
            _ if cluster.insecure_skip_tls_verify == Some(true) => Trust::Everybody,
            // What cannot be read trusts nobody.
            Some(data) => Trust::Authority(STANDARD.decode(data).unwrap_or_default()),
            None => Trust::System,
        };
        Target {
            what: self.what(),
            server: self.server().to_owned(),
            trust,
            authority: self.authority.clone(),
            server_name: cluster.tls_server_name.clone(),
            has_own_proxy: self.address().proxy.is_some(),
            way: self.way.clone(),
        }
    }

    /// Reads the credential anew, as far as it has a file where a newer one can be. A plugin is asked again anyway.
    pub fn refresh(&mut self) {
        if let Some(path) = &self.user.token_file
            && let Ok(text) = files::read_text(path.as_ref())
        {
            self.user.token = Some(token_of(&Secret::new(text)));
        }
    }

    /// Whether reading it anew can give another credential.
    #[must_use]
    pub fn is_renewable(&self) -> bool {
        self.user.exec.is_some() || self.user.token_file.is_some()
    }

    /// What must not be said, whatever happens: all that the identity holds in clear.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        [&self.user.token, &self.user.password].into_iter().flatten().cloned().map(Secret::from).collect()
    }
}

/// A kubeconfig of one cluster, one user and one context.
#[must_use]
pub fn one(cluster: Cluster, user: AuthInfo) -> Kubeconfig {
    let name = || "jobpass".to_owned();
    Kubeconfig {
        clusters: vec![NamedCluster { name: name(), cluster: Some(cluster), ..NamedCluster::default() }],
        auth_infos: vec![NamedAuthInfo { name: name(), auth_info: Some(user), ..NamedAuthInfo::default() }],
        contexts: vec![NamedContext {
            name: name(),
            context: Some(kube::config::Context { cluster: name(), user: Some(name()), ..kube::config::Context::default() }),
            ..NamedContext::default()
        }],
        current_context: Some(name()),
        ..Kubeconfig::default()
    }
}

/// What was looked for, in words.
fn missing() -> String {
    let names: Vec<_> = SOURCES.iter().filter_map(|source| source.name()).map(|name| format!("no {name}")).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{}, and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// There is none. An empty input of GitHub, or variable of GitLab, is how an absent secret looks.
fn none(context: &Context) -> Failure {
    let Context { options, env, platform, .. } = context;
    let failure = Failure::new(Code::IdentityMissing, "there is no CI identity to ask the API server with");
    let empty = options.empty_secrets();
    let are = if empty.len() == 1 { "is" } else { "are" };
    let failure = match env.get("KUBECONFIG") {
        _ if !empty.is_empty() => failure.cause(format!("{} {are} empty", empty.join(" and "))),
        Some(_) => failure.cause("`KUBECONFIG` names no kubeconfig that is there and is not a pass itself"),
        None => failure.cause(missing()),
    };
    failure.hint(match platform {
        // Its variable is absent, not empty, where it is not for this job.
        Platform::Gitlab => {
            "set `JOBPASS_IDENTITY_KUBECONFIG` in the project's settings; a protected variable is given to protected branches and tags only, \
             one with an environment to jobs of that environment only"
        }
        Platform::Github if !empty.is_empty() => {
            "check the secret's name; secrets are not given to pull requests from forks or by Dependabot"
        }
        Platform::Tekton | Platform::Local if !empty.is_empty() => "check where its value comes from",
        Platform::Github | Platform::Tekton | Platform::Local => {
            "set `JOBPASS_IDENTITY_KUBECONFIG`, or `JOBPASS_IDENTITY_TOKEN` with `--server`, or give `--kubeconfig`"
        }
    })
}

/// A trimmed token, as kube wants it.
fn token_of(token: &Secret) -> secrecy::SecretString {
    token.trimmed().into()
}
