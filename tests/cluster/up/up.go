// Package up starts etcd, the API server and the controller manager as children
// of this process, tells when they are usable, and ends them with itself.
//
// It is for Linux only, as it relies on the parent-death signal.
package up

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	readyWithin  = 60 * time.Second
	portAttempts = 3
)

// Run is `cluster up`. It returns the exit status: 0 when it was asked to stop,
// 1 when something failed, 2 for wrong usage.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	if !o.untilStdinCloses {
		stdin = nil
	}
	threads := newThread()
	ctx := untilStopped(threads, stdin)

	// The children inherit the mask, so their files are private too, the audit log included.
	syscall.Umask(0o077)
	d, err := openDir(o.dir)
	if err != nil {
		return failed(stderr, err)
	}
	defer d.close()
	for attempt := 1; ; attempt++ {
		err = serve(ctx, o, d, threads, stdout)
		switch {
		case ctx.Err() != nil:
			return 0
		case errors.Is(err, errPortTaken) && attempt < portAttempts:
			fmt.Fprintf(stderr, "a port was taken by someone else, trying new ones (%d of %d)\n", attempt+1, portAttempts)
		default:
			return failed(stderr, err)
		}
	}
}

func failed(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "cluster up:", err)
	return 1
}

func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// serve runs one control plane until ctx ends or something fails, and says which.
func serve(ctx context.Context, o options, d *dir, threads *thread, stdout io.Writer) error {
	if err := d.reset(); err != nil {
		return err
	}
	ports, err := freePorts(4 + o.servers)
	if err != nil {
		return err
	}
	p := plan{dir: d, etcdClient: ports[0], etcdPeer: ports[1], apiServer: ports[2], more: ports[5:], options: o}
	if o.openShift {
		p.openShift = &openShift{oauth: ports[3], groups: ports[4]}
	}
	keys, err := newPKI(d.path("pki"))
	if err != nil {
		return err
	}
	if err := p.writeFiles(keys); err != nil {
		return err
	}
	if p.openShift != nil {
		if err := p.writeOpenShift(keys); err != nil {
			return err
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}

	s := newSupervisor(threads, exe, d.path("log"), stopGrace)
	defer func() {
		s.stop()
		d.removeData()
	}()
	ready := func(ctx context.Context) error {
		for _, args := range [][]string{p.etcd(), p.kubeAPIServer()} {
			if err := s.start(args); err != nil {
				return err
			}
		}
		api, err := newProbe(p.server(), keys)
		if err != nil {
			return err
		}
		if err := api.waitFor(ctx, "/readyz"); err != nil {
			return err
		}
		// One after the other: the first has then made what each of them would make.
		for i, port := range p.more {
			args := p.further(i + 2)
			if err := s.startCommand(fmt.Sprintf("%s-%d", args[0], i+2), exec.Command(exe, args...)); err != nil {
				return err
			}
			next, err := newProbe(address(port), keys)
			if err != nil {
				return err
			}
			if err := next.waitFor(ctx, "/readyz"); err != nil {
				return err
			}
		}
		// Only now, because the controller manager gives up when the API server takes longer than 10 s.
		if !o.noControllers {
			if err := s.start(p.kubeControllerManager()); err != nil {
				return err
			}
		}
		if p.openShift != nil {
			if err := s.start(p.openShiftServe()); err != nil {
				return err
			}
			// The groups are served as soon as the aggregator has reached them.
			for _, group := range []string{"oauth", "user"} {
				if err := api.waitFor(ctx, "/apis/"+group+".openshift.io/v1"); err != nil {
					return err
				}
			}
		}
		if o.noControllers {
			return api.waitFor(ctx, "/api/v1/namespaces/default")
		}
		return api.waitFor(ctx, "/api/v1/namespaces/default/serviceaccounts/default")
	}
	if err := s.during(ctx, readyWithin, ready); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, "ready", d.path("admin.kubeconfig")); err != nil {
		return err
	}
	return s.during(ctx, 0, untilDone)
}
