package containerd

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// attachable is the task "web" with a terminal, an input and a log.
type attachable struct {
	*daemon
	s      *DefaultService
	dir    string
	output *os.File // the task writes to it
	stdin  *os.File // the task reads from it
}

func newAttachable(t *testing.T) *attachable {
	t.Helper()
	d := newDaemon(t)
	a := &attachable{daemon: d, s: d.service(), dir: t.TempDir()}
	a.log(logfile.Config{Dir: a.dir})
	name, err := logfile.MakeInput(a.dir)
	require.NoError(t, err)
	a.stdin, err = os.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.stdin.Close()) })
	d.change("web", func(p *taskState) { p.Stdin, p.Terminal = name, true })
	return a
}

// log gives the task a logger.
func (a *attachable) log(config logfile.Config) {
	t := a.t
	t.Helper()
	w, err := logfile.Create(config)
	require.NoError(t, err)
	from, to, err := os.Pipe()
	require.NoError(t, err)
	logged := async(func() error { return errors.Join(w.Add(logfile.Stdout, from).Copy(), w.Close()) })
	t.Cleanup(func() {
		assert.NoError(t, ignoreClosed(to.Close()))
		assert.NoError(t, errors.Join(received(t, logged), from.Close()))
	})
	address, err := logfile.Address("/logger", config)
	require.NoError(t, err)
	a.output = to
	a.change("web", func(p *taskState) { p.Stdout, p.Stderr = address, address })
}

func (a *attachable) attach(req AttachTaskRequest) Attachment {
	a.t.Helper()
	attached, err := a.s.AttachTask(a.t.Context(), "web", req)
	require.NoError(a.t, err)
	return attached
}

func (a *attachable) writes(text string) {
	a.t.Helper()
	_, err := a.output.WriteString(text)
	require.NoError(a.t, err)
}

func (a *attachable) ends() { a.change("web", func(p *taskState) { p.end(0) }) }

// wantTyped checks what comes next at the task's input.
func (a *attachable) wantTyped(want string) {
	a.t.Helper()
	require.NoError(a.t, a.stdin.SetReadDeadline(time.Now().Add(patience)))
	got := make([]byte, len(want))
	_, err := io.ReadFull(a.stdin, got)
	require.NoError(a.t, err, "want %q, got %q", want, got)
	assert.Equal(a.t, want, string(got))
}

func TestOnlyARunningTaskIsAttachedTo(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for id, class := range map[string]func(error) bool{"idle": isNotRunning, "done": isNotRunning, "absent": errdefs.IsNotFound} {
		_, err := s.AttachTask(t.Context(), id, AttachTaskRequest{})
		assertError(t, err, "attach task", class, id)
	}
}

func isNotRunning(err error) bool {
	return errors.Is(err, ErrNotRunning) && errdefs.IsFailedPrecondition(err) && !errdefs.IsNotFound(err)
}

func TestAServiceThatIsBeingClosedAttachesToNothing(t *testing.T) {
	a := newAttachable(t)
	var closed <-chan error
	a.once("Tasks/Get", func(context.Context) error {
		closed = async(a.s.Close)
		<-a.s.closed
		return nil
	})
	attached, err := a.s.AttachTask(t.Context(), "web", AttachTaskRequest{})
	if err == nil { // it was told a moment later
		err = attached.Wait(t.Context())
	}
	require.ErrorIs(t, err, errServiceClosed)
	require.NoError(t, received(t, closed))
}
