package up

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// hidden are the folders that the node has for itself, in memory: what it writes there is no trace on the machine's disk.
var hidden = []string{"/run", "/var/log", "/var/lib"}

// sysctls are what kubelet wants of the whole kernel. It is shown files with these values instead, so that the machine keeps its own:
// https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/kubelet/cm/container_manager_linux.go (setupKernelTunables)
var sysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// nodeInit is process 1 of the node's namespaces: it furnishes them, starts `node serve`, and reaps all that is orphaned, because
// the kernel gives it to process 1.
func nodeInit(args []string, stderr io.Writer) int {
	serve, err := func() (int, error) {
		if len(args) != 2 || os.Getpid() != 1 {
			return 0, errors.New("only `node up` starts this")
		}
		if err := furnish(args[0]); err != nil {
			return 0, err
		}
		exe, err := os.Executable()
		if err != nil {
			return 0, err
		}
		// The caller's mask was for keys; folders of pods are for other users too.
		syscall.Umask(0o022)
		return syscall.ForkExec(exe, append([]string{"cluster", "node", "serve"}, args...), &syscall.ProcAttr{
			Env: os.Environ(),
			// 3 is the door to the outside.
			Files: []uintptr{0, 1, 2, 3},
		})
	}()
	if err != nil {
		fmt.Fprintln(stderr, "cluster node init:", err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintln(stderr, "cluster node init:", err)
			return 1
		case pid == serve:
			return 1
		}
	}
}

// furnish makes the mounts and the network, all of them private to the namespaces of this process.
func furnish(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make the mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	for _, folder := range append(hidden, filepath.Join(dir, "etcd")) {
		if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("cannot mount memory on %s: %w", folder, err)
		}
	}
	// etcd wants its folder for itself.
	if err := os.Chmod(filepath.Join(dir, "etcd"), 0o700); err != nil {
		return err
	}
	// What kubelet mounts for a pod must be seen in its containers.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("cannot share the mounts: %w", err)
	}
	for name, value := range sysctls {
		file := filepath.Join(dir, "sysctl", strings.ReplaceAll(name, "/", "_"))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), writePrivate(file, []byte(value+"\n"))); err != nil {
			return err
		}
		if err := syscall.Mount(file, "/proc/sys/"+name, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("cannot cover /proc/sys/%s: %w", name, err)
		}
	}
	for _, command := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		// On lo, as not every kernel has dummy devices.
		{"ip", "address", "add", nodeIP.String() + "/32", "dev", "lo"},
		// There is no default route, and a Service's address must be routed before kube-proxy can change it.
		{"ip", "route", "add", serviceRange, "dev", "lo", "src", nodeIP.String()},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
		}
	}
	// This one belongs to the network's namespace.
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}
