package containerdtest

import (
	"context"
	"slices"

	"github.com/containerd/cgroups/v3/cgroup2/stats"
	eventtypes "github.com/containerd/containerd/api/events"
	apitypes "github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/typeurl/v2"
)

// publish sends an event of the task to the daemon, if there is one.
func (t *task) publish(topic string, event events.Event) {
	t.machine.publish(t.namespace, topic, event)
}

func (t *task) announceCreate(opts runtime.CreateOpts) {
	var rootfs []*apitypes.Mount
	for _, m := range opts.Rootfs {
		rootfs = append(rootfs, &apitypes.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	t.publish(runtime.TaskCreateEventTopic, &eventtypes.TaskCreate{
		ContainerID: t.id, Bundle: t.scratch, Rootfs: rootfs, Pid: t.init.pid,
		IO: &eventtypes.TaskIO{Stdin: opts.IO.Stdin, Stdout: opts.IO.Stdout, Stderr: opts.IO.Stderr, Terminal: opts.IO.Terminal},
	})
}

func (t *task) announceDelete(exit *runtime.Exit) {
	t.publish(runtime.TaskDeleteEventTopic, &eventtypes.TaskDelete{
		ContainerID: t.id, Pid: exit.Pid, ExitStatus: exit.Status, ExitedAt: protobuf.ToTimestamp(exit.Timestamp),
	})
}

func (p *process) announceStart() {
	t := p.task
	if p.execID == "" {
		t.publish(runtime.TaskStartEventTopic, &eventtypes.TaskStart{ContainerID: t.id, Pid: p.pid})
		return
	}
	t.publish(runtime.TaskExecStartedEventTopic, &eventtypes.TaskExecStarted{ContainerID: t.id, ExecID: p.execID, Pid: p.pid})
}

func (p *process) announceExit() {
	p.task.publish(runtime.TaskExitEventTopic, &eventtypes.TaskExit{
		ContainerID: p.task.id, ID: p.ID(), Pid: p.pid, ExitStatus: p.exit.Status, ExitedAt: protobuf.ToTimestamp(p.exit.Timestamp),
	})
}

// Pids lists what runs, the first process first, and says which are execs.
func (t *task) Pids(context.Context) ([]runtime.ProcessInfo, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []runtime.ProcessInfo
	if t.init.status == runtime.CreatedStatus {
		list = append(list, runtime.ProcessInfo{Pid: t.init.pid})
	}
	for p := range t.live {
		if p.status != runtime.RunningStatus {
			continue
		}
		info := runtime.ProcessInfo{Pid: p.pid}
		if p.execID != "" {
			details, err := typeurl.MarshalAny(&options.ProcessDetails{ExecID: p.execID})
			if err != nil {
				return nil, err
			}
			info.Info = details
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b runtime.ProcessInfo) int { return int(a.Pid) - int(b.Pid) })
	return list, nil
}

// Stats counts the processes; the fake measures nothing else.
func (t *task) Stats(context.Context) (*types.Any, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return typeurl.MarshalAnyToProto(&stats.Metrics{
		Pids: &stats.PidsStat{Current: uint64(len(t.live))}, CPU: &stats.CPUStat{}, Memory: &stats.MemoryStat{},
	})
}
