//! Forms in which credentials are stored that no server takes: a token in base64 or in quotes, what a tool has left out.

use kube::config::{AuthInfo, Cluster};

use crate::{
    failure::{Code, Failure},
    kubeconfig_text::{decoded, text_of},
    secret::Secret,
};

/// How a kubeconfig is handed over that holds all that it needs.
pub(super) const WHOLE: &str = "make it with `kubectl config view --raw --minify --flatten`, where its files are";

/// What is wrong with the form of a token, and what to do; none if nothing is.
pub(super) fn misshapen(token: &Secret) -> Option<(&'static str, &'static str)> {
    let token = token.trimmed();
    let text = token.expose();
    let bare = text.trim_matches(['"', '\'']);
    if is_token(text) {
        None
    } else if text == "REDACTED" || text == "DATA+OMITTED" {
        Some(("it was left out by `kubectl config view`, which shows no secrets", WHOLE))
    } else if bare.len() < text.len() {
        Some(("it stands in quotes", "store the token alone, without quotes"))
    } else if decoded(text)
        .and_then(|bytes| text_of(bytes.to_vec()).ok())
        .map(Secret::new)
        .is_some_and(|inner| is_token(inner.trimmed().expose()))
    {
        Some((
            "it is still in base64, as a Secret shows it",
            "decode it before it is stored: `kubectl get secret NAME -o jsonpath='{.data.token}' | base64 -d`",
        ))
    } else {
        None
    }
}

/// Whether a text looks like a token that an API server gives out.
fn is_token(text: &str) -> bool {
    (text.starts_with("eyJ") && text.matches('.').count() == 2) || text.starts_with("sha256~")
}

/// Refuses what `kubectl config view` has printed without `--raw`.
pub(super) fn refuse_omitted(cluster: &Cluster, user: &AuthInfo) -> Result<(), Failure> {
    const OMITTED: [&str; 2] = ["DATA+OMITTED", "REDACTED"];
    let is = |text: &str| OMITTED.contains(&text.trim());
    let hidden = |secret: &Option<secrecy::SecretString>| secret.clone().map(Secret::from).is_some_and(|secret| is(secret.expose()));
    let fields = [
        ("certificate-authority-data", cluster.certificate_authority_data.as_deref().is_some_and(is)),
        ("client-certificate-data", user.client_certificate_data.as_deref().is_some_and(is)),
        ("client-key-data", hidden(&user.client_key_data)),
        ("token", hidden(&user.token)),
        ("password", hidden(&user.password)),
    ];
    match fields.into_iter().find(|(_, is_omitted)| *is_omitted) {
        Some((field, _)) => Err(Failure::new(Code::IdentityKubeconfig, format!("its `{field}` was left out"))
            .cause("`kubectl config view` shows no secrets where it is not told to")
            .hint(WHOLE)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    #[test]
    fn a_token_in_a_form_that_no_server_takes_is_known() {
        let wrong = |text: &str| misshapen(&Secret::new(text.to_owned())).map(|(cause, _)| cause);
        let encoded = STANDARD.encode("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.sig\n");
        for (text, part) in [
            (encoded.as_str(), "base64"),
            (&format!("{}\n{}", &encoded[..20], &encoded[20..]), "base64"),
            (&STANDARD.encode("sha256~abc"), "base64"),
            ("\"eyJhbGciOiJub25lIn0.e30.sig\"", "quotes"),
            ("'abc'", "quotes"),
            ("REDACTED", "left out"),
        ] {
            assert!(wrong(text).is_some_and(|cause| cause.contains(part)), "{text}");
        }
        for right in ["eyJhbGciOiJub25lIn0.e30.sig", "sha256~abc", "abcd", "c29tZXRoaW5n", ""] {
            assert_eq!(wrong(right), None, "{right}");
        }
    }
}
