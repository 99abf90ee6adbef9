//! Decides what a message may repeat: a value is shown only if its form is harmless; otherwise the message names its kind.
//!
//! Messages put every value that they repeat in backticks, so that one function can check them all.

/// In characters: the longest value that is repeated.
const LONGEST: usize = 240;

/// In characters: a longer word is neither of a language nor of a usual path or name.
const LONG_WORD: usize = 28;

/// In characters: in a word of this length, digits inside it or mixed case are a sign of a key.
const KEY_WORD: usize = 16;

/// How many characters are looked at together, and how many changes between letters, digits and cases among them are a sign of
/// base64.
const WINDOW: (usize, usize) = (28, 7);

/// Prefixes of the tokens of well-known systems.
const BEGINNINGS: [&str; 20] = [
    "eyJ",
    "sha256~",
    "glpat-",
    "glptt-",
    "glcbt-",
    "gldt-",
    "glrt-",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "AKIA",
    "ASIA",
    "hvs.",
    "hvb.",
    "xoxb-",
    "npm_",
    "dckr_pat_",
];

/// The kind of a value that is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text of a kubeconfig.
    Kubeconfig,
    /// The base64 of a kubeconfig.
    EncodedKubeconfig,
    /// PEM text: a certificate or a key.
    Pem,
    /// The base64 of PEM text.
    EncodedPem,
    /// JSON or YAML.
    Document,
    /// Something that looks like a token.
    Token,
    /// A URL with user and password.
    Login,
    /// Base64 of something else, or a key.
    Encoded,
    /// A text too long for a path or a name; holds its length in characters.
    Long(usize),
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kubeconfig => f.write_str("(the text of a kubeconfig, not shown)"),
            Self::EncodedKubeconfig => f.write_str("(the base64 of a kubeconfig, not shown)"),
            Self::Pem => f.write_str("(PEM text, not shown)"),
            Self::EncodedPem => f.write_str("(the base64 of PEM text, not shown)"),
            Self::Document => f.write_str("(JSON or YAML, not shown)"),
            Self::Token => f.write_str("(what looks like a token, not shown)"),
            Self::Login => f.write_str("(what holds a password, not shown)"),
            Self::Encoded => f.write_str("(what looks like base64 or a key, not shown)"),
            Self::Long(length) => write!(f, "(a text of {length} characters, not shown)"),
        }
    }
}

impl Kind {
    /// The kind of a value if it must not be repeated; none if its form is harmless.
    #[must_use]
    pub fn of(value: &str) -> Option<Self> {
        if value.contains("apiVersion") || value.contains("current-context") {
            return Some(Self::Kubeconfig);
        }
        if value.contains("-----BEGIN") {
            return Some(Self::Pem);
        }
        if value.contains('{') && (value.contains("\":") || value.contains(": ")) {
            return Some(Self::Document);
        }
        let compact: String = value.chars().filter(|c| !c.is_whitespace()).collect();
        if let Some(kind) = encoded(&compact) {
            return Some(kind);
        }
        if begins_as_a_token(value) {
            return Some(Self::Token);
        }
        let rest = match value.split_once("://") {
            Some((_, rest)) if rest.split('/').next().is_some_and(|authority| authority.contains('@')) => return Some(Self::Login),
            // The server names of some clouds contain a part as long as a key.
            Some((_, rest)) if is_host(rest.split('/').next().unwrap_or_default()) => rest.split_once('/').map_or("", |(_, path)| path),
            Some(_) | None => value,
        };
        if is_key(rest) {
            return Some(Self::Encoded);
        }
        let length = value.chars().count();
        (length > LONGEST).then_some(Self::Long(length))
    }
}

impl Kind {
    /// Whether the value is surely a secret, and no path, name or job key: such a value must not get into a file of ours.
    #[must_use]
    pub fn is_surely_secret(self) -> bool {
        match self {
            Self::Kubeconfig | Self::EncodedKubeconfig | Self::Pem | Self::EncodedPem | Self::Document | Self::Token | Self::Login => true,
            Self::Encoded | Self::Long(_) => false,
        }
    }
}

/// Replaces, in a message of ours, every value in backticks whose form is not harmless by its kind, and redacts what looks like a
/// long key elsewhere.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('`') {
        line += &loose(before);
        match after.split_once('`') {
            // This backtick is part of a quoted text and does not begin a value.
            Some((value, _)) if is_between_values(value) => {
                line.push('`');
                rest = after;
            }
            Some((value, next)) => {
                match Kind::of(value) {
                    Some(kind) => line += &kind.to_string(),
                    None => line.extend(["`", value, "`"]),
                }
                rest = next;
            }
            None => {
                line.push('`');
                rest = after;
            }
        }
    }
    line + &loose(rest)
}

fn is_between_values(text: &str) -> bool {
    let is_spaced = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    is_spaced && matches!(Kind::of(text), None | Some(Kind::Long(_)))
}

/// Handles text outside of backticks. It is prose of servers and programs, so only what is surely base64 is redacted.
fn loose(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '_' | '-');
    let mut line = String::with_capacity(text.len());
    for word in text.split_inclusive(|c| !is_part(c)) {
        let run = word.trim_end_matches(|c| !is_part(c));
        if run.len() >= 40 && is_mixed(&without_known(run)) { line.extend(["[redacted]", &word[run.len()..]]) } else { line.push_str(word) }
    }
    line
}

/// The kind of a value that is base64 of readable text, in either alphabet, beginning anywhere in a path.
fn encoded(value: &str) -> Option<Kind> {
    use base64::{
        Engine,
        alphabet::{STANDARD, URL_SAFE},
        engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    };
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '_' | '-');
    let mut starts = vec![0];
    // An equals sign ends base64, or separates a name from its value.
    starts.extend(value.match_indices(['/', '=']).map(|(at, _)| at + 1));
    for start in starts {
        let run: String = value[start..].chars().take_while(|c| is_part(*c)).collect();
        if run.len() < KEY_WORD {
            continue;
        }
        for alphabet in [&STANDARD, &URL_SAFE] {
            // The beginning is enough; four characters of base64 are a whole number of bytes.
            let head = &run[..run.len().min(4096) / 4 * 4];
            let Ok(bytes) = GeneralPurpose::new(alphabet, lenient).decode(head) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            if text.contains("apiVersion") || text.contains("clusters:") || text.contains("\"clusters\"") {
                return Some(Kind::EncodedKubeconfig);
            }
            if text.contains("-----BEGIN") {
                return Some(Kind::EncodedPem);
            }
            let is_text = text.chars().all(|c| c.is_ascii_graphic() || c.is_ascii_whitespace());
            if is_text && bytes.len() >= KEY_WORD {
                return Some(Kind::Encoded);
            }
        }
    }
    None
}

fn begins_as_a_token(value: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '~');
    let follows = |rest: &str| rest.chars().take_while(|c| is_part(*c)).count() >= 12;
    let known = BEGINNINGS.iter().any(|beginning| value.match_indices(beginning).any(|(at, _)| follows(&value[at + beginning.len()..])));
    // Rancher's tokens are the name of a kubeconfig or token, a colon, and the key.
    let ranchers = ["kubeconfig-u", "token-"].iter().any(|beginning| value.rsplit('/').next().unwrap_or_default().starts_with(beginning));
    known || (ranchers && value.contains(':'))
}

/// Whether it is a host in a domain, a short host, or an IP address; each with or without a port.
fn is_host(authority: &str) -> bool {
    if authority.starts_with('[') {
        return authority.len() < 56;
    }
    let host = authority.split(':').next().unwrap_or_default();
    let labels: Vec<_> = host.split('.').collect();
    let is_label = |label: &&str| (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let last = labels.last().copied().unwrap_or_default();
    let is_domain = labels.len() > 2 && (2..=24).contains(&last.len()) && last.bytes().all(|byte| byte.is_ascii_alphabetic());
    labels.iter().all(is_label) && host.len() <= 253 && (is_domain || !is_key(host))
}

/// Whether some part of it looks like a key: a very long word, or digits and cases mixed as in no language.
fn is_key(value: &str) -> bool {
    let value = without_known(value);
    let words = value.split(|c: char| !c.is_ascii_alphanumeric());
    words.into_iter().any(is_key_word) || is_mixed(&value)
}

fn is_key_word(word: &str) -> bool {
    let has = |is: fn(&u8) -> bool| word.bytes().any(|byte| is(&byte));
    let (digit, upper) = (has(u8::is_ascii_digit), has(u8::is_ascii_uppercase));
    let changes = changes(word.as_bytes());
    // Pairs of capitals: abbreviations have them, but in mixed text they are a sign of a key.
    let capitals = word.as_bytes().windows(2).filter(|pair| pair.iter().all(u8::is_ascii_uppercase)).count();
    let is_mixture = (digit && (upper || changes >= 3)) || (changes >= 3 && capitals >= 2);
    word.len() >= LONG_WORD || (word.len() >= KEY_WORD && is_mixture)
}

/// Whether some stretch of base64 characters changes between cases and digits more often than words do.
fn is_mixed(value: &str) -> bool {
    // The equals sign is no part: in `CN=name` or `KEY=value` the two sides have nothing to do with each other.
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-');
    value.as_bytes().split(|byte| !is_part(byte)).filter(|run| run.len() >= 20).any(|run| {
        run.windows(WINDOW.0.min(run.len())).any(|window| {
            let has = |is: fn(&u8) -> bool| window.iter().any(is);
            has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit) && changes(window) >= WINDOW.1
        })
    })
}

/// How often letters and digits, or small and capital letters, alternate. A capital at the beginning of a word does not count.
fn changes(text: &[u8]) -> usize {
    let kind = |byte: u8| match byte {
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        b'0'..=b'9' => 3,
        _ => 0,
    };
    let pairs = text.windows(2).map(|pair| (kind(pair[0]), kind(pair[1])));
    pairs.filter(|(one, other)| *one != 0 && *other != 0 && one != other && (*one, *other) != (2, 1)).count()
}

/// The value without long parts that are known to be harmless: lease names, and the names of temporary directories and of GitHub's
/// runner files.
fn without_known(value: &str) -> String {
    let parts = value.split_inclusive('/').map(|part| {
        let name = part.trim_end_matches('/');
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_lease = name.strip_prefix("jobpass-").is_some_and(|hex| hex.len() == 32 && is_hex(hex));
        let uuid: Vec<_> = name.split('.').next().unwrap_or_default().split('-').collect();
        let is_uuid =
            value.contains('/') && uuid.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && uuid.iter().all(|part| is_hex(part));
        let is_temporary = name.len() <= 14 && [".tmp", "tmp."].iter().any(|beginning| name.starts_with(beginning));
        if is_lease || is_uuid || is_temporary { "/" } else { part }
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };

    use super::*;

    #[test]
    fn paths_names_and_addresses_are_shown() {
        for value in [
            "/home/runner/work/_temp/jobpass/jobpass-0123456789abcdef0123456789abcdef/kubeconfig",
            "/home/runner/work/_temp/3f2b8c1d-9e4a-4f6b-8c7d-1a2b3c4d5e6f.sh",
            "/tmp/.tmpa1B2c3/work.tmp/evil",
            "/builds/acme/my-very-long-project-name/.kube/config.production.yaml",
            "./kube/Config",
            "C:/Users/RunnerAdmin/AppData/Local/Temp",
            "gke_my-project-123456_europe-west1-b_cluster-1",
            "arn:aws:eks:eu-west-1:123456789012:cluster/prod",
            "default/api-ocp4-example-com:6443/kube:admin",
            "system:serviceaccount:jobpass:ci",
            "https://A1B2C3D4E5F6A7B8C9D0E1F2A3B4C5D6.gr7.eu-west-1.eks.amazonaws.com",
            "https://rancher.example.com/k8s/clusters/c-m-abcd1234",
            "https://127.0.0.1:6443",
            "https://[fd00::1]:6443",
            "gke-gcloud-auth-plugin",
            ". \"$(jobpass request)\"",
            "JOBPASS_IDENTITY_KUBECONFIG",
            "/dev/fd/63",
            "JOBPASS_INSECURE_SKIP_TLS_VERIFY",
            "kubectl apply -f deploy/rbac.yaml",
            "ci/deploy-bot",
            "jobpass-0123456789abcdef0123456789abcdef",
            "ci/jobpass-0123456789abcdef0123456789abcdef",
            "CN=kubernetes",
            "CN=k3s-server-ca@1718000000",
            "O=dynamiclistener-org,CN=dynamiclistener-ca@1650000000",
            "CN=openshift-kube-apiserver-operator_localhost-recovery-serving-signer@1700000000",
        ] {
            assert_eq!(Kind::of(value), None, "{value}");
        }
    }

    #[test]
    fn credentials_are_told_by_their_kind() {
        let config = "apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user: {token: a-secret}\n";
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for (value, kind) in [
            (config.to_owned(), Kind::Kubeconfig),
            (STANDARD.encode(config), Kind::EncodedKubeconfig),
            (format!("KUBE_CONFIG={}", STANDARD.encode(config)), Kind::EncodedKubeconfig),
            (format!("/work/{}", STANDARD.encode(config)), Kind::EncodedKubeconfig),
            (URL_SAFE_NO_PAD.encode(config), Kind::EncodedKubeconfig),
            (pem.to_owned(), Kind::Pem),
            (STANDARD.encode(pem), Kind::EncodedPem),
            (r#"/work/{"token": "abc"}"#.to_owned(), Kind::Document),
            ("https://user:hunter2@example.com".to_owned(), Kind::Login),
            ("kubeconfig-u-abc12:xyz789".to_owned(), Kind::Token),
            ("kubeconfig-user-9ktvd.c-m-x2:bcdfghjklm".to_owned(), Kind::Token),
            ("/work/glpat-aB3dE5fG7hJ9kL1mN3pQ".to_owned(), Kind::Token),
            ("sha256~0123456789abcdefghijklmnopqrstuvwxyzABCDEF".to_owned(), Kind::Token),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(), Kind::Encoded),
            ("0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c".to_owned(), Kind::Encoded),
            ("x7k2m9q4w8z3v6b1n5".to_owned(), Kind::Encoded),
            ("correct horse ".repeat(40), Kind::Long(560)),
        ] {
            assert_eq!(Kind::of(&value), Some(kind), "{value}");
        }
    }

    #[test]
    fn random_bytes_in_base64_and_hex_are_never_shown_whatever_their_length() {
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u8::try_from(state >> 56).expect("a byte")
        };
        let mut shown = Vec::new();
        for length in (24..120).flat_map(|length| [length; 20]) {
            let bytes: Vec<u8> = (0..length).map(|_| random()).collect();
            for text in [STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes), crate::name::hex(&bytes)] {
                shown.extend(
                    ["", "/builds/acme/application/"]
                        .map(|store| format!("{store}{text}"))
                        .into_iter()
                        .filter(|text| Kind::of(text).is_none()),
                );
            }
        }
        assert_eq!(shown, [""; 0]);
    }

    #[test]
    fn an_authority_that_is_named_by_a_uuid_is_shown_whatever_the_uuid() {
        let mut state = 11_u64;
        let hidden: Vec<_> = std::iter::repeat_with(|| {
            let mut digits = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 32
            };
            let (one, two, three) = (digits(), digits() & 0xffff, digits());
            format!("{one:08x}-{two:04x}-4{:03x}-a{:03x}-{three:08x}{two:04x}", one & 0xfff, three & 0xfff)
        })
        .take(2000)
        // The certificate authorities of GKE are named by a UUID alone.
        .flat_map(|uuid| [format!("CN={uuid}"), format!("CN=a-name-of-{uuid}"), format!("OU=Clusters,O=Acme,CN={uuid}")])
        .filter(|issuer| Kind::of(issuer).is_some())
        .collect();
        assert_eq!(hidden, [""; 0]);
    }

    #[test]
    fn a_text_keeps_all_but_what_is_no_harmless_value() {
        let key = STANDARD.encode("a key that nobody may see, in the place of a path");
        assert_eq!(
            harmless(&format!("cannot read `{key}` or `/etc/ca.crt`: {key}, no")),
            "cannot read (what looks like base64 or a key, not shown) or `/etc/ca.crt`: [redacted]==, no"
        );
        let plain = "`ci/deploy-bot`: a 403, serviceaccounts \"deploy-bot\" is forbidden: issuer `CN=x`, 3f2b8c1d9e4a4f6b8c7d1a2b3c4d5e6f";
        assert_eq!(harmless(plain), plain);
    }
}
