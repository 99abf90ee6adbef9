package up

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"jobpass.dev/cluster/openshift"
)

// openShift is OpenShift's login beside a control plane: the ports of its two servers.
type openShift struct{ oauth, groups int }

// user is who can log in; the password is made anew for each run.
const user = "alice"

func (p plan) issuer() string { return fmt.Sprintf("https://127.0.0.1:%d", p.openShift.oauth) }

// webhook is how the API server asks whom a token is of: the URL is a whole one.
const webhook = `apiVersion: v1
kind: Config
clusters:
- name: webhook
  cluster:
    server: https://127.0.0.1:%d/apis/oauth.openshift.io/v1/tokenreviews
    tls-server-name: %s
    certificate-authority: %s
users:
- name: webhook
  user:
    client-certificate: %s
    client-key: %s
contexts:
- name: webhook
  context: {cluster: webhook, user: webhook}
current-context: webhook
`

// writeOpenShift makes the certificates and files of the login. openshift.json is for the tests: where it is, and as whom one logs in.
func (p plan) writeOpenShift(keys *pki) error {
	// On a real cluster the OAuth server stands behind the ingress, which has another authority than the API server.
	ingress, err := newAuthority()
	if err != nil {
		return err
	}
	front, err := newAuthority()
	if err != nil {
		return err
	}
	server := func(name string, names []string, addresses ...net.IP) x509.Certificate {
		return x509.Certificate{
			Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: names, IPAddresses: addresses,
		}
	}
	files := map[string][]byte{"ingress-ca.crt": ingress.cert, "front-ca.crt": front.cert, "clients.crt": append(append([]byte{}, front.cert...), keys.ca.cert...)}
	for name, made := range map[string]struct {
		by       *authority
		template x509.Certificate
	}{
		"oauth":         {ingress, server("oauth-openshift", nil, net.IPv4(127, 0, 0, 1))},
		"groups":        {keys.authority, server("openshift-oauth-apiserver", []string{openshift.ServiceHost})},
		"aggregator":    {front, client(openshift.Aggregator)},
		"authenticator": {keys.authority, client(openshift.Authenticator)},
	} {
		issued, err := made.by.issue(made.template)
		if err != nil {
			return err
		}
		files[name+".crt"], files[name+".key"] = issued.cert, issued.key
	}
	random := make([]byte, 16)
	rand.Read(random)
	at := func(name string) string { return p.dir.path("openshift/" + name) }
	serve := openshift.Plan{
		Kubeconfig: p.dir.path("admin.kubeconfig"), Issuer: p.issuer(), Address: fmt.Sprintf("127.0.0.1:%d", p.openShift.oauth),
		Certificate: at("oauth.crt"), Key: at("oauth.key"), Groups: int32(p.openShift.groups), GroupsCertificate: at("groups.crt"), GroupsKey: at("groups.key"),
		CA: p.dir.path("ca.crt"), Clients: at("clients.crt"), Passwords: map[string]string{user: hex.EncodeToString(random)},
	}
	var errs []error
	if files["metadata.json"], err = serve.Metadata(); err != nil {
		return err
	}
	if files["plan.json"], err = json.Marshal(serve); err != nil {
		return err
	}
	files["webhook.kubeconfig"] = fmt.Appendf(nil, webhook, p.openShift.groups, openshift.ServiceHost, p.dir.path("ca.crt"), at("authenticator.crt"), at("authenticator.key"))
	for name, content := range files {
		errs = append(errs, mkdirAndWrite(at(name), string(content)))
	}
	told, err := json.Marshal(map[string]string{"issuer": p.issuer(), "user": user, "password": serve.Passwords[user], "ca": string(ingress.cert)})
	return errors.Join(append(errs, err, writePrivate(p.dir.path("openshift.json"), told))...)
}

// openShiftAPIServer are the flags by which the API server knows the login.
func (p plan) openShiftAPIServer() []string {
	at := func(name string) string { return p.dir.path("openshift/" + name) }
	return []string{
		"--oauth-metadata-file=" + at("metadata.json"),
		"--authentication-token-webhook-config-file=" + at("webhook.kubeconfig"),
		"--authentication-token-webhook-version=v1",
		// OpenShift's operator sets it; upstream's own is two minutes.
		"--authentication-token-webhook-cache-ttl=30s",
		"--requestheader-client-ca-file=" + at("front-ca.crt"),
		"--requestheader-allowed-names=" + openshift.Aggregator,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + at("aggregator.crt"),
		"--proxy-client-key-file=" + at("aggregator.key"),
	}
}

func (p plan) openShiftServe() []string {
	return []string{"openshift", "serve", p.dir.path("openshift/plan.json")}
}
