package conformance

import (
	"bytes"
	"slices"

	"github.com/ctrdkit/containerd"
)

// execRoleCases are the contract of containerd.Executor and of Command. They
// are skipped where the service does not have that role.
var execRoleCases = slices.Concat(execStreamCases, execSettingRoleCases, execErrorCases, execLifeCases, execDetachedCases, commandCases)

// executor returns the service in its role, or skips the case.
func (e *env) executor() containerd.Executor {
	e.Helper()
	x, ok := e.Service.(containerd.Executor)
	if !ok {
		e.Skip("the service is no containerd.Executor")
	}
	return x
}

// startExec starts a process that must start.
func (e *env) startExec(id string, req containerd.StartExecRequest) containerd.Exec {
	e.Helper()
	x, err := e.executor().StartExec(e.ctx, id, req)
	e.ok(err)
	return x
}

// shExec is a shell line as a request.
func shExec(line string) containerd.StartExecRequest {
	return containerd.StartExecRequest{Args: []string{"sh", "-c", line}}
}

// waitExec returns how a process ended of which that must be known.
func (e *env) waitExec(x containerd.Exec) containerd.ExecExit {
	e.Helper()
	exit, err := x.Wait(e.ctx)
	e.ok(err)
	return exit
}

// wantCode checks the exit code.
func (e *env) wantCode(exit containerd.ExecExit, want uint32) {
	e.Helper()
	if exit.Code != want {
		e.Errorf("exit code %d, want %d", exit.Code, want)
	}
}

// output runs a process and returns what it wrote to stdout.
func (e *env) output(id string, req containerd.StartExecRequest) string {
	e.Helper()
	var stdout bytes.Buffer
	req.Stdout = &stdout
	e.wantCode(e.waitExec(e.startExec(id, req)), 0)
	return stdout.String()
}

// noExec checks that the daemon has no such exec.
func (e *env) noExec(id, execID string) {
	e.Helper()
	if e.process(id, execID) != nil {
		e.Errorf("exec %s is left", execID)
	}
}
