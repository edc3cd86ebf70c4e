package containerdtest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

// Handler plays a process. It gets a context that ends when the process is
// killed, and returns the exit code, of which the lowest eight bits count, as on
// Linux: 256 is 0, and -1 is 255. When the context ends the process is dead, its
// files are closed, and what the handler still does or returns doesn't matter;
// but it has to return, because the end of the test waits for it.
type Handler func(ctx context.Context, p *Proc) int

// Proc is a simulated process of a container. Its methods are safe for
// concurrent use by multiple goroutines.
//
// A test may make one to call its handler without a fake. Such a process has what
// its fields say, and streams only if they do; its PID is 1, it sleeps in real
// time, gets no signals, has no terminal size, and Path is an error.
type Proc struct {
	// ContainerID and ExecID say whose process it is; ExecID is empty unless it
	// is an exec.
	ContainerID, ExecID string
	// Args is the command line, Env its environment as KEY=VALUE, Dir its working
	// directory. They are the handler's to change.
	Args, Env []string
	Dir       string
	// UID and GID are the user's IDs inside the container. Files are not
	// protected from any user.
	UID, GID uint32
	// Terminal says that the three streams are one terminal.
	Terminal bool
	// Stdin, Stdout and Stderr are the process's streams. Writing blocks while
	// nobody reads and 64 KiB wait to be read. They end with the process.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	process *process
	lookup  bool // there is no process, a shell looks for its program
}

// newProc describes a process, and has its streams if they are open.
func newProc(p *process) *Proc {
	spec := p.spec
	proc := &Proc{
		ContainerID: p.task.id, ExecID: p.execID,
		Args: slices.Clone(spec.Args), Env: slices.Clone(spec.Env), Dir: spec.Cwd,
		UID: spec.User.UID, GID: spec.User.GID, Terminal: spec.Terminal || p.addr.Terminal,

		process: p,
	}
	proc.Stdin, proc.Stdout, proc.Stderr = p.streams()
	return proc
}

// PID returns the process ID inside the container; 1 is its first process.
func (p *Proc) PID() int {
	if p.process == nil {
		return 1
	}
	return p.process.inner
}

// Getenv returns the value of an environment variable, or "".
func (p *Proc) Getenv(name string) string {
	for _, entry := range slices.Backward(p.Env) {
		if key, value, _ := strings.Cut(entry, "="); key == name {
			return value
		}
	}
	return ""
}

// Path returns where a path of the container is on the host, following links
// inside the container's root directory. Relative paths start at Dir. The file
// need not exist.
func (p *Proc) Path(name string) (string, error) {
	if p.process == nil {
		return "", fmt.Errorf("path %s of a process without a container: %w", name, errdefs.ErrFailedPrecondition)
	}
	host, _, err := p.process.task.locate(p.Dir, name, true)
	return host, err
}

// Sleep waits for d by the fake's clock: see [WithVirtualTime]. It returns an
// error if ctx ends or the process is killed first.
func (p *Proc) Sleep(ctx context.Context, d time.Duration) error {
	if p.process == nil {
		return sleepReally(ctx, d)
	}
	return p.process.sleep(ctx, d)
}

// Trap makes the given signals wait for [Proc.NextSignal]. Signals that are not
// trapped do what they do on Linux: most end the process, and none but SIGKILL
// does anything to the container's first one.
func (p *Proc) Trap(signals ...syscall.Signal) {
	if p.process != nil {
		p.process.trap(signals)
	}
}

// NextSignal returns the next trapped signal, in the order they were sent. It
// returns an error if ctx ends or the process is killed first.
func (p *Proc) NextSignal(ctx context.Context) (syscall.Signal, error) {
	if p.process == nil {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return p.process.nextSignal(ctx)
}

// TerminalSize returns the size of the process's terminal, in characters. It
// is 0, 0 without a terminal or before anybody has set it. A change arrives as
// SIGWINCH.
func (p *Proc) TerminalSize() (width, height int, err error) {
	if p.process == nil || p.process.stdio == nil || p.process.stdio.terminal == nil {
		return 0, 0, nil
	}
	return terminalSize(p.process.stdio.terminal)
}

func sleepReally(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
