package containerdtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/fifo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/containerdtest"
)

// addresses are streams that the test opens by itself.
type addresses cio.Config

func (a addresses) Config() cio.Config { return cio.Config(a) }
func (addresses) Cancel()              {}
func (addresses) Wait()                {}
func (addresses) Close() error         { return nil }

// begin starts an exec with such streams.
func (w *world) begin(task client.Task, id string, at cio.Config, args ...string) (client.Process, <-chan client.ExitStatus, error) {
	w.t.Helper()
	p, err := task.Exec(w.ctx, id, w.process(task, args...), func(string) (cio.IO, error) { return addresses(at), nil })
	require.NoError(w.t, err)
	exit, err := p.Wait(w.ctx)
	require.NoError(w.t, err)
	return p, exit, p.Start(w.ctx)
}

// beginInVain begins an exec and gives up when its start has not returned soon.
func (w *world) beginInVain(task client.Task, id string, at cio.Config, args ...string) error {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	w.Inject(func(op containerdtest.Op) error {
		if op.String() == "Tasks/Start" && !op.After {
			time.AfterFunc(10*time.Millisecond, cancel)
		}
		return nil
	})
	defer w.Inject(nil)
	_, _, err := (&world{w.Fake, w.t, w.plain, ctx}).begin(task, id, at, args...)
	return native(err)
}

// fifos makes FIFOs in a directory of their own.
func fifos(t *testing.T, names ...string) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
		require.NoError(t, syscall.Mkfifo(paths[len(paths)-1], 0o600))
	}
	return paths
}

// reader opens a FIFO for reading, without waiting for a writer.
func reader(t *testing.T, path string) io.Reader {
	t.Helper()
	f, err := fifo.OpenFifo(t.Context(), path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestStreamsCarryEveryByteBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sent := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(sent)
	w.Handle(containerdtest.Command("app"), func(_ context.Context, p *containerdtest.Proc) int {
		got, err := io.ReadAll(p.Stdin)
		if err != nil {
			return 1
		}
		_, outErr := p.Stdout.Write(got)
		_, errErr := p.Stderr.Write(got[:len(got)/2])
		if errors.Join(outErr, errErr) != nil {
			return 2
		}
		return 3
	})
	r := w.attach(w.create("web", "app"))

	r.write(string(sent))
	r.endInput()
	assert.Equal(t, 3, r.code())
	assert.True(t, bytes.Equal(sent, []byte(r.out.String())), "%d of %d bytes", len(r.out.String()), len(sent))
	assert.True(t, bytes.Equal(sent[:len(sent)/2], []byte(r.errs.String())))
}

func TestTheOutputOfShortProcessesIsNeverLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	for i := range 50 {
		r, creator := w.streams(nil)
		p, err := task.Exec(w.ctx, fmt.Sprint("e", i), w.process(task, "echo", "x"), creator)
		require.NoError(t, err)
		r.begin(p)
		w.code(r.exit)
		_, err = r.Delete(w.ctx) // gives up what the client is still opening
		require.NoError(t, err)
		require.Equal(t, "x\n", r.out.String(), "exec %d", i)
	}
}

func TestInputEndsWhenClientAndShimHaveClosedIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	r := w.exec(task, "e", "sh", "-c", "cat; echo end")
	r.write("input ")
	r.out.await(t, "input ")

	require.NoError(t, r.in.Close())
	assertRuns(t, r.exit, "the shim holds the input open")
	require.NoError(t, r.CloseIO(w.ctx, client.WithStdinCloser))
	assert.Equal(t, 0, r.code())
	assert.Equal(t, "input end\n", r.out.String())
	require.NoError(t, r.CloseIO(w.ctx, client.WithStdinCloser), "it may be closed again")
}

func TestOutputThatNobodyReadsBlocksAfter64KiB(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	wrote := make(chan int, 1)
	w.Handle(containerdtest.Command("app"), func(_ context.Context, p *containerdtest.Proc) int {
		total := 0
		for range 20 {
			n, err := p.Stdout.Write(make([]byte, 8<<10))
			if total += n; err != nil {
				return 1
			}
			if total == 64<<10 {
				wrote <- total
			}
		}
		wrote <- total
		return 0
	})
	at := fifos(t, "out", "err")
	out, errs := reader(t, at[0]), reader(t, at[1])
	_, exit, err := w.begin(task, "e", cio.Config{Stdout: at[0], Stderr: at[1]}, "app")
	require.NoError(t, err)

	assert.Equal(t, 64<<10, received(t, wrote))
	assertRuns(t, exit, "nobody reads")
	all, err := io.ReadAll(out)
	require.NoError(t, err)
	assert.Len(t, all, 160<<10)
	assert.Equal(t, 160<<10, received(t, wrote))
	assert.Equal(t, 0, w.code(exit))
	all, err = io.ReadAll(errs)
	require.NoError(t, err)
	assert.Empty(t, all)
}

func TestAProcessThatIsKilledWhileItWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	at := fifos(t, "out", "err")
	reader(t, at[0])
	reader(t, at[1])
	p, exit, err := w.begin(task, "e", cio.Config{Stdout: at[0], Stderr: at[1]}, "zeros", "1000000")
	require.NoError(t, err)
	assertRuns(t, exit, "nobody reads")
	require.NoError(t, p.Kill(w.ctx, syscall.SIGTERM))
	assert.Equal(t, 143, w.code(exit))
}

func TestAStartWaitsForReadersOfTheOutput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	at := fifos(t, "out", "err")
	config := cio.Config{Stdout: at[0], Stderr: at[1]}
	started := make(chan error, 1)
	go func() {
		_, _, err := w.begin(task, "e", config, "echo", "x")
		started <- err
	}()
	out := reader(t, at[0])
	select {
	case err := <-started:
		require.Fail(t, "it has started", "%v", err)
	case <-time.After(10 * time.Millisecond):
	}
	reader(t, at[1])
	require.NoError(t, received(t, started))
	all, err := io.ReadAll(out)
	require.NoError(t, err)
	assert.Equal(t, "x\n", string(all))

	at = fifos(t, "out", "err")
	err = w.beginInVain(task, "e2", cio.Config{Stdout: at[0], Stderr: at[1]}, "echo", "x")
	require.ErrorIs(t, err, context.Canceled, "nobody opens it")
	assert.Equal(t, "CREATED", w.status("web", "e2"))
}

func TestAllStreamsAreNeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	at := fifos(t, "in", "out", "err")
	reader(t, at[1])
	reader(t, at[2])
	const failed = `failed to start io pipe copy: unable to copy pipes: containerd-shim: opening file "" failed: open : no such file or directory`
	for id, config := range map[string]cio.Config{
		"stdout": {Stdout: at[1]}, "stderr": {Stderr: at[2]},
		"in-out": {Stdin: at[0], Stdout: at[1]}, "in-err": {Stdin: at[0], Stderr: at[2]},
		"file": {Stdout: "file://" + at[1] + ".log"},
	} {
		_, _, err := w.begin(task, id, config, "echo", "x")
		assert.Equal(t, failed, errText(err), id)
	}
	err := w.beginInVain(task, "stdin", cio.Config{Stdin: at[0]}, "echo", "x")
	require.ErrorIs(t, err, context.Canceled, "a real shim hangs")
}

func TestWithoutStreamsATaskCanWriteAndAnExecCannot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	results := make(chan error, 2)
	w.Handle(containerdtest.Command("app"), func(_ context.Context, p *containerdtest.Proc) int {
		rest, readErr := io.ReadAll(p.Stdin)
		_, err := p.Stdout.Write([]byte("x"))
		results <- errors.Join(readErr, err)
		return len(rest)
	})
	assert.Equal(t, 0, w.await(w.start("job", "app")))
	require.NoError(t, received(t, results))

	_, exit, err := w.begin(w.start("web", "pause"), "e", cio.Config{}, "app")
	require.NoError(t, err)
	assert.Equal(t, 0, w.code(exit))
	require.ErrorIs(t, received(t, results), syscall.EBADF)
}

func TestAGrandchildHoldsTheOutputOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	w.Handle(containerdtest.CommandLine("sleep", "5"), func(context.Context, *containerdtest.Proc) int {
		<-release
		return 0
	})
	task := w.start("web", "pause")
	r := w.exec(task, "e", "hold", "5")
	assert.Equal(t, 0, w.code(r.exit))
	deleted := make(chan error, 1)
	go func() {
		_, err := w.plain.TaskService().DeleteProcess(w.ctx, &tasks.DeleteProcessRequest{ContainerID: "web", ExecID: "e"})
		deleted <- err
	}()
	select {
	case err := <-deleted:
		require.Fail(t, "the exec is deleted", "%v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	require.NoError(t, received(t, deleted))
	r.IO().Wait()
}
