package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

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
