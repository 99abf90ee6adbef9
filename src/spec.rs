//! The properties of the requested pass: the settings of `request`, validated once.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::RawMode;
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    failure::{Code, Failure},
    options::{self as o, Given, Options},
};

mod registry;
mod variable;

pub use registry::Registry;
use registry::registry;
use variable::variable;

/// The shortest and longest ttl: the API server refuses less than ten minutes, and a pass is for one job.
const TTL: (Duration, Duration) = (Duration::from_mins(10), Duration::from_hours(24));

/// The ttl if none is asked for and the platform does not say how long the job may run.
const USUAL: Duration = Duration::from_hours(1);

/// The shortest and longest lifetime of a lease: at least one token, at most a week, as no job takes longer.
const LIFETIME: (Duration, Duration) = (Duration::from_mins(10), Duration::from_hours(168));

/// The lifetime of a pass that `hold` keeps, if none is asked for.
const HELD: Duration = Duration::from_hours(2);

/// A ttl that we avoid: for a pod-bound token with it the API server issues one for a year. Ours are bound to a Secret, so this is
/// only a precaution. See `WarnOnlyBoundTokenExpirationSeconds` in Kubernetes' `pkg/serviceaccount/claims.go`.
const EXTENDED: Duration = Duration::from_secs(3607);

/// A service account: `namespace/name` in text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    /// The namespace, an RFC 1123 label.
    pub namespace: String,
    /// The name, an RFC 1123 subdomain.
    pub name: String,
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The token that is requested and the form in which the job gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSpec {
    /// The service account whose token is requested.
    pub service_account: ServiceAccount,
    /// The lifetime of one token.
    pub ttl: Duration,
    /// The lifetime of the lease, where the token is renewed (`run`); none if there is only one token.
    pub lifetime: Option<Duration>,
    /// The token's audiences; empty means the API server's own.
    pub audiences: Vec<String>,
    /// The variable that gets the token, if one does.
    pub variable: Option<String>,
    /// Whether a kubeconfig is written.
    pub kubeconfig: bool,
    /// The path of the kubeconfig, if it is not in the store.
    pub kubeconfig_out: Option<PathBuf>,
    /// The docker configuration that gets the token, if one does.
    pub registry: Option<Registry>,
    /// The namespace of the kubeconfig's context.
    pub target_namespace: String,
    /// How the kubeconfig gives the token.
    pub kubeconfig_mode: KubeconfigMode,
    /// The mode of the token, kubeconfig and env files.
    pub file_mode: RawMode,
}

/// How the kubeconfig of a pass gives the token to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubeconfigMode {
    /// It stands in the kubeconfig, with the path of the token file.
    Token,
    /// The client runs `jobpass credential`, a credential plugin.
    Exec,
}

impl TokenSpec {
    /// Validates the settings of `request`.
    ///
    /// # Errors
    /// When a setting is missing, invalid or contradicts another; the message names it as it was given.
    pub fn of(context: &Context) -> Result<Self, Failure> {
        let options = &context.options;
        if options.chosen(&o::VARIABLE).is_some() {
            options.exclusive(&o::VARIABLE, &o::NO_VARIABLE)?;
        }
        options.exclusive(&o::KUBECONFIG_OUT, &o::NO_KUBECONFIG)?;
        // Only `revoke` uses these; but then it is too late to refuse them.
        for setting in [&o::STRICT, &o::WAIT_DEAD, &o::ALL_LEASES, &o::IF_HERE] {
            options.switch(setting)?;
        }
        let service_account = service_account(options)?.ok_or_else(|| {
            Failure::new(Code::UsageMissing, format!("{} is missing", options.missing(&o::SERVICE_ACCOUNT)))
                .hint("name the service account whose token the job gets, as NAMESPACE/NAME")
        })?;
        let asked = options.duration(&o::TTL, TTL)?;
        // Not longer than the job may run: https://docs.gitlab.com/ci/variables/predefined_variables/ (`CI_JOB_TIMEOUT`).
        let usual = context.job_timeout().map_or(USUAL, |timeout| timeout.clamp(TTL.0, USUAL));
        let ttl = asked.unwrap_or(usual);
        let kubeconfig = !options.switch(&o::NO_KUBECONFIG)?;
        let target_namespace = match options.get(&o::TARGET_NAMESPACE) {
            Some(given) => label(given)?,
            None => service_account.namespace.clone(),
        };
        let variable = if options.switch(&o::NO_VARIABLE)? { None } else { options.get(&o::VARIABLE).map(variable).transpose()? };
        Ok(Self {
            service_account,
            ttl: unextended(ttl),
            lifetime: None,
            audiences: options.list(&o::AUDIENCE).into_iter().map(str::to_owned).collect(),
            variable,
            kubeconfig,
            kubeconfig_out: options.get(&o::KUBECONFIG_OUT).map(|given| outside(given, context)).transpose()?,
            registry: registry(context)?,
            target_namespace,
            kubeconfig_mode: options.get(&o::KUBECONFIG_MODE).map_or(Ok(KubeconfigMode::Token), kubeconfig_mode)?,
            file_mode: options.get(&o::FILE_MODE).map_or(Ok(0o600), mode)?,
        })
    }
}

impl TokenSpec {
    /// The same for `run`, whose command may outlive its first token.
    ///
    /// # Errors
    /// When `--max-lifetime` is no length of time or out of bounds.
    pub fn renewable(self, context: &Context) -> Result<Self, Failure> {
        self.renewable_for(context, context.job_timeout().unwrap_or(TTL.1))
    }

    /// The same for `hold`, which nobody may be there to stop: its usual lifetime is short.
    ///
    /// # Errors
    /// As above.
    pub fn held(self, context: &Context) -> Result<Self, Failure> {
        self.renewable_for(context, HELD)
    }

    fn renewable_for(self, context: &Context, usual: Duration) -> Result<Self, Failure> {
        let options = &context.options;
        let asked = options.duration(&o::MAX_LIFETIME, LIFETIME)?;
        let lifetime = asked.unwrap_or(usual).clamp(LIFETIME.0, LIFETIME.1);
        // A token that is renewed need not live as long as the job.
        let ttl = if options.chosen(&o::TTL).is_some() { self.ttl } else { USUAL };
        // What is not renewed, and what the command shows by a slip, is in no variable unless somebody wants it there.
        let variable = self.variable.filter(|_| options.chosen(&o::VARIABLE).is_some());
        Ok(Self { ttl: unextended(ttl.min(lifetime)), lifetime: Some(lifetime), variable, kubeconfig: true, kubeconfig_out: None, ..self })
    }
}

/// The ttl, or a second less if it is the one to avoid.
fn unextended(ttl: Duration) -> Duration {
    if ttl == EXTENDED { Duration::from_secs(3606) } else { ttl }
}

/// The service account that `--service-account` names, completed by `--namespace`.
///
/// # Errors
/// When a name is not valid, or the two settings give different namespaces.
pub fn service_account(options: &Options) -> Result<Option<ServiceAccount>, Failure> {
    let namespace = options.get(&o::NAMESPACE);
    let Some(given) = options.get(&o::SERVICE_ACCOUNT) else { return Ok(None) };
    let (named, name) = parts(&given.text);
    // Whoever gives it means it: what is wrong with it must not be said of the account.
    namespace.map(label).transpose()?;
    if let (Some(named), Some(other)) = (named, namespace)
        && named != other.text
    {
        let failure = Failure::new(Code::UsageConflict, format!("{} and {} name two namespaces", given.source, other.source));
        // As kubectl names any object.
        let is_kind = ["sa", "serviceaccount", "serviceaccounts"].contains(&named);
        return Err(failure.hint(if is_kind { "write the name alone, without its kind before it" } else { "give the namespace once" }));
    }
    let Some(namespace) = named.or(namespace.map(|other| other.text.as_str())) else {
        return Err(Failure::new(Code::UsageMissing, format!("{} names no namespace", given.source))
            .hint("write NAMESPACE/NAME, or add `--namespace`"));
    };
    if !is_label(namespace) || !is_subdomain(name) {
        let hint = "write NAMESPACE/NAME in lower-case letters, digits and hyphens, such as `ci/deploy-bot`";
        return Err(Failure::new(Code::UsageValue, format!("{} names no service account", given.source)).hint(hint));
    }
    Ok(Some(ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }))
}

/// Namespace and name as people write them: `ci/deploy-bot`; `ci:deploy-bot`, as kubectl takes it in bindings; or the user's name,
/// as messages and audit logs have it.
#[must_use]
pub fn parts(text: &str) -> (Option<&str>, &str) {
    let text = text.strip_prefix("system:serviceaccount:").unwrap_or(text);
    text.split_once(['/', ':']).map_or((None, text), |(namespace, name)| (Some(namespace), name))
}

/// Whether it is a valid name of a namespace: an RFC 1123 label.
#[must_use]
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

fn is_part(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether it is a valid name of a service account: an RFC 1123 subdomain.
#[must_use]
pub fn is_subdomain(text: &str) -> bool {
    // Unlike a label, a part of a subdomain has no length limit of its own.
    (1..=253).contains(&text.len()) && text.split('.').all(is_part)
}

fn label(given: &Given) -> Result<String, Failure> {
    if is_label(&given.text) {
        return Ok(given.text.clone());
    }
    Err(Failure::new(Code::UsageValue, format!("{} names no namespace", given.source)).hint("write lower-case letters, digits and hyphens"))
}

fn kubeconfig_mode(given: &Given) -> Result<KubeconfigMode, Failure> {
    match given.text.as_str() {
        "token" => Ok(KubeconfigMode::Token),
        "exec" => Ok(KubeconfigMode::Exec),
        _ => Err(Failure::new(Code::UsageValue, format!("{} is neither `token` nor `exec`", given.source))),
    }
}

fn mode(given: &Given) -> Result<RawMode, Failure> {
    match given.text.trim_start_matches('0') {
        "600" => Ok(0o600),
        "400" => Ok(0o400),
        "640" => Ok(0o640),
        "440" => Ok(0o440),
        _ => {
            Err(Failure::new(Code::UsageValue, format!("{} is no mode for a secret", given.source)).hint("write 0600, 0400, 0640 or 0440"))
        }
    }
}

fn outside(given: &Given, context: &Context) -> Result<PathBuf, Failure> {
    let path = context.env.absolute(given.text.as_ref());
    outside_workspace(&path, given, context)?;
    if given.text.ends_with('/') || path.is_dir() {
        return Err(Failure::new(Code::UsageValue, format!("{} is a directory", given.source)).hint("name a file"));
    }
    Ok(path)
}

/// Refuses a base directory for passes inside the job's workspace: artifacts, caches and commits would take the secrets.
///
/// # Errors
/// When the directory is in the workspace.
pub fn base_outside_workspace(path: &Path, context: &Context) -> Result<(), Failure> {
    if let Some(given) = context.options.get(&o::DIR) {
        return outside_workspace(path, given, context);
    }
    if !context.is_in_workspace(path) {
        return Ok(());
    }
    let what = format!("`{}` lies in the workspace, where artifacts, caches and commits would take the pass", path.display());
    Err(Failure::new(Code::UsagePlace, what).hint("name a directory outside of it by `--dir`"))
}

fn outside_workspace(path: &Path, given: &Given, context: &Context) -> Result<(), Failure> {
    if !context.is_in_workspace(path) {
        return Ok(());
    }
    let what = format!("{} lies in the workspace, where artifacts, caches and commits would take it", given.source);
    Err(Failure::new(Code::UsagePlace, what).hint("choose a path outside of it, or leave it out"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context::context, platform::Platform};

    fn spec(flags: &[(&str, &str)]) -> Result<TokenSpec, Failure> {
        spec_on(Platform::Local, flags, &[])
    }

    fn spec_on(platform: Platform, flags: &[(&str, &str)], env: &[(&str, &str)]) -> Result<TokenSpec, Failure> {
        TokenSpec::of(&context(platform, flags, env)?)
    }

    fn refusal(flags: &[(&str, &str)]) -> String {
        let failure = spec(flags).expect_err("must be refused");
        assert_eq!(failure.exit().code(), 2);
        failure.to_string()
    }

    #[test]
    fn the_namespace_completes_a_bare_name_only() {
        let name = |flags: &[(&str, &str)]| spec(flags).expect("valid").service_account.to_string();
        assert_eq!(name(&[("service-account", "ci/x")]), "ci/x");
        assert_eq!(name(&[("service-account", "x"), ("namespace", "ci")]), "ci/x");
        assert_eq!(name(&[("service-account", "ci/x"), ("namespace", "ci")]), "ci/x");
        for given in ["ci:x", "system:serviceaccount:ci:x"] {
            assert_eq!(name(&[("service-account", given)]), "ci/x");
            assert!(refusal(&[("service-account", given), ("namespace", "other")]).contains("name two namespaces"));
        }
        for given in ["system:serviceaccount:x", "a:b:c", "a/b/c", "ci/b:c", ":x", "ci:", "system:serviceaccounts:ci"] {
            assert!(spec(&[("service-account", given)]).is_err(), "{given}");
        }
        assert!(refusal(&[("service-account", "ci/x"), ("namespace", "other")]).contains("name two namespaces"));
        assert!(refusal(&[("service-account", "x")]).contains("names no namespace"));
        for (account, given) in [("x", "ci/x"), ("x", "ci/"), ("x", "CI"), ("ci/x", "a/b")] {
            let said = refusal(&[("service-account", account), ("namespace", given)]);
            assert!(said.starts_with("error: `--namespace` names no namespace"), "{given}: {said}");
        }
        for kind in ["sa", "serviceaccount"] {
            let said = refusal(&[("service-account", &format!("{kind}/x")), ("namespace", "ci")]);
            assert!(said.ends_with("write the name alone, without its kind before it"), "{said}");
        }
    }

    #[test]
    fn no_token_lives_longer_than_the_job_may_take_or_an_hour_unless_it_is_asked_for() {
        let given = |timeout, flags: &[(&str, &str)]| {
            let flags: Vec<_> = [("service-account", "ci/x")].iter().chain(flags).copied().collect();
            spec_on(Platform::Gitlab, &flags, &[("CI_JOB_TIMEOUT", timeout)]).expect("valid").ttl.as_secs()
        };
        for (timeout, seconds) in [
            ("60", 600),
            ("900", 900),
            ("3600", 3600),
            ("7200", 3600),
            ("604800", 3600),
            ("", 3600),
            ("x", 3600),
            ("0", 600),
            ("-1", 3600),
            ("1e3", 3600),
            ("18446744073709551615", 3600),
            ("18446744073709551616", 3600),
        ] {
            assert_eq!(given(timeout, &[]), seconds, "{timeout}");
        }
        assert_eq!(given("7200", &[("ttl", "15m")]), 900);
        assert_eq!(given("900", &[("ttl", "2h")]), 7200);
        assert_eq!(given("900", &[("ttl", "3607")]), 3606);
        assert_eq!(spec(&[("service-account", "ci/x")]).expect("valid").ttl.as_secs(), 3600);
    }

    #[test]
    fn a_token_that_is_renewed_lives_an_hour() {
        let of = |flags: &[(&str, &str)]| {
            let flags: Vec<_> = flags.iter().chain(&[("service-account", "ci/x")]).copied().collect();
            let context = context(Platform::Gitlab, &flags, &[("CI_JOB_TIMEOUT", "21600")]).expect("valid");
            let spec = TokenSpec::of(&context).and_then(|spec| spec.renewable(&context));
            spec.map(|spec| (spec.ttl.as_secs(), spec.lifetime.map(|lifetime| lifetime.as_secs()))).expect("valid")
        };
        assert_eq!(of(&[]), (3600, Some(21600)));
        assert_eq!(of(&[("ttl", "2h")]), (7200, Some(21600)));
        assert_eq!(of(&[("max-lifetime", "20m")]), (1200, Some(1200)));
        assert_eq!(of(&[("ttl", "2h"), ("max-lifetime", "3607")]), (3606, Some(3607)));
    }

    #[test]
    fn a_job_of_whatever_length_has_a_lease_within_bounds() {
        for (timeout, seconds) in [("0", LIFETIME.0), ("18446744073709551615", LIFETIME.1), ("-1", TTL.1), ("x", TTL.1)] {
            let context = context(Platform::Gitlab, &[("service-account", "ci/x")], &[("CI_JOB_TIMEOUT", timeout)]).expect("valid");
            let spec = TokenSpec::of(&context).and_then(|spec| spec.renewable(&context));
            assert_eq!(spec.expect("valid").lifetime, Some(seconds), "{timeout}");
        }
    }

    #[test]
    fn a_service_account_is_needed() {
        assert!(refusal(&[]).starts_with("error: `--service-account` (or `JOBPASS_SERVICE_ACCOUNT`) is missing"));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for name in [
            "ci/",
            "/x",
            "ci/X",
            "ci/a/b",
            "../x",
            "ci/x y",
            "ci/-x",
            "system:serviceaccount:x",
            "system:serviceaccount:ci:X",
            "ci/x?dryRun=All",
        ] {
            assert!(refusal(&[("service-account", name)]).contains("`--service-account` names no"), "{name}");
        }
        assert!(is_subdomain("a.b-c.d") && !is_subdomain("a..b") && !is_label(&"a".repeat(64)));
        let long = "a".repeat(64);
        assert!(is_subdomain(&long) && !is_subdomain(&"a".repeat(254)));
        for tail in ["/x?dryRun=All", "ä", "ää", "-"] {
            assert!(!is_subdomain(&(long.clone() + tail)), "{tail}");
        }
    }

    #[test]
    fn the_year_long_lifetime_is_never_asked_for() {
        assert_eq!(spec(&[("service-account", "ci/x"), ("ttl", "3607")]).expect("valid").ttl, Duration::from_secs(3606));
    }

    #[test]
    fn no_variable_and_a_chosen_one_exclude_each_other() {
        let flags = [("service-account", "ci/x"), ("no-variable", "true")];
        assert_eq!(spec(&flags).expect("valid").variable, None);
        assert!(refusal(&[flags[0], flags[1], ("variable", "X")]).contains("exclude each other"));
        assert!(refusal(&[flags[0], ("no-kubeconfig", "true"), ("kubeconfig-out", "/x/y")]).contains("exclude each other"));
    }

    #[test]
    fn a_mode_that_others_could_read_is_refused() {
        let with = |mode: &str| spec(&[("service-account", "ci/x"), ("file-mode", mode)]);
        assert_eq!(with("0640").expect("valid").file_mode, 0o640);
        for mode in ["0644", "777", "rw", "0"] {
            assert!(with(mode).is_err(), "{mode}");
        }
    }

    #[test]
    fn a_kubeconfig_in_the_workspace_is_refused() {
        let env = [("GITHUB_WORKSPACE", "/w/repo")];
        let at = |path: &str| spec_on(Platform::Github, &[("service-account", "ci/x"), ("kubeconfig-out", path)], &env);
        assert!(at("/w/repo/kubeconfig").expect_err("inside").to_string().contains("lies in the workspace"));
        assert!(at("/w/other/kubeconfig").is_ok());
    }
}
