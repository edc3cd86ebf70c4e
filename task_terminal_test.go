package containerd

import (
	"context"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (d *daemon) specOf(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.stores.containers[id].GetSpec().GetValue())
}

// assertSpec checks that the stored spec is this one, byte for byte.
func (d *daemon) assertSpec(id, want string) {
	d.t.Helper()
	assert.Equal(d.t, []byte(want), []byte(d.specOf(id)))
}

func (d *daemon) setSpec(id, spec string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stores.containers[id].Spec = jsonAny(spec)
}

func (d *daemon) hasTerminal(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.taskStates[id].GetTerminal()
}

const (
	odd         = `{"unknown":{"deep":[1,2.50]},"process":{"args":["/app"],"cwd":"/","newer":12345678901234567890}}`
	oddTerminal = `{"unknown":{"deep":[1,2.50]},"process":{"args":["/app"],"cwd":"/","newer":12345678901234567890,"terminal":true}}`
)

func TestStartTaskStoresTheTerminalInTheSpec(t *testing.T) {
	d := newDaemon(t)
	d.setSpec("idle", odd)
	require.NoError(t, start(t, d.service(), "idle", &StartTaskOptions{Terminal: true}))
	assert.JSONEq(t, oddTerminal, d.specOf("idle"))
	assert.Contains(t, d.specOf("idle"), "12345678901234567890", "numbers are not rounded")
	assert.True(t, d.hasTerminal("idle"))
	calls := d.methods()
	require.Contains(t, calls, "Containers/Update")
	assert.Less(t, slices.Index(calls, "Containers/Update"), slices.Index(calls, "Tasks/Create"), "the spec comes first")
}

func TestStartTaskTakesTheTerminalFromTheSpec(t *testing.T) {
	d := newDaemon(t)
	d.setSpec("idle", oddTerminal)
	require.NoError(t, start(t, d.service(), "idle", nil))
	assert.True(t, d.hasTerminal("idle"))
	assert.NotContains(t, d.methods(), "Containers/Update")
}

func TestStartTaskThatFailsRestoresTheSpec(t *testing.T) {
	for _, method := range []string{"Containers/Update", "Tasks/Create", "Tasks/Start"} {
		for what, fault := range map[string]func(*daemon, string, error){
			"refused": (*daemon).fail, "answer lost": (*daemon).answer,
		} {
			t.Run(method+" "+what, func(t *testing.T) {
				d := newDaemon(t)
				d.setSpec("idle", odd)
				if method == "Containers/Update" && what == "answer lost" {
					loseOnce(d, method)
				} else {
					fault(d, method, errdefs.ErrUnavailable)
				}
				err := start(t, d.service(), "idle", &StartTaskOptions{Terminal: true})
				assertError(t, err, "start task", errdefs.IsUnavailable, what)
				d.assertSpec("idle", odd)
				d.assertStatus("idle", -1, "no task")
			})
		}
	}
}

// loseOnce loses the answer to the next request of the method only.
func loseOnce(d *daemon, method string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.after[method] = func() error {
		delete(d.after, method)
		return errdefs.ErrUnavailable
	}
}

func TestStartTaskThatFailsKeepsASpecThatSomebodyChanged(t *testing.T) {
	d := newDaemon(t)
	const theirs = `{"process":{"args":["/other"]}}`
	d.on("Tasks/Start", func(context.Context) error {
		d.setSpec("idle", theirs)
		return errdefs.ErrPermissionDenied
	})
	err := start(t, d.service(), "idle", &StartTaskOptions{Terminal: true})
	assertError(t, err, "start task", errdefs.IsPermissionDenied, "refused")
	d.assertSpec("idle", theirs)
	assert.Equal(t, 1, d.count("Containers/Update"))
}

func TestStartTaskThatFailsNeedsNoSpecToRestore(t *testing.T) {
	d := newDaemon(t)
	d.on("Tasks/Create", func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.stores.containers, "idle")
		return errdefs.ErrPermissionDenied
	})
	err := start(t, d.service(), "idle", &StartTaskOptions{Terminal: true})
	assertError(t, err, "start task", errdefs.IsPermissionDenied, "refused")
	assert.NotContains(t, err.Error(), "still to be cleaned up", "the container is gone")
}

func TestStartTaskThatCanNotRestoreTheSpecSaysSo(t *testing.T) {
	d := newDaemon(t)
	d.setSpec("idle", odd)
	s := d.service()
	stopClock(s)
	d.on("Tasks/Start", func(context.Context) error {
		d.fail("Containers/Update", errdefs.ErrUnavailable)
		return errdefs.ErrPermissionDenied
	})
	err := start(t, s, "idle", &StartTaskOptions{Terminal: true})
	assertError(t, err, "start task", errdefs.IsPermissionDenied, "the cause's class")
	require.ErrorContains(t, err, "still to be cleaned up: container's spec")
	// The next call on the container restores it first.
	d.heal()
	require.NoError(t, start(t, s, "idle", nil))
	d.assertSpec("idle", odd)
	assert.False(t, d.hasTerminal("idle"))
}

func TestStartTaskRefusesAContainerItCanNotRun(t *testing.T) {
	for what, spec := range map[string]string{
		"a spec that is no JSON":   `{"process":`,
		"a spec without a process": `{"root":{}}`,
		"a process that is none":   `{"process":null}`,
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			d.setSpec("idle", spec)
			err := start(t, d.service(), "idle", &StartTaskOptions{Terminal: true})
			assertError(t, err, "start task", errdefs.IsFailedPrecondition, what)
			d.assertSpec("idle", spec)
			assert.NotContains(t, d.methods(), "Tasks/Create")
		})
	}
	t.Run("no spec", func(t *testing.T) {
		d := newDaemon(t)
		d.stores.containers["idle"].Spec = nil
		assertError(t, start(t, d.service(), "idle", nil), "start task", errdefs.IsFailedPrecondition, "no spec")
	})
	t.Run("no container", func(t *testing.T) {
		d := newDaemon(t)
		assertError(t, start(t, d.service(), "nobody", nil), "start task", errdefs.IsNotFound, "no container")
	})
}
