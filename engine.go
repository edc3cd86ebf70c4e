package containerd

import (
	"context"
	"iter"
	"syscall"

	containerd "github.com/containerd/containerd/v2/client"
)

// Engine is everything that [DefaultService] can do: [Service] and all role
// interfaces. It grows with every release, so do not implement it by hand;
// accept [Service] or one role instead.
type Engine interface {
	Service
	Connection
	Inspector
	TaskWaiter
	TaskController
	TaskMonitor
	TaskLauncher
	LogReader
	Attacher
	Executor
}

// Connection gives access to what the service stands on.
type Connection interface {
	// Client returns the underlying containerd client.
	Client() *containerd.Client
	// Namespace returns the namespace that every call acts in.
	Namespace() string
	// Close releases what the service holds.
	Close() error
}

// Inspector asks the daemon about itself.
type Inspector interface {
	// Ping reports whether the daemon answers.
	Ping(ctx context.Context) error
	// Capabilities reports what the daemon and its runtime can do.
	Capabilities(ctx context.Context) (Capabilities, error)
}

// TaskWaiter waits for tasks to end.
type TaskWaiter interface {
	// WaitTask waits until a task has ended, and returns how.
	WaitTask(ctx context.Context, containerID string, opts *WaitTaskOptions) (WaitTaskResult, error)
}

// TaskLauncher starts tasks with a choice of where their streams go.
type TaskLauncher interface {
	// LaunchTask creates and starts a container's task.
	LaunchTask(ctx context.Context, containerID string, req LaunchTaskRequest) (LaunchTaskResult, error)
	// RestartTask stops a container's task and starts it again.
	RestartTask(ctx context.Context, containerID string, req RestartTaskRequest) (LaunchTaskResult, error)
}

// LogReader reads what tasks that were started with [LogIO] have written.
type LogReader interface {
	// Logs returns a container's log.
	Logs(ctx context.Context, containerID string, opts *LogsOptions) iter.Seq2[LogEntry, error]
}

// Attacher connects to running tasks that were started with [LogIO].
type Attacher interface {
	// AttachTask connects to a container's task.
	AttachTask(ctx context.Context, containerID string, req AttachTaskRequest) (Attachment, error)
}

// TaskController changes what tasks do.
type TaskController interface {
	// SignalTask sends a signal to a task's process, or to all of them.
	SignalTask(ctx context.Context, containerID string, signal syscall.Signal, opts *SignalTaskOptions) error
	// PauseTask holds a task's processes.
	PauseTask(ctx context.Context, containerID string, opts *PauseTaskOptions) error
	// ResumeTask lets a paused task's processes go on.
	ResumeTask(ctx context.Context, containerID string, opts *ResumeTaskOptions) error
	// ListProcesses returns a task's processes with their arguments.
	ListProcesses(ctx context.Context, containerID string, opts *ListProcessesOptions) ([]ProcessInfo, error)
	// UpdateResources changes limits, stored and in force.
	UpdateResources(ctx context.Context, containerID string, resources Resources, opts *UpdateResourcesOptions) (UpdateResourcesResult, error)
}

// TaskMonitor measures tasks.
type TaskMonitor interface {
	// TaskMetrics measures a task once.
	TaskMetrics(ctx context.Context, containerID string, opts *TaskMetricsOptions) (TaskMetrics, error)
	// WatchMetrics measures a task until it has ended.
	WatchMetrics(ctx context.Context, containerID string, opts *WatchMetricsOptions) iter.Seq2[MetricsSample, error]
	// WatchOOM reports kills for memory.
	WatchOOM(ctx context.Context, opts *WatchOOMOptions) iter.Seq2[OOMEvent, error]
}

// Executor runs further processes in running containers. [Command] builds on
// it something with the shape of package os/exec.
//
// Implementations are safe for concurrent use by multiple goroutines, as are
// their Execs.
type Executor interface {
	// StartExec starts a process in a running container.
	StartExec(ctx context.Context, containerID string, req StartExecRequest) (Exec, error)
	// OpenExec returns an exec by its ID, whoever started it.
	OpenExec(ctx context.Context, containerID, execID string) (Exec, error)
	// ListExecs returns the running execs of a container.
	ListExecs(ctx context.Context, containerID string, opts *ListExecsOptions) ([]ExecInfo, error)
}

var (
	_ Service = (*DefaultService)(nil)
	_ Engine  = (*DefaultService)(nil)
)
