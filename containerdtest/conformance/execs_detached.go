package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

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
