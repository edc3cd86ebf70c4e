package containerdtest_test

import (
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/typeurl/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

// describe is what a test says of an event: its type, the exec and the exit code.
func describe(event any) string {
	name := strings.TrimPrefix(reflect.TypeOf(event).Elem().Name(), "Task")
	switch e := event.(type) {
	case *eventtypes.TaskExecAdded:
		return name + " " + e.ExecID
	case *eventtypes.TaskExecStarted:
		return name + " " + e.ExecID
	case *eventtypes.TaskExit:
		return fmt.Sprint(name, " ", e.ID, " ", e.ExitStatus)
	case *eventtypes.TaskDelete:
		return fmt.Sprint(name, " ", e.ID, e.ExitStatus)
	}
	return name
}

// subscribe returns events of the topics when the subscription has begun.
func (w *world) subscribe(topics ...string) (<-chan *events.Envelope, <-chan error) {
	w.t.Helper()
	envelopes, errs := w.plain.Subscribe(w.ctx, append(topics, `topic=="/probe"`)...)
	probe := func(id string) {
		require.NoError(w.t, w.plain.EventService().Publish(w.ctx, "/probe", &eventtypes.TaskOOM{ContainerID: id}))
	}
	for begun := false; !begun; {
		probe("first")
		select {
		case <-envelopes:
			begun = true
		case <-time.After(pause):
		}
	}
	probe("last")
	for {
		var seen *eventtypes.TaskOOM
		w.event(envelopes, &seen)
		if seen.ContainerID == "last" {
			return envelopes, errs
		}
	}
}

// event receives the next event, which is of the type that event points to.
func (w *world) event(envelopes <-chan *events.Envelope, event any) {
	w.t.Helper()
	envelope := received(w.t, envelopes)
	assert.Equal(w.t, containerd.DefaultNamespace, envelope.Namespace)
	value, err := typeurl.UnmarshalAny(envelope.Event)
	require.NoError(w.t, err)
	require.IsType(w.t, reflect.ValueOf(event).Elem().Interface(), value)
	reflect.ValueOf(event).Elem().Set(reflect.ValueOf(value))
}

func TestSubscribersSeeATasksLifeInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	envelopes, errs := w.subscribe(`topic~="^/tasks/"`)

	task := w.start("web", "sleep", "3600")
	r := w.exec(task, "e1", "sh", "-c", "exit 3")
	assert.Equal(t, 3, r.code())
	_, err := r.Delete(w.ctx)
	require.NoError(t, err)
	require.NoError(t, task.Pause(w.ctx))
	require.NoError(t, task.Resume(w.ctx))
	killed := w.exec(task, "e2", "sleep", "3600")
	failing, err := task.Exec(w.ctx, "e3", w.process(task, "/no/such"), cio.NullIO)
	require.NoError(t, err)
	require.Error(t, failing.Start(w.ctx))
	require.NoError(t, task.Kill(w.ctx, syscall.SIGKILL))
	w.await(task)
	killed.code()
	_, err = task.Delete(w.ctx)
	require.NoError(t, err)

	created, err := w.create("db", "pause").NewTask(w.ctx, cio.NullIO)
	require.NoError(t, err)
	_, err = w.plain.TaskService().Delete(w.ctx, &tasks.DeleteTaskRequest{ContainerID: created.ID()})
	require.NoError(t, err)

	want := []string{
		"Create", "Start", "ExecAdded e1", "ExecStarted e1", "Exit e1 3", "Paused", "Resumed",
		"ExecAdded e2", "ExecStarted e2", "ExecAdded e3", "Exit e2 137", "Exit web 137", "Delete 137",
		"Create", "Delete 0",
	}
	var got []string
	for range want {
		event, err := typeurl.UnmarshalAny(received(t, envelopes).Event)
		require.NoError(t, err)
		got = append(got, describe(event))
	}
	assert.Equal(t, want, got)
	select {
	case err := <-errs:
		require.Fail(t, "the subscription has ended", "%v", err)
	default:
	}
}

func TestEventsSayWhatHappened(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	envelopes, _ := w.subscribe(`topic=="/tasks/create"`, `topic=="/tasks/exit"`)
	at := fifos(t, "in", "out", "err")
	reader(t, at[1])
	reader(t, at[2])
	task, err := w.create("web", "sh", "-c", "exit 5").NewTask(w.ctx, func(string) (cio.IO, error) {
		return addresses{Stdin: at[0], Stdout: at[1], Stderr: at[2]}, nil
	})
	require.NoError(t, err)
	exit, err := task.Wait(w.ctx)
	require.NoError(t, err)
	require.NoError(t, task.Start(w.ctx))
	status := received(t, exit)

	var created *eventtypes.TaskCreate
	w.event(envelopes, &created)
	assert.Equal(t, "web", created.ContainerID)
	assert.Equal(t, task.Pid(), created.Pid)
	assert.Equal(t, at[0], created.IO.Stdin)
	assert.Equal(t, at[1], created.IO.Stdout)
	assert.Equal(t, at[2], created.IO.Stderr)
	assert.Equal(t, "bind", created.Rootfs[0].Type)
	assert.DirExists(t, created.Bundle)
	var ended *eventtypes.TaskExit
	w.event(envelopes, &ended)
	assert.Equal(t, []string{"web", "web"}, []string{ended.ContainerID, ended.ID})
	assert.Equal(t, task.Pid(), ended.Pid)
	assert.Equal(t, status.ExitTime(), ended.ExitedAt.AsTime())
	now, err := task.Status(w.ctx)
	require.NoError(t, err)
	assert.Equal(t, client.Status{Status: client.Stopped, ExitStatus: 5, ExitTime: status.ExitTime()}, now)
}
