package containerdtest

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/containerd/console"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo terminal, which the process has for all three
// streams, and copies between it and the addresses.
func (s *stdio) openTerminal(ctx context.Context, addr runtime.IO, size *specs.Box) error {
	master, name, err := console.NewPty()
	if err != nil {
		return err
	}
	s.terminal = master
	s.ends = append(s.ends, master)
	if size != nil {
		if err := s.resize(uint32(size.Width), uint32(size.Height)); err != nil {
			return err
		}
	}
	for _, f := range []**os.File{&s.stdin, &s.stdout, &s.stderr} {
		if *f, err = os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
			return err
		}
	}
	out, logged, err := openTerminalOutput(ctx, addr.Stdout)
	if err != nil {
		return err
	}
	s.out.copied = make(chan struct{})
	go func() {
		defer close(s.out.copied)
		// The end is an error: the last user has closed the terminal.
		_, err := io.Copy(out, master)
		ignore(errors.Join(err, out.Close()))
		if logged != nil {
			<-logged
		}
	}()
	if addr.Stdin == "" {
		return nil
	}
	in, end, err := openInput(addr.Stdin)
	if err != nil {
		return err
	}
	s.input = end
	s.ends = append(s.ends, in)
	go func() {
		_, err := io.Copy(master, in)
		ignore(err)
	}()
	return nil
}

func (s *stdio) resize(width, height uint32) error {
	return s.terminal.Resize(console.WinSize{Width: uint16(width), Height: uint16(height)})
}

func (s *stdio) size() (width, height int, err error) {
	size, err := s.terminal.Size()
	return int(size.Width), int(size.Height), err
}

func dupCloseOnExec(fd uintptr) (int, error) {
	return unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
}
