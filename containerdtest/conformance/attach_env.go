package conformance

import (
	"errors"
	"io"
	"os"

	"github.com/ctrdkit/containerd"
)

// gatedBuffer takes what is written when it is open.
type gatedBuffer struct {
	lockedBuffer
	open chan struct{}
}

func (g *gatedBuffer) Write(p []byte) (int, error) {
	<-g.open
	return g.lockedBuffer.Write(p)
}

// attachWhenFree attaches with an input, which another attachment is about to
// let go.
func (e *env) attachWhenFree(id string, stdin io.Reader) {
	e.Helper()
	e.until(func() bool {
		_, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: stdin})
		if errors.Is(err, containerd.ErrInputTaken) {
			return false
		}
		e.ok(err)
		return true
	})
}

// pipe returns the ends of a pipe, which are closed when the case is over.
func (e *env) pipe() (r, w *os.File) {
	e.Helper()
	r, w, err := os.Pipe()
	e.ok(err)
	e.Cleanup(func() {
		if err := errors.Join(r.Close(), w.Close()); err != nil {
			e.Errorf("closing a pipe: %v", err)
		}
	})
	return r, w
}

func (e *env) typed(to io.Writer, text string) {
	e.Helper()
	_, err := io.WriteString(to, text)
	e.ok(err)
}
