package applets_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/applets"
)

// machine runs applets as goroutines, on files below a directory.
type machine struct {
	root    *os.Root
	ctx     context.Context // of all processes
	running sync.WaitGroup

	mu    sync.Mutex
	procs map[int]*process
	last  int
}

// newMachine makes a machine with the applets in /bin and an empty /work. Its
// processes end with the test.
func newMachine(t *testing.T) *machine {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	m := &machine{root: root, ctx: ctx, procs: make(map[int]*process)}
	t.Cleanup(func() {
		cancel()
		m.running.Wait()
		root.Close()
	})
	require.NoError(t, root.Mkdir("bin", 0o755))
	require.NoError(t, root.Mkdir("work", 0o755))
	require.NoError(t, root.WriteFile("bin/userland", nil, 0o755))
	for _, name := range applets.Names() {
		require.NoError(t, root.Symlink("userland", "bin/"+name))
	}
	return m
}

// process is a process of a machine, started by cmd.
type process struct {
	*machine
	pid      int
	cmd      *applets.Command
	terminal bool
	end      context.CancelCauseFunc
	done     chan struct{}
	code     int

	mu       sync.Mutex
	traps    []syscall.Signal
	trapping chan struct{} // closed at the first trap
	trapped  chan syscall.Signal
}

type killed syscall.Signal

func (killed) Error() string { return "killed" }

func (m *machine) start(cmd *applets.Command, terminal bool) *process {
	ctx, end := context.WithCancelCause(m.ctx)
	p := &process{machine: m, cmd: cmd, terminal: terminal, end: end, done: make(chan struct{}),
		trapping: make(chan struct{}), trapped: make(chan syscall.Signal, 8)}
	m.mu.Lock()
	m.last++
	p.pid = m.last
	m.procs[p.pid] = p
	m.mu.Unlock()
	m.running.Go(func() {
		defer close(p.done)
		p.code = applets.Run(ctx, p, cmd.Args)
		if sig, ok := errors.AsType[killed](context.Cause(ctx)); ok {
			p.code = 128 + int(sig)
		}
		end(nil)
		m.mu.Lock()
		delete(m.procs, p.pid)
		m.mu.Unlock()
	})
	return p
}

// result is what a process printed and its exit code.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a process in /work to its end.
func (m *machine) run(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	var stdout, stderr buffer
	p := m.start(&applets.Command{
		Args: args, Env: []string{"PATH=/bin", "COLOR=red"}, Dir: "/work", Stdin: stdin, Stdout: &stdout, Stderr: &stderr,
	}, false)
	<-p.done
	return result{stdout.String(), stderr.String(), p.code}
}

func (p *process) Stdin() io.Reader          { return p.cmd.Stdin }
func (p *process) Stdout() io.Writer         { return p.cmd.Stdout }
func (p *process) Stderr() io.Writer         { return p.cmd.Stderr }
func (p *process) IsTerminal() bool          { return p.terminal }
func (p *process) Environ() []string         { return p.cmd.Env }
func (p *process) Getwd() (string, error)    { return p.cmd.Dir, nil }
func (p *process) Getpid() int               { return p.pid }
func (p *process) Getuid() int               { return 123 }
func (p *process) Getgid() int               { return 456 }
func (p *process) Getgroups() ([]int, error) { return []int{456, 789}, nil }
func (p *process) Hostname() (string, error) { return "machine", nil }
func (p *process) Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *process) Trap(signals ...syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.traps == nil {
		close(p.trapping)
	}
	p.traps = append(p.traps, signals...)
}

func (p *process) NextSignal(ctx context.Context) (syscall.Signal, error) {
	select {
	case sig := <-p.trapped:
		return sig, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (p *process) Kill(pid int, sig syscall.Signal) error {
	p.machine.mu.Lock()
	target := p.procs[pid]
	p.machine.mu.Unlock()
	if target == nil {
		return syscall.ESRCH
	}
	target.signal(sig)
	return nil
}

func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case sig == 0:
	case slices.Contains(p.traps, sig):
		p.trapped <- sig
	default:
		p.end(killed(sig))
	}
}

func (p *process) Plays(*applets.Command) bool { return false }

func (p *process) Start(cmd *applets.Command) (func(context.Context) (int, error), error) {
	if cmd.Path != "" {
		if target, _ := p.Readlink(cmd.Path); target != "userland" {
			return nil, &fs.PathError{Op: "exec", Path: cmd.Path, Err: syscall.ENOEXEC}
		}
	}
	child := *cmd
	if child.Env == nil {
		child.Env = p.cmd.Env
	}
	if child.Dir == "" {
		child.Dir = p.cmd.Dir
	}
	started := p.start(&child, p.terminal && child.Stdin == p.cmd.Stdin)
	return func(ctx context.Context) (int, error) {
		select {
		case <-started.done:
			return started.code, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}, nil
}
