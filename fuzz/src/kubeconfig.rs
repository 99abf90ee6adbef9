//! A kubeconfig that a variable holds: read or refused, and nothing that it hides is said.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use jobpass::{
    context::Context,
    env::Env,
    failure::Exit,
    identity::{Identity, Purpose},
    kubeconfig_text,
    options::Options,
    platform::Platform,
};
use secrecy::ExposeSecret;

use crate::harmless::assert_harmless;

/// A secret of fewer characters may be a word of ours.
const SHORTEST: usize = 16;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let hidden = hidden(text);
    let encoded = STANDARD.encode(text);
    for given in [text, &encoded] {
        let env: Env = [("JOBPASS_IDENTITY_KUBECONFIG", given)].into_iter().collect();
        let Ok(options) = Options::resolve(&BTreeMap::new(), &env) else { return };
        let said = match Identity::find(&Context::on(Platform::Local, options, env), Purpose::Begin) {
            Ok((identity, passed_over)) => {
                assert!(
                    identity.server().starts_with("https://") && !identity.server().contains(char::is_whitespace),
                    "{}",
                    identity.server()
                );
                assert_eq!(passed_over, []);
                // As it is said: by somebody who makes a line of it.
                jobpass::out::one_line(&format!("asked as {}", identity.why))
            }
            Err(failure) => {
                assert_eq!(failure.exit(), Exit::Usage, "{failure}");
                failure.to_string()
            }
        };
        assert_harmless(&said);
        for secret in &hidden {
            assert!(!said.contains(secret.as_str()), "{secret:?} is said: {said}");
        }
    }
}

/// What a kubeconfig holds in the places of secrets, and in no other place.
fn hidden(text: &str) -> Vec<String> {
    // As jobpass reads it: kube alone takes no key twice, and what stands in such a text would count as nothing hidden.
    let Ok(config) = kubeconfig_text::parse(text) else { return Vec::new() };
    let mut hidden = Vec::new();
    for user in config.auth_infos.iter().filter_map(|named| named.auth_info.as_ref()) {
        let secrets = [&user.token, &user.password, &user.client_key_data];
        hidden.extend(secrets.into_iter().flatten().map(|secret| secret.expose_secret().to_owned()));
        hidden.extend(user.exec.iter().flat_map(|exec| exec.env.iter().flatten()).filter_map(|variable| variable.get("value").cloned()));
        hidden.extend(user.auth_provider.iter().flat_map(|provider| provider.config.values().cloned()));
    }
    hidden.retain(|secret| secret.len() >= SHORTEST && !secret.contains(char::is_whitespace) && text.matches(secret.as_str()).count() == 1);
    hidden
}
