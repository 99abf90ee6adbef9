//! `jobpass lock` and `unlock`: no new passes of a namespace, or of one of its service accounts, for some time. The cluster refuses them,
//! whatever version of jobpass asks: the policy `jobpass-tokens` reads what stands here. It holds for CI identities only.

use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Outcome,
    consent::Consent,
    document::{Format, Output, Unreached, print},
    locks::{self, Lock, keys},
    reach::{Opened, Reach},
    reason,
    server::{Question, Server},
    when,
};
use crate::{
    env::Env,
    failure::{Code, Failure},
    out::{Out, instant},
    spec,
};

/// The longest lock: what is to hold for longer is a right that is to be taken away.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// In bytes: the longest name of an account for which an annotation's key has room.
const LONGEST_NAME: usize = 63 - "locked-reason.".len();

/// The policy that reads locks.
const POLICY: &str = "jobpass-tokens";

/// The flags of `lock`.
#[derive(Args, Debug)]
pub struct Locking {
    /// The namespace, or one service account of it
    #[arg(value_name = "NAMESPACE[/ACCOUNT]")]
    target: String,
    /// For how long, such as `4h`; a bare number is seconds; 30 days at most; has to be given
    #[arg(long = "for", value_name = "TIME")]
    length: Option<String>,
    /// Why: whoever is refused reads it; has to be given
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    reach: Reach,
}

/// The flags of `unlock`.
#[derive(Args, Debug)]
pub struct Unlocking {
    /// The namespace, or one service account of it
    #[arg(value_name = "NAMESPACE[/ACCOUNT]")]
    target: String,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    reach: Reach,
}

impl Locking {
    /// How the answer is printed.
    pub fn output(&self) -> Output {
        self.format.output
    }
}

impl Unlocking {
    /// How the answer is printed.
    pub fn output(&self) -> Output {
        self.format.output
    }
}

#[derive(Serialize)]
struct LockList<'a> {
    items: &'a [Lock],
    errors: &'a [Unreached],
}

/// A lock that is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    length: SignedDuration,
    reason: String,
}

impl Wanted {
    /// Reads how long it is to hold.
    ///
    /// # Errors
    /// When that is no length of time, or too long.
    pub fn parse(flag: &str, length: &str, reason: &str) -> Result<Self, Failure> {
        let length = SignedDuration::try_from(when::parsed(flag, length, LONGEST)?).unwrap_or_default();
        Ok(Self { length, reason: reason.to_owned() })
    }

    /// How long it is to hold.
    pub fn length(&self) -> String {
        when::length(self.length)
    }

    /// Locks, and returns when the server has taken it.
    ///
    /// # Errors
    /// When the server has no such namespace, or we may not.
    pub async fn put(&self, server: &Server, (namespace, account): (&str, Option<&str>), out: &Out) -> Result<Lock, Failure> {
        has_room(account)?;
        if !server.has_told_its_time() {
            let failure = Failure::new(Code::ApiAnswer, format!("cannot lock `{}`", locks::target(namespace, account)));
            return Err(failure.cause("the API server does not tell its time, and a lock counts by it"));
        }
        let until = until(server.now(), self.length);
        let [time, reason] = keys(account);
        patch(server, namespace, account, [(time, json!(until)), (reason, json!(self.reason))]).await?;
        if let Some(doubt) = doubt(server).await {
            out.warn(doubt);
        }
        if let Some(account) = account
            && is_missing(server, namespace, account).await
        {
            out.warn(format!(
                "`{}` has no service account `{namespace}/{account}`, so that the lock keeps nobody from a token",
                server.name
            ));
        }
        let (cluster, namespace) = (server.name.clone(), namespace.to_owned());
        Ok(Lock { cluster, namespace, account: account.map(str::to_owned), until, reason: Some(self.reason.clone()) })
    }
}

/// The end of a lock, in the one form that the policy reads.
fn until(now: Timestamp, length: SignedDuration) -> String {
    instant(now.saturating_add(length).unwrap_or(Timestamp::MAX))
}

/// Namespace and account.
fn parsed(text: &str) -> Result<(&str, Option<&str>), Failure> {
    let (namespace, account) = match spec::parts(text) {
        (Some(namespace), account) => (namespace, Some(account)),
        (None, namespace) => (namespace, None),
    };
    if !spec::is_label(namespace) || account.is_some_and(|account| !spec::is_subdomain(account)) {
        let failure = Failure::new(Code::UsageValue, "this names no namespace and no service account");
        return Err(failure.hint("write NAMESPACE, or NAMESPACE/ACCOUNT, such as `ci/deploy-bot`"));
    }
    has_room(account)?;
    Ok((namespace, account))
}

fn has_room(account: Option<&str>) -> Result<(), Failure> {
    if account.is_some_and(|account| account.len() > LONGEST_NAME) {
        let what = format!("the name of the service account has more than {LONGEST_NAME} characters, for which an annotation has no room");
        return Err(Failure::new(Code::UsageValue, what).hint("lock its namespace"));
    }
    Ok(())
}

/// Locks.
///
/// # Errors
/// When the call is wrong, or the only cluster cannot be asked.
pub async fn lock(arguments: &Locking, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    let Locking { target, length, reason, consent, format, reach } = arguments;
    let (namespace, account) = parsed(target)?;
    let missing = || Failure::new(Code::UsageMissing, "`--for` is missing").hint("say for how long, such as `--for 4h`");
    let wanted = Wanted::parse("--for", length.as_deref().ok_or_else(missing)?, &reason::checked(reason.as_deref())?)?;
    consent.check()?;
    let done = Changed::over(reach.open(env, out).await?, reach)?;
    for server in &done.servers {
        // Where they cannot be read, the lock itself says why not.
        let locks = read(server, namespace).await.unwrap_or_default();
        for lock in locks.iter().filter(|lock| lock.account.as_deref() == account) {
            out.say(format!("{}: {}; this lock is replaced", server.name, lock.line()));
        }
    }
    let names: Vec<_> = done.servers.iter().map(|server| server.name.as_str()).collect();
    out.say(format!("{}: CI identities get no token of {} for {}", names.join(", "), locks::target(namespace, account), wanted.length()));
    if !agreed(*consent, &format!("lock {}?", locks::target(namespace, account)), out) {
        return Ok(if consent.dry_run { Outcome::Done } else { Outcome::Failed });
    }
    let put = done.servers.iter().map(|server| wanted.put(server, (namespace, account), out));
    let results = join_all(put).await;
    let (locks, outcome, errors) = done.settled(results)?;
    match format.output {
        Output::Json => print("LockList", &LockList { items: &locks, errors: &errors }, out)?,
        Output::Name => locks.iter().try_for_each(|lock| out.data(&lock.target()))?,
        Output::Table | Output::Wide => {
            told(locks.iter().map(|lock| (lock.cluster.as_str(), lock.line())), &errors, reach, out)?;
            out.say("passes that are out go on: `jobpass leases revoke` ends them");
            out.say(format!("next:  jobpass unlock {}{}", locks::target(namespace, account), reach.flags()));
        }
    }
    Ok(outcome)
}

/// Unlocks.
///
/// # Errors
/// When the call is wrong, or the only cluster cannot be asked.
pub async fn unlock(arguments: &Unlocking, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    let Unlocking { target, consent, format, reach } = arguments;
    let (namespace, account) = parsed(target)?;
    consent.check()?;
    let mut done = Changed::over(reach.open(env, out).await?, reach)?;
    let (mut held, mut unread) = (Vec::new(), Vec::new());
    for server in &done.servers {
        let locks = match read(server, namespace).await {
            Ok(locks) => locks,
            Err(failure) if done.tried == 1 => return Err(failure),
            Err(failure) => {
                unread.push(Unreached { cluster: server.name.clone(), reason: failure.brief() });
                continue;
            }
        };
        for lock in &locks {
            let is_meant = lock.account.as_deref() == account;
            let rest = if is_meant { "" } else { "; this lock stays" };
            out.say(format!("{}: {}{rest}", server.name, lock.line()));
            held.extend(is_meant.then(|| lock.clone()));
        }
    }
    if held.is_empty() {
        out.say(format!("{} is not locked", locks::target(namespace, account)));
    } else if !agreed(*consent, &format!("unlock {}?", locks::target(namespace, account)), out) {
        return Ok(if consent.dry_run { Outcome::Done } else { Outcome::Failed });
    }
    done.errors.extend(unread);
    done.servers.retain(|server| held.iter().any(|lock| lock.cluster == server.name));
    let taken = done.servers.iter().map(async |server| {
        patch(server, namespace, account, keys(account).map(|key| (key, Value::Null))).await?;
        let (cluster, namespace) = (server.name.clone(), namespace.to_owned());
        Ok(Lock { cluster, namespace, account: account.map(str::to_owned), until: instant(server.now()), reason: None })
    });
    let results = join_all(taken).await;
    let (locks, outcome, errors) = done.settled(results)?;
    match format.output {
        Output::Json => print("LockList", &LockList { items: &[], errors: &errors }, out)?,
        Output::Name => locks.iter().try_for_each(|lock| out.data(&lock.target()))?,
        Output::Table | Output::Wide => {
            told(locks.iter().map(|lock| (lock.cluster.as_str(), format!("{} is unlocked", lock.target()))), &errors, reach, out)?;
        }
    }
    Ok(outcome)
}

fn told<'a>(lines: impl Iterator<Item = (&'a str, String)>, errors: &[Unreached], reach: &Reach, out: &Out) -> Result<(), Failure> {
    for (cluster, line) in lines {
        out.data(&if reach.is_many() { format!("{cluster}  {line}") } else { line })?;
    }
    errors.iter().try_for_each(|error| out.data(&format!("{}  cannot be asked: {}", error.cluster, error.reason)))
}

fn agreed(consent: Consent, question: &str, out: &Out) -> bool {
    if consent.dry_run {
        out.say("nothing was done, as this is a dry run");
    }
    let is_given = !consent.dry_run && consent.given(question, out);
    if !is_given && !consent.dry_run {
        out.say("nothing was done");
    }
    is_given
}

/// The clusters that a change is for.
struct Changed {
    servers: Vec<Server>,
    errors: Vec<Unreached>,
    tried: usize,
}

impl Changed {
    fn over(opened: Vec<Opened>, reach: &Reach) -> Result<Self, Failure> {
        let mut changed = Self { servers: Vec::new(), errors: Vec::new(), tried: opened.len() };
        for Opened { name, server } in opened {
            match server {
                Ok(server) => changed.servers.push(server),
                Err(failure) if !reach.is_many() => return Err(failure),
                Err(failure) => changed.errors.push(Unreached { cluster: name, reason: failure.brief() }),
            }
        }
        Ok(changed)
    }

    /// What became of all.
    fn settled(&self, results: Vec<Result<Lock, Failure>>) -> Result<(Vec<Lock>, Outcome, Vec<Unreached>), Failure> {
        let (mut locks, mut errors) = (Vec::new(), self.errors.clone());
        for (server, result) in self.servers.iter().zip(results) {
            match result {
                Ok(lock) => locks.push(lock),
                Err(failure) if self.tried == 1 => return Err(failure),
                Err(failure) => errors.push(Unreached { cluster: server.name.clone(), reason: failure.brief() }),
            }
        }
        let outcome = Outcome::of(self.tried, errors.len());
        Ok((locks, outcome, errors))
    }
}

/// The locks of a namespace.
async fn read(server: &Server, namespace: &str) -> Result<Vec<Lock>, Failure> {
    let api: Api<Namespace> = Api::all(server.client.clone());
    let what = format!("cannot read the namespace `{namespace}`");
    let question = Question { what: &what, right: "`get` on `namespaces`" };
    let found = server.ask(question, async || api.get_metadata(namespace).await).await.map_err(|refused| refused.failure)?;
    Ok(locks::of(&server.name, namespace, &found.metadata.annotations.unwrap_or_default(), server.now()))
}

/// Writes annotations of a namespace; null takes one away.
async fn patch(server: &Server, namespace: &str, account: Option<&str>, notes: [(String, Value); 2]) -> Result<(), Failure> {
    let api: Api<Namespace> = Api::all(server.client.clone());
    let what = format!("cannot change the lock of `{}`", locks::target(namespace, account));
    let question = Question { what: &what, right: "`patch` on `namespaces`" };
    let patch = Patch::Merge(json!({"metadata": {"annotations": notes.into_iter().collect::<Map<_, _>>()}}));
    let params = PatchParams::default();
    let done = server.ask(question, async || api.patch_metadata(namespace, &params, &patch).await).await;
    done.map(drop).map_err(|refused| refused.failure)
}

/// Whether there surely is no such account: a name that was mistyped at night would look like a lock.
async fn is_missing(server: &Server, namespace: &str, account: &str) -> bool {
    let api: Api<ServiceAccount> = Api::namespaced(server.client.clone(), namespace);
    let question = Question { what: "cannot read a service account", right: "`get` on `serviceaccounts`" };
    matches!(server.ask(question, async || api.get_metadata(account).await).await, Err(refused) if refused.status == Some(404))
}

/// Why a lock may not hold on this cluster: nobody may be left to believe in one that nothing reads.
async fn doubt(server: &Server) -> Option<String> {
    let api: Api<ValidatingAdmissionPolicy> = Api::all(server.client.clone());
    let question = Question { what: "cannot read the policy", right: "`get` on `validatingadmissionpolicies`" };
    let name = &server.name;
    match server.ask(question, async || api.get(POLICY).await).await {
        Ok(policy) if is_read_by(&policy) => None,
        Ok(_) => Some(format!(
            "the policy `{POLICY}` of `{name}` reads no locks, so that nothing is refused: apply the policies of this jobpass"
        )),
        Err(refused) if refused.status == Some(404) => {
            Some(format!("there is no policy `{POLICY}` on `{name}`, so that nothing is refused: apply the policies of jobpass"))
        }
        Err(refused) => Some(format!("it is not known whether `{name}` heeds the lock: {}", refused.failure.brief())),
    }
}

fn is_read_by(policy: &ValidatingAdmissionPolicy) -> bool {
    let spec = policy.spec.as_ref();
    let variables = spec.and_then(|spec| spec.variables.as_ref()).into_iter().flatten().map(|variable| &variable.expression);
    let validations = spec.and_then(|spec| spec.validations.as_ref()).into_iter().flatten().map(|validation| &validation.expression);
    variables.chain(validations).any(|expression| expression.contains(locks::UNTIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_is_a_namespace_or_an_account() {
        assert_eq!(parsed("ci").expect("a namespace"), ("ci", None));
        assert_eq!(parsed("ci/deploy-bot").expect("an account"), ("ci", Some("deploy-bot")));
        for text in ["", "/", "ci/", "CI", "ci/a/b", "ci/a b", "--all"] {
            assert!(parsed(text).is_err(), "{text}");
        }
        let long = format!("ci/{}", "a".repeat(LONGEST_NAME + 1));
        assert!(parsed(&long).expect_err("refused").brief().contains("no room"));
    }

    #[test]
    fn a_lock_ends_at_a_whole_second_of_the_servers_clock() {
        let now = "2026-11-28T12:00:00.75Z".parse().expect("a time");
        assert_eq!(until(now, SignedDuration::from_hours(4)), "2026-11-28T16:00:00Z");
        assert!(Wanted::parse("--for", "31d", "x").is_err());
    }

    #[test]
    fn the_policy_of_this_repository_reads_locks_and_an_older_one_does_not() {
        let text = include_str!("../../deploy/policy.yaml");
        let policies: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
        let of = |name: &str| {
            let found = policies.iter().find(|policy| policy["kind"] == "ValidatingAdmissionPolicy" && policy["metadata"]["name"] == name);
            serde_json::from_value::<ValidatingAdmissionPolicy>(found.expect("it is there").clone()).expect("a policy")
        };
        assert!(is_read_by(&of(POLICY)));
        assert!(!is_read_by(&of("jobpass-lease-secrets")));
    }
}
