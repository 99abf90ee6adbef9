//! Which servers are reached without the environment's proxy: as Go decides it, and so kubectl, helm and oc.
//!
//! See <https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>. The servers of this machine are never reached through a proxy.

use std::net::IpAddr;

use http::Uri;

/// Whether the server is reached directly: it is this machine, or the list of `NO_PROXY` names it.
pub(super) fn is_direct(server: &Uri, list: &str) -> bool {
    let Some(host) = server.host() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let port = server.port_u16().unwrap_or(443);
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    host == "localhost"
        || address.is_some_and(|address| address.is_loopback())
        || list.split(',').any(|entry| names(entry, &host, address, port))
}

/// Whether one entry of the list names a server: `*`, an address or a range, a domain with what is below it, with a port or without.
fn names(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    if entry == "*" {
        return true;
    }
    if let Some((network, length)) = range(&entry) {
        return address.is_some_and(|address| is_in(address, network, length));
    }
    let (entry, its_port) = with_port(&entry);
    if its_port.is_some_and(|its| its != port.to_string()) {
        return false;
    }
    match (entry.parse::<IpAddr>(), address) {
        (Ok(named), Some(address)) => named.to_canonical() == address,
        (Ok(_), None) | (Err(_), Some(_)) => false,
        (Err(_), None) => {
            // `.example.com` and `*.example.com` are what is below it, `example.com` is that and itself.
            let below = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
            let domain = below.strip_prefix('.').unwrap_or(below);
            let is_below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
            !domain.is_empty() && (is_below || (host == domain && !below.starts_with('.')))
        }
    }
}

/// The entry without its port, and the port if it has one. An address of version 6 has colons of its own.
fn with_port(entry: &str) -> (&str, Option<&str>) {
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port).filter(|port| !port.is_empty())),
        Some(_) | None => (entry, None),
    };
    (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
}

/// A range of addresses, as `10.0.0.0/8`.
fn range(entry: &str) -> Option<(IpAddr, u32)> {
    let (network, length) = entry.split_once('/')?;
    let network: IpAddr = network.parse().ok()?;
    let length = length.parse().ok()?;
    (length <= if network.is_ipv4() { 32 } else { 128 }).then_some((network, length))
}

fn is_in(address: IpAddr, network: IpAddr, length: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits() ^ network.to_bits()).checked_shr(32 - length).unwrap_or_default() == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            (address.to_bits() ^ network.to_bits()).checked_shr(128 - length).unwrap_or_default() == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");

    fn is_direct(server: &str, list: &str) -> bool {
        super::is_direct(&format!("https://{server}/prefix").parse().expect("a URL"), list)
    }

    #[test]
    fn this_machine_is_reached_directly_whatever_the_list_says() {
        for server in ["127.0.0.1:6443", "127.9.8.7", "localhost:6443", "[::1]:6443", "[::ffff:127.0.0.1]"] {
            assert!(is_direct(server, ""), "{server}");
        }
        for server in ["localhost.example.com", "10.0.0.1", "[::2]", "127.example.com", "kubernetes.docker.internal:6443"] {
            assert!(!is_direct(server, ""), "{server}");
        }
    }

    /// What users read of it.
    #[test]
    fn the_page_says_what_an_entry_is_for() {
        let page = fs::read_to_string(PAGE).expect("the page is there");
        let (_, table) = page.split_once("| an entry of `NO_PROXY` |").expect("a table");
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let mut count = 0;
        for row in rows {
            let [_, entry, is_for, is_not, _] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
            let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
            for (servers, direct) in [(words(is_for), true), (words(is_not), false)] {
                for server in servers {
                    assert_eq!(is_direct(&server, &words(entry)[0]), direct, "{row}: {server}");
                    count += 1;
                }
            }
        }
        assert!(count > 15, "{count}");
    }

    /// Each as kubectl does it.
    #[test]
    fn an_entry_names_what_it_names_for_go() {
        let all = "api.example.com:6443";
        for (server, list, direct) in [
            (all, "*", true),
            (all, "a,*", true),
            (all, "example.com", true),
            (all, "EXAMPLE.com", true),
            (all, ".example.com", true),
            (all, "*.example.com", true),
            (all, "api.example.com", true),
            (all, ".api.example.com", false),
            (all, "*.api.example.com", false),
            (all, "ple.com", false),
            (all, "api.example.com:6443", true),
            (all, "example.com:6443", true),
            (all, "api.example.com:443", false),
            (all, ":6443", false),
            (all, "api.example.com:", true),
            (all, "a b, api.example.com ", true),
            (all, "a api.example.com", false),
            (all, ",,", false),
            (all, ".", false),
            (all, "*api.example.com", false),
            ("api.example.com", "api.example.com:443", true),
            ("10.1.2.3:6443", "10.0.0.0/8", true),
            ("10.1.2.3:6443", "10.1.2.4/31", false),
            ("10.1.2.3:6443", "10.9.9.9/0", true),
            ("10.1.2.3:6443", "10.1.2.3/32", true),
            ("10.1.2.3:6443", "10.1.2.0/33", false),
            ("10.1.2.3:6443", "10.1.2.3", true),
            ("10.1.2.3:6443", "10.1.2.3:6443", true),
            ("10.1.2.3:6443", "10.1.2.3:443", false),
            ("10.1.2.3:6443", "2.3", false),
            ("10.1.2.3:6443", "::ffff:10.1.2.3", true),
            ("[fd00::7]:6443", "fd00::/8", true),
            ("[fd00::7]:6443", "fd00::7", true),
            ("[fd00::7]:6443", "[fd00::7]:6443", true),
            ("[fd00::7]:6443", "[fd00::7]:443", false),
            ("[fd00::7]:6443", "::/0", true),
            ("[fd00::7]:6443", "10.0.0.0/0", false),
        ] {
            assert_eq!(is_direct(server, list), direct, "{server} {list}");
        }
    }
}
