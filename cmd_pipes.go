package containerd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// inputPipe is the reading end of a command's StdinPipe.
type inputPipe struct{ *io.PipeReader }

var _ stoppable = (*inputPipe)(nil)

// Read tells the end of the reading, which is no failure, from an error.
func (p *inputPipe) Read(b []byte) (int, error) {
	n, err := p.PipeReader.Read(b)
	if errors.Is(err, io.ErrClosedPipe) {
		err = errStopped // only stopReading closes this end
	}
	return n, err
}

// stopReading makes writes to the pipe fail, as to a pipe without a reader.
func (p *inputPipe) stopReading() error { return p.CloseWithError(io.ErrClosedPipe) }

// outputPipe is the writing end of a command's StdoutPipe or StderrPipe.
type outputPipe struct {
	*io.PipeWriter
	abandoned atomic.Bool
}

var _ endingWriter = (*outputPipe)(nil)

// Write discards what has no reader any more: a program that reads only the
// beginning has not failed.
func (p *outputPipe) Write(b []byte) (int, error) {
	n, err := p.PipeWriter.Write(b)
	if errors.Is(err, io.ErrClosedPipe) {
		return len(b), nil
	}
	return n, err
}

// streamEnded lets the reader see the end.
func (p *outputPipe) streamEnded() {
	if err := p.Close(); err != nil {
		return // it returns nil
	}
}

// giveUp says that nobody may read the pipe any more.
func (p *outputPipe) giveUp() { p.abandoned.Store(true) }

func (p *outputPipe) givenUp() bool { return p.abandoned.Load() }

// tailSize is how much of the beginning, and how much of the end of an error
// stream is kept.
const tailSize = 32 << 10

// tailBuffer keeps the beginning and the end of what is written to it. It may be
// read while it is written to.
type tailBuffer struct {
	mu      sync.Mutex
	head    []byte
	ring    []byte
	next    int   // where the ring's oldest byte is, once it is full
	skipped int64 // bytes that are in neither
}

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(p)
	p = fill(&b.head, p)
	if over := len(p) - tailSize; over > 0 {
		b.skipped += int64(over)
		p = p[over:]
	}
	p = fill(&b.ring, p)
	for len(p) > 0 {
		copied := copy(b.ring[b.next:], p)
		b.skipped += int64(copied)
		b.next = (b.next + copied) % tailSize
		p = p[copied:]
	}
	return n, nil
}

// fill appends what fits of p, and returns the rest.
func fill(dst *[]byte, p []byte) []byte {
	n := min(len(p), tailSize-len(*dst))
	*dst = append(*dst, p[:n]...)
	return p[n:]
}

// Bytes returns what was kept, and says how much is missing.
func (b *tailBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	var text bytes.Buffer
	text.Write(b.head)
	if b.skipped > 0 {
		fmt.Fprintf(&text, "\n... omitting %d bytes ...\n", b.skipped) //nolint:errcheck // a buffer takes everything
	}
	text.Write(b.ring[b.next:])
	text.Write(b.ring[:b.next])
	return text.Bytes()
}
