package containerd

import (
	"context"
	"fmt"
	"strings"

	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	versionapi "github.com/containerd/containerd/api/services/version/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	created = tasktypes.Status_CREATED
	running = tasktypes.Status_RUNNING
	stopped = tasktypes.Status_STOPPED
	paused  = tasktypes.Status_PAUSED
	pausing = tasktypes.Status_PAUSING
)

// taskStates are the canned processes, by container and exec.
type taskStates map[string]*taskState

type taskState struct {
	*tasktypes.Process
	deaf    bool          // only SIGKILL ends it
	undead  bool          // not even SIGKILL does
	brief   bool          // it ends as soon as somebody waits for it
	pending uint32        // the signal that arrives when it is resumed, 0 for none
	exited  chan struct{} // closed when it has stopped
	code    uint32        // how an exec ends when it is started; or 200 to run on
}

const runsOn = 200

func (ts taskStates) list() []string {
	var list []string
	for key, p := range ts {
		list = append(list, fmt.Sprintf("task %s %s", key, p.GetStatus()))
	}
	return list
}

func (ts taskStates) find(container, exec string) (*taskState, error) {
	return get(ts, taskKey(container, exec))
}

func taskKey(container, exec string) string {
	if exec == "" {
		return container
	}
	return container + "/" + exec
}

func (p *taskState) end(code uint32) {
	if p.Status != stopped {
		p.Status, p.ExitStatus, p.ExitedAt = stopped, code, timestamppb.Now()
		close(p.exited)
	}
}

const noPID = 1 << 30 // no process has such a PID

// addTask adds a task that ends at any signal.
func (d *daemon) addTask(id string, status tasktypes.Status) *taskState {
	p := d.newTask(id)
	if status == stopped {
		p.end(0)
	}
	p.Status = status
	d.taskStates[id] = p
	return p
}

func (d *daemon) newTask(id string) *taskState {
	d.pids++
	return &taskState{
		Process: &tasktypes.Process{ID: id, Pid: noPID + d.pids, Status: created},
		exited:  make(chan struct{}),
	}
}

// change lets the test change a task.
func (d *daemon) change(id string, f func(p *taskState)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d.taskStates[id])
}

func (d *daemon) serveTasks() {
	e := d.Tasks.EXPECT()
	e.Get(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Tasks/Get", func(r *tasksapi.GetRequest) (*tasksapi.GetResponse, error) {
		p, err := d.taskStates.find(r.GetContainerID(), r.GetExecID())
		if err != nil || d.stores.containers[r.GetContainerID()] == nil {
			return nil, errdefs.ErrNotFound
		}
		return &tasksapi.GetResponse{Process: proto.CloneOf(p.Process)}, nil
	})).Maybe()
	e.List(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Tasks/List", func(*tasksapi.ListTasksRequest) (*tasksapi.ListTasksResponse, error) {
		resp := &tasksapi.ListTasksResponse{}
		for _, p := range d.taskStates {
			if p.ID != "" && d.taskStates[p.ID] == p {
				resp.Tasks = append(resp.Tasks, proto.CloneOf(p.Process))
			}
		}
		return resp, nil
	})).Maybe()
	e.Create(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Tasks/Create", func(r *tasksapi.CreateTaskRequest) (*tasksapi.CreateTaskResponse, error) {
		if d.taskStates[r.GetContainerID()] != nil {
			return nil, errdefs.ErrAlreadyExists
		}
		p := d.newTask(r.GetContainerID())
		p.Stdout, p.Stderr, p.Terminal = r.GetStdout(), r.GetStderr(), r.GetTerminal()
		d.taskStates[r.GetContainerID()] = p
		return &tasksapi.CreateTaskResponse{ContainerID: r.GetContainerID(), Pid: p.Pid}, nil
	})).Maybe()
	e.Start(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Tasks/Start", func(r *tasksapi.StartRequest) (*tasksapi.StartResponse, error) {
		p, err := d.taskStates.find(r.GetContainerID(), r.GetExecID())
		if err != nil {
			return nil, err
		}
		p.Status = running
		if r.GetExecID() != "" && p.code != runsOn {
			p.end(p.code)
		}
		return &tasksapi.StartResponse{Pid: p.Pid}, nil
	})).Maybe()
	e.Exec(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Tasks/Exec", func(r *tasksapi.ExecProcessRequest) (*emptypb.Empty, error) {
		task, err := d.taskStates.find(r.GetContainerID(), "")
		if err != nil {
			return nil, err
		}
		if d.taskStates[taskKey(r.GetContainerID(), r.GetExecID())] != nil {
			return nil, errdefs.ErrAlreadyExists
		}
		p := d.newTask("")
		p.code, p.deaf = task.code, task.deaf
		p.Stdin, p.Stdout, p.Stderr, p.Terminal = r.GetStdin(), r.GetStdout(), r.GetStderr(), r.GetTerminal()
		d.taskStates[taskKey(r.GetContainerID(), r.GetExecID())] = p
		return &emptypb.Empty{}, nil
	})).Maybe()
	e.ListPids(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Tasks/ListPids", func(r *tasksapi.ListPidsRequest) (*tasksapi.ListPidsResponse, error) {
		return d.listPids(r.GetContainerID())
	})).Maybe()
	e.Delete(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Tasks/Delete", func(r *tasksapi.DeleteTaskRequest) (*tasksapi.DeleteResponse, error) {
		return d.removeTask(r.GetContainerID(), "")
	})).Maybe()
	e.DeleteProcess(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Tasks/DeleteProcess", func(r *tasksapi.DeleteProcessRequest) (*tasksapi.DeleteResponse, error) {
		return d.removeTask(r.GetContainerID(), r.GetExecID())
	})).Maybe()
	e.Kill(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Tasks/Kill", func(r *tasksapi.KillRequest) (*emptypb.Empty, error) {
		p, err := d.taskStates.find(r.GetContainerID(), r.GetExecID())
		switch {
		case err != nil:
			return nil, err
		case p.Status == stopped:
			return nil, errdefs.ErrNotFound
		case p.undead, p.deaf && r.GetSignal() != 9, p.Status == paused && r.GetSignal() != 9:
			if isFrozen(p.Status) {
				p.pending = r.GetSignal()
			}
		default:
			p.end(128 + r.GetSignal())
		}
		return &emptypb.Empty{}, nil
	})).Maybe()
	e.Resume(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Tasks/Resume", func(r *tasksapi.ResumeTaskRequest) (*emptypb.Empty, error) {
		p, err := d.taskStates.find(r.GetContainerID(), "")
		switch {
		case err != nil:
			return nil, err
		case p.Status != paused:
			return nil, errdefs.ErrFailedPrecondition
		}
		if p.Status = running; p.pending != 0 {
			p.end(128 + p.pending)
		}
		return &emptypb.Empty{}, nil
	})).Maybe()
	e.Wait(mock.Anything, mock.Anything).RunAndReturn(d.wait).Maybe()
}

func (d *daemon) removeTask(container, exec string) (*tasksapi.DeleteResponse, error) {
	p, err := d.taskStates.find(container, exec)
	if err != nil {
		return nil, err
	}
	if p.Status == running || p.Status == paused {
		return nil, errdefs.ErrFailedPrecondition
	}
	delete(d.taskStates, taskKey(container, exec))
	return &tasksapi.DeleteResponse{ExitStatus: p.ExitStatus}, nil
}

func (d *daemon) listPids(id string) (*tasksapi.ListPidsResponse, error) {
	if d.taskStates[id] == nil {
		return nil, errdefs.ErrNotFound
	}
	resp := &tasksapi.ListPidsResponse{}
	for key, p := range d.taskStates {
		container, exec, isExec := strings.Cut(key, "/")
		if container != id || p.Status != running {
			continue
		}
		info := &tasktypes.ProcessInfo{Pid: p.Pid}
		if isExec {
			details, err := typeurl.MarshalAnyToProto(&options.ProcessDetails{ExecID: exec})
			if err != nil {
				return nil, err
			}
			info.Info = details
		}
		resp.Processes = append(resp.Processes, info)
	}
	return resp, nil
}

func (d *daemon) wait(ctx context.Context, r *tasksapi.WaitRequest) (*tasksapi.WaitResponse, error) {
	d.mu.Lock()
	p, err := d.taskStates.find(r.GetContainerID(), r.GetExecID())
	if err == nil && p.brief {
		p.end(0)
	}
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return serve(d, "Tasks/Wait", func(*tasksapi.WaitRequest) (*tasksapi.WaitResponse, error) {
		return &tasksapi.WaitResponse{ExitStatus: p.ExitStatus, ExitedAt: p.ExitedAt}, nil
	})(ctx, r)
}

// serveIntrospection also serves versions and namespaces.
func (d *daemon) serveIntrospection() {
	d.Version.EXPECT().Version(mock.Anything, mock.Anything).
		Return(&versionapi.VersionResponse{Version: "v2.4.2", Revision: "abc"}, nil).Maybe()
	d.Namespaces.EXPECT().Get(mock.Anything, mock.Anything).
		RunAndReturn(serve(d, "Namespaces/Get", func(r *namespacesapi.GetNamespaceRequest) (*namespacesapi.GetNamespaceResponse, error) {
			return &namespacesapi.GetNamespaceResponse{Namespace: &namespacesapi.Namespace{Name: r.GetName(), Labels: d.nsLabels}}, nil
		})).Maybe()
	d.Introspection.EXPECT().Plugins(mock.Anything, mock.Anything).Return(&introspectionapi.PluginsResponse{
		Plugins: []*introspectionapi.Plugin{{Type: "io.containerd.snapshotter.v1", ID: testSnapshotter, Capabilities: []string{"rebase"}}},
	}, nil).Maybe()
	d.Introspection.EXPECT().PluginInfo(mock.Anything, mock.Anything).
		RunAndReturn(serve(d, "Introspection/PluginInfo", func(*introspectionapi.PluginInfoRequest) (*introspectionapi.PluginInfoResponse, error) {
			info := &types.RuntimeInfo{Name: "runc"}
			if d.seccomp != nil {
				found := &features.Features{Linux: &features.Linux{Seccomp: &features.Seccomp{Enabled: d.seccomp}}}
				packed, err := typeurl.MarshalAnyToProto(found)
				require.NoError(d.t, err)
				info.Features = packed
			}
			extra, err := typeurl.MarshalAnyToProto(info)
			return &introspectionapi.PluginInfoResponse{Extra: extra}, err
		})).Maybe()
}
