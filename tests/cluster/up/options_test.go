package up

import (
	"io"
	"slices"
	"testing"
	"time"
)

func TestAPIServerFlags(t *testing.T) {
	o, err := parseOptions([]string{
		"--dir", "/d", "--service-account-max-token-expiration", "2h",
		"--api-server-arg", "authentication-config=/f=1", "--api-server-arg", "v=2",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	args := plan{dir: &dir{root: o.dir}, options: o}.kubeAPIServer()
	want := []string{
		"--service-account-max-token-expiration=" + (2 * time.Hour).String(), "--authentication-config=/f=1", "--v=2",
	}
	// Last, because the API server takes the last of two equal flags.
	if got := args[len(args)-3:]; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"--dir", "/d", "extra"},
		{"--dir", "/d", "--api-server-arg", "v"},
		{"--dir", "/d", "--api-server-arg", "--v=2"},
	} {
		if got := Run(args, nil, io.Discard, io.Discard); got != 2 {
			t.Errorf("%q: exit status %d, want 2", args, got)
		}
	}
}
