package containerd

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
)

// ListProcessesOptions says which processes [TaskController.ListProcesses]
// returns. It has no fields yet; nil and the zero value are the same.
type ListProcessesOptions struct{}

// ProcessInfo describes one process of a container.
type ProcessInfo struct {
	PID uint32 `json:"pid"` // on the daemon's machine
	// ExecID is the ID of the exec that it is. It is "" for the container's
	// process, for what these have started, and for an exec that is being started.
	ExecID string `json:"execID,omitempty"`
	// Details are nil where they can't be known: the daemon runs on another
	// machine, or the process has just ended.
	Details *ProcessDetails `json:"details,omitempty"`
}

// ProcessState is what a process does at the moment.
type ProcessState string

// The states of a process. The kernel has more of them, which are given by
// their letter in /proc.
const (
	ProcessRunning  ProcessState = "running"  // it runs, or could
	ProcessSleeping ProcessState = "sleeping" // it waits for something
	ProcessBlocked  ProcessState = "blocked"  // it waits for a disk or the like, and can't be killed
	ProcessStopped  ProcessState = "stopped"  // by a signal or by a debugger
	ProcessZombie   ProcessState = "zombie"   // it has ended, and its parent has not asked how
	ProcessIdle     ProcessState = "idle"     // a kernel's thread
)

// ProcessDetails are what the kernel says of a process, as seen from this
// program: user and group IDs are those of its user namespace.
type ProcessDetails struct {
	// ContainerPID is the process ID inside the container.
	ContainerPID uint32 `json:"containerPID"`
	// ParentPID is the process ID of the parent on the daemon's machine. That of
	// the container's process and of execs is outside the container.
	ParentPID uint32 `json:"parentPID"`
	// Args are the arguments, the program's name first. A process can change
	// them. A zombie has none.
	Args []string `json:"args"`
	// ArgsTruncated says that there is more than Args, the last of which may be
	// cut: a process can have arguments without end. At most 128 KiB and 4096
	// arguments are read, and of a process at the end of a list with much in it
	// only 1 KiB.
	ArgsTruncated bool `json:"argsTruncated,omitempty"`
	// Command is the kernel's name of the process: at most 15 bytes, usually of
	// the program's file.
	Command   string       `json:"command"`
	UID       uint32       `json:"uid"` // the effective user ID
	GID       uint32       `json:"gid"` // the effective group ID
	State     ProcessState `json:"state"`
	StartedAt time.Time    `json:"startedAt"` // to 10 ms
}

const (
	// maxArgs and maxArgCount bound what is read of one process's arguments.
	maxArgs     = 128 << 10
	maxArgCount = 4096
	// maxAllArgs is what those of a whole list take, roughly; of the processes
	// that come after that at most minArgs is read.
	maxAllArgs = 8 << 20
	minArgs    = 1 << 10
)

// argsBudget is how much memory the arguments of further processes may take.
type argsBudget int

// limit returns how much may be read of the next process's.
func (b argsBudget) limit() int { return min(max(int(b), minArgs), maxArgs) }

// spend takes note of arguments, each of which takes some memory of its own.
func (b *argsBudget) spend(args []string) {
	const header = 16
	for _, arg := range args {
		*b -= argsBudget(len(arg) + header)
	}
}

// ListProcesses returns the processes of the container containerID with their
// arguments, the container's own process first, the others by their IDs. The
// container needs no ps. Processes come and go: one that ends meanwhile has no
// details. A stopped task has no processes.
//
// It returns a not-found error if there is no such container or task. A
// rootless container has no cgroup that could be listed, and gives the daemon's
// error.
func (s *DefaultService) ListProcesses(ctx context.Context, containerID string, _ *ListProcessesOptions) ([]ProcessInfo, error) {
	const op = "list processes"
	err := checkID("containerID", containerID)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	list, err := s.listProcesses(ctx, containerID)
	return list, opError(ctx, op, containerID, err)
}

func (s *DefaultService) listProcesses(ctx context.Context, id string) ([]ProcessInfo, error) {
	init, err := s.process(ctx, id, "")
	if err != nil {
		return nil, err
	}
	r, err := s.client.TaskService().ListPids(ctx, &tasks.ListPidsRequest{ContainerID: id})
	if err != nil {
		// Runtimes fail to list the processes of a container that has stopped.
		err = native(err)
		ended, lookErr := s.ended(ctx, id)
		if lookErr == nil && (ended || errdefs.IsInternal(err) && s.taskEnds(ctx, id)) {
			return []ProcessInfo{}, nil
		}
		return nil, err
	}
	list := make([]ProcessInfo, 0, len(r.GetProcesses()))
	budget := argsBudget(maxAllArgs)
	for _, p := range r.GetProcesses() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list = append(list, ProcessInfo{PID: p.GetPid(), ExecID: execID(p), Details: processDetails(p.GetPid(), id, &budget)})
	}
	rank := func(p ProcessInfo) uint32 {
		if p.PID == init.GetPid() {
			return 0
		}
		return p.PID
	}
	slices.SortFunc(list, func(a, b ProcessInfo) int { return cmp.Compare(rank(a), rank(b)) })
	return list, nil
}

// execID returns the ID that a shim gives for the processes of execs.
func execID(p *tasktypes.ProcessInfo) string {
	var details options.ProcessDetails
	if p.GetInfo() == nil || typeurl.UnmarshalTo(p.GetInfo(), &details) != nil {
		return ""
	}
	return details.GetExecID()
}
