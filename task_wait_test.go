package containerd

import (
	"context"
	"syscall"
	"testing"
	"time"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// waitFor begins to wait for the task "web", and returns when the daemon waits.
func waitFor(t *testing.T, d *daemon) <-chan waitAnswer {
	t.Helper()
	s := d.service()
	waits := d.arrivals("Tasks/Wait")
	answer := make(chan waitAnswer, 1)
	go func() {
		r, err := s.WaitTask(t.Context(), "web", nil)
		answer <- waitAnswer{r, err}
	}()
	received(t, waits)
	return answer
}

type waitAnswer struct {
	result WaitTaskResult
	err    error
}

func TestWaitTaskReturnsHowTheTaskEnded(t *testing.T) {
	for what, test := range map[string]struct {
		code uint32
		want WaitTaskResult
	}{
		"by itself":                {3, WaitTaskResult{ExitCode: 3}},
		"well":                     {0, WaitTaskResult{}},
		"by a signal":              {143, WaitTaskResult{ExitCode: 143, Signal: syscall.SIGTERM}},
		"by the last signal":       {192, WaitTaskResult{ExitCode: 192, Signal: 64}},
		"with a code of no signal": {193, WaitTaskResult{ExitCode: 193}},
		"with the highest code":    {255, WaitTaskResult{ExitCode: 255}},
		"with 128":                 {128, WaitTaskResult{ExitCode: 128}},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			answer := waitFor(t, d)
			d.change("web", func(p *taskState) { p.end(test.code) })
			got := received(t, answer)
			require.NoError(t, got.err)
			assert.WithinDuration(t, time.Now(), got.result.ExitedAt, time.Minute)
			got.result.ExitedAt = time.Time{}
			assert.Equal(t, test.want, got.result)
			assert.NotContains(t, d.methods(), "Tasks/Metrics", "only a kill can be for want of memory")
		})
	}
}

func TestWaitTaskAnswersAtOnceForAStoppedTask(t *testing.T) {
	d := newDaemon(t)
	d.change("done", func(p *taskState) { p.ExitStatus, p.ExitedAt = 5, timestamppb.New(time.Unix(1000, 0)) })

	got, err := d.service().WaitTask(t.Context(), "done", &WaitTaskOptions{})

	require.NoError(t, err)
	assert.Equal(t, WaitTaskResult{ExitCode: 5, ExitedAt: time.Unix(1000, 0).UTC()}, got)
	assert.Equal(t, []string{"Tasks/Get"}, d.methods())
}

func TestWaitTaskSaysWhetherTheKernelKilledForMemory(t *testing.T) {
	// oom_kill is field 3 of field 9.
	killed := &anypb.Any{TypeUrl: "io.containerd.cgroups.v1.Metrics", Value: []byte{9<<3 | 2, 2, 3 << 3, 1}}
	for what, test := range map[string]struct {
		metrics []*types.Metric
		err     error
		want    bool
	}{
		"when the cgroup counts a kill": {metrics: []*types.Metric{{ID: "web", Data: killed}}, want: true},
		"not when it counts none":       {metrics: []*types.Metric{{ID: "web", Data: &anypb.Any{TypeUrl: killed.TypeUrl}}}},
		"not when it is another's":      {metrics: []*types.Metric{{ID: "other", Data: killed}}},
		"not when nobody counts":        {},
		"not when the daemon fails":     {err: errdefs.ErrUnavailable},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			d.Tasks.EXPECT().Metrics(mock.Anything, mock.Anything).
				RunAndReturn(func(_ context.Context, r *tasksapi.MetricsRequest) (*tasksapi.MetricsResponse, error) {
					assert.Equal(t, []string{`id=="web"`}, r.GetFilters())
					return &tasksapi.MetricsResponse{Metrics: test.metrics}, test.err
				}).Once()
			answer := waitFor(t, d)
			d.change("web", func(p *taskState) { p.end(137) })
			got := received(t, answer)
			require.NoError(t, got.err)
			assert.Equal(t, syscall.SIGKILL, got.result.Signal)
			assert.Equal(t, test.want, got.result.OOMKilled)
		})
	}
}

func TestWaitTaskThatNobodyHasSeenEnd(t *testing.T) {
	lost := func(d *daemon) {
		d.once("Tasks/Wait", func(context.Context) error { return errdefs.ErrUnavailable })
	}
	for what, change := range map[string]func(d *daemon){
		"it is gone":             func(d *daemon) { delete(d.taskStates, "web") },
		"another took its place": func(d *daemon) { d.addTask("web", running) },
		"another has ended":      func(d *daemon) { d.addTask("web", stopped) },
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			d.once("Tasks/Wait", func(context.Context) error {
				d.mu.Lock()
				defer d.mu.Unlock()
				change(d)
				return errdefs.ErrUnavailable
			})
			_, err := s.WaitTask(t.Context(), "web", nil)
			require.ErrorIs(t, err, ErrExitUnknown)
			assertError(t, err, "wait for task", errdefs.IsDataLoss, "class")
			assert.False(t, errdefs.IsNotFound(err), "there was a task")
		})
	}
	t.Run("but a lost connection is no end", func(t *testing.T) {
		d := newDaemon(t)
		s := d.service()
		lost(d)
		answer := async(func() error { _, err := s.WaitTask(t.Context(), "web", nil); return err })
		again := d.arrivals("Tasks/Wait")
		received(t, again)
		d.change("web", func(p *taskState) { p.end(0) })
		require.NoError(t, received(t, answer))
	})
}

func TestWaitTaskWithoutATask(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for _, id := range []string{"idle", "nobody"} {
		_, err := s.WaitTask(t.Context(), id, nil)
		assertError(t, err, "wait for task", errdefs.IsNotFound, id)
		assert.NotErrorIs(t, err, ErrExitUnknown)
	}
	_, err := s.WaitTask(t.Context(), "-", nil)
	assertError(t, err, "wait for task", errdefs.IsInvalidArgument, "id")
}

func TestWaitTaskOfACreatedTaskWaitsForItsEnd(t *testing.T) {
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.Status = created })
	answer := waitFor(t, d)
	d.change("web", func(p *taskState) { p.Status = running; p.end(4) })
	got := received(t, answer)
	require.NoError(t, got.err)
	assert.EqualValues(t, 4, got.result.ExitCode)
}

func TestWaitTaskEndsWithItsContext(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	waits := d.arrivals("Tasks/Wait")
	ctx, cancel := context.WithCancel(t.Context())
	done := async(func() error { _, err := s.WaitTask(ctx, "web", nil); return err })
	received(t, waits)
	cancel()
	require.ErrorIs(t, received(t, done), context.Canceled)
	d.assertStatus("web", int32(running), "waiting touches nothing")
}

func TestWaitTaskOfATaskWithoutARecordFails(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.once("Tasks/Wait", func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.stores.containers, "web")
		return status.Error(codes.NotFound, "no container")
	})
	_, err := s.WaitTask(t.Context(), "web", nil)
	assertError(t, err, "wait for task", errdefs.IsFailedPrecondition, "it still runs")
}
