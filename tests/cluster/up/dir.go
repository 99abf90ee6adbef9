package up

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// dir is the directory of one control plane. It is locked while in use, as a
// second one in the same place would delete the first one's data.
type dir struct {
	root string
	lock *os.File
}

// marker tells our directory from somebody's home, in which reset would delete
// what happens to have our names. It is also the file that is locked.
const marker = ".jobpass-cluster"

func openDir(root string) (*dir, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	ours := slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == marker })
	if len(entries) > 0 && !ours {
		return nil, fmt.Errorf("%s is neither empty nor the directory of an earlier `cluster up`", root)
	}
	// MkdirAll leaves the mode of an existing directory alone, and keys will lie in it.
	if err := os.Chmod(root, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(root, marker), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s is in use by another `cluster up`: %w", root, err)
	}
	return &dir{root: root, lock: lock}, nil
}

func (d *dir) path(name string) string { return filepath.Join(d.root, name) }

// close removes nothing: the logs are there to be read afterwards.
func (d *dir) close() { d.lock.Close() }

// reset removes what an earlier run left, by name, and makes the folders anew.
func (d *dir) reset() error {
	var errs []error
	// Those of further API servers.
	logs, err := filepath.Glob(d.path("audit-*.log"))
	errs = append(errs, err)
	for _, log := range logs {
		errs = append(errs, os.Remove(log))
	}
	for _, name := range []string{
		"etcd", "pki", "log", "certs", "flex", "audit.log", "admin.kubeconfig", "ca.crt", "authentication.yaml", "authentication.lock", "openshift", "openshift.json",
		// Those of a node.
		"sysctl", "cni", "containerd.toml", "kubelet.yaml", "kube-proxy.yaml", "kubectl-cache", "init.pid", "running", "away",
	} {
		errs = append(errs, os.RemoveAll(d.path(name)))
	}
	for _, name := range []string{"etcd", "pki", "log", "certs"} {
		errs = append(errs, os.Mkdir(d.path(name), 0o700))
	}
	return errors.Join(errs...)
}

func (d *dir) removeData() { os.RemoveAll(d.path("etcd")) }

func writePrivate(path string, content []byte) error {
	return os.WriteFile(path, content, 0o600)
}

func mkdirAndWrite(path, content string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), writePrivate(path, []byte(content)))
}
