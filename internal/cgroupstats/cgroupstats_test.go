package cgroupstats_test

import (
	"math"
	"testing"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/cgroupstats"
)

// decode sends a message as a shim does, and reads it.
func decode(t *testing.T, message any) cgroupstats.Stats {
	t.Helper()
	packed, err := typeurl.MarshalAnyToProto(message)
	require.NoError(t, err)
	stats, err := cgroupstats.Decode(packed.GetTypeUrl(), packed.GetValue())
	require.NoError(t, err)
	return stats
}

// noLimitV1 is what version 1 has for a memory limit that is not set.
const noLimitV1 = 9223372036854771712

func TestVersion1(t *testing.T) {
	got := decode(t, &v1.Metrics{
		Pids: &v1.PidsStat{Current: 8, Limit: 100},
		CPU: &v1.CPUStat{
			Usage:      &v1.CPUUsage{Total: 123829982, User: 40000000, Kernel: 70000000, PerCPU: []uint64{1, 2}},
			Throttling: &v1.Throttle{Periods: 10, ThrottledPeriods: 4, ThrottledTime: 5000},
		},
		Memory: &v1.MemoryStat{
			InactiveFile: 1, TotalInactiveFile: 4096, HierarchicalMemoryLimit: 7,
			Usage: &v1.MemoryEntry{Limit: 31457280, Usage: 450560, Max: 31457280, Failcnt: 65},
			Swap:  &v1.MemoryEntry{Limit: 41457280, Usage: 460560, Max: 31719424},
		},
		MemoryOomControl: &v1.MemoryOomControl{UnderOom: 1, OomKill: 2},
		Blkio: &v1.BlkIOStat{
			IoServiceBytesRecursive: []*v1.BlkIOEntry{
				{Op: "Read", Device: "/dev/vda", Major: 254, Value: 1000}, {Op: "Write", Value: 200},
				{Op: "Sync", Value: 7}, {Op: "Total", Value: 1200}, {Op: "Read", Major: 8, Value: 30},
			},
			IoServicedRecursive: []*v1.BlkIOEntry{{Op: "Read", Value: 3}, {Op: "Write", Value: 2}, {Op: "Total", Value: 5}},
		},
		Network: []*v1.NetworkStat{{Name: "eth0", RxBytes: 1}},
	})
	assert.Equal(t, cgroupstats.Stats{
		Version: 1, CPUTotal: 123829982, CPUUser: 40000000, CPUSystem: 70000000,
		Periods: 10, ThrottledPeriods: 4, ThrottledNanos: 5000,
		MemoryUsage: 450560, MemoryInactiveFile: 4096, MemoryPeak: 31457280, MemoryLimit: 31457280,
		SwapUsage: 10000, SwapLimit: 10000000, OOMKills: 2, PIDs: 8, PIDsLimit: 100,
		ReadBytes: 1030, WriteBytes: 200, ReadOps: 3, WriteOps: 2,
	}, got)
}

func TestVersion2(t *testing.T) {
	got := decode(t, &v2.Metrics{
		Pids: &v2.PidsStat{Current: 3, Limit: 64},
		CPU: &v2.CPUStat{
			UsageUsec: 1500, UserUsec: 1000, SystemUsec: 500, NrPeriods: 9, NrThrottled: 2, ThrottledUsec: 77,
			PSI: &v2.PSIStats{Some: &v2.PSIData{Avg10: 1.5, Total: 3}},
		},
		Memory: &v2.MemoryStat{
			Anon: 1, File: 2, InactiveFile: 8192, Usage: 1 << 20, UsageLimit: 64 << 20, SwapUsage: 12, SwapLimit: 1 << 20,
			MaxUsage: 2 << 20, SwapMaxUsage: 99, PSI: &v2.PSIStats{},
		},
		MemoryEvents: &v2.MemoryEvents{Low: 1, High: 2, Max: 3, Oom: 4, OomKill: 5},
		Io: &v2.IOStat{Usage: []*v2.IOEntry{
			{Major: 254, Rbytes: 100, Wbytes: 20, Rios: 3, Wios: 4}, {Major: 8, Rbytes: 1, Wbytes: 2, Rios: 1, Wios: 1},
		}},
	})
	assert.Equal(t, cgroupstats.Stats{
		Version: 2, CPUTotal: 1500000, CPUUser: 1000000, CPUSystem: 500000,
		Periods: 9, ThrottledPeriods: 2, ThrottledNanos: 77000,
		MemoryUsage: 1 << 20, MemoryInactiveFile: 8192, MemoryPeak: 2 << 20, MemoryLimit: 64 << 20,
		SwapUsage: 12, SwapLimit: 1 << 20, OOMKills: 5, PIDs: 3, PIDsLimit: 64,
		ReadBytes: 101, WriteBytes: 22, ReadOps: 4, WriteOps: 5,
	}, got)
}

func TestLimitsThatAreNotSet(t *testing.T) {
	for what, message := range map[string]any{
		"version 1": &v1.Metrics{
			Pids: &v1.PidsStat{Current: 1},
			Memory: &v1.MemoryStat{
				Usage: &v1.MemoryEntry{Limit: noLimitV1, Usage: 5}, Swap: &v1.MemoryEntry{Limit: noLimitV1, Usage: 4},
			},
		},
		"version 1 without swap accounting": &v1.Metrics{
			Memory: &v1.MemoryStat{Usage: &v1.MemoryEntry{Limit: noLimitV1, Usage: 5}, Swap: &v1.MemoryEntry{}},
		},
		"version 1 with a memory limit alone": &v1.Metrics{
			Memory: &v1.MemoryStat{Usage: &v1.MemoryEntry{Limit: noLimitV1, Usage: 5}, Swap: &v1.MemoryEntry{Limit: noLimitV1, Usage: 5}},
		},
		"version 2": &v2.Metrics{
			Pids: &v2.PidsStat{Limit: math.MaxUint64}, Memory: &v2.MemoryStat{UsageLimit: math.MaxUint64, SwapLimit: math.MaxUint64},
		},
		"nothing of version 1": &v1.Metrics{},
		"nothing of version 2": &v2.Metrics{},
	} {
		got := decode(t, message)
		assert.EqualValues(t, -1, got.MemoryLimit, what)
		assert.EqualValues(t, -1, got.SwapLimit, what)
		assert.EqualValues(t, -1, got.PIDsLimit, what)
		assert.Zero(t, got.SwapUsage, what)
	}
	forbidden := decode(t, &v2.Metrics{Memory: &v2.MemoryStat{UsageLimit: 4096, SwapLimit: 0}})
	assert.Zero(t, forbidden.SwapLimit, "swapping that is not allowed is not the same as no limit")
}

func TestTimesThatWouldOverflow(t *testing.T) {
	got := decode(t, &v2.Metrics{CPU: &v2.CPUStat{UsageUsec: math.MaxUint64}})
	assert.Equal(t, uint64(math.MaxUint64), got.CPUTotal)
}

func TestMessagesThatAreNotStatistics(t *testing.T) {
	_, err := cgroupstats.Decode("io.containerd.cgroups.v3.Metrics", nil)
	assert.True(t, errdefs.IsNotImplemented(err), "%v", err)
	for _, b := range [][]byte{{0xff}, {2<<3 | 2, 5, 1}, {4<<3 | 2, 2, 33<<3&0x7f | 2, 0xff}, {1 << 3}, {9<<3 | 2, 1, 0xff}, {3<<3 | 1, 1}} {
		_, err := cgroupstats.Decode(cgroupstats.TypeV1, b)
		assert.True(t, errdefs.IsInternal(err), "%x: %v", b, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, message := range []any{
		&v1.Metrics{Pids: &v1.PidsStat{Current: 8}, Blkio: &v1.BlkIOStat{IoServicedRecursive: []*v1.BlkIOEntry{{Op: "Read", Value: 3}}}},
		&v2.Metrics{CPU: &v2.CPUStat{PSI: &v2.PSIStats{Some: &v2.PSIData{Avg10: 1.5}}}, Io: &v2.IOStat{Usage: []*v2.IOEntry{{Rbytes: 1}}}},
	} {
		packed, err := typeurl.MarshalAny(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed.GetValue())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{cgroupstats.TypeV1, cgroupstats.TypeV2} {
			got, err := cgroupstats.Decode(name, b)
			if err != nil && !errdefs.IsInternal(err) {
				t.Errorf("error is of another class: %v", err)
			}
			if got.MemoryLimit < -1 || got.SwapLimit < -1 || got.PIDsLimit < -1 {
				t.Errorf("limits are %d, %d and %d", got.MemoryLimit, got.SwapLimit, got.PIDsLimit)
			}
		}
	})
}
