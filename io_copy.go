package containerd

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// copyBuffer is how much of a stream is moved at once.
const copyBuffer = 64 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// outflow copies one output stream to a writer.
type outflow struct {
	writer io.Writer
	now    func() time.Time
	read   atomic.Int64 // how much was read
	err    error        // the writer's

	mu    sync.Mutex
	since time.Time     // when the writer was called that has not returned yet, else zero
	spent time.Duration // in writers that have returned

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
		o.read.Add(int64(n))
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
	defer o.enter()()
	n, err := o.writer.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// enter notes that the writer is called, and returns what notes its return.
func (o *outflow) enter() (leave func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = o.now()
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.spent += o.now().Sub(o.since)
		o.since = time.Time{}
	}
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
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.since.IsZero() && !o.unread()
}

// held returns for how long the writer has kept the stream from being read, until
// now; 0 if it may not do so.
func (o *outflow) held(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.unread():
		return 0
	case o.since.IsZero():
		return o.spent
	}
	return o.spent + now.Sub(o.since)
}

// unread says whether the writer is one that has lost its reader.
func (o *outflow) unread() bool {
	w, ok := o.writer.(endingWriter)
	return ok && w.givenUp()
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
