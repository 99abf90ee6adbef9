package up

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary also be the processes that the tests need.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(play(os.Args[1], os.Args[2:]))
	}
	os.Exit(m.Run())
}

func play(role string, args []string) int {
	switch role {
	case "patient":
		fmt.Println("patient runs")
		<-time.After(time.Minute)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("stubborn runs")
		<-time.After(time.Minute)
	case "port-taken":
		fmt.Println("listen tcp 127.0.0.1:1: bind: address already in use")
		return 1
	case "supervisor":
		return playSupervisor(args[0])
	case "parent":
		// It starts a supervisor and stays, so that a test can kill it between the two.
		c := exec.Command(os.Args[0], "supervisor", args[0])
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		newThread().do(func() { c.Start() })
		c.Wait()
	}
	return 0
}

// playSupervisor supervises one child until it is stopped, and prints the pids of both.
func playSupervisor(folder string) int {
	threads := newThread()
	ctx := untilStopped(threads, os.Stdin)
	s := newSupervisor(threads, os.Args[0], folder, time.Second)
	defer s.stop()
	if err := s.start([]string{"patient"}); err != nil {
		return 1
	}
	fmt.Println(os.Getpid(), s.children[0].cmd.Process.Pid)
	<-ctx.Done()
	return 0
}

func newTestSupervisor(t *testing.T, role string) *supervisor {
	t.Helper()
	s := newSupervisor(newThread(), os.Args[0], t.TempDir(), 200*time.Millisecond)
	if err := s.start([]string{role}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

// eventually waits for something that has no event to wait for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func (s *supervisor) waitForLog(t *testing.T, text string) {
	t.Helper()
	eventually(t, text, func() bool { return strings.Contains(readTail(s.children[0].log, logTail), text) })
}

func signalOf(s *supervisor) syscall.Signal {
	return s.children[0].cmd.ProcessState.Sys().(syscall.WaitStatus).Signal()
}

func TestStopAsksFirst(t *testing.T) {
	s := newTestSupervisor(t, "patient")
	s.waitForLog(t, "patient runs")
	s.stop()
	if got := signalOf(s); got != syscall.SIGTERM {
		t.Errorf("ended by %v", got)
	}
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	s := newTestSupervisor(t, "stubborn")
	s.waitForLog(t, "stubborn runs")
	s.stop()
	if got := signalOf(s); got != syscall.SIGKILL {
		t.Errorf("ended by %v", got)
	}
}

func TestDeadChildIsReportedWithItsLog(t *testing.T) {
	s := newTestSupervisor(t, "port-taken")
	err := s.during(context.Background(), 0, untilDone)
	if err == nil || !strings.Contains(err.Error(), "port-taken ended by itself (exit status 1)") ||
		!strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
	if !errors.Is(err, errPortTaken) {
		t.Error("a taken port is not recognised")
	}
}

func TestWaitingIsBounded(t *testing.T) {
	s := newTestSupervisor(t, "patient")
	err := s.during(context.Background(), time.Millisecond, untilDone)
	if err == nil || !strings.Contains(err.Error(), "not ready within 1ms") {
		t.Errorf("got %v", err)
	}
}

func TestStopDuringTheStartIsNoSuccess(t *testing.T) {
	s := newTestSupervisor(t, "patient")
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if err := s.during(stopped, time.Minute, untilDone); err == nil {
		t.Error("it would say that it is ready")
	}
}

func TestStopEndsTheLastStartedFirst(t *testing.T) {
	s := newTestSupervisor(t, "patient")
	if err := s.start([]string{"stubborn"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.children {
		eventually(t, c.name, func() bool { return strings.Contains(readTail(c.log, logTail), "runs") })
	}
	s.stop()
	// The first is asked only when the second has ended, and that took all the time there was.
	if got := signalOf(s); got != syscall.SIGKILL {
		t.Errorf("ended by %v", got)
	}
}

func TestChildOutlivesTheThreadThatAskedForIt(t *testing.T) {
	s := newSupervisor(newThread(), os.Args[0], t.TempDir(), time.Second)
	t.Cleanup(s.stop)
	asked := make(chan error)
	go func() {
		// A goroutine that ends while it is locked takes its thread with it.
		runtime.LockOSThread()
		asked <- s.start([]string{"patient"})
	}()
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	s.waitForLog(t, "patient runs")
	if err := s.children[0].cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error(err)
	}
}

// startPlay starts this binary in a role that prints the pids of a supervisor and its child.
func startPlay(t *testing.T, role string) (c *exec.Cmd, stdin io.WriteCloser, supervisor, child int) {
	t.Helper()
	c = bounded(t, role, t.TempDir())
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &supervisor, &child); err != nil {
		t.Fatal(err)
	}
	return c, stdin, supervisor, child
}

// bounded is a command that a broken supervisor cannot make a test wait for.
func bounded(t *testing.T, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, os.Args[0], args...)
}

// gone is true for zombies too: in a container nobody may collect an orphan.
func gone(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

func TestEndOfStdinEndsTheChild(t *testing.T) {
	c, stdin, _, child := startPlay(t, "supervisor")
	stdin.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	eventually(t, "child gone", func() bool { return gone(child) })
}

func TestTermEndsTheChild(t *testing.T) {
	c, _, _, child := startPlay(t, "supervisor")
	c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	eventually(t, "child gone", func() bool { return gone(child) })
}

func TestKilledSupervisorTakesTheChildAlong(t *testing.T) {
	c, _, _, child := startPlay(t, "supervisor")
	c.Process.Kill()
	eventually(t, "child gone", func() bool { return gone(child) })
}

func TestEndOfTheParentEndsSupervisorAndChild(t *testing.T) {
	c, _, supervisor, child := startPlay(t, "parent")
	c.Process.Kill()
	eventually(t, "supervisor and child gone", func() bool { return gone(supervisor) && gone(child) })
}

func TestEndOfOneThreadOfTheParentIsNoReasonToStop(t *testing.T) {
	c := bounded(t, "supervisor", t.TempDir())
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	threadEnds := make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- c.Start()
		<-threadEnds
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	close(threadEnds)
	// Only an absence could be waited for here, so give the signal a moment to do its harm.
	time.Sleep(100 * time.Millisecond)
	if gone(c.Process.Pid) {
		t.Error("it stopped")
	}
	stdin.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}
