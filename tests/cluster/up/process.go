package up

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a child may take after SIGTERM.
const stopGrace = 5 * time.Second

// logTail is how much of a dead child's log is shown.
const logTail = 4 << 10

// supervisor starts children, most of them this program again, and ends them all.
type supervisor struct {
	thread   *thread
	exe      string
	logDir   string
	grace    time.Duration
	children []*child
	died     chan *child
}

type child struct {
	name   string
	log    string
	cmd    *exec.Cmd
	exited chan struct{}
}

func newSupervisor(t *thread, exe, logDir string, grace time.Duration) *supervisor {
	// The buffer lets every child report even when nobody listens any more.
	return &supervisor{thread: t, exe: exe, logDir: logDir, grace: grace, died: make(chan *child, 8)}
}

// start runs `exe args…`; args[0] is the verb and names the log.
func (s *supervisor) start(args []string) error {
	return s.startCommand(args[0], exec.Command(s.exe, args...))
}

// startCommand starts any program; name is that of its log.
func (s *supervisor) startCommand(name string, cmd *exec.Cmd) error {
	c := &child{name: name, log: filepath.Join(s.logDir, name+".log"), cmd: cmd, exited: make(chan struct{})}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// The child has its own copy once it runs.
	defer log.Close()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.Dir = s.logDir
	// Nothing of the caller's environment: etcd reads ETCD_* and all of them read proxy settings.
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if c.cmd.SysProcAttr == nil {
		c.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// KILL, because when this fires nobody is left to insist.
	c.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// A Ctrl-C at the terminal is for us alone; we end the children in our own way.
	c.cmd.SysProcAttr.Setpgid = true
	s.thread.do(func() { err = c.cmd.Start() })
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", c.name, err)
	}
	s.children = append(s.children, c)
	go func() {
		// How it ended is in its ProcessState.
		c.cmd.Wait()
		close(c.exited)
		s.died <- c
	}()
	return nil
}

// during runs f while it watches the children. It returns f's answer, or an error
// when parent or a child ends first or limit (0: none) is over.
func (s *supervisor) during(parent context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	var result error
	var running sync.WaitGroup
	// f also starts children, and stop must not run beside that.
	defer running.Wait()
	finished := make(chan struct{})
	running.Go(func() {
		defer close(finished)
		result = f(ctx)
	})
	select {
	case c := <-s.died:
		cancel()
		return c.failure()
	case <-over:
		cancel()
		return fmt.Errorf("not ready within %s, see %s", limit, s.logDir)
	case <-finished:
		return result
	case <-parent.Done():
		return parent.Err()
	}
}

// stop ends the children and waits until they are gone. The last one goes first
// and alone: an API server that has lost its etcd never ends by itself.
func (s *supervisor) stop() {
	deadline := time.NewTimer(s.grace)
	defer deadline.Stop()
	for _, c := range slices.Backward(s.children) {
		// It fails only for a child that has been waited for; a reused pid cannot be hit.
		c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.exited:
			continue
		case <-deadline.C:
		}
		for _, late := range s.children {
			late.cmd.Process.Kill()
		}
		break
	}
	for _, c := range s.children {
		<-c.exited
	}
}

func (c *child) failure() error {
	tail := readTail(c.log, logTail)
	err := fmt.Errorf("%s ended by itself (%v); the end of %s:\n%s", c.name, c.cmd.ProcessState, c.log, tail)
	if mentionsTakenPort(tail) {
		return fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return err
}

func readTail(path string, limit int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(content) > limit {
		content = content[len(content)-limit:]
	}
	return string(content)
}
