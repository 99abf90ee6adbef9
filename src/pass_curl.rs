//! Renders the configuration by which curl asks the API server with the token of a pass: `curl -K "$JOBPASS_CURL"`.

use std::{fmt::Write as _, path::Path};

use http::Uri;
use zeroize::Zeroizing;

use crate::{identity::Identity, secret::Secret};

/// The configuration, in words that curl knows since 7.49: RHEL 8 has 7.61.
///
/// It says what the kubeconfig of the pass says of the way to the server. What is sent is sent by TLS only, also after a redirection.
#[must_use]
pub fn render(identity: &Identity, token: &Secret, authority: Option<&Path>) -> Secret {
    let mut way = String::new();
    let mut say = |option: &str, value: &str| {
        let _ = writeln!(way, "{option} = {}", quoted(value));
    };
    say("proto", "=https");
    say("proto-redir", "=https");
    if let Some(path) = authority {
        say("cacert", &path.to_string_lossy());
    }
    match identity.address().proxy {
        Some(proxy) => {
            say("proxy", &named_there(proxy));
            // For client-go no `NO_PROXY` counts beside it. curl takes no empty word here, and no server has this name.
            say("noproxy", "none.invalid");
        }
        // `NO_PROXY` has more forms for kubectl than for an old curl.
        None if identity.way.proxy.is_none() => say("noproxy", "*"),
        // curl knows the environment's proxy itself.
        None => {}
    }
    let server = identity.server().parse::<Uri>().ok();
    if let (Some(name), Some((host, port))) = (&identity.cluster.tls_server_name, server.as_ref().and_then(place)) {
        // curl asks for the certificate of the name in the URL, and of no other: so there must be a URL with that name.
        say("connect-to", &format!("{name}:{port}:{host}:{port}"));
    }
    if identity.cluster.insecure_skip_tls_verify == Some(true) {
        way.push_str("insecure\n");
    }
    let header = Zeroizing::new(quoted(&format!("Authorization: Bearer {}", token.expose())));
    Secret::of_parts(&["# Made by jobpass: it holds the token.\nheader = ", &header, "\n", &way])
}

/// A proxy's address in curl's words. What Go calls `socks5` looks names up at the proxy, which curl calls `socks5h`.
fn named_there(proxy: &str) -> String {
    proxy.strip_prefix("socks5://").map_or_else(|| proxy.to_owned(), |rest| format!("socks5h://{rest}"))
}

fn place(server: &Uri) -> Option<(&str, u16)> {
    Some((server.host()?, server.port_u16().unwrap_or(443)))
}

/// A word in curl's quotes: <https://curl.se/docs/manpage.html#-K>.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(2 * text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str(r"\n"),
            '\r' => quoted.push_str(r"\r"),
            '\t' => quoted.push_str(r"\t"),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kube::config::Cluster;

    use super::*;
    use crate::{net::Way, origin::Origin};

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");

    fn lines(cluster: Cluster, way: Way) -> Vec<String> {
        let server = cluster.server.clone().or_else(|| Some("https://s:6443".to_owned()));
        let identity = Identity { cluster: Cluster { server, ..cluster }, way, ..Identity::new(Origin::InCluster, String::new()) };
        let text = render(&identity, &Secret::new("tok".into()), Some(Path::new("/a b/ca.crt")));
        let common = "# Made by jobpass: it holds the token.\nheader = \"Authorization: Bearer tok\"\nproto = \"=https\"\nproto-redir = \"=https\"\n\
                      cacert = \"/a b/ca.crt\"\n";
        text.expose().strip_prefix(common).expect("the same for all").lines().map(str::to_owned).collect()
    }

    #[test]
    fn it_says_what_the_kubeconfig_says() {
        assert_eq!(lines(Cluster::default(), Way::default()), ["noproxy = \"*\""]);
        let own = |proxy: &str| lines(Cluster { proxy_url: Some(proxy.into()), ..Cluster::default() }, Way::default());
        assert_eq!(own("http://u:p@p:1"), ["proxy = \"http://u:p@p:1\"", "noproxy = \"none.invalid\""]);
        assert_eq!(own("socks5://p:1")[0], "proxy = \"socks5h://p:1\"");
        let of_environment = Way { proxy: Some(Uri::from_static("http://p:1")), ..Way::default() };
        assert_eq!(lines(Cluster::default(), of_environment), [""; 0]);
        let insecure = Cluster { insecure_skip_tls_verify: Some(true), ..Cluster::default() };
        assert_eq!(lines(insecure, Way::default()), ["noproxy = \"*\"", "insecure"]);
        let named =
            |server: &str| Cluster { server: Some(server.into()), tls_server_name: Some("kubernetes".into()), ..Cluster::default() };
        assert_eq!(lines(named("https://[::1]:6443/x"), Way::default())[1], "connect-to = \"kubernetes:6443:[::1]:6443\"");
        assert_eq!(lines(named("https://10.0.0.1"), Way::default())[1], "connect-to = \"kubernetes:443:10.0.0.1:443\"");
    }

    /// An older curl ignores a word that it does not know: then it would ask without what the word says.
    #[test]
    fn every_word_is_known_to_the_curl_that_the_page_names() {
        // From `docs/options-in-versions` of curl.
        let known = [
            ("header", (5, 0)),
            ("cacert", (7, 5)),
            ("insecure", (7, 10)),
            ("proxy", (4, 0)),
            ("proto", (7, 20)),
            ("proto-redir", (7, 20)),
            ("noproxy", (7, 19)),
            ("connect-to", (7, 49)),
        ];
        let all = Cluster {
            proxy_url: Some("http://p:1".into()),
            tls_server_name: Some("kubernetes".into()),
            insecure_skip_tls_verify: Some(true),
            ..Cluster::default()
        };
        let words = ["header".to_owned(), "proto".to_owned(), "proto-redir".to_owned(), "cacert".to_owned()].into_iter();
        let words = words.chain(lines(all, Way::default()).into_iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()));
        let since = |word: String| known.iter().find(|(name, _)| *name == word).unwrap_or_else(|| panic!("since when is {word}?")).1;
        let (major, minor) = words.map(since).max().expect("some");
        assert!(fs::read_to_string(PAGE).expect("the page is there").contains(&format!("\nsince {major}.{minor} ")), "{major}.{minor}");
    }

    #[test]
    fn no_word_leaves_its_quotes() {
        assert_eq!(quoted("a\"b\\c\nurl = x\t\r"), r#""a\"b\\c\nurl = x\t\r""#);
    }
}
