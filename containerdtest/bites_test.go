package containerdtest_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

func TestAStoppedTaskThatIsNotDeletedIsInTheWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("web", "true")
	task := w.startIn(c)
	w.await(task)

	_, err := c.NewTask(w.ctx, cio.NullIO)
	require.ErrorContains(t, err, "task web: already exists")
	assert.True(t, errdefs.IsAlreadyExists(err))
	err = c.Delete(w.ctx)
	require.ErrorContains(t, err, "cannot delete running task web", "so says the client, though it is stopped")
	assert.True(t, errdefs.IsFailedPrecondition(err))

	_, err = task.Delete(w.ctx)
	require.NoError(t, err)
	w.startIn(c)
}

func TestARecordCanBeDeletedFromUnderARunningTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	require.NoError(t, w.plain.ContainerService().Delete(w.ctx, "web"), "the daemon does not look")
	_, err := task.Status(w.ctx)
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
	assert.True(t, errdefs.IsNotFound(task.Kill(w.ctx, syscall.SIGKILL)))
	list, err := w.plain.TaskService().List(w.ctx, &tasks.ListTasksRequest{})
	require.NoError(t, err)
	assert.Len(t, list.Tasks, 1, "it runs on")
}

func TestGarbageCollectionTakesWhatNothingRefersTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("web", "pause")
	info, err := c.Info(w.ctx)
	require.NoError(t, err)
	snapshots := w.plain.SnapshotService("overlayfs")
	parent, err := snapshots.Stat(w.ctx, "web")
	require.NoError(t, err)
	store := w.plain.ContentStore()
	put := func(lease leases.Lease, text string) digest.Digest {
		desc := ocispec.Descriptor{Digest: digest.FromString(text), Size: int64(len(text))}
		ctx := leases.WithLease(w.ctx, lease.ID)
		require.NoError(t, content.WriteBlob(ctx, store, text, strings.NewReader(text), desc))
		_, err := snapshots.Prepare(ctx, text, parent.Parent)
		require.NoError(t, err)
		return desc.Digest
	}
	mine, err := w.plain.LeasesService().Create(w.ctx, leases.WithID("mine"))
	require.NoError(t, err)
	other, err := w.plain.LeasesService().Create(w.ctx, leases.WithID("other"))
	require.NoError(t, err)
	loose, held := put(mine, "loose"), put(other, "held")

	require.NoError(t, w.plain.LeasesService().Delete(w.ctx, mine, leases.SynchronousDelete))
	_, err = snapshots.Stat(w.ctx, "loose")
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
	_, err = store.Info(w.ctx, loose)
	assert.True(t, errdefs.IsNotFound(err), "%v", err)

	_, err = snapshots.Stat(w.ctx, "held")
	require.NoError(t, err)
	_, err = store.Info(w.ctx, held)
	require.NoError(t, err)
	_, err = snapshots.Stat(w.ctx, info.SnapshotKey)
	require.NoError(t, err, "a container refers to it")
	w.startIn(c)
}

func TestAnImageGoesWithItsContentAndContainersStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("web", "pause")
	image, err := w.GetImage(w.ctx, "app")
	require.NoError(t, err)
	require.NoError(t, w.DeleteImage(w.ctx, "app", &containerd.DeleteImageOptions{Synchronous: true}))
	_, err = w.plain.ContentStore().Info(w.ctx, image.Target().Digest)
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
	w.startIn(c)
}

func TestTheSecondStopIsNoError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	require.NoError(t, w.StopTask(w.ctx, "web", nil))
	require.NoError(t, w.StopTask(w.ctx, "web", nil))
	status, err := task.Delete(w.ctx)
	require.NoError(t, err)
	assert.Zero(t, status.ExitCode())
	require.NoError(t, w.StopTask(w.ctx, "web", nil))
}

func TestDeletingWithKillTakesEverythingAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("web", "sleep", "3600")
	task := w.startIn(c)
	e := w.exec(task, "e", "sleep", "3600")
	status, err := task.Delete(w.ctx, client.WithProcessKill)
	require.NoError(t, err)
	assert.EqualValues(t, 137, status.ExitCode())
	assert.Equal(t, 137, e.code())
	require.NoError(t, c.Delete(w.ctx, client.WithSnapshotCleanup))
	_, err = w.plain.SnapshotService("overlayfs").Stat(w.ctx, "web")
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
}

func TestOnlyThatNamespaceIsSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start("web", "pause")
	other := w.Open("other")
	w.AddImageTo(other, "app", containerdtest.Image{Files: map[string]string{"/etc/where": "other"}})
	_, err := other.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
	require.NoError(t, err)
	_, err = other.StartTask(w.ctx, "web", nil)
	require.NoError(t, err)
	require.NoError(t, other.StopTask(w.ctx, "web", nil))
	assert.Equal(t, "RUNNING", w.status("web", ""))
	list, err := other.ListTasks(w.ctx, nil)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, "STOPPED", list[0].Status.String())
}
