package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/containerd/console"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/errdefs"
	"github.com/containerd/fifo"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// output counts who holds the output of a process open: the process, and
// children that were given it.
type output struct {
	mu     sync.Mutex
	users  int
	closed chan struct{} // closed when users is 0 and a terminal's output is copied
	copied chan struct{} // closed when the terminal's output is copied; nil without one
}

// stdio has the three files of one process, and what a shim does with them.
type stdio struct {
	stdin, stdout, stderr *os.File

	input    *os.File // a shim's own end of the input FIFO
	terminal console.Console
	ends     []io.Closer // further files of a terminal
	out      *output     // nil for a child that uses none of its parent's
	once     sync.Once
}

// open opens the streams of the process as a shim does.
func (p *process) open(ctx context.Context) (err error) {
	s := &stdio{out: &output{users: 1, closed: make(chan struct{})}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	switch {
	case p.addr.Terminal:
		err = s.openTerminal(ctx, p.addr, p.spec.ConsoleSize)
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
	if s.stdin, s.input, err = openInput(addr.Stdin); err != nil {
		return err
	}
	if config, ok := logfile.ParseAddress(addr.Stdout); ok {
		return s.openLog(config)
	}
	if s.stdout, err = openOutput(ctx, addr.Stdout); err != nil {
		return err
	}
	if path, ok := filePath(addr.Stdout); ok {
		s.stderr, err = openAppend(path) // both streams go where stdout goes
		return err
	}
	s.stderr, err = openOutput(ctx, addr.Stderr)
	return err
}

// openInput opens a FIFO for reading, and keeps an end for writing open.
func openInput(path string) (file, end *os.File, err error) {
	if path == "" {
		file, err = os.Open(os.DevNull)
		return file, nil, err
	}
	if file, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		return nil, nil, fmt.Errorf("containerd-shim: opening %s failed: %w", path, err)
	}
	if ok, err := fifo.IsFifo(path); err != nil || !ok {
		return file, nil, err
	}
	end, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	return file, end, err
}

// filePath returns the path of a file:// address.
func filePath(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" {
		return "", false
	}
	return u.Path, true
}

func openAppend(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
}

// openOutput opens where a process writes to: a FIFO, whose other end is kept
// open too, so that a reader that leaves is no error; or a file.
func openOutput(ctx context.Context, address string) (*os.File, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("unable to parse stdout uri: %w", err)
	}
	switch u.Scheme {
	case "":
		ok, err := fifo.IsFifo(address)
		if err != nil {
			return nil, err
		}
		mode := os.O_WRONLY | os.O_APPEND
		if ok {
			// Until somebody reads, as a shim does: what a short process writes
			// would go with its end.
			reader, err := fifo.OpenFifo(ctx, address, syscall.O_WRONLY, 0)
			if err != nil {
				return nil, fmt.Errorf("containerd-shim: opening w/o fifo %q failed: %w", address, err)
			}
			defer func() { ignore(reader.Close()) }()
			mode = os.O_RDWR | syscall.O_NONBLOCK
		}
		f, err := os.OpenFile(address, mode, 0)
		if err != nil {
			return nil, fmt.Errorf("containerd-shim: opening file %q failed: %w", address, err)
		}
		return f, nil
	case "file":
		return openAppend(u.Path)
	case "binary", "binary-v2":
		return nil, fmt.Errorf("the fake runs no logging programs, such as %s: %w", address, errdefs.ErrNotImplemented)
	default:
		return nil, fmt.Errorf("unknown STDIO scheme %s", u.Scheme)
	}
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
		dup, err := duplicate(f.from)
		if err != nil {
			return nil, errors.Join(err, closeFiles(child.stdin, child.stdout, child.stderr))
		}
		*f.to = dup
	}
	if child.stdout != nil || child.stderr != nil {
		child.out = s.out
		child.out.add()
	}
	return child, nil
}

// duplicate returns a file of its own for what f has open, so that closing it
// ends the calls that wait on it, and only these.
func duplicate(f *os.File) (*os.File, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var dupErr error
	err = conn.Control(func(old uintptr) { fd, dupErr = dupCloseOnExec(old) })
	if err = errors.Join(err, dupErr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
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
		s.closeInput()
		ignore(closeFiles(s.stdin, s.stdout, s.stderr))
		if s.out != nil {
			s.out.done()
		}
	})
}

// drain waits until nobody has the output open, and closes what is left.
func (s *stdio) drain(ctx context.Context) {
	select {
	case <-s.out.closed:
	case <-ctx.Done():
	}
	for _, c := range s.ends {
		ignore(c.Close())
	}
}

func (o *output) add() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.users++
}

func (o *output) done() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.users--
	if o.users > 0 {
		return
	}
	if o.copied == nil {
		close(o.closed)
		return
	}
	go func() {
		<-o.copied
		close(o.closed)
	}()
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
