package containerd

import (
	"context"
	"iter"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
)

// defaultMetricsInterval is the time between two samples.
const defaultMetricsInterval = time.Second

// WatchMetricsOptions says how [TaskMonitor.WatchMetrics] measures. nil and the
// zero value are the same.
type WatchMetricsOptions struct {
	// Interval is the time between two samples, from the end of one to the
	// beginning of the next: zero means one second; negative ones are refused.
	Interval time.Duration
}

// MetricsSample is one measurement of a task, and what has changed since the
// one before it.
type MetricsSample struct {
	TaskMetrics
	// Elapsed is the time since the sample before this one, by the daemon's
	// clock. It is 0 in the first one, which has no rates, and longer than the
	// interval after the daemon was away.
	Elapsed time.Duration `json:"elapsed"`
	Rates   MetricsRates  `json:"rates"`
}

// MetricsRates are the changes per second between two samples.
type MetricsRates struct {
	CPUs      float64 `json:"cpus"`      // processors in use: 1.5 is one and a half
	Throttled float64 `json:"throttled"` // of the time, how much the task was held up; above 1 with several threads

	ReadBytes  float64 `json:"readBytes"`
	WriteBytes float64 `json:"writeBytes"`
	ReadOps    float64 `json:"readOps"`
	WriteOps   float64 `json:"writeOps"`
}

// WatchMetrics measures the task of the container containerID again and again.
// The first sample comes at once. The sequence ends by itself when the task has
// ended, or another one has taken its place; one that has ended before gives no
// sample. While the daemon is away there are no samples, and they go on when it
// is back.
//
// The sequence is made anew each time it is ranged over. It ends with an error
// when it can't go on: those of [TaskMonitor.TaskMetrics], an invalid-argument
// error, or ctx's when that ends. Nothing is left running when the range is left.
func (s *DefaultService) WatchMetrics(ctx context.Context, containerID string, opts *WatchMetricsOptions) iter.Seq2[MetricsSample, error] {
	const op = "watch metrics"
	if opts == nil {
		opts = &WatchMetricsOptions{}
	}
	interval := opts.Interval
	return func(yield func(MetricsSample, error) bool) {
		err := checkID("containerID", containerID)
		if err == nil && interval < 0 {
			err = invalid("Interval %v is negative", interval)
		}
		ctx := ctx
		if err == nil {
			ctx, err = s.begin(ctx)
		}
		if err == nil {
			if interval == 0 {
				interval = defaultMetricsInterval
			}
			err = s.watchMetrics(ctx, containerID, interval, func(m MetricsSample) bool { return yield(m, nil) })
		}
		if err != nil {
			yield(MetricsSample{}, opError(ctx, op, containerID, err))
		}
	}
}

// watchMetrics returns nil when the task has ended, or yield does not want more.
func (s *DefaultService) watchMetrics(ctx context.Context, id string, interval time.Duration, yield func(MetricsSample) bool) error {
	p, err := s.process(ctx, id, "")
	if err != nil || p.GetStatus() == tasktypes.Status_STOPPED {
		return err
	}
	of := waited{containerID: id, pid: p.GetPid()}
	w := s.startWaitFor(ctx, of) // for the news of the end between two samples
	defer w.stop()
	var last TaskMetrics
	for {
		m, err := s.taskMetrics(ctx, id)
		p, lookErr := s.process(ctx, id, "") // a measurement does not say whose it is
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errdefs.IsNotFound(lookErr), lookErr == nil && (of.replaced(p) || p.GetStatus() == tasktypes.Status_STOPPED):
			return nil
		case lookErr != nil && !errdefs.IsUnavailable(lookErr):
			return lookErr
		case err == nil && lookErr == nil:
			sample := MetricsSample{TaskMetrics: m}
			if !last.At.IsZero() {
				sample.since(last)
			}
			last = m
			if !yield(sample) {
				return nil
			}
		case err != nil && !errdefs.IsUnavailable(err):
			return err
		}
		if ended, err := s.nextSample(ctx, w, interval); ended || err != nil {
			return err
		}
	}
}

// nextSample waits for the interval, and reports whether the process has ended.
func (s *DefaultService) nextSample(ctx context.Context, w *waiting, interval time.Duration) (ended bool, err error) {
	elapsed, release := s.clock.NewProcessTimer(interval)
	defer release()
	select {
	case <-elapsed:
		return false, nil
	case <-w.done:
		return true, w.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// since computes the rates. Counters never fall while a task lives.
func (m *MetricsSample) since(last TaskMetrics) {
	m.Elapsed = m.At.Sub(last.At)
	seconds := m.Elapsed.Seconds()
	if seconds <= 0 { // the daemon's clock was set back
		m.Elapsed = 0
		return
	}
	rate := func(now, before uint64) float64 {
		if now < before {
			return 0
		}
		return float64(now-before) / seconds
	}
	m.Rates = MetricsRates{
		CPUs:       max(0, (m.CPU.Total-last.CPU.Total).Seconds()/seconds),
		Throttled:  max(0, (m.CPU.Throttled-last.CPU.Throttled).Seconds()/seconds),
		ReadBytes:  rate(m.BlockIO.ReadBytes, last.BlockIO.ReadBytes),
		WriteBytes: rate(m.BlockIO.WriteBytes, last.BlockIO.WriteBytes),
		ReadOps:    rate(m.BlockIO.ReadOps, last.BlockIO.ReadOps),
		WriteOps:   rate(m.BlockIO.WriteOps, last.BlockIO.WriteOps),
	}
}
