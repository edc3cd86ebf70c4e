package containerd

import (
	"context"

	"github.com/containerd/containerd/v2/pkg/cio"
)

// stdio is how the streams of a task or an exec are to be wired.
type stdio struct {
	attached bool   // to this process's own streams
	terminal bool   // through a terminal
	dir      string // where the FIFOs go; "" means a directory of our own
}

// devNull is where the shim's side discards output.
const devNull = "/dev/null"

// openStdio makes the streams of one process. Those that are not attached have
// no part in this process: the shim discards what the container writes.
func (s *DefaultService) openStdio(ctx context.Context, want stdio, containerID, execID string) (cio.IO, error) {
	if want.attached {
		return s.openStreams(ctx, want, containerID, execID)
	}
	switch {
	case want.terminal:
		// A terminal needs something on its other side, which the shim opens.
		return sink{Terminal: true, Stdout: devNull}, nil
	case execID != "":
		// What has no path gets the null device from the shim, opened for reading
		// only. Runtimes open it again for a task, but not for an exec.
		return sink{Stdout: devNull, Stderr: devNull}, nil
	}
	return sink{}, nil
}

// sink is the IO of a process whose output is discarded on the shim's side.
type sink cio.Config

func (s sink) Config() cio.Config { return cio.Config(s) }

// Cancel has nothing to cancel.
func (sink) Cancel() {}

// Wait returns at once: nothing is copied here.
func (sink) Wait() {}

// Close has nothing to close.
func (sink) Close() error { return nil }
