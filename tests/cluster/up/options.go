package up

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
)

// options are the flags of `cluster up`.
type options struct {
	dir                string
	untilStdinCloses   bool
	maxTokenExpiration time.Duration
	apiServerArgs      apiServerArgs
	openShift          bool
	// servers is how many API servers stand on the one etcd.
	servers       int
	noControllers bool
}

// maxServers is more than a machine for tests can bear.
const maxServers = 9

// apiServerArgs collects repeated `--api-server-arg k=v`, as flags that are ready to be passed on.
type apiServerArgs []string

func (a *apiServerArgs) String() string { return strings.Join(*a, " ") }

func (a *apiServerArgs) Set(text string) error {
	name, _, found := strings.Cut(text, "=")
	if !found || name == "" || strings.HasPrefix(name, "-") {
		return errors.New("expected NAME=VALUE without leading dashes")
	}
	*a = append(*a, "--"+text)
	return nil
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("cluster up", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.dir, "dir", "", "the `directory` for kubeconfig, keys, logs and data (required)")
	flags.BoolVar(&o.untilStdinCloses, "until-stdin-closes", false, "stop when standard input reaches its end")
	flags.DurationVar(&o.maxTokenExpiration, "service-account-max-token-expiration", 0,
		"the API server's flag of that name, as a `duration`; 0 leaves it out")
	flags.Var(&o.apiServerArgs, "api-server-arg", "one more API server flag as `NAME=VALUE`; may be repeated, wins over ours")
	flags.BoolVar(&o.openShift, "openshift", false, "with OpenShift's login beside it; openshift.json in the directory says where and as whom")
	flags.IntVar(&o.servers, "servers", 1, "how many API servers share the etcd and the keys; the kubeconfig has the context admin-`N` for each further one")
	flags.BoolVar(&o.noControllers, "no-controllers", false, "without the controller manager: no default accounts, empty ClusterRoles edit and view, and nothing is collected")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	err := func() error {
		if flags.NArg() > 0 {
			return fmt.Errorf("unexpected argument %q", flags.Arg(0))
		}
		if o.dir == "" {
			return errors.New("--dir is required")
		}
		if o.servers < 1 || o.servers > maxServers {
			return fmt.Errorf("--servers is 1 to %d", maxServers)
		}
		if o.openShift && o.servers > 1 {
			return errors.New("--openshift stands beside one API server only")
		}
		var err error
		o.dir, err = filepath.Abs(o.dir)
		return err
	}()
	if err != nil {
		fmt.Fprintln(stderr, err)
		flags.Usage()
	}
	return o, err
}
