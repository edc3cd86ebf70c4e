package containerdtest

import (
	"context"
	"io"
	"io/fs"
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
