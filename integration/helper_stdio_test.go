package integration_test

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/ctrdkit/containerd"
)

// runAttached starts a task on this process's own streams and waits for its
// end. The task is deleted, as a program would that runs a container.
func runAttached(ctx context.Context, s *containerd.DefaultService, call helperCall) (r helperReport, err error) {
	began := time.Now()
	task, err := s.StartTask(ctx, call.ID, &containerd.StartTaskOptions{
		UseStdio: true, Terminal: call.Terminal, FIFODir: call.FIFODir,
	})
	if err != nil {
		return r, err
	}
	exited, err := task.Wait(ctx)
	if err != nil {
		return r, err
	}
	status := <-exited
	if r.ExitCode, _, err = status.Result(); err != nil {
		return r, err
	}
	err = s.DeleteTask(ctx, call.ID, nil)
	r.Took = time.Since(began)
	return r, err
}

// execAttached runs processes on this process's own streams, Repeat times, and
// tells what that left in this process.
func execAttached(ctx context.Context, s *containerd.DefaultService, call helperCall) (r helperReport, err error) {
	run := func() error {
		result, err := s.ExecTask(ctx, call.ID, containerd.ExecTaskRequest{
			Args: call.Args, UseStdio: true, Terminal: call.Terminal,
		})
		r.ExitCode = result.ExitCode
		return err
	}
	began := time.Now()
	if err := run(); err != nil { // also connects, and loads what is kept
		return r, err
	}
	r.Took = time.Since(began)
	if call.Repeat == 0 {
		return r, nil
	}
	if r.Files[0], err = openFiles(); err != nil {
		return r, err
	}
	r.Goroutines[0] = runtime.NumGoroutine()
	for range call.Repeat {
		if err := run(); err != nil {
			return r, err
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	// Goroutines that were told to end need a moment.
	for range 200 {
		r.Goroutines[1] = runtime.NumGoroutine()
		if r.Files[1], err = openFiles(); err != nil {
			return r, err
		}
		if r.Goroutines[1] <= r.Goroutines[0] && r.Files[1] <= r.Files[0] {
			break
		}
		<-tick.C
	}
	return r, nil
}

func openFiles() (int, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	return len(entries), err
}
