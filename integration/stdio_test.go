package integration_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/console"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

const mebibyte = 1 << 20

// bothLoud writes 1 MiB of a to stdout and 1 MiB of b to stderr, in turns, and
// exits with 7.
var bothLoud = `a=aaaaaaaaaaaaaaaa; b=bbbbbbbbbbbbbbbb; ` +
	`for i in 1 2 3 4 5 6 7 8 9 10 11 12; do a=$a$a; b=$b$b; done; ` +
	`for i in ` + strings.Repeat("x ", mebibyte/(16<<12)) + `; do echo -n $a; echo -n $b >&2; done; exit 7`

// piped is a helper's stdio.
type piped struct {
	stdout, stderr bytes.Buffer
}

// wire gives the helper pipes, as a shell does.
func (p *piped) wire(stdin io.Reader) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &p.stdout, &p.stderr
	}
}

// stdioCalls are the two ways to bind a program to this process's stdio. Each
// returns the call that runs args.
var stdioCalls = map[string]func(w *world, args ...string) helperCall{
	"StartTask": func(w *world, args ...string) helperCall {
		call := w.call("run")
		call.ID, call.FIFODir = w.create(args...), filepath.Join(w.TempDir(), "made", "if-absent")
		return call
	},
	"ExecTask": func(w *world, args ...string) helperCall {
		call := w.call("exec")
		call.ID, call.Args = w.start("sleep", "300"), args
		return call
	},
}

// inBothWays runs a test for each of them.
func inBothWays(t *testing.T, test func(w *world, run func(args ...string) helperCall)) {
	t.Helper()
	for name, make := range stdioCalls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test(w, func(args ...string) helperCall { return make(w, args...) })
		})
	}
}

// noFIFOs checks that the call has left no directory of FIFOs, and has removed
// nothing but its own.
func noFIFOs(t *testing.T, call helperCall, h *helper) {
	t.Helper()
	assert.Empty(t, owned(fifoDirs, h.owner))
	if call.FIFODir != "" {
		assert.DirExists(t, call.FIFODir)
		isEmptyDir(t, call.FIFODir)
	}
}

func TestBothOutputStreamsArriveWholeAndApart(t *testing.T) {
	inBothWays(t, func(w *world, run func(...string) helperCall) {
		var io piped
		call := run("sh", "-c", bothLoud)
		h := startHelper(w.T, call, io.wire(nil))
		r := h.result(w.T)
		assert.Empty(w, r.Err)
		assert.EqualValues(w, 7, r.ExitCode)
		assert.Equal(w, mebibyte, io.stdout.Len())
		assert.Equal(w, mebibyte, bytes.Count(io.stdout.Bytes(), []byte("a")), "stdout is stdout's alone")
		assert.Equal(w, mebibyte, io.stderr.Len())
		assert.Equal(w, mebibyte, bytes.Count(io.stderr.Bytes(), []byte("b")), "stderr is stderr's alone")
		noFIFOs(w.T, call, h)
	})
}

func TestInputArrivesAndEnds(t *testing.T) {
	for name, size := range map[string]int{"nothing": 0, "one byte": 1, "1 MiB": mebibyte} {
		t.Run(name, func(t *testing.T) {
			inBothWays(t, func(w *world, run func(...string) helperCall) {
				input := make([]byte, size)
				_, err := rand.Read(input)
				require.NoError(w, err)
				var io piped
				call := run("cat")
				h := startHelper(w.T, call, io.wire(bytes.NewReader(input)))
				r := h.result(w.T)
				assert.Empty(w, r.Err)
				assert.Zero(w, r.ExitCode)
				assert.True(w, bytes.Equal(input, io.stdout.Bytes()), "%d of %d bytes came back", io.stdout.Len(), size)
				assert.Empty(w, io.stderr.String())
				noFIFOs(w.T, call, h)
			})
		})
	}
}

func TestInputThatNeverEndsHoldsNothing(t *testing.T) {
	inBothWays(t, func(w *world, run func(...string) helperCall) {
		stdin, never, err := os.Pipe()
		require.NoError(w, err)
		defer stdin.Close()
		defer never.Close()
		var io piped
		call := run("sh", "-c", "echo out; exit 7")
		h := startHelper(w.T, call, io.wire(stdin))
		r := h.result(w.T)
		assert.Empty(w, r.Err)
		assert.EqualValues(w, 7, r.ExitCode)
		assert.Equal(w, "out\n", io.stdout.String())
		noFIFOs(w.T, call, h)
	})
}

func TestATerminalIsOne(t *testing.T) {
	inBothWays(t, func(w *world, run func(...string) helperCall) {
		var io piped
		call := run("sh", "-c", "tty; cat; exit 7")
		call.Terminal = true
		h := startHelper(w.T, call, io.wire(strings.NewReader("typed\n")))
		r := h.result(w.T)
		assert.Empty(w, r.Err)
		assert.EqualValues(w, 7, r.ExitCode)
		text := io.stdout.String()
		assert.Contains(w, text, "terminal\r\n", "a terminal ends lines with both characters")
		assert.Equal(w, 2, strings.Count(text, "typed"), "the terminal's echo and cat's output: %q", text)
		noFIFOs(w.T, call, h)
	})
}

func TestATerminalOfTheUsersOwnIsPassedThrough(t *testing.T) {
	inBothWays(t, func(w *world, run func(...string) helperCall) {
		master, name, err := console.NewPty()
		require.NoError(w, err)
		defer master.Close()
		slave, err := os.OpenFile(name, os.O_RDWR, 0)
		require.NoError(w, err)
		call := run("sh", "-c", "tty; exit 7")
		call.Terminal = true
		h := startHelper(w.T, call, func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave })
		require.NoError(w, slave.Close())
		r := h.result(w.T)
		assert.Empty(w, r.Err)
		assert.EqualValues(w, 7, r.ExitCode)
		output, err := io.ReadAll(master)
		require.Error(w, err, "the last user of a terminal has gone")
		assert.Contains(w, string(output), "terminal")
		noFIFOs(w.T, call, h)
	})
}

func TestManyExecsLeaveNothingInTheirProcess(t *testing.T) {
	w := newWorld(t)
	var io piped
	call := w.call("exec")
	call.ID, call.Args, call.Repeat = w.start("sleep", "300"), []string{"echo", "x"}, 50
	stdin, never, err := os.Pipe()
	require.NoError(t, err)
	defer stdin.Close()
	defer never.Close()
	h := startHelper(t, call, io.wire(stdin))
	r := h.result(t)
	assert.Empty(t, r.Err)
	assert.Equal(t, strings.Repeat("x\n", 51), io.stdout.String())
	assert.LessOrEqual(t, r.Goroutines[1], r.Goroutines[0], "goroutines")
	assert.LessOrEqual(t, r.Files[1], r.Files[0], "open files")
	noFIFOs(t, call, h)
	w.onlyInit(call.ID)
}

func TestAGrandchildThatHoldsTheOutputDelaysAnExecBriefly(t *testing.T) {
	w := newWorld(t)
	var io piped
	call := w.call("exec")
	call.ID, call.Args = w.start("sleep", "300"), []string{"sh", "-c", "echo out; hold 30; exit 7"}
	h := startHelper(t, call, io.wire(nil))
	r := h.result(t)
	assert.Empty(t, r.Err)
	assert.EqualValues(t, 7, r.ExitCode)
	assert.Equal(t, "out\n", io.stdout.String())
	assert.Less(t, r.Took, 2*time.Second+pastDeadline+scheduling)
	noFIFOs(t, call, h)
}

func TestATaskOnStdioSurvivesTheEndOfItsClient(t *testing.T) {
	for name, kill := range map[string]bool{"that closes its service": false, "that is killed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			call := w.call("attach")
			call.ID, call.FIFODir = w.create("sleep", "300"), t.TempDir()
			if kill {
				call.Hold = "Tasks/Wait" // the streams' watch: the task has been started
			}
			h := startHelper(t, call)
			if kill {
				require.True(t, h.report(t).Held)
				h.kill(t)
			} else {
				assert.Empty(t, h.result(t).Err)
			}
			assert.Equal(t, "RUNNING", w.status(call.ID))
			result, err := w.Service.ExecTask(w.ctx, call.ID, containerd.ExecTaskRequest{Args: []string{"sh", "-c", "exit 7"}})
			require.NoError(t, err)
			assert.EqualValues(t, 7, result.ExitCode)
			require.NoError(t, w.Service.DeleteTask(w.ctx, call.ID, &containerd.DeleteTaskOptions{Force: true}))
			noFIFOs(t, call, h)
		})
	}
}
