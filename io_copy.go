package containerd

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// copyBuffer is how much of a stream is moved at once.
const copyBuffer = 64 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// outflow copies one output stream to a writer.
type outflow struct {
	writer io.Writer
	busy   atomic.Bool // the writer has not returned yet
	err    error       // the writer's

	turn  sync.Mutex  // held while the writer is used
	muted atomic.Bool // it is not used any more
}

// run reads until the stream ends or is closed. If the writer fails, it goes on
// reading, so that the process in the container does not block. The writer's
// other methods are not used: they would take a slower way around the buffer.
func (o *outflow) run(r io.Reader) {
	buffer := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, err := r.Read(buffer[:])
		if n > 0 && o.err == nil {
			o.err = o.write(buffer[:n])
		}
		if err != nil {
			if w, ok := o.writer.(endingWriter); ok && errors.Is(err, io.EOF) {
				w.streamEnded()
			}
			return
		}
	}
}

func (o *outflow) write(p []byte) error {
	o.turn.Lock()
	defer o.turn.Unlock()
	if o.muted.Load() {
		return nil
	}
	o.busy.Store(true)
	defer o.busy.Store(false)
	n, err := o.writer.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// mute lets the stream be read on, and discarded. The channel is closed when the
// writer is not used any more.
func (o *outflow) mute() <-chan struct{} {
	o.muted.Store(true)
	quiet := make(chan struct{})
	go func() {
		defer close(quiet)
		o.turn.Lock()
		defer o.turn.Unlock()
	}()
	return quiet
}

// heldUp says whether the writer keeps the stream from being read, and may do so.
func (o *outflow) heldUp() bool {
	if w, ok := o.writer.(endingWriter); ok && w.givenUp() {
		return false
	}
	return o.busy.Load()
}

// endingWriter is a writer of this package whose reader sees the stream's end at
// once, and may have lost its reader.
type endingWriter interface {
	io.Writer
	streamEnded()
	givenUp() bool
}

// lockedWriter is one writer for two streams.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// sameWriter says whether two writers are the same. Those of a type that can't
// be compared are not.
func sameWriter(a, b io.Writer) (same bool) {
	defer func() {
		if recover() != nil {
			same = false
		}
	}()
	return a == b
}
