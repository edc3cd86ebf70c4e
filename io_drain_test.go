package containerd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowWriter waits for a turn before it takes anything.
type slowWriter struct {
	turns chan struct{}
	bytes.Buffer
}

func newSlowWriter() *slowWriter { return &slowWriter{turns: make(chan struct{})} }

func (w *slowWriter) Write(p []byte) (int, error) {
	<-w.turns
	return w.Buffer.Write(p)
}

// startTo starts the task "idle", whose output goes to w.
func startTo(t *testing.T, s *DefaultService, w io.Writer) (st *streams, stdout *os.File) {
	t.Helper()
	_, err := s.LaunchTask(t.Context(), "idle", LaunchTaskRequest{IO: StreamIO{Stdout: w, FIFODir: t.TempDir()}})
	require.NoError(t, err)
	st = attachedStreams(t, s)
	stdout, err = os.OpenFile(st.Config().Stdout, os.O_WRONLY, 0)
	require.NoError(t, err)
	return st, stdout
}

// Nobody holds the output open: it is only the writer that takes its time.
func TestATasksSlowWriterGetsEverything(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	w := newSlowWriter()
	st, stdout := startTo(t, s, w)
	text := strings.Repeat("x", 60_000)
	for range 2 {
		_, err := stdout.WriteString(text)
		require.NoError(t, err)
		require.Eventually(t, st.heldUp, patience, time.Millisecond)
	}
	require.NoError(t, stdout.Close())
	d.change("idle", func(p *taskState) { p.end(0) })
	for range 3 {
		clock.pass(t, drainLimit)
	}
	clock.await(t, drainLimit)
	assertAttached(t, st, "the writer is slow")
	close(w.turns)
	assertReleased(t, st, "everything was written")
	assert.Equal(t, len(text)*2, w.Len())
}

func TestDeleteTaskWaitsForASlowWriter(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	w := newSlowWriter()
	st, stdout := startTo(t, s, w)
	_, err := stdout.WriteString("last words")
	require.NoError(t, errors.Join(err, stdout.Close()))
	require.Eventually(t, st.heldUp, patience, time.Millisecond)
	d.change("idle", func(p *taskState) { p.end(0) })

	deleted := async(func() error { return s.DeleteTask(t.Context(), "idle", nil) })
	clock.pass(t, drainLimit)
	clock.await(t, drainLimit)
	assertWaiting(t, deleted, "the writer is slow")
	d.assertStatus("idle", int32(stopped), "what the shim still has is not given up")
	unlock, err := idLocks.lock(t.Context(), s.lockKey("idle"))
	require.NoError(t, err, "nobody waits for a writer while others wait for the container")
	unlock()
	close(w.turns)
	require.NoError(t, received(t, deleted))
	d.assertStatus("idle", -1, "deleted")
	assert.Equal(t, "last words", w.String())
	assertReleased(t, st, "deleted")
}

// A task whose output is not written yet is not deleted.
func TestDeleteTaskDoesNotCutWhatAWriterHasNotTaken(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	w := newSlowWriter()
	st, stdout := startTo(t, s, w)
	_, err := stdout.WriteString("last words")
	require.NoError(t, errors.Join(err, stdout.Close()))
	require.Eventually(t, st.heldUp, patience, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = s.DeleteTask(ctx, "idle", forced())
	assertError(t, err, "delete task", func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }, "out of time")
	assertAttached(t, st, "the writer is slow")
	d.assertStatus("idle", int32(stopped), "a retry deletes it")
	close(w.turns)
	require.NoError(t, s.DeleteTask(t.Context(), "idle", nil))
	assert.Equal(t, "last words", w.String())
}

// Closing the service is the way out for who has a writer that never returns.
func TestAStuckWriterEndsWithTheService(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	w := newSlowWriter()
	st, stdout := startTo(t, s, w)
	defer close(w.turns)
	_, err := stdout.WriteString("last words")
	require.NoError(t, errors.Join(err, stdout.Close()))
	require.Eventually(t, st.heldUp, patience, time.Millisecond)
	gets := d.arrivals("Tasks/Get")
	deleted := async(func() error { return s.DeleteTask(t.Context(), "idle", forced()) })
	received(t, gets)
	require.Eventually(t, func() bool { return d.count("Tasks/Kill") == 1 }, patience, time.Millisecond)
	require.NoError(t, s.Close())
	received(t, st.done)
	assertError(t, received(t, deleted), "delete task", errdefs.IsFailedPrecondition, "closed")
}

// What a child writes without end is not the process's.
func TestDrainOfOutputThatASlowWriterNeverGetsThrough(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	s.clock = quickClock{}
	w := newSlowWriter()
	close(w.turns)
	st, stdout := startTo(t, s, w)
	wrote := async(func() error {
		for {
			if _, err := stdout.Write(make([]byte, copyBuffer)); err != nil {
				return stdout.Close() // cut off
			}
		}
	})
	d.change("idle", func(p *taskState) { p.end(0) })
	assertReleased(t, st, "all that was the task's was read")
	require.NoError(t, received(t, wrote))
}

func TestExecTaskWaitsForASlowWriter(t *testing.T) {
	// Given a process whose output is more than what this process's stdout takes,
	begin := func(ctx context.Context, t *testing.T) (d *daemon, s *DefaultService, clock *fakeClock, done <-chan error, stdout *os.File) {
		t.Helper()
		d = newDaemon(t)
		d.change("web", func(p *taskState) { p.code = runsOn })
		s = d.service()
		clock = stopClock(s)
		input, _ := standIn(t)
		r, w, err := os.Pipe()
		require.NoError(t, err)
		os.Stdout = w // standIn puts it back
		t.Cleanup(func() {
			assert.NoError(t, errors.Join(ignoreClosed(r.Close()), ignoreClosed(w.Close()), input.Close()))
		})
		started := d.arrivals("Tasks/Start")
		done = async(func() error {
			_, err := s.ExecTask(ctx, "web", ExecTaskRequest{Args: []string{"x"}, UseStdio: true})
			return err
		})
		received(t, started)
		st := attachedStreams(t, s)
		stdin, out, errs := shimEnds(t, st)
		for range 2 {
			_, err = out.Write(make([]byte, 60_000))
			require.NoError(t, err)
		}
		require.NoError(t, errors.Join(stdin.Close(), out.Close(), errs.Close()))
		require.Eventually(t, st.heldUp, patience, time.Millisecond)
		received(t, st.started)
		d.endExecs(0)
		clock.pass(t, drainLimit)
		clock.await(t, drainLimit)
		assertWaiting(t, done, "nobody has taken the output yet")
		return d, s, clock, done, r
	}
	t.Run("which gets everything", func(t *testing.T) {
		d, _, _, done, stdout := begin(t.Context(), t)
		_, err := io.ReadFull(stdout, make([]byte, 120_000))
		require.NoError(t, err)
		require.NoError(t, received(t, done))
		assert.Zero(t, d.execs(), "removed")
	})
	t.Run("until the context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d, s, clock, done, _ := begin(ctx, t)
		cancel()
		clock.run()
		require.ErrorIs(t, received(t, done), context.Canceled, "the output was cut off")
		require.NoError(t, s.Close())
		assert.Zero(t, d.execs(), "removed")
	})
	t.Run("or the service is closed", func(t *testing.T) {
		d, s, clock, done, _ := begin(t.Context(), t)
		closed := async(s.Close)
		received(t, s.closed)
		clock.run()
		assertError(t, received(t, done), "exec task", errdefs.IsFailedPrecondition, "the output was cut off")
		require.NoError(t, received(t, closed))
		assert.Zero(t, d.execs(), "removed")
	})
}
