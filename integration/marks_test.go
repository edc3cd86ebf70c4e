package integration_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

func TestALiveProcessKeepsWhatItHolds(t *testing.T) {
	t.Run("a container that is being created", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		_, err := w.Service.PullImage(w.ctx, w.Image, nil)
		require.NoError(t, err)
		call := w.call("create")
		call.Hold = "Containers/Create"
		h := startHelper(t, call)
		require.True(t, h.report(t).Held)

		_, err = w.fresh().CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: call.ID, ImageRef: w.Image})
		assert.True(t, errdefs.IsAlreadyExists(err), "%v", err)
		require.ErrorContains(t, err, h.owner, "the error names the owner")
		assert.Contains(t, w.snapshots(), call.ID)

		h.goOn(t)
		assert.Empty(t, h.result(t).Err)
		assert.True(t, w.hasContainer(call.ID))
		assert.Contains(t, w.snapshots(), call.ID)
	})
	for _, op := range []string{"start", "attach"} {
		t.Run("a task that is being started by "+op, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			call := w.call(op)
			call.ID, call.FIFODir, call.Hold = w.create("sleep", "300"), t.TempDir(), "Tasks/Start"
			h := startHelper(t, call)
			require.True(t, h.report(t).Held)
			created := w.task(call.ID)
			require.Equal(t, "CREATED", created.GetStatus().String())

			s := w.fresh()
			opts := &containerd.StartTaskOptions{UseStdio: op == "attach", FIFODir: call.FIFODir}
			_, err := s.StartTask(w.ctx, call.ID, opts)
			assert.True(t, errdefs.IsAlreadyExists(err), "%v", err)
			require.ErrorContains(t, err, h.owner, "the error names the owner")
			assert.Equal(t, created.GetPid(), w.task(call.ID).GetPid())

			h.goOn(t)
			assert.Empty(t, h.result(t).Err)
			assert.Equal(t, "RUNNING", w.status(call.ID))
			assert.Equal(t, created.GetPid(), w.task(call.ID).GetPid())
			require.NoError(t, s.DeleteTask(w.ctx, call.ID, &containerd.DeleteTaskOptions{Force: true}))
			isEmptyDir(t, call.FIFODir)
		})
	}
}

func TestWhatHasNoMarkOfOursIsNeverSwept(t *testing.T) {
	t.Run("a snapshot and a lease", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		_, err := w.Service.PullImage(w.ctx, w.Image, nil)
		require.NoError(t, err)
		lease, err := w.Client.LeasesService().Create(w.raw, leases.WithRandomID())
		require.NoError(t, err)
		id := newID()
		_, err = w.Client.SnapshotService(w.Snapshotter).Prepare(leases.WithLease(w.raw, lease.ID), id, "")
		require.NoError(t, err)

		_, err = w.fresh().CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: w.Image})
		assert.True(t, errdefs.IsAlreadyExists(err), "%v", err)
		assert.Contains(t, w.snapshots(), id)
		require.NoError(t, w.Client.LeasesService().Delete(w.raw, lease), "the lease is still there")
	})
	t.Run("a directory that is not ours", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		base := t.TempDir()
		theirs := filepath.Join(base, "fifo-of-another-program")
		require.NoError(t, os.Mkdir(theirs, 0o700))
		id := w.create("sleep", "300")
		s := w.fresh()
		_, err := s.StartTask(w.ctx, id, &containerd.StartTaskOptions{UseStdio: true, FIFODir: base})
		require.NoError(t, err)
		require.NoError(t, s.DeleteTask(w.ctx, id, &containerd.DeleteTaskOptions{Force: true}))
		entries, err := os.ReadDir(base)
		require.NoError(t, err)
		assert.Len(t, entries, 1)
		assert.DirExists(t, theirs)
	})
}

func TestACreatedTaskOfAnotherProgramIsNeverReplaced(t *testing.T) {
	t.Run("without a start of ours", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		id := w.create("sleep", "300")
		pid := w.createPlain(id)
		_, err := w.fresh().StartTask(w.ctx, id, nil)
		assert.True(t, errdefs.IsAlreadyExists(err), "%v", err)
		p := w.task(id)
		require.NotNil(t, p)
		assert.Equal(t, pid, p.GetPid())
		assert.Equal(t, "CREATED", p.GetStatus().String())
	})
	t.Run("after a start of ours was killed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		call := w.call("start")
		call.ID, call.Hold = w.create("sleep", "300"), "Tasks/Create"
		h := startHelper(t, call)
		require.True(t, h.report(t).Held)
		h.kill(t)
		pid := w.createPlain(call.ID)
		_, err := w.fresh().StartTask(w.ctx, call.ID, nil)
		assert.True(t, errdefs.IsAlreadyExists(err), "%v", err)
		assert.Equal(t, pid, w.task(call.ID).GetPid())
	})
	t.Run("after a start of ours was taken over", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		call := w.call("start")
		call.ID, call.Hold = w.create("sleep", "300"), "Tasks/Create"
		h := startHelper(t, call)
		require.True(t, h.report(t).Held)
		h.kill(t)
		s := w.fresh()
		_, err := s.StartTask(w.ctx, call.ID, nil)
		require.NoError(t, err)
		require.NoError(t, s.DeleteTask(w.ctx, call.ID, &containerd.DeleteTaskOptions{Force: true}))
		pid := w.createPlain(call.ID)
		_, err = s.StartTask(w.ctx, call.ID, nil)
		assert.True(t, errdefs.IsAlreadyExists(err), "%v", err)
		assert.Equal(t, pid, w.task(call.ID).GetPid())
	})
}

func TestTheFIFOsOfARunningTaskSurviveItsDeadClient(t *testing.T) {
	w := newWorld(t)
	call := w.call("attach")
	call.ID, call.FIFODir = w.create("sleep", "300"), t.TempDir()
	call.Hold = "Tasks/Wait" // the streams' watch: the task has been started
	h := startHelper(t, call)
	require.True(t, h.report(t).Held)
	h.kill(t)
	pid := w.task(call.ID).GetPid()

	// Another task's streams sweep the directory.
	s, other := w.fresh(), w.create("sleep", "300")
	_, err := s.StartTask(w.ctx, other, &containerd.StartTaskOptions{UseStdio: true, FIFODir: call.FIFODir})
	require.NoError(t, err)
	r, err := w.Client.TaskService().Get(w.raw, &tasks.GetRequest{ContainerID: call.ID})
	require.NoError(t, err)
	assert.FileExists(t, r.GetProcess().GetStdout())
	assert.Equal(t, pid, r.GetProcess().GetPid())
	assert.Equal(t, "RUNNING", r.GetProcess().GetStatus().String())

	for _, id := range []string{call.ID, other} {
		require.NoError(t, s.DeleteTask(w.ctx, id, &containerd.DeleteTaskOptions{Force: true}))
	}
	isEmptyDir(t, call.FIFODir)
}

func TestAServiceInUseTakesOverFromAProcessThatIsKilledLater(t *testing.T) {
	w := newWorld(t)
	call := w.call("create")
	call.Image, call.Hold = w.pull(freshImage(t)).Name(), "Containers/Create"
	h := startHelper(t, call)
	require.True(t, h.report(t).Held)
	require.True(t, w.hasSnapshot(call.ID))
	h.kill(t)
	_, err := w.Service.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: call.ID, ImageRef: call.Image})
	assert.NoError(t, err)
	w.noLeases()
}
