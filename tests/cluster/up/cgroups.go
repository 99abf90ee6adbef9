package up

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cgroups are the folders that a node has in the machine's cgroup file systems. They are all that it has outside of its namespaces:
// a namespace of cgroups changes only what is seen.
type cgroups struct {
	// path is what kubelet is told: the folder's path within each hierarchy.
	path string
	// folders are all that may be there: where both versions are mounted, runc makes one in version 2 by itself.
	folders []string
}

// newCgroups makes the folders, and removes those that an earlier node in the same directory left when it was killed.
func newCgroups(dir string) (*cgroups, error) {
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	defer mounts.Close()
	governing, all := hierarchies(bufio.NewScanner(mounts))
	if all == nil {
		return nil, errors.New("a node needs cgroups, and no file system of theirs is mounted here")
	}
	// The directory in the name keeps several nodes apart.
	g := &cgroups{path: fmt.Sprintf("/jobpass-node-%x", sha256.Sum256([]byte(dir)))[:22]}
	for _, root := range all {
		g.folders = append(g.folders, filepath.Join(root, g.path))
	}
	g.remove()
	for _, root := range governing {
		folder := filepath.Join(root, g.path)
		if err := os.Mkdir(folder, 0o755); err != nil {
			return g, fmt.Errorf("a node needs to make cgroups: %w", err)
		}
		// In a new group of this kind no process may run before these two are filled.
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			content, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
				return g, fmt.Errorf("a node needs to make cgroups: %w", err)
			}
		}
	}
	return g, nil
}

// hierarchies are the places where cgroups are mounted: several in version 1, one in version 2. Where there are both, version 2
// governs nothing.
func hierarchies(mounts *bufio.Scanner) (governing, all []string) {
	var first, second []string
	for mounts.Scan() {
		fields := strings.Fields(mounts.Text())
		if len(fields) < 3 {
			continue
		}
		switch fields[2] {
		case "cgroup":
			first = append(first, fields[1])
		case "cgroup2":
			second = append(second, fields[1])
		}
	}
	if first == nil {
		return second, second
	}
	return first, append(first, second...)
}

// remove removes the folders, from the leaves on. A process that has just ended may hold one for a moment.
func (g *cgroups) remove() {
	for range 100 {
		left := false
		for _, folder := range g.folders {
			removeFolders(folder)
			left = left || exists(folder)
		}
		if !left {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// removeFolders removes folders only: the files in a cgroup are the kernel's and go with it.
func removeFolders(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if entry.IsDir() {
			removeFolders(filepath.Join(folder, entry.Name()))
		}
	}
	os.Remove(folder)
}
