package conformance

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

var execErrorCases = []testCase{
	{name: "StartExec: a missing executable", run: failsToStart(containerd.ErrExecutableNotFound, errdefs.IsNotFound,
		containerd.StartExecRequest{Args: []string{"no-such-program"}})},
	{name: "StartExec: a missing executable, with streams", run: failsToStart(containerd.ErrExecutableNotFound, errdefs.IsNotFound,
		containerd.StartExecRequest{Args: []string{"/absent/program"}, Stdin: strings.NewReader("x"), Stdout: io.Discard, Stderr: io.Discard})},
	{name: "StartExec: a missing working directory", run: failsToStart(containerd.ErrWorkDirNotFound, errdefs.IsInvalidArgument,
		containerd.StartExecRequest{Args: []string{"true"}, WorkDir: "/absent"})},
	{name: "StartExec: an unknown user", run: failsToStart(containerd.ErrUserNotFound, errdefs.IsFailedPrecondition,
		containerd.StartExecRequest{Args: []string{"true"}, User: "no-such-user"})},
	{name: "StartExec: an unknown group", run: failsToStart(containerd.ErrUserNotFound, errdefs.IsFailedPrecondition,
		containerd.StartExecRequest{Args: []string{"true"}, User: "0:no-such-group"})},
	{name: "StartExec: a container that is not running", run: func(e *env) {
		x := e.executor()
		for _, id := range []string{e.create(), e.stopped("0"), e.created()} {
			_, err := x.StartExec(e.ctx, id, shExec("true"))
			e.class(err, errdefs.IsFailedPrecondition, id)
			if !errors.Is(err, containerd.ErrNotRunning) {
				e.Errorf("not ErrNotRunning: %v", err)
			}
		}
	}},
	{name: "StartExec: an unknown container is not found", run: func(e *env) {
		id := e.id()
		_, err := e.executor().StartExec(e.ctx, id, shExec("true"))
		e.class(err, errdefs.IsNotFound, id)
	}},
	{name: "StartExec: an ID that is in use gives already-exists, and its exec lives on", run: func(e *env) {
		id := e.start()
		req := containerd.StartExecRequest{ID: "mine", Args: []string{"sleep", "300"}}
		x := e.startExec(id, req)
		_, err := e.executor().StartExec(e.ctx, id, req)
		e.class(err, errdefs.IsAlreadyExists, id)
		if p := e.process(id, "mine"); p.GetStatus().String() != "RUNNING" || p.GetPid() != x.PID() {
			e.Errorf("the first exec is now %v", p)
		}
		e.ok(x.Remove(e.ctx))
		e.wantCode(e.waitExec(e.startExec(id, containerd.StartExecRequest{ID: "mine", Args: []string{"true"}})), 0)
	}},
	{name: "StartExec: what can't be asked for is an invalid argument", run: func(e *env) {
		x, id := e.executor(), e.id()
		for field, req := range map[string]containerd.StartExecRequest{
			"Args":           {},
			"ID":             {Args: []string{"a"}, ID: "a b"},
			"User":           {Args: []string{"a"}, User: "a:b:c"},
			"User ":          {Args: []string{"a"}, User: "4294967295"},
			"AdditionalGIDs": {Args: []string{"a"}, AdditionalGIDs: []uint32{1<<32 - 1}},
			"Width":          {Args: []string{"a"}, Width: 80, Height: 25},
			"terminal size":  {Args: []string{"a"}, Terminal: true, Width: 80},
			"Stderr":         {Args: []string{"a"}, Terminal: true, Stderr: io.Discard},
			"StopSignal":     {Args: []string{"a"}, StopSignal: 65},
			"StopGrace":      {Args: []string{"a"}, StopGrace: time.Second},
			"Detach":         {Args: []string{"a"}, Detach: true, Stdout: io.Discard},
			"DrainTimeout":   {Args: []string{"a"}, Detach: true, DrainTimeout: time.Second},
		} {
			_, err := x.StartExec(e.ctx, id, req)
			e.invalid(err, id, strings.TrimSpace(field))
		}
	}},
}

// failsToStart checks the error of a request that can't be run, and that nothing is left.
func failsToStart(sentinel error, class func(error) bool, req containerd.StartExecRequest) func(*env) {
	return func(e *env) {
		if req.User != "" {
			e.need(OtherUsers)
		}
		id := e.start()
		x, err := e.executor().StartExec(e.ctx, id, req)
		if err == nil { // newer runtimes say it by their exit code only
			_, err = x.Wait(e.ctx)
		}
		e.class(err, class, id)
		if !errors.Is(err, sentinel) {
			e.Errorf("not %v: %v", sentinel, err)
		}
		e.onlyInit(id)
	}
}
