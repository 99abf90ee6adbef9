package up

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// plan is one attempt's ports and paths, and from them the children's command lines.
type plan struct {
	dir                             *dir
	options                         options
	etcdClient, etcdPeer, apiServer int
	// more are the ports of further API servers on the same etcd.
	more []int
	// node says that there are kubelets and pods to be reached, not an API server alone.
	node bool
	// openShift is there where OpenShift's login stands beside the API server.
	openShift *openShift
}

// auditPolicy logs who did what and never a body, as production clusters do:
// with more than Metadata the log would hold the tokens.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
# The later stages repeat all that RequestReceived says.
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// authentication trusts no issuer yet. The API server reads the file again when it changes, so a test
// that needs an issuer adds it there.
const authentication = `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt: []
`

// controllers are those that jobpass's promises rest on, and no others.
var controllers = []string{
	// The default service account of each namespace.
	"serviceaccount-controller",
	// It fills kubernetes.io/service-account-token Secrets: the attack that the policies stop.
	"serviceaccount-token-controller",
	"legacy-serviceaccount-token-cleaner-controller",
	// Leases that end with their owner.
	"garbage-collector-controller",
	// Namespaces that end.
	"namespace-controller",
	// Without it the ClusterRoles edit, admin and view are empty.
	"clusterrole-aggregation-controller",
	// It writes type warnings about the expressions of admission policies into their status.
	"validatingadmissionpolicy-status-controller",
}

func (p plan) server() string { return address(p.apiServer) }

func address(port int) string { return fmt.Sprintf("https://127.0.0.1:%d", port) }

func (p plan) writeFiles(keys *pki) error {
	var further []string
	for _, port := range p.more {
		further = append(further, address(port))
	}
	return errors.Join(
		writePrivate(p.dir.path("ca.crt"), keys.ca.cert),
		writePrivate(p.dir.path("pki/audit-policy.yaml"), []byte(auditPolicy)),
		writePrivate(p.dir.path("authentication.yaml"), []byte(authentication)),
		writePrivate(p.dir.path("admin.kubeconfig"), kubeconfig(p.server(), "admin", keys.ca, keys.admin, further...)),
		writePrivate(p.dir.path("pki/kube-controller-manager.kubeconfig"),
			kubeconfig(p.server(), "system:kube-controller-manager", keys.ca, keys.controllers)),
	)
}

func (p plan) etcd() []string {
	client := fmt.Sprintf("http://127.0.0.1:%d", p.etcdClient)
	peer := fmt.Sprintf("http://127.0.0.1:%d", p.etcdPeer)
	return []string{
		"etcd",
		"--data-dir=" + p.dir.path("etcd"),
		// The data does not outlive the process, so it need not survive a crash.
		"--unsafe-no-fsync",
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		"--log-level=error",
	}
}

func (p plan) kubeAPIServer() []string {
	verb := "kube-apiserver"
	if p.openShift != nil {
		verb = "openshift-apiserver"
	}
	args := []string{
		verb,
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", p.etcdClient),
		fmt.Sprintf("--secure-port=%d", p.apiServer),
		"--cert-dir=" + p.dir.path("certs"),
		"--tls-cert-file=" + p.dir.path("pki/server.crt"),
		"--tls-private-key-file=" + p.dir.path("pki/server.key"),
		"--client-ca-file=" + p.dir.path("pki/ca.crt"),
		"--service-account-key-file=" + p.dir.path("pki/service-account.key"),
		"--service-account-signing-key-file=" + p.dir.path("pki/service-account.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--audit-policy-file=" + p.dir.path("pki/audit-policy.yaml"),
		"--audit-log-path=" + p.dir.path("audit.log"),
		"--authentication-config=" + p.dir.path("authentication.yaml"),
	}
	if p.node {
		args = append(args, p.nodeAPIServer()...)
	} else {
		args = append(args,
			"--bind-address=127.0.0.1",
			// Without these two it looks for a default route, which a machine without a network has not.
			"--advertise-address=127.0.0.1",
			"--endpoint-reconciler-type=none",
			"--authorization-mode=RBAC",
			"--service-cluster-ip-range=10.0.0.0/24",
		)
	}
	if p.openShift != nil {
		args = append(args, p.openShiftAPIServer()...)
	}
	if limit := p.options.maxTokenExpiration; limit > 0 {
		args = append(args, "--service-account-max-token-expiration="+limit.String())
	}
	return append(args, p.options.apiServerArgs...)
}

// further is the command line of the n-th API server, from 2 on: the first one's, with a port and an audit log of its own.
func (p plan) further(n int) []string {
	return append(p.kubeAPIServer(),
		fmt.Sprintf("--secure-port=%d", p.more[n-2]),
		"--audit-log-path="+p.dir.path(fmt.Sprintf("audit-%d.log", n)),
	)
}

func (p plan) kubeControllerManager() []string {
	controllers := controllers
	if p.node {
		controllers = nodeControllers
	}
	return []string{
		"kube-controller-manager",
		"--kubeconfig=" + p.dir.path("pki/kube-controller-manager.kubeconfig"),
		"--controllers=" + strings.Join(controllers, ","),
		"--service-account-private-key-file=" + p.dir.path("pki/service-account.key"),
		"--root-ca-file=" + p.dir.path("pki/ca.crt"),
		// Each controller under its own name, as on real clusters, so that the audit log reads like theirs.
		"--use-service-account-credentials",
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		// Else it makes this folder in /usr.
		"--flex-volume-plugin-dir=" + p.dir.path("flex"),
	}
}

// kubeconfig holds everything inline, so that one file is enough to be passed around. Each further server is a context USER-N.
func kubeconfig(server, user string, ca, as pair, further ...string) []byte {
	b64 := base64.StdEncoding.EncodeToString
	var clusters, contexts strings.Builder
	for i, server := range further {
		fmt.Fprintf(&clusters, "- name: cluster-%d\n  cluster:\n    server: %s\n    certificate-authority-data: %s\n", i+2, server, b64(ca.cert))
		fmt.Fprintf(&contexts, "- name: \"%s-%d\"\n  context:\n    cluster: cluster-%[2]d\n    user: %q\n", user, i+2, user)
	}
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster:
    server: %s
    certificate-authority-data: %s
%susers:
- name: %q
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: %[4]q
  context:
    cluster: cluster
    user: %[4]q
%[7]scurrent-context: %[4]q
`, server, b64(ca.cert), clusters.String(), user, b64(as.cert), b64(as.key), contexts.String())
}
