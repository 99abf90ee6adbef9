package up

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// parentSignal is what the kernel sends when our parent ends. It is not SIGTERM,
// because it also comes when only the parent's *thread* that started us ends, as
// a test harness with a thread per test has it; that is no reason to stop.
const parentSignal = syscall.SIGUSR1

// untilStopped returns a context that ends on SIGTERM, SIGINT or SIGHUP, when the
// parent process ends, or when stdin (may be nil) reaches its end.
func untilStopped(t *thread, stdin io.Reader) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	parent := os.Getppid()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, parentSignal)
	t.do(func() {
		syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(parentSignal), 0)
	})
	go func() {
		defer cancel()
		for s := range signals {
			if s != parentSignal || os.Getppid() != parent {
				return
			}
		}
	}()
	if stdin != nil {
		go func() {
			defer cancel()
			// An error ends it as well: there will be no more news from whoever started us.
			io.Copy(io.Discard, stdin)
		}()
	}
	return ctx
}
