package containerd

import (
	"context"
	"crypto/rand"
	"fmt"
	"path"
	"strings"
	"sync"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// maxArguments is a quarter of the usual stack limit, as in the kernel.
const maxArguments = 2 << 20

// ExecTaskRequest describes a further process in a running task.
type ExecTaskRequest struct {
	// Args is the program and its arguments. Required. A program without a
	// slash is looked up in the container's PATH.
	Args []string
	// Env is added to the container's environment, as name=value; a name that
	// is there already gets the new value.
	Env []string
	// WorkDir is the absolute path of the working directory in the container;
	// "" means the container's own.
	WorkDir string
	// Terminal gives the process a terminal. The container's own setting does
	// not matter.
	Terminal bool
	// UseStdio binds the process to this process's own stdin, stdout and
	// stderr. Without it there is no input, and the output is discarded.
	UseStdio bool
}

// ExecTaskResult is the result of [Service.ExecTask].
type ExecTaskResult struct {
	// ExitCode is the process's exit code: 128 and the signal's number if a
	// signal ended it.
	ExitCode uint32
}

// ExecTask runs req.Args in the running task of the container containerID,
// with the container's environment, user and working directory, and waits for
// it to exit. Its output has been written when ExecTask returns, however long
// this process's own streams take to take it; where a child that outlives the
// process holds the output open, it is waited for 2 more seconds.
//
// An exit code is a result, not an error. ExecTask returns a not-found error
// if the container or the executable does not exist, an invalid-argument error
// for a missing working directory or a request that can't be run, a
// permission-denied error for a file that can't be executed, and a
// failed-precondition error if no task is running; see [ErrExecutableNotFound],
// [ErrWorkDirNotFound] and [ErrNotRunning]. If ctx ends, the process is
// killed and removed before ExecTask returns, or the error says that it remains;
// so it is if the process has ended, and its output is still being written.
func (s *DefaultService) ExecTask(ctx context.Context, containerID string, req ExecTaskRequest) (ExecTaskResult, error) {
	const op = "exec task"
	settings := StartExecRequest{Args: req.Args, Env: req.Env, WorkDir: req.WorkDir, Terminal: req.Terminal}
	err := firstError(checkID("containerID", containerID), checkExec(settings))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return ExecTaskResult{}, opError(ctx, op, containerID, err)
	}
	want := stdio{terminal: req.Terminal}
	if req.UseStdio {
		want = ownStdio(req.Terminal, "")
	}
	code, err := s.execTask(ctx, containerID, settings, want)
	if err != nil {
		return ExecTaskResult{}, opError(ctx, op, containerID, err)
	}
	return ExecTaskResult{ExitCode: code}, nil
}

// checkExec accepts the settings of a process that can be run.
func checkExec(req StartExecRequest) error {
	if len(req.Args) == 0 || req.Args[0] == "" {
		return invalid("Args has no program")
	}
	err := firstError(checkStrings("Args", req.Args), checkStrings("Env", req.Env), checkOptional("WorkDir", req.WorkDir))
	if err != nil {
		return err
	}
	for i, entry := range req.Env {
		if strings.Index(entry, "=") < 1 {
			return invalid("Env[%d] %s is not name=value", i, quoted(entry))
		}
	}
	if req.WorkDir != "" && !path.IsAbs(req.WorkDir) {
		return invalid("WorkDir %s is not absolute", quoted(req.WorkDir))
	}
	return nil
}

func (s *DefaultService) execTask(ctx context.Context, id string, req StartExecRequest, want stdio) (uint32, error) {
	plan, err := s.planExec(ctx, id, req, false)
	if err != nil {
		return 0, err
	}
	lasting, cancel := outlive(ctx)
	defer cancel()
	e := &executing{service: s, containerID: id, execID: newExecID(), process: plan.process}
	code, err := e.run(ctx, lasting, want)
	if err != nil {
		return 0, s.takeBack(lasting, e.lockID(), &e.undo, endedBy(ctx, err))
	}
	return code, nil
}

func newExecID() string { return "exec-" + strings.ToLower(rand.Text()) }

// execPlan is what an exec is made of.
type execPlan struct {
	process  *specs.Process
	oomKills uint64 // of the task before the exec
}

// planExec checks that the task runs, and returns the container's process
// settings with those of the request. Requests that don't need each other's
// answers don't wait for each other.
func (s *DefaultService) planExec(ctx context.Context, id string, req StartExecRequest, countOOM bool) (plan execPlan, err error) {
	var planErr, taskErr error
	var group sync.WaitGroup
	group.Go(func() { plan, planErr = s.execSettings(ctx, id, req, countOOM) })
	group.Go(func() { taskErr = s.checkRunning(ctx, id) })
	group.Wait()
	return plan, firstError(planErr, taskErr)
}

// execSettings returns the process settings of the container's record with
// those of the request.
func (s *DefaultService) execSettings(ctx context.Context, id string, req StartExecRequest, countOOM bool) (plan execPlan, err error) {
	record, err := s.load(ctx, id)
	if err != nil {
		return plan, err
	}
	var spec struct {
		Process *specs.Process `json:"process"`
		Linux   struct {
			Resources *specs.LinuxResources `json:"resources"`
		} `json:"linux"`
	}
	if err := decodeSpec(record.Spec, &spec); err != nil {
		return plan, err
	}
	if spec.Process == nil {
		return plan, fmt.Errorf("container's spec has no process: %w", errdefs.ErrFailedPrecondition)
	}
	plan.process = mergeProcess(spec.Process, req)
	if err := checkSize(plan.process); err != nil {
		return plan, err
	}
	var group sync.WaitGroup
	var kills uint64
	if countOOM && limitsMemory(spec.Linux.Resources) {
		group.Go(func() { kills = s.oomKillsBefore(ctx, id) })
	}
	err = s.setExecUser(ctx, record, plan.process, req)
	group.Wait()
	plan.oomKills = kills
	return plan, err
}

// checkSize refuses arguments and environment that together are more than the
// kernel takes with the usual stack limit of 8 MiB: some runtimes report it
// only as an exit code.
func checkSize(p *specs.Process) error {
	const pointer = 8
	size := 0
	for _, list := range [][]string{p.Args, p.Env} {
		for _, text := range list {
			size += len(text) + 1 + pointer
		}
	}
	if size > maxArguments {
		return invalid("Args and environment have %d bytes together, the limit is %d", size, maxArguments)
	}
	return nil
}

// checkRunning returns a failed-precondition error unless the task is running.
func (s *DefaultService) checkRunning(ctx context.Context, id string) error {
	p, err := s.process(ctx, id, "")
	switch {
	case errdefs.IsNotFound(err):
		return fmt.Errorf("no task: %w", ErrNotRunning)
	case err != nil:
		return err
	case p.GetStatus() != tasktypes.Status_RUNNING:
		return fmt.Errorf("task is %s: %w", statusName(p.GetStatus()), ErrNotRunning)
	}
	return nil
}

// mergeProcess changes p, which nobody else has, as the request says.
func mergeProcess(p *specs.Process, req StartExecRequest) *specs.Process {
	p.Args = req.Args
	p.CommandLine = ""
	p.Env = mergeEnv(p.Env, req.Env)
	if req.WorkDir != "" {
		p.Cwd = req.WorkDir
	}
	p.Terminal = req.Terminal
	if !req.Terminal {
		p.ConsoleSize = nil
	} else if req.Width > 0 {
		p.ConsoleSize = &specs.Box{Width: uint(req.Width), Height: uint(req.Height)}
	}
	return p
}

// mergeEnv adds entries to env; one whose name is there replaces it.
func mergeEnv(env, entries []string) []string {
	place := make(map[string]int, len(env)+len(entries))
	merged := make([]string, 0, len(env)+len(entries))
	for _, list := range [][]string{env, entries} {
		for _, entry := range list {
			name, _, _ := strings.Cut(entry, "=")
			if i, ok := place[name]; ok {
				merged[i] = entry
				continue
			}
			place[name] = len(merged)
			merged = append(merged, entry)
		}
	}
	return merged
}
