package broken_test

import (
	"context"
	"errors"
	"syscall"

	"github.com/containerd/containerd/api/services/tasks/v1"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/ctrdkit/containerd"
)

var taskBugs = []bug{
	{
		name:    "StartTask leaves the task when it fails half way",
		service: func(b broken) containerd.Service { return leavesTask{b} },
		caught:  []string{"tasks/StartTask: a context that is cancelled when the task has just been made gives either a running task or none"},
		says:    `want ""`,
		may:     []string{"tasks/", "exec/"},
		works:   []string{"tasks/StartTask: nil options start the task, and the handle names it"},
		timing:  true,
	},
	{
		name:    "StartTask does not delete the stopped old task",
		service: func(b broken) containerd.Service { return keepsOldTask{b} },
		caught: []string{
			"tasks/StartTask: a stopped old task is replaced",
			"tasks/StartTask: a task that StopTask has stopped is replaced",
		},
		says:  "already exists",
		may:   []string{"tasks/", "exec/"},
		works: []string{"tasks/StartTask: nil options start the task, and the handle names it"},
	},
	{
		name:    "StartTask replaces a running task",
		service: func(b broken) containerd.Service { return replacesTask{b} },
		caught:  []string{"tasks/StartTask: a running task gives already-exists and is not touched"},
		says:    "no error",
		may:     []string{"tasks/"},
		works:   []string{"tasks/StartTask: a stopped old task is replaced"},
	},
	{
		name:    "StartTask with nil options binds the task to the caller's stdio",
		service: func(b broken) containerd.Service { return nilIsStdio{b} },
		caught: []string{
			"all methods/StartTaskOptions: nil and the zero value are the same",
			"tasks/StartTask: zero options are the same as nil",
		},
		says:  "gave the task input or a terminal",
		may:   []string{"tasks/", "exec/"},
		works: []string{"tasks/StartTask: nil options start the task, and the handle names it"},
	},
	{
		name:    "ListTasks leaves the filter to the daemon, which ignores it",
		service: func(b broken) containerd.Service { return trustsFilter{b} },
		caught: []string{
			"tasks/ListTasks: the filter status: RUNNING matches running tasks",
			"tasks/ListTasks: an unknown operator in the filter is an invalid argument",
		},
		says:  "listed the tasks of",
		works: []string{"tasks/ListTasks: nil options list every task of the namespace and no other"},
	},
	{
		name:    "ListTasks passes on ContainerID, which the daemon does not fill",
		service: func(b broken) containerd.Service { return emptyContainerID{b} },
		caught:  []string{"tasks/ListTasks: ContainerID and every other field are filled"},
		may:     []string{"tasks/restart: "},
		works:   []string{"tasks/ListTasks: an empty namespace has no tasks, and that is no error"},
	},
	{
		name:    "DeleteTask deletes without waiting for the killed task's end",
		service: func(b broken) containerd.Service { return deletesAtOnce{b} },
		caught:  []string{"tasks/DeleteTask: a deletion right after a kill never finds the task unstopped"},
		says:    "task must be stopped before deletion",
		may:     []string{"tasks/", "containers/", "exec/ExecTask: execs that race", "all methods/StopTask: acts"},
		works:   []string{"tasks/DeleteTask: a running task gives failed-precondition and is not touched"},
		timing:  true,
	},
	{
		name:    "DeleteTask kills without being told to",
		service: func(b broken) containerd.Service { return alwaysForces{b} },
		caught: []string{
			"tasks/DeleteTask: a running task gives failed-precondition and is not touched",
			"all methods/DeleteTaskOptions: nil and the zero value do not end a running task",
		},
		says:  "no error",
		may:   []string{"tasks/StopTask: a stop that waits holds up no other method"},
		works: []string{"tasks/DeleteTask: Force deletes a running task"},
	},
}

// start makes a task and starts it.
func (b broken) start(ctx context.Context, containerID string, create cio.Creator) (client.Task, error) {
	c, err := b.client.LoadContainer(b.in(ctx), containerID)
	if err != nil {
		return nil, failed("start task", containerID, err)
	}
	task, err := c.NewTask(b.in(ctx), create)
	if err == nil {
		err = task.Start(b.in(ctx))
	}
	if err != nil {
		return nil, failed("start task", containerID, err)
	}
	return b.GetTask(ctx, containerID)
}

type leavesTask struct{ broken }

func (s leavesTask) StartTask(ctx context.Context, containerID string, _ *containerd.StartTaskOptions) (client.Task, error) {
	return s.start(ctx, containerID, cio.NullIO)
}

// keepsOldTask undoes what it made, as leavesTask does not.
type keepsOldTask struct{ broken }

func (s keepsOldTask) StartTask(ctx context.Context, containerID string, _ *containerd.StartTaskOptions) (client.Task, error) {
	c, err := s.client.LoadContainer(s.in(ctx), containerID)
	if err != nil {
		return nil, failed("start task", containerID, err)
	}
	task, err := c.NewTask(s.in(ctx), cio.NullIO)
	if err != nil {
		return nil, failed("start task", containerID, err)
	}
	if err := task.Start(s.in(ctx)); err != nil {
		_, undo := task.Delete(s.in(context.WithoutCancel(ctx)), client.WithProcessKill)
		return nil, errors.Join(failed("start task", containerID, err), undo)
	}
	return s.GetTask(ctx, containerID)
}

type replacesTask struct{ broken }

func (s replacesTask) StartTask(ctx context.Context, containerID string, opts *containerd.StartTaskOptions) (client.Task, error) {
	err := s.Service.DeleteTask(ctx, containerID, &containerd.DeleteTaskOptions{Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, err
	}
	return s.Service.StartTask(ctx, containerID, opts)
}

type nilIsStdio struct{ broken }

func (s nilIsStdio) StartTask(ctx context.Context, containerID string, opts *containerd.StartTaskOptions) (client.Task, error) {
	if opts == nil {
		return s.start(ctx, containerID, cio.NewCreator(cio.WithStdio, cio.WithFIFODir(s.dir)))
	}
	return s.Service.StartTask(ctx, containerID, opts)
}

// list returns all tasks that the daemon lists.
func (b broken) list(ctx context.Context, filter string) ([]containerd.TaskInfo, error) {
	r, err := b.client.TaskService().List(b.in(ctx), &tasks.ListTasksRequest{Filter: filter})
	var list []containerd.TaskInfo
	for _, p := range r.GetTasks() {
		list = append(list, containerd.TaskInfo{
			ContainerID: p.GetContainerID(), ID: p.GetID(), PID: p.GetPid(), Status: p.GetStatus(), ExitStatus: p.GetExitStatus(),
		})
	}
	return list, failed("list tasks", "", errgrpc.ToNative(err))
}

type trustsFilter struct{ broken }

func (s trustsFilter) ListTasks(ctx context.Context, opts *containerd.ListTasksOptions) ([]containerd.TaskInfo, error) {
	filter := ""
	if opts != nil {
		filter = opts.Filter
	}
	list, err := s.list(ctx, filter)
	for i := range list {
		list[i].ContainerID = list[i].ID
	}
	return list, err
}

type emptyContainerID struct{ broken }

func (s emptyContainerID) ListTasks(ctx context.Context, opts *containerd.ListTasksOptions) ([]containerd.TaskInfo, error) {
	if opts != nil && opts.Filter != "" {
		return s.Service.ListTasks(ctx, opts)
	}
	return s.list(ctx, "")
}

type deletesAtOnce struct{ broken }

func (s deletesAtOnce) DeleteTask(ctx context.Context, containerID string, opts *containerd.DeleteTaskOptions) error {
	if opts == nil || !opts.Force {
		return s.Service.DeleteTask(ctx, containerID, opts)
	}
	task, err := s.task(ctx, containerID)
	if err != nil {
		return failed("delete task", containerID, err)
	}
	err = task.Kill(s.in(ctx), syscall.SIGKILL, client.WithKillAll)
	if err == nil || errdefs.IsNotFound(err) { // not found is a task that has stopped
		_, err = task.Delete(s.in(ctx))
	}
	return failed("delete task", containerID, err)
}

type alwaysForces struct{ broken }

func (s alwaysForces) DeleteTask(ctx context.Context, containerID string, _ *containerd.DeleteTaskOptions) error {
	task, err := s.task(ctx, containerID)
	if err == nil {
		_, err = task.Delete(s.in(ctx), client.WithProcessKill)
	}
	return failed("delete task", containerID, err)
}
