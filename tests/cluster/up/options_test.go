package up

import (
	"io"
	"slices"
	"strings"
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
		{"--dir", "/d", "--servers", "0"},
		{"--dir", "/d", "--servers", "10"},
		{"--dir", "/d", "--servers", "2", "--openshift"},
	} {
		if got := Run(args, nil, io.Discard, io.Discard); got != 2 {
			t.Errorf("%q: exit status %d, want 2", args, got)
		}
	}
}

func TestFurtherServersDifferInPortAndLogOnly(t *testing.T) {
	p := plan{dir: &dir{root: "/d"}, apiServer: 1, more: []int{2, 3}}
	first, third := p.kubeAPIServer(), p.further(3)
	if !slices.Equal(third[:len(first)], first) {
		t.Errorf("got %q, want %q at the beginning", third, first)
	}
	// Last, as above.
	if got, want := third[len(first):], []string{"--secure-port=3", "--audit-log-path=/d/audit-3.log"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEachServerIsAContext(t *testing.T) {
	one := string(kubeconfig("https://one", "admin", pair{}, pair{}))
	if strings.Contains(one, "-2") {
		t.Errorf("a second server in\n%s", one)
	}
	two := string(kubeconfig("https://one", "admin", pair{}, pair{}, "https://two"))
	for _, part := range []string{
		"- name: cluster-2\n  cluster:\n    server: https://two\n",
		"- name: \"admin-2\"\n  context:\n    cluster: cluster-2\n    user: \"admin\"\n",
		"current-context: \"admin\"\n",
	} {
		if !strings.Contains(two, part) {
			t.Errorf("no %q in\n%s", part, two)
		}
	}
}
