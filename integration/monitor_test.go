package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

func TestTaskMetricsOfABusyProcess(t *testing.T) {
	needsCgroup(t)
	t.Parallel()
	w := newWorld(t)
	id := w.startLimited(100<<20, "while true; do true; done")
	_, err := w.engine().UpdateResources(w.ctx, id, containerd.Resources{CPUs: 0.2, PIDsLimit: 40}, nil)
	require.NoError(t, err)
	var last containerd.MetricsSample
	n := 0
	for sample, err := range w.engine().WatchMetrics(w.ctx, id, &containerd.WatchMetricsOptions{Interval: 500 * time.Millisecond}) {
		require.NoError(t, err)
		last = sample
		if n++; n == 4 {
			break
		}
	}
	t.Logf("%+v", last)
	assert.InDelta(t, 0.2, last.Rates.CPUs, 0.1, "a busy process uses what it may")
	assert.Positive(t, last.Rates.Throttled)
	assert.Positive(t, last.CPU.ThrottledPeriods)
	assert.GreaterOrEqual(t, last.CPU.Periods, last.CPU.ThrottledPeriods)
	assert.Positive(t, last.CPU.User+last.CPU.System)
	assert.Positive(t, last.Memory.UsageBytes)
	assert.LessOrEqual(t, last.Memory.WorkingSetBytes, last.Memory.UsageBytes)
	assert.EqualValues(t, 100<<20, last.Memory.LimitBytes)
	assert.EqualValues(t, 40, last.PIDs.Limit)
	assert.Positive(t, last.PIDs.Current)
	assert.Zero(t, last.Memory.OOMKills)
}

func TestWatchOOMReportsAKill(t *testing.T) {
	needsCgroup(t)
	t.Parallel()
	w := newWorld(t)
	id := w.startLimited(30<<20, "sleep 1; sh -c '"+glutton+"'; sleep 1; sh -c '"+glutton+"'; exit 3")
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	kills := make(chan containerd.OOMEvent, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for event, err := range w.engine().WatchOOM(ctx, &containerd.WatchOOMOptions{ContainerID: id}) {
			if err != nil {
				return
			}
			kills <- event
		}
	}()
	r, err := w.engine().WaitTask(w.ctx, id, nil)
	require.NoError(t, err)
	assert.Equal(t, uint32(3), r.ExitCode)
	for n := range uint64(2) {
		kill := received(w, kills)
		assert.Equal(t, id, kill.ContainerID)
		assert.Equal(t, n+1, kill.Kills)
	}
	<-time.After(500 * time.Millisecond) // that nothing more happens has no event
	cancel()
	received(w, ended)
	assert.Empty(t, kills, "one kill, one event")
}
