package conformance

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// often is an interval that makes a case short.
var often = &containerd.WatchMetricsOptions{Interval: 50 * time.Millisecond}

// measureCases are the contract of TaskMonitor.
var measureCases = []testCase{
	{name: "TaskMetrics: a running task is measured, by the daemon's clock", run: func(e *env) {
		e.need(ProcessLists)
		id := e.start("sleep", "300")
		began := time.Now()
		got, err := e.monitor().TaskMetrics(e.ctx, id, nil)
		e.ok(err)
		if got.ContainerID != id || got.PIDs.Current == 0 || got.CgroupVersion < 1 || got.CgroupVersion > 2 {
			e.Errorf("metrics are %+v", got)
		}
		if got.At.Before(began.Add(-time.Minute)) || got.At.After(time.Now().Add(time.Minute)) {
			e.Errorf("measured at %v, but it is %v", got.At, time.Now())
		}
		if got.PIDs.Limit != -1 || got.Memory.LimitBytes != -1 {
			e.Errorf("limits are %d processes and %d bytes, want none", got.PIDs.Limit, got.Memory.LimitBytes)
		}
	}},
	{name: "TaskMetrics: the tasks are told apart", run: func(e *env) {
		e.need(ProcessLists)
		for _, id := range []string{e.start("sleep", "300"), e.start("sleep", "300")} {
			got, err := e.monitor().TaskMetrics(e.ctx, id, &containerd.TaskMetricsOptions{})
			e.ok(err)
			if got.ContainerID != id {
				e.Errorf("metrics of %s are of %s", id, got.ContainerID)
			}
		}
	}},
	{name: "TaskMetrics: a stopped task has the numbers of its end, or none that can be known", run: func(e *env) {
		id := e.stopped("0")
		_, err := e.monitor().TaskMetrics(e.ctx, id, nil)
		e.oneOf(err, errdefs.IsNotImplemented)
	}},
	{name: "TaskMetrics: without a task there is nothing to be found", run: func(e *env) {
		m := e.monitor()
		for _, id := range []string{e.create(), e.id()} {
			_, err := m.TaskMetrics(e.ctx, id, nil)
			e.class(err, errdefs.IsNotFound, id)
		}
		_, err := m.TaskMetrics(e.ctx, "-a", nil)
		e.invalid(err, "-a", "containerID")
	}},
	{name: "WatchMetrics: the first sample comes at once, the others with the time between", run: func(e *env) {
		e.need(ProcessLists)
		id := e.start("sleep", "300")
		n := 0
		for got, err := range e.monitor().WatchMetrics(e.ctx, id, often) {
			e.ok(err)
			if got.ContainerID != id || (got.Elapsed > 0) != (n > 0) {
				e.Errorf("sample %d is %+v", n, got)
			}
			if n++; n == 3 {
				break
			}
		}
		if n != 3 {
			e.Errorf("%d samples, want 3", n)
		}
	}},
	{name: "WatchMetrics: the sequence ends by itself when the task has ended", run: func(e *env) {
		e.need(ProcessLists)
		id := e.start("sleep", "300")
		n := 0
		for _, err := range e.monitor().WatchMetrics(e.ctx, id, often) {
			e.ok(err)
			if n++; n == 2 {
				e.killPlain(id)
			}
		}
		if n < 2 {
			e.Errorf("%d samples, want 2 or more", n)
		}
		for sample, err := range e.monitor().WatchMetrics(e.ctx, id, nil) {
			e.Errorf("a task that has ended gives %+v, %v", sample, err)
		}
	}},
	{name: "WatchMetrics: the sequence ends when the task is deleted or replaced", run: func(e *env) {
		e.need(ProcessLists)
		id := e.start("sleep", "300")
		n := 0
		for _, err := range e.monitor().WatchMetrics(e.ctx, id, often) {
			e.ok(err)
			if n++; n == 1 {
				e.ok(e.Service.DeleteTask(e.ctx, id, forced))
				_, err := e.Service.StartTask(e.ctx, id, nil)
				e.ok(err)
			}
		}
		e.wantStatus(id, "RUNNING")
	}},
	{name: "WatchMetrics: the context's end is an error of the sequence", run: func(e *env) {
		e.need(ProcessLists)
		id := e.start("sleep", "300")
		ctx, cancel := context.WithCancel(e.ctx)
		defer cancel()
		var last error
		for _, err := range e.monitor().WatchMetrics(ctx, id, nil) {
			cancel()
			last = err
		}
		e.class(last, func(err error) bool { return errors.Is(err, context.Canceled) }, id)
	}},
	{name: "WatchMetrics: what can't be watched is one error", run: func(e *env) {
		m := e.monitor()
		for _, id := range []string{e.create(), e.id()} {
			e.class(onlyError(e, m.WatchMetrics(e.ctx, id, nil)), errdefs.IsNotFound, id)
		}
		e.invalid(onlyError(e, m.WatchMetrics(e.ctx, "-a", nil)), "-a", "containerID")
		id := e.create()
		e.invalid(onlyError(e, m.WatchMetrics(e.ctx, id, &containerd.WatchMetricsOptions{Interval: -1})), id, "Interval")
	}},
	{name: "WatchMetrics: samples go on after a daemon's restart", needs: needsRestart, run: func(e *env) {
		e.need(ProcessLists)
		id := e.start("sleep", "300")
		n := 0
		for _, err := range e.monitor().WatchMetrics(e.ctx, id, often) {
			e.ok(err)
			if n++; n == 2 {
				e.Restart(e.T)
			}
			if n == 5 {
				break
			}
		}
		if n != 5 {
			e.Errorf("%d samples, want 5", n)
		}
	}},
	{name: "WatchOOM: the daemon's news of a container are one event", run: func(e *env) {
		one, other := e.start("sleep", "300"), e.start("sleep", "300")
		kills, stop := e.watchOOM(&containerd.WatchOOMOptions{ContainerID: one})
		defer stop()
		e.publishOOM(other)
		e.publishOOM(one)
		e.publishOOM(one)
		if got := received(e, kills); got.ContainerID != one || got.Gap || time.Since(got.At) > time.Minute {
			e.Errorf("event is %+v, want one of %s", got, one)
		}
		select {
		case got := <-kills:
			e.Errorf("another event: %+v", got)
		case <-time.After(500 * time.Millisecond):
		}
	}},
	{name: "WatchOOM: without a container all of them are watched", run: func(e *env) {
		one, other := e.start("sleep", "300"), e.start("sleep", "300")
		kills, stop := e.watchOOM(nil)
		defer stop()
		e.publishOOM(other)
		e.publishOOM(one)
		if first, second := received(e, kills), received(e, kills); first.ContainerID != other || second.ContainerID != one {
			e.Errorf("events are %+v and %+v, want of %s and %s", first, second, other, one)
		}
	}},
	{name: "WatchOOM: a restart of the daemon is a gap, and no end", needs: needsRestart, run: func(e *env) {
		id := e.start("sleep", "300")
		kills, stop := e.watchOOM(nil)
		defer stop()
		e.Restart(e.T)
		if got := received(e, kills); !got.Gap || got.ContainerID != "" {
			e.Errorf("event is %+v, want a gap", got)
		}
		e.publishOOM(id)
		if got := received(e, kills); got.ContainerID != id {
			e.Errorf("event is %+v, want one of %s", got, id)
		}
	}},
	{name: "WatchOOM: the context's end is an error of the sequence", run: func(e *env) {
		ctx, cancel := context.WithTimeout(e.ctx, 300*time.Millisecond)
		defer cancel()
		err := onlyError(e, e.monitor().WatchOOM(ctx, nil))
		e.class(err, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }, "")
		e.invalid(onlyError(e, e.monitor().WatchOOM(e.ctx, &containerd.WatchOOMOptions{ContainerID: "-a"})), "-a", "ContainerID")
	}},
}

// monitor returns the service's role, or skips the case.
func (e *env) monitor() containerd.TaskMonitor {
	e.Helper()
	m, ok := e.Service.(containerd.TaskMonitor)
	if !ok {
		e.Skip("the service is no TaskMonitor")
	}
	return m
}

// onlyError returns the error of a sequence that brings nothing else.
func onlyError[V any](e *env, seq iter.Seq2[V, error]) (only error) {
	e.Helper()
	n := 0
	for _, err := range seq {
		only, n = err, n+1
	}
	if n != 1 || only == nil {
		e.Fatalf("the sequence brings %d times something, at last %v, want one error", n, only)
	}
	return only
}

// watchOOM begins to watch, and returns when the watch is in force.
func (e *env) watchOOM(opts *containerd.WatchOOMOptions) (kills <-chan containerd.OOMEvent, stop func()) {
	e.Helper()
	m := e.monitor()
	ctx, cancel := context.WithCancel(e.ctx)
	events, ended := make(chan containerd.OOMEvent, 100), make(chan struct{})
	go func() {
		defer close(ended)
		for event, err := range m.WatchOOM(ctx, opts) {
			if err != nil {
				if ctx.Err() == nil {
					e.Errorf("watching: %v", err)
				}
				return
			}
			events <- event
		}
	}()
	// A watch does not say when it is in force: give news of a container that
	// there is none of until they come.
	marker := "marker"
	if opts != nil {
		marker = opts.ContainerID
	}
	for {
		e.publishOOM(marker)
		select {
		case event := <-events:
			if event.ContainerID != marker {
				e.Fatalf("event is %+v, want one of %s", event, marker)
			}
			// What was published meanwhile is the same.
			<-time.After(time.Second + 200*time.Millisecond)
			return events, func() { cancel(); <-ended }
		case <-time.After(20 * time.Millisecond):
		case <-e.ctx.Done():
			e.Fatal("no event comes")
		}
	}
}

// publishOOM publishes what a shim does when the kernel kills for memory.
func (e *env) publishOOM(id string) {
	e.Helper()
	e.ok(e.Client.EventService().Publish(e.raw, "/tasks/oom", &events.TaskOOM{ContainerID: id}))
}
