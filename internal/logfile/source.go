package logfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// readSize is how much is read, and written, at once.
const readSize = 256 << 10

// source is a stream that is being copied.
type source struct {
	writer *Writer
	stream Stream
	file   *os.File
	ask    chan chan<- struct{} // from who wants all that is in the stream now
	ended  chan struct{}
	buffer []byte
	text   []byte
}

// Copy appends what it reads from a pipe until its end, or until the pipe's
// read deadline is set. What can't be written, on a full disk, is counted and
// reported in the log when there is room again: a logger that gave up would end
// the container.
func (w *Writer) Copy(stream Stream, pipe *os.File) error {
	s := &source{
		writer: w, stream: stream, file: pipe,
		ask: make(chan chan<- struct{}, 1), ended: make(chan struct{}), buffer: make([]byte, readSize),
	}
	defer close(s.ended)
	w.mu.Lock()
	w.sources[s] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.sources, s)
	}()
	for {
		n, err := pipe.Read(s.buffer)
		s.append(n)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = s.answer()
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading %s: %w", stream, err)
		}
	}
}

// append logs the first n bytes of the buffer.
func (s *source) append(n int) {
	if n > 0 {
		s.text = split(s.text[:0], stamp(time.Now()), s.stream, s.buffer[:n])
		s.writer.write(s.text, n)
	}
}

// answer reads all that is in the pipe now, for who asked for it. If nobody did,
// somebody wants the copy to end.
func (s *source) answer() error {
	var asked chan<- struct{}
	select {
	case asked = <-s.ask:
	default:
		return os.ErrDeadlineExceeded
	}
	defer close(asked)
	if err := s.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	conn, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var n int
		var readErr error
		err := conn.Read(func(fd uintptr) bool {
			n, readErr = unix.Read(int(fd), s.buffer)
			return true
		})
		switch {
		case err != nil:
			return err
		case errors.Is(readErr, unix.EAGAIN):
			return nil
		case errors.Is(readErr, unix.EINTR):
		case readErr != nil:
			return readErr
		case n == 0:
			return io.EOF
		}
		s.append(n)
	}
}

// answer writes a mark for everyone who asks, after what the streams had then.
func (w *Writer) answer() {
	tokens := bufio.NewScanner(w.ask)
	for tokens.Scan() {
		w.mu.Lock()
		sources := make([]*source, 0, len(w.sources))
		for s := range w.sources {
			sources = append(sources, s)
		}
		w.mu.Unlock()
		for _, s := range sources {
			s.flush()
		}
		w.write(appendRecord(nil, stamp(time.Now()), mark, tagFull, []byte(strings.TrimSpace(tokens.Text()))), 0)
	}
}

// flush returns when all that is in the pipe now was logged.
func (s *source) flush() {
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
