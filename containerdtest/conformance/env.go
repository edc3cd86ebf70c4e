package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// caseTimeout bounds one case, so that a hang is a failure of that case.
const caseTimeout = 3 * time.Minute

// env is what a case works with. Its helpers end the case on the first error
// that is not what the case is about.
type env struct {
	*testing.T
	Backend
	ctx context.Context // carries no namespace: the service must not need it
	raw context.Context // carries the namespace, for the plain client
	dir string          // for the case's files, made at the first use
}

func newEnv(t *testing.T, b Backend) *env {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), caseTimeout)
	t.Cleanup(cancel)
	e := &env{T: t, Backend: b, ctx: ctx, raw: namespaces.WithNamespace(ctx, b.Namespace)}
	t.Cleanup(e.leaveNothing)
	return e
}

// need skips the rest of the case if the backend lacks an ability.
func (e *env) need(ability Ability) {
	e.Helper()
	if reason, lacks := e.Lacks[ability]; lacks {
		e.Skipf("no %s: %s", ability, reason)
	}
}

// ok ends the case if err is not nil.
func (e *env) ok(err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("unexpected error: %v", err)
	}
}

// class checks that err is an *containerd.Error of one errdefs class, which
// names the operation and the object.
func (e *env) class(err error, is func(error) bool, id string) {
	e.Helper()
	if err == nil {
		e.Fatal("no error")
	}
	if !is(err) {
		e.Errorf("error is of another class: %v", err)
	}
	var opErr *containerd.Error
	if !errors.As(err, &opErr) {
		e.Fatalf("error is a %T, want *containerd.Error: %v", err, err)
	}
	if opErr.Op == "" || opErr.ID != id {
		e.Errorf("error has Op %q and ID %q, want an Op and ID %q", opErr.Op, opErr.ID, id)
	}
}

// invalid checks that err rejects the named field.
func (e *env) invalid(err error, id, field string) {
	e.Helper()
	e.class(err, errdefs.IsInvalidArgument, id)
	if !errors.Is(err, containerd.ErrInvalidArgument) {
		e.Errorf("error is not ErrInvalidArgument: %v", err)
	}
	if !strings.Contains(err.Error(), field) {
		e.Errorf("error does not name %q: %v", field, err)
	}
}

// id returns a name that no other case uses.
func (e *env) id() string { return "c-" + strings.ToLower(rand.Text()[:10]) }

// create makes a container that runs args, or the image's command.
func (e *env) create(args ...string) string {
	e.Helper()
	return e.createWith(containerd.CreateContainerRequest{}, args...)
}

func (e *env) createWith(req containerd.CreateContainerRequest, args ...string) string {
	e.Helper()
	if req.ID == "" {
		req.ID = e.id()
	}
	if req.ImageRef == "" {
		req.ImageRef = e.Image
	}
	if len(args) > 0 {
		req.SpecOpts = append(req.SpecOpts, oci.WithProcessArgs(args...))
	}
	_, err := e.Service.CreateContainer(e.ctx, req)
	e.ok(err)
	return req.ID
}

// start makes a container and starts its task.
func (e *env) start(args ...string) string {
	e.Helper()
	id := e.create(args...)
	_, err := e.Service.StartTask(e.ctx, id, nil)
	e.ok(err)
	return id
}

// status returns the task's status as the daemon gives it, or "" without a task.
func (e *env) status(id string) string {
	e.Helper()
	r, err := e.Client.TaskService().Get(e.raw, &tasks.GetRequest{ContainerID: id})
	if err != nil {
		return ""
	}
	return r.GetProcess().GetStatus().String()
}

// waitExit waits until the task's process has exited, through the plain client.
func (e *env) waitExit(id string) {
	e.Helper()
	_, err := e.Client.TaskService().Wait(e.raw, &tasks.WaitRequest{ContainerID: id})
	e.ok(err)
}

// sh runs a shell line in the container's task and returns its exit code.
func (e *env) sh(id, line string) uint32 {
	e.Helper()
	result, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"/bin/sh", "-c", line}})
	e.ok(err)
	return result.ExitCode
}

// hasContainer asks the daemon.
func (e *env) hasContainer(id string) bool {
	e.Helper()
	_, err := e.Client.ContainerService().Get(e.raw, id)
	if err != nil && !errdefs.IsNotFound(err) {
		e.ok(err)
	}
	return err == nil
}

// snapshot asks the daemon for a snapshot; ok is false if there is none.
func (e *env) snapshot(key string) (info snapshots.Info, ok bool) {
	e.Helper()
	info, err := e.Client.SnapshotService(e.Snapshotter).Stat(e.raw, key)
	if err != nil && !errdefs.IsNotFound(err) {
		e.ok(err)
	}
	return info, err == nil
}

// leaveNothing removes what the case made on purpose, through the plain
// client, and fails it for what can only be the service's own remainder.
func (e *env) leaveNothing() {
	ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
	defer cancel()
	ctx = namespaces.WithNamespace(ctx, e.Namespace)
	leases, err := e.Client.LeasesService().List(ctx)
	if err != nil {
		e.Errorf("listing leases: %v", err)
	}
	for _, lease := range leases {
		e.Errorf("lease %s is left: %v", lease.ID, lease.Labels)
	}
	e.removeContainers(ctx)
}

func (e *env) removeContainers(ctx context.Context) {
	list, err := e.Client.Containers(ctx)
	if err != nil {
		e.Errorf("listing containers: %v", err)
	}
	for _, c := range list {
		if task, err := c.Task(ctx, nil); err == nil {
			if _, err := task.Delete(ctx, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
				e.Errorf("deleting task %s: %v", c.ID(), err)
			}
		}
		if err := c.Delete(ctx, client.WithSnapshotCleanup); err != nil && !errdefs.IsNotFound(err) {
			e.Errorf("deleting container %s: %v", c.ID(), err)
		}
	}
}
