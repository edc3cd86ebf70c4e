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

// Source is a stream that is to be logged.
type Source struct {
	writer *Writer
	stream Stream
	file   *os.File
	ask    chan chan<- struct{} // from who wants all that is in the stream now
	ended  chan struct{}
	buffer []byte
	text   []byte
}

// Add makes a pipe one that the log is about: from now on, who opens the log
// waits for what is in it. The caller copies it.
func (w *Writer) Add(stream Stream, pipe *os.File) *Source {
	s := &Source{
		writer: w, stream: stream, file: pipe,
		ask: make(chan chan<- struct{}, 1), ended: make(chan struct{}), buffer: make([]byte, readSize),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sources[s] = struct{}{}
	return s
}

// Copy appends what it reads from the pipe until its end, or until the pipe's
// read deadline is set. What can't be written, on a full disk, is counted and
// reported in the log when there is room again: a logger that gave up would end
// the container.
func (s *Source) Copy() error {
	defer func() {
		s.writer.mu.Lock()
		defer s.writer.mu.Unlock()
		delete(s.writer.sources, s)
		close(s.ended)
	}()
	for {
		n, err := s.file.Read(s.buffer)
		s.append(n)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = s.answer()
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading %s: %w", s.stream, err)
		}
	}
}

// append logs the first n bytes of the buffer.
func (s *Source) append(n int) {
	if n > 0 {
		s.text = split(s.text[:0], stamp(time.Now()), s.stream, s.buffer[:n])
		s.writer.write(s.text, n)
	}
}

// answer reads all that is in the pipe now, for who asked for it. If nobody did,
// somebody wants the copy to end.
func (s *Source) answer() error {
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
		token := strings.TrimSpace(tokens.Text())
		if w.config.Terminal && strings.HasPrefix(token, endPrefix) {
			continue // the log's end will be the answer
		}
		w.mu.Lock()
		sources := make([]*Source, 0, len(w.sources))
		for s := range w.sources {
			sources = append(sources, s)
		}
		w.mu.Unlock()
		for _, s := range sources {
			s.flush()
		}
		w.write(appendRecord(nil, stamp(time.Now()), mark, tagFull, []byte(token)), 0)
	}
}

// flush returns when all that is in the pipe now was logged.
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
