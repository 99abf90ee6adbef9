package up

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// nodeReadyWithin is generous: a machine that compiles at the same time needs most of a minute.
const nodeReadyWithin = 5 * time.Minute

// nodePath is where Debian's packages put what a node needs, whatever the caller's PATH is.
const nodePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Node is `cluster node VERB`. The node is a kubelet with all that belongs to it, in namespaces of its own, and
// Tekton on it. Three processes make it:
//
//   - `node up`, which stays outside, is what the caller starts and ends;
//   - `node init` is process 1 in there: when it goes, the kernel ends all others;
//   - `node serve` starts the parts and watches them.
func Node(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch verb, args := args[0], args[1:]; verb {
		case "up":
			return nodeUp(args, stdin, stdout, stderr)
		case "init":
			return nodeInit(args, stderr)
		case "serve":
			return nodeServe(args, stderr)
		case "load":
			return nodeLoad(args, stderr)
		case "in":
			return nodeIn(args, stderr)
		}
	}
	fmt.Fprintln(stderr, "usage: cluster node up --dir DIR [--until-stdin-closes] | node load DIR IMAGE.tar... | node in DIR COMMAND...")
	return 2
}

type nodeOptions struct {
	dir              string
	untilStdinCloses bool
}

func parseNodeOptions(args []string, stderr io.Writer) (nodeOptions, error) {
	var o nodeOptions
	flags := flag.NewFlagSet("cluster node up", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.dir, "dir", "", "the `directory` for kubeconfig, keys and logs (required)")
	flags.BoolVar(&o.untilStdinCloses, "until-stdin-closes", false, "stop when standard input reaches its end")
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

func nodeUp(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parseNodeOptions(args, stderr)
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
	os.Setenv("PATH", nodePath)
	failed := func(err error) int {
		fmt.Fprintln(stderr, "cluster node up:", err)
		return 1
	}
	if err := lacking(o.dir); err != nil {
		return failed(err)
	}
	d, err := openDir(o.dir)
	if err != nil {
		return failed(err)
	}
	defer d.close()
	err = nodeRun(ctx, d, threads, stdout)
	if ctx.Err() != nil {
		return 0
	}
	return failed(err)
}

// lacking says why this machine cannot have a node, if so.
func lacking(dir string) error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root: for namespaces, mounts and cgroups")
	}
	var missing []string
	for _, program := range []string{"containerd", "ctr", "runc", "nft", "iptables", "conntrack", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if _, err := os.Stat("/usr/lib/cni/ptp"); err != nil {
		missing = append(missing, "/usr/lib/cni/ptp")
	}
	if missing != nil {
		return fmt.Errorf("a node needs %s; on Debian: apt-get install %s", strings.Join(missing, ", "), nodePackages)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	return hiddenInNode(dir, exe)
}

func hiddenInNode(paths ...string) error {
	for _, path := range paths {
		for _, hidden := range hidden {
			if strings.HasPrefix(path, hidden+"/") {
				return fmt.Errorf("%s cannot be seen in the node, which has a %s of its own", path, hidden)
			}
		}
	}
	return nil
}

// nodePackages are the Debian packages of a node.
const nodePackages = "containerd runc containernetworking-plugins nftables iptables conntrack iproute2 busybox-static"

// nodeRun runs one node until ctx ends or something fails, and says which.
func nodeRun(ctx context.Context, d *dir, threads *thread, stdout io.Writer) error {
	if err := d.reset(); err != nil {
		return err
	}
	groups, err := newCgroups(d.root)
	if err != nil {
		return err
	}
	// Deferred before the supervisor's stop, so that it runs after it: a cgroup can go only when it is empty.
	defer groups.remove()

	// The socket stays in our own network, wherever it is used: so the node is reached from outside.
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	door, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	listener.Close()
	defer door.Close()
	p := nodePlan(d, listener.Addr().(*net.TCPAddr).Port)
	keys, err := newPKI(d.path("pki"), nodeIP, serviceIP)
	if err != nil {
		return err
	}
	if err := errors.Join(p.writeFiles(keys), p.writeNodeFiles(keys, groups.path)); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}

	// No grace: what is in there has nothing to save.
	s := newSupervisor(threads, exe, d.path("log"), 0)
	defer s.stop()
	ready := func(ctx context.Context) error {
		first := exec.Command(exe, "node", "init", d.root, strconv.Itoa(p.apiServer))
		first.ExtraFiles = []*os.File{door}
		first.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC}
		if err := s.startCommand("node", first); err != nil {
			return fmt.Errorf("this machine does not give a node its namespaces: %w", err)
		}
		if err := writePrivate(d.path("init.pid"), fmt.Appendln(nil, first.Process.Pid)); err != nil {
			return err
		}
		for !exists(d.path("running")) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
		return installTekton(ctx, exe, d)
	}
	if err := s.during(ctx, nodeReadyWithin, ready); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, "ready", d.path("admin.kubeconfig")); err != nil {
		return err
	}
	return s.during(ctx, 0, untilDone)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// nodeLoad is `node load DIR IMAGE.tar...`: it gives images to the node that runs in DIR.
func nodeLoad(args []string, stderr io.Writer) int {
	err := func() error {
		if len(args) < 2 {
			return errors.New("usage: cluster node load DIR IMAGE.tar...")
		}
		pid, err := runningNode(args[0])
		if err != nil {
			return err
		}
		// By way of /proc, as a socket's path may have 107 characters only.
		return importImages(fmt.Sprintf("/proc/%d/root%s", pid, containerdSocket), args[1:])
	}()
	if err != nil {
		fmt.Fprintln(stderr, "cluster node load:", err)
		return 1
	}
	return 0
}

func importImages(socket string, archives []string) error {
	for _, archive := range archives {
		out, err := exec.Command("ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", "--all-platforms", archive).CombinedOutput()
		if err != nil {
			return fmt.Errorf("cannot import %s: %w\n%s", archive, err, out)
		}
	}
	return nil
}

func runningNode(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "init.pid"))
	if err != nil {
		return 0, fmt.Errorf("no node runs in %s: %w", dir, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// nodeIn is `node in DIR COMMAND...`, for people: it runs a command in the node's namespaces.
func nodeIn(args []string, stderr io.Writer) int {
	err := func() error {
		if len(args) < 2 {
			return errors.New("usage: cluster node in DIR COMMAND...")
		}
		pid, err := runningNode(args[0])
		if err != nil {
			return err
		}
		nsenter, err := exec.LookPath("nsenter")
		if err != nil {
			return err
		}
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		command := append([]string{"nsenter", "--net", "--mount", "--pid", "--ipc", "--target", strconv.Itoa(pid), "--"}, args[1:]...)
		environment := append(os.Environ(), "KUBECONFIG="+filepath.Join(dir, "admin.kubeconfig"),
			"CONTAINERD_ADDRESS="+containerdSocket, "CONTAINERD_NAMESPACE=k8s.io")
		return syscall.Exec(nsenter, command, environment)
	}()
	fmt.Fprintln(stderr, "cluster node in:", err)
	return 1
}
