package containerd

import "golang.org/x/sys/unix"

// bootTicks is now in the unit of process start times.
func bootTicks() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return now.Nano() / (1e9 / ticksPerSecond)
}
