package containerd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// undone are the methods after whose failure everything is as before.
var undone = []string{"CreateContainer", "CreateContainerFromSnapshot", "StartTask", "LaunchTask", "ExecTask", "StartExec", "PrepareSnapshot", "UpdateResources"}

// goneIsDone are the methods whose goal is that something is gone: when only
// the answer was lost, a retry finds nothing.
var goneIsDone = []string{"DeleteImage", "DeleteContainer", "DeleteTask"}

// fault breaks the nth request of a call; cancel ends the call's context.
type fault struct {
	set   func(d *daemon, nth int, cancel context.CancelFunc)
	class func(error) bool
}

var faults = map[string]fault{
	"refused": {
		set: func(d *daemon, nth int, _ context.CancelFunc) {
			d.atRequest(nth, func(context.Context, string) error { return errdefs.ErrPermissionDenied })
		},
		class: errdefs.IsPermissionDenied,
	},
	"unavailable": {
		set: func(d *daemon, nth int, _ context.CancelFunc) {
			d.atRequest(nth, func(context.Context, string) error { return errdefs.ErrUnavailable })
		},
		class: errdefs.IsUnavailable,
	},
	"answer lost": {
		set:   func(d *daemon, nth int, _ context.CancelFunc) { d.loseRequest(nth) },
		class: errdefs.IsUnavailable,
	},
	"cancelled": {
		set: func(d *daemon, nth int, cancel context.CancelFunc) {
			d.atRequest(nth, func(context.Context, string) error { cancel(); return nil })
		},
		class: func(err error) bool { return errors.Is(err, context.Canceled) },
	},
}

// Whatever request of a call goes wrong, and however: the call undoes what it
// made, says what happened, and an immediate retry succeeds.
func TestFaultAtEveryRequest(t *testing.T) {
	for name, m := range methods(t) {
		t.Run(name, func(t *testing.T) {
			requests := requestsOf(t, m)
			var wg sync.WaitGroup
			for what, f := range faults {
				for nth := range requests {
					d := m.daemon(t)
					s := d.service()
					where := fmt.Sprintf("request %d %s", nth+1, what)
					wg.Go(func() { checkFault(t, d, s, name, m, f, nth+1, where) })
				}
			}
			wg.Wait()
		})
	}
}

func checkFault(t *testing.T, d *daemon, s *DefaultService, name string, m method, f fault, nth int, where string) {
	before := d.state()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.set(d, nth, cancel)
	err := m.do(ctx, s)
	d.heal()
	if err == nil {
		return // the request did not matter, or was repeated
	}
	where += fmt.Sprintf(" %v", d.methods())
	assertError(t, err, m.op, f.class, "%s", where)
	if slices.Contains(undone, name) {
		assert.Equal(t, before, d.state(), "%s: %v", where, err)
	}
	err = m.do(t.Context(), s)
	if errdefs.IsNotFound(err) && slices.Contains(goneIsDone, name) {
		return
	}
	assert.NoError(t, err, "retry after %s", where)
}

// What can't be undone in time is named in the error, stays the cleaner's, and
// is finished by an immediate retry.
func TestUndoThatFailsIsFinishedByARetry(t *testing.T) {
	for name, test := range map[string]struct {
		method string
		fails  string   // the request that makes the call fail
		undo   []string // the requests that undo it, which fail too
		left   string   // what the error names
	}{
		"lease":                  {"CreateContainer", "Snapshots/Prepare", []string{"Leases/Delete"}, "lease"},
		"snapshot":               {"CreateContainer", "Containers/Create", []string{"Snapshots/Remove"}, `snapshot "new"`},
		"record":                 {"CreateContainer", "Containers/Create", []string{"Containers/Delete"}, `container "new"`},
		"record over a snapshot": {"CreateContainerFromSnapshot", "Containers/Create", []string{"Containers/Get"}, `container "new"`},
		"task":                   {"StartTask", "Tasks/Start", []string{"Tasks/Delete"}, "task"},
		"exec":                   {"ExecTask", "Tasks/Start", []string{"Tasks/DeleteProcess"}, "exec"},
		"kept snapshot":          {"PrepareSnapshot", "Snapshots/Prepare", []string{"Snapshots/Stat"}, `snapshot "new"`},
		"pull":                   {"PullImage", "Images/Create", []string{"Leases/Delete"}, "lease"},
	} {
		t.Run(name, func(t *testing.T) {
			m := methods(t)[test.method]
			d := m.daemon(t)
			s := d.service()
			stopClock(s)
			// Given a call whose last step's answer is lost, and undoing that fails.
			d.lose(test.fails)
			for _, method := range test.undo {
				d.fail(method, errdefs.ErrUnavailable)
			}
			// Then the error has the cause's class and says what remains,
			err := m.do(t.Context(), s)
			assertError(t, err, m.op, errdefs.IsUnavailable, name)
			assert.Contains(t, err.Error(), "still to be cleaned up")
			assert.Contains(t, err.Error(), test.left)
			// a retry meets the same obstacle and says so,
			if name != "pull" && name != "exec" {
				err = m.do(t.Context(), s)
				assertError(t, err, m.op, errdefs.IsUnavailable, name)
			}
			// and once the daemon is back it succeeds.
			d.heal()
			require.NoError(t, m.do(t.Context(), s))
		})
	}
}
