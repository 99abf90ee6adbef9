//! A token, looked into: its claims are what stands in its JSON, whatever that is, and a message that tells of them shows no more.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jobpass::{jwt::Claims, name::is_name, secret::Secret};
use serde_json::Value;

use crate::{
    harmless::{SENTINEL, assert_harmless},
    status::refused,
};

/// The payload of a JWT, or a whole text that may be one.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if Claims::of(&Secret::new(text.to_owned())).is_some() {
        assert!(text.bytes().filter(|byte| *byte == b'.').count() >= 2, "{text:?} is no JWT");
    }
    let token = Secret::new(format!("e30.{}.{SENTINEL}", URL_SAFE_NO_PAD.encode(data)));
    let Some(claims) = Claims::of(&token) else { return };
    // What is no claim is not looked at, also where it is a number that is none here.
    let Ok(said) = serde_json::from_slice::<Value>(data) else { return };
    let text = |path: &str| said.pointer(path).and_then(Value::as_str);
    // A list of JSON is taken for an object by serde; nobody writes one.
    if said.is_object() {
        assert_eq!((claims.jti.as_deref(), claims.iss.as_deref(), claims.sub.as_deref()), (text("/jti"), text("/iss"), text("/sub")));
        for (moment, name) in [(claims.expires_at(), "exp"), (claims.issued_at(), "iat")] {
            assert_eq!(moment, said.get(name).and_then(Value::as_f64).and_then(second), "{name} of {said}");
        }
        let audiences: Vec<_> = match said.get("aud") {
            Some(Value::String(audience)) => vec![audience.as_str()],
            audiences => audiences.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect(),
        };
        assert_eq!(claims.audiences(), audiences);
        assert_eq!(claims.secret_uid(), text("/kubernetes.io/secret/uid"));
    }
    if let Some(lease) = claims.lease() {
        assert!(lease.rsplit('/').next().is_some_and(is_name), "{lease:?} is no lease");
    }
    if let (Some(lifetime), Some(end), Some(start)) = (claims.lifetime(), claims.expires_at(), claims.issued_at()) {
        assert_eq!(lifetime, end.as_second() - start.as_second());
    }
    for date in [None, Some(Timestamp::UNIX_EPOCH), Some(Timestamp::MAX)] {
        let body = br#"{"kind":"Status","apiVersion":"v1","message":"Unauthorized"}"#;
        assert_harmless(&refused(401, date, None, body, Some(&token)));
    }
}

/// A moment in whole seconds, if there is such a one.
fn second(seconds: f64) -> Option<Timestamp> {
    let range = -377_705_023_201_f64..=253_402_207_200_f64;
    #[expect(clippy::cast_possible_truncation, reason = "it is in range")]
    range.contains(&seconds.trunc()).then(|| Timestamp::from_second(seconds as i64).expect("in range"))
}
