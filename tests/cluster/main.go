// Command cluster is a real Kubernetes control plane in one file, for tests.
//
// The upstream commands are compiled in unchanged, so what a test sees here is
// what a user's API server does. `cluster up` starts them together; the other
// verbs are the commands themselves.
package main

import (
	"fmt"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	"jobpass.dev/cluster/up"
)

const usage = "usage: cluster up --dir DIR [FLAGS] | etcd | kube-apiserver | kube-controller-manager | kubectl [ARGS]"

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
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
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
