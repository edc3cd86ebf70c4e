package conformance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

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
