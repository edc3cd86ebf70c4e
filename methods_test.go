package containerd

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/grpcmock"
)

type callOf = grpcmock.Call

// requestsOf returns how many requests a method makes on the canned state, on
// a service that was not used before.
func requestsOf(t *testing.T, m method) int {
	t.Helper()
	d := m.daemon(t)
	require.NoError(t, m.do(t.Context(), d.service()))
	return len(d.Calls())
}

// methods are the methods of Engine that take a context. All of them can be
// here: those of Connection, which are not, make no request. Sequences enter
// through their first error.
func methods(t *testing.T) map[string]method {
	t.Helper()
	ms := map[string]method{}
	addImageMethods(newDaemon(t), ms)
	addContainerMethods(ms)
	addTaskMethods(ms)
	addSnapshotMethods(ms)
	require.Len(t, ms, 19)
	ms["Ping"] = method{op: "ping", call: func(ctx context.Context, s *DefaultService, _ []string) error {
		return s.Ping(ctx)
	}}
	ms["Capabilities"] = method{op: "capabilities", call: func(ctx context.Context, s *DefaultService, _ []string) error {
		_, err := s.Capabilities(ctx)
		return err
	}}
	addExecMethods(ms)
	addLaunchMethods(ms)
	addLogMethods(ms)
	addControlMethods(ms)
	addMonitorMethods(ms)
	return ms
}

type (
	ctxT = context.Context
	svcT = *DefaultService
)

func addImageMethods(d *daemon, ms map[string]method) {
	// A complete digest reference of present content needs no registry.
	pinned := strings.TrimSuffix(testImage, ":1") + "@" + d.stores.images[testImage].GetTarget().GetDigest()
	pull := func(ctx ctxT, s svcT, ref string, opts *PullImageOptions) error {
		_, err := s.PullImage(ctx, ref, opts)
		return err
	}
	ms["PullImage"] = method{
		op: "pull image", id: pinned, args: []string{pinned},
		call:     func(ctx ctxT, s svcT, a []string) error { return pull(ctx, s, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return pull(ctx, s, pinned, nil) },
		withZero: func(ctx ctxT, s svcT) error { return pull(ctx, s, pinned, &PullImageOptions{}) },
	}
	ms["GetImage"] = method{
		op: "get image", id: testImage, args: []string{testImage},
		call: func(ctx ctxT, s svcT, a []string) error { _, err := s.GetImage(ctx, a[0]); return err },
	}
	ms["ListImages"] = method{
		op:   "list images",
		call: func(ctx ctxT, s svcT, _ []string) error { _, err := s.ListImages(ctx); return err },
	}
	ms["DeleteImage"] = method{
		op: "delete image", id: testImage, args: []string{testImage},
		call:     func(ctx ctxT, s svcT, a []string) error { return s.DeleteImage(ctx, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return s.DeleteImage(ctx, testImage, nil) },
		withZero: func(ctx ctxT, s svcT) error { return s.DeleteImage(ctx, testImage, &DeleteImageOptions{}) },
	}
}

func addContainerMethods(ms map[string]method) {
	ms["CreateContainer"] = method{
		op: "create container", id: "new", args: []string{"new", testImage},
		call: func(ctx ctxT, s svcT, a []string) error {
			_, err := s.CreateContainer(ctx, CreateContainerRequest{ID: a[0], ImageRef: a[1]})
			return err
		},
	}
	ms["CreateContainerFromSnapshot"] = method{
		op: "create container from snapshot", id: "new", args: []string{"new", testImage, "kept"},
		call: func(ctx ctxT, s svcT, a []string) error {
			_, err := s.CreateContainerFromSnapshot(ctx, CreateContainerRequest{ID: a[0], ImageRef: a[1], SnapshotID: a[2]})
			return err
		},
	}
	ms["GetContainer"] = method{
		op: "get container", id: "web", args: []string{"web"},
		call: func(ctx ctxT, s svcT, a []string) error { _, err := s.GetContainer(ctx, a[0]); return err },
	}
	ms["ListContainers"] = method{
		op:   "list containers",
		call: func(ctx ctxT, s svcT, _ []string) error { _, err := s.ListContainers(ctx); return err },
	}
	ms["ListContainersByLabel"] = method{
		op: "list containers by label", id: "key", args: []string{"key"},
		call: func(ctx ctxT, s svcT, a []string) error {
			_, err := s.ListContainersByLabel(ctx, a[0], "value")
			return err
		},
	}
	ms["DeleteContainer"] = method{
		op: "delete container", id: "idle", args: []string{"idle"},
		call:     func(ctx ctxT, s svcT, a []string) error { return s.DeleteContainer(ctx, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return s.DeleteContainer(ctx, "idle", nil) },
		withZero: func(ctx ctxT, s svcT) error { return s.DeleteContainer(ctx, "idle", &DeleteContainerOptions{}) },
	}
}

func addTaskMethods(ms map[string]method) {
	start := func(ctx ctxT, s svcT, id string, opts *StartTaskOptions) error {
		_, err := s.StartTask(ctx, id, opts)
		return err
	}
	ms["StartTask"] = method{
		op: "start task", id: "idle", args: []string{"idle"},
		call:     func(ctx ctxT, s svcT, a []string) error { return start(ctx, s, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return start(ctx, s, "idle", nil) },
		withZero: func(ctx ctxT, s svcT) error { return start(ctx, s, "idle", &StartTaskOptions{}) },
	}
	ms["GetTask"] = method{
		op: "get task", id: "web", args: []string{"web"},
		call: func(ctx ctxT, s svcT, a []string) error { _, err := s.GetTask(ctx, a[0]); return err },
	}
	list := func(ctx ctxT, s svcT, opts *ListTasksOptions) error { _, err := s.ListTasks(ctx, opts); return err }
	ms["ListTasks"] = method{
		op:       "list tasks",
		call:     func(ctx ctxT, s svcT, _ []string) error { return list(ctx, s, nil) },
		withNil:  func(ctx ctxT, s svcT) error { return list(ctx, s, nil) },
		withZero: func(ctx ctxT, s svcT) error { return list(ctx, s, &ListTasksOptions{}) },
	}
	ms["StopTask"] = method{
		op: "stop task", id: "web", args: []string{"web"},
		call:     func(ctx ctxT, s svcT, a []string) error { return s.StopTask(ctx, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return s.StopTask(ctx, "web", nil) },
		withZero: func(ctx ctxT, s svcT) error { return s.StopTask(ctx, "web", &StopTaskOptions{}) },
	}
	ms["DeleteTask"] = method{
		op: "delete task", id: "done", args: []string{"done"},
		call:     func(ctx ctxT, s svcT, a []string) error { return s.DeleteTask(ctx, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return s.DeleteTask(ctx, "done", nil) },
		withZero: func(ctx ctxT, s svcT) error { return s.DeleteTask(ctx, "done", &DeleteTaskOptions{}) },
	}
	ms["ExecTask"] = method{
		op: "exec task", id: "web", args: []string{"web"},
		call: func(ctx ctxT, s svcT, a []string) error {
			_, err := s.ExecTask(ctx, a[0], ExecTaskRequest{Args: []string{"true"}})
			return err
		},
	}
}

func addSnapshotMethods(ms map[string]method) {
	ms["CommitSnapshot"] = method{
		op: "commit snapshot", id: "kept", args: []string{testSnapshotter, "v1", "kept"},
		call: func(ctx ctxT, s svcT, a []string) error { return s.CommitSnapshot(ctx, a[0], a[1], a[2]) },
	}
	ms["PrepareSnapshot"] = method{
		op: "prepare snapshot", id: "new", args: []string{testSnapshotter, "new", "v0"},
		call: func(ctx ctxT, s svcT, a []string) error { return s.PrepareSnapshot(ctx, a[0], a[1], a[2]) },
	}
	ms["SnapshotMounts"] = method{
		op: "snapshot mounts", id: "kept", args: []string{testSnapshotter, "kept"},
		call: func(ctx ctxT, s svcT, a []string) error { _, err := s.SnapshotMounts(ctx, a[0], a[1]); return err },
	}
}

func addExecMethods(ms map[string]method) {
	ms["StartExec"] = method{
		op: "start exec", id: "web", args: []string{"web"},
		call: func(ctx ctxT, s svcT, a []string) error {
			_, err := s.StartExec(ctx, a[0], StartExecRequest{ID: "job", Args: []string{"true"}, Detach: true})
			return err
		},
	}
	ms["OpenExec"] = method{
		op: "open exec", id: "done", args: []string{"done", "old"},
		call: func(ctx ctxT, s svcT, a []string) error { _, err := s.OpenExec(ctx, a[0], a[1]); return err },
	}
	list := func(ctx ctxT, s svcT, opts *ListExecsOptions) error {
		_, err := s.ListExecs(ctx, "web", opts)
		return err
	}
	ms["ListExecs"] = method{
		op: "list execs", id: "web", args: []string{"web"},
		call:     func(ctx ctxT, s svcT, a []string) error { _, err := s.ListExecs(ctx, a[0], nil); return err },
		withNil:  func(ctx ctxT, s svcT) error { return list(ctx, s, nil) },
		withZero: func(ctx ctxT, s svcT) error { return list(ctx, s, &ListExecsOptions{}) },
	}
}
