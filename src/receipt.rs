//! The receipt: what was revoked, and how far the token's death is proved. JSON without secrets.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::{clock::ServerTime, failure::Code, lease::Lease, out::API_VERSION};

/// How far it is proved that the tokens of a lease are dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Proof {
    /// The Secret is deleted; the API server was not asked about the token.
    Removed,
    /// The API server answered 401 to the token.
    Dead,
    /// The Secret is deleted, but an API server still accepts the token from its cache.
    Pending {
        /// Until when it may be accepted, if the server's time is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<ServerTime>,
    },
    /// The Secret did not exist any more.
    Absent,
    /// A finalizer holds the Secret.
    Deleting {
        /// Until when the token may live, if the server's time is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<ServerTime>,
    },
    /// The Secret could not be deleted, but all its tokens have expired.
    Expired,
    /// The Secret could not be deleted, and a token may be alive.
    Failed {
        /// The kind of the failure.
        code: Code,
        /// The failure on one line.
        reason: String,
        /// Until when the token may live, if the server has said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<ServerTime>,
    },
}

impl Proof {
    /// Whether the pass is ended, as far as we can do that.
    #[must_use]
    pub fn is_success(&self) -> bool {
        !matches!(self, Self::Failed { .. })
    }

    /// Whether its tokens are dead now: the API server has said so, or their time is over.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        match self {
            Self::Dead | Self::Expired => true,
            Self::Removed | Self::Pending { .. } | Self::Absent | Self::Deleting { .. } | Self::Failed { .. } => false,
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => f.write_str("removed: the lease is deleted"),
            Self::Dead => f.write_str("dead: the API server answers 401 to the token"),
            Self::Pending { until } => {
                match until {
                    Some(until) => write!(f, "dead at {} at the latest", until.time_of_day())?,
                    None => f.write_str("dead in 10 s at the latest")?,
                }
                f.write_str(": the lease is deleted, and by then the API server's cache has forgotten the token")
            }
            Self::Absent => f.write_str("absent: the lease was already gone"),
            Self::Deleting { until } => {
                match until {
                    Some(until) => write!(f, "dead at {} at the latest", until.time_of_day())?,
                    None => f.write_str("dead in 70 s at the latest")?,
                }
                f.write_str(": a finalizer holds the lease, but not its end")
            }
            Self::Expired => f.write_str("expired: the token's life is over; the lease could not be deleted"),
            Self::Failed { until: Some(until), .. } => write!(f, "failed: the token stays valid until {until}"),
            Self::Failed { until: None, .. } => f.write_str("failed: a token of it may be alive"),
        }
    }
}

/// What `revoke` did to one pass.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    api_version: &'static str,
    kind: &'static str,
    /// The lease, as `namespace/name`.
    pub lease: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// The service account, as `namespace/name`; empty if only the lease's name was known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account: String,
    server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_at: Option<ServerTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<ServerTime>,
    /// When the DELETE was answered: by the server's clock if it is known, else by ours.
    pub revoked_at: Timestamp,
    /// How far the token's death is proved.
    pub proof: Proof,
}

impl Receipt {
    /// The receipt for a lease. `known` tells whether its file or state was found, or only its name is known.
    #[must_use]
    pub fn of(lease: &Lease, known: bool, revoked_at: Option<ServerTime>, proof: Proof) -> Self {
        let whole = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
        Self {
            api_version: API_VERSION,
            kind: "Receipt",
            lease: lease.id(),
            uid: lease.uid.clone(),
            service_account: if lease.service_account.name.is_empty() { String::new() } else { lease.service_account.to_string() },
            server: lease.server.clone(),
            jti: lease.jti.clone(),
            issued_at: lease.begun().filter(|_| known),
            expires_at: lease.ends().filter(|_| known),
            revoked_at: whole(revoked_at.map_or_else(Timestamp::now, ServerTime::figure)),
            proof,
        }
    }

    /// The receipt for a lease that was ended by somebody who knows no more than what the API server holds of it: name and uid, and the
    /// account as its job has told it.
    #[cfg(feature = "operate")]
    #[must_use]
    pub fn from_outside(
        (lease, uid): (String, String),
        service_account: String,
        server: String,
        revoked_at: Timestamp,
        proof: Proof,
    ) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Receipt",
            lease,
            uid: Some(uid),
            service_account,
            server,
            jti: None,
            issued_at: None,
            expires_at: None,
            revoked_at: Timestamp::from_second(revoked_at.as_second()).unwrap_or(revoked_at),
            proof,
        }
    }

    /// The receipt as one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::tests::lease;

    #[test]
    fn a_receipt_is_one_line_in_the_documented_form() {
        let receipt = Receipt::of(&lease(), true, Some(ServerTime::said(Timestamp::UNIX_EPOCH)), Proof::Dead);
        assert_eq!(
            receipt.json(),
            r#"{"apiVersion":"jobpass.dev/v1","kind":"Receipt","lease":"ci/jobpass-0123456789abcdef0123456789abcdef","serviceAccount":"ci/deploy-bot","server":"https://127.0.0.1:6443","issuedAt":"1970-01-01T00:00:00Z","expiresAt":"1970-01-01T01:00:00Z","revokedAt":"1970-01-01T00:00:00Z","proof":{"state":"dead"}}"#
        );
    }

    #[test]
    fn only_a_failure_is_none() {
        let until = None;
        assert!(!Proof::Failed { code: Code::ApiRbac, reason: "r".into(), until }.is_success());
        for proof in [Proof::Removed, Proof::Dead, Proof::Pending { until }, Proof::Absent, Proof::Deleting { until }, Proof::Expired] {
            assert!(proof.is_success(), "{proof}");
        }
    }

    #[test]
    fn without_the_servers_clock_no_time_is_said() {
        assert_eq!(
            [Proof::Pending { until: None }, Proof::Deleting { until: None }].map(|proof| proof.to_string()),
            [
                "dead in 10 s at the latest: the lease is deleted, and by then the API server's cache has forgotten the token",
                "dead in 70 s at the latest: a finalizer holds the lease, but not its end"
            ]
        );
        let until = Some(ServerTime::said("2026-11-28T18:53:01Z".parse().expect("a time")));
        assert_eq!(
            [Proof::Pending { until }, Proof::Deleting { until }].map(|proof| proof.to_string()),
            [
                "dead at 18:53:01Z at the latest: the lease is deleted, and by then the API server's cache has forgotten the token",
                "dead at 18:53:01Z at the latest: a finalizer holds the lease, but not its end"
            ]
        );
        let said = serde_json::to_string(&Proof::Failed { code: Code::ApiRbac, reason: "r".into(), until: None }).expect("JSON");
        assert_eq!(said, r#"{"state":"failed","code":"api.forbidden.rbac","reason":"r"}"#);
    }
}
