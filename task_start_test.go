package containerd

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// start starts the task of a container and returns the error only.
func start(t *testing.T, s *DefaultService, id string, opts *StartTaskOptions) error {
	t.Helper()
	_, err := s.StartTask(t.Context(), id, opts)
	return err
}

func (d *daemon) pidOf(id string) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.taskStates[id].GetPid()
}

// attachedTo makes the options of a task on this process's own streams, which
// are replaced for the test.
func attachedTo(t *testing.T) *StartTaskOptions {
	t.Helper()
	input, _ := standIn(t)
	t.Cleanup(func() { assert.NoError(t, input.Close()) })
	return &StartTaskOptions{UseStdio: true, FIFODir: t.TempDir()}
}

func assertNoFIFOs(t *testing.T, opts *StartTaskOptions) {
	t.Helper()
	left, err := os.ReadDir(opts.FIFODir)
	require.NoError(t, err)
	assert.Empty(t, left, "directories of FIFOs")
}

func TestStartTaskReturnsARunningTask(t *testing.T) {
	d := newDaemon(t)
	task, err := d.service().StartTask(t.Context(), "idle", nil)
	require.NoError(t, err)
	assert.Equal(t, "idle", task.ID())
	assert.Equal(t, d.pidOf("idle"), task.Pid())
	d.assertStatus("idle", int32(running), "started")
}

func TestStartTaskChecksItsFIFODir(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for _, dir := range []string{"relative", "/a\x00"} {
		err := start(t, s, "idle", &StartTaskOptions{UseStdio: true, FIFODir: dir})
		assertError(t, err, "start task", errdefs.IsInvalidArgument, "%q", dir)
		assert.ErrorContains(t, err, "FIFODir")
	}
	assert.Empty(t, d.Calls())
	require.NoError(t, start(t, s, "idle", &StartTaskOptions{FIFODir: "relative"}), "ignored when no FIFO is needed")
}

func TestStartTaskThatCanNotMakeItsFIFOsLeavesNothing(t *testing.T) {
	d := newDaemon(t)
	before := d.state()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	err := start(t, d.service(), "idle", &StartTaskOptions{UseStdio: true, FIFODir: filepath.Join(file, "below")})
	require.ErrorContains(t, err, file)
	assert.Equal(t, before, d.state())
	assert.NotContains(t, d.methods(), "Tasks/Create")
}

func TestStartTaskReplacesAStoppedTask(t *testing.T) {
	for what, opts := range map[string]*StartTaskOptions{
		"detached": {}, "on a terminal": {Terminal: true}, "attached": attachedTo(t),
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			old := d.pidOf("done")
			require.NoError(t, start(t, d.service(), "done", opts))
			d.assertStatus("done", int32(running), "the new one")
			assert.NotEqual(t, old, d.pidOf("done"))
		})
	}
}

func TestStartTaskLeavesATaskThatHasNotStoppedAlone(t *testing.T) {
	attached := attachedTo(t)
	for _, status := range []tasktypes.Status{running, paused, pausing, created} {
		for what, opts := range map[string]*StartTaskOptions{
			"detached": {}, "on a terminal": {Terminal: true}, "attached": attached,
		} {
			t.Run(status.String()+" "+what, func(t *testing.T) {
				d := newDaemon(t)
				d.addTask("idle", status)
				before := d.state()
				err := start(t, d.service(), "idle", opts)
				assertError(t, err, "start task", errdefs.IsAlreadyExists, what)
				assert.ErrorContains(t, err, statusName(status))
				assert.Equal(t, before, d.state())
				assertNoFIFOs(t, attached)
			})
		}
	}
}

func TestStartTaskGivesTheRuntimesTextItsClass(t *testing.T) {
	for text, class := range map[string]func(error) bool{
		`unable to start container process: exec: "/x": stat /x: no such file or directory`:      errdefs.IsNotFound,
		`unable to start container process: chdir to cwd ("/x") set in config.json failed: gone`: errdefs.IsInvalidArgument,
		`unable to start container process: exec: "/x": permission denied`:                       errdefs.IsPermissionDenied,
		`something else`: errdefs.IsInternal,
	} {
		d := newDaemon(t)
		before := d.state()
		d.fail("Tasks/Create", status.Error(codes.Unknown, text))
		assertError(t, start(t, d.service(), "idle", nil), "start task", class, "%s", text)
		assert.Equal(t, before, d.state(), text)
	}
}

// A start whose answer is lost does not know its task. It removes the task if
// it can tell that it is its own.
func TestStartTaskWhoseAnswerIsLostRemovesItsTask(t *testing.T) {
	attached := attachedTo(t)
	for _, method := range []string{"Tasks/Create", "Tasks/Start"} {
		for what, opts := range map[string]*StartTaskOptions{
			"detached": {}, "on a terminal": {Terminal: true}, "attached": attached,
		} {
			t.Run(method+" "+what, func(t *testing.T) {
				d := newDaemon(t)
				before := d.state()
				d.lose(method)
				assertError(t, start(t, d.service(), "idle", opts), "start task", errdefs.IsUnavailable, what)
				assert.Equal(t, before, d.state())
				assertNoFIFOs(t, attached)
			})
		}
	}
}

func TestStartTaskThatFailsLeavesTheTasksOfOthersAlone(t *testing.T) {
	attached := attachedTo(t)
	for what, opts := range map[string]*StartTaskOptions{
		"detached": {}, "on a terminal": {Terminal: true}, "attached": attached,
	} {
		t.Run("running instead, "+what, func(t *testing.T) {
			d := newDaemon(t)
			d.on("Tasks/Create", func(context.Context) error {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.addTask("idle", running)
				return errdefs.ErrUnavailable
			})
			assertError(t, start(t, d.service(), "idle", opts), "start task", errdefs.IsUnavailable, what)
			d.assertStatus("idle", int32(running), "another program's")
		})
		t.Run("in its place, "+what, func(t *testing.T) {
			d := newDaemon(t)
			d.on("Tasks/Start", func(context.Context) error {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.addTask("idle", created)
				return errdefs.ErrPermissionDenied
			})
			assertError(t, start(t, d.service(), "idle", opts), "start task", errdefs.IsPermissionDenied, what)
			d.assertStatus("idle", int32(created), "another program's")
		})
	}
	t.Run("created with other streams", func(t *testing.T) {
		d := newDaemon(t)
		d.on("Tasks/Create", func(context.Context) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.addTask("idle", created)
			return errdefs.ErrUnavailable
		})
		assertError(t, start(t, d.service(), "idle", attached), "start task", errdefs.IsUnavailable, "lost")
		d.assertStatus("idle", int32(created), "another program's")
		assertNoFIFOs(t, attached)
	})
}

func TestStartTaskRemovesItsTaskAlsoIfThatHasStopped(t *testing.T) {
	d := newDaemon(t)
	before := d.state()
	d.on("Tasks/Start", func(context.Context) error {
		d.change("idle", func(p *taskState) { p.end(1) })
		return errdefs.ErrPermissionDenied
	})
	assertError(t, start(t, d.service(), "idle", nil), "start task", errdefs.IsPermissionDenied, "refused")
	assert.Equal(t, before, d.state())
	assert.NotContains(t, d.methods(), "Tasks/Kill")
}

func TestStartTaskThatCanNotBeTakenBackSaysWhatRemains(t *testing.T) {
	for _, method := range []string{"Tasks/Get", "Tasks/Kill"} {
		t.Run(method, func(t *testing.T) {
			d := newDaemon(t)
			before := d.state()
			s := d.service()
			stopClock(s)
			d.on("Tasks/Start", func(context.Context) error {
				d.fail(method, errdefs.ErrInternal)
				return errdefs.ErrPermissionDenied
			})
			err := start(t, s, "idle", nil)
			assertError(t, err, "start task", errdefs.IsPermissionDenied, "the cause's class")
			assert.ErrorContains(t, err, "still to be cleaned up: task")
			d.heal()
			assertError(t, s.DeleteTask(t.Context(), "idle", nil), "delete task", errdefs.IsNotFound, "the next call finishes it first")
			assert.Equal(t, before, d.state())
		})
	}
}

func TestStartTaskWhoseContextEndsBeforeTheStart(t *testing.T) {
	attached := attachedTo(t)
	for what, opts := range map[string]*StartTaskOptions{
		"detached": {}, "on a terminal": {Terminal: true}, "attached": attached,
	} {
		d := newDaemon(t)
		before := d.state()
		ctx, cancel := context.WithCancel(t.Context())
		d.on("Tasks/Create", func(context.Context) error {
			cancel()
			return nil
		})
		_, err := d.service().StartTask(ctx, "idle", opts)
		require.ErrorIs(t, err, context.Canceled, what)
		assert.Equal(t, before, d.state(), what)
		assert.NotContains(t, d.methods(), "Tasks/Start", what)
		assertNoFIFOs(t, attached)
	}
}

func TestStartTaskIsNotCutShortOnceItStarts(t *testing.T) {
	d := newDaemon(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.on("Tasks/Start", func(context.Context) error {
		cancel()
		return nil
	})
	_, err := d.service().StartTask(ctx, "idle", nil)
	require.NoError(t, err, "the task has been started")
	d.assertStatus("idle", int32(running), "started")
}
