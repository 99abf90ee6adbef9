package up

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"path/filepath"
	"time"
)

// pki is everything that is signed or signs in one control plane. All of it is
// made anew for each run and is worthless after it.
type pki struct {
	ca, server, admin, controllers pair
	authority                      *authority
	// serviceAccount signs tokens. It is RSA-2048 as on real clusters, so that
	// tokens have their real size and algorithm (RS256).
	serviceAccount []byte
}

// pair is a certificate and its key, both as PEM.
type pair struct{ cert, key []byte }

// validFor is short, as no test runs for two days.
const validFor = 48 * time.Hour

// newPKI makes the keys and writes them into folder. The CA's key stays there
// too, for tests that want a client certificate of their own. The API server is
// reached at loopback, and at more addresses if there are any.
func newPKI(folder string, more ...net.IP) (*pki, error) {
	authority, err := newAuthority()
	if err != nil {
		return nil, err
	}
	keys := &pki{ca: authority.pair, authority: authority}
	for _, wanted := range []struct {
		into     *pair
		template x509.Certificate
	}{
		{&keys.server, x509.Certificate{
			Subject:     pkix.Name{CommonName: "kube-apiserver"},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			DNSNames:    []string{"localhost", "kubernetes.default.svc"},
			IPAddresses: append([]net.IP{net.IPv4(127, 0, 0, 1)}, more...),
		}},
		{&keys.admin, client("admin", "system:masters")},
		{&keys.controllers, client("system:kube-controller-manager")},
	} {
		if *wanted.into, err = authority.issue(wanted.template); err != nil {
			return nil, err
		}
	}
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	if keys.serviceAccount, err = encodeKey(signer); err != nil {
		return nil, err
	}
	return keys, keys.write(folder)
}

func (k *pki) write(folder string) error {
	var errs []error
	for name, content := range map[string][]byte{
		"ca.crt": k.ca.cert, "ca.key": k.ca.key,
		"server.crt": k.server.cert, "server.key": k.server.key,
		"admin.crt": k.admin.cert, "admin.key": k.admin.key,
		"kube-controller-manager.crt": k.controllers.cert, "kube-controller-manager.key": k.controllers.key,
		"service-account.key": k.serviceAccount,
	} {
		errs = append(errs, writePrivate(filepath.Join(folder, name), content))
	}
	return errors.Join(errs...)
}

// client is the certificate of a user: the API server reads the name from CN and the groups from O.
func client(user string, groups ...string) x509.Certificate {
	return x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

type authority struct {
	pair
	certificate *x509.Certificate
	signer      crypto.Signer
}

func newAuthority() (*authority, error) {
	a := &authority{certificate: &x509.Certificate{
		Subject:               pkix.Name{CommonName: "jobpass-cluster-ca"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a.signer = key
	a.pair, err = a.sign(*a.certificate, key)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(a.pair.cert)
	a.certificate, err = x509.ParseCertificate(block.Bytes)
	return a, err
}

func (a *authority) issue(template x509.Certificate) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	return a.sign(template, key)
}

func (a *authority) sign(template x509.Certificate, key crypto.Signer) (pair, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return pair{}, err
	}
	template.SerialNumber = serial
	// An hour back, for a machine whose clock was just set.
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(validFor)
	der, err := x509.CreateCertificate(rand.Reader, &template, a.certificate, key.Public(), a.signer)
	if err != nil {
		return pair{}, err
	}
	encoded, err := encodeKey(key)
	return pair{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), encoded}, err
}

func encodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}
