package conformance

import (
	"context"
	"errors"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"

	"github.com/ctrdkit/containerd"
)

var execSettingCases = []testCase{
	{name: "ExecTask: the process has the container's environment", run: settingsHold(`[ "$COLOR" = red ] && [ "$SIZE" = big ]`, containerd.ExecTaskRequest{})},
	{name: "ExecTask: Env is added to the container's environment", run: settingsHold(
		`[ "$COLOR" = red ] && [ "$SIZE" = big ] && [ "$TASTE" = sweet ]`,
		containerd.ExecTaskRequest{Env: []string{"TASTE=sweet"}})},
	{name: "ExecTask: a name in Env that is there already gets the new value", run: settingsHold(
		`[ "$COLOR" = blue ] && [ "$SIZE" = big ]`,
		containerd.ExecTaskRequest{Env: []string{"COLOR=blue"}})},
	{name: "ExecTask: a name in Env replaces the old value, it is not there twice", run: settingsHold(
		`[ "$(env | while read line; do case $line in COLOR=*) echo $line;; esac; done)" = COLOR=blue ]`,
		containerd.ExecTaskRequest{Env: []string{"COLOR=blue"}})},
	{name: "ExecTask: a value in Env may be empty and contain anything", run: settingsHold(
		`[ "${COLOR-unset}" = "" ] && [ "$TASTE" = "a=b c" ]`,
		containerd.ExecTaskRequest{Env: []string{"COLOR=", "TASTE=a=b c"}})},
	{name: "ExecTask: Env of one process is not seen by the next", run: func(e *env) {
		id := e.withSettings()
		e.wantTrue(id, `[ "$COLOR" = blue ]`, containerd.ExecTaskRequest{Env: []string{"COLOR=blue"}})
		e.wantTrue(id, `[ "$COLOR" = red ]`, containerd.ExecTaskRequest{})
	}},
	{name: "ExecTask: the process has the container's working directory", run: settingsHold(`[ "$(pwd)" = /work ]`, containerd.ExecTaskRequest{})},
	{name: "ExecTask: WorkDir replaces the container's working directory", run: settingsHold(`[ "$(pwd)" = / ]`, containerd.ExecTaskRequest{WorkDir: "/"})},
	{name: "ExecTask: the process has the container's user", run: func(e *env) {
		id := e.startWith(oci.WithUIDGID(1234, 4321))
		e.wantTrue(id, `[ "$(id -u)" = 1234 ] && [ "$(id -g)" = 4321 ]`, containerd.ExecTaskRequest{})
	}},
	{name: "ExecTask: the process has the container's additional groups", run: func(e *env) {
		id := e.startWith(oci.WithUIDGID(1234, 4321), withGroup(77))
		e.wantTrue(id, `case " $(id -G) " in *" 77 "*) true;; *) false;; esac`, containerd.ExecTaskRequest{})
	}},
	{name: "ExecTask: there is no terminal unless it is asked for", run: func(e *env) {
		e.wantExecTerminal(e.start(), false, false)
	}},
	{name: "ExecTask: a terminal that is asked for is on", run: func(e *env) {
		e.wantExecTerminal(e.start(), true, true)
	}},
	{name: "ExecTask: the container's terminal is not inherited", run: func(e *env) {
		id := e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithTTY}})
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantTerminal(id, true)
		e.wantExecTerminal(id, false, false)
	}},
	{name: "ExecTask: settings are the container's, not the image's", run: func(e *env) {
		id := e.withSettings()
		e.wantTrue(id, `[ "$(pwd)" = /work ] && [ "$COLOR" = red ]`, containerd.ExecTaskRequest{})
	}},
}

// withGroup adds a group to the container's user.
func withGroup(gid uint32) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
		spec.Process.User.AdditionalGids = append(spec.Process.User.AdditionalGids, gid)
		return nil
	}
}

// startWith starts a container with a user of its own.
func (e *env) startWith(opts ...oci.SpecOpts) string {
	e.Helper()
	e.need(OtherUsers)
	id := e.createWith(containerd.CreateContainerRequest{SpecOpts: opts})
	_, err := e.Service.StartTask(e.ctx, id, nil)
	e.ok(err)
	return id
}

// withSettings starts a container with an environment and a working directory
// of its own.
func (e *env) withSettings() string {
	e.Helper()
	id := e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{
		oci.WithEnv([]string{"COLOR=red", "SIZE=big"}),
		oci.WithProcessCwd("/work"), // the runtime makes it
	}})
	_, err := e.Service.StartTask(e.ctx, id, nil)
	e.ok(err)
	return id
}

// settingsHold checks a condition in a container made by withSettings.
func settingsHold(condition string, req containerd.ExecTaskRequest) func(*env) {
	return func(e *env) { e.wantTrue(e.withSettings(), condition, req) }
}

// wantExecTerminal asks the daemon, while the process runs, whether it has a
// terminal.
func (e *env) wantExecTerminal(id string, ask, want bool) {
	e.Helper()
	started := e.execEvents()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	done := async(func() error {
		_, err := e.Service.ExecTask(ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}, Terminal: ask})
		return err
	})
	if got := e.process(id, received(e, started).GetExecID()).GetTerminal(); got != want {
		e.Errorf("terminal is %t, want %t", got, want)
	}
	cancel()
	if err := received(e, done); !errors.Is(err, context.Canceled) {
		e.Errorf("the canceled process gives %v", err)
	}
}

// needsRestart skips a case where the daemon can't be restarted.
func needsRestart(b Backend) string {
	if b.Restart == nil {
		return "Restart"
	}
	return ""
}
