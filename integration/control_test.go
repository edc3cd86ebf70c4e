package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

// cgroupFile reads a file of a task's cgroup: that of version 1's controller,
// or of version 2.
func (w *world) cgroupFile(id, controller, v1, v2 string) string {
	w.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", w.task(id).GetPid()))
	require.NoError(w, err)
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		name := filepath.Join("/sys/fs/cgroup", controller, fields[2], v1)
		if fields[1] == "" {
			name = filepath.Join("/sys/fs/cgroup", fields[2], v2)
		}
		if text, err := os.ReadFile(name); err == nil && (fields[1] == controller || fields[1] == "") {
			return strings.TrimSpace(string(text))
		}
	}
	require.Failf(w, "no cgroup", "%s of %s is in none of\n%s", controller, id, text)
	return ""
}

func TestUpdateResourcesReachesTheCgroupAndTheNextTask(t *testing.T) {
	needsCgroup(t)
	t.Parallel()
	w := newWorld(t)
	id := w.start("sleep", "300")
	limits := func(memory, pids string) {
		t.Helper()
		assert.Equal(t, memory, w.cgroupFile(id, "memory", "memory.limit_in_bytes", "memory.max"))
		assert.Equal(t, pids, w.cgroupFile(id, "pids", "pids.max", "pids.max"))
	}
	r, err := w.engine().UpdateResources(w.ctx, id, containerd.Resources{MemoryLimitBytes: 64 << 20, PIDsLimit: 33, CPUs: 0.25, CPUShares: 300, CPUSet: "0"}, nil)
	require.NoError(t, err)
	assert.True(t, r.Live)
	limits("67108864", "33")
	w.kill(id)
	w.startTask(id)
	limits("67108864", "33")
	_, err = w.engine().UpdateResources(w.ctx, id, containerd.Resources{MemoryLimitBytes: 80 << 20}, nil)
	require.NoError(t, err)
	limits("83886080", "33")
	_, err = w.engine().UpdateResources(w.ctx, id, containerd.Resources{PIDsLimit: containerd.Unlimited, MemoryLimitBytes: containerd.Unlimited}, nil)
	require.NoError(t, err)
	assert.Equal(t, "max", w.cgroupFile(id, "pids", "pids.max", "pids.max"))
	assert.Contains(t, []string{"9223372036854771712", "max"}, w.cgroupFile(id, "memory", "memory.limit_in_bytes", "memory.max"))
}

// A runtime that refuses one of several limits has set some of the others.
func TestUpdateResourcesThatTheKernelRefuses(t *testing.T) {
	needsCgroup(t)
	t.Parallel()
	w := newWorld(t)
	id := w.start("sleep", "300")
	_, err := w.engine().UpdateResources(w.ctx, id, containerd.Resources{MemoryLimitBytes: 64 << 20, PIDsLimit: 33}, nil)
	require.NoError(t, err)
	before, err := w.Client.ContainerService().Get(w.raw, id)
	require.NoError(t, err)

	_, err = w.engine().UpdateResources(w.ctx, id, containerd.Resources{CPUSet: "4000", PIDsLimit: 44, MemoryLimitBytes: 65 << 20}, nil)

	require.Error(t, err)
	t.Log(err)
	after, err := w.Client.ContainerService().Get(w.raw, id)
	require.NoError(t, err)
	assert.Equal(t, string(before.Spec.GetValue()), string(after.Spec.GetValue()))
	assert.Equal(t, "33", w.cgroupFile(id, "pids", "pids.max", "pids.max"))
	assert.Equal(t, "67108864", w.cgroupFile(id, "memory", "memory.limit_in_bytes", "memory.max"))
}

func TestListProcessesShowsArgumentsWithoutPs(t *testing.T) {
	needsCgroup(t)
	t.Parallel()
	w := newWorld(t)
	req := w.request("sh", "-c", "sleep 299 | cat; true")
	req.SpecOpts = append(req.SpecOpts, oci.WithUserID(1234))
	_, err := w.Service.CreateContainer(w.ctx, req)
	require.NoError(t, err)
	w.startTask(req.ID)
	running := async(func() error {
		_, err := w.Service.ExecTask(w.ctx, req.ID, containerd.ExecTaskRequest{Args: []string{"sleep", "298"}})
		return err
	})
	began := time.Now()
	var list []containerd.ProcessInfo
	var byArgs map[string]containerd.ProcessInfo
	require.Eventually(t, func() bool {
		list, err = w.engine().ListProcesses(w.ctx, req.ID, nil)
		byArgs = map[string]containerd.ProcessInfo{}
		for _, p := range list {
			if p.Details != nil && p.Details.State == containerd.ProcessSleeping {
				byArgs[strings.Join(p.Details.Args, " ")] = p
			}
		}
		// A shim knows an exec's process when its runtime has started it.
		return err == nil && len(list) == 4 && len(byArgs) == 4 && byArgs["sleep 298"].ExecID != ""
	}, 20*time.Second, 20*time.Millisecond)
	for _, p := range list {
		assert.EqualValues(t, 1234, p.Details.UID)
		assert.WithinDuration(t, began, p.Details.StartedAt, time.Minute)
	}
	first := byArgs["sh -c sleep 299 | cat; true"]
	assert.Equal(t, w.task(req.ID).GetPid(), first.PID)
	assert.Equal(t, list[0], first)
	assert.EqualValues(t, 1, first.Details.ContainerPID)
	child := byArgs["sleep 299"]
	assert.Equal(t, first.PID, child.Details.ParentPID)
	assert.Empty(t, child.ExecID)

	// A process that is neither the first nor an exec is signalled too.
	require.NoError(t, w.engine().SignalTask(w.ctx, req.ID, syscall.SIGTERM, &containerd.SignalTaskOptions{All: true}))
	require.NoError(t, received(w, running))
	require.Eventually(t, func() bool { return syscall.Kill(int(child.PID), 0) != nil }, 10*time.Second, 10*time.Millisecond)
}

func TestSignalTaskToAllReachesWhatTheFirstProcessStarted(t *testing.T) {
	needsCgroup(t)
	t.Parallel()
	w := newWorld(t)
	// The first process ignores what it has no handler for; its child does not.
	id := w.start("sh", "-c", "sigtrap USR1 9; exit 5")
	var list []containerd.ProcessInfo
	require.Eventually(t, func() (ready bool) {
		list, _ = w.engine().ListProcesses(w.ctx, id, nil)
		return len(list) == 2 && handles(list[1].PID, syscall.SIGUSR1)
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, w.engine().SignalTask(w.ctx, id, syscall.SIGUSR1, &containerd.SignalTaskOptions{All: true}))
	r, err := w.engine().WaitTask(w.ctx, id, nil)
	require.NoError(t, err)
	assert.Equal(t, uint32(5), r.ExitCode, "only the end of the child makes the first process go on")
}

// handles says whether a process has a handler for a signal.
func handles(pid uint32, signal syscall.Signal) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		var mask uint64
		if n, _ := fmt.Sscanf(line, "SigCgt:\t%x", &mask); n == 1 {
			return mask&(1<<(signal-1)) != 0
		}
	}
	return false
}

func TestPauseTaskStopsTheTime(t *testing.T) {
	needsCgroup(t)
	t.Parallel()
	w := newWorld(t)
	id := w.start("sh", "-c", "while true; do true; done")
	used := func() time.Duration {
		m, err := w.engine().TaskMetrics(w.ctx, id, nil)
		require.NoError(t, err)
		return m.CPU.Total
	}
	require.NoError(t, w.engine().PauseTask(w.ctx, id, nil))
	before := used()
	<-time.After(200 * time.Millisecond)
	assert.Equal(t, before, used(), "a paused task uses no processor")
	require.NoError(t, w.engine().ResumeTask(w.ctx, id, nil))
	require.Eventually(t, func() bool { return used() > before }, 10*time.Second, 10*time.Millisecond)
}
