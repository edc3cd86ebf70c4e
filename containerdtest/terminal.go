package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/containerd/console"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo terminal, which the process has for all three
// streams, and copies between it and the addresses. When its input ends, the
// shim closes it, and hangUp is called.
func (s *stdio) openTerminal(ctx context.Context, addr runtime.IO, size *specs.Box, hangUp func()) error {
	const failed = "failed to start console copy: "
	master, name, err := newMaster()
	if err != nil {
		return err
	}
	s.terminal, s.ends = master, append(s.ends, master)
	if size != nil {
		if err := resize(master, uint32(size.Width), uint32(size.Height)); err != nil {
			return err
		}
	}
	for _, f := range []**os.File{&s.stdin, &s.stdout, &s.stderr} {
		if *f, err = os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
			return err
		}
	}
	var in *os.File
	if addr.Stdin != "" {
		if in, s.input, err = openInput(addr.Stdin); err != nil {
			return fmt.Errorf(failed+"%w", err)
		}
		s.ends = append(s.ends, in)
	}
	out, err := s.openTerminalOutput(ctx, addr.Stdout)
	if err != nil {
		return fmt.Errorf(failed+"%w", err)
	}
	s.ends = append(s.ends, out)
	s.out.add()
	s.copied = make(chan struct{})
	s.copies.Go(func() { s.copyOutput(out, master) })
	if in != nil {
		s.copies.Go(func() {
			_, err := io.Copy(master, in)
			ignore(errors.Join(err, in.Close(), master.Close()))
			hangUp()
		})
	}
	return nil
}

// copyOutput copies until the last user has closed the terminal, which is an
// error.
func (s *stdio) copyOutput(out, master *os.File) {
	defer s.out.done()
	defer close(s.copied)
	_, err := io.Copy(out, master)
	soon(context.Background(), func() bool { return taken(s.fifos) })
	ignore(errors.Join(err, out.Close()))
}

// newMaster opens a pseudo terminal. Its name is the terminal's for the program.
func newMaster() (*os.File, string, error) {
	pty, name, err := console.NewPty()
	if err != nil {
		return nil, "", err
	}
	defer func() { ignore(pty.Close()) }()
	fd, err := dupCloseOnExec(int(pty.Fd()))
	if err != nil {
		return nil, "", err
	}
	// Calls that wait on it are to end when it is closed.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, "", errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), name, nil
}

// hangUp tells the program that its terminal is gone.
func (p *process) hangUp() {
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	p.signal(syscall.SIGHUP)
}

func resize(terminal *os.File, width, height uint32) error {
	return control(terminal, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(width), Row: uint16(height)})
	})
}

func terminalSize(terminal *os.File) (width, height int, err error) {
	err = control(terminal, func(fd int) error {
		size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err == nil {
			width, height = int(size.Col), int(size.Row)
		}
		return err
	})
	return width, height, err
}
