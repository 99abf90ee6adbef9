//! The text of a kubeconfig, read as kubectl reads it: keys that stand there twice, base64 with line breaks, UTF-16.

use anyhow::anyhow;
use base64::{Engine, engine::general_purpose::STANDARD};
use kube::config::{Kubeconfig, KubeconfigError};
use serde_json::Value;
use zeroize::Zeroizing;

/// Reads a kubeconfig. Of a key that stands there twice the last one counts.
///
/// # Errors
/// When it is none.
pub fn parse(text: &str) -> Result<Kubeconfig, KubeconfigError> {
    Kubeconfig::from_yaml(text).or_else(|error| with_keys_twice(text).ok_or(error))
}

/// The same where kube refuses the text. Into its own types the reader takes no key twice, so there is a step in between.
fn with_keys_twice(text: &str) -> Option<Kubeconfig> {
    let options = serde_saphyr::options! { duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).ok()?;
    documents
        .into_iter()
        .try_fold(Kubeconfig::default(), |config, document| Kubeconfig::merge(config, serde_json::from_value(document).ok()?).ok())
}

/// What a text in base64 holds, whatever line breaks and blanks are in it.
#[must_use]
pub fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let compact = Zeroizing::new(text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>());
    STANDARD.decode(compact.as_slice()).ok().map(Zeroizing::new)
}

/// The text of a file, decoded by its byte order mark, or by the zeros in it: editors and shells of Windows may write UTF-16.
///
/// # Errors
/// When it is none.
pub fn text_of(mut bytes: Vec<u8>) -> anyhow::Result<String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<_> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_err(|_| anyhow!("it is no UTF-16, which it begins as"))
    };
    match bytes.as_slice() {
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        // No YAML and no PEM has a zero in it.
        [1..=u8::MAX, 0, 1..=u8::MAX, 0, ..] => wide(&bytes, u16::from_le_bytes),
        [0, 1..=u8::MAX, 0, 1..=u8::MAX, ..] => wide(&bytes, u16::from_be_bytes),
        _ => {
            if bytes.starts_with(b"\xEF\xBB\xBF") {
                bytes.drain(..3);
            }
            String::from_utf8(bytes).map_err(|_| anyhow!("it is not UTF-8"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_key_that_stands_there_twice_the_last_counts() {
        let text = "apiVersion: v1\nkind: Config\nkind: Config\npreferences: {}\npreferences: {colors: true}\ncurrent-context: a\n\
                    current-context: b\nclusters:\n- name: c\n  cluster: {server: 'https://a', server: 'https://b'}\nusers:\n- name: u\n  \
                    user: {tokenFile: x, tokenFile: z}\ncontexts: []\n";
        let config = parse(text).expect("kubectl takes it");
        assert_eq!(config.current_context.as_deref(), Some("b"));
        let cluster = config.clusters[0].cluster.as_ref().expect("there");
        assert_eq!(cluster.server.as_deref(), Some("https://b"));
        assert_eq!(config.auth_infos[0].auth_info.as_ref().expect("there").token_file.as_deref(), Some("z"));
    }

    #[test]
    fn what_is_no_kubeconfig_stays_none_and_the_first_reason_is_said() {
        assert!(parse("kind: Config\nkind: Config\nclusters: 3\n").is_err());
        assert!(parse("- a\n- b\n").is_err());
        let numbers = parse("contexts: [{name: 7, context: {cluster: 1, user: 2}}]\n").expect("as before");
        assert_eq!(numbers.contexts[0].name, "7");
    }

    #[test]
    fn base64_is_read_with_whatever_breaks_it() {
        for text in ["aGVsbG8=", "aGVs\nbG8=\n", " aGVs\r\n bG8=\t", "a G V s b G 8 ="] {
            assert_eq!(decoded(text).expect(text).as_slice(), b"hello");
        }
        assert!(decoded("aGVsbG8").is_none() && decoded("aGV\\nsbG8=").is_none());
    }

    #[test]
    fn utf_16_is_known_with_and_without_its_mark() {
        let wide = |unit: fn(u16) -> [u8; 2], mark: &[u8]| [mark, &"kind: ä".encode_utf16().flat_map(unit).collect::<Vec<_>>()].concat();
        for bytes in [
            wide(u16::to_le_bytes, b"\xFF\xFE"),
            wide(u16::to_be_bytes, b"\xFE\xFF"),
            wide(u16::to_le_bytes, b""),
            wide(u16::to_be_bytes, b""),
            b"\xEF\xBB\xBFkind: \xc3\xa4".to_vec(),
        ] {
            assert_eq!(text_of(bytes).expect("text"), "kind: ä");
        }
    }
}
