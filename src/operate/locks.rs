//! Locks: annotations of a namespace by which the policy `jobpass-tokens` refuses CI identities every token of it, or of one of its
//! accounts, until a time.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::ListParams};
use serde::Serialize;

use super::server::{Question, Refused, Server};
use crate::out::{instant, one_line};

/// The annotation with the time; for one account its name follows after a dot.
pub const UNTIL: &str = "jobpass.dev/locked-until";

/// The annotation with the reason, in the same way.
pub const REASON: &str = "jobpass.dev/locked-reason";

/// How many namespaces are asked at the same time.
const AT_ONCE: usize = 8;

/// How many namespaces one answer holds.
const PAGE: u32 = 500;

/// A lock that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// The cluster: the context's name.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The one account that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Until when. What is no time holds until it is taken away.
    pub until: String,
    /// Why, if somebody has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Lock {
    /// What is locked, as `jobpass unlock` takes it.
    pub fn target(&self) -> String {
        target(&self.namespace, self.account.as_deref())
    }

    /// It in one line.
    pub fn line(&self) -> String {
        let until = match parsed(&self.until) {
            Some(until) => format!("until {}", instant(until)),
            None => format!("until somebody unlocks it: `{}` is no time", one_line(&self.until)),
        };
        let reason = self.reason.as_deref().map(|reason| format!(": \"{}\"", one_line(reason))).unwrap_or_default();
        format!("{} is locked {until}{reason}", self.target())
    }

    /// Whether it keeps this account from tokens.
    pub fn holds_for(&self, namespace: &str, account: Option<&str>) -> bool {
        self.namespace == namespace && (self.account.is_none() || self.account.as_deref() == account)
    }
}

/// A namespace, or an account of it.
pub fn target(namespace: &str, account: Option<&str>) -> String {
    account.map_or_else(|| namespace.to_owned(), |account| format!("{namespace}/{account}"))
}

/// The annotations of a lock: the time's and the reason's.
pub fn keys(account: Option<&str>) -> [String; 2] {
    [UNTIL, REASON].map(|key| account.map_or_else(|| key.to_owned(), |account| format!("{key}.{account}")))
}

/// The locks of a namespace that hold at this time.
pub fn of(cluster: &str, namespace: &str, notes: &BTreeMap<String, String>, now: Timestamp) -> Vec<Lock> {
    let of_key = |(key, until): (&String, &String)| {
        let account = match key.strip_prefix(UNTIL)? {
            "" => None,
            rest => Some(rest.strip_prefix('.')?.to_owned()),
        };
        let [_, reason] = keys(account.as_deref());
        let (cluster, namespace) = (cluster.to_owned(), namespace.to_owned());
        let lock = Lock { cluster, namespace, account, until: until.clone(), reason: notes.get(&reason).cloned() };
        // As the policy sees it.
        parsed(until).is_none_or(|until| until > now).then_some(lock)
    };
    notes.iter().filter_map(of_key).collect()
}

/// A time in the one form that the policy reads.
fn parsed(text: &str) -> Option<Timestamp> {
    let is_form = text.len() == 20
        && text.bytes().zip(*b"0000-00-00T00:00:00Z").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        });
    text.parse().ok().filter(|_| is_form)
}

/// The locks that hold in these namespaces, or in all; nothing of a namespace that we may not read.
pub async fn all(server: &Server, namespaces: &[Option<String>]) -> Vec<Lock> {
    let api: Api<Namespace> = Api::all(server.client.clone());
    let named: Vec<_> = namespaces.iter().flatten().cloned().collect();
    if named.len() < namespaces.len() {
        return in_all(server, &api).await.unwrap_or_default();
    }
    let one = |name: String| {
        let api = api.clone();
        async move {
            let question = Question { what: "cannot read a namespace", right: "`get` on `namespaces`" };
            let found = server.ask(question, async || api.get_metadata(&name).await).await.ok()?;
            Some(of(&server.name, &name, &found.metadata.annotations?, server.now()))
        }
    };
    stream::iter(named.into_iter().map(one)).buffered(AT_ONCE).collect::<Vec<_>>().await.into_iter().flatten().flatten().collect()
}

async fn in_all(server: &Server, api: &Api<Namespace>) -> Result<Vec<Lock>, Refused> {
    let (mut params, mut locks) = (ListParams::default().limit(PAGE), Vec::new());
    loop {
        let question = Question { what: "cannot list the namespaces", right: "`list` on `namespaces`" };
        let page = server.ask(question, async || api.list_metadata(&params).await).await?;
        for namespace in page.items {
            let (name, notes) = (namespace.metadata.name.unwrap_or_default(), namespace.metadata.annotations.unwrap_or_default());
            locks.extend(of(&server.name, &name, &notes, server.now()));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty() && params.continue_token.as_ref() != Some(token)) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(locks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().expect("a time")
    }

    fn locks(notes: &[(&str, &str)]) -> Vec<Lock> {
        let notes = notes.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        of("main", "ci", &notes, now())
    }

    #[test]
    fn a_lock_holds_until_its_time_and_what_is_no_time_holds() {
        for (until, holds) in [
            ("2026-11-28T12:00:01Z", true),
            ("2026-11-28T12:00:00Z", false),
            ("2026-11-28T11:00:00+00:00", true),
            ("2026-11-28T11:00:00.5Z", true),
            ("2026-13-45T99:00:00Z", true),
            ("", true),
            ("soon", true),
        ] {
            assert_eq!(locks(&[(UNTIL, until)]).len(), usize::from(holds), "{until}");
        }
    }

    #[test]
    fn an_account_has_a_lock_and_a_reason_of_its_own() {
        let far = "2026-11-28T16:00:00Z";
        let found = locks(&[
            ("jobpass.dev/locked-until.deploy-bot", far),
            ("jobpass.dev/locked-reason.deploy-bot", "leaked\n\u{1b}[31m"),
            ("jobpass.dev/locked-untilx", far),
            ("jobpass.dev/locked-reason", "another"),
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line(), "ci/deploy-bot is locked until 2026-11-28T16:00:00Z: \"leaked [31m\"");
        assert!(
            found[0].holds_for("ci", Some("deploy-bot"))
                && !found[0].holds_for("ci", None)
                && !found[0].holds_for("other", Some("deploy-bot"))
        );
        assert!(locks(&[(UNTIL, far)])[0].holds_for("ci", Some("any")));
        assert_eq!(locks(&[(UNTIL, "soon")])[0].line(), "ci is locked until somebody unlocks it: `soon` is no time");
    }
}
