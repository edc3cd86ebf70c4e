package containerdtest

import (
	"context"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/runtime"

	"github.com/ctrdkit/containerd/internal/clock"
)

// waiting is something that a process waits for.
type waiting struct {
	process *process
	over    func() bool // the process is about to go on
	ended   bool        // it goes on; guarded by the task's mutex
}

// begin makes the process a running one. The caller holds the task's mutex.
func (p *process) begin() {
	p.status = runtime.RunningStatus
	p.task.live[p] = struct{}{}
}

// launch runs the program in a goroutine of its own, for which the caller has
// entered the machine.
func (p *process) launch() {
	m := p.task.machine
	go func() {
		defer m.leave()
		code := 1 // of a handler that ends its goroutine, as t.FailNow does
		defer func() { p.returned(code) }()
		code = p.run(p.ctx, newProc(p))
	}()
	m.clock.changed()
}

// returned is the end of the program. If it was killed, that ends the process.
func (p *process) returned(code int) {
	w := p.block(func() bool { return false })
	ignore(p.awake(context.Background()))
	w.done()
	if !p.child {
		p.stdio.settle(p.ctx)
	}
	p.task.mu.Lock()
	dying := p.dying
	p.task.mu.Unlock()
	if !dying {
		p.end(code)
	}
}

// die kills the process; it is dead a moment later. The caller holds the task's
// mutex.
func (p *process) die(code int) {
	if p.dying || p.status == runtime.StoppedStatus {
		return
	}
	m := p.task.machine
	p.dying = true
	p.cancel()
	m.stay()
	time.AfterFunc(dyingTime, func() {
		defer m.leave()
		p.end(code)
	})
}

// end is the end of the process; only the first one counts. That of the first
// process ends all others before.
func (p *process) end(code int) {
	t := p.task
	if p.isInit() {
		t.endOthers()
	}
	t.mu.Lock()
	if p.status == runtime.StoppedStatus {
		t.mu.Unlock()
		return
	}
	p.status, p.dying = runtime.StoppedStatus, false
	p.exit = runtime.Exit{Pid: p.pid, Status: uint32(code) & 0xff, Timestamp: time.Now()}
	if p.stdio != nil {
		p.stdio.close()
	}
	p.cancel()
	if p.isInit() {
		t.thaw()
	}
	if !p.child {
		t.machine.clock.ended(clock.Process{Namespace: t.namespace, ContainerID: t.id, ExecID: p.execID})
	}
	t.mu.Unlock()
	if !p.child {
		p.announceExit()
	}
	close(p.exited)
	t.mu.Lock()
	delete(t.live, p)
	t.mu.Unlock()
	t.machine.clock.changed()
}

// endOthers ends all processes but the first, and lets none begin. They die at
// once, so that none does anything about the death of another.
func (t *task) endOthers() {
	t.mu.Lock()
	t.ending = true
	var others []*process
	for p := range t.live {
		if p.isInit() {
			continue
		}
		others = append(others, p)
		p.dying = true
		p.cancel()
		if p.stdio != nil {
			p.stdio.close()
		}
	}
	t.mu.Unlock()
	for _, p := range others {
		p.end(128 + int(syscall.SIGKILL))
		<-p.exited // if another goroutine has been faster
	}
}

// finish closes all that the process still has open, and waits for what copies
// its output.
func (p *process) finish() {
	p.task.mu.Lock()
	s := p.stdio
	p.task.mu.Unlock()
	if s != nil {
		s.close()
		s.finish()
	}
}

// block notes that the process waits, until done is called, or over says that
// what it waits for is there.
func (p *process) block(over func() bool) *waiting {
	w := &waiting{process: p, over: over}
	p.task.mu.Lock()
	p.waits[w] = struct{}{}
	p.task.mu.Unlock()
	p.task.machine.clock.changed()
	return w
}

func (w *waiting) done() {
	t := w.process.task
	t.mu.Lock()
	delete(w.process.waits, w)
	t.mu.Unlock()
	t.machine.clock.changed()
}

// waiting says whether the process waits, and goes on waiting if nothing
// happens. The caller holds the task's mutex.
func (p *process) waiting() bool {
	for w := range p.waits {
		if w.ended || w.over() {
			return false
		}
	}
	return len(p.waits) > 0
}
