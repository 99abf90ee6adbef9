package openshift

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Plan is all that the servers need to know, as JSON in a file.
type Plan struct {
	// Kubeconfig is an admin's, for what has to be there and for SubjectAccessReviews.
	Kubeconfig string `json:"kubeconfig"`
	// Issuer is the OAuth server's URL; Address is where it listens.
	Issuer  string `json:"issuer"`
	Address string `json:"address"`
	// Certificate and Key are the OAuth server's.
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	// Groups is the port of the API groups, with a certificate of their own for ServiceHost by the authority CA.
	Groups            int32  `json:"groups"`
	GroupsCertificate string `json:"groupsCertificate"`
	GroupsKey         string `json:"groupsKey"`
	CA                string `json:"ca"`
	// Clients is the file of the authorities of the API server's own client certificates.
	Clients string `json:"clients"`
	// Passwords are those of the users.
	Passwords map[string]string `json:"passwords"`
}

// Metadata is what the API server answers when it is asked where the OAuth server is.
func (p *Plan) Metadata() ([]byte, error) { return json.Marshal(metadata(p.Issuer)) }

// Run is `openshift serve PLAN` and `openshift login …`. It returns the exit status.
func Run(args []string) int {
	err := errors.New("usage: cluster openshift serve PLAN | login SERVER CA USER")
	switch {
	case len(args) == 2 && args[0] == "serve":
		err = serve(args[1])
	case len(args) == 4 && args[0] == "login":
		err = logIn(args[1], args[2], args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster openshift:", err)
		return 1
	}
	return 0
}

func serve(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var plan Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", plan.Kubeconfig)
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(plan.CA)
	if err != nil {
		return err
	}
	clients, err := os.ReadFile(plan.Clients)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(clients)

	t := newTokens(plan.Passwords, plan.Issuer+implicitPath)
	failed := make(chan error, 3)
	listen := func(server *http.Server, certificate, key string) {
		server.ReadHeaderTimeout = 10 * time.Second
		failed <- server.ListenAndServeTLS(certificate, key)
	}
	// OpenShift's OAuth server speaks HTTP/1.1 only.
	oauth := &http.Server{Addr: plan.Address, Handler: newLogin(t), TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	go listen(oauth, plan.Certificate, plan.Key)
	behind := &http.Server{
		Addr: fmt.Sprintf("127.0.0.1:%d", plan.Groups), Handler: &groups{tokens: t, kube: kube},
		TLSConfig: &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: roots},
	}
	go listen(behind, plan.GroupsCertificate, plan.GroupsKey)
	go func() {
		if err := setUp(context.Background(), config, kube, plan.Groups, ca); err != nil {
			failed <- err
		}
	}()
	return <-failed
}
