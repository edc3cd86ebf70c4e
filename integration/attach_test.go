package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

// onATerminal are the two kinds of output that a logged task can have.
var onATerminal = map[string]bool{"of pipes": false, "of a terminal with an input": true}

// Given a task that writes all the time, whose client is killed; when several
// readers of another process attach at once; then each has every byte.
func TestAttachmentsGetEveryByteAfterTheTasksClientIsKilled(t *testing.T) {
	for name, terminal := range onATerminal {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			host := w.TempDir()
			call, client := w.launchElsewhere(terminal, host,
				"i=0; while [ ! -e /host/stop ]; do i=$((i+1)); echo line $i; done; echo total $i; exit 7", "")
			pid := w.task(call.ID).GetPid()

			client.kill(t)
			svc := w.fresh()
			tails := []int{-1, -1, -1, -1, 0} // the last one wants nothing from before
			outs, attached := make([]bytes.Buffer, len(tails)), make([]containerd.Attachment, len(tails))
			var calls []<-chan error
			for i, tail := range tails {
				calls = append(calls, async(func() (err error) {
					attached[i], err = svc.AttachTask(w.ctx, call.ID, containerd.AttachTaskRequest{Stdout: &outs[i], Tail: tail})
					return err
				}))
			}
			for _, done := range calls {
				require.NoError(t, received(w, done))
			}
			assert.Equal(t, pid, w.task(call.ID).GetPid(), "the same task goes on")
			assert.Equal(t, "RUNNING", w.status(call.ID))
			require.NoError(t, os.WriteFile(filepath.Join(host, "stop"), nil, 0o600))
			for _, a := range attached {
				require.NoError(t, a.Wait(w.ctx), "it ends with the task")
			}

			assert.EqualValues(t, 7, w.exitCode(call.ID))
			if terminal {
				w.loggerEnds()
			}
			late := outs[4].String()
			want := countedTo(t, late, terminal)
			for i := range outs[:4] {
				got := outs[i].String()
				assert.Zero(t, strings.Compare(got, want), "reader %d: %d bytes, want %d", i, len(got), len(want))
			}
			assert.True(t, strings.HasSuffix(want, late) && len(late) < len(want), "who has asked for what comes now has its end")
		})
	}
}

// countedTo returns everything that the counting task has written, going by the
// number that it has ended with.
func countedTo(t *testing.T, end string, terminal bool) string {
	t.Helper()
	var total int
	_, err := fmt.Sscanf(end[max(0, strings.LastIndex(end, "total")):], "total %d", &total)
	require.NoError(t, err, "the output ends with %q", end[max(0, len(end)-100):])
	require.Positive(t, total)
	newline := "\n"
	if terminal {
		newline = "\r\n"
	}
	var all strings.Builder
	for i := 1; i <= total; i++ {
		fmt.Fprintf(&all, "line %d%s", i, newline)
	}
	fmt.Fprintf(&all, "total %d%s", total, newline)
	return all.String()
}

// Given a process that writes to the input of its task; when it is killed; then
// another one can write, and only one at a time.
func TestTheInputIsFreeAfterItsWriterIsKilled(t *testing.T) {
	w := newWorld(t)
	call, client := w.launchElsewhere(true, w.TempDir(), "while read x; do echo got $x; done; exit 7", "one\n")
	svc := w.fresh()
	refused := func() {
		t.Helper()
		_, err := svc.AttachTask(w.ctx, call.ID, containerd.AttachTaskRequest{Stdin: strings.NewReader("refused\n")})
		require.ErrorIs(t, err, containerd.ErrInputTaken)
		assert.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	}
	refused()

	client.kill(t)
	shown := newScreen()
	reader, err := svc.AttachTask(w.ctx, call.ID, containerd.AttachTaskRequest{Stdout: shown, Tail: -1})
	require.NoError(t, err)
	shown.await(w, "got one\r\n")
	keys, typing := io.Pipe()
	defer typing.Close()
	writer, err := svc.AttachTask(w.ctx, call.ID, containerd.AttachTaskRequest{Stdin: keys})
	require.NoError(t, err, "the killed process holds nothing")
	w.typed(typing, "two\n")
	shown.await(w, "got two\r\n")
	refused()
	require.NoError(t, writer.Detach())
	third, err := w.fresh().AttachTask(w.ctx, call.ID, containerd.AttachTaskRequest{Stdin: strings.NewReader("three\n\x04")})
	require.NoError(t, err, "who has detached holds nothing")

	require.NoError(t, reader.Wait(w.ctx))
	require.NoError(t, third.Wait(w.ctx))
	assert.EqualValues(t, 7, w.exitCode(call.ID))
	w.loggerEnds()
	assert.Equal(t, "one\r\ngot one\r\ntwo\r\ngot two\r\nthree\r\ngot three\r\n", shown.String(), "the echo and the output")
}

// Given a shell on a terminal whose client is killed; when another process
// attaches; then it can use the terminal, and leave it and come back.
func TestATerminalIsUsedAfterItsClientIsKilled(t *testing.T) {
	w := newWorld(t)
	w.needCgroup() // as root, the terminal can be looked at from outside
	call, client := w.launchElsewhere(true, w.TempDir(), "", "kept=$((40+2))\n")
	pid := w.task(call.ID).GetPid()

	client.kill(t)
	shown := newScreen()
	keys, typing := io.Pipe()
	defer typing.Close()
	first, err := w.fresh().AttachTask(w.ctx, call.ID, containerd.AttachTaskRequest{Stdin: keys, Stdout: shown, Tail: -1})
	require.NoError(t, err)
	w.typed(typing, "sigtrap WINCH 0\n")
	shown.await(w, "ready\r\n")
	require.NoError(t, first.Resize(w.ctx, 123, 45))
	shown.await(w, "SIGWINCH\r\n")
	assert.Equal(t, "123x45", terminalSize(t, pid))
	w.typed(typing, "echo first: $kept\n")
	shown.await(w, "first: 42\r\n")
	require.NoError(t, first.Detach())
	seen := shown.String()
	require.ErrorIs(t, first.Wait(w.ctx), context.Canceled)

	assert.Equal(t, "RUNNING", w.status(call.ID))
	again := newScreen()
	second, err := w.fresh().AttachTask(w.ctx, call.ID, containerd.AttachTaskRequest{
		Stdin: strings.NewReader("echo second: $kept\nexit 7\n"), Stdout: again, Tail: -1,
	})
	require.NoError(t, err)
	require.NoError(t, second.Wait(w.ctx))
	assert.Equal(t, pid, w.task(call.ID).GetPid())
	assert.EqualValues(t, 7, w.exitCode(call.ID))
	w.loggerEnds()
	assert.True(t, strings.HasPrefix(again.String(), seen), "it goes on where it was: %q and %q", seen, again)
	assert.Contains(t, again.String(), "second: 42\r\n", "the shell is the same")
	assert.Equal(t, seen, shown.String(), "who has detached gets nothing more")
}
