package logfile

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience bounds what must not hang.
const patience = 10 * time.Second

// piped begins a log whose stdout is a pipe, and returns the pipe's other end
// and what ends the log.
func piped(t *testing.T, config Config) (w *Writer, to *os.File, end func()) {
	t.Helper()
	w, err := Create(config)
	require.NoError(t, err)
	from, to, err := os.Pipe()
	require.NoError(t, err)
	source, copied := w.Add(Stdout, from), make(chan error, 1)
	go func() { copied <- source.Copy() }()
	return w, to, func() {
		t.Helper()
		assert.NoError(t, to.Close())
		assert.NoError(t, errors.Join(<-copied, w.Close(), from.Close()))
	}
}

// flood writes lines as fast as it can, until stop is called.
func flood(t *testing.T, to *os.File) (stop func()) {
	t.Helper()
	stopped, done := make(chan struct{}), make(chan error, 1)
	go func() {
		lines := bytes.Repeat([]byte("y\n"), 4<<10)
		for {
			select {
			case <-stopped:
				done <- nil
				return
			default:
			}
			if _, err := to.Write(lines); err != nil {
				done <- err
				return
			}
		}
	}()
	return func() {
		t.Helper()
		close(stopped)
		assert.NoError(t, <-done)
	}
}

func TestALogOfAWriterThatNeverPausesOpens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	_, to, end := piped(t, Config{Dir: dir, MaxSize: 1 << 20})
	stop := flood(t, to)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, tail := range []int{-1, 1} {
		l, err := Open(ctx, dir, ReadOptions{Tail: tail, Follow: tail < 0})
		require.NoError(t, err, "Tail %d", tail)
		require.NoError(t, l.Close())
	}
	stop()
	end()
}

func TestReadingLeavesNoTrace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	_, to, end := piped(t, Config{Dir: dir, MaxSize: 4096, MaxFiles: 2})
	_, err := to.WriteString("the only line\n")
	require.NoError(t, err)
	for range 200 {
		assert.Equal(t, []string{`stdout "the only line\n"`}, read(t, dir, ReadOptions{Tail: 1}))
	}
	file, err := os.ReadFile(fileName(dir, 1))
	require.NoError(t, err)
	assert.Equal(t, 1, bytes.Count(file, []byte{'\n'}), "records")
	end()
}

func TestALogOnAFullDiskIsRead(t *testing.T) {
	// Given a log on a disk that is full from its second line on,
	dir := filepath.Join(t.TempDir(), "log")
	w, to, end := piped(t, Config{Dir: dir})
	_, err := to.WriteString("fits\n")
	require.NoError(t, err)
	require.Equal(t, []string{`stdout "fits\n"`}, read(t, dir, ReadOptions{}))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	w.mu.Lock()
	good := w.file
	w.file = full
	w.mu.Unlock()
	_, err = to.WriteString("does not\n")
	require.NoError(t, err)

	// when it is read, and followed to the end of its task,
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, opts := range []ReadOptions{{}, {Follow: true, Ended: closed}} {
		var got []string
		for e, err := range entries(ctx, dir, opts) {
			require.NoError(t, err)
			got = append(got, string(e.Data))
		}
		assert.Equal(t, []string{"fits\n"}, got, "it has what there is")
	}
	w.mu.Lock()
	w.file = good
	w.mu.Unlock()
	end()
	require.NoError(t, full.Close())
}

func TestAReadingEndsWhereTheLogDidWhenItBegan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	_, to, end := piped(t, Config{Dir: dir, MaxSize: 1 << 20, MaxFiles: 1 << 20})
	stop := flood(t, to)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, tail := range []int{0, 1, 100} {
		l, err := Open(ctx, dir, ReadOptions{Tail: tail})
		require.NoError(t, err)
		lines := 0
		for e, err := range l.All(ctx) { // slower than the task
			require.NoError(t, err)
			if e.Stream == Stdout && !e.Partial {
				lines++
			}
			if lines%1000 == 0 {
				_, err := ask(ctx, dir) // takes time
				require.NoError(t, err)
			}
		}
		if tail > 0 {
			assert.InDelta(t, tail, lines, 1, "the last one may have no end yet")
		}
	}
	stop()
	end()
}

func TestAReaderDoesNotPutOffTheLogsEnd(t *testing.T) {
	w, err := Create(Config{Dir: filepath.Join(t.TempDir(), "log")})
	require.NoError(t, err)
	from, to, err := os.Pipe()
	require.NoError(t, err)
	source, copied := w.Add(Stdout, from), make(chan error, 1)
	go func() { copied <- source.Copy() }()
	_, err = to.WriteString("line\n")
	require.NoError(t, err)
	require.NoError(t, source.EndAt(time.Now().Add(50*time.Millisecond)))
	assert.Equal(t, []string{`stdout "line\n"`}, read(t, w.config.Dir, ReadOptions{}))
	select {
	case err := <-copied:
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	case <-time.After(patience):
		t.Fatal("the copy goes on")
	}
	require.NoError(t, errors.Join(to.Close(), from.Close(), w.Close()))
}

func TestALoggerThatDoesNotAnswer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	written := func() []string { return read(t, dir, ReadOptions{}) }
	_, to, end := piped(t, Config{Dir: dir})
	_, err := to.WriteString("line\n")
	require.NoError(t, err)
	assert.Equal(t, []string{`stdout "line\n"`}, written())
	end()

	l, err := listen(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Open(ctx, dir, ReadOptions{})
	require.ErrorIs(t, err, context.Canceled)
	answers := make(chan string, 1)
	served := make(chan error, 1)
	go func() {
		for text := range answers {
			conn, err := l.Accept()
			if err == nil {
				_, err = conn.Write([]byte(text))
				err = errors.Join(err, conn.Close())
			}
			served <- err
		}
	}()
	answers <- ""
	assert.Equal(t, []string{`stdout "line\n"`}, written(), "it has just ended")
	require.NoError(t, <-served)
	answers <- "nonsense\n"
	_, err = Open(t.Context(), dir, ReadOptions{})
	require.ErrorContains(t, err, "nonsense")
	require.NoError(t, <-served)
	close(answers)

	require.NoError(t, l.Close())
	assert.Equal(t, []string{`stdout "line\n"`}, written(), "what it left refuses")
	require.NoError(t, os.Remove(filepath.Join(dir, askName)))
	assert.Equal(t, []string{`stdout "line\n"`}, written(), "it has left nothing")

	address, release, err := askAddress(dir)
	require.NoError(t, err)
	other, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	require.NoError(t, errors.Join(err, release()))
	_, err = Open(t.Context(), dir, ReadOptions{})
	require.Error(t, err, "not every error is that of a logger that has ended")
	require.NoError(t, other.Close())
}

// closed is what has ended already.
var closed = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()
