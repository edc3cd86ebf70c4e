package containerd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// startSleeper starts an exec that runs until it is signalled.
func startSleeper(ctx context.Context, t *testing.T, d *daemon, s *DefaultService, change func(*StartExecRequest)) Exec {
	t.Helper()
	d.change("web", func(p *taskState) { p.code = runsOn })
	req := StartExecRequest{Args: []string{"sleep"}}
	if change != nil {
		change(&req)
	}
	x, err := s.StartExec(ctx, "web", req)
	require.NoError(t, err)
	return x
}

func isCanceled(err error) bool { return errors.Is(err, context.Canceled) }

// execShim opens the FIFOs of the service's only streams, as a shim does.
func execShim(t *testing.T, s *DefaultService) (stdin, stdout, stderr *os.File) {
	t.Helper()
	config := attachedStreams(t, s).Config()
	open := func(path string, flag int) *os.File {
		if path == "" || path == devNull {
			return nil
		}
		f, err := os.OpenFile(path, flag, 0)
		require.NoError(t, err)
		return f
	}
	return open(config.Stdin, os.O_RDONLY), open(config.Stdout, os.O_WRONLY), open(config.Stderr, os.O_WRONLY)
}

func TestStartExecMakesSixRequests(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	x, err := s.StartExec(t.Context(), "web", StartExecRequest{Args: []string{"true"}})
	require.NoError(t, err)
	exit, err := x.Wait(t.Context())
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
	assert.ElementsMatch(t, []string{
		"Containers/Get", "Tasks/Get", "Tasks/Exec", "Tasks/Wait", "Tasks/Start", "Tasks/DeleteProcess",
	}, d.methods())
	assert.Zero(t, d.execs())
}

func TestStartExecWithAUserAsksForTheFileSystem(t *testing.T) {
	d := newDaemon(t)
	require.NoError(t, os.MkdirAll(filepath.Join(d.rootfs, "etc"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(d.rootfs, "etc/passwd"), []byte("app:x:10:20::/:/bin/sh\n"), 0o600))
	s := d.service()
	for user, is := range map[string]error{"app": nil, "nobody": ErrUserNotFound} {
		_, err := s.StartExec(t.Context(), "web", StartExecRequest{ID: "job", Args: []string{"true"}, User: user, Detach: true})
		require.ErrorIs(t, err, is)
	}
	d.fail("Snapshots/Mounts", errdefs.ErrUnavailable)
	_, err := s.StartExec(t.Context(), "web", StartExecRequest{Args: []string{"true"}, User: "app"})
	assertError(t, err, "start exec", errdefs.IsUnavailable, "no mounts")
}

func TestExecWhoseContextEndsIsKilled(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	ctx, cancel := context.WithCancel(t.Context())
	x := startSleeper(ctx, t, d, s, nil)
	cancel()
	exit, err := x.Wait(t.Context())
	assertError(t, err, "wait for exec", isCanceled, "its context ended")
	assert.Equal(t, syscall.SIGKILL, exit.Signal)
	assert.Zero(t, d.execs(), "removed")
	d.assertStatus("web", int32(running), "the task goes on")
}

func TestExecWhoseContextEndsGetsItsSignalFirst(t *testing.T) {
	gently := func(grace time.Duration) func(*StartExecRequest) {
		return func(req *StartExecRequest) { req.StopSignal, req.StopGrace = syscall.SIGTERM, grace }
	}
	begin := func(t *testing.T, grace time.Duration, deaf bool) (*daemon, *fakeClock, Exec) {
		t.Helper()
		d := newDaemon(t)
		d.change("web", func(p *taskState) { p.deaf = deaf })
		s := d.service()
		clock := stopClock(s)
		ctx, cancel := context.WithCancel(t.Context())
		x := startSleeper(ctx, t, d, s, gently(grace))
		cancel()
		return d, clock, x
	}
	t.Run("and may end of it", func(t *testing.T) {
		d, _, x := begin(t, 0, false)
		exit, err := x.Wait(t.Context())
		assertError(t, err, "wait for exec", isCanceled, "its context ended")
		assert.EqualValues(t, 143, exit.Code)
		assert.Zero(t, d.execs())
	})
	t.Run("and is killed after its grace", func(t *testing.T) {
		for grace, want := range map[time.Duration]time.Duration{0: 10 * time.Second, time.Minute: time.Minute} {
			d, clock, x := begin(t, grace, true)
			clock.await(t, want)
			assert.Equal(t, 1, d.execs(), "it has time")
			clock.advance(want)
			exit, err := x.Wait(t.Context())
			assertError(t, err, "wait for exec", isCanceled, "its context ended")
			assert.EqualValues(t, 137, exit.Code)
			assert.Zero(t, d.execs())
		}
	})
	t.Run("and is waited for without a limit", func(t *testing.T) {
		d, _, x := begin(t, -1, true)
		waited := async(func() error { _, err := x.Wait(t.Context()); return err })
		assertWaiting(t, waited, "no limit")
		d.endExecs(0)
		require.ErrorIs(t, received(t, waited), context.Canceled)
	})
	t.Run("unless it is removed, or its service closed", func(t *testing.T) {
		for _, end := range []func(*DefaultService, Exec) error{
			func(_ *DefaultService, x Exec) error { return x.Remove(t.Context()) },
			func(s *DefaultService, _ Exec) error { return s.Close() },
		} {
			d, clock, x := begin(t, time.Hour, true)
			clock.await(t, time.Hour)
			require.NoError(t, end(x.(*attachedExec).service, x))
			exit, err := x.Wait(t.Context())
			assertError(t, err, "wait for exec", isCanceled, "its context ended first")
			assert.EqualValues(t, 137, exit.Code)
			assert.Zero(t, d.execs())
		}
	})
}

func TestExecOfAServiceThatIsClosedIsKilled(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	x := startSleeper(t.Context(), t, d, s, nil)
	require.NoError(t, s.Close())
	exit, err := x.Wait(t.Context())
	assertError(t, err, "wait for exec", errdefs.IsFailedPrecondition, "closed")
	assert.EqualValues(t, 137, exit.Code)
	assert.Zero(t, d.execs())
	assertError(t, x.Signal(t.Context(), syscall.SIGTERM), "signal exec", errdefs.IsFailedPrecondition, "closed")
}

func TestExecThatIsStartedWhileTheServiceIsClosed(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.change("web", func(p *taskState) { p.code = runsOn })
	d.on("Tasks/Start", func(context.Context) error { return s.Close() })
	_, err := s.StartExec(t.Context(), "web", StartExecRequest{Args: []string{"x"}, Stdout: io.Discard})
	assertError(t, err, "start exec", errdefs.IsFailedPrecondition, "closed")
	assert.Zero(t, d.execs())
}

func TestExecThatCanNotBeKilledIsTheCleaners(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	ctx, cancel := context.WithCancel(t.Context())
	x := startSleeper(ctx, t, d, s, nil)
	d.fail("Tasks/Kill", errdefs.ErrUnavailable)
	cancel()
	_, err := x.Wait(t.Context())
	assertError(t, err, "wait for exec", isCanceled, "its context ended")
	require.ErrorContains(t, err, "still to be cleaned up")
	assert.Equal(t, 1, d.execs())
	d.heal()
	require.NoError(t, s.Close(), "the cleaner finishes it")
	assert.Zero(t, d.execs())
}

func TestExecThatNobodySawEnd(t *testing.T) {
	d := newDaemon(t)
	d.fail("Tasks/Wait", errdefs.ErrNotFound)
	s := d.service()
	d.change("web", func(p *taskState) { p.code = runsOn })
	for _, detach := range []bool{false, true} {
		x, err := s.StartExec(t.Context(), "web", StartExecRequest{Args: []string{"x"}, Detach: detach})
		require.NoError(t, err)
		_, err = x.Wait(t.Context())
		assertError(t, err, "wait for exec", errdefs.IsNotFound, "removed by others")
		assert.ErrorIs(t, err, errExecGone)
	}
}

func TestExecWithAnIDOfItsOwn(t *testing.T) {
	req := StartExecRequest{ID: "job", Args: []string{"x"}, Detach: true}
	theirs := func(d *daemon) {
		d.mu.Lock()
		defer d.mu.Unlock()
		p := d.newTask("")
		p.Status, p.Stdout = running, "/theirs"
		d.taskStates["web/job"] = p
	}
	t.Run("that is in use", func(t *testing.T) {
		d := newDaemon(t)
		theirs(d)
		_, err := d.service().StartExec(t.Context(), "web", req)
		assertError(t, err, "start exec", errdefs.IsAlreadyExists, "in use")
		d.assertStatus("web/job", int32(running), "not this call's to remove")
		assert.Zero(t, d.count("Tasks/Kill"))
	})
	t.Run("whose answer was lost, is removed by its streams", func(t *testing.T) {
		d := newDaemon(t)
		d.lose("Tasks/Exec")
		_, err := d.service().StartExec(t.Context(), "web", req)
		assertError(t, err, "start exec", errdefs.IsUnavailable, "lost")
		assert.Zero(t, d.execs())
	})
	t.Run("what is left of a failed one, is removed by the next", func(t *testing.T) {
		d := newDaemon(t)
		s := d.service()
		stopClock(s) // the cleaner's first attempt fails, too
		d.fail("Tasks/Start", errdefs.ErrPermissionDenied)
		d.fail("Tasks/DeleteProcess", errdefs.ErrUnavailable)
		_, err := s.StartExec(t.Context(), "web", req)
		require.ErrorContains(t, err, "still to be cleaned up: exec job")
		d.heal()
		_, err = s.StartExec(t.Context(), "web", req)
		require.NoError(t, err)
	})
}

// What a slow writer takes is not a child's time; a child's is bounded.
func TestDrainCountsOnlyTheTimeThatAChildTakes(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	r, w := io.Pipe() // nobody reads it yet
	x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Stdout, req.DrainTimeout = w, 3*time.Second })
	_, stdout, _ := execShim(t, s)
	_, err := stdout.WriteString("text")
	require.NoError(t, err)
	st := attachedStreams(t, s)
	require.Eventually(t, st.heldUp, patience, time.Millisecond)
	d.endExecs(0)
	for range 3 {
		clock.pass(t, 3*time.Second)
	}
	clock.await(t, 3*time.Second)
	got := make([]byte, 4)
	_, err = io.ReadFull(r, got)
	require.NoError(t, err)
	assert.Equal(t, "text", string(got))
	require.Eventually(t, func() bool { return !st.heldUp() }, patience, time.Millisecond)
	clock.pass(t, 3*time.Second)
	exit, err := x.Wait(t.Context())
	require.NoError(t, err)
	assert.True(t, exit.OutputCut, "a child still holds it")
	clock.run()
	require.NoError(t, errors.Join(stdout.Close(), s.Close()))
	assert.Zero(t, d.execs(), "the cleaner removes the record")
}

func TestDrainWithoutALimit(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	s.clock = quickClock{}
	var stdout bytes.Buffer
	x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Stdout, req.DrainTimeout = &stdout, -1 })
	_, shim, _ := execShim(t, s)
	d.endExecs(0)
	waited := async(func() error { _, err := x.Wait(t.Context()); return err })
	assertWaiting(t, waited, "the output is open")
	_, err := shim.WriteString("late")
	require.NoError(t, errors.Join(err, shim.Close()))
	require.NoError(t, received(t, waited))
	assert.Equal(t, "late", stdout.String())
}

func TestDrainEndsWithTheServiceOrTheContext(t *testing.T) {
	for what, end := range map[string]func(*DefaultService, context.CancelFunc){
		"closed":    func(s *DefaultService, _ context.CancelFunc) { go s.Close() }, //nolint:errcheck // looked at below
		"cancelled": func(_ *DefaultService, cancel context.CancelFunc) { cancel() },
	} {
		d := newDaemon(t)
		s := d.service()
		ctx, cancel := context.WithCancel(t.Context())
		x := startSleeper(ctx, t, d, s, func(req *StartExecRequest) { req.Stdout, req.DrainTimeout = io.Discard, -1 })
		_, shim, _ := execShim(t, s)
		d.endExecs(3)
		received(t, x.(*attachedExec).run.wait.done)
		end(s, cancel)
		exit, err := x.Wait(t.Context())
		require.ErrorIs(t, err, map[string]error{"closed": errServiceClosed, "cancelled": context.Canceled}[what], what)
		assert.EqualValues(t, 3, exit.Code, what)
		assert.True(t, exit.OutputCut, what)
		cancel()
		require.NoError(t, errors.Join(shim.Close(), s.Close()))
	}
}

// blockingReader blocks until the test ends.
type blockingReader struct{ began, end chan struct{} }

func (r *blockingReader) Read([]byte) (int, error) {
	close(r.began)
	<-r.end
	return 0, io.EOF
}

func TestReaderThatBlocksHoldsNothing(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	r := &blockingReader{began: make(chan struct{}), end: make(chan struct{})}
	x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Stdin = r })
	st := attachedStreams(t, s)
	stdin, _, _ := execShim(t, s)
	received(t, r.began)
	d.endExecs(0)
	began := time.Now()
	_, err := x.Wait(t.Context())
	require.NoError(t, err)
	assert.Less(t, time.Since(began), releaseLimit, "nobody waits for the reader")
	assert.NoDirExists(t, st.dir)
	require.NoError(t, stdin.Close())
	close(r.end)
	received(t, st.idle)
}

// closedReader fails as a connection does that somebody has closed.
type closedReader struct{}

func (closedReader) Read([]byte) (int, error) { return 0, os.ErrClosed }

// Only the end of what a reader has is the end of the input.
func TestReaderThatIsClosedHasFailed(t *testing.T) {
	d := newDaemon(t)
	d.Tasks.EXPECT().CloseIO(mock.Anything, mock.Anything).Return(&emptypb.Empty{}, nil).Maybe()
	s := d.service()
	x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Stdin = closedReader{} })
	st := attachedStreams(t, s)
	stdin, _, _ := execShim(t, s)
	received(t, st.fed)
	d.endExecs(0)
	_, err := x.Wait(t.Context())
	require.ErrorIs(t, err, os.ErrClosed)
	require.NoError(t, stdin.Close())
}

// A file can be stopped, and is not closed.
func TestInputFileIsLeftToItsOwner(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Stdin = r })
	st := attachedStreams(t, s)
	stdin, _, _ := execShim(t, s)
	d.endExecs(0)
	_, err = x.Wait(t.Context())
	require.NoError(t, err)
	received(t, st.idle)
	_, err = w.WriteString("for others")
	require.NoError(t, err)
	got := make([]byte, 10)
	_, err = io.ReadFull(r, got)
	require.NoError(t, err)
	assert.Equal(t, "for others", string(got))
	require.NoError(t, errors.Join(r.Close(), w.Close(), stdin.Close()))
}

func TestCloseStdin(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		d := newDaemon(t)
		if !terminal {
			d.Tasks.EXPECT().CloseIO(mock.Anything, mock.Anything).RunAndReturn(func(_ context.Context, r *tasksapi.CloseIORequest) (*emptypb.Empty, error) {
				assert.True(t, r.GetStdin())
				return &emptypb.Empty{}, nil
			}).Once()
		}
		s := d.service()
		r := &blockingReader{began: make(chan struct{}), end: make(chan struct{})}
		x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Stdin, req.Terminal = r, terminal })
		stdin, _, _ := execShim(t, s)
		received(t, r.began)
		for range 2 {
			require.NoError(t, x.CloseStdin(t.Context()))
		}
		if terminal {
			got := make([]byte, len(endOfTransmission))
			_, err := io.ReadFull(stdin, got)
			require.NoError(t, err)
			assert.Equal(t, endOfTransmission, string(got))
		} else {
			got, err := io.ReadAll(stdin)
			require.NoError(t, err)
			assert.Empty(t, got)
		}
		close(r.end)
		d.endExecs(0)
		_, err := x.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, stdin.Close())
	}
}

func TestCloseStdinOfAnExecWithoutStreams(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	x := startSleeper(t.Context(), t, d, s, nil)
	require.NoError(t, x.CloseStdin(t.Context()), "it is at its end")
	d.Tasks.EXPECT().CloseIO(mock.Anything, mock.Anything).Return(nil, errdefs.ErrNotFound).Once()
	opened, err := s.OpenExec(t.Context(), "web", x.ID())
	require.NoError(t, err)
	assertError(t, opened.CloseStdin(t.Context()), "close stdin of exec", errdefs.IsNotFound, "the daemon's answer")
}

func TestExecRemovedByItsUser(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for _, detach := range []bool{false, true} {
		x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Detach = detach })
		require.NoError(t, x.Remove(t.Context()))
		require.NoError(t, x.Remove(t.Context()), "one that is gone is fine")
		assert.Zero(t, d.execs())
	}
}

func TestExecThatCanNotBeRemoved(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Detach = true })
	d.fail("Tasks/Kill", errdefs.ErrUnavailable)
	err := x.Remove(t.Context())
	assertError(t, err, "remove exec", errdefs.IsUnavailable, "the daemon is away")
	d.heal()
	require.NoError(t, s.Close(), "the cleaner removes it")
	assert.Zero(t, d.execs())
}

// A shim that waits for output which a child holds open answers late.
func TestExecIsRemovedWhenTheShimIsThroughWithIt(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Detach = true })
	d.once("Tasks/DeleteProcess", hang)
	require.NoError(t, x.Remove(t.Context()))
	assert.Zero(t, d.execs())
	assert.Equal(t, 2, d.count("Tasks/DeleteProcess"))
}

func TestRemoveWhoseContextEnds(t *testing.T) {
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.deaf = true })
	s := d.service()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x := startSleeper(t.Context(), t, d, s, nil)
	d.hang("Tasks/Kill")
	assertError(t, x.Remove(ctx), "remove exec", isCanceled, "it still runs")
	d.heal()
	require.NoError(t, x.Remove(t.Context()))
}

func TestSignalAndResizeOfAnExec(t *testing.T) {
	d := newDaemon(t)
	d.Tasks.EXPECT().ResizePty(mock.Anything, mock.Anything).RunAndReturn(func(_ context.Context, r *tasksapi.ResizePtyRequest) (*emptypb.Empty, error) {
		assert.EqualValues(t, 100, r.GetWidth())
		assert.EqualValues(t, 30, r.GetHeight())
		return &emptypb.Empty{}, nil
	}).Twice()
	s := d.service()
	x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Terminal = true })
	opened, err := s.OpenExec(t.Context(), "web", x.ID())
	require.NoError(t, err)
	for _, x := range []Exec{x, opened} {
		require.NoError(t, x.Resize(t.Context(), 100, 30))
		for _, size := range [][2]uint32{{0, 1}, {1, 0}, {1 << 16, 1}, {1, 1 << 16}} {
			assertError(t, x.Resize(t.Context(), size[0], size[1]), "resize exec", errdefs.IsInvalidArgument, "%v", size)
		}
		for _, sig := range []syscall.Signal{-1, 0, 65} {
			assertError(t, x.Signal(t.Context(), sig), "signal exec", errdefs.IsInvalidArgument, "%d", sig)
		}
	}
	require.NoError(t, opened.Signal(t.Context(), syscall.SIGUSR1))
	exit, err := x.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, syscall.SIGUSR1, exit.Signal)
	assertError(t, x.Signal(t.Context(), syscall.SIGUSR1), "signal exec", errdefs.IsNotFound, "ended")
}

func TestListExecs(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	x := startSleeper(t.Context(), t, d, s, func(req *StartExecRequest) { req.Detach = true })
	list, err := s.ListExecs(t.Context(), "web", nil)
	require.NoError(t, err)
	assert.Equal(t, []ExecInfo{{ContainerID: "web", ID: x.ID(), PID: x.PID()}}, list)
}

func TestListExecsWhereProcessesCanNotBeListed(t *testing.T) {
	odd := status.Error(codes.Unknown, "open /sys/fs/cgroup/web/cgroup.procs: no such file or directory")
	for what, test := range map[string]struct {
		id    string
		set   func(d *daemon)
		class func(error) bool
	}{
		"rootless":     {"web", func(d *daemon) { d.fail("Tasks/ListPids", odd) }, errdefs.IsNotImplemented},
		"no task":      {"idle", func(*daemon) {}, nil},
		"stopped":      {"done", func(d *daemon) { d.fail("Tasks/ListPids", odd) }, nil},
		"no container": {"gone", func(*daemon) {}, errdefs.IsNotFound},
		"away":         {"web", func(d *daemon) { d.fail("Tasks/ListPids", errdefs.ErrUnavailable) }, errdefs.IsUnavailable},
		"nobody knows": {"web", func(d *daemon) {
			d.fail("Tasks/ListPids", odd)
			d.fail("Tasks/Get", errdefs.ErrUnavailable)
		}, errdefs.IsUnavailable},
	} {
		d := newDaemon(t)
		test.set(d)
		list, err := d.service().ListExecs(t.Context(), test.id, nil)
		assert.Empty(t, list, what)
		if test.class == nil {
			require.NoError(t, err, what)
			continue
		}
		assertError(t, err, "list execs", test.class, what)
		assert.Equal(t, what == "rootless", errors.Is(err, ErrProcessesNotListed), what)
	}
}

func TestWaitForAnExecThatHasEndedIsAnsweredAtOnce(t *testing.T) {
	d := newDaemon(t)
	x, err := d.service().OpenExec(t.Context(), "done", "old")
	require.NoError(t, err)
	exit, err := x.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 7, exit.Code)
	assert.Zero(t, exit.Signal)
}
