package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, s Spec) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "image.tar")
	if err := s.Write(out); err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = content
	}
}

func example(t *testing.T) Spec {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("what it is"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Spec{
		Names: []string{"ci.local/one:1", "ci.local/two:2"},
		Files: []File{{"/usr/local/bin/program", program}},
		Links: [][2]string{{"/bin/other", "program"}},
	}
}

func TestTheSameFilesMakeTheSameBytes(t *testing.T) {
	s := example(t)
	if !bytes.Equal(write(t, s), write(t, s)) {
		t.Error("two archives of the same files differ")
	}
}

func TestEachNameLeadsToTheFiles(t *testing.T) {
	files := unpack(t, write(t, example(t)))
	blob := func(digest string) []byte {
		content := files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")]
		if content == nil {
			t.Fatalf("no blob %s", digest)
		}
		return content
	}
	type descriptor struct {
		Digest      string
		Annotations map[string]string
	}
	var index struct{ Manifests []descriptor }
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range index.Manifests {
		names = append(names, entry.Annotations["io.containerd.image.name"])
		var manifest struct{ Layers []descriptor }
		if err := json.Unmarshal(blob(entry.Digest), &manifest); err != nil {
			t.Fatal(err)
		}
		inside := unpack(t, blob(manifest.Layers[0].Digest))
		if string(inside["usr/local/bin/program"]) != "what it is" {
			t.Errorf("the program is not in the layer: %v", inside)
		}
		for _, name := range []string{"usr/", "usr/local/", "usr/local/bin/", "bin/other", "tmp/"} {
			if _, there := inside[name]; !there {
				t.Errorf("%s is not in the layer", name)
			}
		}
	}
	if want := []string{"ci.local/one:1", "ci.local/two:2"}; !slices.Equal(names, want) {
		t.Errorf("the names are %q, want %q", names, want)
	}
}

func TestUsageIsChecked(t *testing.T) {
	for _, args := range [][]string{{}, {"--name=a:1"}, {"--out=x"}, {"--out=x", "--name=a:1", "--add=only-a-source"}, {"--out=x", "--name=a:1", "more"}} {
		if got := Run(args, io.Discard); got != 2 {
			t.Errorf("%q: exit status %d, want 2", args, got)
		}
	}
}
