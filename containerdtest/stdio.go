package containerdtest

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/runtime"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd/internal/logfile"
)

const (
	// settleTime and settleLooks together bound how long the exit of a process
	// waits for the readers of its output: on a busy machine a look takes longer,
	// as do the readers.
	settleTime  = 100 * time.Millisecond
	settleLooks = 100
	settlePause = 200 * time.Microsecond
)

// output counts who holds the output of a process open: the process, children
// that were given it, and what copies a terminal.
type output struct {
	mu     sync.Mutex
	users  int
	closed chan struct{} // closed when users is 0
}

// stdio has the three files of one process, and what a shim does with them.
type stdio struct {
	stdin, stdout, stderr *os.File

	terminal *os.File // the master's end of one; its parent's, for a child
	out      *output  // nil for a child that uses none of its parent's
	once     sync.Once

	// What a shim has.
	input  *os.File   // its own end of the input FIFO
	fifos  []*os.File // those of the output
	ends   []*os.File // all others
	copies sync.WaitGroup
	copied chan struct{} // closed when a terminal's output is; nil without one
}

// open opens the streams of the process as a shim does. It waits until somebody
// has opened the other ends of its output, or ctx ends.
func (p *process) open(ctx context.Context) (err error) {
	s := &stdio{out: &output{users: 1, closed: make(chan struct{})}}
	defer func() {
		if err != nil {
			s.close()
			s.finish()
		}
	}()
	switch {
	case p.addr.Terminal:
		err = s.openTerminal(ctx, p.addr, p.spec.ConsoleSize, p.hangUp)
	case p.addr.Stdin == "" && p.addr.Stdout == "" && p.addr.Stderr == "":
		err = s.openNull(p.isInit())
	default:
		err = s.openFiles(ctx, p.addr)
	}
	if err != nil {
		return err
	}
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	p.stdio = s
	return nil
}

// openNull opens the null device, which an exec can't write to: the runtime
// opens it anew for a first process only.
func (s *stdio) openNull(writable bool) (err error) {
	mode := os.O_RDONLY
	if writable {
		mode = os.O_RDWR
	}
	for _, f := range []**os.File{&s.stdin, &s.stdout, &s.stderr} {
		if *f, err = os.OpenFile(os.DevNull, mode, 0); err != nil {
			return err
		}
	}
	return nil
}

func (s *stdio) openFiles(ctx context.Context, addr runtime.IO) (err error) {
	config, logs := logfile.ParseAddress(addr.Stdout)
	if err := checkAddress(addr.Stdout); err != nil && !logs {
		return err
	}
	if addr.Stdout == "" && addr.Stderr == "" { // a real shim hangs
		<-ctx.Done()
		return ctx.Err()
	}
	if s.stdin, s.input, err = openInput(addr.Stdin); err != nil {
		return err
	}
	if logs {
		s.stdout, s.stderr, err = s.startLogger(config)
		return err
	}
	stderr := addr.Stderr
	if _, isURL := filePath(addr.Stdout); isURL && stderr != "" {
		stderr = addr.Stdout // both streams go there
	}
	if s.stdout, err = s.openOutput(ctx, addr.Stdout); err != nil {
		return err
	}
	s.stderr, err = s.openOutput(ctx, stderr)
	return err
}

// share opens those files anew that a child has from the process.
func (s *stdio) share(stdin, stdout, stderr bool) (*stdio, error) {
	child := &stdio{terminal: s.terminal}
	for _, f := range []struct {
		shared bool
		from   *os.File
		to     **os.File
	}{{stdin, s.stdin, &child.stdin}, {stdout, s.stdout, &child.stdout}, {stderr, s.stderr, &child.stderr}} {
		if !f.shared || f.from == nil {
			continue
		}
		dup, err := duplicate(f.from, f.from.Name())
		if err != nil {
			return nil, errors.Join(err, closeFiles(child.stdin, child.stdout, child.stderr))
		}
		*f.to = dup
	}
	if s.out != nil && (child.stdout != nil || child.stderr != nil) {
		child.out = s.out
		child.out.add()
	}
	return child, nil
}

// duplicate returns a file of its own for what f has open, so that closing it
// ends the calls that wait on it, and only these.
func duplicate(f *os.File, name string) (*os.File, error) {
	var dup int
	err := control(f, func(fd int) (err error) { dup, err = dupCloseOnExec(fd); return err })
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), name), nil
}

func dupCloseOnExec(fd int) (int, error) {
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
}

// control calls do with the descriptor of a file that is open.
func control(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := conn.Control(func(fd uintptr) { err = do(int(fd)) })
	return errors.Join(controlErr, err)
}

// soon returns when done says so, when ctx ends, or after settleTime and
// settleLooks.
func soon(ctx context.Context, done func() bool) {
	began := time.Now()
	for looks := 0; looks < settleLooks || time.Since(began) < settleTime; looks++ {
		if done() || ctx.Err() != nil {
			return
		}
		pause := time.NewTimer(settlePause)
		<-pause.C
	}
}

// taken says whether all FIFOs, which are open in both directions, are empty or
// closed.
func taken(fifos []*os.File) bool {
	return !slices.ContainsFunc(fifos, func(f *os.File) bool {
		full, err := poll(f, unix.POLLIN)
		return full && err == nil
	})
}

// poll says whether a call that waits for an event on f would not wait.
func poll(f *os.File, event int16) (ready bool, err error) {
	err = control(f, func(fd int) error {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: event}}, 0)
		ready = n > 0
		return err
	})
	return ready, err
}

// closeInput closes the shim's end of the input.
func (s *stdio) closeInput() {
	if s.input != nil {
		ignore(s.input.Close())
	}
}

// close is the end of a process's files. Calls that wait on them fail.
func (s *stdio) close() {
	s.once.Do(func() {
		ignore(closeFiles(s.stdin, s.stdout, s.stderr))
		if s.out != nil {
			s.out.done()
		}
	})
}

// settle waits until the readers have taken the output, but not for long. A
// client that learns of an exit gives up what it is still opening, and a reader
// has not had the time that a real runtime needs to start a process.
func (s *stdio) settle(ctx context.Context) {
	if s.copied == nil {
		soon(ctx, func() bool { return taken(s.fifos) })
		return
	}
	s.close()
	soon(ctx, func() bool {
		select {
		case <-s.copied:
			return true
		default:
			return false
		}
	})
}

// drain waits until nobody has the output open, and closes what is left.
func (s *stdio) drain(ctx context.Context) {
	select {
	case <-s.out.closed:
	case <-ctx.Done():
	}
	s.finish()
}

// finish closes the shim's files, and ends what it does with them.
func (s *stdio) finish() {
	s.closeInput()
	ignore(closeFiles(s.ends...))
	s.copies.Wait()
}

func (o *output) add() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.users++
}

func (o *output) done() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users--; o.users == 0 {
		close(o.closed)
	}
}

func closeFiles(files ...*os.File) error {
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// ignore is for errors of closing what nobody uses any more.
func ignore(error) {}
