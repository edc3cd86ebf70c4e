package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/runtime"

	"github.com/ctrdkit/containerd/internal/applets"
)

// system is a simulated process as the built-in commands see it.
type system struct {
	files
	proc *Proc
}

var _ applets.System = (*system)(nil)

func newSystem(proc *Proc) *system {
	return &system{files: files{proc.process.task, proc.Dir}, proc: proc}
}

func (s *system) Stdin() io.Reader  { return s.proc.Stdin }
func (s *system) Stdout() io.Writer { return s.proc.Stdout }
func (s *system) Stderr() io.Writer { return s.proc.Stderr }
func (s *system) IsTerminal() bool  { return s.proc.Terminal }

func (s *system) Environ() []string      { return s.proc.Env }
func (s *system) Getwd() (string, error) { return s.proc.Dir, nil }
func (s *system) Getpid() int            { return s.proc.PID() }
func (s *system) Getuid() int            { return int(s.proc.UID) }
func (s *system) Getgid() int            { return int(s.proc.GID) }

func (s *system) Getgroups() ([]int, error) {
	var groups []int
	for _, gid := range s.proc.process.spec.User.AdditionalGids {
		groups = append(groups, int(gid))
	}
	return groups, nil
}

func (s *system) Hostname() (string, error) { return s.proc.process.task.hostname, nil }

func (s *system) Sleep(ctx context.Context, d time.Duration) error { return s.proc.Sleep(ctx, d) }
func (s *system) Trap(signals ...syscall.Signal)                   { s.proc.Trap(signals...) }
func (s *system) NextSignal(ctx context.Context) (syscall.Signal, error) {
	return s.proc.NextSignal(ctx)
}

// Stat finds programs that a handler plays without a file of theirs, where a
// shell looks for them.
func (s *system) Stat(name string) (fs.FileInfo, error) {
	info, err := s.files.Stat(name)
	dir, base := path.Split(name)
	if !errors.Is(err, fs.ErrNotExist) || !slices.Contains(filepath.SplitList(getenv(s.proc.Env, "PATH")), path.Clean(dir)) {
		return info, err
	}
	wanted := newProc(&process{task: s.task, spec: s.proc.process.spec, child: true})
	wanted.Args, wanted.lookup = []string{base}, true
	if s.task.machine.handler(wanted) == nil {
		return info, err
	}
	return scripted(base), nil
}

// scripted describes the file that a program would have.
type scripted string

func (s scripted) Name() string     { return string(s) }
func (scripted) Size() int64        { return 0 }
func (scripted) Mode() fs.FileMode  { return 0o755 }
func (scripted) ModTime() time.Time { return time.Time{} }
func (scripted) IsDir() bool        { return false }
func (scripted) Sys() any           { return &syscall.Stat_t{} }

// OpenFile opens a file, or one of the process's own streams.
func (s *system) OpenFile(name string, flag int, perm fs.FileMode) (io.ReadWriteCloser, error) {
	streams := map[string]stream{
		"/dev/stdin": {s.Stdin(), nil}, "/dev/stdout": {nil, s.Stdout()}, "/dev/stderr": {nil, s.Stderr()},
	}
	if opened, ok := streams[name]; ok {
		return opened, nil
	}
	return s.files.OpenFile(name, flag, perm)
}

// stream is one of the streams of a process, open for a second time.
type stream struct {
	io.Reader
	io.Writer
}

func (s stream) Read(b []byte) (int, error) {
	if s.Reader == nil {
		return 0, io.EOF
	}
	return s.Reader.Read(b)
}

func (s stream) Write(b []byte) (int, error) {
	if s.Writer == nil {
		return 0, syscall.EBADF
	}
	return s.Writer.Write(b)
}

func (stream) Close() error { return nil }

// Kill signals a process of the container, by its PID there.
func (s *system) Kill(pid int, sig syscall.Signal) error {
	t := s.proc.process.task
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.live {
		if p.inner == pid && p.status == runtime.RunningStatus {
			p.signal(sig)
			return nil
		}
	}
	return syscall.ESRCH
}

// Start starts a child.
func (s *system) Start(cmd *applets.Command) (wait func(context.Context) (int, error), err error) {
	parent := s.proc.process
	t := parent.task
	spec := parent.spec
	spec.Args, spec.Env, spec.Cwd = slices.Clone(cmd.Args), slices.Clone(s.proc.Env), s.proc.Dir
	if cmd.Env != nil {
		spec.Env = slices.Clone(cmd.Env)
	}
	if cmd.Dir != "" {
		spec.Cwd = cmd.Dir
	}
	child := t.newProcess("", spec, runtime.IO{})
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
