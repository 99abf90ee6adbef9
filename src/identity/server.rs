//! Normalises the API server's URL, and reads its certificate authority in any form.

use anyhow::{Context, anyhow, ensure};
use http::{Uri, uri::PathAndQuery};
use kube::config::Cluster;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{
    env::Env,
    failure::{Code, Failure},
    files,
    kubeconfig_text::decoded,
    out::one_line,
    shown::Kind,
};

/// The plain form of a URL: `https`, without a trailing slash; a path prefix, as of Rancher, is kept.
pub(super) fn plain(server: &str, source: &str) -> Result<String, Failure> {
    let hint = "write it as `https://api.example.com:6443`";
    let refused = |why: &str| Failure::new(Code::IdentityServer, format!("the API server of {source} is no address")).cause(why).hint(hint);
    let text = server.trim();
    if text.is_empty() {
        return Err(Failure::new(Code::IdentityServer, format!("{source} names no API server")).hint(hint));
    }
    if let Some(kind) = Kind::of(text).filter(|kind| *kind != Kind::Login) {
        return Err(refused(&format!("it is {kind}")));
    }
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri: Uri = with_scheme.parse().map_err(|error: http::uri::InvalidUri| refused(&one_line(&error.to_string())))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") => {
            return Err(Failure::new(Code::IdentityServer, format!("the API server of {source} is reached without TLS"))
                .cause("everybody on the way could read the tokens")
                .hint("write `https://`"));
        }
        Some(_) | None => return Err(refused("its scheme is not `https`")),
    }
    let (Some(host), Some(authority)) = (uri.host().filter(|host| !host.is_empty()), uri.authority()) else {
        return Err(refused("it has no host"));
    };
    if authority.as_str().contains('@') {
        return Err(refused("it holds a user or password"));
    }
    if uri.query().is_some() || with_scheme.contains('#') {
        return Err(refused("it has a query or a fragment"));
    }
    let host = host.to_ascii_lowercase();
    let path = uri.path_and_query().map_or("", PathAndQuery::path).trim_end_matches('/');
    if let Some(what) = stranger(&host, path) {
        return Err(Failure::new(Code::IdentityServer, format!("{source} names {what}, not its API server"))
            .hint(format!("take the address that `oc whoami --show-server` prints, such as `{}`", beside(&host))));
    }
    // One form for one server, as `revoke` compares it with the server of the lease.
    let authority = authority.as_str().to_ascii_lowercase();
    Ok(format!("https://{}{path}", authority.strip_suffix(":443").unwrap_or(&authority)))
}

/// What else of an OpenShift is at that address, where it is surely not the API server.
fn stranger(host: &str, path: &str) -> Option<&'static str> {
    // Of the hosts that are not its own, a cluster's ingress has the wildcard `*.apps.CLUSTER.DOMAIN`:
    // https://docs.redhat.com/en/documentation/openshift_container_platform/4.18/html/networking/
    let is_console = host.starts_with("console-openshift-console.") || host.starts_with("console.apps.");
    let is_manager = matches!(host, "console.redhat.com" | "cloud.redhat.com");
    // What a browser shows of the console, on any host: `/k8s/ns/NAME/…`, where Rancher has `/k8s/clusters/ID`.
    let of_console = ["/console", "/dashboards", "/topology", "/k8s/ns/", "/k8s/cluster/", "/k8s/all-namespaces/"];
    let is_page =
        of_console.iter().any(|page| path == page.trim_end_matches('/') || path.starts_with(&format!("{}/", page.trim_end_matches('/'))));
    match () {
        () if host.starts_with("oauth-openshift.") || path.starts_with("/oauth/") => Some("OpenShift's OAuth server"),
        () if is_manager => Some("Red Hat's console of all clusters"),
        () if is_console || is_page => Some("OpenShift's web console"),
        () => None,
    }
}

/// The API server that is usually there where something else of the cluster was named.
fn beside(host: &str) -> String {
    match host.split_once(".apps.") {
        Some((_, domain)) => format!("https://api.{domain}:6443"),
        None if host.starts_with("api.") => format!("https://{host}:6443"),
        None => "https://api.CLUSTER.DOMAIN:6443".to_owned(),
    }
}

/// Reads a certificate authority that is given as PEM text, as base64 of it, or as a file.
pub(super) fn authority(given: &str, source: &str, env: &Env) -> Result<Vec<u8>, Failure> {
    let refused = |cause: anyhow::Error| refused(source, &cause);
    let path = env.absolute(given.as_ref());
    let pem = if given.contains("-----BEGIN") {
        unfolded(given)
    } else if !given.contains('\n') && path.exists() {
        files::read_bytes(&path).with_context(|| format!("cannot read `{}`", path.display())).map_err(refused)?.to_vec()
    } else {
        let none = || refused(anyhow!("it is neither a file that exists, nor PEM text, nor base64"));
        let quoted = given.trim().trim_matches(['"', '\'']);
        let pem = decoded(quoted).ok_or_else(none)?;
        // Secrets of CI systems are often base64 by themselves, and what is put in is, too.
        let again = std::str::from_utf8(&pem).ok().filter(|text| !text.contains("-----BEGIN")).and_then(decoded);
        again.filter(|pem| pem.starts_with(b"-----BEGIN")).unwrap_or(pem).to_vec()
    };
    authority_in(pem, source)
}

/// PEM text with its line breaks, where a variable has lost them: they are blanks, or `\n` in two characters, or indented.
fn unfolded(text: &str) -> Vec<u8> {
    const LABEL: &str = "CERTIFICATE-----";
    let text = text.replace("\\r", "").replace("\\n", "\n");
    let mut unfolded = Vec::new();
    for block in text.split(&format!("-----BEGIN {LABEL}")).skip(1) {
        let (body, _) = block.split_once(&format!("-----END {LABEL}")).unwrap_or((block, ""));
        let body: String = body.split_whitespace().collect();
        unfolded.push(format!("-----BEGIN {LABEL}\n{body}\n-----END {LABEL}\n"));
    }
    unfolded.concat().into_bytes()
}

/// Checks a certificate authority that is known to be PEM.
pub(super) fn authority_in(pem: Vec<u8>, source: &str) -> Result<Vec<u8>, Failure> {
    checked_authority(&pem).map_err(|cause| refused(source, &cause))?;
    Ok(pem)
}

/// The certificate authority in a kubeconfig's cluster, as PEM; none if it has none.
pub(super) fn pem_of(cluster: &Cluster) -> anyhow::Result<Option<Vec<u8>>> {
    match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (Some(data), _) => decoded(data).map(|pem| Some(pem.to_vec())).ok_or_else(|| {
            anyhow!(if data.contains("-----BEGIN") { "it is PEM text, where its base64 belongs" } else { "its base64 cannot be read" })
        }),
        (None, Some(path)) => {
            let bytes = files::read_bytes(path.as_ref()).with_context(|| format!("cannot read `{path}`"))?;
            Ok(Some(bytes.to_vec()))
        }
        (None, None) => Ok(None),
    }
}

fn refused(source: &str, cause: &anyhow::Error) -> Failure {
    Failure::new(Code::IdentityAuthority, format!("cannot use the certificate authority of {source}"))
        .chain(cause)
        .hint("give a file, PEM text or base64 of it: the API server's own, as in the ConfigMap `kube-root-ca.crt` of any namespace")
}

/// Refuses PEM without a certificate before anything is sent.
pub(super) fn checked_authority(pem: &[u8]) -> anyhow::Result<()> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| anyhow!("its PEM text cannot be read"))?;
        roots.add(certificate).map_err(|_| anyhow!("a certificate in it is not valid"))?;
    }
    ensure!(!roots.is_empty(), "it holds no certificate");
    Ok(())
}

/// The path of an address, if it has one.
#[must_use]
pub fn path_of(server: &str) -> Option<&str> {
    let (_, rest) = server.split_once("://")?;
    rest.find('/').map(|at| &rest[at..]).filter(|path| *path != "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_form_becomes_the_plain_one() {
        for (given, expected) in [
            ("https://api.example.com:6443", "https://api.example.com:6443"),
            ("https://api.example.com:6443/", "https://api.example.com:6443"),
            ("API.example.com:6443", "https://api.example.com:6443"),
            ("https://rancher.example.com/k8s/clusters/c-1/", "https://rancher.example.com/k8s/clusters/c-1"),
            ("https://[::1]:6443", "https://[::1]:6443"),
            ("https://api.example.com:443/", "https://api.example.com"),
            ("https://api.x.0a51.p1.openshiftapps.com:6443", "https://api.x.0a51.p1.openshiftapps.com:6443"),
            ("https://c100-e.eu-de.containers.cloud.ibm.com:31000", "https://c100-e.eu-de.containers.cloud.ibm.com:31000"),
            ("https://proxy.example.com/k8s/clusters/local/", "https://proxy.example.com/k8s/clusters/local"),
            ("https://master.example.com:8443", "https://master.example.com:8443"),
        ] {
            assert_eq!(plain(given, "`--server`").as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_is_no_api_server_is_refused_by_name() {
        for (given, part) in [
            ("http://x", "without TLS"),
            ("ftp://x", "is not `https`"),
            ("https://u:p@x", "user or password"),
            ("https://x/?a=b", "query"),
            ("https://", "no address"),
            ("", "names no API server"),
            ("https://console-openshift-console.apps.x.y", "web console"),
            ("https://console.apps.x.y/", "`https://api.x.y:6443`"),
            ("https://console.redhat.com/openshift/details/1", "console of all clusters"),
            ("https://api.x.y:6443/console", "`https://api.x.y:6443`"),
            ("https://c.example.com/k8s/ns/ci/pods", "web console"),
            ("OAuth-OpenShift.apps.x.y/oauth/token/request", "OAuth server"),
            ("https://x.example.com:31000/oauth/authorize", "OAuth server"),
        ] {
            let failure = plain(given, "`--server`").expect_err(given).to_string();
            assert!(failure.contains(part) && failure.contains("`--server`"), "{given}: {failure}");
            assert!(!failure.contains("u:p"), "{failure}");
        }
    }

    #[test]
    fn an_authority_that_is_none_is_refused() {
        let refused = |given: &str| authority(given, "`--certificate-authority`", &Env::default()).expect_err(given).to_string();
        assert!(refused("/nowhere/ca.crt").contains("neither a file that exists, nor PEM text, nor base64"));
        assert!(refused("aGVsbG8=").contains("it holds no certificate"));
        assert!(refused("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").contains("it holds no certificate"));
        assert!(refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("not valid"));
    }
}
