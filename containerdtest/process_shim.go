package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/errdefs"
)

// Wait returns the exit, or an error if the task is deleted first or ctx ends.
func (p *process) Wait(ctx context.Context) (*runtime.Exit, error) {
	select {
	case <-p.exited:
	case <-p.task.deleted:
	case <-ctx.Done():
	}
	switch {
	case p.hasEnded():
		return p.lastExit(), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, errShimGone
}

func (p *process) lastExit() *runtime.Exit {
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	exit := p.exit
	return &exit
}

// ResizePty changes the terminal's size, and tells the program.
func (p *process) ResizePty(_ context.Context, size runtime.ConsoleSize) error {
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	switch {
	case p.status == runtime.StoppedStatus && p.execID != "":
		return errors.New("cannot resize a stopped container")
	case p.status == runtime.StoppedStatus || p.stdio == nil || p.stdio.terminal == nil:
		return nil
	}
	if err := resize(p.stdio.terminal, size.Width, size.Height); err != nil {
		return err
	}
	p.signal(syscall.SIGWINCH)
	return nil
}

// CloseIO closes the shim's end of the input.
func (p *process) CloseIO(context.Context) error {
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	if p.stdio != nil {
		p.stdio.closeInput()
	}
	return nil
}

// Delete removes an exec that does not run.
func (p *process) Delete(ctx context.Context) (*runtime.Exit, error) {
	exit, err := p.remove(ctx)
	if err != nil {
		return nil, err
	}
	t := p.task
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.execs[p.execID] != p {
		return nil, fmt.Errorf("cannot delete a deleted process: %w", errdefs.ErrNotFound)
	}
	delete(t.execs, p.execID)
	return exit, nil
}

// remove ends what is left of a process that does not run, and waits for its
// output, as long as a shim does.
func (p *process) remove(ctx context.Context) (*runtime.Exit, error) {
	t := p.task
	t.mu.Lock()
	if p.status == runtime.RunningStatus {
		defer t.mu.Unlock()
		if t.paused && p.isInit() {
			return nil, errors.New("cannot delete a paused process")
		}
		return nil, errors.New("cannot delete a running process")
	}
	if p.status == runtime.CreatedStatus { // nobody learns of an exit
		p.status, p.exit.Pid = runtime.StoppedStatus, p.pid
		if p.stdio != nil {
			p.stdio.close()
		}
		p.cancel()
	}
	s := p.stdio
	t.mu.Unlock()
	if s != nil {
		ctx, cancel := context.WithTimeout(ctx, drainTime)
		defer cancel()
		s.drain(ctx)
	}
	return p.lastExit(), nil
}
