package containerd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func execTrue(ctx context.Context, s *DefaultService) (uint32, error) {
	result, err := s.ExecTask(ctx, "web", ExecTaskRequest{Args: []string{"true"}})
	return result.ExitCode, err
}

// execs returns how many execs the daemon has in "web".
func (d *daemon) execs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for key := range d.taskStates {
		if strings.HasPrefix(key, "web/") {
			n++
		}
	}
	return n
}

func (d *daemon) endExecs(code uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, p := range d.taskStates {
		if strings.HasPrefix(key, "web/") {
			p.end(code)
		}
	}
}

func TestExecTaskReturnsTheExitCode(t *testing.T) {
	for _, code := range []uint32{0, 1, 137, 255} {
		d := newDaemon(t)
		d.change("web", func(p *taskState) { p.code = code })
		got, err := execTrue(t.Context(), d.service())
		require.NoError(t, err, "an exit code is a result")
		assert.Equal(t, code, got)
		assert.Zero(t, d.execs())
	}
}

func TestExecTaskNeedsARunningTask(t *testing.T) {
	for what, test := range map[string]struct {
		set   func(d *daemon)
		class func(error) bool
	}{
		"no container":  {func(d *daemon) { delete(d.stores.containers, "web") }, errdefs.IsNotFound},
		"no task":       {func(d *daemon) { delete(d.taskStates, "web") }, errdefs.IsFailedPrecondition},
		"created":       {func(d *daemon) { d.addTask("web", created) }, errdefs.IsFailedPrecondition},
		"stopped":       {func(d *daemon) { d.addTask("web", stopped) }, errdefs.IsFailedPrecondition},
		"paused":        {func(d *daemon) { d.addTask("web", paused) }, errdefs.IsFailedPrecondition},
		"nobody knows":  {func(d *daemon) { d.fail("Tasks/Get", errdefs.ErrUnavailable) }, errdefs.IsUnavailable},
		"no spec":       {func(d *daemon) { d.stores.containers["web"].Spec = nil }, errdefs.IsFailedPrecondition},
		"odd spec":      {func(d *daemon) { d.setSpec("web", `[]`) }, errdefs.IsFailedPrecondition},
		"empty process": {func(d *daemon) { d.setSpec("web", `{}`) }, errdefs.IsFailedPrecondition},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			test.set(d)
			_, err := execTrue(t.Context(), d.service())
			assertError(t, err, "exec task", test.class, what)
			assert.NotContains(t, d.methods(), "Tasks/Exec")
		})
	}
}

func TestExecTaskRefusesMoreArgumentsThanTheKernelTakes(t *testing.T) {
	d := newDaemon(t)
	args := []string{"true"}
	for range 17 {
		args = append(args, strings.Repeat("x", 127<<10))
	}
	_, err := d.service().ExecTask(t.Context(), "web", ExecTaskRequest{Args: args})
	assertError(t, err, "exec task", errdefs.IsInvalidArgument, "too much")
	assert.NotContains(t, d.methods(), "Tasks/Exec")
}

func TestExecTaskDoesNotChangeTheStoredSpec(t *testing.T) {
	d := newDaemon(t)
	before := d.specOf("web")
	_, err := d.service().ExecTask(t.Context(), "web", ExecTaskRequest{
		Args: []string{"x"}, Env: []string{"A=2"}, WorkDir: "/tmp", Terminal: true,
	})
	require.NoError(t, err)
	assert.Equal(t, before, d.specOf("web"))
}

func TestExecTaskExplainsWhyNothingRan(t *testing.T) {
	const notFound = `OCI runtime exec failed: exec failed: exec: "true": executable file not found in $PATH`
	const noDir = `OCI runtime exec failed: chdir to cwd ("/x") set in config.json failed: no such file or directory`
	ends := func(d *daemon) { d.change("web", func(p *taskState) { p.end(0) }) }
	for what, test := range map[string]struct {
		answer    error
		meanwhile func(d *daemon)
		class     func(error) bool
	}{
		"the runtime's text":               {status.Error(codes.Unknown, notFound), nil, errdefs.IsNotFound},
		"the runtime's text, of a dead":    {status.Error(codes.Unknown, noDir), ends, errdefs.IsInvalidArgument},
		"a class is kept":                  {status.Error(codes.AlreadyExists, notFound), nil, errdefs.IsAlreadyExists},
		"a lost connection is kept":        {errdefs.ErrUnavailable, ends, errdefs.IsUnavailable},
		"the task has ended":               {status.Error(codes.Unknown, "ttrpc: closed"), ends, errdefs.IsFailedPrecondition},
		"the task has ended, with a class": {errdefs.ErrNotFound, ends, errdefs.IsFailedPrecondition},
		"the task runs, with a class":      {errdefs.ErrPermissionDenied, nil, errdefs.IsPermissionDenied},
		"nobody can look": {status.Error(codes.Unknown, "odd"), func(d *daemon) {
			d.fail("Tasks/Get", errdefs.ErrUnavailable)
		}, errdefs.IsInternal},
	} {
		for _, method := range []string{"Tasks/Exec", "Tasks/Start"} {
			t.Run(what+", at "+method, func(t *testing.T) {
				d := newDaemon(t)
				d.on(method, func(context.Context) error {
					if test.meanwhile != nil {
						test.meanwhile(d)
					}
					return test.answer
				})
				_, err := execTrue(t.Context(), d.service())
				assertError(t, err, "exec task", test.class, what)
				assert.Zero(t, d.execs(), "removed")
			})
		}
	}
}

func TestExecTaskThatRacesTheTasksEnd(t *testing.T) {
	begin := func(t *testing.T) (*daemon, *fakeClock, <-chan error) {
		t.Helper()
		d := newDaemon(t)
		s := d.service()
		clock := stopClock(s)
		d.fail("Tasks/Start", status.Error(codes.Unknown, "odd"))
		done := async(func() error {
			_, err := execTrue(t.Context(), s)
			return err
		})
		clock.await(t, endingLimit)
		assertWaiting(t, done, "the task may be about to end")
		return d, clock, done
	}
	t.Run("waits for the end", func(t *testing.T) {
		d, _, done := begin(t)
		d.change("web", func(p *taskState) { p.end(0) })
		assertError(t, received(t, done), "exec task", errdefs.IsFailedPrecondition, "the task has ended")
	})
	t.Run("but not for long", func(t *testing.T) {
		d, clock, done := begin(t)
		clock.advance(endingLimit)
		assertError(t, received(t, done), "exec task", errdefs.IsInternal, "the task runs")
		assert.Zero(t, d.execs())
	})
}

func TestExecTaskWhoseContextEndsKillsTheProcess(t *testing.T) {
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.code = runsOn })
	s := d.service()
	waited, started := d.arrivals("Tasks/Wait"), d.arrivals("Tasks/Start")
	ctx, cancel := context.WithCancel(t.Context())
	done := async(func() error {
		_, err := execTrue(ctx, s)
		return err
	})
	received(t, waited)
	received(t, started)
	cancel()
	require.ErrorIs(t, received(t, done), context.Canceled)
	assert.Equal(t, 1, d.count("Tasks/Kill"))
	assert.Zero(t, d.execs(), "removed before the call returns")
	d.assertStatus("web", int32(running), "the task goes on")
}

func TestExecTaskWhoseContextEndsBeforeTheStart(t *testing.T) {
	d := newDaemon(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.on("Tasks/Exec", func(context.Context) error {
		cancel()
		return nil
	})
	_, err := execTrue(ctx, d.service())
	require.ErrorIs(t, err, context.Canceled)
	assert.NotContains(t, d.methods(), "Tasks/Start")
	assert.Zero(t, d.execs())
}

func TestExecTaskRemovesWhatWasNeverStarted(t *testing.T) {
	for what, answer := range map[string]error{
		"not created": errdefs.ErrFailedPrecondition, "finished": errdefs.ErrNotFound,
	} {
		d := newDaemon(t)
		d.fail("Tasks/Start", errdefs.ErrPermissionDenied)
		d.fail("Tasks/Kill", answer)
		_, err := execTrue(t.Context(), d.service())
		assertError(t, err, "exec task", errdefs.IsPermissionDenied, what)
		assert.NotContains(t, err.Error(), "still to be cleaned up", what)
		assert.Zero(t, d.execs(), what)
	}
}

func TestExecTaskThatCanNotRemoveItsProcessSaysSo(t *testing.T) {
	for method, answer := range map[string]error{
		"Tasks/Kill": errdefs.ErrUnavailable, "Tasks/DeleteProcess": errdefs.ErrInternal,
	} {
		d := newDaemon(t)
		s := d.service()
		d.fail("Tasks/Start", errdefs.ErrPermissionDenied)
		d.fail(method, answer)
		_, err := execTrue(t.Context(), s)
		assertError(t, err, "exec task", errdefs.IsPermissionDenied, method)
		require.ErrorContains(t, err, "still to be cleaned up: exec exec-", method)
		d.heal()
		require.NoError(t, s.Close(), "the cleaner finishes it")
		assert.Zero(t, d.execs(), method)
	}
}

func TestExecTaskWhoseProcessIsRemovedByOthers(t *testing.T) {
	d := newDaemon(t)
	d.fail("Tasks/Wait", errdefs.ErrNotFound)
	_, err := execTrue(t.Context(), d.service())
	assertError(t, err, "exec task", errdefs.IsFailedPrecondition, "no exit code")
	assert.ErrorIs(t, err, errExecGone)
}

func TestExecTaskWhoseExitCanNotBeToldIsNoSuccess(t *testing.T) {
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.code = runsOn })
	s := d.service()
	s.clock = quickClock{}
	d.fail("Tasks/Wait", errdefs.ErrPermissionDenied)
	_, err := execTrue(t.Context(), s)
	assertError(t, err, "exec task", errdefs.IsPermissionDenied, "no exit code")
}

// The exit code is known: removing the record is the cleaner's then, and needs
// no turn on the container, which somebody else may hold for long.
func TestExecTaskDoesNotFailWhenItsRecordStays(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	unlock, err := idLocks.lock(t.Context(), s.lockKey("web"))
	require.NoError(t, err)
	defer unlock()
	d.change("web", func(p *taskState) { p.code = 7 })
	d.fail("Tasks/DeleteProcess", errdefs.ErrUnavailable)
	code, err := execTrue(t.Context(), s)
	require.NoError(t, err)
	assert.EqualValues(t, 7, code)
	assert.Equal(t, 1, d.execs())
	d.heal()
	require.NoError(t, s.Close())
	assert.Zero(t, d.execs())
}

func TestExecTaskReturnsWhenItsOutputDoesNotEnd(t *testing.T) {
	// Given a process on this process's streams, whose child holds them open,
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.code = runsOn })
	s := d.service()
	clock := stopClock(s)
	input, _ := standIn(t)
	started := d.arrivals("Tasks/Start")
	done := async(func() error {
		_, err := s.ExecTask(t.Context(), "web", ExecTaskRequest{Args: []string{"x"}, UseStdio: true})
		return err
	})
	received(t, started)
	st := attachedStreams(t, s)
	stdin, stdout, stderr := shimEnds(t, st)
	received(t, st.started)
	// when the process exits,
	d.endExecs(0)
	// then the call waits two seconds for its output, and no longer.
	clock.await(t, 2*time.Second)
	assertWaiting(t, done, "the output may end")
	clock.advance(2 * time.Second)
	require.NoError(t, received(t, done))
	assert.NoDirExists(t, st.dir)
	require.NoError(t, errors.Join(input.Close(), stdin.Close(), stdout.Close(), stderr.Close()))
	clock.run()
	require.NoError(t, s.Close())
	assert.Zero(t, d.execs(), "the cleaner removes the record")
}

func TestExecTaskDoesNotWaitForARecordThatCanNotBeRemoved(t *testing.T) {
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.code = 7 })
	s := d.service()
	d.hang("Tasks/DeleteProcess") // as the shim does while a child holds the output
	began := time.Now()
	code, err := execTrue(t.Context(), s)
	require.NoError(t, err)
	assert.EqualValues(t, 7, code)
	assert.Less(t, time.Since(began), execDeleteLimit+2*time.Second)
	d.heal()
	require.NoError(t, s.Close())
	assert.Zero(t, d.execs(), "the cleaner removes it")
}
