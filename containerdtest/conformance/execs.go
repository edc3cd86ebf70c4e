package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

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

var execStreamCases = []testCase{
	{name: "StartExec: stdout and stderr arrive whole and apart", run: func(e *env) {
		id := e.start()
		var stdout, stderr bytes.Buffer
		req := shExec(loud)
		req.Stdout, req.Stderr = &stdout, &stderr
		x := e.startExec(id, req)
		e.wantCode(e.waitExec(x), yes)
		for name, got := range map[string][]byte{"stdout": stdout.Bytes(), "stderr": stderr.Bytes()} {
			if n := bytes.Count(got, []byte("0123456789abcdef")); len(got) != 20*(1<<16+1) || n != 20<<12 {
				e.Errorf("%s has %d bytes, and the text %d times", name, len(got), n)
			}
		}
		e.noExec(id, x.ID())
	}},
	{name: "StartExec: one writer can take both streams", run: func(e *env) {
		var both bytes.Buffer // under the race detector, two writes at once are a failure
		req := shExec(loud)
		req.Stdout, req.Stderr = &both, &both
		e.wantCode(e.waitExec(e.startExec(e.start(), req)), yes)
		if both.Len() != 2*20*(1<<16+1) {
			e.Errorf("%d bytes arrived", both.Len())
		}
	}},
	{name: "StartExec: stderr alone arrives", run: func(e *env) {
		var stderr bytes.Buffer
		req := shExec("echo out; echo err >&2")
		req.Stderr = &stderr
		e.wantCode(e.waitExec(e.startExec(e.start(), req)), 0)
		if stderr.String() != "err\n" {
			e.Errorf("stderr is %q", stderr.String())
		}
	}},
	{name: "StartExec: input of no byte arrives and ends", run: echoes(0)},
	{name: "StartExec: input of one byte arrives and ends", run: echoes(1)},
	{name: "StartExec: input of 1 MiB arrives and ends", run: echoes(1 << 20)},
	{name: "StartExec: without Stdin the input is at its end", run: func(e *env) {
		if got := e.output(e.start(), shExec("cat; echo end")); got != "end\n" {
			e.Errorf("output is %q", got)
		}
	}},
	{name: "StartExec: an input that nobody reads delays nothing", run: func(e *env) {
		req := shExec("exit 7")
		req.Stdin = bytes.NewReader(make([]byte, 1<<20))
		e.within(10*time.Second, "the exec", func() { e.wantCode(e.waitExec(e.startExec(e.start(), req)), yes) })
	}},
	{name: "StartExec: an input that blocks delays nothing", run: func(e *env) {
		r, w := io.Pipe()
		defer w.Close() //nolint:errcheck // it returns nil
		req := shExec("exit 7")
		req.Stdin = r
		e.within(10*time.Second, "the exec", func() { e.wantCode(e.waitExec(e.startExec(e.start(), req)), yes) })
	}},
	{name: "StartExec: an input that fails ends, and Wait says so", run: func(e *env) {
		failed := errors.New("the reader has failed")
		req := containerd.StartExecRequest{Args: []string{"cat"}, Stdin: io.MultiReader(strings.NewReader("some"), brokenStream{failed})}
		var stdout bytes.Buffer
		req.Stdout = &stdout
		id := e.start()
		exit, err := e.startExec(id, req).Wait(e.ctx)
		e.wantCode(exit, 0)
		if !errors.Is(err, failed) || stdout.String() != "some" {
			e.Errorf("output %q, error %v", stdout.String(), err)
		}
	}},
	{name: "StartExec: an output that fails does not block the process, and Wait says so", run: func(e *env) {
		failed := errors.New("the writer has failed")
		req := shExec(loud)
		req.Stdout = brokenStream{failed}
		exit, err := e.startExec(e.start(), req).Wait(e.ctx)
		e.wantCode(exit, yes)
		if !errors.Is(err, failed) {
			e.Errorf("error %v", err)
		}
	}},
	{name: "Exec.CloseStdin: the process sees the end of its input", run: func(e *env) {
		r, w := io.Pipe()
		defer w.Close() //nolint:errcheck // it returns nil
		var stdout bytes.Buffer
		x := e.startExec(e.start(), containerd.StartExecRequest{Args: []string{"cat"}, Stdin: r, Stdout: &stdout})
		_, err := w.Write([]byte("typed"))
		e.ok(err)
		e.ok(x.CloseStdin(e.ctx))
		e.wantCode(e.waitExec(x), 0)
		// What was written a moment ago may or may not have been passed on.
		if got := stdout.String(); got != "typed" && got != "" {
			e.Errorf("output %q", got)
		}
	}},
	{name: "StartExec: a child that holds the output delays Wait by DrainTimeout", run: func(e *env) {
		id := e.start()
		var stdout bytes.Buffer
		req := shExec("echo out; " + leaveChild + "exit 7")
		req.Stdout, req.DrainTimeout = &stdout, 300*time.Millisecond
		x := e.startExec(id, req)
		e.within(300*time.Millisecond+5*time.Second, "the exec", func() { e.wantCode(e.waitExec(x), yes) })
		if stdout.String() != "out\n" {
			e.Errorf("output %q", stdout.String())
		}
		e.wantProcesses(id, 2)
	}},
}

// brokenStream is a reader and a writer that fails.
type brokenStream struct{ err error }

func (f brokenStream) Read([]byte) (int, error)  { return 0, f.err }
func (f brokenStream) Write([]byte) (int, error) { return 0, f.err }

// echoes sends n bytes through cat.
func echoes(n int) func(*env) {
	return func(e *env) {
		input := make([]byte, n)
		for i := range input {
			input[i] = byte(i * 7 >> 3)
		}
		id := e.start()
		got := e.output(id, containerd.StartExecRequest{Args: []string{"cat"}, Stdin: bytes.NewReader(input)})
		if got != string(input) {
			e.Errorf("%d of %d bytes came back, or others", len(got), n)
		}
		e.onlyInit(id)
	}
}

var execSettingRoleCases = []testCase{
	{name: "StartExec: Env and WorkDir are the process's", run: func(e *env) {
		req := shExec(`echo "$TASTE $(pwd)"`)
		req.Env, req.WorkDir = []string{"TASTE=sweet"}, "/tmp"
		if got := e.output(e.start(), req); got != "sweet /tmp\n" {
			e.Errorf("output %q", got)
		}
	}},
	{name: "StartExec: a user by ID", run: runsAs("1234", 1234, 0)},
	{name: "StartExec: a user and a group by ID", run: runsAs("1234:4321", 1234, 4321)},
	{name: "StartExec: a user by name, as in the container's own files", run: func(e *env) {
		id := e.startUsers()
		e.wantExecUser(id, containerd.StartExecRequest{User: "tester"}, "1234 4321 4321 77")
	}},
	{name: "StartExec: a user and a group by name", run: func(e *env) {
		id := e.startUsers()
		e.wantExecUser(id, containerd.StartExecRequest{User: "tester:more"}, "1234 77 77")
	}},
	{name: "StartExec: a user by ID has the groups of its name", run: func(e *env) {
		id := e.startUsers()
		e.wantExecUser(id, containerd.StartExecRequest{User: "1234"}, "1234 4321 4321 77")
	}},
	{name: "StartExec: AdditionalGIDs are added", run: func(e *env) {
		id := e.startUsers()
		e.wantExecUser(id, containerd.StartExecRequest{User: "tester", AdditionalGIDs: []uint32{88, 77}}, "1234 4321 4321 77 88")
	}},
	{name: "StartExec: Terminal gives a terminal, whose lines end with both characters", run: func(e *env) {
		req := shExec("echo typed")
		req.Terminal, req.Width, req.Height = true, 100, 30
		if got := e.output(e.start(), req); got != "typed\r\n" {
			e.Errorf("output %q", got)
		}
	}},
	{name: "StartExec: a terminal without Stdin is at the end of its input", run: func(e *env) {
		req := shExec("cat; echo end")
		req.Terminal = true
		if got := e.output(e.start(), req); !strings.HasSuffix(got, "end\r\n") {
			e.Errorf("output %q", got)
		}
	}},
	{name: "Exec.Resize: a terminal can be resized, and nothing else", run: func(e *env) {
		id := e.start()
		req := containerd.StartExecRequest{Args: []string{"sleep", "300"}, Terminal: true}
		x := e.startExec(id, req)
		e.ok(x.Resize(e.ctx, 120, 40))
		e.invalid(x.Resize(e.ctx, 0, 40), id, "terminal size")
		e.ok(x.Remove(e.ctx))
		req.Terminal = false
		x = e.startExec(id, req)
		e.class(x.Resize(e.ctx, 120, 40), errdefs.IsFailedPrecondition, id)
		e.ok(x.Remove(e.ctx))
	}},
	{name: "StartExec: the request is not changed", run: func(e *env) {
		req := containerd.StartExecRequest{Args: []string{"true"}, Env: make([]string, 1, 8), AdditionalGIDs: make([]uint32, 0, 8)}
		req.Env[0] = "A=b"
		e.wantCode(e.waitExec(e.startExec(e.start(), req)), 0)
		if fmt.Sprint(req.Args, req.Env[:2]) != fmt.Sprint([]string{"true"}, []string{"A=b", ""}) || req.AdditionalGIDs[:1][0] != 0 {
			e.Errorf("the request is now %+v", req)
		}
	}},
}

// runsAs checks a user that the container's files don't know.
func runsAs(user string, uid, gid int) func(*env) {
	return func(e *env) {
		e.need(OtherUsers)
		e.wantExecUser(e.start(), containerd.StartExecRequest{User: user}, fmt.Sprintf("%d %d %d", uid, gid, gid))
	}
}

// startUsers starts a container that has a user "tester", in a group "more".
func (e *env) startUsers() string {
	e.Helper()
	e.need(OtherUsers)
	id := e.start()
	e.wantTrue(id, `echo 'tester:x:1234:4321::/:/bin/sh' >> /etc/passwd && echo 'more:x:77:tester' >> /etc/group`, containerd.ExecTaskRequest{})
	return id
}

// wantExecUser checks the IDs of user, group and all groups.
func (e *env) wantExecUser(id string, req containerd.StartExecRequest, want string) {
	e.Helper()
	req.Args = []string{"sh", "-c", `echo $(id -u) $(id -g) $(id -G)`}
	ids := strings.Fields(e.output(id, req))
	groups := slices.Compact(slices.Sorted(slices.Values(ids[min(2, len(ids)):])))
	if got := strings.Join(slices.Concat(ids[:min(2, len(ids))], groups), " "); got != want {
		e.Errorf("user %q runs as %s, want %s", req.User, got, want)
	}
}

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

var execLifeCases = []testCase{
	{name: "Exec.Signal: a process that a signal ends says which", run: func(e *env) {
		id := e.start()
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			x := e.startExec(id, containerd.StartExecRequest{Args: []string{"sleep", "300"}})
			e.ok(x.Signal(e.ctx, sig))
			exit := e.waitExec(x)
			e.wantCode(exit, 128+uint32(sig))
			if exit.Signal != sig || exit.OOMKilled || exit.ExitedAt.IsZero() {
				e.Errorf("exit is %+v", exit)
			}
			e.class(x.Signal(e.ctx, sig), errdefs.IsNotFound, id)
		}
	}},
	{name: "Exec.Wait: the end of its context ends nothing else", run: func(e *env) {
		id := e.start()
		x := e.startExec(id, containerd.StartExecRequest{Args: []string{"sleep", "300"}})
		ctx, cancel := context.WithTimeout(e.ctx, 50*time.Millisecond)
		defer cancel()
		_, err := x.Wait(ctx)
		e.class(err, isContextEnd, id)
		e.ok(x.Signal(e.ctx, syscall.SIGKILL))
		for range 2 {
			e.wantCode(e.waitExec(x), 137)
		}
	}},
	{name: "StartExec: a process that ends leaves no exec behind, whether or not anybody waits", run: func(e *env) {
		id := e.start()
		x := e.startExec(id, containerd.StartExecRequest{Args: []string{"sh", "-c", "exit 7"}})
		for e.process(id, x.ID()) != nil {
			e.pauseBriefly()
		}
		e.wantCode(e.waitExec(x), yes)
	}},
	{name: "StartExec: the end of its context kills the process, and removes the exec", run: func(e *env) {
		id := e.start()
		ctx, cancel := context.WithCancel(e.ctx)
		defer cancel()
		x, err := e.executor().StartExec(ctx, id, containerd.StartExecRequest{Args: []string{"sleep", "300"}, Stdout: io.Discard})
		e.ok(err)
		cancel()
		e.within(promptly, "the exec", func() {
			exit, err := x.Wait(e.ctx)
			e.class(err, func(err error) bool { return errors.Is(err, context.Canceled) }, id)
			e.wantCode(exit, 137)
		})
		e.noExec(id, x.ID())
		e.onlyInit(id)
	}},
	{name: "StartExec: the end of its context sends StopSignal first", run: func(e *env) {
		id := e.start()
		ctx, cancel := context.WithCancel(e.ctx)
		defer cancel()
		x, err := e.executor().StartExec(ctx, id, containerd.StartExecRequest{Args: []string{"sleep", "300"}, StopSignal: syscall.SIGTERM})
		e.ok(err)
		cancel()
		e.within(promptly, "the exec", func() {
			exit, err := x.Wait(e.ctx)
			e.class(err, isContextEnd, id)
			e.wantCode(exit, 143)
		})
		e.onlyInit(id)
	}},
	{name: "StartExec: a context that ends at any moment leaves no process", run: func(e *env) {
		id := e.start()
		for _, after := range []time.Duration{1, 5, 10, 20, 40, 80, 160} {
			ctx, cancel := context.WithTimeout(e.ctx, after*time.Millisecond)
			e.within(after*time.Millisecond+promptly, "the exec", func() {
				x, err := e.executor().StartExec(ctx, id, containerd.StartExecRequest{
					Args: []string{"sleep", "300"}, Stdin: strings.NewReader("x"), Stdout: io.Discard,
				})
				if err == nil {
					_, err = x.Wait(e.ctx)
				}
				e.class(err, isContextEnd, id)
			})
			cancel()
			e.onlyInit(id)
		}
	}},
	{name: "Exec.Remove: kills the process, and is fine with one that is gone", run: func(e *env) {
		id := e.start()
		x := e.startExec(id, containerd.StartExecRequest{Args: []string{"sleep", "300"}, Stdout: io.Discard})
		e.ok(x.Remove(e.ctx))
		e.noExec(id, x.ID())
		e.onlyInit(id)
		e.wantCode(e.waitExec(x), 137)
		e.ok(x.Remove(e.ctx))
	}},
	{name: "StartExec: a process whose task is killed ends", run: func(e *env) {
		id := e.start("sleep", "300")
		x := e.startExec(id, containerd.StartExecRequest{Args: []string{"sleep", "300"}, Stdout: io.Discard})
		e.killPlain(id)
		e.within(10*time.Second, "the exec", func() {
			_, err := x.Wait(e.ctx)
			e.oneOf(err, errdefs.IsNotFound)
		})
	}},
	{name: "StartExec: processes run at once, each with its own streams", run: func(e *env) {
		id := e.start()
		const n = 16
		var outputs [n]bytes.Buffer
		for _, err := range concurrently(n, func(i int) error {
			input := strings.Repeat(fmt.Sprintf("%x", i), 10<<10)
			x, err := e.executor().StartExec(e.ctx, id, containerd.StartExecRequest{Args: []string{"cat"}, Stdin: strings.NewReader(input), Stdout: &outputs[i]})
			if err != nil {
				return err
			}
			if _, err := x.Wait(e.ctx); err != nil {
				return err
			}
			if outputs[i].String() != input {
				return fmt.Errorf("process %d: %d bytes came back, or others", i, outputs[i].Len())
			}
			return nil
		}) {
			e.ok(err)
		}
		e.onlyInit(id)
	}},
}

// pauseBriefly lets some time pass between two looks.
func (e *env) pauseBriefly() {
	e.Helper()
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.ctx.Done():
		e.Fatal("what is waited for does not happen")
	}
}

var execDetachedCases = []testCase{
	{name: "StartExec: a detached process is found by its ID, waited for and removed", run: func(e *env) {
		id := e.start()
		ctx, cancel := context.WithCancel(e.ctx)
		x, err := e.executor().StartExec(ctx, id, containerd.StartExecRequest{ID: "later", Args: []string{"sleep", "300"}, Detach: true})
		cancel() // has nothing to do with the process any more
		e.ok(err)
		if x.ID() != "later" || x.PID() == 0 {
			e.Errorf("ID %q, PID %d", x.ID(), x.PID())
		}
		again, err := e.executor().OpenExec(e.ctx, id, "later")
		e.ok(err)
		if again.ID() != "later" || again.PID() != x.PID() {
			e.Errorf("opened: ID %q, PID %d, want PID %d", again.ID(), again.PID(), x.PID())
		}
		e.ok(again.Signal(e.ctx, syscall.SIGTERM))
		for _, handle := range []containerd.Exec{x, again} {
			e.wantCode(e.waitExec(handle), 143)
		}
		if e.process(id, "later") == nil {
			e.Error("the exec is gone before it was removed")
		}
		e.ok(x.Remove(e.ctx))
		e.ok(again.Remove(e.ctx))
		e.noExec(id, "later")
		_, err = again.Wait(e.ctx)
		e.class(err, errdefs.IsNotFound, id)
		_, err = e.executor().OpenExec(e.ctx, id, "later")
		e.class(err, errdefs.IsNotFound, id)
	}},
	{name: "StartExec: a detached process never blocks on its output", run: func(e *env) {
		id := e.start()
		req := shExec(loud)
		req.Detach = true
		x := e.startExec(id, req)
		e.wantCode(e.waitExec(x), yes)
		e.ok(x.Remove(e.ctx))
	}},
	{name: "Exec.Remove: kills a detached process that runs", run: func(e *env) {
		id := e.start()
		x := e.startExec(id, containerd.StartExecRequest{Args: []string{"sleep", "300"}, Detach: true})
		e.ok(x.Remove(e.ctx))
		e.noExec(id, x.ID())
		e.onlyInit(id)
	}},
	{name: "ListExecs: lists what runs, whoever started it", run: func(e *env) {
		e.need(ProcessLists)
		id, want := e.start(), []string{}
		for i := range 3 {
			x := e.startExec(id, containerd.StartExecRequest{ID: fmt.Sprintf("job-%d", i), Args: []string{"sleep", "300"}, Detach: i > 0})
			want = append(want, fmt.Sprintf("%s %s %d", id, x.ID(), x.PID()))
		}
		list, err := e.executor().ListExecs(e.ctx, id, nil)
		e.ok(err)
		var got []string
		for _, info := range list {
			got = append(got, fmt.Sprintf("%s %s %d", info.ContainerID, info.ID, info.PID))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			e.Errorf("listed %q, want %q", got, want)
		}
		for _, info := range list {
			x, err := e.executor().OpenExec(e.ctx, id, info.ID)
			e.ok(err)
			e.ok(x.Remove(e.ctx))
		}
		list, err = e.executor().ListExecs(e.ctx, id, &containerd.ListExecsOptions{})
		e.ok(err)
		if len(list) != 0 {
			e.Errorf("still listed: %v", list)
		}
	}},
	{name: "ListExecs: where processes can't be listed, the error says so", run: func(e *env) {
		id := e.start()
		_, err := e.executor().ListExecs(e.ctx, id, nil)
		if _, lacks := e.Lacks[ProcessLists]; !lacks {
			e.ok(err)
			return
		}
		e.class(err, errdefs.IsNotImplemented, id)
		if !errors.Is(err, containerd.ErrProcessesNotListed) {
			e.Errorf("not ErrProcessesNotListed: %v", err)
		}
	}},
	{name: "ListExecs: a container whose task does not run has none", run: func(e *env) {
		for _, id := range []string{e.create(), e.stopped("0"), e.created()} {
			list, err := e.executor().ListExecs(e.ctx, id, nil)
			e.ok(err)
			if len(list) != 0 {
				e.Errorf("listed %v", list)
			}
		}
	}},
	{name: "ListExecs: an unknown container is not found", run: func(e *env) {
		id := e.id()
		_, err := e.executor().ListExecs(e.ctx, id, nil)
		e.class(err, errdefs.IsNotFound, id)
	}},
	{name: "OpenExec: an unknown exec or container is not found", run: func(e *env) {
		id, unknown := e.start(), e.id()
		_, err := e.executor().OpenExec(e.ctx, id, "no-such-exec")
		e.class(err, errdefs.IsNotFound, id)
		_, err = e.executor().OpenExec(e.ctx, unknown, "no-such-exec")
		e.class(err, errdefs.IsNotFound, unknown)
		_, err = e.executor().OpenExec(e.ctx, id, "")
		e.invalid(err, id, "execID")
	}},
}
