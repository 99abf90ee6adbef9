//! The CI identity: as whom the job itself asks for a token. Each kind becomes one cluster and one user of kube's kubeconfig types.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::config::{AuthInfo, Cluster, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};

use issuer::Issuer;
use rank::Directions;
use source::{Kind, SOURCES, Source};

use crate::{
    context::Context,
    failure::{Code, Failure},
    files,
    kubeconfig_text::decoded,
    net::{
        API_SERVER, Target, Trust, Way,
        way::{Address, Ways},
    },
    options::{self as o, Options},
    origin::Origin,
    secret::Secret,
};

pub mod bearer;
mod credential;
mod exchange;
mod form;
pub mod held;
pub mod in_cluster;
pub mod issuer;
pub mod kubeconfig;
mod migrating;
mod missing;
mod mounted;
pub mod oidc;
pub mod openshift;
mod plugin;
pub mod rank;
pub mod server;
mod source;

pub use plugin::is_asking as is_asking_a_plugin;
pub use rank::Purpose;

/// The first identity that any source finds, of the kind that is asked for.
fn first(kind: Option<Kind>, find: impl Fn(&dyn Source) -> Result<Option<Identity>, Failure>) -> Result<Option<Identity>, Failure> {
    let sources = SOURCES.iter().filter(|source| kind.is_none_or(|kind| source.kind() == kind));
    sources.into_iter().find_map(|source| find(*source).transpose()).transpose()
}

/// Refuses a flag that asks for another kind of identity than `--identity` does. Variables for the other kinds may be there for
/// other calls.
fn refuse_other_kinds(kind: Option<Kind>, options: &Options) -> Result<(), Failure> {
    let Some(kind) = kind else { return Ok(()) };
    let is_taken = |other: &&&dyn Source| SOURCES.iter().any(|source| source.kind() == kind && source.takes(other.kind()));
    let others = SOURCES.iter().filter(|source| !is_taken(source)).flat_map(|source| source.settings());
    for other in others.filter(|other| options.flag(other).is_some()) {
        options.exclusive(&o::IDENTITY, other)?;
    }
    Ok(())
}

/// Refuses two settings that each ask for an identity of their own.
fn refuse_two(options: &Options) -> Result<(), Failure> {
    for source in SOURCES {
        for (at, one) in source.settings().iter().enumerate() {
            source.settings()[at + 1..].iter().try_for_each(|other| options.exclusive(one, other))?;
        }
    }
    for (at, source) in SOURCES.iter().enumerate() {
        for one in source.settings() {
            let others = SOURCES[at + 1..].iter().filter(|other| !source.takes(other.kind()));
            others.flat_map(|other| other.settings()).try_for_each(|other| options.exclusive(one, other))?;
        }
    }
    Ok(())
}

/// As whom we ask the API server, and how it is reached.
#[derive(Clone)]
pub struct Identity {
    /// Where the identity was found: the kubeconfig's paths, a token file, the pod.
    pub origin: Origin,
    /// Which identity it is and why it was chosen, in one line for messages.
    pub why: String,
    /// The API server: its URL in plain form, its certificate authority inline.
    pub cluster: Cluster,
    /// The credential.
    pub user: AuthInfo,
    /// In words, what the API server's certificate is checked against.
    pub authority: String,
    /// The namespace of our pod, if the identity is the pod's service account.
    pub pod_namespace: Option<String>,
    /// The proxy and the root certificates from the environment; empty until they are looked up, see `net::way`.
    pub way: Way,
    /// Who issues the credential, where `user` has none.
    pub issuer: Option<Arc<dyn Issuer>>,
    /// The ways to the servers of the issuer.
    pub ways: Ways,
    /// The names of what its issuer has issued to a process that was killed before it gave it back.
    pub leftover: Vec<String>,
}

impl Identity {
    /// An identity that has nothing yet.
    #[must_use]
    pub fn new(origin: Origin, why: String) -> Self {
        Self {
            origin,
            why,
            cluster: Cluster::default(),
            user: AuthInfo::default(),
            authority: String::new(),
            pod_namespace: None,
            way: Way::default(),
            issuer: None,
            ways: Ways::default(),
            leftover: Vec::new(),
        }
    }

    /// Finds the CI identity: what the settings ask for, else what the lease to be revoked remembers, else what the platform or the
    /// pod offers. Returns also the settings that were ignored because their source ranks below that of the credential, so that
    /// they may not say where it is sent.
    ///
    /// # Errors
    /// When there is none, or the one found is not valid. Nothing has been sent by then.
    pub fn find(context: &Context, purpose: Purpose<'_>) -> Result<(Self, Vec<Failure>), Failure> {
        let options = &context.options;
        refuse_two(options)?;
        let remembered = match purpose {
            Purpose::Begin => None,
            Purpose::End(remembered) => remembered,
        };
        let kind = Kind::chosen(options)?;
        refuse_other_kinds(kind, options)?;
        let remembered = remembered.filter(|(origin, _)| kind.is_none_or(|kind| source::of(origin).kind() == kind));
        let again = || remembered.map(|(origin, word)| source::of(origin).again(origin, context, word)).transpose().map(Option::flatten);
        let found = match first(kind, |source| source.asked(context))? {
            // Asked for by its kind alone: the lease may know more.
            Some(asked) if matches!(asked.origin, Origin::Oidc { .. }) => again()?.unwrap_or(asked),
            Some(asked) => asked,
            None => match again()? {
                Some(again) => again,
                None => first(kind, |source| source.offered(context))?.ok_or_else(|| missing::none(context, kind))?,
            },
        };
        if let Some(context) = options.get(&o::CONTEXT)
            && !source::of(&found.origin).has_contexts()
        {
            return Err(Failure::new(Code::UsageConflict, format!("{} needs a kubeconfig", context.source))
                .cause(format!("the CI identity is {}", found.why)));
        }
        let found = openshift::with_revocation(found, options, purpose)?;
        let directions = Directions::of(&found, context, purpose)?;
        let found = Self { ways: Ways::of(&context.env), ..found }.told_apart(kind, context);
        found.directed(&directions, context).map(|identity| (identity, directions.passed_over))
    }

    /// Whether the log should say which one it is: no setting names it, or there was another one.
    #[must_use]
    pub fn is_worth_a_line(&self, context: &Context) -> bool {
        match self.origin {
            Origin::Oidc { .. } | Origin::Exchange => true,
            Origin::InCluster => oidc::is_there(context),
            // A login is warned of, and that says it.
            Origin::Kubeconfig { .. } | Origin::KubeconfigText | Origin::Bearer { .. } | Origin::Openshift => false,
        }
    }

    /// Says why it is not the job's OIDC token, where there is one that nobody has turned down.
    fn told_apart(mut self, kind: Option<Kind>, context: &Context) -> Self {
        if kind.is_none() && self.origin == Origin::InCluster && oidc::is_there(context) {
            self.why.push_str(", and not the job's OIDC token, as no server is set");
        }
        self
    }

    /// The API server's certificate authority as PEM, where there is one of its own.
    #[must_use]
    pub fn authority_pem(&self) -> Option<Vec<u8>> {
        server::pem_of(&self.cluster).ok().flatten()
    }

    /// Applies those settings for the server, its certificate authority and "no check" that may decide, and normalises the rest.
    fn directed(mut self, directions: &Directions<'_>, context: &Context) -> Result<Self, Failure> {
        let Context { options, env, .. } = context;
        if let Some(given) = directions.server {
            self.cluster.server = Some(given.text.clone());
            // Our pod may not be in that server's cluster. A lease there with our pod as its owner would be garbage-collected at
            // once.
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
                let hint = match self.cluster.certificate_authority_data {
                    Some(_) => "give the API server's own, as in the ConfigMap `kube-root-ca.crt` of any namespace",
                    None => form::WHOLE,
                };
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

    /// Whether it is a context of a kubeconfig.
    #[cfg(feature = "operate")]
    #[must_use]
    pub fn is_of_kubeconfig(&self) -> bool {
        source::of(&self.origin).has_contexts()
    }

    /// The URL of the API server, in plain form.
    #[must_use]
    pub fn server(&self) -> &str {
        self.cluster.server.as_deref().unwrap_or_default()
    }

    /// The first line of a failure of this identity.
    fn what(&self) -> String {
        format!("cannot use the CI identity: {}", self.why)
    }

    /// Where its API server is, for choosing a proxy and root certificates.
    #[must_use]
    pub fn address(&self) -> Address<'_> {
        let cluster = &self.cluster;
        let has_trust = cluster.certificate_authority_data.is_some() || cluster.insecure_skip_tls_verify == Some(true);
        Address { server: self.server(), proxy: cluster.proxy_url.as_deref().filter(|own| !own.is_empty()), has_trust }
    }

    /// The API server and how to reach it, without our credential.
    #[must_use]
    pub fn target(&self) -> Target {
        let cluster = &self.cluster;
        let trust = match &cluster.certificate_authority_data {
            _ if cluster.insecure_skip_tls_verify == Some(true) => Trust::Everybody,
            // An authority that cannot be decoded trusts nobody.
            Some(data) => Trust::Authority(decoded(data).map(|pem| pem.to_vec()).unwrap_or_default()),
            None => Trust::System,
        };
        Target {
            what: self.what(),
            noun: API_SERVER,
            server: self.server().to_owned(),
            trust,
            authority: self.authority.clone(),
            server_name: cluster.tls_server_name.clone(),
            has_own_proxy: self.address().proxy.is_some(),
            way: self.way.clone(),
        }
    }

    /// Reads the token anew from its file, if it has one. A plugin is asked again anyway.
    pub fn refresh(&mut self) {
        if let Some(path) = &self.user.token_file
            && let Ok(text) = files::read_text(path.as_ref())
        {
            self.user.token = Some(token_of(&Secret::new(text)));
        }
    }

    /// Whether a fresh credential may exist: it comes from a plugin, a token file or an issuer.
    #[must_use]
    pub fn is_renewable(&self) -> bool {
        self.user.exec.is_some() || self.user.token_file.is_some() || self.issuer.is_some()
    }

    /// The names of what was issued for it and is not given back yet.
    #[must_use]
    pub fn outstanding(&self) -> Vec<String> {
        self.issuer.as_ref().map(|issuer| issuer.outstanding()).unwrap_or_default()
    }

    /// The secrets of the identity in clear, which no message may contain.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let own = [&self.user.token, &self.user.password].into_iter().flatten().cloned().map(Secret::from);
        own.chain(self.issuer.iter().flat_map(|issuer| issuer.secrets())).collect()
    }

    /// The same API server as the holder of another token, which is never asked for anew: the pass's own.
    #[must_use]
    pub fn bearing(&self, token: &Secret, why: &str) -> Self {
        let user = AuthInfo { token: Some(token_of(token)), ..AuthInfo::default() };
        Self { user, issuer: None, why: why.to_owned(), pod_namespace: None, ..self.clone() }
    }
}

/// A kubeconfig with one cluster, one user and one context.
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

/// A trimmed token in the type that kube wants.
fn token_of(token: &Secret) -> secrecy::SecretString {
    token.trimmed().into()
}
