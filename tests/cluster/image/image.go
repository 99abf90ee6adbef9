// Package image writes container images as OCI archives, without a container engine and without a registry.
//
// The format is https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md in one tar file. Nothing in it depends on
// the clock or on the machine, so the same files make the same bytes.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
)

// Spec is what goes into an image.
type Spec struct {
	// Names are all that it is known by, each with a tag.
	Names []string
	// Files are the paths in the image, and where their content is.
	Files []File
	// Links are the symbolic links: path and target.
	Links      [][2]string
	Entrypoint []string
}

// File is one executable of an image.
type File struct{ Path, Source string }

// Run is `cluster image`: it returns the exit status.
func Run(args []string, stderr io.Writer) int {
	var (
		s       Spec
		out     string
		busybox string
	)
	flags := flag.NewFlagSet("cluster image", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&out, "out", "", "the `file` to write (required)")
	flags.StringVar(&busybox, "busybox", "", "a static busybox, as a `file`: it brings all its commands")
	flags.Func("name", "a `NAME:TAG` of the image; may be repeated", func(text string) error {
		s.Names = append(s.Names, text)
		return nil
	})
	flags.Func("add", "an executable, as `SOURCE:PATH`; may be repeated", func(text string) error {
		source, inside, found := strings.Cut(text, ":")
		if !found || !path.IsAbs(inside) {
			return errors.New("expected SOURCE:/PATH")
		}
		s.Files = append(s.Files, File{inside, source})
		return nil
	})
	flags.Func("entrypoint", "the `path` of what it runs", func(text string) error {
		s.Entrypoint = []string{text}
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if out == "" || len(s.Names) == 0 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "cluster image: --out and --name are required")
		return 2
	}
	err := func() error {
		if busybox != "" {
			if err := s.addBusybox(busybox); err != nil {
				return err
			}
		}
		return s.Write(out)
	}()
	if err != nil {
		fmt.Fprintln(stderr, "cluster image:", err)
		return 1
	}
	return 0
}

func (s *Spec) addBusybox(binary string) error {
	list, err := exec.Command(binary, "--list").Output()
	if err != nil {
		return fmt.Errorf("cannot ask %s for its commands: %w", binary, err)
	}
	s.Files = append(s.Files, File{"/bin/busybox", binary})
	for _, name := range strings.Fields(string(list)) {
		if name != "busybox" {
			s.Links = append(s.Links, [2]string{"/bin/" + name, "busybox"})
		}
	}
	return nil
}

// Write writes the archive to a file, which has its name only when it is whole.
func (s *Spec) Write(out string) error {
	layer, err := s.layer()
	if err != nil {
		return err
	}
	archive, err := s.archive(layer)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out+".new", archive, 0o644); err != nil {
		return err
	}
	return os.Rename(out+".new", out)
}

const (
	passwd = "root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n"
	group  = "root:x:0:\nnonroot:x:65532:\n"
)

// layer is the one layer of the image, as an uncompressed tar.
func (s *Spec) layer() ([]byte, error) {
	var buffer bytes.Buffer
	w := writer{tar: tar.NewWriter(&buffer), folders: map[string]bool{}}
	for _, folder := range []string{"bin", "dev", "etc", "proc", "root", "sys", "var"} {
		w.folder(folder, 0o755)
	}
	w.folder("tmp", 0o1777)
	w.file("etc/passwd", []byte(passwd), 0o644)
	w.file("etc/group", []byte(group), 0o644)
	for _, f := range s.Files {
		content, err := os.ReadFile(f.Source)
		if err != nil {
			return nil, err
		}
		w.file(strings.TrimPrefix(f.Path, "/"), content, 0o755)
	}
	for _, link := range s.Links {
		w.entry(&tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(link[0], "/"), Linkname: link[1], Mode: 0o777}, nil)
	}
	return buffer.Bytes(), w.close()
}

func (s *Spec) archive(layer []byte) ([]byte, error) {
	type object map[string]any
	process := object{"Env": []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, "WorkingDir": "/"}
	if s.Entrypoint != nil {
		process["Entrypoint"] = s.Entrypoint
	}
	config, err := json.Marshal(object{
		"architecture": runtime.GOARCH, "os": "linux", "config": process,
		"rootfs": object{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	if err != nil {
		return nil, err
	}
	describe := func(kind string, blob []byte) object {
		return object{"mediaType": "application/vnd.oci.image." + kind, "digest": digest(blob), "size": len(blob)}
	}
	manifest, err := json.Marshal(object{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": describe("config.v1+json", config), "layers": []object{describe("layer.v1.tar", layer)},
	})
	if err != nil {
		return nil, err
	}
	var manifests []object
	for _, name := range s.Names {
		entry := describe("manifest.v1+json", manifest)
		// The first is what containerd reads.
		entry["annotations"] = object{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name[strings.LastIndex(name, ":")+1:]}
		manifests = append(manifests, entry)
	}
	index, err := json.Marshal(object{"schemaVersion": 2, "manifests": manifests})
	if err != nil {
		return nil, err
	}
	var buffer bytes.Buffer
	w := writer{tar: tar.NewWriter(&buffer), folders: map[string]bool{}}
	w.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
	w.file("index.json", index, 0o644)
	for _, blob := range [][]byte{layer, config, manifest} {
		w.file("blobs/sha256/"+strings.TrimPrefix(digest(blob), "sha256:"), blob, 0o644)
	}
	return buffer.Bytes(), w.close()
}

func digest(blob []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(blob)) }

// writer keeps the first error and makes the folders that a file needs.
type writer struct {
	tar     *tar.Writer
	folders map[string]bool
	err     error
}

func (w *writer) folder(name string, mode int64) {
	if name == "." || w.folders[name] {
		return
	}
	w.folder(path.Dir(name), 0o755)
	w.folders[name] = true
	w.entry(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
}

func (w *writer) file(name string, content []byte, mode int64) {
	w.folder(path.Dir(name), 0o755)
	w.entry(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: mode}, content)
}

func (w *writer) entry(header *tar.Header, content []byte) {
	if w.err != nil {
		return
	}
	header.Format = tar.FormatGNU
	if w.err = w.tar.WriteHeader(header); w.err == nil {
		_, w.err = w.tar.Write(content)
	}
}

func (w *writer) close() error { return errors.Join(w.err, w.tar.Close()) }
