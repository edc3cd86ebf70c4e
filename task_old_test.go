package containerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// errOccupied is the daemon's answer while it is still making or removing a task.
var errOccupied = errors.New("mkdir /run/containerd/io.containerd.runtime.v2.task/test/idle: file exists")

// errSwept is the daemon's answer when it has removed what it was making.
var errSwept = errors.New("failed to start shim: start failed: io.containerd.runc.v2: failed to write socket-dir: " +
	"symlink /run/containerd/s s: no such file or directory: exit status 1")

func (d *daemon) count(method string) int {
	return len(slices.DeleteFunc(d.methods(), func(m string) bool { return m != method }))
}

func TestStartTaskWaitsForATaskThatIsJustBeingRemoved(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	d.fail("Tasks/Create", errOccupied)
	starting := async(func() error { return start(t, s, "idle", nil) })
	for range 3 {
		clock.pass(t, retryPause)
	}
	clock.await(t, retryPause)
	assertWaiting(t, starting, "the directory is still in the way")
	d.heal()
	clock.advance(retryPause)
	require.NoError(t, received(t, starting))
	d.assertStatus("idle", int32(running), "started")
	assert.Equal(t, 5, d.count("Tasks/Create"))
}

func TestStartTaskGivesUpOnADirectoryThatStays(t *testing.T) {
	for what, opts := range map[string]*StartTaskOptions{"detached": {}, "attached": attachedTo(t)} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			before := d.state()
			s := d.service()
			stopClock(s).run()
			d.fail("Tasks/Create", errOccupied)
			err := start(t, s, "idle", opts)
			assertError(t, err, "start task", errdefs.IsAlreadyExists, "occupied")
			assert.Equal(t, retryLimit, d.count("Tasks/Create"))
			assert.Equal(t, before, d.state())
			if opts.UseStdio {
				assertNoFIFOs(t, opts)
			}
		})
	}
}

func TestStartTaskTriesAgainWhenTheDaemonHasRemovedItsDirectory(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	stopClock(s).run()
	d.once("Tasks/Create", func(context.Context) error { return errSwept })

	require.NoError(t, start(t, s, "idle", nil))

	d.assertStatus("idle", int32(running), "started")
	assert.Equal(t, 2, d.count("Tasks/Create"))
}

func TestStartTaskWhoseDirectoryIsAlwaysRemovedSaysSo(t *testing.T) {
	d := newDaemon(t)
	before := d.state()
	s := d.service()
	stopClock(s).run()
	d.fail("Tasks/Create", errSwept)

	err := start(t, s, "idle", nil)

	assertError(t, err, "start task", errdefs.IsInternal, "swept")
	require.ErrorContains(t, err, "failed to start shim")
	assert.Equal(t, retryLimit, d.count("Tasks/Create"))
	assert.Equal(t, before, d.state())
}

func TestStartTaskDoesNotTryAgainWithoutARuntime(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.fail("Tasks/Create", errors.New("failed to start shim: failed to resolve runtime path: invalid custom binary path: "+
		"stat /no/shim: no such file or directory"))

	err := start(t, s, "idle", nil)

	assertError(t, err, "start task", errdefs.IsInternal, "no runtime")
	assert.Equal(t, 1, d.count("Tasks/Create"))
}

func TestStartTaskThatWaitsHonoursItsContext(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	d.fail("Tasks/Create", errOccupied)
	ctx, cancel := context.WithCancel(t.Context())
	starting := async(func() error {
		_, err := s.StartTask(ctx, "idle", nil)
		return err
	})
	clock.await(t, retryPause)
	cancel()
	require.ErrorIs(t, received(t, starting), context.Canceled)
}

func TestStartTaskFinishesAnInterruptedDeletion(t *testing.T) {
	// Given a task that can't be got, but is in the way of a new one,
	d := newDaemon(t)
	s := d.service()
	stopClock(s).run()
	d.fail("Tasks/Get", errdefs.ErrNotFound)
	old := d.pidOf("done")
	// when the container's task is started, then the remainder is deleted first.
	require.NoError(t, start(t, s, "done", nil))
	assert.Equal(t, 1, d.count("Tasks/Delete"))
	assert.NotEqual(t, old, d.pidOf("done"))
}

func TestStartTaskThatCanNotMakeRoomSaysWhy(t *testing.T) {
	for what, test := range map[string]struct {
		set   func(d *daemon)
		class func(error) bool
	}{
		"it can't look": {func(d *daemon) { d.fail("Tasks/Get", errdefs.ErrUnavailable) }, errdefs.IsUnavailable},
		"it can't delete": {
			func(d *daemon) { d.fail("Tasks/Delete", errdefs.ErrPermissionDenied) },
			errdefs.IsPermissionDenied,
		},
		"it can't delete what can't be got": {func(d *daemon) {
			d.fail("Tasks/Get", errdefs.ErrNotFound)
			d.fail("Tasks/Delete", errdefs.ErrPermissionDenied)
		}, errdefs.IsPermissionDenied},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			before := d.state()
			test.set(d)
			assertError(t, start(t, d.service(), "done", nil), "start task", test.class, what)
			d.heal()
			assert.Equal(t, before, d.state())
		})
	}
}

// madeBy makes the task "idle", created by a start of the owner whose process
// is this one or a dead one.
func madeBy(d *daemon, s *DefaultService, dead, attached bool, base string) (owner, *taskState) {
	o := s.owner
	if dead {
		o.start = "1"
	}
	p := d.addTask("idle", created)
	if attached {
		name := fifoPrefix + strings.ReplaceAll(o.String(), "/", "_") + "-ABCDEFGH"
		p.Stdout = filepath.Join(base, name, "stdout")
		require.NoError(d.t, os.Mkdir(filepath.Dir(p.Stdout), 0o700))
		return o, p
	}
	p.Stderr = newSink(false, o.String()+"/ABCDEFGH").Stderr
	p.Stdout = p.Stderr
	return o, p
}

func TestStartTaskReplacesWhatADeadStartLeftCreated(t *testing.T) {
	for what, attached := range map[string]bool{"detached": false, "attached": true} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			base := t.TempDir()
			_, p := madeBy(d, s, true, attached, base)
			require.NoError(t, start(t, s, "idle", nil))
			d.assertStatus("idle", int32(running), "started")
			assert.NotEqual(t, p.Pid, d.pidOf("idle"))
			left, err := os.ReadDir(base)
			require.NoError(t, err)
			assert.Empty(t, left, "its FIFOs go with it")
		})
	}
}

func TestStartTaskLeavesWhatALiveStartCreatedAlone(t *testing.T) {
	for what, attached := range map[string]bool{"detached": false, "attached": true} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			o, p := madeBy(d, s, false, attached, t.TempDir())
			err := start(t, s, "idle", nil)
			assertError(t, err, "start task", errdefs.IsAlreadyExists, what)
			assert.ErrorContains(t, err, o.String(), "the owner is named")
			assert.Equal(t, p.Pid, d.pidOf("idle"))
			d.assertStatus("idle", int32(created), "untouched")
		})
	}
}

func TestStartTaskLeavesACreatedTaskOfOtherProgramsAlone(t *testing.T) {
	d := newDaemon(t)
	p := d.addTask("idle", created)
	p.Stdout, p.Stderr = "/run/containerd/fifo/1/idle-stdout", "file:///dev/null?x"
	err := start(t, d.service(), "idle", nil)
	assertError(t, err, "start task", errdefs.IsAlreadyExists, "no mark")
	d.assertStatus("idle", int32(created), "untouched")
	assert.Zero(t, d.count("Tasks/Kill"))
}

func TestStartTaskThatCanNotKillWhatADeadStartLeft(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	madeBy(d, s, true, false, "")
	d.fail("Tasks/Kill", errdefs.ErrPermissionDenied)
	assertError(t, start(t, s, "idle", nil), "start task", errdefs.IsPermissionDenied, "kill")
	d.assertStatus("idle", int32(created), "still there")
	assert.Zero(t, d.count("Tasks/Delete"))
}

// startTwice starts a task twice, and returns when the second start waits for
// the first, which is about to end.
func startTwice(ctx context.Context, t *testing.T, d *daemon, s *DefaultService) (release func(), first, second <-chan error) {
	t.Helper()
	starting, held := make(chan struct{}), make(chan struct{})
	d.once("Tasks/Start", func(context.Context) error {
		close(starting)
		<-held
		return nil
	})
	first = async(func() error { return start(t, s, "idle", nil) })
	received(t, starting)
	second = async(func() error {
		_, err := s.StartTask(ctx, "idle", nil)
		return err
	})
	awaitTurn(t, s, "idle", 2)
	return func() { close(held) }, first, second
}

func TestStartTaskTwiceAtATimeStartsOnce(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	release, first, second := startTwice(t.Context(), t, d, s)
	release()
	require.NoError(t, received(t, first))
	assertError(t, received(t, second), "start task", errdefs.IsAlreadyExists, "the first runs")
	d.assertStatus("idle", int32(running), "the first one's")
}

func TestStartTaskHonoursItsContextWhileItWaitsForItsTurn(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	ctx, cancel := context.WithCancel(t.Context())
	release, first, second := startTwice(ctx, t, d, s)
	cancel()
	require.ErrorIs(t, received(t, second), context.Canceled)
	release()
	require.NoError(t, received(t, first))
}
