package conformance

import (
	"reflect"

	"github.com/containerd/containerd/v2/pkg/oci"

	"github.com/ctrdkit/containerd"
)

// withTerminal asks for a terminal by the call, not by the spec.
var withTerminal = &containerd.StartTaskOptions{Terminal: true}

var startTerminalCases = []testCase{
	{name: "StartTask: there is no terminal unless somebody asks for it", run: func(e *env) {
		id := e.start()
		e.wantTerminal(id, false)
	}},
	{name: "StartTask: a terminal that the call asks for is on", run: func(e *env) {
		id := e.create()
		_, err := e.Service.StartTask(e.ctx, id, withTerminal)
		e.ok(err)
		e.wantTerminal(id, true)
	}},
	{name: "StartTask: a terminal that only the call asks for is stored in the spec, and nothing else", run: func(e *env) {
		id := e.create()
		before := e.record(id)
		_, err := e.Service.StartTask(e.ctx, id, withTerminal)
		e.ok(err)
		after := e.record(id)
		got, want := e.spec(after), e.spec(before)
		if !got.Process.Terminal {
			e.Error("the stored spec asks for no terminal")
		}
		want.Process.Terminal = true
		if !reflect.DeepEqual(got, want) {
			e.Errorf("the stored spec differs in more than the terminal:\n%s\n%s", before.Spec.GetValue(), after.Spec.GetValue())
		}
		if !reflect.DeepEqual(after.Labels, before.Labels) || after.SnapshotKey != before.SnapshotKey || after.Image != before.Image {
			e.Errorf("the record differs in more than the spec:\n%+v\n%+v", before, after)
		}
	}},
	{name: "StartTask: a terminal that was stored stays on at the next start", run: func(e *env) {
		id := e.create()
		_, err := e.Service.StartTask(e.ctx, id, withTerminal)
		e.ok(err)
		e.killPlain(id)
		_, err = e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantTerminal(id, true)
	}},
	{name: "StartTask: a terminal that the spec asks for is on, and the record is not written", run: func(e *env) {
		id := e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithTTY}})
		before := e.record(id)
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantTerminal(id, true)
		if after := e.record(id); !after.UpdatedAt.Equal(before.UpdatedAt) {
			e.Error("the record was written")
		}
	}},
	{name: "StartTask: a terminal that both ask for needs no writing", run: func(e *env) {
		id := e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithTTY}})
		before := e.record(id)
		_, err := e.Service.StartTask(e.ctx, id, withTerminal)
		e.ok(err)
		e.wantTerminal(id, true)
		if after := e.record(id); !after.UpdatedAt.Equal(before.UpdatedAt) {
			e.Error("the record was written")
		}
	}},
	{name: "StartTask: a terminal's output without stdio is discarded, and the container never blocks on it", run: func(e *env) {
		id := e.create("sh", "-c", loud)
		_, err := e.Service.StartTask(e.ctx, id, withTerminal)
		e.ok(err)
		e.wantExit(id, yes)
	}},
	{name: "StartTask: the terminal of the spec does not block without stdio either", run: func(e *env) {
		id := e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithTTY}}, "sh", "-c", loud)
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantExit(id, yes)
	}},
	{name: "StartTask: a stopped old task is replaced when the call asks for a terminal", run: func(e *env) {
		id := e.stopped("3")
		e.setArgs(id, "sleep", "300")
		_, err := e.Service.StartTask(e.ctx, id, withTerminal)
		e.ok(err)
		e.wantTerminal(id, true)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StartTask: asking for a terminal does not touch a running task, nor the stored spec", run: func(e *env) {
		id := e.start()
		before, pid := e.record(id), e.process(id, "").GetPid()
		_, err := e.Service.StartTask(e.ctx, id, withTerminal)
		if err == nil {
			e.Fatal("no error")
		}
		e.wantSpec(id, before)
		if p := e.process(id, ""); p.GetPid() != pid || p.GetTerminal() {
			e.Errorf("the running task was replaced: %v", p)
		}
	}},
}

// wantTerminal checks whether the daemon's task has a terminal.
func (e *env) wantTerminal(id string, want bool) {
	e.Helper()
	if got := e.process(id, "").GetTerminal(); got != want {
		e.Errorf("terminal is %t, want %t", got, want)
	}
}
