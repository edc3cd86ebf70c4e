package containerd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// gate is a writer that takes what is written when it is open.
type gate struct {
	entered, open chan struct{}
	got           bytes.Buffer
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 1), open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	select {
	case g.entered <- struct{}{}:
	default: // only the first is waited for
	}
	<-g.open
	return g.got.Write(p)
}

func TestResizeOfAnAttachment(t *testing.T) {
	a := newAttachable(t)
	a.Tasks.EXPECT().ResizePty(mock.Anything, mock.Anything).
		RunAndReturn(func(_ context.Context, r *tasksapi.ResizePtyRequest) (*emptypb.Empty, error) {
			assert.Equal(t, []uint32{120, 40}, []uint32{r.GetWidth(), r.GetHeight()})
			return &emptypb.Empty{}, nil
		}).Once()
	on := a.attach(AttachTaskRequest{})
	for _, size := range [][2]uint32{{0, 0}, {80, 0}, {0, 24}, {1 << 31, 24}, {80, 1 << 16}} {
		assertError(t, on.Resize(t.Context(), size[0], size[1]), "resize terminal", errdefs.IsInvalidArgument, "%v", size)
	}
	require.NoError(t, on.Resize(t.Context(), 120, 40))

	a.change("web", func(p *taskState) { p.Terminal = false })
	off := a.attach(AttachTaskRequest{})
	assertError(t, off.Resize(t.Context(), 120, 40), "resize terminal", errdefs.IsFailedPrecondition, "there is no terminal")
	require.NoError(t, errors.Join(on.Detach(), off.Detach()))
}

func TestCloseWaitsForAWriteOfAnAttachment(t *testing.T) {
	a := newAttachable(t)
	clock := stopClock(a.s)
	out := newGate()
	attached := a.attach(AttachTaskRequest{Stdout: out})
	a.writes("x\n")
	received(t, out.entered)

	closed := async(a.s.Close)
	clock.await(t, attachmentGrace)
	assert.Empty(t, closed, "a write is under way")
	close(out.open)

	require.NoError(t, received(t, closed))
	err := attached.Wait(t.Context())
	assertError(t, err, "wait for attachment", errdefs.IsFailedPrecondition, "the service was closed")
	require.ErrorIs(t, err, errServiceClosed)
	assert.NotErrorIs(t, err, context.Canceled)
	assert.Equal(t, "x\n", out.got.String())
}

func TestCloseDoesNotWaitForAWriteForEver(t *testing.T) {
	a := newAttachable(t)
	clock := stopClock(a.s)
	out := newGate()
	attached := a.attach(AttachTaskRequest{Stdout: out})
	a.writes("x\n")
	received(t, out.entered)

	closed := async(a.s.Close)
	clock.await(t, attachmentGrace)
	clock.advance(attachmentGrace)

	require.NoError(t, received(t, closed))
	close(out.open)
	require.ErrorIs(t, attached.Wait(t.Context()), errServiceClosed)
}

func TestAnAttachmentThatLostBytesSaysSo(t *testing.T) {
	a := newAttachable(t)
	note := "2026-01-02T03:04:05.000000000Z lost F 42\n"
	file, err := os.OpenFile(filepath.Join(a.dir, "00000001.log"), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = file.WriteString(note)
	require.NoError(t, errors.Join(err, file.Close()))
	var out bytes.Buffer
	whole, detached := a.attach(AttachTaskRequest{}), a.attach(AttachTaskRequest{Tail: -1})
	attached := a.attach(AttachTaskRequest{Stdout: &out, Tail: -1})
	a.writes("after\n")
	require.NoError(t, detached.Detach())
	a.ends()

	err = attached.Wait(t.Context())
	assertError(t, err, "wait for attachment", errdefs.IsDataLoss, "42 bytes were lost")
	require.ErrorIs(t, err, ErrOutputLost)
	assert.Equal(t, "after\n", out.String(), "the rest is delivered")
	require.NoError(t, whole.Wait(t.Context()), "that was before it")
	require.ErrorIs(t, detached.Wait(t.Context()), context.Canceled)
}

func TestAnAttachmentEndsWithTheTaskNotWithItsOutput(t *testing.T) {
	a := newAttachable(t)
	in, typing, err := os.Pipe()
	require.NoError(t, err)
	attached := a.attach(AttachTaskRequest{Stdin: in})
	require.NoError(t, a.output.Close())
	ended := async(func() error { return attached.Wait(t.Context()) })
	select {
	case err := <-ended:
		require.Fail(t, "the task runs", "%v", err)
	case <-time.After(50 * time.Millisecond): // that nothing happens has no event
	}
	_, err = typing.WriteString("still there\n")
	require.NoError(t, err)
	a.wantTyped("still there\n")

	a.ends()
	require.NoError(t, received(t, ended))
	require.NoError(t, errors.Join(in.Close(), typing.Close()))
}

// Whether the task has ended can't be told: that is not success.
func TestAnAttachmentWhoseWaitFailsSaysSo(t *testing.T) {
	a := newAttachable(t)
	stopClock(a.s).run()
	a.fail("Tasks/Wait", errdefs.ErrInternal)
	attached := a.attach(AttachTaskRequest{})
	assertError(t, attached.Wait(t.Context()), "wait for attachment", errdefs.IsInternal, "the daemon can't wait")
}

func TestWaitForAnAttachmentEndsWithItsContext(t *testing.T) {
	a := newAttachable(t)
	attached := a.attach(AttachTaskRequest{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, attached.Wait(ctx), context.Canceled)
	a.ends()
	require.NoError(t, attached.Wait(t.Context()), "it has gone on")
	require.NoError(t, attached.Wait(ctx), "what is known is told")
}

// manyLines is more than a small log keeps.
var manyLines = strings.Repeat(strings.Repeat("x", 999)+"\n", 100) + "last\n"

// The log goes on, and loses its oldest files, while a writer blocks.
func TestAnAttachmentThatIsTooSlowForItsLogSaysSo(t *testing.T) {
	a := newAttachable(t)
	dir := t.TempDir()
	a.log(logfile.Config{Dir: dir, MaxSize: 4096, MaxFiles: 2})
	out := newGate()
	attached := a.attach(AttachTaskRequest{Stdout: out})
	a.writes("first\n")
	received(t, out.entered)
	a.writes(manyLines)
	written, err := logfile.Open(t.Context(), dir, logfile.ReadOptions{})
	require.NoError(t, errors.Join(err, written.Close()), "it is all in the log")
	close(out.open)
	a.ends()

	require.ErrorIs(t, attached.Wait(t.Context()), ErrOutputLost)
	assert.True(t, strings.HasPrefix(out.got.String(), "first\n"))
	assert.True(t, strings.HasSuffix(out.got.String(), "\nlast\n"), "the rest is delivered")
	assert.Less(t, out.got.Len(), len(manyLines))
}

func TestWhatTheLogNoLongerKeptIsNotLostByAnAttachment(t *testing.T) {
	a := newAttachable(t)
	a.log(logfile.Config{Dir: t.TempDir(), MaxSize: 4096, MaxFiles: 2})
	a.writes(manyLines)
	var out bytes.Buffer
	attached := a.attach(AttachTaskRequest{Stdout: &out, Tail: -1})
	a.ends()
	require.NoError(t, attached.Wait(t.Context()))
	assert.True(t, strings.HasSuffix(out.String(), "\nlast\n"))
	assert.Less(t, out.Len(), len(manyLines))
}
