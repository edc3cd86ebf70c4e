package containerdtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

// stepper plays "app": it prints a line for each step, and exits with code when
// there are no more.
func (w *world) stepper(code int) chan<- string {
	steps := make(chan string)
	w.Handle(containerdtest.Command("app"), func(ctx context.Context, p *containerdtest.Proc) int {
		for {
			select {
			case line, more := <-steps:
				if !more {
					return code
				}
				fmt.Fprintln(p.Stdout, line)
			case <-ctx.Done():
				return 0
			}
		}
	})
	return steps
}

// startToFile starts a task that writes to a file.
func (w *world) startToFile(id string, args ...string) (file string) {
	w.t.Helper()
	file = filepath.Join(w.t.TempDir(), "log")
	task, err := w.create(id, args...).NewTask(w.ctx, cio.LogFile(file))
	require.NoError(w.t, err)
	require.NoError(w.t, task.Start(w.ctx))
	return file
}

func TestACrashedDaemonAnswersNothingAndProcessesRunOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	steps := w.stepper(6)
	file := w.startToFile("web", "app")
	steps <- "before"

	w.Crash()
	for name, call := range map[string]func() error{
		"version": func() error { _, err := w.plain.Version(w.ctx); return err },
		"list":    func() error { _, err := w.plain.Containers(w.ctx); return err },
		"put":     func() error { return w.put("db") },
		"images":  func() error { _, err := w.plain.ListImages(w.ctx); return err },
	} {
		err := native(call())
		assert.True(t, errdefs.IsUnavailable(err), "%s: %v", name, err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	_, err := w.GetContainer(ctx, "web")
	require.ErrorIs(t, err, context.Canceled)
	steps <- "meanwhile"
	close(steps)
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(file)
		return err == nil && string(text) == "before\nmeanwhile\n"
	}, testLimit, pause)

	w.Recover()
	w.Recover() // does nothing
	require.Eventually(t, func() bool { return w.tryStatus("web") == "STOPPED" }, testLimit, pause)
	assert.EqualValues(t, 6, w.state("web", "").GetExitStatus(), "what happened meanwhile is known")
}

func TestWhatIsStoredSurvivesARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start("web", "pause")
	w.create("db", "pause")
	paused := w.start("paused", "pause")
	require.NoError(t, paused.Pause(w.ctx))
	require.NoError(t, w.CommitSnapshot(w.ctx, "overlayfs", "kept", "db"))
	before, err := w.plain.ContentStore().Status(w.ctx, "")
	require.Error(t, err)
	assert.Empty(t, before)

	w.RestartDaemon()
	require.Eventually(t, func() bool { return w.tryStatus("web") == "RUNNING" }, testLimit, pause)
	assert.Equal(t, "PAUSED", w.status("paused", ""))
	require.Eventually(t, func() bool { // on another connection
		list, err := w.ListContainers(w.ctx)
		return err == nil && assert.Len(t, list, 3)
	}, testLimit, pause)
	images, err := w.ListImages(w.ctx)
	require.NoError(t, err)
	assert.Len(t, images, 1)
	_, err = w.plain.SnapshotService("overlayfs").Stat(w.ctx, "kept")
	require.NoError(t, err)

	require.NoError(t, w.StopTask(w.ctx, "web", nil))
	require.NoError(t, paused.Resume(w.ctx))
	require.NoError(t, paused.Kill(w.ctx, syscall.SIGTERM))
	assert.Equal(t, 0, w.await(paused))
	w.start("new", "pause")
}

func TestARestartWhileStopTaskWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ready, end := make(chan struct{}), make(chan struct{})
	w.Handle(containerdtest.Command("app"), func(ctx context.Context, p *containerdtest.Proc) int {
		p.Trap(syscall.SIGTERM)
		close(ready)
		if _, err := p.NextSignal(ctx); err != nil {
			return 1
		}
		<-end
		return 0
	})
	w.start("web", "app")
	received(t, ready)
	killed := make(chan struct{})
	w.Inject(func(op containerdtest.Op) error {
		if op.String() == "Tasks/Kill" && op.After {
			close(killed)
		}
		return nil
	})
	stopped := make(chan error, 1)
	go func() { stopped <- w.StopTask(w.ctx, "web", nil) }()
	received(t, killed)
	for range 3 { // requests on the same connection: the kill is answered
		_, err := w.Client().Version(w.ctx)
		require.NoError(t, err)
	}

	w.RestartDaemon()
	close(end)
	require.NoError(t, received(t, stopped))
	assert.Equal(t, "STOPPED", w.status("web", ""))
}

func TestAWaitEndsWithAnErrorWhenTheDaemonCrashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	exit := w.awaited(task)
	w.Crash()
	status := received(t, exit)
	assert.True(t, errdefs.IsUnavailable(native(status.Error())), "%v", status.Error())
	assert.EqualValues(t, 255, status.ExitCode())
	assert.True(t, status.ExitTime().IsZero(), "that is no exit")
	w.Crash() // it is away already
}

func TestAServiceThatIsOpenedWhileTheDaemonIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Crash()
	svc := w.Open("other")
	ctx, cancel := context.WithTimeout(w.ctx, 50*1e6)
	defer cancel()
	_, err := svc.ListContainers(ctx)
	require.Error(t, err)
	w.Recover()
	require.Eventually(t, func() bool { _, err := svc.ListContainers(w.ctx); return err == nil }, testLimit, pause)
	w.AddImageTo(svc, "app", containerdtest.Image{})
	_, err = svc.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
	require.NoError(t, err)
	assert.False(t, w.has("web"), "it is in another namespace")
}
