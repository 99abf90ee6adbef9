package up

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestCertificatesVerifyForTheirUse(t *testing.T) {
	keys, err := newPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(keys.ca.cert)
	for _, c := range []struct {
		name, host string
		of         pair
		usage      x509.ExtKeyUsage
		groups     []string
	}{
		{name: "kube-apiserver", host: "127.0.0.1", of: keys.server, usage: x509.ExtKeyUsageServerAuth},
		{name: "kube-apiserver", host: "localhost", of: keys.server, usage: x509.ExtKeyUsageServerAuth},
		{name: "admin", of: keys.admin, usage: x509.ExtKeyUsageClientAuth, groups: []string{"system:masters"}},
		{name: "system:kube-controller-manager", of: keys.controllers, usage: x509.ExtKeyUsageClientAuth},
	} {
		// It also says whether the key belongs to the certificate.
		loaded, err := tls.X509KeyPair(c.of.cert, c.of.key)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if _, err := loaded.Leaf.Verify(x509.VerifyOptions{
			Roots: roots, DNSName: c.host, KeyUsages: []x509.ExtKeyUsage{c.usage},
		}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := loaded.Leaf.Subject; got.CommonName != c.name || !slices.Equal(got.Organization, c.groups) {
			t.Errorf("subject is %v, want %s of %v", got, c.name, c.groups)
		}
	}
}

func TestServiceAccountKeyIsLikeARealOne(t *testing.T) {
	keys, err := newPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(keys.serviceAccount)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, isRSA := parsed.(*rsa.PrivateKey)
	if !isRSA || key.N.BitLen() != 2048 {
		t.Errorf("want RSA-2048, got %T", parsed)
	}
}

func TestKeyFilesArePrivate(t *testing.T) {
	folder := t.TempDir()
	if _, err := newPKI(folder); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) == 0 {
		t.Fatal("nothing written", err)
	}
	for _, f := range files {
		info, err := os.Stat(filepath.Join(folder, f.Name()))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
}
