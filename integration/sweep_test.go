package integration_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

// deadlines are when the calls of a sweep are cut short, in milliseconds.
var deadlines = []time.Duration{
	0, 1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25, 30, 36, 43, 51, 61, 75, 95, 120, 160, 220, 330, 500,
}

const (
	// pastDeadline is how long after its context's end a call may return.
	pastDeadline = time.Second
	// scheduling is what a busy machine may add to that.
	scheduling = 500 * time.Millisecond
)

// swept is one call of a sweep: what it is made on is ready.
type swept struct {
	call func(ctx context.Context) error
	// undone checks that a call that failed has left nothing of its own. It
	// may find the operation complete.
	undone func()
	// done checks that the operation is complete.
	done func()
	// settled reports that err is right for a retry of what is complete.
	settled func(err error) bool
}

// sweeps makes the calls. The container id is ready for those that share a
// namespace; the others have one of their own for each point.
var sweeps = map[string]struct {
	shared bool
	part   int // 1 or 2: only that half of the deadlines
	ready  func(w *world, id string) swept
}{
	"CreateContainer":            {false, 0, sweepCreate(func(w *world) string { return w.pull(freshImage(w.T)).Name() })},
	"CreateContainer that pulls": {false, 0, sweepCreate(func(w *world) string { return freshImage(w.T) })},
	"PullImage":                  {false, 0, sweepPull},
	"StartTask":                  {true, 1, sweepStart(false)},
	"StartTask with stdio":       {true, 2, sweepStart(true)},
	"ExecTask":                   {true, 0, sweepExec},
	"StopTask":                   {true, 2, sweepStop},
	"DeleteTask":                 {true, 0, sweepDeleteTask},
	"DeleteContainer":            {true, 1, sweepDeleteContainer},
	"CommitSnapshot":             {true, 0, sweepCommit},
	"PrepareSnapshot":            {true, 0, sweepPrepare},
}

func TestDeadlineSweep(t *testing.T) {
	for name, sweep := range sweeps {
		t.Run(name, func(t *testing.T) {
			var all *world
			ids := make([]string, len(deadlines))
			if sweep.shared {
				all = newWorld(t)
				for i := range ids {
					ids[i] = all.create()
				}
			}
			for i, deadline := range deadlines {
				if sweep.part != 0 && i%2 != sweep.part-1 {
					continue
				}
				deadline *= time.Millisecond
				t.Run(deadline.String(), func(t *testing.T) {
					t.Parallel()
					w := all.in(t)
					w.sweepPoint(sweep.ready(w, ids[i]), deadline)
				})
			}
		})
	}
}

func (w *world) sweepPoint(s swept, deadline time.Duration) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, deadline)
	defer cancel()
	began := time.Now()
	err := s.call(ctx)
	assert.Less(w, time.Since(began), deadline+pastDeadline+scheduling, "the call returns in time")
	w.noLeases()
	if err == nil {
		s.done()
		return
	}
	assert.ErrorIs(w, err, context.DeadlineExceeded)
	_, ok := errors.AsType[*containerd.Error](err)
	assert.True(w, ok, "%T", err)
	s.undone()
	if err = s.call(w.ctx); err != nil && s.settled != nil && s.settled(err) {
		err = nil
	}
	require.NoError(w, err, "an immediate retry succeeds")
	s.done()
	w.noLeases()
}

func (w *world) pull(ref string) client.Image {
	w.Helper()
	image, err := w.Service.PullImage(w.ctx, ref, nil)
	require.NoError(w, err)
	return image
}

func sweepCreate(image func(*world) string) func(*world, string) swept {
	return func(w *world, _ string) swept {
		req := containerd.CreateContainerRequest{ID: newID(), ImageRef: image(w)}
		return swept{
			call: func(ctx context.Context) error {
				_, err := w.Service.CreateContainer(ctx, req)
				return err
			},
			undone: func() { w.noContainer(req.ID) },
			done: func() {
				assert.True(w, w.hasContainer(req.ID))
				assert.Contains(w, w.snapshots(), req.ID)
			},
		}
	}
}

func sweepPull(w *world, _ string) swept {
	ref := freshImage(w.T)
	return swept{
		call: func(ctx context.Context) error {
			_, err := w.Service.PullImage(ctx, ref, nil)
			return err
		},
		undone: func() {
			_, err := w.Client.ImageService().Get(w.raw, ref)
			assert.True(w, errdefs.IsNotFound(err), "the image is stored: %v", err)
			assert.Empty(w, w.snapshots(), "snapshots are left")
		},
		done: func() {
			image, err := w.Client.GetImage(w.raw, ref)
			require.NoError(w, err)
			assert.Len(w, w.snapshots(), 2)
			unpacked, err := image.IsUnpacked(w.raw, w.Snapshotter)
			require.NoError(w, err)
			assert.True(w, unpacked)
		},
	}
}

func sweepStart(stdio bool) func(*world, string) swept {
	return func(w *world, id string) swept {
		opts := &containerd.StartTaskOptions{UseStdio: stdio, FIFODir: w.TempDir()}
		return swept{
			call: func(ctx context.Context) error {
				_, err := w.Service.StartTask(ctx, id, opts)
				return err
			},
			undone: func() {
				w.noTask(id)
				isEmptyDir(w.T, opts.FIFODir)
			},
			done: func() {
				assert.Equal(w, "RUNNING", w.status(id))
				require.NoError(w, w.Service.DeleteTask(w.ctx, id, &containerd.DeleteTaskOptions{Force: true}))
				isEmptyDir(w.T, opts.FIFODir)
			},
		}
	}
}

func sweepExec(w *world, id string) swept {
	w.startTask(id)
	return swept{
		call: func(ctx context.Context) error {
			result, err := w.Service.ExecTask(ctx, id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", "exit 7"}})
			if err == nil {
				assert.EqualValues(w, 7, result.ExitCode)
			}
			return err
		},
		undone: func() { w.onlyInit(id) },
		done:   func() { w.onlyInit(id) },
	}
}

func sweepStop(w *world, id string) swept {
	w.startTask(id) // it ends at SIGTERM, but not from its first moment on
	opts := &containerd.StopTaskOptions{Timeout: 50 * time.Millisecond, Force: true}
	return swept{
		call:   func(ctx context.Context) error { return w.Service.StopTask(ctx, id, opts) },
		undone: func() { assert.Contains(w, []string{"RUNNING", "STOPPED"}, w.status(id)) },
		done:   func() { assert.Equal(w, "STOPPED", w.status(id)) },
	}
}

func sweepDeleteTask(w *world, id string) swept {
	w.startTask(id)
	return swept{
		call: func(ctx context.Context) error {
			return w.Service.DeleteTask(ctx, id, &containerd.DeleteTaskOptions{Force: true})
		},
		undone: func() { assert.Contains(w, []string{"RUNNING", "STOPPED", ""}, w.status(id)) },
		done: func() {
			w.noTask(id)
			assert.True(w, w.hasContainer(id))
		},
		settled: errdefs.IsNotFound,
	}
}

func sweepDeleteContainer(w *world, id string) swept {
	w.startTask(id)
	w.kill(id)
	return swept{
		call: func(ctx context.Context) error { return w.Service.DeleteContainer(ctx, id, nil) },
		undone: func() {
			if !w.hasContainer(id) {
				w.noContainer(id)
			}
		},
		done:    func() { w.noContainer(id) },
		settled: errdefs.IsNotFound,
	}
}

func sweepCommit(w *world, _ string) swept {
	key, name := newID(), newID()
	require.NoError(w, w.Service.PrepareSnapshot(w.ctx, w.Snapshotter, key, w.base()))
	return swept{
		call: func(ctx context.Context) error { return w.Service.CommitSnapshot(ctx, w.Snapshotter, name, key) },
		undone: func() {
			assert.NotEqual(w, w.hasSnapshot(key), w.hasSnapshot(name), "it is committed or not")
		},
		done: func() {
			names := w.snapshots()
			assert.Contains(w, names, name)
			assert.NotContains(w, names, key)
		},
		settled: errdefs.IsNotFound,
	}
}

func sweepPrepare(w *world, _ string) swept {
	key, parent := newID(), w.base()
	return swept{
		call:   func(ctx context.Context) error { return w.Service.PrepareSnapshot(ctx, w.Snapshotter, key, parent) },
		undone: func() { assert.False(w, w.hasSnapshot(key)) },
		done:   func() { assert.Contains(w, w.snapshots(), key) },
	}
}

// base makes a committed snapshot.
func (w *world) base() string {
	w.Helper()
	sn, name := w.Client.SnapshotService(w.Snapshotter), newID()
	_, err := sn.Prepare(w.raw, name+"-active", "", keep)
	require.NoError(w, err)
	require.NoError(w, sn.Commit(w.raw, name, name+"-active", keep))
	return name
}
