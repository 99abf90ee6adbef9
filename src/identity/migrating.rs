//! What jobs have that were made for other tools: a stored token, its server, a kubeconfig, under the names that guides give them. jobpass
//! does not take them by itself, as nobody has said that they are meant for it; but it says how to hand them over.

use crate::{
    context::Context,
    env::Env,
    failure::Failure,
    jwt::Claims,
    options::{self as o, Setting},
};

/// Names of a stored token.
const TOKENS: [&str; 11] = [
    "OPENSHIFT_TOKEN",
    "OC_TOKEN",
    "OCP_TOKEN",
    "OPENSHIFT_API_TOKEN",
    "K8S_TOKEN",
    "KUBE_TOKEN",
    "KUBERNETES_TOKEN",
    "K8S_AUTH_API_KEY",
    "HELM_KUBETOKEN",
    "SERVICE_ACCOUNT_TOKEN",
    "SA_TOKEN",
];

/// Names of the server that it is for.
const SERVERS: [&str; 17] = [
    "OPENSHIFT_SERVER",
    "OPENSHIFT_SERVER_URL",
    "OPENSHIFT_API_URL",
    "OPENSHIFT_URL",
    "OPENSHIFT_HOST",
    "OC_SERVER",
    "OCP_SERVER",
    "K8S_SERVER",
    "K8S_HOST",
    "K8S_AUTH_HOST",
    "KUBE_SERVER",
    "KUBE_HOST",
    "KUBE_URL",
    "KUBE_API_URL",
    "KUBE_API_SERVER",
    "KUBERNETES_SERVER",
    "HELM_KUBEAPISERVER",
];

/// Names of its certificate authority.
const AUTHORITIES: [&str; 9] = [
    "OPENSHIFT_CA",
    "OPENSHIFT_CA_CERT",
    "KUBE_CA",
    "KUBE_CA_PEM_FILE",
    "KUBE_CA_PEM",
    "KUBE_CLUSTER_CA_CERT_DATA",
    "K8S_CA",
    "K8S_AUTH_SSL_CA_CERT",
    "HELM_KUBECAFILE",
];

/// Names of a whole kubeconfig, as text or base64.
const KUBECONFIGS: [&str; 7] =
    ["KUBE_CONFIG", "KUBE_CONFIG_DATA", "KUBECONFIG_DATA", "KUBECONFIG_CONTENT", "KUBECONFIG_BASE64", "KUBECONFIG_B64", "K8S_KUBECONFIG"];

/// How a stored identity is handed over that was made for other tools; none where there is none.
pub(super) fn told(failure: Failure, context: &Context) -> Failure {
    let Context { options, env, .. } = context;
    let token = first(&TOKENS, env).filter(|name| !is_of_pass(name, env)).map(|name| (name, &o::IDENTITY_TOKEN));
    let Some(identity) = token.or_else(|| first(&KUBECONFIGS, env).map(|name| (name, &o::IDENTITY_KUBECONFIG))) else { return failure };
    let is_unset = |setting: &Setting| options.get(setting).is_none();
    let with_server = identity.1.name == o::IDENTITY_TOKEN.name;
    let server = first(&SERVERS, env).map(|name| (name, &o::SERVER));
    let authority = first(&AUTHORITIES, env).map(|name| (name, &o::CERTIFICATE_AUTHORITY));
    let others = [server, authority].into_iter().flatten().filter(|(_, setting)| with_server && is_unset(setting));
    let all: Vec<_> = [identity].into_iter().chain(others).collect();
    let names: Vec<_> = all.iter().map(|(name, _)| format!("`{name}`")).collect();
    let new: Vec<_> = all.iter().map(|(name, setting)| format!("`{}=${name}`", setting.variable())).collect();
    let missing = if with_server && is_unset(&o::SERVER) && server.is_none() {
        format!(", and {} with the API server's URL", options.missing(&o::SERVER))
    } else {
        String::new()
    };
    failure
        .cause(format!("{} {} for other tools: jobpass takes an identity only by names of its own", names.join(", "), is_or_are(&all)))
        .hint(format!("rename {}, or set {}{missing}; docs/migrating.md goes on from there", it_or_them(&all), new.join(", ")))
}

/// The name of a variable that may hold the server which a token lacks.
pub(super) fn server(env: &Env) -> Option<&'static str> {
    first(&SERVERS, env)
}

fn is_or_are<T>(all: &[T]) -> &'static str {
    if all.len() == 1 { "is" } else { "are" }
}

fn it_or_them<T>(all: &[T]) -> &'static str {
    if all.len() == 1 { "it" } else { "them" }
}

/// The first of these variables that is set.
fn first(names: &[&'static str], env: &Env) -> Option<&'static str> {
    names.iter().copied().find(|name| env.secret(name).is_some_and(|value| !value.is_blank()))
}

/// Whether it holds the token of a pass, which asks for no other one.
fn is_of_pass(name: &str, env: &Env) -> bool {
    env.secret(name).and_then(|token| Claims::of(&token)).is_some_and(|claims| claims.lease().is_some())
}
