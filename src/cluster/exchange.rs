//! One request and its whole answer, over a connection and within the time there is.

use http::{Method, header};
use http_body_util::{BodyExt, Limited};
use jiff::fmt::rfc2822;
use kube::client::Body;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::{answer::Answer, broken::Broken, connect::Connector};

/// No answer that we need is larger; a token is about 1 kB.
const LARGEST: usize = 1 << 20;

/// Sends one request and reads the whole answer.
pub(super) async fn send(
    connector: &Connector,
    method: &Method,
    path: &str,
    body: &impl Serialize,
    deadline: Instant,
) -> Result<Answer, Broken> {
    let body = serde_json::to_vec(body).map_err(|_| Broken::Unsendable)?;
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Body::from(body))
        .map_err(|_| Broken::Unsendable)?;
    let exchange = async {
        let response = connector.client.send(request).await.map_err(|error| Broken::of(&error))?;
        let (head, body) = response.into_parts();
        let text = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let warnings = head.headers.get_all(header::WARNING).iter().filter_map(|value| warning(value.to_str().ok()?)).collect();
        let (status, retry_after) = (head.status.as_u16(), text(header::RETRY_AFTER).and_then(|seconds| seconds.parse().ok()));
        let date = text(header::DATE).and_then(|date| rfc2822::parse(date).ok()).map(|zoned| zoned.timestamp());
        let body = Limited::new(body, LARGEST).collect().await.map_err(|_| Broken::Cut)?;
        Ok(Answer { status, retry_after, date, warnings, body: Zeroizing::new(body.to_bytes().to_vec()) })
    };
    let late = |_| Err(if connector.was_connected() { Broken::Late } else { Broken::Unconnected });
    timeout_at(deadline, exchange).await.unwrap_or_else(late)
}

/// The text of a `Warning: 299 - "text"` header.
fn warning(header: &str) -> Option<String> {
    let text = header.split_once('"')?.1.rsplit_once('"')?.0;
    Some(text.replace("\\\"", "\"").replace("\\\\", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_warning_is_taken_out_of_its_header() {
        let header = r#"299 - "requested expiration of 7201 seconds shortened to 7200 seconds""#;
        assert_eq!(warning(header).as_deref(), Some("requested expiration of 7201 seconds shortened to 7200 seconds"));
        assert_eq!(warning(r#"299 - "unknown field \"spec.foo\"""#).as_deref(), Some(r#"unknown field "spec.foo""#));
        assert_eq!(warning("nonsense"), None);
    }
}
