package conformance

import (
	"fmt"
	"strings"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// argumentLimit is the kernel's for one string, its NUL included.
const argumentLimit = 128 << 10

var execResultCases = []testCase{
	{name: "ExecTask: exit code 0 is a result", run: exitsWith(0, "true")},
	{name: "ExecTask: exit code 1 is a result, not an error", run: exitsWith(1, "false")},
	{name: "ExecTask: exit code 42 is a result, not an error", run: exitsWith(42, "sh", "-c", "exit 42")},
	{name: "ExecTask: exit code 127 is a result, not an error", run: exitsWith(127, "sh", "-c", "exit 127")},
	{name: "ExecTask: exit code 255 is a result, not an error", run: exitsWith(255, "sh", "-c", "exit 255")},
	{name: "ExecTask: a killed process has exit code 137", run: func(e *env) {
		id := e.start()
		started := e.execEvents()
		var code uint32
		done := async(func() error {
			result, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
			code = result.ExitCode
			return err
		})
		e.killExec(id, received(e, started).GetExecID())
		e.ok(received(e, done))
		if code != 137 {
			e.Errorf("exit code %d, want 137", code)
		}
		e.wantStatus(id, "RUNNING")
	}},
	{name: "ExecTask: the arguments arrive as they are", run: func(e *env) {
		id := e.start()
		awkward := []string{"a b", "", "'", `"`, "$HOME", "*", "\n", "ä", "--"}
		var script strings.Builder
		fmt.Fprintf(&script, "[ $# = %d ] || exit 1\n", len(awkward))
		for i, arg := range awkward {
			fmt.Fprintf(&script, "[ \"$%d\" = '%s' ] || exit %d\n", i+1, strings.ReplaceAll(arg, "'", `'\''`), i+10)
		}
		script.WriteString("exit 7")
		args := append([]string{"sh", "-c", script.String(), "sh"}, awkward...)
		if code := e.exec(id, containerd.ExecTaskRequest{Args: args}); code != yes {
			e.Errorf("exit code %d, want %d", code, yes)
		}
	}},
	{name: "ExecTask: an argument just below 128 KiB arrives whole", run: func(e *env) {
		id := e.start()
		args := []string{"sh", "-c", `if [ ${#1} = 131071 ]; then exit 7; fi; exit 8`, "sh", strings.Repeat("x", argumentLimit-1)}
		if code := e.exec(id, containerd.ExecTaskRequest{Args: args}); code != yes {
			e.Errorf("exit code %d, want %d", code, yes)
		}
	}},
	{name: "ExecTask: a program without a slash is looked up in the PATH", run: exitsWith(7, "sh", "-c", "exit 7")},
	{name: "ExecTask: what the process changes in the container stays", run: func(e *env) {
		id := e.start()
		e.sh(id, "echo one > /made")
		e.wantTrue(id, `[ "$(cat /made)" = one ]`, containerd.ExecTaskRequest{})
	}},
	{name: "ExecTask: a program whose output is discarded can write it", run: exitsWith(7, "sh", "-c", "echo out && echo err >&2 && cat /bin/sh && exit 7")},
	{name: "ExecTask: the output is discarded, and the process never blocks on it", run: func(e *env) {
		id := e.start()
		if code := e.exec(id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", loud}}); code != yes {
			e.Errorf("exit code %d, want %d", code, yes)
		}
	}},
	{name: "ExecTask: a terminal's output without stdio is discarded too", run: func(e *env) {
		id := e.start()
		if code := e.exec(id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", loud}, Terminal: true}); code != yes {
			e.Errorf("exit code %d, want %d", code, yes)
		}
	}},
	{name: "ExecTask: without stdio the input is at its end", run: exitsWith(7, "sh", "-c", "cat; exit 7")},
	{name: "ExecTask: a process that ends leaves no exec behind", run: func(e *env) {
		id := e.start()
		started := e.execEvents()
		e.exec(id, containerd.ExecTaskRequest{Args: []string{"true"}})
		if execID := received(e, started).GetExecID(); e.process(id, execID) != nil {
			e.Errorf("exec %s is still there", execID)
		}
	}},
	{name: "ExecTask: the stored spec is not changed", run: func(e *env) {
		id := e.start()
		before := e.record(id)
		e.exec(id, containerd.ExecTaskRequest{Args: []string{"true"}, Env: []string{"A=b"}, WorkDir: "/", Terminal: true})
		e.wantSpec(id, before)
		if after := e.record(id); !after.UpdatedAt.Equal(before.UpdatedAt) {
			e.Error("the record was written")
		}
	}},
	{name: "ExecTask: the request is not changed", run: func(e *env) {
		id := e.start()
		req := containerd.ExecTaskRequest{Args: []string{"sh", "-c", "exit 7"}, Env: make([]string, 1, 8)}
		req.Env[0] = "A=b"
		e.exec(id, req)
		if strings.Join(req.Args, " ") != "sh -c exit 7" || req.Env[0] != "A=b" || req.Env[:2][1] != "" {
			e.Errorf("the request is now %+v", req)
		}
	}},
	{name: "ExecTask: the call acts in the service's namespace, whatever the context carries", run: func(e *env) {
		id := e.start()
		ctx := namespaces.WithNamespace(e.ctx, "conformance-elsewhere")
		result, err := e.Service.ExecTask(ctx, id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", "exit 7"}})
		e.ok(err)
		if result.ExitCode != yes {
			e.Errorf("exit code %d, want %d", result.ExitCode, yes)
		}
	}},
	{name: "ExecTask: processes run at once, each with its own exit code and ID", run: execAtOnce},
}

// exitsWith runs a program and checks its exit code.
func exitsWith(want uint32, args ...string) func(*env) {
	return func(e *env) {
		id := e.start()
		if code := e.exec(id, containerd.ExecTaskRequest{Args: args}); code != want {
			e.Errorf("exit code %d, want %d", code, want)
		}
		e.wantStatus(id, "RUNNING")
	}
}

func execAtOnce(e *env) {
	id := e.start()
	started := e.execEvents()
	const n = 16
	var codes [n]uint32
	for _, err := range concurrently(n, func(i int) error {
		result, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{
			Args: []string{"sh", "-c", fmt.Sprintf("exit %d", 20+i)},
		})
		codes[i] = result.ExitCode
		return err
	}) {
		e.ok(err)
	}
	for i, code := range codes {
		if code != uint32(20+i) {
			e.Errorf("process %d: exit code %d, want %d", i, code, 20+i)
		}
	}
	seen := make(map[string]*events.TaskExecStarted)
	for range n {
		event := received(e, started)
		if seen[event.GetExecID()] != nil {
			e.Errorf("exec ID %s was used twice", event.GetExecID())
		}
		seen[event.GetExecID()] = event
	}
}

var execRefusalCases = []testCase{
	{name: "ExecTask: no arguments are an invalid argument", run: refuses("Args", containerd.ExecTaskRequest{})},
	{name: "ExecTask: an empty program is an invalid argument", run: refuses("Args", containerd.ExecTaskRequest{Args: []string{"", "a"}})},
	{name: "ExecTask: NUL in an argument is an invalid argument", run: refuses("Args", containerd.ExecTaskRequest{Args: []string{"true", "a\x00b"}})},
	{name: "ExecTask: NUL in the environment is an invalid argument", run: refuses("Env", containerd.ExecTaskRequest{
		Args: []string{"true"}, Env: []string{"A=\x00"},
	})},
	{name: "ExecTask: NUL in the working directory is an invalid argument", run: refuses("WorkDir", containerd.ExecTaskRequest{
		Args: []string{"true"}, WorkDir: "/\x00",
	})},
	{name: "ExecTask: an argument of 128 KiB is an invalid argument", run: refuses("Args", containerd.ExecTaskRequest{
		Args: []string{"true", strings.Repeat("x", argumentLimit)},
	})},
	{name: "ExecTask: an environment string of 128 KiB is an invalid argument", run: refuses("Env", containerd.ExecTaskRequest{
		Args: []string{"true"}, Env: []string{"A=" + strings.Repeat("x", argumentLimit-2)},
	})},
	{name: "ExecTask: a relative working directory is an invalid argument", run: refuses("WorkDir", containerd.ExecTaskRequest{
		Args: []string{"true"}, WorkDir: "tmp",
	})},
	{name: "ExecTask: a missing executable is a not-found error, not an exit code", run: failsWith(errdefs.IsNotFound,
		containerd.ExecTaskRequest{Args: []string{"/absent/program"}})},
	{name: "ExecTask: a name that is not in the PATH is a not-found error", run: failsWith(errdefs.IsNotFound,
		containerd.ExecTaskRequest{Args: []string{"no-such-program"}})},
	{name: "ExecTask: the PATH of the request counts", run: failsWith(errdefs.IsNotFound,
		containerd.ExecTaskRequest{Args: []string{"sh", "-c", "exit 7"}, Env: []string{"PATH=/absent"}})},
	{name: "ExecTask: a missing executable with a terminal is a not-found error too", run: failsWith(errdefs.IsNotFound,
		containerd.ExecTaskRequest{Args: []string{"/absent/program"}, Terminal: true})},
	{name: "ExecTask: a missing working directory is an invalid argument", run: failsWith(errdefs.IsInvalidArgument,
		containerd.ExecTaskRequest{Args: []string{"true"}, WorkDir: "/absent"})},
	{name: "ExecTask: of a missing working directory and a missing executable the one or the other is told", run: failsWith(
		func(err error) bool { return errdefs.IsInvalidArgument(err) || errdefs.IsNotFound(err) },
		containerd.ExecTaskRequest{Args: []string{"/absent/program"}, WorkDir: "/absent"})},
	{name: "ExecTask: a file as working directory is an invalid argument", run: failsWith(errdefs.IsInvalidArgument,
		containerd.ExecTaskRequest{Args: []string{"true"}, WorkDir: "/plain"})},
	{name: "ExecTask: a file without the right to execute is permission-denied", run: failsWith(errdefs.IsPermissionDenied,
		containerd.ExecTaskRequest{Args: []string{"/plain"}})},
	{name: "ExecTask: a directory as program is permission-denied", run: failsWith(errdefs.IsPermissionDenied,
		containerd.ExecTaskRequest{Args: []string{"/"}})},
	{name: "ExecTask: an ID that containerd would refuse is an invalid argument", run: func(e *env) {
		_, err := e.Service.ExecTask(e.ctx, "a b", containerd.ExecTaskRequest{Args: []string{"true"}})
		e.invalid(err, "a b", "containerID")
	}},
}

// refuses checks that a request is rejected before anything runs: there is not
// even a container, which the daemon would miss first.
func refuses(field string, req containerd.ExecTaskRequest) func(*env) {
	return func(e *env) {
		id := e.id()
		_, err := e.Service.ExecTask(e.ctx, id, req)
		e.invalid(err, id, field)
	}
}

// failsWith checks that a request that can't be run gives an error of a class,
// that no exec is left, and that the task goes on.
func failsWith(is func(error) bool, req containerd.ExecTaskRequest) func(*env) {
	return func(e *env) {
		id := e.start()
		e.sh(id, "echo exit 7 > /plain")
		result, err := e.Service.ExecTask(e.ctx, id, req)
		e.class(err, is, id)
		if result != (containerd.ExecTaskResult{}) {
			e.Errorf("there is a result next to the error: %+v", result)
		}
		e.onlyInit(id)
		e.wantTrue(id, "true", containerd.ExecTaskRequest{})
	}
}
