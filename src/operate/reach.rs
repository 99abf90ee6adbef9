//! Which clusters are meant, and the way to each: contexts of a kubeconfig, or what else says who we are, as for the other verbs.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use futures_util::future::join_all;

use super::server::Server;
use crate::{
    context::Context,
    env::Env,
    failure::{Code, Failure},
    identity::{Identity, Purpose, kubeconfig},
    net::Way,
    options::{self as o, Flags, Options},
    out::Out,
    platform::{Platform, shell::quoted},
};

/// How long a cluster has to answer for the first time.
const FIRST: Duration = Duration::from_secs(15);

/// The flags that say which clusters are meant.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Clusters")]
pub struct Reach {
    /// Kubeconfig file [default: as for kubectl; in a pod its service account]
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<String>,
    /// Contexts of the kubeconfig, separated by commas [default: its current one]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "all_contexts")]
    context: Vec<String>,
    /// All contexts of the kubeconfig; of several for one API server the first
    #[arg(long)]
    all_contexts: bool,
}

/// A context with the identity that it stands for, or why there is none.
type Named = (String, Result<Identity, Failure>);

/// A cluster that was to be asked.
pub struct Opened {
    /// Its name: the context's.
    pub name: String,
    /// The way to it, or why there is none.
    pub server: Result<Server, Failure>,
}

impl Reach {
    /// Opens each cluster, all at the same time. There is at least one; the order is that of the flags.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read, or names no such context: the call is wrong, and nothing was sent.
    pub async fn open(&self, env: &Env, out: &Out) -> Result<Vec<Opened>, Failure> {
        let identities = self.identities(env)?;
        let opened = identities.into_iter().map(async |(name, identity)| {
            let server = match identity {
                Ok(identity) => Server::open(&name, identity, FIRST, out).await,
                Err(failure) => Err(failure),
            };
            Opened { name, server }
        });
        Ok(join_all(opened).await)
    }

    /// The one cluster that is meant, for a verb that takes no more than one.
    ///
    /// # Errors
    /// When several are named, or it cannot be reached.
    pub async fn open_one(&self, env: &Env, out: &Out) -> Result<Server, Failure> {
        if self.all_contexts || self.context.len() > 1 {
            return Err(Failure::new(Code::UsageConflict, "this takes one cluster at a time").hint("name one by `--context`"));
        }
        let mut opened = self.open(env, out).await?;
        opened.remove(0).server
    }

    /// Whether the kubeconfig is named by a flag.
    #[must_use]
    pub fn is_file_given(&self) -> bool {
        self.kubeconfig.is_some()
    }

    /// Whether more than one cluster may be meant, so that lists need a column for it.
    #[must_use]
    pub fn is_many(&self) -> bool {
        self.all_contexts || self.context.len() > 1
    }

    /// The contexts that are named.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.context
    }

    /// The flags that a next command needs in order to reach the same clusters; begins with a blank where there are any.
    #[must_use]
    pub fn flags(&self) -> String {
        let kubeconfig = self.kubeconfig.iter().map(|path| format!(" --kubeconfig {}", quoted(path)));
        let contexts = (!self.context.is_empty()).then(|| format!(" --context {}", self.context.join(",")));
        let all = self.all_contexts.then(|| " --all-contexts".to_owned());
        kubeconfig.chain(contexts).chain(all).collect()
    }

    /// The same for one of these clusters.
    #[must_use]
    pub fn flags_of(&self, context: &str) -> String {
        let kubeconfig = self.kubeconfig.iter().map(|path| format!(" --kubeconfig {}", quoted(path)));
        kubeconfig.chain([format!(" --context {context}")]).collect()
    }

    /// The identity for each context. One that cannot be used is no reason to leave out the others.
    fn identities(&self, env: &Env) -> Result<Vec<Named>, Failure> {
        let config = kubeconfig::whole(&self.located(None, env)?)?;
        if !self.is_many() {
            let identity = self.identity(self.context.first(), env)?;
            // Whoever is asked without a context is the current one's, or a pod's.
            let current = || config.filter(|_| identity.is_of_kubeconfig()).and_then(|config| config.current_context);
            let name = self.context.first().cloned().or_else(current).unwrap_or_else(|| "cluster".to_owned());
            return Ok(vec![(name, Ok(identity))]);
        }
        let known: Vec<_> = config.into_iter().flat_map(|config| config.contexts).map(|context| context.name).collect();
        if let Some(unknown) = self.context.iter().find(|name| !known.contains(name)) {
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            let hint =
                if known.is_empty() { "name a kubeconfig by `--kubeconfig`".to_owned() } else { format!("it has {}", known.join(", ")) };
            return Err(Failure::new(Code::UsageValue, format!("the kubeconfig has no context `{unknown}`")).hint(hint));
        }
        if known.is_empty() {
            return Err(Failure::new(Code::UsageMissing, "there is no context").hint("name a kubeconfig by `--kubeconfig`"));
        }
        let mut servers = BTreeSet::new();
        let mut identities = Vec::new();
        let mut names = BTreeSet::new();
        for name in if self.all_contexts { known } else { self.context.clone() } {
            if !names.insert(name.clone()) {
                continue;
            }
            let identity = self.identity(Some(&name), env);
            // Two contexts for one cluster would show each lease twice.
            if !self.all_contexts || identity.as_ref().map_or(true, |identity| servers.insert(identity.server().to_owned())) {
                identities.push((name, identity));
            }
        }
        Ok(identities)
    }

    fn identity(&self, context: Option<&String>, env: &Env) -> Result<Identity, Failure> {
        let context = self.located(context, env)?;
        let (mut identity, _) = Identity::find(&context, Purpose::Begin)?;
        identity.way = Way::of(&identity.address(), env)?;
        Ok(identity)
    }

    /// The settings of the connection, as the other verbs have them.
    fn located(&self, context: Option<&String>, env: &Env) -> Result<Context, Failure> {
        let kubeconfig = self.kubeconfig.clone().map(|path| (o::KUBECONFIG.name.to_owned(), Some(path)));
        let context = context.cloned().map(|name| (o::CONTEXT.name.to_owned(), Some(name)));
        let flags: Flags = kubeconfig.into_iter().chain(context).collect();
        Ok(Context::on(Platform::Local, Options::resolve(&flags, env)?, env.clone()))
    }
}
