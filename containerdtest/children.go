package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"syscall"

	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctrdkit/containerd/internal/applets"
)

// Plays says whether a handler plays a program that has no file. If not, and it
// is not just asked for, the test's log says what could be done.
func (s *system) Plays(cmd *applets.Command) bool {
	wanted := newProc(&process{task: s.task, spec: s.childSpec(cmd), child: true})
	wanted.lookup = len(cmd.Args) == 1
	if s.task.machine.handler(wanted) != nil {
		return true
	}
	if cmd.Stdout != nil {
		s.task.machine.suggestHandle(s.task.id, cmd.Args[0])
	}
	return false
}

// childSpec is what the process says about a child.
func (s *system) childSpec(cmd *applets.Command) specs.Process {
	spec := s.proc.process.spec
	spec.Args, spec.Env, spec.Cwd = slices.Clone(cmd.Args), slices.Clone(s.proc.Env), s.proc.Dir
	if cmd.Env != nil {
		spec.Env = slices.Clone(cmd.Env)
	}
	if cmd.Dir != "" {
		spec.Cwd = cmd.Dir
	}
	return spec
}

// Start starts a child.
func (s *system) Start(cmd *applets.Command) (wait func(context.Context) (int, error), err error) {
	parent := s.proc.process
	t := parent.task
	child := t.newProcess("", s.childSpec(cmd), runtime.IO{})
	child.child = true
	if err := child.loadChild(cmd.Path); err != nil {
		return nil, err
	}
	if err := child.inherit(s.proc, cmd); err != nil {
		return nil, err
	}
	t.mu.Lock()
	if parent.status != runtime.RunningStatus || parent.dying || t.ending {
		err = syscall.EAGAIN
	} else if err = t.machine.enter(); err == nil {
		child.begin()
	}
	t.mu.Unlock()
	if err != nil {
		child.stdio.close()
		return nil, err
	}
	child.launch()
	return func(ctx context.Context) (int, error) {
		defer parent.block(child.hasEnded).done()
		exit, err := child.Wait(ctx)
		if err != nil {
			return 0, err
		}
		return int(exit.Status), nil
	}, nil
}

// hasEnded says whether waiting for the process is over.
func (p *process) hasEnded() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// loadChild finds out what a child is to do; path is "" for a built-in command.
func (p *process) loadChild(path string) (err error) {
	switch p.run = p.task.machine.handler(newProc(p)); {
	case p.run != nil:
	case path == "":
		p.run = builtin(p.spec.Args)
	case errors.Is(p.task.executable("/", path), fs.ErrNotExist): // though a handler seemed to play it
		err = fmt.Errorf("%q: %w", p.spec.Args[0], exec.ErrNotFound)
	default:
		p.run, err = p.program(path, p.spec.Args, 0)
	}
	return err
}

func builtin(args []string) Handler {
	return func(ctx context.Context, proc *Proc) int { return applets.Run(ctx, newSystem(proc), args) }
}

// inherit gives a child its streams: the parent's own, or what the command says.
func (p *process) inherit(parent *Proc, cmd *applets.Command) error {
	in, out, errs := cmd.Stdin == parent.Stdin, cmd.Stdout == parent.Stdout, cmd.Stderr == parent.Stderr
	shared, err := parent.process.stdio.share(in, out, errs)
	if err != nil {
		return err
	}
	p.stdio = shared
	p.addr.Terminal = parent.Terminal && in
	p.spec.Terminal = p.addr.Terminal
	p.in, p.out, p.errs = cmd.Stdin, cmd.Stdout, cmd.Stderr
	return nil
}
