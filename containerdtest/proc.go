package containerdtest

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Handler plays a process. It gets a context that ends when the process is
// killed, and returns the exit code, 0 to 255. When the context ends the
// process is dead, its files are closed, and what the handler still does or
// returns doesn't matter; but it has to return, because the end of the test
// waits for it.
type Handler func(ctx context.Context, p *Proc) int

// Proc is a simulated process of a container. Its methods are safe for
// concurrent use by multiple goroutines.
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
func (p *Proc) PID() int { return p.process.inner }

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
	host, _, err := p.process.task.locate(p.Dir, name, true)
	return host, err
}

// Sleep waits for d by the fake's clock: see [WithVirtualTime]. It returns an
// error if ctx ends or the process is killed first.
func (p *Proc) Sleep(ctx context.Context, d time.Duration) error { return p.process.sleep(ctx, d) }

// Trap makes the given signals wait for [Proc.NextSignal]. Signals that are not
// trapped do what they do on Linux: most end the process, and none but SIGKILL
// does anything to the container's first one.
func (p *Proc) Trap(signals ...syscall.Signal) { p.process.trap(signals) }

// NextSignal returns the next trapped signal, in the order they were sent. It
// returns an error if ctx ends or the process is killed first.
func (p *Proc) NextSignal(ctx context.Context) (syscall.Signal, error) {
	return p.process.nextSignal(ctx)
}

// TerminalSize returns the size of the process's terminal, in characters. It
// is 0, 0 without a terminal or before anybody has set it. A change arrives as
// SIGWINCH.
func (p *Proc) TerminalSize() (width, height int, err error) {
	if p.process.stdio == nil || p.process.stdio.terminal == nil {
		return 0, 0, nil
	}
	return terminalSize(p.process.stdio.terminal)
}

// streams returns the three streams, if they are open.
func (p *process) streams() (in io.Reader, out, errs io.Writer) {
	if p.stdio == nil {
		return nil, nil, nil
	}
	read := func(f *os.File, given io.Reader) io.Reader {
		if f != nil {
			given = f
		}
		if given == nil {
			return nil
		}
		return &reader{p, given, f == nil}
	}
	write := func(f *os.File, given io.Writer) io.Writer {
		if f != nil {
			given = f
		}
		return &writer{p, given, f == nil}
	}
	return read(p.stdio.stdin, p.in), write(p.stdio.stdout, p.out), write(p.stdio.stderr, p.errs)
}

// reader is the input of a process, and writer one of its outputs. Their use
// can wait.
type (
	reader struct {
		process *process
		io.Reader
		inside bool // a pipe between processes of the container
	}
	writer struct {
		process *process
		io.Writer
		inside bool
	}
)

// Read reads when the task is not paused.
func (s *reader) Read(b []byte) (int, error) {
	if s.inside { // else a client is the other side, of which nobody knows what it is about to do
		defer s.process.block(readyFor(s.Reader, unix.POLLIN)).done()
	}
	n, err := s.Reader.Read(b)
	if pauseErr := s.process.awake(context.Background()); err == nil && n == 0 {
		err = pauseErr
	}
	return n, err
}

// Write writes when the task is not paused.
func (s *writer) Write(b []byte) (int, error) {
	if s.inside {
		defer s.process.block(readyFor(s.Writer, unix.POLLOUT)).done()
	}
	if err := s.process.awake(context.Background()); err != nil {
		return 0, err
	}
	return s.Writer.Write(b)
}

// Fd lets a shell find out whether it writes to a terminal. The descriptor is
// not for anything else.
func (s *writer) Fd() uintptr {
	fd := ^uintptr(0)
	if f, ok := s.Writer.(*os.File); ok {
		ignore(control(f, func(n int) error { fd = uintptr(n); return nil }))
	}
	return fd
}

// readyFor returns what says whether a call that waits for a stream is about to
// return, as far as that can be known.
func readyFor(stream any, event int16) func() bool {
	f, ok := stream.(*os.File)
	if !ok {
		return func() bool { return false }
	}
	return func() bool {
		ready, err := poll(f, event)
		return ready || err != nil
	}
}
