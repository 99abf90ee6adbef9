package up

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOneVersionOfCgroupsGoverns(t *testing.T) {
	const (
		first  = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup /sys/fs/cgroup/pids cgroup rw 0 0\n"
		second = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
	)
	cpu, pids, unified := "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"
	for _, c := range []struct {
		mounts         string
		governing, all []string
	}{
		{mounts: "proc /proc proc rw 0 0\n\n"},
		{mounts: first, governing: []string{cpu, pids}, all: []string{cpu, pids}},
		{mounts: second, governing: []string{unified}, all: []string{unified}},
		{mounts: second + first, governing: []string{cpu, pids}, all: []string{cpu, pids, unified}},
	} {
		governing, all := hierarchies(bufio.NewScanner(strings.NewReader(c.mounts)))
		if !slices.Equal(governing, c.governing) || !slices.Equal(all, c.all) {
			t.Errorf("%q: %q and %q, want %q and %q", c.mounts, governing, all, c.governing, c.all)
		}
	}
}

func TestFoldersGoAndFilesStay(t *testing.T) {
	root := filepath.Join(t.TempDir(), "group")
	if err := os.MkdirAll(filepath.Join(root, "pod", "container"), 0o700); err != nil {
		t.Fatal(err)
	}
	removeFolders(root)
	if exists(root) {
		t.Error("the folders are still there")
	}
	// A real file is no cgroup's: nothing may be lost of a folder that is not ours.
	file := filepath.Join(root, "file")
	if err := mkdirAndWrite(file, "text"); err != nil {
		t.Fatal(err)
	}
	removeFolders(root)
	if !exists(file) {
		t.Error("a file is gone")
	}
}

func TestANodeIsReadyByItsCondition(t *testing.T) {
	for body, want := range map[string]bool{
		`{"status":{"conditions":[{"type":"DiskPressure","status":"False"},{"type":"Ready","status":"True"}]}}`: true,
		`{"status":{"conditions":[{"type":"DiskPressure","status":"True"},{"type":"Ready","status":"False"}]}}`: false,
		`{"status":{}}`: false,
		`no JSON`:       false,
	} {
		if got := nodeIsReady([]byte(body)); got != want {
			t.Errorf("%s: %v, want %v", body, got, want)
		}
	}
}

func TestImagesOfTektonAreOurs(t *testing.T) {
	got := localImages(`image: ko://github.com/tektoncd/pipeline/cmd/controller
"-shell-image", "cgr.dev/chainguard/busybox@sha256:0123456789abcdef",
initialDelaySeconds: 5`)
	want := `image: ci.local/tekton-controller:1
"-shell-image", "ci.local/busybox:1",
initialDelaySeconds: 1`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAHiddenDirectoryIsRefused(t *testing.T) {
	if err := hiddenInNode("/var/lib/jobpass", "/usr/bin/true"); err == nil {
		t.Error("a directory below /var/lib is taken, where the node sees its own")
	}
	if err := hiddenInNode("/var/library", "/running"); err != nil {
		t.Error(err)
	}
}

func TestUsageOfANodeIsChecked(t *testing.T) {
	for _, args := range [][]string{{}, {"down"}, {"up"}, {"up", "--dir=x", "more"}, {"up", "--unknown"}} {
		if got := Node(args, nil, io.Discard, io.Discard); got != 2 {
			t.Errorf("%q: exit status %d, want 2", args, got)
		}
	}
}

func TestANodeHasItsOwnWayToTheAPIServer(t *testing.T) {
	d := &dir{root: "/dir"}
	for _, c := range []struct {
		p    plan
		want string
	}{
		{plan{dir: d}, "--authorization-mode=RBAC"},
		{nodePlan(d, 1), "--authorization-mode=Node,RBAC"},
	} {
		var modes []string
		for _, arg := range c.p.kubeAPIServer() {
			if strings.HasPrefix(arg, "--authorization-mode=") {
				modes = append(modes, arg)
			}
		}
		// A list that is given twice grows, and the API server refuses a mode that it has already.
		if !slices.Equal(modes, []string{c.want}) {
			t.Errorf("%q, want %q once", modes, c.want)
		}
	}
}
