//! Finds Kubernetes and OpenShift credentials in a text: whether it is a kubeconfig or has a token, and every secret in it.

use std::path::Path;

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use kube::config::{AuthInfo, ExecConfig};

use super::Identity;
use crate::{
    files,
    jwt::Claims,
    kubeconfig_text::{self, text_of},
    origin::Origin,
    secret::Secret,
};

/// A secret that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A bearer token.
    Token(Secret),
    /// A password, a key, or one line of a key.
    Value(Secret),
}

/// In bytes: a larger file is not taken for a kubeconfig; `files` reads none either.
const LARGEST: u64 = 1 << 20;

/// The lists of a kubeconfig. With several merged files, one may contain only one list.
const LISTS: [&str; 3] = ["clusters", "users", "contexts"];

/// The fields of a kubeconfig that hold secrets; the last four are those of auth providers.
const SECRETS: [&str; 7] = ["token", "password", "client-key-data", "id-token", "refresh-token", "access-token", "client-secret"];

/// Parts of the names of secret variables, in the environment that a kubeconfig gives its plugin.
const SECRET_NAMES: [&str; 4] = ["TOKEN", "SECRET", "PASSWORD", "KEY"];

/// The secrets of a text that is a kubeconfig or contains a Kubernetes or OpenShift token, plain or in base64; none if it is
/// something else. Relative paths in it are resolved from `directory`.
#[must_use]
pub fn of_text(text: &str, directory: &Path) -> Option<Vec<Held>> {
    let mut held: Vec<_> = tokens(text).map(Held::Token).collect();
    if is_kubeconfig(text) {
        held.extend(of_kubeconfig(text, directory));
        return Some(held);
    }
    if !held.is_empty() {
        return Some(held);
    }
    of_text(decoded(text)?.expose(), directory)
}

/// The same for a file. A token counts only if it is the whole file and meant for an API server: the job's own tools may need
/// others.
#[must_use]
pub fn of_file(path: &Path) -> Option<Vec<Held>> {
    let text = read(path)?;
    let held = of_text(text.expose(), path.parent().unwrap_or(Path::new("/")))?;
    let token = text.trimmed();
    let is_token = held == [Held::Token(token.clone())] && is_for_an_api_server(&token);
    let is_one = |text: &Secret| is_kubeconfig(text.expose());
    (is_token || is_one(&text) || decoded(text.expose()).as_ref().is_some_and(is_one)).then_some(held)
}

/// All secrets of the CI identity, and of the kubeconfig files that it comes from.
#[must_use]
pub fn of_identity(identity: &Identity) -> Vec<Held> {
    let mut held = of_user(&identity.user, Path::new("/"));
    if let Origin::Kubeconfig { paths, .. } = &identity.origin {
        held.extend(paths.iter().filter_map(|path| of_file(path.as_ref())).flatten());
    }
    let asked_with = identity.issuer.iter().flat_map(|issuer| issuer.secrets());
    held.extend(asked_with.map(|secret| if Claims::of(&secret).is_some() { Held::Token(secret) } else { Held::Value(secret) }));
    held
}

/// Reads a file if it may contain a credential. Its type and size are checked before it is opened: a device may be endless, a pipe
/// may block, and files of the kernel report size 0 and may block, too.
fn read(path: &Path) -> Option<Secret> {
    path.metadata().ok().filter(|file| file.is_file() && (1..=LARGEST).contains(&file.len()))?;
    text_of(files::read_bytes(path).ok()?.to_vec()).ok().map(Secret::new)
}

/// Whether a text is a kubeconfig, or contains one.
fn is_kubeconfig(text: &str) -> bool {
    let has = |name: &&str| values(text, name).next().is_some();
    if LISTS[..2].iter().all(has) && ["contexts", "current-context"].iter().any(has) {
        return true;
    }
    let config = || kubeconfig_text::parse(text).ok();
    LISTS.iter().any(has)
        && config().is_some_and(|config| {
            config.clusters.iter().any(|named| named.cluster.as_ref().is_some_and(|cluster| cluster.server.is_some()))
                || config.auth_infos.iter().any(|named| named.auth_info.is_some())
                || config.contexts.iter().any(|named| named.context.is_some())
        })
}

/// What comes after each `name:` in a text, as YAML or JSON write it.
fn values<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(name).filter_map(move |(at, _)| {
        let rest = text[at + name.len()..].trim_start_matches(['"', '\'', '\\']);
        rest.trim_start_matches(' ').strip_prefix(':')
    })
}

/// Every secret of every user of a kubeconfig.
fn of_kubeconfig(text: &str, directory: &Path) -> Vec<Held> {
    let config = kubeconfig_text::parse(text).ok().filter(|config| !config.auth_infos.is_empty());
    if let Some(config) = config {
        let users = config.auth_infos.iter().filter_map(|named| named.auth_info.as_ref());
        return users.flat_map(|user| of_user(user, directory)).collect();
    }
    // kube cannot parse it, or it is inside another text: the secrets are found by the names of their fields.
    let word = |value: &str| {
        let value = value.trim_start_matches([' ', '"', '\'', '\\']);
        let end = value.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}' | '\\'));
        value[..end.unwrap_or(value.len())].to_owned()
    };
    let words = SECRETS.iter().flat_map(|name| values(text, name)).map(word).filter(|word| word.len() > 1);
    words.flat_map(|word| of_key(&Secret::new(word))).collect()
}

fn of_user(user: &AuthInfo, directory: &Path) -> Vec<Held> {
    let in_clear = |text: &secrecy::SecretString| Secret::from(text.clone());
    let in_file = |path: &String| read(&directory.join(path));
    let tokens = user.token.iter().map(in_clear).chain(user.token_file.iter().filter_map(in_file));
    let mut held: Vec<_> = tokens.filter(|token| !token.is_blank()).map(|token| Held::Token(token.trimmed())).collect();
    let keys = user.client_key_data.iter().map(in_clear).chain(user.client_key.iter().filter_map(in_file));
    held.extend(keys.flat_map(|key| of_key(&key)));
    held.extend(user.password.iter().map(in_clear).map(Held::Value));
    let provider = user.auth_provider.iter().flat_map(|provider| &provider.config);
    let provider = provider.filter(|(name, _)| SECRETS.contains(&name.as_str())).map(|(_, value)| value);
    let variables = user.exec.iter().flat_map(secret_variables);
    held.extend(provider.chain(variables).map(|value| Held::Value(Secret::new(value.clone()))));
    held
}

/// The values that a kubeconfig gives its plugin under names of secrets.
fn secret_variables(exec: &ExecConfig) -> impl Iterator<Item = &String> {
    exec.env.iter().flatten().filter_map(|variable| {
        let name = variable.get("name")?.to_uppercase();
        SECRET_NAMES.iter().any(|part| name.contains(part)).then(|| variable.get("value")).flatten()
    })
}

/// The secrets that a plugin may repeat in what it says: what its kubeconfig gives it, and tokens.
pub(super) fn of_said(said: &str, exec: &ExecConfig) -> Vec<Secret> {
    let given = secret_variables(exec).map(|value| Secret::new(value.clone()));
    let is_token = |word: &&str| word.starts_with("eyJ") || word.starts_with("sha256~");
    let words = said.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.' | '~'));
    given.chain(words.filter(is_token).map(|word| Secret::new(word.to_owned()))).collect()
}

/// A key, and each of its lines except the first and last, which are the same in all PEM keys.
fn of_key(key: &Secret) -> Vec<Held> {
    let pem = decoded(key.expose());
    let pem = pem.as_ref().unwrap_or(key).expose();
    let lines = pem.lines().map(str::trim).filter(|line| pem.contains("-----BEGIN ") && !line.contains("-----"));
    let whole = (!key.expose().contains("-----BEGIN ")).then(|| key.clone());
    whole.into_iter().chain(lines.map(|line| Secret::new(line.to_owned()))).map(Held::Value).collect()
}

/// The tokens in a text that look like Kubernetes or OpenShift tokens.
fn tokens(text: &str) -> impl Iterator<Item = Secret> {
    let may_have = text.contains("sha256~") || text.contains("eyJ");
    let text = if may_have { text } else { "" };
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.' | '~'));
    words
        .filter(|word| word.len() > 20)
        .map(|word| Secret::new(word.to_owned()))
        .filter(|word| word.expose().starts_with("sha256~") || Claims::of(word).is_some_and(|claims| claims.service_account().is_some()))
}

/// Whether a token is meant for an API server. A legacy token has no audience and counts as well.
fn is_for_an_api_server(token: &Secret) -> bool {
    Claims::of(token).is_none_or(|claims| claims.audiences().is_empty() || claims.is_for_its_own_cluster())
}

/// The text that this text encodes in base64, in either alphabet and with any line breaks.
fn decoded(text: &str) -> Option<Secret> {
    const ANY: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let compact = Secret::new(text.split_whitespace().collect());
    if compact.size() < 20 || !compact.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte)) {
        return None;
    }
    let engines = [STANDARD, URL_SAFE].map(|alphabet| GeneralPurpose::new(&alphabet, ANY));
    let bytes = engines.iter().find_map(|engine| engine.decode(compact.expose()).ok())?;
    text_of(bytes).ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose;

    use super::*;

    fn held(text: &str) -> Option<Vec<String>> {
        let text_of = |held: Held| match held {
            Held::Token(secret) | Held::Value(secret) => secret.expose().to_owned(),
        };
        of_text(text, Path::new("/")).map(|held| held.into_iter().map(text_of).collect())
    }

    #[test]
    fn every_secret_of_every_user_is_found() {
        let pem = "-----BEGIN EC PRIVATE KEY-----\nbGluZS1vbmU\nbGluZS10d28\n-----END EC PRIVATE KEY-----\n";
        let key = general_purpose::STANDARD.encode(pem);
        let text = format!(
            "clusters: []\ncontexts: []\nusers:\n- name: a\n  user: {{token: \" tok \"}}\n- name: b\n  user: {{password: p, client-key-data: {key}}}\n\
             - name: c\n  user: {{auth-provider: {{name: oidc, config: {{id-token: i, client-id: x, refresh-token: r}}}}}}\n\
             - name: d\n  user: {{exec: {{command: x, env: [{{name: API_KEY, value: k}}, {{name: REGION, value: eu}}]}}}}\n- name: e\n"
        );
        let mut found = held(&text).expect("a kubeconfig");
        found.sort_unstable();
        let mut expected = ["tok", "p", &key, "bGluZS1vbmU", "bGluZS10d28", "i", "r", "k"].map(str::to_owned);
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn one_that_cannot_be_read_is_known_by_its_words() {
        let text = "kind: Config\nkind: Config\nclusters:\nusers: [{name: a, user: {token: tok, password: \"pass\"}}]\ncontexts:\n";
        assert_eq!(held(text), Some(vec!["tok".to_owned(), "pass".to_owned()]));
        let json = serde_json::json!({"a": "clusters:\nusers:\n- user:\n    token: tok\ncontexts:\n"}).to_string();
        assert_eq!(held(&json), Some(vec!["tok".to_owned()]));
    }

    #[test]
    fn the_rest_is_nothing_of_ours() {
        for text in
            ["", "users", "users:", "users: [{name: bob}]", "clusters: 3", "sha256~short", "eyJ.eyJ.x", "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ="]
        {
            assert_eq!(held(text), None, "{text}");
        }
    }
}
