package up

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"path/filepath"
)

// These addresses exist in the network of the node only, so that nodes do not meet.
var (
	nodeIP    = net.IPv4(10, 99, 0, 1).To4()
	serviceIP = net.IPv4(10, 96, 0, 1).To4()
)

const (
	nodeName         = "node1"
	podRange         = "10.88.0.0/24"
	serviceRange     = "10.96.0.0/24"
	containerdSocket = "/run/containerd/containerd.sock"
)

// nodeControllers are all but one: with a single node there is nothing to move its pods to, and without taints it is ready sooner.
var nodeControllers = []string{"*", "-node-lifecycle-controller"}

// nodePlan has the API server at the same port inside as outside, so that one kubeconfig is right on both sides.
func nodePlan(d *dir, port int) plan {
	return plan{dir: d, etcdClient: 2379, etcdPeer: 2380, apiServer: port, node: true}
}

func (p plan) nodeAPIServer() []string {
	return []string{
		"--bind-address=0.0.0.0",
		"--advertise-address=" + nodeIP.String(),
		"--authorization-mode=Node,RBAC",
		"--service-cluster-ip-range=" + serviceRange,
		// The second is its URL in every pod: a token for that URL alone is good here, too, as in a cluster that trusts another one's.
		"--api-audiences=https://kubernetes.default.svc,https://" + serviceIP.String() + ":443",
		"--kubelet-client-certificate=" + p.dir.path("pki/admin.crt"),
		"--kubelet-client-key=" + p.dir.path("pki/admin.key"),
		"--kubelet-certificate-authority=" + p.dir.path("pki/ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		"--enable-priority-and-fairness=false",
		// It taints a new node until a controller that is not there says otherwise.
		"--disable-admission-plugins=TaintNodesByCondition",
		// A test reads one file, whatever it did before.
		"--audit-log-maxsize=4000",
	}
}

func (p plan) component(name string) []string {
	return []string{
		name,
		"--kubeconfig=" + p.dir.path("pki/"+name+".kubeconfig"),
	}
}

func (p plan) kubeScheduler() []string {
	return append(p.component("kube-scheduler"), "--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000")
}

func (p plan) kubeProxy() []string {
	return []string{"kube-proxy", "--config=" + p.dir.path("kube-proxy.yaml")}
}

func (p plan) kubelet() []string {
	return append(p.component("kubelet"),
		"--config="+p.dir.path("kubelet.yaml"),
		"--hostname-override="+nodeName,
		"--node-ip="+nodeIP.String(),
		"--cert-dir=/var/lib/kubelet/pki",
	)
}

// writeNodeFiles writes the keys and settings of what an API server alone has not.
func (p plan) writeNodeFiles(keys *pki, cgroupRoot string) error {
	server := fmt.Sprintf("https://%s:%d", nodeIP, p.apiServer)
	serving := x509.Certificate{
		Subject:     pkix.Name{CommonName: nodeName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{nodeIP},
	}
	kubelet, err := keys.authority.issue(serving)
	errs := []error{err,
		writePrivate(p.dir.path("pki/kubelet.crt"), kubelet.cert),
		writePrivate(p.dir.path("pki/kubelet.key"), kubelet.key),
	}
	for name, user := range map[string]x509.Certificate{
		"kubelet":        client("system:node:"+nodeName, "system:nodes"),
		"kube-scheduler": client("system:kube-scheduler"),
		"kube-proxy":     client("system:kube-proxy"),
	} {
		pair, err := keys.authority.issue(user)
		errs = append(errs, err, writePrivate(p.dir.path("pki/"+name+".kubeconfig"), kubeconfig(server, name, keys.ca, pair)))
	}
	for name, content := range map[string]string{
		"containerd.toml":       fmt.Sprintf(containerdConfig, containerdSocket, p.dir.path("cni")),
		"cni/10-pods.conflist":  fmt.Sprintf(cniConfig, podRange),
		"kubelet.yaml":          fmt.Sprintf(kubeletConfig, cgroupRoot, containerdSocket, nodeIP, p.dir.path("pki")),
		"kube-proxy.yaml":       fmt.Sprintf(proxyConfig, p.dir.path("pki/kube-proxy.kubeconfig"), nodeName),
		"pki/audit-policy.yaml": nodeAuditPolicy,
	} {
		errs = append(errs, mkdirAndWrite(p.dir.path(filepath.FromSlash(name)), content))
	}
	return errors.Join(errs...)
}

// nodeAuditPolicy is that of the control plane without what a node's parts say to each other all the time.
const nodeAuditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  resources: [{group: coordination.k8s.io}]
- level: None
  nonResourceURLs: ["/*"]
- level: None
  users: ["system:kube-scheduler", "system:kube-proxy"]
- level: Metadata
`

// containerdConfig: the plugins that are off want filesystems of their own, or make a folder in /opt.
const containerdConfig = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "ci.local/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`

const cniConfig = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1500, "ipam": {
    "type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}
]}
`

// kubeletConfig: with syncFrequency's default of a minute, a pod of Tekton sometimes waits that long for its first step, as kubelet
// tells it only then that its sidecars are ready. Nothing is evicted: the disk is the machine's business.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: %s
cgroupsPerQOS: true
enforceNodeAllocatable: [pods]
containerRuntimeEndpoint: unix://%s
failSwapOn: false
address: %s
tlsCertFile: %[4]s/kubelet.crt
tlsPrivateKeyFile: %[4]s/kubelet.key
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: %[4]s/ca.crt}, webhook: {enabled: true}}
authorization: {mode: Webhook}
volumePluginDir: /var/lib/flex
resolvConf: ""
evictionHard: {imagefs.available: "0%%", nodefs.available: "0%%", memory.available: "0%%"}
imageGCHighThresholdPercent: 100
oomScoreAdj: 0
eventRecordQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
maxPods: 100
syncFrequency: 5s
`

// proxyConfig: the limits of connection tracking are the whole kernel's, so they stay as they are.
const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %s}
hostnameOverride: %s
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nodePortAddresses: ["127.0.0.0/8"]
`
