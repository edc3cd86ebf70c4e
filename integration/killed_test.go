package integration_test

import (
	"fmt"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

// call is the helper's call op in the world's namespace.
func (w *world) call(op string) helperCall {
	return helperCall{Op: op, Address: shared.daemon.address, Namespace: w.Namespace, Image: w.Image, ID: newID()}
}

// fresh opens another service in the world's namespace.
func (w *world) fresh() *containerd.DefaultService {
	w.Helper()
	s, err := containerd.Open(w.ctx, containerd.WithAddress(shared.daemon.address), containerd.WithNamespace(w.Namespace))
	require.NoError(w, err)
	w.Cleanup(func() { assert.NoError(w, s.Close()) })
	return s
}

// killPoint is a moment of a call at which its process dies.
type killPoint struct {
	at   int
	sent bool
}

func (p killPoint) String() string {
	if p.sent {
		return fmt.Sprintf("in request %d", p.at)
	}
	return fmt.Sprintf("before request %d", p.at)
}

// killPoints spreads at most limit points over a call of n requests, of both kinds.
func killPoints(n, limit int) []killPoint {
	var points []killPoint
	step := max(1, (2*n+limit-1)/limit) | 1
	for i := 0; i < 2*n; i += step {
		points = append(points, killPoint{at: i/2 + 1, sent: i%2 == 1})
	}
	return points
}

// killCase is one operation that is killed at many points.
type killCase struct {
	limit   int  // of points
	shared  bool // all points share a namespace
	prepare func(w *world) helperCall
	// check makes the call again with a fresh service, and looks at what is there.
	check func(w *world, s *containerd.DefaultService, call helperCall)
}

var killCases = map[string]killCase{
	"CreateContainer": {
		limit: 16, check: createsAfterKill,
		prepare: func(w *world) helperCall {
			call := w.call("create")
			call.Image = w.pull(freshImage(w.T)).Name()
			return call
		},
	},
	"CreateContainer that pulls": {
		limit: 12, check: createsAfterKill,
		prepare: func(w *world) helperCall {
			call := w.call("create")
			call.Image = freshImage(w.T)
			return call
		},
	},
	"PullImage": {
		limit: 12, check: pullsAfterKill,
		prepare: func(w *world) helperCall {
			call := w.call("pull")
			call.Image = freshImage(w.T)
			return call
		},
	},
	"StartTask": {
		limit: 12, shared: true, check: startsAfterKill,
		prepare: func(w *world) helperCall {
			call := w.call("start")
			call.ID = w.create("sleep", "300")
			return call
		},
	},
	"StartTask with stdio": {
		limit: 12, shared: true, check: startsAfterKill,
		prepare: func(w *world) helperCall {
			call := w.call("attach")
			call.ID = w.create("sleep", "300")
			call.FIFODir = w.TempDir()
			return call
		},
	},
}

func TestAFreshServiceTakesOverFromAKilledProcess(t *testing.T) {
	for name, c := range killCases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := startHelper(t, c.prepare(w)).result(t)
			require.Empty(t, n.Err)
			require.Positive(t, n.Requests)
			for _, p := range killPoints(n.Requests, c.limit) {
				var all *world
				var call helperCall
				if c.shared {
					all, call = w, c.prepare(w)
				}
				t.Run(p.String(), func(t *testing.T) {
					t.Parallel()
					w := all.in(t)
					if !c.shared {
						call = c.prepare(w)
					}
					call.At, call.Sent = p.at, p.sent
					h := startHelper(t, call)
					if !h.died(t) {
						require.True(t, p.sent, "the process reaches every request")
					}
					c.check(w, w.fresh(), call)
					w.noLeases()
					assert.Empty(t, owned(marksDir, h.owner), "start marks are left")
				})
			}
		})
	}
}

// createsAfterKill checks that the container is there after one more call, at once.
func createsAfterKill(w *world, s *containerd.DefaultService, call helperCall) {
	complete := w.hasContainer(call.ID)
	_, err := s.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: call.ID, ImageRef: call.Image})
	if err != nil {
		// The killed process's last request may have been answered to nobody.
		assert.True(w, errdefs.IsAlreadyExists(err) && (complete || w.hasContainer(call.ID)), "retry: %v", err)
	}
	assert.True(w, w.hasContainer(call.ID), "there is no record")
	assert.Contains(w, w.snapshots(), call.ID, "the container has no snapshot")
}

func pullsAfterKill(w *world, s *containerd.DefaultService, call helperCall) {
	image, err := s.PullImage(w.ctx, call.Image, nil)
	require.NoError(w, err)
	w.snapshots() // collects garbage
	unpacked, err := image.IsUnpacked(w.ctx, w.Snapshotter)
	require.NoError(w, err)
	assert.True(w, unpacked)
	_, err = s.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: newID(), ImageRef: call.Image})
	assert.NoError(w, err)
}

// startsAfterKill checks that a task that was not started is replaced, and that
// one that was is left alone.
func startsAfterKill(w *world, s *containerd.DefaultService, call helperCall) {
	before := w.task(call.ID)
	opts := &containerd.StartTaskOptions{UseStdio: call.FIFODir != "", FIFODir: call.FIFODir}
	_, err := s.StartTask(w.ctx, call.ID, opts)
	after := w.task(call.ID)
	require.NotNil(w, after, "there is no task: %v", err)
	assert.Equal(w, "RUNNING", after.GetStatus().String())
	if err != nil {
		assert.True(w, errdefs.IsAlreadyExists(err), "retry: %v", err)
		assert.NotNil(w, before, "only a task that was started is in the way: %v", err)
	}
	if before.GetStatus().String() == "RUNNING" {
		assert.True(w, errdefs.IsAlreadyExists(err), "retry: %v", err)
		assert.Equal(w, before.GetPid(), after.GetPid(), "a started task is left alone")
	}
	require.NoError(w, s.DeleteTask(w.ctx, call.ID, &containerd.DeleteTaskOptions{Force: true}))
	if call.FIFODir != "" {
		isEmptyDir(w.T, call.FIFODir)
	}
	w.noTask(call.ID)
}
