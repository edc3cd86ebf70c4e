package containerd

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
)

// ErrProcessesNotListed is wrapped by the error of [Executor.ListExecs] where
// the runtime can't list a container's processes: without a cgroup, as in
// rootless containers, or without the runtime's support. It is a
// not-implemented error.
var ErrProcessesNotListed error = &classedError{errors.New("the container's processes can't be listed"), errdefs.ErrNotImplemented}

// OpenExec returns the exec execID of the container containerID, running or
// not, whichever process of whichever program started it. The handle has
// nothing to do with the exec's streams. It costs one request.
//
// It returns a not-found error if there is no such exec, task or container.
func (s *DefaultService) OpenExec(ctx context.Context, containerID, execID string) (Exec, error) {
	const op = "open exec"
	err := firstError(checkID("containerID", containerID), checkID("execID", execID))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	p, err := s.process(ctx, containerID, execID)
	if err != nil {
		return nil, opError(ctx, op, containerID, fmt.Errorf("exec %s: %w", quoted(execID), err))
	}
	return &execHandle{service: s, containerID: containerID, execID: execID, pid: p.GetPid(), terminal: p.GetTerminal()}, nil
}

// ListExecs returns the execs of the container containerID whose processes
// run, whoever started them: those that have ended, and were not removed, can
// be opened by their IDs, but containerd does not list them. A container whose
// task does not run has none.
//
// It returns a not-found error if the container does not exist, and
// [ErrProcessesNotListed] where its runtime can't list processes.
func (s *DefaultService) ListExecs(ctx context.Context, containerID string, _ *ListExecsOptions) ([]ExecInfo, error) {
	const op = "list execs"
	err := checkID("containerID", containerID)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	list, err := s.listExecs(ctx, containerID)
	return list, opError(ctx, op, containerID, err)
}

func (s *DefaultService) listExecs(ctx context.Context, id string) ([]ExecInfo, error) {
	r, err := s.client.TaskService().ListPids(ctx, &tasks.ListPidsRequest{ContainerID: id})
	if err != nil {
		return nil, s.explainListPids(ctx, id, err)
	}
	var list []ExecInfo
	for _, p := range r.GetProcesses() {
		var details options.ProcessDetails
		if p.GetInfo() == nil || p.GetInfo().GetTypeUrl() != detailsType {
			continue
		}
		if err := proto.Unmarshal(p.GetInfo().GetValue(), &details); err != nil {
			return nil, fmt.Errorf("details of process %d: %w", p.GetPid(), err)
		}
		if details.GetExecID() != "" {
			list = append(list, ExecInfo{ContainerID: id, ID: details.GetExecID(), PID: p.GetPid()})
		}
	}
	return list, nil
}

// detailsType is how a shim marks what it says of a process.
var detailsType = string((&options.ProcessDetails{}).ProtoReflect().Descriptor().FullName())

// explainListPids gives the error of a list of processes its class. There is
// none to list if the task does not run.
func (s *DefaultService) explainListPids(ctx context.Context, id string, err error) error {
	err = silentShim(ctx, native(err))
	if !errdefs.IsNotFound(err) && !errdefs.IsInternal(err) && !errdefs.IsNotImplemented(err) {
		return err
	}
	if _, loadErr := s.load(ctx, id); loadErr != nil {
		return loadErr
	}
	stateErr := s.checkRunning(ctx, id)
	switch {
	case errdefs.IsFailedPrecondition(stateErr):
		return nil
	case stateErr != nil:
		return stateErr
	}
	return fmt.Errorf("%s: %w", trimClass(err), ErrProcessesNotListed)
}
