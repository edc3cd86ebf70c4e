package logfile

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"
)

// listen makes the socket through which readers ask the logger how far it is,
// in place of one that an earlier logger has left.
func listen(dir string) (_ *net.UnixListener, err error) {
	if err := ignoreAbsent(os.Remove(filepath.Join(dir, askName))); err != nil {
		return nil, err
	}
	address, release, err := askAddress(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the name may be a later logger's by then
	return l, nil
}

// answer tells everyone who asks how far the log goes, when all that the
// streams had before is in it. The log itself stays as it is: answers must not
// need space on the disk, nor take it from what the task writes.
func (w *Writer) answer() {
	for {
		conn, err := w.ask.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			time.Sleep(watchTick) // out of descriptors; nothing tells when there are some
			continue
		}
		for _, s := range w.current() {
			s.flush()
		}
		if a, err := w.end(); err == nil { // else who asks finds out why
			conn.Write(a.append(nil)) //nolint:errcheck // who asked has gone
		}
		conn.Close() //nolint:errcheck // all is said
	}
}

// current returns the streams that have not ended.
func (w *Writer) current() []*Source {
	w.mu.Lock()
	defer w.mu.Unlock()
	sources := make([]*Source, 0, len(w.sources))
	for s := range w.sources {
		sources = append(sources, s)
	}
	return sources
}

// end returns the log's end.
func (w *Writer) end() (answer, error) {
	w.mu.Lock() // nothing is written meanwhile
	defer w.mu.Unlock()
	a, err := unasked(w.config.Dir)
	a.terminal = w.config.Terminal
	return a, err
}

// flush returns when all that is in the pipe now was logged. Only one at a time
// may run.
func (s *Source) flush() {
	done := make(chan struct{})
	s.ask <- done
	if err := s.file.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return // closed: the copy ends
	}
	select {
	case <-done:
	case <-s.ended:
	}
}

// answer reads what is in the pipe now, for who asked for it, and no more: a
// task may write faster than it is logged. If nobody asked, somebody wants the
// copy to end.
func (s *Source) answer() error {
	var asked chan<- struct{}
	select {
	case asked = <-s.ask:
	default:
		return os.ErrDeadlineExceeded
	}
	defer close(asked)
	if err := s.goOn(); err != nil {
		return err
	}
	left, err := s.pending()
	for left > 0 && err == nil {
		var n int
		n, err = s.file.Read(s.buffer[:min(left, len(s.buffer))])
		s.append(n)
		left -= n
	}
	return err
}

// pending returns how many bytes are in the pipe.
func (s *Source) pending() (n int, err error) {
	conn, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { n, failed = inPipe(int(fd)) })
	return n, errors.Join(err, os.NewSyscallError("ioctl", failed))
}
