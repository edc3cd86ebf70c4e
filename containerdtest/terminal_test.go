package containerdtest_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/containerdtest"
)

// terminal starts an exec on a terminal.
func (w *world) terminal(task client.Task, id string, args ...string) *running {
	w.t.Helper()
	return w.execAs(task, id, w.process(task, args...), cio.WithTerminal)
}

func TestATerminalEchoesAndTranslates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	r := w.terminal(task, "e", "sh", "-c", "tty; read line; echo got $line; [ -t 1 ] && cat; exit 4")
	r.out.await(t, "terminal\r\n")
	r.write("hello\n")
	r.out.await(t, "got hello\r\n")
	r.write("more\n\x04") // ^D

	assert.Equal(t, 4, r.code())
	assert.Equal(t, "terminal\r\nhello\r\ngot hello\r\nmore\r\nmore\r\n", r.out.String())
	assert.Empty(t, r.errs.String())

	assert.Equal(t, 1, w.exec(task, "plain", "tty").code(), "without one it is none")
}

func TestATaskOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.attach(w.createFrom("app", "web", []string{"sh"}, oci.WithTTY), cio.WithTerminal)
	r.out.await(t, "$ ")
	r.write("a=b; echo $a; tty >/dev/stderr\n")
	r.out.await(t, "terminal\r\n$ ")
	r.write("exit 3\n")
	assert.Equal(t, 3, r.code())
	assert.Equal(t, "$ a=b; echo $a; tty >/dev/stderr\r\nb\r\nterminal\r\n$ exit 3\r\n", r.out.String())
}

func TestAResizeArrivesAsASignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Handle(containerdtest.Command("app"), func(ctx context.Context, p *containerdtest.Proc) int {
		p.Trap(syscall.SIGWINCH)
		for {
			width, height, err := p.TerminalSize()
			if err != nil {
				return 1
			}
			fmt.Fprintf(p.Stdout, "%dx%d\n", width, height)
			if width == 132 {
				return 0
			}
			if sig, err := p.NextSignal(ctx); err != nil || sig != syscall.SIGWINCH {
				return 1
			}
		}
	})
	task := w.start("web", "pause")
	spec := w.process(task, "app")
	spec.ConsoleSize = &specs.Box{Width: 80, Height: 25}
	r := w.execAs(task, "e", spec, cio.WithTerminal)
	r.out.await(t, "80x25\r\n")
	require.NoError(t, r.Resize(w.ctx, 100, 40))
	r.out.await(t, "100x40\r\n")
	require.NoError(t, r.Resize(w.ctx, 132, 43))
	assert.Equal(t, 0, r.code())
	assert.Equal(t, "80x25\r\n100x40\r\n132x43\r\n", r.out.String())

	none := w.exec(task, "none", "app")
	none.out.await(t, "0x0\n")
	require.NoError(t, none.Resize(w.ctx, 1, 1), "without a terminal it does nothing")
}

func TestATerminalWhoseInputEndsHangsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	r := w.terminal(task, "e", "sh", "-c", "echo begun; cat; sleep 3600")
	r.out.await(t, "begun")
	require.NoError(t, r.in.Close())
	assertRuns(t, r.exit, "the shim holds the input open")
	r.endInput()
	assert.Equal(t, 129, r.code(), "SIGHUP")
}

func TestATerminalNeedsAConsoleOnTheOtherSide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.createFrom("app", "web", []string{"pause"}, oci.WithTTY).NewTask(w.ctx, cio.NullIO)
	require.ErrorContains(t, err, "cannot allocate tty if runc will detach without setting console socket")

	_, creator := w.streams([]cio.Opt{cio.WithTerminal})
	_, err = w.create("plain", "pause").NewTask(w.ctx, creator)
	require.ErrorContains(t, err, "cannot use console socket if runc will not detach or allocate tty")
}

func TestATerminalWithoutInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out := newOutput()
	c := w.createFrom("app", "web", []string{"sh", "-c", "tty; exit 4"}, oci.WithTTY)
	task, err := c.NewTask(w.ctx, cio.NewCreator(cio.WithStreams(nil, out, nil), cio.WithTerminal, cio.WithFIFODir(t.TempDir())))
	require.NoError(t, err)
	require.NoError(t, task.Start(w.ctx))
	assert.Equal(t, 4, w.await(task))
	_, err = task.Delete(w.ctx)
	require.NoError(t, err)
	assert.Equal(t, "terminal\r\n", out.String())
}

func TestATerminalThatNobodyReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	at := fifos(t, "out")
	reader(t, at[0])
	p, exit, err := w.begin(task, "e", cio.Config{Stdout: at[0], Terminal: true}, "zeros", "1000000")
	require.NoError(t, err)
	assertRuns(t, exit, "nobody reads")
	require.NoError(t, p.Kill(w.ctx, syscall.SIGKILL))
	assert.Equal(t, 137, w.code(exit))
}
