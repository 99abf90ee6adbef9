// Command cluster is real Kubernetes in one file, for tests.
//
// The upstream commands are compiled in unchanged, so what a test sees here is
// what a user's API server does. `cluster up` starts a control plane; `cluster
// node up` starts a whole node, in namespaces of its own, with Tekton on it;
// `cluster image` writes images for it; `cluster openshift`
// is OpenShift's login beside a control plane; the other verbs are the commands themselves.
package main

import (
	"context"
	"fmt"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"jobpass.dev/cluster/image"
	"jobpass.dev/cluster/openshift"
	"jobpass.dev/cluster/up"
)

const usage = "usage: cluster up --dir DIR [FLAGS] | node up --dir DIR [FLAGS] | image [FLAGS] |\n" +
	"  openshift serve PLAN | openshift login SERVER CA USER | etcd | openshift-apiserver | kube-apiserver | kube-controller-manager | kube-scheduler | kubelet | kube-proxy | kubectl [ARGS]"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	verb := os.Args[1]
	// The upstream commands parse os.Args themselves and take the first word for their own name.
	os.Args = os.Args[1:]
	switch verb {
	case "up":
		os.Exit(up.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "node":
		os.Exit(up.Node(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "image":
		os.Exit(image.Run(os.Args[1:], os.Stderr))
	case "etcd":
		etcdmain.Main(os.Args)
	case "openshift":
		os.Exit(openshift.Run(os.Args[1:]))
	case "openshift-apiserver":
		os.Exit(openshift.APIServer())
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
	case "kube-scheduler":
		os.Exit(cli.Run(scheduler.NewSchedulerCommand()))
	case "kube-proxy":
		os.Exit(cli.Run(proxy.NewProxyCommand()))
	case "kubelet":
		os.Exit(cli.Run(kubelet.NewKubeletCommand(context.Background())))
	case "kubectl":
		// As upstream's own main does it: kubectl words its errors itself and sets the exit status by them.
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	default:
		fmt.Fprintf(os.Stderr, "unknown command %q\n%s\n", verb, usage)
		os.Exit(2)
	}
}
