//! Every setting, one row each: its name, which is flag, action input and `JOBPASS_*` variable, its default and its help.

/// How the text of a setting is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value.
    Text,
    /// `true` or `false`; as a flag it takes no value.
    Switch,
    /// Several values: as a flag it is repeated; elsewhere they are separated by lines or spaces.
    List,
    /// A secret: never a flag, as other users of the machine can read a process's arguments.
    Secret,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in kebab-case: the flag, the action input, and the variable in upper case.
    pub name: &'static str,
    /// The one-letter form of the flag.
    pub short: Option<char>,
    /// How its text is read.
    pub kind: Kind,
    /// The placeholder of its value in `--help`; a switch has none.
    pub value: Option<&'static str>,
    /// The value if it is not set.
    pub default: Option<&'static str>,
    /// Its description in `--help` and in the platforms' manifests.
    pub help: &'static str,
}

impl Setting {
    /// The name of the variable that sets it, such as `JOBPASS_JOB_KEY`.
    #[must_use]
    pub fn variable(&self) -> String {
        let word = self.name.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_uppercase() });
        "JOBPASS_".chars().chain(word).collect()
    }

    /// The variable by which GitHub's runner hands over the input of our action, such as `INPUT_JOB-KEY`; hyphens stay.
    #[must_use]
    pub fn input(&self) -> String {
        format!("INPUT_{}", self.name.to_uppercase())
    }
}

macro_rules! given {
    () => {
        None
    };
    ($value:literal) => {
        Some($value)
    };
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $id:ident = $name:literal $($short:literal)?, $kind:ident $($value:literal)?, $default:expr;)+) => {
        $($(#[doc = $doc])+ pub const $id: Setting = Setting {
            name: $name,
            short: given!($($short)?),
            kind: Kind::$kind,
            value: given!($($value)?),
            default: $default,
            help: concat!($($doc),+).trim_ascii(),
        };)+
        /// All settings, in the order in which help and manifests list them.
        pub const ALL: &[&Setting] = &[$(&$id),+];
    };
}

// A new setting: a row here, and its name in the `CALL` of each verb that reads it. One that decides about the connection stands instead in
// `CONNECTION` too (and in `REACHED` of `options/call.rs`, if it is a flag); one that only the end of a pass reads, in `is_read_in_time` of
// `options/resolve.rs`. Then `cargo test --test cli` names what follows: `action.yml`, the component, help.
settings! {
    /// Service account whose token the job gets, as NAMESPACE/NAME
    SERVICE_ACCOUNT = "service-account" 's', Text "NAMESPACE/NAME", None;
    /// Namespace of a service account that is given by its bare name
    NAMESPACE = "namespace" 'n', Text "NAMESPACE", None;
    /// Lifetime of the token, 10m to 24h; the API server may shorten it [default: 1h, or the job's timeout on GitLab if that is less]
    TTL = "ttl", Text "DURATION", None;
    /// Audience of the token, if not the API server's own; may be repeated
    AUDIENCE = "audience", List "AUDIENCE", None;
    /// Variable that gets the token, with `run` only if this is given [default: OPENSHIFT_TOKEN]
    VARIABLE = "variable", Text "NAME", Some("OPENSHIFT_TOKEN");
    /// Export no variable: the token is only in the kubeconfig and the token file
    NO_VARIABLE = "no-variable", Switch, None;
    /// Write the kubeconfig to this path, not to the pass's own directory
    KUBECONFIG_OUT = "kubeconfig-out", Text "PATH", None;
    /// Write no kubeconfig and export no KUBECONFIG
    NO_KUBECONFIG = "no-kubeconfig", Switch, None;
    /// Namespace that the kubeconfig works in, if not the service account's own
    TARGET_NAMESPACE = "target-namespace", Text "NAMESPACE", None;
    /// How the kubeconfig gives the token: token (in it, and the path of its file) or exec (`jobpass credential` is asked) [default: token]
    KUBECONFIG_MODE = "kubeconfig-mode", Text "MODE", Some("token");
    /// Directory under which the pass is kept, if not the platform's own
    DIR = "dir", Text "DIR", None;
    /// Mode of the token, kubeconfig and env files: 0600, 0400, 0640 or 0440 [default: 0600]
    FILE_MODE = "file-mode", Text "MODE", Some("0600");
    /// What names this job uniquely, if the platform does not say; the lease's name comes from it
    JOB_KEY = "job-key", Text "TEXT", None;
    /// Lease to revoke: NAMESPACE/NAME, or the first digits of its name
    LEASE = "lease", Text "NAMESPACE/NAME", None;
    /// Lease file to revoke
    LEASE_FILE = "lease-file", Text "PATH", None;
    /// Revoke every pass that this user has left on this machine
    ALL_LEASES = "all", Switch, None;
    /// Ask the API server only where this job has left something: for the end of a job that may have had no pass
    IF_HERE = "if-here", Switch, None;
    /// Fail if the lease could not be revoked, also on CI
    STRICT = "strict", Switch, None;
    /// Wait until the API server refuses the token, at most 25 s
    WAIT_DEAD = "wait-dead", Switch, None;
    /// Append the receipt, JSON without secrets, to this file
    RECEIPT = "receipt", Text "PATH", None;
    /// Time that the command has to end after the signal that ends the job, at most what the platform leaves [default: 5s]
    GRACE = "grace", Text "DURATION", Some("5s");
    /// Variable that the command does not get; may be repeated
    HIDE = "hide", List "VARIABLE", None;
    /// Variable that the command gets although it holds or names a kubeconfig or a token of a cluster; may be repeated
    KEEP = "keep", List "VARIABLE", None;
    /// Variable whose value is hidden in the output; may be repeated
    SCRUB_ENV = "scrub-env", List "VARIABLE", None;
    /// Last moment that any token of this command may live, 10m to 7 days from now [default: the job's timeout on GitLab, else 24h]
    MAX_LIFETIME = "max-lifetime", Text "DURATION", None;
    /// File that is there while the pass can be used, if not `ready` in the directory of the pass
    READY = "ready", Text "PATH", None;
    /// File whose appearance ends the pass, also with `.err` behind its name: the exit file of a Tekton task's last step
    UNTIL = "until", Text "PATH", None;
    /// Ask whether the pass is ready, and hold none: for a readiness probe
    CHECK = "check", Switch, None;
    /// CI system: auto, github, gitlab, tekton or local [default: auto]
    PLATFORM = "platform", Text "PLATFORM", Some("auto");
    /// What stdout carries: text or json [default: text]
    OUTPUT = "output" 'o', Text "FORMAT", Some("text");
    /// The most that the verb may take, 1s to 10m [default: request 30s, revoke 10s]
    TIMEOUT = "timeout", Text "DURATION", None;
    /// Docker `config.json` to write, with the token as the password for `--registry`; renewed and removed with the pass
    REGISTRY_AUTH = "registry-auth", Text "PATH", None;
    /// Registry that takes the token as a password; may be repeated [default: image-registry.openshift-image-registry.svc:5000]
    REGISTRY = "registry", List "HOST", Some("image-registry.openshift-image-registry.svc:5000");
    /// Kind of the CI identity: auto, kubeconfig, in-cluster, token, oidc, exchange or openshift [default: auto]
    IDENTITY = "identity", Text "KIND", Some("auto");
    /// URL of the API server
    SERVER = "server", Text "URL", None;
    /// Certificate authority of the API server: a file, PEM text or base64 of it
    CERTIFICATE_AUTHORITY = "certificate-authority", Text "FILE-OR-PEM-OR-BASE64", None;
    /// Kubeconfig of the CI identity
    KUBECONFIG = "kubeconfig", Text "PATH", None;
    /// Context of the CI identity's kubeconfig
    CONTEXT = "context", Text "NAME", None;
    /// File that holds the CI identity's token
    IDENTITY_TOKEN_FILE = "identity-token-file", Text "PATH", None;
    /// Audience of the OIDC token that the CI system issues [default: the server's URL; with `--exchange-url`, that URL]
    OIDC_AUDIENCE = "oidc-audience", Text "AUDIENCE", None;
    /// Token endpoint (RFC 8693) that exchanges the CI system's OIDC token for one that the cluster trusts
    EXCHANGE_URL = "exchange-url", Text "URL", None;
    /// Audience that the exchanged token is to have
    EXCHANGE_AUDIENCE = "exchange-audience", Text "AUDIENCE", None;
    /// Scopes that the exchanged token is to have; may be repeated
    EXCHANGE_SCOPE = "exchange-scope", List "SCOPE", None;
    /// URI of what the exchanged token is for
    EXCHANGE_RESOURCE = "exchange-resource", Text "URI", None;
    /// Client id under which the token endpoint knows us
    EXCHANGE_CLIENT_ID = "exchange-client-id", Text "ID", None;
    /// What the job's own token is to the token endpoint: `jwt`, `id_token`, `access_token` or a URN [default: jwt]
    EXCHANGE_SUBJECT_TYPE = "exchange-subject-type", Text "TYPE", Some("jwt");
    /// User of OpenShift's own login; its password is a variable or input (`identity-password`), or in a file
    IDENTITY_USERNAME = "identity-username", Text "NAME", None;
    /// File that holds the password of `--identity-username`
    IDENTITY_PASSWORD_FILE = "identity-password-file", Text "PATH", None;
    /// Revoke the OpenShift token that was given as the CI identity, too
    REVOKE_IDENTITY = "revoke-identity", Switch, None;
    /// Do not check the API server's certificate: whoever answers gets the CI identity's credential
    INSECURE_SKIP_TLS_VERIFY = "insecure-skip-tls-verify", Switch, None;
    /// Token of the CI identity
    IDENTITY_TOKEN = "identity-token", Secret, None;
    /// Kubeconfig of the CI identity, as text or base64 of it
    IDENTITY_KUBECONFIG = "identity-kubeconfig", Secret, None;
    /// OIDC token that the CI system has put into the job, as GitLab's `id_tokens` do
    IDENTITY_ID_TOKEN = "identity-id-token", Secret, None;
    /// Password of `identity-username`
    IDENTITY_PASSWORD = "identity-password", Secret, None;
}

/// The settings that decide where a pass is kept, which API server is asked, and as whom.
pub(super) const CONNECTION: [&Setting; 22] = [
    &DIR,
    &IDENTITY,
    &SERVER,
    &CERTIFICATE_AUTHORITY,
    &KUBECONFIG,
    &CONTEXT,
    &IDENTITY_TOKEN_FILE,
    &OIDC_AUDIENCE,
    &EXCHANGE_URL,
    &EXCHANGE_AUDIENCE,
    &EXCHANGE_SCOPE,
    &EXCHANGE_RESOURCE,
    &EXCHANGE_CLIENT_ID,
    &EXCHANGE_SUBJECT_TYPE,
    &IDENTITY_USERNAME,
    &IDENTITY_PASSWORD_FILE,
    &REVOKE_IDENTITY,
    &INSECURE_SKIP_TLS_VERIFY,
    &IDENTITY_TOKEN,
    &IDENTITY_KUBECONFIG,
    &IDENTITY_ID_TOKEN,
    &IDENTITY_PASSWORD,
];
