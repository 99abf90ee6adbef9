//! The way to a server as the environment gives it: the proxy and the root certificates.

use http::Uri;
use serde::{Deserialize, Serialize};

use super::{
    no_proxy::is_direct,
    roots::{ARE_FILES, Roots},
};
use crate::{
    env::Env,
    failure::{Code, Failure},
};

/// The proxy through which the API server is reached, and the roots for its certificate where no certificate authority is given.
#[derive(Clone, Default)]
pub struct Way {
    /// The proxy's address, if there is one.
    pub proxy: Option<Uri>,
    /// The setting that it comes from, in words.
    pub proxy_source: &'static str,
    /// The system's roots, where they are needed and are files.
    pub roots: Option<Roots>,
    /// What is saved to recognise the same way later.
    pub fingerprint: Fingerprint,
}

/// What the main step of our GitHub action saves of its way, so that no later step of the job can lead the post step another way by
/// setting variables. It contains no user name or password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fingerprint {
    /// Scheme, host and port of the proxy from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
    /// SHA-256 of the system's roots that were used, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roots: Option<String>,
}

/// A server and what its kubeconfig says of the way to it.
pub struct Address<'a> {
    /// Its URL.
    pub server: &'a str,
    /// The kubeconfig's `proxy-url`, if it has one.
    pub proxy: Option<&'a str>,
    /// Whether its certificate can be checked without the system's roots.
    pub has_trust: bool,
}

impl Fingerprint {
    /// Whether nothing of the way came from the environment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Way {
    /// The way according to the environment and the server's own proxy.
    ///
    /// # Errors
    /// When the proxy's address is not valid, or the environment's root certificates cannot be read.
    pub fn of(address: &Address<'_>, env: &Env) -> Result<Self, Failure> {
        let proxy = proxy(address, env)?;
        let roots = if needs_roots(address, proxy.as_ref()) { Roots::of(env)? } else { None };
        let environments = proxy.as_ref().filter(|_| address.proxy.is_none());
        let fingerprint = Fingerprint { proxy: environments.map(known), roots: roots.as_ref().map(|roots| roots.sha256.clone()) };
        Ok(Self { proxy_source: source(address, env), proxy, roots, fingerprint })
    }

    /// The proxy in words: its address without user and password, and the setting that it comes from.
    #[must_use]
    pub fn proxy_name(&self) -> String {
        let address = self.proxy.as_ref().map(known).unwrap_or_default();
        format!("the proxy `{address}` of {}", self.proxy_source)
    }

    /// The same way again for the post step, and warnings about what the environment says now and is ignored.
    ///
    /// # Errors
    /// When the roots have changed: whoever they trust may be a stranger, so nothing is sent.
    pub fn again(address: &Address<'_>, env: &Env, fingerprint: &Fingerprint) -> Result<(Self, Vec<&'static str>), Failure> {
        let mut passed_over = Vec::new();
        let is_own = address.proxy.is_some();
        let proxy = match proxy(address, env) {
            Ok(proxy) if is_own || proxy.as_ref().map(known) == fingerprint.proxy => proxy,
            Err(failure) if is_own => return Err(failure),
            Ok(_) | Err(_) => {
                passed_over.push("the environment's proxy is not that of the main step: the API server is asked without one");
                None
            }
        };
        let mut roots = None;
        if ARE_FILES && needs_roots(address, proxy.as_ref()) {
            let (same, others) = same(fingerprint.roots.as_deref(), Roots::of(env).ok().flatten(), Roots::usual)?;
            passed_over.extend(others);
            roots = Some(same);
        }
        Ok((Self { proxy_source: source(address, env), proxy, roots, fingerprint: fingerprint.clone() }, passed_over))
    }
}

/// The ways to servers that are found only while a credential is fetched: an identity provider, a login.
///
/// In the post step of our GitHub action only the proxy and the roots of the main step are used, whatever a step in between has set:
/// otherwise it could have a password sent to a server of its own.
#[derive(Clone, Default)]
pub struct Ways {
    env: Env,
    main: Option<Fingerprint>,
}

impl Ways {
    /// The ways as the environment gives them.
    #[must_use]
    pub fn of(env: &Env) -> Self {
        Self { env: env.clone(), main: None }
    }

    /// The same ways as in the main step.
    #[must_use]
    pub fn again(env: &Env, main: Fingerprint) -> Self {
        Self { env: env.clone(), main: Some(main) }
    }

    /// The way to a server whose certificate the system's roots check.
    ///
    /// # Errors
    /// When the proxy's address is not valid, the environment's root certificates cannot be read, or they have changed.
    pub fn to(&self, server: &str) -> Result<Way, Failure> {
        let address = Address { server, proxy: None, has_trust: false };
        match &self.main {
            None => Way::of(&address, &self.env),
            Some(main) => Way::again(&address, &self.env, main).map(|(way, _)| way),
        }
    }

    /// What is saved of them, so that the post step knows them again.
    ///
    /// # Errors
    /// As above.
    pub fn fingerprint(&self) -> Result<Fingerprint, Failure> {
        // `NO_PROXY` may take the proxy away for one server and not for another, which does no harm: nobody in between sees more.
        let env = self.env.without("NO_PROXY").without("no_proxy");
        let address = Address { server: "https://identity-provider.invalid", proxy: None, has_trust: false };
        Way::of(&address, &env).map(|way| way.fingerprint)
    }
}

/// Chooses those roots that were used before: the environment's, or else the system's usual ones.
fn same(before: Option<&str>, now: Option<Roots>, usual: impl Fn() -> Option<Roots>) -> Result<(Roots, Option<&'static str>), Failure> {
    let is_same = |roots: &Roots| before == Some(roots.sha256.as_str());
    if let Some(now) = now.filter(is_same) {
        return Ok((now, None));
    }
    let others = "the environment's root certificates are not those of the main step: the system's usual ones are used";
    usual().filter(is_same).map(|usual| (usual, Some(others))).ok_or_else(|| {
        Failure::new(Code::NetworkRoots, "cannot check who the API server is")
            .cause("the root certificates are not those of the main step: a step after it may have replaced them")
            .hint("give the CI identity its server's certificate authority, which no step can replace")
    })
}

/// Whether the system's roots are needed: for the server, or for a proxy that is reached by TLS.
fn needs_roots(address: &Address<'_>, proxy: Option<&Uri>) -> bool {
    !address.has_trust || proxy.is_some_and(|proxy| proxy.scheme_str() == Some("https"))
}

/// Scheme, host and port of a proxy's address, without its user name and password.
fn known(proxy: &Uri) -> String {
    let port = proxy.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", proxy.scheme_str().unwrap_or_default(), proxy.host().unwrap_or_default().to_ascii_lowercase())
}

/// The proxy, if any: the kubeconfig's own, whatever the server, as kubectl does it; else `HTTPS_PROXY`, unless the server is this
/// machine or `NO_PROXY` names it.
fn proxy(address: &Address<'_>, env: &Env) -> Result<Option<Uri>, Failure> {
    let Ok(server) = address.server.parse() else { return Ok(None) };
    chosen(address.proxy, &server, env)
}

/// Where the proxy comes from, if there is one.
fn source(address: &Address<'_>, env: &Env) -> &'static str {
    match address.proxy {
        Some(_) => "the kubeconfig's `proxy-url`",
        None if env.get("HTTPS_PROXY").is_some() => "`HTTPS_PROXY`",
        None => "`https_proxy`",
    }
}

fn chosen(own: Option<&str>, server: &Uri, env: &Env) -> Result<Option<Uri>, Failure> {
    let refused = |source: &str| {
        Failure::new(Code::NetworkTarget, format!("{source} is no address of a proxy"))
            .hint("write it as `http://proxy.example.com:3128`; https and socks5 work too")
    };
    let known = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https" | "socks5" | "socks5h")) && uri.host().is_some();
    if let Some(own) = own {
        let uri = own.trim().parse::<Uri>().ok().filter(known);
        return uri.map(Some).ok_or_else(|| refused("the kubeconfig's `proxy-url`"));
    }
    let either =
        |upper: &'static str, lower: &'static str| [upper, lower].into_iter().find_map(|name| env.get(name).map(|text| (name, text)));
    let Some((name, proxy)) = either("HTTPS_PROXY", "https_proxy") else { return Ok(None) };
    let none = either("NO_PROXY", "no_proxy").map_or("", |(_, text)| text);
    if is_direct(server, none) {
        return Ok(None);
    }
    // A setting of a web page may bring the end of its line with it.
    let proxy = proxy.trim();
    let with_scheme = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    with_scheme.parse::<Uri>().ok().filter(known).map(Some).ok_or_else(|| refused(&format!("`{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(own: Option<&str>, env: &[(&str, &str)]) -> Option<String> {
        let env = env.iter().copied().collect();
        let server = Uri::from_static("https://10.1.2.3:6443/prefix");
        super::chosen(own, &server, &env).expect("valid").map(|uri| uri.to_string())
    }

    #[test]
    fn the_proxy_comes_from_the_environment_unless_no_proxy_names_the_server() {
        let proxy = ("HTTPS_PROXY", "http://p:3128");
        assert_eq!(chosen(None, &[]), None);
        assert_eq!(chosen(None, &[proxy]).as_deref(), Some("http://p:3128/"));
        assert_eq!(chosen(None, &[("https_proxy", "p:3128")]).as_deref(), Some("http://p:3128/"));
        for none in ["10.0.0.0/8", "10.1.2.3", "*", "other.example, 10.1.2.3", "localhost,,10.1.2.3,", "a b,10.1.2.3"] {
            assert_eq!(chosen(None, &[proxy, ("NO_PROXY", none)]), None, "{none}");
        }
        assert!(chosen(None, &[proxy, ("NO_PROXY", "p")]).is_some(), "the proxy's own name does not count");
        for proxy in [" http://p:3128", "http://p:3128\r\n", "p:3128\t"] {
            assert_eq!(chosen(None, &[("HTTPS_PROXY", proxy)]).as_deref(), Some("http://p:3128/"), "{proxy}");
        }
    }

    #[test]
    fn the_kubeconfigs_own_proxy_comes_first() {
        let env = [("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", "*")];
        assert_eq!(chosen(Some("socks5://s:1080"), &env).as_deref(), Some("socks5://s:1080/"));
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_by_name() {
        let env = [("HTTPS_PROXY", "gopher://user:hunter2@p")].into_iter().collect();
        let failure = super::chosen(None, &Uri::from_static("https://x"), &env).expect_err("no proxy").to_string();
        assert!(failure.contains("`HTTPS_PROXY`") && !failure.contains("hunter2"), "{failure}");
        let own =
            super::chosen(Some("socks4://s:1080"), &Uri::from_static("https://x"), &Env::default()).expect_err("no proxy").to_string();
        assert!(own.contains("`proxy-url`"), "{own}");
    }

    const OURS: &str = "-----BEGIN CERTIFICATE-----
MIIBbjCCARWgAwIBAgIURNPC64IiZXKBZtJHyb0c1Xa7PgAwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBYTAgFw0yNjExMjcyMjU1MjdaGA8yMTI2MTEwMzIyNTUyN1ow
DDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABA516ulkfvpH
VBlTN7josIwL45VGTjVtLvpxnP5aTFHroSdQdxjl+7BNCSImIViw9b1qNFTZQznV
xgRbJEeenF6jUzBRMB0GA1UdDgQWBBSGYokfAHCalHyw/HGytVsGSvkHwjAfBgNV
HSMEGDAWgBSGYokfAHCalHyw/HGytVsGSvkHwjAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0cAMEQCIDMQOzwV7d9MMoJkSvfK2YPUAXrGvuV8kkSK2vSF3Q0H
AiAbyG8Y+G3txfabORC21QSo0KJDTmd2rEUFtImIVsTH+Q==
-----END CERTIFICATE-----
";
    const THEIRS: &str = "-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUIoZrUs8WQbIbDVHs4ioQhuouxjwwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBYjAgFw0yNjExMjcyMjU1MjdaGA8yMTI2MTEwMzIyNTUyN1ow
DDEKMAgGA1UEAwwBYjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLFvxY+yEfua
57GngxnFqTpZDDKrtKoNuPoogobxe33v2bDfEcMx7AJsgPj/F6kUR8iy1htQgrOS
/XKLLcW9AaGjUzBRMB0GA1UdDgQWBBSgW5JY0tU7nTSM/eKPq8cKGQCuWDAfBgNV
HSMEGDAWgBSgW5JY0tU7nTSM/eKPq8cKGQCuWDAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCIQC8Mce3wzbrN6/VIOoc8ShUZqmSziPFtKiwBcDl6jKZ
wQIgLE8Msm61f+1qE/D0fT7rJmkqo36un9V4GKDmGeUV1bo=
-----END CERTIFICATE-----
";

    /// The roots with one certificate in them.
    fn roots(of: &str) -> Roots {
        Roots::new(of.as_bytes()).expect("a certificate")
    }

    #[test]
    fn only_roots_of_before_are_used_again() {
        let [ours, theirs] = [OURS, THEIRS].map(roots);
        let before = Some(ours.sha256.as_str());
        let kept = |now: &Roots, usual: &Roots| same(before, Some(now.clone()), || Some(usual.clone())).ok();
        let is_ours = |kept: Option<(Roots, Option<&str>)>| kept.map(|(roots, said)| (roots.sha256 == ours.sha256, said.is_some()));
        assert_eq!(is_ours(kept(&ours, &theirs)), Some((true, false)));
        assert_eq!(is_ours(kept(&theirs, &ours)), Some((true, true)), "the usual ones are said");
        assert_eq!(is_ours(kept(&theirs, &theirs)), None);
        assert!(same(None, Some(theirs.clone()), || Some(theirs.clone())).is_err(), "there was a certificate authority before");
        assert!(same(before, None, || None).is_err());
    }

    #[test]
    fn a_proxy_is_known_again_by_all_but_its_password() {
        let told = |text: &'static str| known(&Uri::from_static(text));
        assert_eq!(told("http://user:hunter2@Proxy.example.com:3128"), "http://proxy.example.com:3128");
        assert_ne!(told("http://p:3128"), told("https://p:3128"));
        assert_ne!(told("http://p:3128"), told("http://p"));
    }
}
