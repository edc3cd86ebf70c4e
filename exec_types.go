package containerd

import (
	"context"
	"syscall"
	"time"
)

// Exec is a further process of a container, started by [Executor.StartExec] or
// found by [Executor.OpenExec]. Errors of its methods are [*Error] values with
// the container's ID.
//
// An exec is a record that lasts longer than its process: it has the exit code.
// One that StartExec returned removes itself when its process has ended. One
// that was detached, or opened, stays until Remove is called or the container's
// task ends or is deleted; there is nothing else to close.
type Exec interface {
	// ID returns the exec's ID.
	ID() string
	// PID returns the process ID on the daemon's machine; 0 if an opened exec's
	// process was not started.
	PID() uint32
	// Wait waits until the process has ended, and, unless it was detached or
	// opened, until its output has been written and the exec removed. It may be
	// called more than once, and by several goroutines. If ctx ends, Wait returns
	// ctx's error, and nothing else happens.
	//
	// Together with an exit it returns the error of a reader or writer that
	// failed, or, if the context of StartExec ended before the process did, or
	// before its output was written, that context's error. Without an exit it
	// returns a not-found error if the exec was removed before anybody knew how it
	// ended, and a not-found or permission-denied error if the program turned out
	// not to be one that runs.
	Wait(ctx context.Context) (ExecExit, error)
	// Signal sends a signal to the process, not to its children. It returns a
	// not-found error if it has ended.
	Signal(ctx context.Context, sig syscall.Signal) error
	// Resize sets the columns and rows of the process's terminal. It returns a
	// failed-precondition error if it has none.
	Resize(ctx context.Context, width, height uint32) error
	// CloseStdin ends the process's input: it reads what has been passed on to it,
	// and then the end. A terminal gets ^D. It returns a not-found error if there
	// is no such exec.
	CloseStdin(ctx context.Context) error
	// Remove kills the process if it runs, waits for its end and removes the
	// exec. One that is gone is fine.
	Remove(ctx context.Context) error
}

// ExecExit is how the process of an [Exec] ended.
type ExecExit struct {
	// Code is the exit code: 128 and the signal's number if a signal ended the
	// process.
	Code uint32 `json:"code"`
	// Signal is the signal that a Code above 128 stands for, else 0. A program
	// that exits with such a code by itself, as shells do for their commands,
	// can't be told from one that was killed.
	Signal syscall.Signal `json:"signal,omitempty"`
	// OOMKilled says that the process was killed (Code is 137), not through this
	// handle, and that the kernel has killed for memory in the task's cgroup since
	// the exec was started. The count is of the whole cgroup: a process that
	// somebody else killed, while another one was killed for memory, is taken for
	// killed for memory itself. Of an opened exec, and where the container has no
	// memory limit of its own, all kills in the task's life count. It is false
	// where there is no count: without a cgroup (rootless), after the task was
	// deleted, and on kernels before 4.13.
	OOMKilled bool `json:"oomKilled,omitempty"`
	// OutputCut says that the output may be incomplete: a child of the process
	// still held it open after the request's DrainTimeout.
	OutputCut bool `json:"outputCut,omitempty"`
	// ExitedAt is the time of the exit, by the daemon's clock.
	ExitedAt time.Time `json:"exitedAt"`
}

// ListExecsOptions is for [Executor.ListExecs]. It has no fields yet.
type ListExecsOptions struct{}

// ExecInfo is one of the execs that [Executor.ListExecs] finds.
type ExecInfo struct {
	ContainerID string `json:"containerID"`
	ID          string `json:"id"`
	PID         uint32 `json:"pid"` // on the daemon's machine
}
