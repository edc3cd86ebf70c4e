package integration_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest/conformance"
)

// world is what one test works with: a namespace of its own, the service under
// test, and a plain client to look with.
type world struct {
	*testing.T
	conformance.Backend
	ctx context.Context // carries no namespace: the service must not need it
	raw context.Context // carries the namespace, for the plain client
}

// newWorld opens a namespace of the shared daemon.
func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOn(t, backend(t, shared.daemon.address))
}

// worldOn works with a backend. In the end it removes the test's containers
// through the plain client.
func worldOn(t *testing.T, b conformance.Backend) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	w := &world{T: t, Backend: b, ctx: ctx, raw: namespaces.WithNamespace(ctx, b.Namespace)}
	t.Cleanup(w.end)
	return w
}

// in is the world in a subtest: the same one, or a new one if w is nil.
func (w *world) in(t *testing.T) *world {
	t.Helper()
	if w == nil {
		return newWorld(t)
	}
	sub := *w
	sub.T = t
	return &sub
}

func (w *world) end() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.raw), time.Minute)
	defer cancel()
	w.raw = ctx
	w.noLeases()
	list, err := w.Client.Containers(ctx)
	require.NoError(w, err)
	for _, c := range list {
		if task, err := c.Task(ctx, cio.Load); err == nil {
			_, err := task.Delete(ctx, client.WithProcessKill)
			assert.True(w, err == nil || errdefs.IsNotFound(err), "deleting the task of %s: %v", c.ID(), err)
		}
		err := c.Delete(ctx, client.WithSnapshotCleanup)
		assert.True(w, err == nil || errdefs.IsNotFound(err), "deleting %s: %v", c.ID(), err)
	}
	assert.Empty(w, w.processes(), "processes of the namespace are left")
	assert.Empty(w, mountsWith("/"+w.Namespace+"/"), "mounts of the namespace are left")
}

// newID returns a name that nothing else has.
func newID() string { return "c-" + strings.ToLower(rand.Text()[:10]) }

// request describes a container of the world's image.
func (w *world) request(args ...string) containerd.CreateContainerRequest {
	req := containerd.CreateContainerRequest{ID: newID(), ImageRef: w.Image}
	if len(args) > 0 {
		req.SpecOpts = []oci.SpecOpts{oci.WithProcessArgs(args...)}
	}
	return req
}

// create makes a container that runs args, or the image's command.
func (w *world) create(args ...string) string {
	w.Helper()
	req := w.request(args...)
	_, err := w.Service.CreateContainer(w.ctx, req)
	require.NoError(w, err)
	return req.ID
}

// start makes a container and starts its task.
func (w *world) start(args ...string) string {
	w.Helper()
	id := w.create(args...)
	w.startTask(id)
	return id
}

func (w *world) startTask(id string) {
	w.Helper()
	task, err := w.Service.StartTask(w.ctx, id, nil)
	require.NoError(w, err)
	noteContainer(task.Pid(), w.Namespace)
}

// createPlain makes a created task with the plain client.
func (w *world) createPlain(id string) uint32 {
	w.Helper()
	c, err := w.Client.LoadContainer(w.raw, id)
	require.NoError(w, err)
	task, err := c.NewTask(w.raw, cio.NullIO)
	require.NoError(w, err)
	return task.Pid()
}

// task returns the task's process as the daemon gives it, nil without one.
func (w *world) task(id string) *tasktypes.Process {
	w.Helper()
	r, err := w.Client.TaskService().Get(w.raw, &tasks.GetRequest{ContainerID: id})
	if err != nil {
		require.True(w, errdefs.IsNotFound(errgrpc.ToNative(err)), "getting the task of %s: %v", id, err)
		return nil
	}
	return r.GetProcess()
}

// status returns the task's status, or "" without a task.
func (w *world) status(id string) string {
	w.Helper()
	if p := w.task(id); p != nil {
		return p.GetStatus().String()
	}
	return ""
}

// kill ends the task's processes and waits for the exit.
func (w *world) kill(id string) {
	w.Helper()
	_, err := w.Client.TaskService().Kill(w.raw, &tasks.KillRequest{ContainerID: id, Signal: 9, All: true})
	require.NoError(w, err)
	w.exited(id)
}

// exited waits for the task's exit.
func (w *world) exited(id string) {
	w.Helper()
	_, err := w.Client.TaskService().Wait(w.raw, &tasks.WaitRequest{ContainerID: id})
	require.NoError(w, err)
}

// keep protects a snapshot from garbage collection.
var keep = snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "2026-01-01T00:00:00Z"})

func (w *world) hasContainer(id string) bool {
	w.Helper()
	_, err := w.Client.ContainerService().Get(w.raw, id)
	require.True(w, err == nil || errdefs.IsNotFound(err), "getting %s: %v", id, err)
	return err == nil
}

func (w *world) hasSnapshot(key string) bool {
	w.Helper()
	_, err := w.Client.SnapshotService(w.Snapshotter).Stat(w.raw, key)
	require.True(w, err == nil || errdefs.IsNotFound(err), "snapshot %s: %v", key, err)
	return err == nil
}

// snapshots returns the names of all snapshots, after a garbage collection.
func (w *world) snapshots() []string {
	w.Helper()
	manager := w.Client.LeasesService()
	lease, err := manager.Create(w.raw, leases.WithRandomID())
	require.NoError(w, err)
	require.NoError(w, manager.Delete(w.raw, lease, leases.SynchronousDelete))
	var names []string
	err = w.Client.SnapshotService(w.Snapshotter).Walk(w.raw, func(_ context.Context, info snapshots.Info) error {
		names = append(names, info.Name)
		return nil
	})
	require.NoError(w, err)
	return names
}

// noLeases checks that the service holds nothing.
func (w *world) noLeases() {
	w.Helper()
	list, err := w.Client.LeasesService().List(w.raw, `labels."ctrdkit.io/owner"`)
	require.NoError(w, err)
	for _, lease := range list {
		assert.Failf(w, "lease is left", "%s: %v", lease.ID, lease.Labels)
	}
}

// noContainer checks that nothing of a container is there.
func (w *world) noContainer(id string) {
	w.Helper()
	assert.False(w, w.hasContainer(id), "a record is left")
	assert.False(w, w.hasSnapshot(id), "a snapshot is left")
	w.noTask(id)
}

// noTask checks that there is neither a task nor a process or a mount of one.
func (w *world) noTask(id string) {
	w.Helper()
	assert.Empty(w, w.status(id), "a task is left")
	assert.Empty(w, processesOf(w.Namespace+"/"+id), "processes are left")
	assert.Empty(w, mountsWith("/"+w.Namespace+"/"+id+"/"), "mounts are left")
}

// onlyInit checks that the task has no process but its first.
func (w *world) onlyInit(id string) {
	w.Helper()
	assert.Len(w, w.pids(id), 1, "processes of execs are left")
}

// pids returns the PIDs of the processes in the task's PID namespace, without
// those that have ended and that the first process has not waited for.
func (w *world) pids(id string) (pids []string) {
	w.Helper()
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", w.task(id).GetPid()))
	require.NoError(w, err)
	dirs, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(w, err)
	for _, dir := range dirs {
		namespace, nsErr := os.Readlink(dir + "/ns/pid")
		_, exeErr := os.Readlink(dir + "/exe") // what has ended has none
		if nsErr == nil && exeErr == nil && namespace == own {
			pids = append(pids, filepath.Base(dir))
		}
	}
	return pids
}

// exec returns an exec as the daemon gives it, nil if there is none.
func (w *world) exec(id, execID string) *tasktypes.Process {
	w.Helper()
	r, err := w.Client.TaskService().Get(w.raw, &tasks.GetRequest{ContainerID: id, ExecID: execID})
	if err != nil {
		require.True(w, errdefs.IsNotFound(errgrpc.ToNative(err)), "getting exec %s: %v", execID, err)
		return nil
	}
	return r.GetProcess()
}

func (w *world) processes() []string { return processesOf(w.Namespace + "/") }

// processesOf returns the processes whose working directory (the shims') or
// cgroup (the containers') contains name.
func processesOf(name string) []string {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, dir := range dirs {
		cwd, _ := os.Readlink(dir + "/cwd")
		cgroup, _ := os.ReadFile(dir + "/cgroup")
		if strings.Contains(cwd+"/", "/"+name) || containsPath(string(cgroup), name) {
			cmdline, _ := os.ReadFile(dir + "/cmdline")
			found = append(found, fmt.Sprintf("%s in %s: %q", dir, cwd, cmdline))
		}
	}
	return found
}

// containsPath says whether a line of text has the path in it.
func containsPath(text, path string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
		return strings.Contains(line+"/", "/"+strings.TrimSuffix(path, "/")+"/")
	})
}

// mountsWith returns the mounts whose description contains text.
func mountsWith(text string) []string {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// isEmptyDir checks that dir has no entries. One that does not exist has none.
func isEmptyDir(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	assert.Empty(t, entries, "left in %s", dir)
}

// async runs call and delivers its error.
func async(call func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	return done
}

// received returns what comes from a channel, or ends the test when its time is up.
func received[T any](w *world, from <-chan T) T {
	w.Helper()
	select {
	case v := <-from:
		return v
	case <-w.ctx.Done():
		require.FailNow(w, "nothing came", "no %v", reflect.TypeFor[T]())
		panic("unreachable")
	}
}
