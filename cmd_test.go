package containerd_test

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdmock"
)

// executor is a mock whose exec runs process and ends with exit and err.
func executor(t *testing.T, process func(containerd.StartExecRequest), exit containerd.ExecExit, err error) *containerdmock.Executor {
	t.Helper()
	x, e := containerdmock.NewExecutor(t), containerdmock.NewExec(t)
	ended := make(chan struct{})
	x.EXPECT().StartExec(mock.Anything, "web", mock.Anything).RunAndReturn(
		func(_ context.Context, _ string, req containerd.StartExecRequest) (containerd.Exec, error) {
			go func() {
				defer close(ended)
				process(req)
			}()
			return e, nil
		})
	e.EXPECT().Wait(mock.Anything).RunAndReturn(func(context.Context) (containerd.ExecExit, error) {
		<-ended
		return exit, err
	})
	return x
}

func write(w io.Writer, text string) {
	if _, err := io.WriteString(w, text); err != nil {
		panic(err)
	}
}

func TestCommandAsksForWhatItsFieldsSay(t *testing.T) {
	var got containerd.StartExecRequest
	x := executor(t, func(req containerd.StartExecRequest) { got = req }, containerd.ExecExit{}, nil)
	c := containerd.Command(x, "web", "prog", "a", "b")
	c.Env, c.Dir, c.User, c.AdditionalGIDs = []string{"A=b"}, "/d", "u", []uint32{1}
	c.Terminal, c.Width, c.Height = true, 80, 25
	c.Stdout, c.Stderr = io.Discard, io.Discard
	c.StopSignal, c.StopGrace, c.WaitDelay = syscall.SIGTERM, time.Second, time.Minute
	require.NoError(t, c.Run(t.Context()))
	assert.Equal(t, containerd.StartExecRequest{
		Args: []string{"prog", "a", "b"}, Env: []string{"A=b"}, WorkDir: "/d", User: "u", AdditionalGIDs: []uint32{1},
		Terminal: true, Width: 80, Height: 25, Stdout: io.Discard,
		StopSignal: syscall.SIGTERM, StopGrace: time.Second, DrainTimeout: time.Minute,
	}, got, "a terminal has no stderr")
}

func TestCommandOutput(t *testing.T) {
	process := func(req containerd.StartExecRequest) {
		write(req.Stdout, "out")
		write(req.Stderr, "err")
	}
	out, err := containerd.Command(executor(t, process, containerd.ExecExit{}, nil), "web", "x").Output(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "out", string(out))
	out, err = containerd.Command(executor(t, process, containerd.ExecExit{}, nil), "web", "x").CombinedOutput(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "outerr", string(out))
}

func TestCommandErrors(t *testing.T) {
	lost := errors.New("lost")
	for what, test := range map[string]struct {
		exit containerd.ExecExit
		err  error
		text string
	}{
		"exit code":         {containerd.ExecExit{Code: 3}, nil, "exit status 3"},
		"signal":            {containerd.ExecExit{Code: 143, Signal: syscall.SIGTERM}, nil, "signal: terminated"},
		"out of memory":     {containerd.ExecExit{Code: 137, Signal: syscall.SIGKILL, OOMKilled: true}, nil, "signal: killed (out of memory)"},
		"context":           {containerd.ExecExit{Code: 137, Signal: syscall.SIGKILL}, context.Canceled, "context canceled (signal: killed)"},
		"failed stream":     {containerd.ExecExit{}, lost, "lost"},
		"failed stream too": {containerd.ExecExit{Code: 1}, lost, "lost (exit status 1)"},
	} {
		x := executor(t, func(req containerd.StartExecRequest) { write(req.Stderr, "why") }, test.exit, test.err)
		c := containerd.Command(x, "web", "x")
		err := c.Run(t.Context())
		require.EqualError(t, err, test.text, what)
		failed, ok := errors.AsType[*containerd.ExitError](err)
		assert.Equal(t, test.exit.Code != 0, ok, what)
		if ok {
			assert.Equal(t, test.exit, failed.ExecExit, what)
			assert.Equal(t, "why", string(failed.Stderr), what)
		}
		if test.err != nil {
			assert.ErrorIs(t, err, test.err, what)
		}
		assert.Equal(t, test.exit, c.Exit, what)
	}
}

func TestCommandWhoseOutputIsCut(t *testing.T) {
	cut := containerd.ExecExit{OutputCut: true}
	process := func(req containerd.StartExecRequest) { write(req.Stderr, "early") }
	for what, set := range map[string]func(c *containerd.Cmd){
		"stdout": func(c *containerd.Cmd) { c.Stdout = io.Discard },
		"stderr": func(c *containerd.Cmd) { c.Stderr = io.Discard },
	} {
		c := containerd.Command(executor(t, process, cut, nil), "web", "x")
		set(c)
		err := c.Run(t.Context())
		require.ErrorIs(t, err, containerd.ErrOutputCut, what)
		require.ErrorIs(t, err, exec.ErrWaitDelay, what)
		assert.True(t, errdefs.IsDataLoss(err), what)
	}
	both, err := containerd.Command(executor(t, process, cut, nil), "web", "x").CombinedOutput(t.Context())
	require.ErrorIs(t, err, containerd.ErrOutputCut)
	assert.Equal(t, "early", string(both), "what there was")

	require.NoError(t, containerd.Command(executor(t, process, cut, nil), "web", "x").Run(t.Context()), "nobody asked for output")
	c := containerd.Command(executor(t, func(containerd.StartExecRequest) {}, cut, nil), "web", "x")
	_, err = c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Run(t.Context()), "the pipe's reader knows what it has read")

	failed := containerd.ExecExit{OutputCut: true, Code: 1}
	err = containerd.Command(executor(t, process, failed, nil), "web", "x").Run(t.Context())
	require.EqualError(t, err, "exit status 1")
	_, err = containerd.Command(executor(t, process, cut, context.Canceled), "web", "x").CombinedOutput(t.Context())
	require.ErrorIs(t, err, context.Canceled)
}

func TestCommandWhosePipeIsClosedEarly(t *testing.T) {
	x := executor(t, func(req containerd.StartExecRequest) {
		for range 3 {
			write(req.Stdout, "line\n")
		}
	}, containerd.ExecExit{}, nil)
	c := containerd.Command(x, "web", "x")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	_, err = io.ReadFull(out, make([]byte, 5))
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.NoError(t, c.Wait(), "as with head -n 1")
}

func TestCommandThatDoesNotStart(t *testing.T) {
	x := containerdmock.NewExecutor(t)
	x.EXPECT().StartExec(mock.Anything, "web", mock.Anything).Return(nil, containerd.ErrNotRunning)
	c := containerd.Command(x, "web", "x")
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.ErrorIs(t, c.Start(t.Context()), containerd.ErrNotRunning)
	_, err = in.Write([]byte("x"))
	require.Error(t, err, "nobody will read it")
	_, err = io.ReadAll(out)
	require.NoError(t, err, "nobody will write it")
	assert.True(t, errdefs.IsFailedPrecondition(c.Wait()))
}

func TestCommandPipes(t *testing.T) {
	// A process that copies its input, in upper case as it were.
	x := executor(t, func(req containerd.StartExecRequest) {
		text, err := io.ReadAll(req.Stdin)
		if err != nil {
			panic(err)
		}
		write(req.Stdout, "out:"+string(text))
		write(req.Stderr, "err")
	}, containerd.ExecExit{}, nil)
	c := containerd.Command(x, "web", "x")
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	errs, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	write(in, "in")
	require.NoError(t, in.Close())
	got, err := io.ReadAll(io.LimitReader(out, 6))
	require.NoError(t, err)
	assert.Equal(t, "out:in", string(got))
	got, err = io.ReadAll(errs)
	require.NoError(t, err)
	assert.Equal(t, "err", string(got))
	require.NoError(t, c.Wait())
	_, err = in.Write([]byte("x"))
	require.Error(t, err, "the process has ended")
}

func TestCommandMisuse(t *testing.T) {
	misused := func(err error) {
		t.Helper()
		assert.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	}
	x := executor(t, func(containerd.StartExecRequest) {}, containerd.ExecExit{}, nil)
	c := containerd.Command(x, "web", "x")
	misused(c.Wait())
	c.Stdout = io.Discard
	_, err := c.Output(t.Context())
	misused(err)
	_, err = c.CombinedOutput(t.Context())
	misused(err)
	_, err = c.StdoutPipe()
	misused(err)
	require.NoError(t, c.Run(t.Context()))
	misused(c.Start(t.Context()))
	misused(c.Wait())
	_, err = c.StdinPipe()
	misused(err)
	_, err = c.StderrPipe()
	misused(err)
}
