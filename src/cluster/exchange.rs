//! Sends one request over one connection and reads the whole answer.

use http::{Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;
use jiff::fmt::rfc2822;
use kube::{Client, client::Body};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{answer::Answer, retry::asked_for};
use crate::net::TransportError;

/// In bytes: larger answers are refused. A token is about 1 kB.
const LARGEST: usize = 1 << 20;

/// A request in a form that can be sent more than once.
#[derive(Clone)]
pub(super) struct Message {
    method: Method,
    path: String,
    body: Bytes,
}

impl Message {
    pub(super) fn new(method: Method, path: String, body: &impl Serialize) -> Result<Self, TransportError> {
        let body = if method == Method::GET { Ok(Vec::new()) } else { serde_json::to_vec(body) };
        let body = body.map_err(|_| TransportError::Unsendable)?;
        Ok(Self { method, path, body: body.into() })
    }
}

/// Sends the request and reads the whole answer.
pub(super) async fn send(client: &Client, message: Message) -> Result<Answer, TransportError> {
    let request = http::Request::builder()
        .method(message.method)
        .uri(message.path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Body::from(message.body))
        .map_err(|_| TransportError::Unsendable)?;
    let response = client.send(request).await.map_err(|error| TransportError::of(&error))?;
    let (head, body) = response.into_parts();
    let text = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let warnings = head.headers.get_all(header::WARNING).iter().filter_map(|value| warning(value.to_str().ok()?)).collect();
    let date = text(header::DATE).and_then(|date| rfc2822::parse(date).ok()).map(|zoned| zoned.timestamp());
    let retry_after = text(header::RETRY_AFTER).and_then(|asked| asked_for(asked, date));
    let body = Limited::new(body, LARGEST).collect().await;
    let body = body.map_err(|error| if error.is::<LengthLimitError>() { TransportError::TooLarge } else { TransportError::Cut })?;
    let body = Zeroizing::new(body.to_bytes().to_vec());
    Ok(Answer { status: head.status.as_u16(), retry_after, date, warnings, after_another: false, body })
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
