package openshift

import (
	"fmt"
	"net/http"
	"os"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"github.com/spf13/cobra"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/tools/cache"
)

// APIServer is upstream's kube-apiserver with the one path more that OpenShift's has: where the OAuth server is.
// It returns the exit status.
func APIServer() int {
	run := options.NewServerRunOptions()
	var document string
	command := &cobra.Command{
		Use:           "openshift-apiserver",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(*cobra.Command, []string) error { return runAPIServer(run, document) },
	}
	for _, set := range run.Flags().FlagSets {
		command.Flags().AddFlagSet(set)
	}
	command.Flags().StringVar(&document, "oauth-metadata-file", "", "what is answered at "+discoveryPath)
	return cli.Run(command)
}

const discoveryPath = "/.well-known/oauth-authorization-server"

func runAPIServer(run *options.ServerRunOptions, document string) error {
	body, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	if err := run.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	ctx := genericapiserver.SetupSignalContext()
	completed, err := run.Complete(ctx)
	if err != nil {
		return err
	}
	if wrong := completed.Validate(); len(wrong) > 0 {
		return utilerrors.NewAggregate(wrong)
	}
	if completed.InformerName == nil {
		// Upstream's own command does it in its Run, which has no room for another path.
		if completed.InformerName, err = cache.NewInformerName("kube-apiserver"); err != nil {
			return err
		}
	}
	config, err := app.NewConfig(completed)
	if err != nil {
		return err
	}
	whole, err := config.Complete()
	if err != nil {
		return err
	}
	server, err := app.CreateServerChain(whole)
	if err != nil {
		return fmt.Errorf("the chain of servers: %w", err)
	}
	server.GenericAPIServer.Handler.NonGoRestfulMux.HandleFunc(discoveryPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})
	prepared, err := server.PrepareRun()
	if err != nil {
		return err
	}
	return prepared.Run(ctx)
}
