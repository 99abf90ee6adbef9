package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// unauthorized is the answer of a real API server to a token that it does not take.
const unauthorized = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`

// shortener stands before a real API server, which grants no token for less than ten minutes. Whoever requests a token through it
// gets one that says in its claims that it ends after `life`; it is taken until `leeway` after that.
//
// The signature does not fit the changed claims. Only the API server could tell, and it is shown the token that it has issued.
type shortener struct {
	life, leeway, watch time.Duration

	mu     sync.Mutex
	tokens map[string]issued
}

// issued is a token as the API server knows it, and the moment when the short one ends.
type issued struct {
	token string
	ends  time.Time
}

// shorten serves until stdin is closed, so that it does not outlive whoever has started it.
func shorten(args []string) error {
	flags := flag.NewFlagSet("shorten", flag.ExitOnError)
	upstream := flags.String("upstream", "", "URL of the real API server")
	authority := flags.String("ca", "", "file with its authority")
	own := flags.String("ca-out", "", "file to write the authority of this server to")
	s := &shortener{tokens: map[string]issued{}}
	flags.DurationVar(&s.life, "life", 0, "life of a token")
	flags.DurationVar(&s.leeway, "leeway", 0, "how long after its end a token is still taken")
	flags.DurationVar(&s.watch, "watch", 0, "how long a watch lasts whose client has set it a time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	proxy, err := s.proxy(*upstream, *authority)
	if err != nil {
		return err
	}
	certificate, err := certified(*own)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:   s.judged(proxy),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	fmt.Printf("https://%s\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// proxy passes requests on to the API server.
func (s *shortener) proxy(upstream, authority string) (*httputil.ReverseProxy, error) {
	target, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", authority)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target)
			// Or its answers come compressed, and the one with the token could not be read.
			request.Out.Header.Del("Accept-Encoding")
		},
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true},
		FlushInterval:  -1,
		ModifyResponse: s.shortened,
		ErrorLog:       log.New(io.Discard, "", 0),
	}, nil
}

// judged refuses short tokens that are over, and shows the others to the API server as it knows them.
func (s *shortener) judged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		known, short := s.tokens[token]
		s.mu.Unlock()
		if short && time.Now().After(known.ends.Add(s.leeway)) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, unauthorized)
			return
		}
		if short {
			r.Header.Set("Authorization", "Bearer "+known.token)
		}
		// Informers ask for minutes, after which they begin a new watch: that they can is what matters here.
		query := r.URL.Query()
		if query.Has("timeoutSeconds") && query.Get("watch") != "" {
			query.Set("timeoutSeconds", strconv.Itoa(int(s.watch.Seconds())))
			r.URL.RawQuery = query.Encode()
		}
		next.ServeHTTP(w, r)
	})
}

// shortened changes the token in the answer to a TokenRequest.
func (s *shortener) shortened(answer *http.Response) error {
	request := answer.Request
	if request.Method != http.MethodPost || path.Base(request.URL.Path) != "token" || answer.StatusCode != http.StatusCreated {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	var granted struct {
		Status struct {
			Token               string `json:"token"`
			ExpirationTimestamp string `json:"expirationTimestamp"`
		} `json:"status"`
	}
	if err := json.Unmarshal(body, &granted); err != nil {
		return err
	}
	short, ends, err := s.short(granted.Status.Token)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.tokens[short] = issued{granted.Status.Token, ends}
	s.mu.Unlock()
	body = bytes.Replace(body, []byte(granted.Status.Token), []byte(short), 1)
	body = bytes.Replace(body, []byte(granted.Status.ExpirationTimestamp), []byte(ends.UTC().Format(time.RFC3339)), 1)
	answer.Body = io.NopCloser(bytes.NewReader(body))
	answer.ContentLength = int64(len(body))
	answer.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// short gives a token an earlier end.
func (s *shortener) short(token string) (string, time.Time, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", time.Time{}, errors.New("the API server has granted no JWT")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", time.Time{}, err
	}
	claims := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&claims); err != nil {
		return "", time.Time{}, err
	}
	begins, err := strconv.ParseInt(fmt.Sprint(claims["iat"]), 10, 64)
	if err != nil {
		return "", time.Time{}, err
	}
	ends := time.Unix(begins, 0).Add(s.life)
	claims["exp"] = ends.Unix()
	if text, err = json.Marshal(claims); err != nil {
		return "", time.Time{}, err
	}
	parts[1] = base64.RawURLEncoding.EncodeToString(text)
	return strings.Join(parts, "."), ends, nil
}

// certified makes the certificate of this server, and writes its authority to a file for those who are to trust it.
func certified(file string) (tls.Certificate, error) {
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "clients"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "kube-apiserver"},
		NotBefore:    authority.NotBefore,
		NotAfter:     authority.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	root, err := x509.CreateCertificate(rand.Reader, authority, authority, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.CreateCertificate(rand.Reader, server, authority, &own.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
	return tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: own}, os.WriteFile(file, text, 0o600)
}
