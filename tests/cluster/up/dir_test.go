package up

import (
	"os"
	"path/filepath"
	"testing"
)

func TestForeignDirectoryIsRefused(t *testing.T) {
	root := t.TempDir()
	foreign := filepath.Join(root, "log")
	if err := os.WriteFile(foreign, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openDir(root); err == nil {
		t.Error("accepted")
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Error(err)
	}
}

func TestDirectoryIsUsedByOneAtATimeAndAgainAfterwards(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new")
	first, err := openDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := openDir(root); err == nil {
		t.Error("two at once")
	}
	first.close()
	second, err := openDir(root)
	if err != nil {
		t.Fatal(err)
	}
	defer second.close()
	if err := second.reset(); err != nil {
		t.Error(err)
	}
}
