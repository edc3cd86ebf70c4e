package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/api/services/tasks/v1"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// state lists what the daemon has in the case's namespace, one line each, in
// a fixed order: a call that must not do anything leaves it as it is.
func (e *env) state() []string {
	e.Helper()
	var lines []string
	records, err := e.Client.ContainerService().List(e.raw)
	e.ok(err)
	for _, c := range records {
		lines = append(lines, fmt.Sprintf("container %s of %s on %s/%s, labels %v, updated %v", c.ID, c.Image, c.Snapshotter, c.SnapshotKey, c.Labels, c.UpdatedAt))
	}
	images, err := e.Client.ImageService().List(e.raw)
	e.ok(err)
	for _, image := range images {
		lines = append(lines, fmt.Sprintf("image %s of %s, labels %v", image.Name, image.Target.Digest, image.Labels))
	}
	held, err := e.Client.LeasesService().List(e.raw)
	e.ok(err)
	for _, lease := range held {
		lines = append(lines, fmt.Sprintf("lease %s, labels %v", lease.ID, lease.Labels))
	}
	running, err := e.Client.TaskService().List(e.raw, &tasks.ListTasksRequest{})
	e.ok(err)
	for _, task := range running.GetTasks() {
		lines = append(lines, fmt.Sprintf("task %s, pid %d, %v", task.GetID(), task.GetPid(), task.GetStatus()))
	}
	for _, name := range e.snapshotters() {
		lines = append(lines, e.snapshotState(name)...)
	}
	slices.Sort(lines)
	return lines
}

func (e *env) snapshotState(snapshotter string) (lines []string) {
	e.Helper()
	e.ok(e.Client.SnapshotService(snapshotter).Walk(e.raw, func(_ context.Context, info snapshots.Info) error {
		lines = append(lines, fmt.Sprintf("%s snapshot %s/%s on %s, labels %v", info.Kind, snapshotter, info.Name, info.Parent, info.Labels))
		return nil
	}))
	return lines
}

// unchanged checks that the state is the one of before.
func (e *env) unchanged(before []string) {
	e.Helper()
	after := e.state()
	for _, line := range after {
		if !slices.Contains(before, line) {
			e.Errorf("is left: %s", line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			e.Errorf("is gone: %s", line)
		}
	}
}

// snapshotters returns the case's snapshotter and, where the daemon has one,
// a second one.
func (e *env) snapshotters() []string {
	e.Helper()
	names := []string{e.Snapshotter}
	r, err := e.Client.IntrospectionService().Plugins(e.raw, "type==io.containerd.snapshotter.v1")
	e.ok(err)
	for _, p := range r.GetPlugins() {
		if p.GetInitErr() == nil && p.GetID() != e.Snapshotter && (p.GetID() == "native" || p.GetID() == "overlayfs") {
			return append(names, p.GetID())
		}
	}
	return names
}

// secondSnapshotter returns another snapshotter than the default one.
func (e *env) secondSnapshotter() string {
	e.Helper()
	names := e.snapshotters()
	if len(names) < 2 {
		e.Skip("the daemon has no second snapshotter")
	}
	return names[1]
}

// collect runs the daemon's garbage collection and waits for it.
func (e *env) collect() {
	e.Helper()
	manager := e.Client.LeasesService()
	lease, err := manager.Create(e.raw, leases.WithRandomID())
	e.ok(err)
	e.ok(manager.Delete(e.raw, lease, leases.SynchronousDelete))
}

// hasSnapshot asks one snapshotter of the daemon.
func (e *env) hasSnapshot(snapshotter, key string) bool {
	e.Helper()
	_, err := e.Client.SnapshotService(snapshotter).Stat(e.raw, key)
	if err != nil && !errdefs.IsNotFound(err) {
		e.ok(err)
	}
	return err == nil
}

// want checks a condition on what the daemon has.
func (e *env) want(ok bool, format string, args ...any) {
	e.Helper()
	if !ok {
		e.Errorf(format, args...)
	}
}

// wantContainer checks that the container and its snapshot are there.
func (e *env) wantContainer(id string) {
	e.Helper()
	if !e.hasContainer(id) {
		e.Errorf("there is no container %s", id)
		return
	}
	record := e.record(id)
	e.want(e.hasSnapshot(record.Snapshotter, record.SnapshotKey), "container %s has no snapshot", id)
}

// wantGone checks that neither a container nor a snapshot of that name is there.
func (e *env) wantGone(id string) {
	e.Helper()
	e.want(!e.hasContainer(id), "container %s is there", id)
	for _, name := range e.snapshotters() {
		e.want(!e.hasSnapshot(name, id), "snapshot %s is there in %s", id, name)
	}
}

// wantByLabel checks which containers the service finds by a label.
func (e *env) wantByLabel(key, value string, want ...string) {
	e.Helper()
	list, err := e.Service.ListContainersByLabel(e.ctx, key, value)
	e.ok(err)
	e.wantIDs(list, want...)
}

// wantIDs checks which containers a list has.
func (e *env) wantIDs(list []client.Container, want ...string) {
	e.Helper()
	var got []string
	for _, c := range list {
		got = append(got, c.ID())
	}
	slices.Sort(got)
	slices.Sort(want)
	e.want(slices.Equal(got, want), "got containers [%s], want [%s]", strings.Join(got, " "), strings.Join(want, " "))
}
