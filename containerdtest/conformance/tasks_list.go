package conformance

import (
	"fmt"
	"slices"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"

	"github.com/ctrdkit/containerd"
)

var listTaskCases = slices.Concat([]testCase{
	{name: "ListTasks: an empty namespace has no tasks, and that is no error", run: func(e *env) {
		if list := e.listTasks(nil); len(list) > 0 {
			e.Errorf("got %v", list)
		}
	}},
	{name: "ListTasks: nil options list every task of the namespace and no other", run: func(e *env) {
		want := []string{e.start(), e.stopped("3"), e.created()}
		e.create()
		e.wantTasks(nil, want...)
	}},
	{name: "ListTasks: zero options are the same as nil", run: func(e *env) {
		e.wantTasks(&containerd.ListTasksOptions{}, e.start(), e.stopped("3"))
	}},
	{name: "ListTasks: ContainerID and every other field are filled", run: func(e *env) {
		running, stopped := e.start(), e.stopped("42")
		for _, info := range e.listTasks(nil) {
			p := e.process(info.ContainerID, "")
			want := containerd.TaskInfo{ContainerID: running, ID: running, PID: p.GetPid(), Status: tasktypes.Status_RUNNING}
			if info.ContainerID != running {
				want = containerd.TaskInfo{
					ContainerID: stopped, ID: stopped, PID: p.GetPid(),
					Status: tasktypes.Status_STOPPED, ExitStatus: 42,
				}
			}
			if info != want {
				e.Errorf("got %+v, want %+v", info, want)
			}
		}
	}},
	{name: "ListTasks: a paused task is listed as paused", run: func(e *env) {
		id := e.paused()
		e.wantTasks(&containerd.ListTasksOptions{Filter: "status==PAUSED"}, id)
	}},
	{name: "ListTasks: a deleted task is not listed", run: func(e *env) {
		id := e.stopped("0")
		e.ok(e.Service.DeleteTask(e.ctx, id, nil))
		e.wantTasks(nil)
	}},
	{name: "ListTasks: lists are complete while tasks come and go", run: listWhileDeleting},
	{name: "ListTasks: the filter pid finds one task", run: func(e *env) {
		id := e.start()
		e.start()
		e.wantTasks(filtered(fmt.Sprintf("pid==%d", e.process(id, "").GetPid())), id)
	}},
}, filterCases(), badFilterCases())

// filterCases are over a running, a stopped (exit code 3) and a created task.
func filterCases() []testCase {
	type ids struct{ running, stopped, created string }
	table := []struct {
		field, name string
		filter      func(ids) string
		want        func(ids) []string
	}{
		{
			"id", "an ID matches exactly", func(i ids) string { return "id==" + i.running },
			func(i ids) []string { return []string{i.running} },
		},
		{
			"id", "another ID does not match", func(i ids) string { return "id!=" + i.running },
			func(i ids) []string { return []string{i.stopped, i.created} },
		},
		{
			"id", "a part of an ID does not match with ==", func(i ids) string { return "id==" + i.running[:5] },
			func(ids) []string { return nil },
		},
		{
			"id", "a regular expression matches with ~=", func(i ids) string { return "id~=^" + i.stopped + "$" },
			func(i ids) []string { return []string{i.stopped} },
		},
		{
			"id", "a field alone matches where it is present", func(ids) string { return "id" },
			func(i ids) []string { return []string{i.running, i.stopped, i.created} },
		},
		{
			"id", "a value can be quoted", func(i ids) string { return fmt.Sprintf("id==%q", i.created) },
			func(i ids) []string { return []string{i.created} },
		},
		{
			"container.id", "the container's ID matches", func(i ids) string { return "container.id==" + i.stopped },
			func(i ids) []string { return []string{i.stopped} },
		},
		{
			"container.id", "the container's ID is excluded with !=", func(i ids) string { return "container.id!=" + i.stopped },
			func(i ids) []string { return []string{i.running, i.created} },
		},
		{
			"status", "RUNNING matches running tasks", func(ids) string { return "status==RUNNING" },
			func(i ids) []string { return []string{i.running} },
		},
		{
			"status", "CREATED matches created tasks", func(ids) string { return "status==CREATED" },
			func(i ids) []string { return []string{i.created} },
		},
		{
			"status", "!= STOPPED leaves the stopped ones out", func(ids) string { return "status!=STOPPED" },
			func(i ids) []string { return []string{i.running, i.created} },
		},
		{
			"status", "a regular expression chooses between states", func(ids) string { return `status~="RUNNING|STOPPED"` },
			func(i ids) []string { return []string{i.running, i.stopped} },
		},
		{
			"exit_status", "the exit code matches", func(ids) string { return "exit_status==3" },
			func(i ids) []string { return []string{i.stopped} },
		},
		{
			"exit_status", "zero is an exit code too", func(ids) string { return "exit_status==0" },
			func(i ids) []string { return []string{i.running, i.created} },
		},
		{
			"pid", "no task has pid 0", func(ids) string { return "pid==0" },
			func(ids) []string { return nil },
		},
		{
			"all", "a comma means and", func(ids) string { return "status==STOPPED,exit_status==3" },
			func(i ids) []string { return []string{i.stopped} },
		},
		{
			"all", "and of what excludes each other matches nothing", func(i ids) string { return "status==RUNNING,id==" + i.stopped },
			func(ids) []string { return nil },
		},
	}
	cases := make([]testCase, 0, len(table))
	for _, row := range table {
		cases = append(cases, testCase{
			name: "ListTasks: the filter " + row.field + ": " + row.name,
			run: func(e *env) {
				i := ids{running: e.start(), stopped: e.stopped("3"), created: e.created()}
				e.wantTasks(filtered(row.filter(i)), row.want(i)...)
			},
		})
	}
	return cases
}

// badFilterCases need no task.
func badFilterCases() []testCase {
	table := []struct{ name, filter string }{
		{"an operator without a value", "id=="},
		{"an unknown operator", "id=a"},
		{"an unclosed quote", `id=="a`},
		{"a trailing comma", "id==a,"},
		{"a regular expression that does not compile", `id~="["`},
		{"an unknown field", "labels.a==b"},
		{"an unknown field next to a known one", "id==a,name==b"},
		{"NUL", "id==\x00"},
	}
	cases := make([]testCase, 0, len(table))
	for _, row := range table {
		cases = append(cases, testCase{
			name: "ListTasks: " + row.name + " in the filter is an invalid argument",
			run: func(e *env) {
				_, err := e.Service.ListTasks(e.ctx, filtered(row.filter))
				e.invalid(err, "", "Filter")
			},
		})
	}
	return cases
}

func filtered(filter string) *containerd.ListTasksOptions {
	return &containerd.ListTasksOptions{Filter: filter}
}

func (e *env) listTasks(opts *containerd.ListTasksOptions) []containerd.TaskInfo {
	e.Helper()
	list, err := e.Service.ListTasks(e.ctx, opts)
	e.ok(err)
	return list
}

// wantTasks checks which containers' tasks are listed, in any order.
func (e *env) wantTasks(opts *containerd.ListTasksOptions, want ...string) {
	e.Helper()
	var got []string
	for _, info := range e.listTasks(opts) {
		got = append(got, info.ContainerID)
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		e.Errorf("listed the tasks of %v, want %v", got, want)
	}
}

// listedTasks returns the IDs of all tasks that the daemon lists.
func (e *env) listedTasks() []string {
	e.Helper()
	r, err := e.Client.TaskService().List(e.raw, &tasks.ListTasksRequest{})
	e.ok(err)
	var ids []string
	for _, p := range r.GetTasks() {
		ids = append(ids, p.GetID())
	}
	return ids
}

func listWhileDeleting(e *env) {
	stays, goes := e.start(), e.create("sleep", "300")
	done := async(func() error {
		for range 3 {
			if _, err := e.Service.StartTask(e.ctx, goes, nil); err != nil {
				return err
			}
			if err := e.Service.DeleteTask(e.ctx, goes, forced); err != nil {
				return err
			}
		}
		return nil
	})
	for {
		e.wantTasks(filtered("id=="+stays), stays)
		select {
		case err := <-done:
			e.ok(err)
			return
		default:
		}
	}
}
