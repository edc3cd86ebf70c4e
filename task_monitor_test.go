package containerd

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/containerd/api/events"
	eventsapi "github.com/containerd/containerd/api/services/events/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// measured is a daemon that measures the task "web", and has events.
type measured struct {
	*daemon
	stats       any // what the next answer has; nil for none
	at          time.Time
	subscribers map[chan *types.Envelope]struct{}
	watched     func() // runs when there is a further subscriber
	// ordered gives a subscriber also what was published before: the client asks
	// for the one after the other, but the daemon's goroutines can change that.
	ordered   bool
	published []*types.Envelope
}

func newMeasured(t *testing.T) *measured {
	t.Helper()
	return measure(newDaemon(t))
}

// measure makes the daemon a measured one.
func measure(d *daemon) *measured {
	m := &measured{daemon: d, at: time.Unix(5000, 0), subscribers: map[chan *types.Envelope]struct{}{}}
	m.Tasks.EXPECT().Metrics(mock.Anything, mock.Anything).RunAndReturn(serve(m.daemon, "Tasks/Metrics",
		func(r *tasksapi.MetricsRequest) (*tasksapi.MetricsResponse, error) {
			if m.stats == nil || len(r.GetFilters()) > 0 && r.GetFilters()[0] != `id=="web"` {
				return &tasksapi.MetricsResponse{}, nil
			}
			packed, err := typeurl.MarshalAnyToProto(m.stats)
			m.at = m.at.Add(2 * time.Second)
			return &tasksapi.MetricsResponse{Metrics: []*types.Metric{{ID: "web", Timestamp: timestamppb.New(m.at), Data: packed}}}, err
		})).Maybe()
	m.Events.EXPECT().Publish(mock.Anything, mock.Anything).RunAndReturn(serve(m.daemon, "Events/Publish",
		func(r *eventsapi.PublishRequest) (*emptypb.Empty, error) {
			m.send(r.GetTopic(), r.GetEvent())
			m.published = append(m.published, &types.Envelope{Topic: r.GetTopic(), Event: r.GetEvent()})
			return &emptypb.Empty{}, nil
		})).Maybe()
	m.Events.EXPECT().Subscribe(mock.Anything, mock.Anything).RunAndReturn(m.subscribed).Maybe()
	return m
}

// send gives an event to all subscribers. The caller holds the mutex.
func (m *measured) send(topic string, event *anypb.Any) {
	for ch := range m.subscribers {
		ch <- &types.Envelope{Topic: topic, Event: event, Timestamp: timestamppb.New(m.at)}
	}
}

func (m *measured) subscribed(_ *eventsapi.SubscribeRequest, stream eventsapi.Events_SubscribeServer) error {
	ch := make(chan *types.Envelope, 1000)
	m.mu.Lock()
	m.subscribers[ch] = struct{}{}
	if m.ordered {
		for _, e := range m.published {
			ch <- e
		}
	}
	m.mu.Unlock()
	if m.watched != nil {
		m.watched()
	}
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subscribers, ch)
	}()
	for {
		select {
		case e := <-ch:
			if e == nil {
				return errdefs.ErrUnavailable
			}
			if err := stream.Send(e); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// oom lets the kernel kill in a container, so often in all, some time after the last event.
func (m *measured) oom(id string, kills uint64, after time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats = &v1.Metrics{MemoryOomControl: &v1.MemoryOomControl{OomKill: kills}}
	m.at = m.at.Add(after)
	packed, err := typeurl.MarshalAnyToProto(&events.TaskOOM{ContainerID: id})
	assert.NoError(m.t, err)
	m.send("/tasks/oom", packed)
}

func TestTaskMetricsMeanTheSameOnBothVersions(t *testing.T) {
	m := newMeasured(t)
	s := m.service()
	want := TaskMetrics{
		ContainerID: "web", At: time.Unix(5002, 0).UTC(), CgroupVersion: 1,
		CPU: CPUMetrics{Total: 3 * time.Millisecond, User: 2 * time.Millisecond, System: time.Millisecond, Periods: 5, ThrottledPeriods: 2, Throttled: 4 * time.Millisecond},
		Memory: MemoryMetrics{
			UsageBytes: 10000, WorkingSetBytes: 9000, PeakBytes: 20000, LimitBytes: 30000, SwapBytes: 500, SwapLimitBytes: 1000, OOMKills: 1,
		},
		PIDs: PIDMetrics{Current: 4, Limit: -1}, BlockIO: BlockIOMetrics{ReadBytes: 1, WriteBytes: 2, ReadOps: 3, WriteOps: 4},
	}
	m.stats = &v1.Metrics{
		Pids: &v1.PidsStat{Current: 4},
		CPU: &v1.CPUStat{
			Usage:      &v1.CPUUsage{Total: 3e6, User: 2e6, Kernel: 1e6},
			Throttling: &v1.Throttle{Periods: 5, ThrottledPeriods: 2, ThrottledTime: 4e6},
		},
		Memory: &v1.MemoryStat{
			TotalInactiveFile: 1000, Usage: &v1.MemoryEntry{Usage: 10000, Max: 20000, Limit: 30000},
			Swap: &v1.MemoryEntry{Usage: 10500, Limit: 31000},
		},
		MemoryOomControl: &v1.MemoryOomControl{OomKill: 1},
		Blkio: &v1.BlkIOStat{
			IoServiceBytesRecursive: []*v1.BlkIOEntry{{Op: "Read", Value: 1}, {Op: "Write", Value: 2}},
			IoServicedRecursive:     []*v1.BlkIOEntry{{Op: "Read", Value: 3}, {Op: "Write", Value: 4}},
		},
	}
	got, err := s.TaskMetrics(t.Context(), "web", nil)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, []string{"Tasks/Metrics"}, m.methods())

	m.stats = &v2.Metrics{
		Pids: &v2.PidsStat{Current: 4, Limit: 1<<64 - 1},
		CPU:  &v2.CPUStat{UsageUsec: 3e3, UserUsec: 2e3, SystemUsec: 1e3, NrPeriods: 5, NrThrottled: 2, ThrottledUsec: 4e3},
		Memory: &v2.MemoryStat{
			InactiveFile: 1000, Usage: 10000, MaxUsage: 20000, UsageLimit: 30000, SwapUsage: 500, SwapLimit: 1000,
		},
		MemoryEvents: &v2.MemoryEvents{OomKill: 1},
		Io:           &v2.IOStat{Usage: []*v2.IOEntry{{Rbytes: 1, Wbytes: 2, Rios: 3, Wios: 4}}},
	}
	got, err = s.TaskMetrics(t.Context(), "web", nil)
	require.NoError(t, err)
	want.CgroupVersion, want.At = 2, time.Unix(5004, 0).UTC()
	assert.Equal(t, want, got)
}

func TestTaskMetricsThatTheDaemonHasNot(t *testing.T) {
	m := newMeasured(t)
	s := m.service()
	for id, class := range map[string]func(error) bool{
		"web": errdefs.IsNotImplemented, "done": errdefs.IsNotImplemented, "idle": errdefs.IsNotFound, "nobody": errdefs.IsNotFound, "-": errdefs.IsInvalidArgument,
	} {
		_, err := s.TaskMetrics(t.Context(), id, nil)
		assertError(t, err, "measure task", class, id)
	}
	m.stats = &events.TaskOOM{}
	_, err := s.TaskMetrics(t.Context(), "web", nil)
	assertError(t, err, "measure task", errdefs.IsNotImplemented, "another kind of numbers")
	m.fail("Tasks/Metrics", errUnclassed)
	_, err = s.TaskMetrics(t.Context(), "web", nil)
	assertError(t, err, "measure task", errdefs.IsInternal, "class")
}

// next pulls samples or events in a goroutine of their own.
func pull[V any](t *testing.T, seq iter.Seq2[V, error]) (values <-chan V, end <-chan error) {
	t.Helper()
	v, e := make(chan V, 100), make(chan error, 1)
	go func() {
		defer close(e)
		for value, err := range seq {
			if err != nil {
				e <- err
				continue
			}
			v <- value
		}
	}()
	return v, e
}

func (m *measured) set(total, read uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats = &v2.Metrics{
		CPU: &v2.CPUStat{UsageUsec: total, ThrottledUsec: total / 2},
		Io:  &v2.IOStat{Usage: []*v2.IOEntry{{Rbytes: read, Wbytes: 2 * read, Rios: 3 * read, Wios: 4 * read}}},
	}
}

func TestWatchMetricsComputesRates(t *testing.T) {
	m := newMeasured(t)
	m.set(1e6, 100)
	s := m.service()
	clock := stopClock(s)
	samples, end := pull(t, s.WatchMetrics(t.Context(), "web", nil))
	first := received(t, samples)
	assert.Zero(t, first.Elapsed)
	assert.Zero(t, first.Rates)
	clock.await(t, time.Second)
	m.set(4e6, 300)
	clock.advance(time.Second)

	second := received(t, samples)

	assert.Equal(t, 2*time.Second, second.Elapsed)
	assert.Equal(t, MetricsRates{CPUs: 1.5, Throttled: 0.75, ReadBytes: 100, WriteBytes: 200, ReadOps: 300, WriteOps: 400}, second.Rates)
	clock.await(t, time.Second)
	m.set(0, 0)
	m.at = m.at.Add(-time.Hour)
	clock.advance(time.Second)
	third := received(t, samples)
	assert.Zero(t, third.Rates, "the clock was set back")
	m.change("web", func(p *taskState) { p.end(0) })
	require.NoError(t, received(t, end), "the task has ended")
}

func TestWatchMetricsOverAnAbsence(t *testing.T) {
	m := newMeasured(t)
	m.set(1, 1)
	s := m.service()
	clock := stopClock(s)
	ctx, cancel := context.WithCancel(t.Context())
	samples, end := pull(t, s.WatchMetrics(ctx, "web", &WatchMetricsOptions{Interval: time.Minute}))
	received(t, samples)
	m.fail("Tasks/Metrics", errdefs.ErrUnavailable)
	for range 3 {
		clock.pass(t, time.Minute)
	}
	m.heal("Tasks/Metrics")
	clock.pass(t, time.Minute)
	assert.Positive(t, received(t, samples).Elapsed)
	cancel()
	require.ErrorIs(t, received(t, end), context.Canceled)
}

func TestWatchMetricsEnds(t *testing.T) {
	for what, test := range map[string]struct {
		change func(m *measured)
		class  func(error) bool
	}{
		"with the task's deletion":       {change: func(m *measured) { m.taskStates["web"].end(0); delete(m.taskStates, "web"); m.stats = nil }},
		"with an error that stays":       {change: func(m *measured) { m.stats = &events.TaskOOM{} }, class: errdefs.IsNotImplemented},
		"without an error after the end": {change: func(m *measured) { m.taskStates["web"].end(0); m.stats = nil }},
	} {
		t.Run(what, func(t *testing.T) {
			m := newMeasured(t)
			m.set(1, 1)
			s := m.service()
			samples, end := pull(t, s.WatchMetrics(t.Context(), "web", &WatchMetricsOptions{Interval: time.Millisecond}))
			received(t, samples)
			m.mu.Lock()
			test.change(m)
			m.mu.Unlock()
			err := received(t, end)
			if test.class == nil {
				require.NoError(t, err)
			} else {
				assertError(t, err, "watch metrics", test.class, what)
			}
		})
	}
	t.Run("when the range is left", func(t *testing.T) {
		m := newMeasured(t)
		m.set(1, 1)
		for _, err := range m.service().WatchMetrics(t.Context(), "web", nil) {
			require.NoError(t, err)
			break
		}
	})
}

func TestWatchMetricsRefuses(t *testing.T) {
	m := newMeasured(t)
	s := m.service()
	for id, class := range map[string]func(error) bool{"idle": errdefs.IsNotFound, "-": errdefs.IsInvalidArgument} {
		_, end := pull(t, s.WatchMetrics(t.Context(), id, nil))
		assertError(t, received(t, end), "watch metrics", class, id)
	}
	_, end := pull(t, s.WatchMetrics(t.Context(), "web", &WatchMetricsOptions{Interval: -1}))
	assertError(t, received(t, end), "watch metrics", errdefs.IsInvalidArgument, "Interval")
	samples, end := pull(t, s.WatchMetrics(t.Context(), "done", nil))
	require.NoError(t, received(t, end))
	assert.Empty(t, samples)
}

// watch begins to watch for kills, and returns when the watch is in force.
func (m *measured) watch(s *DefaultService, opts *WatchOOMOptions) (kills <-chan OOMEvent, end <-chan error) {
	m.t.Helper()
	kills, end = pull(m.t, s.WatchOOM(m.t.Context(), opts))
	m.inForce()
	return kills, end
}

// inForce returns when there is a subscriber.
func (m *measured) inForce() {
	m.t.Helper()
	require.Eventually(m.t, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.subscribers) == 1
	}, patience, time.Millisecond)
}

func TestWatchOOMReportsEachKillOnce(t *testing.T) {
	m := newMeasured(t)
	kills, _ := m.watch(m.service(), nil)
	m.oom("web", 1, 0)
	assert.EqualValues(t, 1, received(t, kills).Kills)
	m.oom("web", 1, 10*time.Second) // the daemon's second event about the same kill
	m.oom("web", 3, 0)
	got := received(t, kills)
	assert.Equal(t, "web", got.ContainerID)
	assert.EqualValues(t, 3, got.Kills, "several kills are one event")
	assert.False(t, got.Gap)
}

func TestWatchOOMCountsAnewAfterATasksDeletion(t *testing.T) {
	m := newMeasured(t)
	kills, _ := m.watch(m.service(), nil)
	m.oom("web", 1, 0)
	received(t, kills)
	m.mu.Lock()
	packed, err := typeurl.MarshalAnyToProto(&events.TaskDelete{ContainerID: "web"})
	m.send("/tasks/delete", packed)
	m.mu.Unlock()
	require.NoError(t, err)
	m.oom("web", 1, 0)
	assert.EqualValues(t, 1, received(t, kills).Kills)
}

func TestWatchOOMWithoutACount(t *testing.T) {
	m := newMeasured(t)
	kills, _ := m.watch(m.service(), &WatchOOMOptions{ContainerID: "idle"})
	m.oom("web", 1, 0)
	m.oom("idle", 0, 0)
	m.oom("idle", 0, 500*time.Millisecond)
	m.oom("idle", 0, 2*time.Second)
	first, second := received(t, kills), received(t, kills)
	assert.Equal(t, "idle", first.ContainerID, "another container is not watched")
	assert.Equal(t, 2500*time.Millisecond, second.At.Sub(first.At), "what follows within a second is the same")
	assert.Zero(t, second.Kills)
}

func TestWatchOOMSaysWhenEventsMayBeMissing(t *testing.T) {
	m := newMeasured(t)
	kills, _ := m.watch(m.service(), nil)
	m.oom("web", 1, 0)
	received(t, kills)
	m.mu.Lock()
	for ch := range m.subscribers {
		ch <- nil
	}
	m.mu.Unlock()
	got := received(t, kills)
	assert.True(t, got.Gap)
	assert.Empty(t, got.ContainerID)
	m.oom("web", 2, 0)
	assert.Equal(t, "web", received(t, kills).ContainerID)
}

func TestWatchOOMEnds(t *testing.T) {
	t.Run("with its context", func(t *testing.T) {
		m := newMeasured(t)
		s := m.service()
		ctx, cancel := context.WithCancel(t.Context())
		published := m.arrivals("Events/Publish")
		_, end := pull(t, s.WatchOOM(ctx, nil))
		received(t, published)
		cancel()
		require.ErrorIs(t, received(t, end), context.Canceled)
	})
	t.Run("when the range is left", func(t *testing.T) {
		m := newMeasured(t)
		s := m.service()
		left := async(func() error {
			for event, err := range s.WatchOOM(t.Context(), nil) {
				assert.Equal(t, "web", event.ContainerID)
				return err
			}
			return errors.New("no event")
		})
		m.inForce()
		m.oom("web", 1, 0)
		require.NoError(t, received(t, left))
	})
	t.Run("when it can't begin", func(t *testing.T) {
		m := newMeasured(t)
		s := m.service()
		_, end := pull(t, s.WatchOOM(t.Context(), &WatchOOMOptions{ContainerID: "-"}))
		assertError(t, received(t, end), "watch for kills", errdefs.IsInvalidArgument, "id")
		m.fail("Events/Publish", errdefs.ErrUnavailable)
		_, end = pull(t, s.WatchOOM(t.Context(), nil))
		assertError(t, received(t, end), "watch for kills", errdefs.IsUnavailable, "away")
		m.fail("Events/Publish", errors.New("broken"))
		_, end = pull(t, s.WatchOOM(t.Context(), nil))
		assert.Error(t, received(t, end))
	})
}
