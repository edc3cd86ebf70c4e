package logfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
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

	mu  sync.Mutex // for the pipe's deadline
	due time.Time  // when the copy ends, zero if with the pipe
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

// Copy appends what it reads from the pipe until its end, or until the time that
// EndAt sets. What can't be written, on a full disk, is counted and
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

// EndAt has the copy end at a time, if the pipe does not end before.
func (s *Source) EndAt(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = t
	return s.file.SetReadDeadline(t)
}

// goOn lets the copy read again that flush has interrupted.
func (s *Source) goOn() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.SetReadDeadline(s.due)
}

// append logs the first n bytes of the buffer.
func (s *Source) append(n int) {
	if n > 0 {
		s.text = split(s.text[:0], stamp(time.Now()), s.stream, s.buffer[:n])
		s.writer.write(s.text, n)
	}
}
