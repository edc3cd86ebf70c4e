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

// ignoredSignals do nothing to a process that does not handle them.
var ignoredSignals = []syscall.Signal{0, syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH}

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

// signal does what the kernel does with a signal. The caller holds the task's
// mutex.
func (p *process) signal(sig syscall.Signal) {
	if p.task.paused && sig == syscall.SIGKILL {
		p.task.thaw() // as runc does: nothing else ends a frozen process
	}
	if p.task.paused {
		p.task.held = append(p.task.held, heldSignal{p, sig})
		return
	}
	switch {
	case p.status == runtime.StoppedStatus || p.dying:
	case sig == syscall.SIGKILL:
		p.die(sig)
	case p.traps[sig]:
		p.pending = append(p.pending, sig)
		select {
		case p.arrived <- struct{}{}:
		default:
		}
	case slices.Contains(ignoredSignals, sig):
	case p.inner == 1: // no default action reaches a first process
	default:
		p.die(sig)
	}
}

// die kills the process; it is dead a moment later.
func (p *process) die(sig syscall.Signal) {
	p.dying, p.fatal = true, sig
	p.cancel()
	time.AfterFunc(dyingTime, func() { p.end(128 + int(sig)) })
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
	defer p.block()()
	for {
		p.task.mu.Lock()
		if len(p.pending) > 0 {
			sig := p.pending[0]
			p.pending = p.pending[1:]
			if len(p.pending) > 0 {
				select {
				case p.arrived <- struct{}{}:
				default:
				}
			}
			p.task.mu.Unlock()
			return sig, p.awake(ctx)
		}
		p.task.mu.Unlock()
		select {
		case <-p.arrived:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		}
	}
}

// sleep waits by the fake's clock.
func (p *process) sleep(ctx context.Context, d time.Duration) error {
	elapsed, release := p.task.machine.clock.NewProcessTimer(d)
	defer release()
	defer p.block()()
	select {
	case <-elapsed:
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

// block notes that the process waits, until the returned function is called.
func (p *process) block() func() {
	count := func(n int) {
		p.task.mu.Lock()
		p.blocked += n
		p.task.mu.Unlock()
		p.task.machine.clock.changed()
	}
	count(1)
	return func() { count(-1) }
}
