package containerdtest

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/errdefs"
)

// ignoredSignals do nothing to a process that does not handle them. That some
// would stop it on Linux is part of job control, which the fake has not.
var ignoredSignals = []syscall.Signal{
	0, syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
	syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
}

// fatalToCreated end a first process that was not started: it is still runc,
// which exits with fatalCode of them.
var fatalToCreated = []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM}

const fatalCode = 2

// Kill signals the process. The signal takes effect later.
func (p *process) Kill(_ context.Context, sig uint32, _ bool) error {
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	switch {
	case p.status == runtime.StoppedStatus:
		return errFinished
	case p.execID != "" && p.status == runtime.CreatedStatus:
		return fmt.Errorf("process not created: %w", errdefs.ErrFailedPrecondition)
	}
	p.signal(syscall.Signal(sig))
	return nil
}

// signal does what the kernel does with a signal, and runc with one to the
// first process. The caller holds the task's mutex.
func (p *process) signal(sig syscall.Signal) {
	t := p.task
	switch {
	case p.status == runtime.StoppedStatus || p.dying:
	case sig == syscall.SIGKILL && (p.isInit() || !t.paused):
		p.die(128 + int(sig))
		t.thaw() // nothing else ends a frozen process
	case t.paused:
		t.held = append(t.held, heldSignal{p, sig})
	case p.inner == 1 && p.status == runtime.CreatedStatus:
		if slices.Contains(fatalToCreated, sig) {
			p.die(fatalCode)
		}
	case p.traps[sig]:
		p.pending = append(p.pending, sig)
		select {
		case p.arrived <- struct{}{}:
		default:
		}
		t.machine.clock.changed()
	case slices.Contains(ignoredSignals, sig):
	case p.inner == 1: // no default action reaches a first process
	default:
		p.die(128 + int(sig))
	}
}

// trap makes signals wait for nextSignal.
func (p *process) trap(signals []syscall.Signal) {
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	for _, sig := range signals {
		p.traps[sig] = true
	}
}

// nextSignal waits for a trapped signal.
func (p *process) nextSignal(ctx context.Context) (syscall.Signal, error) {
	w := p.block(func() bool { return len(p.pending) > 0 })
	defer w.done()
	for {
		if sig, ok := w.takeSignal(); ok {
			return sig, p.awake(ctx)
		}
		select {
		case <-p.arrived:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		}
	}
}

// takeSignal takes a signal, and with it the end of the wait.
func (w *waiting) takeSignal() (sig syscall.Signal, ok bool) {
	p := w.process
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	if len(p.pending) == 0 {
		return 0, false
	}
	w.ended = true
	sig = p.pending[0]
	p.pending = p.pending[1:]
	if len(p.pending) > 0 { // others may wait for the rest
		select {
		case p.arrived <- struct{}{}:
		default:
		}
	}
	return sig, true
}

// sleep waits by the fake's clock.
func (p *process) sleep(ctx context.Context, d time.Duration) error {
	c := p.task.machine.clock
	timer := c.newTimer(d, false)
	defer c.release(timer)
	defer p.block(timer.fired.Load).done()
	select {
	case <-timer.elapsed:
		return p.awake(ctx)
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// awake returns when the task is not paused.
func (p *process) awake(ctx context.Context) error {
	p.task.mu.Lock()
	resumed := p.task.resumed
	p.task.mu.Unlock()
	select {
	case <-resumed:
		return p.ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}
