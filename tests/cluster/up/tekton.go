package up

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// tektonFiles are what is applied of Tekton's own `config/`, in this order: its settings before the webhook that judges them.
var tektonFiles = []string{
	"100-namespace/*.yaml", "300-crds/*.yaml", "200-*.yaml", "201-*.yaml", "config-*.yaml", "clusterrole-*.yaml",
	"controller.yaml", "webhook.yaml", "500-webhooks.yaml",
}

// installTekton applies Tekton as it is released, with the images that tests/cluster/build has made, and waits until it judges.
func installTekton(ctx context.Context, exe string, d *dir) error {
	config := filepath.Join(filepath.Dir(exe), "tekton")
	var manifests bytes.Buffer
	for _, pattern := range tektonFiles {
		names, err := filepath.Glob(filepath.Join(config, pattern))
		if err == nil && names == nil {
			err = fmt.Errorf("there is no %s in %s: tests/cluster/build puts Tekton there", pattern, config)
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			manifests.WriteString("---\n" + localImages(string(content)) + "\n")
		}
	}
	kubectl := func(stdin string, args ...string) error {
		cmd := exec.CommandContext(ctx, exe, append([]string{"kubectl", "--kubeconfig=" + d.path("admin.kubeconfig"), "--cache-dir=" + d.path("kubectl-cache")}, args...)...)
		cmd.Env = []string{"PATH=" + nodePath}
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("kubectl %s: %w\n%s", args[0], err, out)
		}
		return nil
	}
	// The server's side, as some definitions are too large for the annotation that the other one writes.
	if err := kubectl(manifests.String(), "apply", "--server-side", "--force-conflicts", "--filename=-"); err != nil {
		return err
	}
	for _, name := range []string{"webhook", "controller"} {
		if err := kubectl("", "rollout", "status", "--namespace=tekton-pipelines", "deployment/tekton-pipelines-"+name, "--timeout=180s"); err != nil {
			return err
		}
	}
	// The webhook serves before it has told the API server by which authority it is known.
	for {
		err := kubectl(trialTask, "create", "--dry-run=server", "--filename=-")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

const trialTask = `{apiVersion: tekton.dev/v1, kind: Task, metadata: {name: trial, namespace: default},
  spec: {steps: [{name: one, image: none, command: ["true"]}]}}`

var (
	koImage    = regexp.MustCompile(`ko://github\.com/tektoncd/pipeline/cmd/([a-z-]+)`)
	shellImage = regexp.MustCompile(`cgr\.dev/chainguard/busybox@sha256:[0-9a-f]+`)
)

// localImages puts our images in place of those that only a registry has, and lets probes ask sooner.
func localImages(manifest string) string {
	manifest = koImage.ReplaceAllString(manifest, "ci.local/tekton-$1:1")
	manifest = shellImage.ReplaceAllString(manifest, "ci.local/busybox:1")
	return strings.NewReplacer("initialDelaySeconds: 5", "initialDelaySeconds: 1", "periodSeconds: 10", "periodSeconds: 2").Replace(manifest)
}
