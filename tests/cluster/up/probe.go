package up

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"time"
)

// probe asks the API server, as its admin, whether something is there yet.
type probe struct {
	server string
	client *http.Client
}

func newProbe(server string, keys *pki) (*probe, error) {
	admin, err := tls.X509KeyPair(keys.admin.cert, keys.admin.key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(keys.ca.cert)
	return &probe{server: server, client: &http.Client{
		Timeout: 5 * time.Second,
		// A transport of our own, without the proxies of the environment.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{admin}}},
	}}, nil
}

// waitFor returns when the path answers 200, or with the context's error.
func (p *probe) waitFor(ctx context.Context, path string) error {
	return p.waitUntil(ctx, path, func([]byte) bool { return true })
}

// waitUntil returns when the path answers 200 with a body that pleases, or with the context's error.
func (p *probe) waitUntil(ctx context.Context, path string, pleases func([]byte) bool) error {
	for {
		if body, ok := p.get(ctx, path); ok && pleases(body) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *probe) get(ctx context.Context, path string) ([]byte, bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.server+path, nil)
	if err != nil {
		return nil, false
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, false
	}
	defer response.Body.Close()
	// Read to the end, so that the connection is used again.
	body, err := io.ReadAll(response.Body)
	return body, err == nil && response.StatusCode == http.StatusOK
}
