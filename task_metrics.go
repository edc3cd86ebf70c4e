package containerd

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd/internal/cgroupstats"
)

// TaskMetrics is what a task has used so far, as its cgroup counts it: all
// processes of the container together, since the task was created. Both
// versions of cgroups give the same numbers, where nothing else is said.
type TaskMetrics struct {
	ContainerID   string    `json:"containerID"`
	At            time.Time `json:"at"`            // when it was measured, by the daemon's clock
	CgroupVersion int       `json:"cgroupVersion"` // 1 or 2

	CPU     CPUMetrics     `json:"cpu"`
	Memory  MemoryMetrics  `json:"memory"`
	PIDs    PIDMetrics     `json:"pids"`
	BlockIO BlockIOMetrics `json:"blockIO"`
}

// CPUMetrics are processor times, in nanoseconds.
type CPUMetrics struct {
	// Total is the time on all processors. On version 1 User and System come
	// from another source, in steps of 10 ms, and do not add up to it.
	Total  time.Duration `json:"total"`
	User   time.Duration `json:"user"`
	System time.Duration `json:"system"`
	// Periods counts the periods of a CPU limit in which the task ran,
	// ThrottledPeriods those in which it was held up, Throttled for how long.
	// Without a limit they are 0.
	Periods          uint64        `json:"periods"`
	ThrottledPeriods uint64        `json:"throttledPeriods"`
	Throttled        time.Duration `json:"throttled"`
}

// MemoryMetrics are amounts of memory, in bytes.
type MemoryMetrics struct {
	// UsageBytes is what the kernel counts for the task, cached files included.
	UsageBytes uint64 `json:"usageBytes"`
	// WorkingSetBytes is UsageBytes without the cached files that were not used
	// for a while: what can't be taken back easily.
	WorkingSetBytes uint64 `json:"workingSetBytes"`
	// PeakBytes is the highest UsageBytes. Version 2 has it from Linux 5.19 on,
	// and it is 0 before.
	PeakBytes uint64 `json:"peakBytes"`
	// LimitBytes is the task's own limit, -1 if it has none.
	LimitBytes int64 `json:"limitBytes"`
	// SwapBytes is what is swapped out, 0 where the kernel does not count it.
	SwapBytes uint64 `json:"swapBytes"`
	// SwapLimitBytes is how much may be swapped out, -1 if there is no limit.
	SwapLimitBytes int64 `json:"swapLimitBytes"`
	// OOMKills is how many processes the kernel has killed for memory. Version 1
	// has it from Linux 4.13 on, and it is 0 before.
	OOMKills uint64 `json:"oomKills"`
}

// PIDMetrics count processes and threads.
type PIDMetrics struct {
	Current uint64 `json:"current"`
	// Limit is the highest number allowed, -1 if there is no limit.
	Limit int64 `json:"limit"`
}

// BlockIOMetrics are what was read from and written to block devices, all of
// them together. Version 1 counts what goes to the device in the task's own
// name, not what the kernel writes back later; both count nothing where the
// devices' drivers do not.
type BlockIOMetrics struct {
	ReadBytes  uint64 `json:"readBytes"`
	WriteBytes uint64 `json:"writeBytes"`
	ReadOps    uint64 `json:"readOps"`
	WriteOps   uint64 `json:"writeOps"`
}

// TaskMetricsOptions says how [TaskMonitor.TaskMetrics] measures. It has no
// fields yet; nil and the zero value are the same.
type TaskMetricsOptions struct{}

// TaskMetrics measures the task of the container containerID once. A stopped
// task that was not deleted has the numbers of its end.
//
// It returns a not-found error if there is no such container or task, and a
// not-implemented error if the task can't be measured: it has no cgroup
// (rootless), or its runtime gives no numbers of a kind that is known here.
func (s *DefaultService) TaskMetrics(ctx context.Context, containerID string, _ *TaskMetricsOptions) (TaskMetrics, error) {
	const op = "measure task"
	err := checkID("containerID", containerID)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return TaskMetrics{}, opError(ctx, op, containerID, err)
	}
	m, err := s.taskMetrics(ctx, containerID)
	return m, opError(ctx, op, containerID, err)
}

// taskMetrics asks the daemon, which leaves a task out of its answer for any
// reason: when it does, its state is asked for.
func (s *DefaultService) taskMetrics(ctx context.Context, id string) (TaskMetrics, error) {
	r, err := s.client.TaskService().Metrics(ctx, &tasks.MetricsRequest{Filters: []string{"id==" + strconv.Quote(id)}})
	if err != nil {
		return TaskMetrics{}, native(err)
	}
	for _, metric := range r.GetMetrics() {
		if metric.GetID() != id {
			continue
		}
		stats, err := cgroupstats.Decode(metric.GetData().GetTypeUrl(), metric.GetData().GetValue())
		if err != nil {
			return TaskMetrics{}, err
		}
		return metricsOf(id, metric.GetTimestamp().AsTime(), stats), nil
	}
	p, err := s.process(ctx, id, "")
	switch {
	case err != nil:
		return TaskMetrics{}, err
	case p.GetStatus() == tasktypes.Status_STOPPED:
		return TaskMetrics{}, fmt.Errorf("task is stopped and has no cgroup any more: %w", errdefs.ErrNotImplemented)
	}
	return TaskMetrics{}, fmt.Errorf("the daemon has no metrics of the task: %w", errdefs.ErrNotImplemented)
}

// oomKills returns how many processes of the task were killed for memory.
func (s *DefaultService) oomKills(ctx context.Context, id string) (uint64, error) {
	m, err := s.taskMetrics(ctx, id)
	return m.Memory.OOMKills, err
}

func metricsOf(id string, at time.Time, c cgroupstats.Stats) TaskMetrics {
	m := TaskMetrics{
		ContainerID: id, At: at, CgroupVersion: c.Version,
		CPU: CPUMetrics{
			Total: nanos(c.CPUTotal), User: nanos(c.CPUUser), System: nanos(c.CPUSystem),
			Periods: c.Periods, ThrottledPeriods: c.ThrottledPeriods, Throttled: nanos(c.ThrottledNanos),
		},
		Memory: MemoryMetrics{
			UsageBytes: c.MemoryUsage, PeakBytes: c.MemoryPeak, LimitBytes: c.MemoryLimit,
			SwapBytes: c.SwapUsage, SwapLimitBytes: c.SwapLimit, OOMKills: c.OOMKills,
		},
		PIDs:    PIDMetrics{Current: c.PIDs, Limit: c.PIDsLimit},
		BlockIO: BlockIOMetrics{ReadBytes: c.ReadBytes, WriteBytes: c.WriteBytes, ReadOps: c.ReadOps, WriteOps: c.WriteOps},
	}
	if c.MemoryUsage > c.MemoryInactiveFile {
		m.Memory.WorkingSetBytes = c.MemoryUsage - c.MemoryInactiveFile
	}
	return m
}

func nanos(n uint64) time.Duration { return time.Duration(min(n, uint64(1<<63-1))) }
