//! The answer of whoever answers as an API server: told apart, and shown as harmless lines.

use jiff::Timestamp;
use jobpass::{
    cluster::{
        answer::{Answer, Refusal, Shown},
        request::Request,
    },
    secret::Secret,
};
use zeroize::Zeroizing;

use crate::harmless::assert_harmless;

/// The CI identity's own token, which a server may repeat.
const TOKEN: &str = "sha256~0123456789abcdefghijklmnopqrstuvwxyzABCDEF";

const CODES: [u16; 12] = [200, 400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 999];

/// A status, `Retry-After`, and a body.
pub(crate) fn run(data: &[u8]) {
    let [code, wait, body @ ..] = data else { return };
    let status = CODES[usize::from(*code) % CODES.len()];
    let retry_after = [None, Some(u64::from(*wait)), Some(u64::MAX)][usize::from(*wait) % 3];
    let token = Secret::new(TOKEN.to_owned());
    for date in [None, Some(Timestamp::MIN), Some(Timestamp::MAX)] {
        let said = refused(status, date, retry_after, body, Some(&token));
        assert_harmless(&said);
        assert!(!said.contains(TOKEN), "the token is repeated: {said}");
        // A page of a proxy may hold anything: none of it is repeated, nor makes it a difference, but that it is a page.
        let like: &[u8] = match body.trim_ascii_start() {
            [b'{' | b'[', ..] => continue,
            [b'<', ..] => b"<",
            _ => b"",
        };
        assert_eq!(said, refused(status, date, retry_after, like, Some(&token)), "a body that is no Status");
    }
}

/// What is said of an answer, to whatever was asked.
pub(crate) fn refused(status: u16, date: Option<Timestamp>, retry_after: Option<u64>, body: &[u8], token: Option<&Secret>) -> String {
    let answer = Answer { status, retry_after, date, warnings: Vec::new(), after_another: false, body: Zeroizing::new(body.to_vec()) };
    let refusal = answer.refusal();
    // What is over, or never was, must not be taken for a refusal of another kind, nor the other way about.
    let is_gone =
        matches!(refusal, Refusal::ServiceAccountMissing | Refusal::NamespaceMissing | Refusal::LeaseMissing | Refusal::NoSuchPath);
    assert!(!is_gone || status == 404, "{refusal:?} of {status}");
    assert!(refusal != Refusal::Unauthorized || status == 401, "{refusal:?} of {status}");
    assert!(!matches!(refusal, Refusal::AlreadyExists | Refusal::Conflict | Refusal::Busy) || status == 409, "{refusal:?} of {status}");
    let shown = Shown { why: "the fuzzer's", path: Some("/apis"), token, now: Timestamp::UNIX_EPOCH };
    let request = |method| Request::new(method, "/x".to_owned(), "cannot do it".to_owned(), "`create` on `secrets`".to_owned());
    let requests = [request(http::Method::POST).creating(), request(http::Method::DELETE).without_account("nothing is left to revoke")];
    requests.map(|request| answer.failure(&request, &shown).to_string()).join("\n")
}
