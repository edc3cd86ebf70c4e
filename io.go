package containerd

import (
	"context"
	"path/filepath"
	"strings"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// stdio is how the streams of a task or an exec are to be wired.
type stdio struct {
	attached bool   // to this process's own streams
	terminal bool   // through a terminal
	dir      string // where the FIFOs go; "" means a directory of our own
}

// openStdio makes the streams of one process. Those that are not attached have
// no part in this process: the shim discards what the container writes.
func (s *DefaultService) openStdio(ctx context.Context, want stdio, containerID, execID string) (cio.IO, error) {
	if want.attached {
		return s.openStreams(ctx, want, containerID, execID)
	}
	return newSink(want.terminal, s.newOrigin()), nil
}

const (
	// devNull is where the shim discards output.
	devNull = "/dev/null"
	// sinkPrefix begins the address of a sink; the origin follows.
	sinkPrefix = "file://" + devNull + "?" + extensionOrigin + "="
)

// sink is the IO of a process whose output is discarded on the shim's side. Its
// address carries an origin, and so says who made the process: a task has no
// other place for it.
//
// With no address at all, the shim gives the process the null device opened for
// reading only. Runtimes open it again for a task, but not for an exec, all of
// whose writes would fail.
type sink cio.Config

func newSink(terminal bool, origin string) sink {
	address := sinkPrefix + origin
	if terminal {
		// The shim opens the other side of a terminal as a plain path. It has no
		// use for the address of an error stream there, but keeps it.
		return sink{Terminal: true, Stdout: devNull, Stderr: address}
	}
	return sink{Stdout: address, Stderr: address}
}

// Config returns the addresses.
func (s sink) Config() cio.Config { return cio.Config(s) }

// Cancel has nothing to cancel.
func (sink) Cancel() {}

// Wait returns at once: nothing is copied here.
func (sink) Wait() {}

// Close has nothing to close.
func (sink) Close() error { return nil }

// taskOwner returns the owner of the call that made the task of p, if that was
// one of ours.
func taskOwner(p *tasktypes.Process) (owner, bool) {
	if config, _, ok := logfile.ParseAddress(p.GetStdout()); ok {
		return originOwner(config.Origin)
	}
	if origin, ok := strings.CutPrefix(p.GetStderr(), sinkPrefix); ok {
		return originOwner(origin)
	}
	return fifoDirOwner(filepath.Dir(p.GetStdout()))
}
