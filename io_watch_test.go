package containerd

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
)

// attachedStreams returns the only streams of the service.
func attachedStreams(t *testing.T, s *DefaultService) *streams {
	t.Helper()
	var found *streams
	attachments.Range(func(_, value any) bool {
		if st := value.(*streams); st.service == s {
			found = st
		}
		return found == nil
	})
	require.NotNil(t, found, "attached streams")
	return found
}

// shim holds the ends of a task's streams that a shim has.
type shim struct {
	st                    *streams
	stdin, stdout, stderr *os.File
}

func (sh *shim) close(t *testing.T) {
	t.Helper()
	require.NoError(t, errors.Join(sh.stdin.Close(), sh.stdout.Close(), sh.stderr.Close()))
}

// startAttached starts the task "idle" on this process's streams, and returns
// the shim's ends and what the task has written.
func startAttached(t *testing.T, s *DefaultService) (sh *shim, output func() string) {
	t.Helper()
	input, output := standIn(t)
	t.Cleanup(func() { assert.NoError(t, input.Close()) })
	opts := &StartTaskOptions{UseStdio: true, FIFODir: t.TempDir()}
	require.NoError(t, start(t, s, "idle", opts))
	sh = &shim{st: attachedStreams(t, s)}
	sh.stdin, sh.stdout, sh.stderr = shimEnds(t, sh.st)
	return sh, output
}

func assertReleased(t *testing.T, st *streams, why string) {
	t.Helper()
	received(t, st.done)
	received(t, st.idle)
	assert.NoDirExists(t, st.dir, why)
}

func assertAttached(t *testing.T, st *streams, why string) {
	t.Helper()
	select {
	case <-st.done:
		assert.Fail(t, "the streams were released", why)
	default:
		assert.DirExists(t, st.dir, why)
	}
}

func TestStreamsOfATaskEndWithIt(t *testing.T) {
	d := newDaemon(t)
	sh, output := startAttached(t, d.service())
	assertAttached(t, sh.st, "the task runs")
	_, err := sh.stdout.WriteString("last words")
	require.NoError(t, err)
	d.change("idle", func(p *taskState) { p.end(0) })
	sh.close(t)
	assertReleased(t, sh.st, "the task has ended")
	assert.Equal(t, "last words", output())
}

func TestStreamsOfATaskThatEndsAreReadForTwoSeconds(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	sh, _ := startAttached(t, s) // a child of the task holds the shim's ends
	d.change("idle", func(p *taskState) { p.end(0) })
	clock.await(t, drainLimit)
	assertAttached(t, sh.st, "the output may end")
	clock.advance(drainLimit)
	assertReleased(t, sh.st, "the time is up")
	sh.close(t)
}

func TestStreamsOfATaskEndWhenTheServiceIsClosed(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	stopClock(s)
	sh, _ := startAttached(t, s)
	require.NoError(t, s.Close())
	assertReleased(t, sh.st, "closed, although the task writes on")
	d.assertStatus("idle", int32(running), "the task is not touched")
	_, err := sh.stdout.WriteString("x")
	require.Error(t, err, "there is no reader")
	sh.close(t)
}

func TestStreamsOfATaskThatIsStartedWhileTheServiceIsClosed(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.on("Tasks/Start", func(context.Context) error { return s.Close() })
	opts := attachedTo(t)
	require.NoError(t, start(t, s, "idle", opts))
	d.assertStatus("idle", int32(running), "started")
	assertNoFIFOs(t, opts)
}

// While nobody can tell whether the task runs, its output does.
func TestStreamsOfATaskWhoseWaitFailsEndWithItsOutput(t *testing.T) {
	fail := func(t *testing.T) (*daemon, *DefaultService, *shim) {
		t.Helper()
		d := newDaemon(t)
		s := d.service()
		s.clock = quickClock{}
		d.fail("Tasks/Wait", errdefs.ErrPermissionDenied)
		sh, _ := startAttached(t, s)
		require.Eventually(t, func() bool { return d.count("Tasks/Wait") == waitFailures }, patience, waitPause)
		assertAttached(t, sh.st, "the task may write on")
		return d, s, sh
	}
	t.Run("when that ends", func(t *testing.T) {
		_, _, sh := fail(t)
		sh.close(t)
		assertReleased(t, sh.st, "the output has ended")
	})
	t.Run("or when the service is closed", func(t *testing.T) {
		_, s, sh := fail(t)
		require.NoError(t, s.Close())
		assertReleased(t, sh.st, "closed")
		sh.close(t)
	})
	t.Run("or when the task is deleted", func(t *testing.T) {
		d, s, sh := fail(t)
		d.change("idle", func(p *taskState) { p.end(0) })
		require.NoError(t, s.DeleteTask(t.Context(), "idle", nil))
		assertReleased(t, sh.st, "deleted")
		sh.close(t)
	})
}

func TestStreamsOfATaskEndWhenItIsDeleted(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	sh, output := startAttached(t, s)
	_, err := sh.stderr.WriteString("last words")
	require.NoError(t, err)
	sh.close(t)
	require.NoError(t, s.DeleteTask(t.Context(), "idle", forced()))
	assertReleased(t, sh.st, "deleted")
	assert.Equal(t, "last words", output(), "drained first")
}

func TestDeleteTaskRemovesTheFIFOsOfAnotherProcess(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	base := t.TempDir()
	dir := leftDir(t, s, base)
	d.change("done", func(p *taskState) { p.Stdout = dir + "/stdout" })
	require.NoError(t, s.DeleteTask(t.Context(), "done", nil))
	assert.NoDirExists(t, dir)
	assert.DirExists(t, base)
}

func TestDeleteTaskThatCanNotRemoveTheFIFOsSaysSo(t *testing.T) {
	dir := leftDir(t, daemonless(), t.TempDir())
	require.NoError(t, os.WriteFile(dir+"/theirs", nil, 0o600))
	err := endStreams(&tasktypes.Process{Stdout: dir + "/stdout"})
	assert.ErrorContains(t, err, dir)
}

func TestWaitingForStreamsEndsWithTheOutput(t *testing.T) {
	d := newDaemon(t)
	sh, _ := startAttached(t, d.service())
	waited := async(func() error { sh.st.Wait(); return nil })
	sh.st.Cancel()
	assertWaiting(t, waited, "the task writes on")
	sh.close(t)
	require.NoError(t, received(t, waited))
	require.NoError(t, sh.st.Close())
}

func TestWaitingForStreamsEndsWhenTheyAreReleased(t *testing.T) {
	d := newDaemon(t)
	sh, _ := startAttached(t, d.service())
	require.NoError(t, sh.st.Close())
	sh.st.Wait()
	sh.close(t)
}

// openFor makes streams whose shim is the test.
func openFor(t *testing.T, d *daemon, terminal bool) (input *os.File, st *streams) {
	t.Helper()
	s := d.service()
	input, _ = standIn(t)
	st, err := s.openStreams(s.scope().context(t.Context()), ownStdio(terminal, t.TempDir()), "web", "")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, st.Close()) })
	return input, st
}

func TestEndOfInputAtATerminalIsTyped(t *testing.T) {
	d := newDaemon(t)
	input, st := openFor(t, d, true)
	stdin, err := os.OpenFile(st.Config().Stdin, os.O_RDONLY, 0)
	require.NoError(t, err)
	st.begin()
	_, err = input.WriteString("line")
	require.NoError(t, errors.Join(err, input.Close()))
	got := make([]byte, len("line"+endOfTransmission))
	_, err = io.ReadFull(stdin, got)
	require.NoError(t, err)
	assert.Equal(t, "line"+endOfTransmission, string(got))
	assert.Empty(t, d.Calls(), "closing the shim's end would hang the terminal up")
	require.NoError(t, stdin.Close())
}

func TestEndOfInputIsPassedOnAlsoWhenTheDaemonIsAway(t *testing.T) {
	d := newDaemon(t)
	closed := make(chan *tasksapi.CloseIORequest, 1)
	d.Tasks.EXPECT().CloseIO(mock.Anything, mock.Anything).
		RunAndReturn(func(_ context.Context, r *tasksapi.CloseIORequest) (*emptypb.Empty, error) {
			closed <- r
			return &emptypb.Empty{}, nil
		}).Once()
	away := make(chan struct{}, 100)
	d.on("Tasks/CloseIO", func(context.Context) error {
		away <- struct{}{}
		return errdefs.ErrUnavailable
	})
	input, st := openFor(t, d, false)
	stdin, err := os.OpenFile(st.Config().Stdin, os.O_RDONLY, 0)
	require.NoError(t, err)
	require.NoError(t, input.Close())
	st.begin()
	received(t, away)
	received(t, away)
	d.heal()
	assert.True(t, received(t, closed).GetStdin())
	require.NoError(t, stdin.Close())
}

func TestEndOfInputIsNotRepeatedForAProcessThatIsGone(t *testing.T) {
	d := newDaemon(t)
	asked := make(chan struct{}, 100)
	d.on("Tasks/CloseIO", func(context.Context) error {
		asked <- struct{}{}
		return errdefs.ErrNotFound
	})
	input, st := openFor(t, d, false)
	require.NoError(t, input.Close())
	st.begin()
	received(t, asked)
	require.NoError(t, st.Close())
	received(t, st.idle)
	assert.Equal(t, 1, d.count("Tasks/CloseIO"))
}

func TestEndOfInputIsGivenUpWhenTheStreamsAreReleased(t *testing.T) {
	t.Run("before the process was started", func(t *testing.T) {
		d := newDaemon(t)
		input, st := openFor(t, d, false)
		require.NoError(t, input.Close())
		require.NoError(t, st.Close())
		received(t, st.idle)
		assert.Empty(t, d.Calls())
	})
	t.Run("while the daemon is away", func(t *testing.T) {
		d := newDaemon(t)
		away := make(chan struct{}, 100)
		d.on("Tasks/CloseIO", func(context.Context) error {
			away <- struct{}{}
			return errdefs.ErrUnavailable
		})
		input, st := openFor(t, d, false)
		require.NoError(t, input.Close())
		st.begin()
		received(t, away)
		require.NoError(t, st.Close())
		received(t, st.idle)
	})
	t.Run("because the process has ended", func(t *testing.T) {
		d := newDaemon(t)
		input, st := openFor(t, d, true)
		stdin, err := os.OpenFile(st.Config().Stdin, os.O_RDONLY, 0)
		require.NoError(t, err)
		require.NoError(t, stdin.Close())
		st.begin()
		require.NoError(t, input.Close())
		require.NoError(t, st.Close())
		received(t, st.idle)
		assert.Empty(t, d.Calls())
	})
}

func TestClosedInputIsAtItsEnd(t *testing.T) {
	file, other, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, errors.Join(file.Close(), other.Close()))
	r, err := newStdinReader(file)
	require.NoError(t, err)
	_, err = r.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, errors.Join(r.stop(), r.release()))
}
