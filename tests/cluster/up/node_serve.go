package up

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// nodeServe starts the parts of the node, within its namespaces, and returns when one of them ends.
func nodeServe(args []string, stderr io.Writer) int {
	err := func() error {
		if len(args) != 2 {
			return errors.New("only `node up` starts this")
		}
		port, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return serveNode(nodePlan(&dir{root: args[0]}, port))
	}()
	fmt.Fprintln(stderr, "cluster node serve:", err)
	return 1
}

func serveNode(p plan) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	door, err := net.FileListener(os.NewFile(3, "door"))
	if err != nil {
		return err
	}
	go passOn(door, fmt.Sprintf("127.0.0.1:%d", p.apiServer))
	keys, err := readAdmin(p.dir.path("pki"))
	if err != nil {
		return err
	}
	api, err := newProbe(p.server(), keys)
	if err != nil {
		return err
	}

	s := newSupervisor(newThread(), exe, p.dir.path("log"), 0)
	ready := func(ctx context.Context) error {
		for _, args := range [][]string{p.etcd(), p.kubeAPIServer()} {
			if err := s.start(args); err != nil {
				return err
			}
		}
		if err := s.startCommand("containerd", exec.Command("containerd", "--config", p.dir.path("containerd.toml"))); err != nil {
			return err
		}
		loaded := make(chan error, 1)
		go func() { loaded <- loadImages(ctx, exe) }()
		if err := api.waitFor(ctx, "/readyz"); err != nil {
			return err
		}
		for _, args := range [][]string{p.kubeControllerManager(), p.kubeScheduler(), p.kubeProxy()} {
			if err := s.start(args); err != nil {
				return err
			}
		}
		go keepKubelet(exe, p)
		if err := api.waitUntil(ctx, "/api/v1/nodes/"+nodeName, nodeIsReady); err != nil {
			return err
		}
		if err := api.waitFor(ctx, "/api/v1/namespaces/default/serviceaccounts/default"); err != nil {
			return err
		}
		if err := <-loaded; err != nil {
			return err
		}
		return writePrivate(p.dir.path("running"), nil)
	}
	if err := s.during(context.Background(), nodeReadyWithin, ready); err != nil {
		return err
	}
	return s.during(context.Background(), 0, untilDone)
}

// passOn gives each connection of the door to the API server.
func passOn(door net.Listener, target string) {
	for {
		outside, err := door.Accept()
		if err != nil {
			return
		}
		go func() {
			defer outside.Close()
			inside, err := net.Dial("tcp4", target)
			if err != nil {
				return
			}
			defer inside.Close()
			go func() {
				io.Copy(inside, outside)
				inside.(*net.TCPConn).CloseWrite()
			}()
			io.Copy(outside, inside)
		}()
	}
}

func readAdmin(pkiFolder string) (*pki, error) {
	var keys pki
	for name, into := range map[string]*[]byte{"ca.crt": &keys.ca.cert, "admin.crt": &keys.admin.cert, "admin.key": &keys.admin.key} {
		content, err := os.ReadFile(filepath.Join(pkiFolder, name))
		if err != nil {
			return nil, err
		}
		*into = content
	}
	return &keys, nil
}

func loadImages(ctx context.Context, exe string) error {
	for !exists(containerdSocket) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	archives, err := filepath.Glob(filepath.Join(filepath.Dir(exe), "images", "*.tar"))
	if err == nil && archives == nil {
		err = fmt.Errorf("there are no images beside %s: tests/cluster/build makes them", exe)
	}
	if err != nil {
		return err
	}
	return importImages(containerdSocket, archives)
}

func nodeIsReady(body []byte) bool {
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if json.Unmarshal(body, &node) != nil {
		return false
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == "Ready" {
			return condition.Status == "True"
		}
	}
	return false
}

// keepKubelet starts kubelet again whenever it ends, as systemd does on a real node. While there is a file `away` it does not: so a
// test has the kubelet away.
func keepKubelet(exe string, p plan) {
	log, err := os.OpenFile(filepath.Join(p.dir.path("log"), "kubelet.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	for {
		if exists(p.dir.path("away")) {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		kubelet := exec.Command(exe, p.kubelet()...)
		kubelet.Stdout, kubelet.Stderr = log, log
		kubelet.Env = []string{"PATH=" + nodePath}
		err := kubelet.Run()
		fmt.Fprintln(log, "kubelet ended:", err)
		time.Sleep(200 * time.Millisecond)
	}
}
