package up

import "runtime"

// thread is one OS thread that lives as long as the process.
//
// The parent-death signal is tied to threads, at both ends: the kernel sends it
// when the thread that forked the child ends, and forgets ours when the thread
// that asked for it ends. The Go runtime ends threads as it likes, so both must
// happen on a thread that it cannot end.
type thread struct{ work chan func() }

func newThread() *thread {
	t := &thread{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range t.work {
			f()
		}
	}()
	return t
}

// do runs f on the thread and waits for it.
func (t *thread) do(f func()) {
	done := make(chan struct{})
	t.work <- func() {
		defer close(done)
		f()
	}
	<-done
}
