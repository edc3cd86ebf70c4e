package containerd

import (
	"context"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// limitsMemory says whether a container can run out of memory of its own.
func limitsMemory(r *specs.LinuxResources) bool {
	return r != nil && r.Memory != nil && r.Memory.Limit != nil && *r.Memory.Limit > 0
}

// oomKillsBefore returns how many processes of the task were killed for memory
// so far; 0 where there is no count.
func (s *DefaultService) oomKillsBefore(ctx context.Context, id string) uint64 {
	kills, err := s.oomKills(ctx, id)
	if err != nil {
		return 0
	}
	return kills
}

// result says how the process ended. Whether it was for want of memory is asked
// for only where it can have been.
func (x *execHandle) result(ctx context.Context, ended exit) ExecExit {
	result := ExecExit{Code: ended.code, Signal: exitSignal(ended.code), ExitedAt: ended.at}
	if result.Signal == unix.SIGKILL && !x.sentKill.Load() {
		ctx, cancel := context.WithTimeout(ctx, execDeleteLimit)
		defer cancel()
		kills, err := x.service.oomKills(ctx, x.containerID)
		result.OOMKilled = err == nil && kills > x.oomKills
	}
	return result
}
