package containerd

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listIn returns a daemon whose list takes d by the service's clock.
func listIn(t *testing.T, took time.Duration) (*daemon, *DefaultService) {
	t.Helper()
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	d.on("Tasks/List", func(context.Context) error {
		clock.advance(took)
		return nil
	})
	return d, s
}

func statuses(list []TaskInfo) map[string]tasktypes.Status {
	found := make(map[string]tasktypes.Status, len(list))
	for _, info := range list {
		found[info.ContainerID] = info.Status
	}
	return found
}

func TestListTasks(t *testing.T) {
	d := newDaemon(t)
	d.change("done", func(p *taskState) { p.ExitStatus = 3 })
	list, err := d.service().ListTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, []TaskInfo{
		{ContainerID: "done", ID: "done", PID: noPID + 2, Status: stopped, ExitStatus: 3},
		{ContainerID: "web", ID: "web", PID: noPID + 1, Status: running},
	}, list, "sorted, and complete")
}

func TestListTasksAppliesItsFilter(t *testing.T) {
	d := newDaemon(t)
	d.change("done", func(p *taskState) { p.ExitStatus = 3 })
	s := d.service()
	for text, want := range map[string][]string{
		"":                                  {"done", "web"},
		"status==RUNNING":                   {"web"},
		`status==STOPPED,exit_status!="0"`:  {"done"},
		"id==web":                           {"web"},
		"container.id~=^d":                  {"done"},
		fmt.Sprintf("pid==%d", noPID+1):     {"web"},
		"status==STOPPED,container.id==web": {},
	} {
		list, err := s.ListTasks(t.Context(), &ListTasksOptions{Filter: text})
		require.NoError(t, err, text)
		ids := []string{}
		for _, info := range list {
			ids = append(ids, info.ContainerID)
		}
		assert.Equal(t, want, ids, text)
	}
}

func TestListTasksRefusesAFilterThatCanNotBeParsed(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for _, text := range []string{"status==", "==", "id==a\x00"} {
		_, err := s.ListTasks(t.Context(), &ListTasksOptions{Filter: text})
		assertError(t, err, "list tasks", errdefs.IsInvalidArgument, "%q", text)
		assert.ErrorContains(t, err, "Filter")
	}
	assert.Empty(t, d.Calls())
}

func TestListTasksThatWasQuickLooksForNothingElse(t *testing.T) {
	d, s := listIn(t, 2*time.Second-1)
	_, err := s.ListTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"Tasks/List"}, d.methods())
}

func TestListTasksThatWasSlowListsSilentTasks(t *testing.T) {
	for what, answer := range map[string]error{
		"the daemon gave up waiting":      context.DeadlineExceeded,
		"the daemon can't reach the shim": errdefs.ErrUnavailable,
	} {
		t.Run(what, func(t *testing.T) {
			d, s := listIn(t, 2*time.Second)
			d.fail("Tasks/Get", answer)
			list, err := s.ListTasks(t.Context(), nil)
			require.NoError(t, err)
			assert.Equal(t, map[string]tasktypes.Status{
				"web": running, "done": stopped, "idle": tasktypes.Status_UNKNOWN,
			}, statuses(list), "only what was not listed is asked for")
			assert.Equal(t, TaskInfo{ContainerID: "idle", ID: "idle"}, list[1])

			list, err = s.ListTasks(t.Context(), &ListTasksOptions{Filter: "status==UNKNOWN"})
			require.NoError(t, err)
			assert.Len(t, list, 1, "the filter finds it")
		})
	}
}

func TestListTasksThatWasSlowListsATaskThatAnswersAfterAll(t *testing.T) {
	d, s := listIn(t, 3*time.Second)
	d.once("Containers/ListStream", func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.addTask("idle", paused)
		return nil
	})
	list, err := s.ListTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]tasktypes.Status{"web": running, "done": stopped, "idle": paused}, statuses(list))
	assert.Equal(t, "idle", list[1].ID)
	assert.NotZero(t, list[1].PID)
}

func TestListTasksDoesNotMindVanishedContainers(t *testing.T) {
	d, s := listIn(t, 2*time.Second)
	d.on("Tasks/Get", func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.stores.containers, "idle")
		return nil
	})
	list, err := s.ListTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Len(t, list, 2)
}

func TestListTasksThatCanNotTellFails(t *testing.T) {
	for what, test := range map[string]struct {
		set   func(d *daemon)
		class func(error) bool
	}{
		"no list": {func(d *daemon) { d.fail("Tasks/List", errdefs.ErrUnavailable) }, errdefs.IsUnavailable},
		"no containers": {
			func(d *daemon) { d.fail("Containers/ListStream", errdefs.ErrPermissionDenied) },
			errdefs.IsPermissionDenied,
		},
		"a task is refused": {
			func(d *daemon) { d.fail("Tasks/Get", errdefs.ErrPermissionDenied) },
			errdefs.IsPermissionDenied,
		},
	} {
		t.Run(what, func(t *testing.T) {
			d, s := listIn(t, 2*time.Second)
			test.set(d)
			list, err := s.ListTasks(t.Context(), nil)
			assertError(t, err, "list tasks", test.class, what)
			assert.Nil(t, list)
		})
	}
}

// The connection counts as ready for a moment after its requests have failed:
// one try is not enough to see that.
func TestListTasksNeverTakesALostConnectionForASilentShim(t *testing.T) {
	for range 30 {
		d, s := listIn(t, 2*time.Second)
		d.on("Tasks/Get", func(ctx context.Context) error {
			d.Cut()
			return hang(ctx)
		})
		list, err := s.ListTasks(t.Context(), nil)
		d.Restore()
		assertError(t, err, "list tasks", errdefs.IsUnavailable, "lost")
		require.Empty(t, list)
	}
}

func TestListTasksAsksSilentShimsInParallelAndBounded(t *testing.T) {
	d, s := listIn(t, 2*time.Second)
	for i := range 3 * listGets {
		d.addContainer(fmt.Sprintf("c%d", i), "")
	}
	var mu sync.Mutex
	var now, most int
	full := make(chan struct{})
	reached := sync.OnceFunc(func() { close(full) })
	d.on("Tasks/Get", func(ctx context.Context) error {
		mu.Lock()
		now++
		most = max(most, now)
		if now == listGets {
			reached()
		}
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			now--
		}()
		select {
		case <-full:
			return errdefs.ErrNotFound
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := s.ListTasks(ctx, nil)
	require.NoError(t, err, "as many as the bound allows are asked at once")
	assert.Equal(t, listGets, most)
}
