package containerd

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// stdio is how the streams of a task or an exec are to be wired.
type stdio struct {
	attached bool   // to the streams below; else there is no input, and the shim discards the output
	terminal bool   // through a terminal, which has one output stream
	dir      string // where the FIFOs go; "" means a directory of our own

	stdin          io.Reader // nil: the input is at its end
	stdout, stderr io.Writer // nil: the shim discards that stream

	drain time.Duration // how long output is waited for after the end: 0 means drainLimit, negative for ever
}

// ownStdio binds a process to this process's own streams.
func ownStdio(terminal bool, dir string) stdio {
	return stdio{attached: true, terminal: terminal, dir: dir, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
}

// wire returns the addresses that the shim is given, and those of them that are
// FIFOs in dir. A stream that nobody wants needs no FIFO: it has no address if
// it is the input, and the shim discards it if it is output.
func (w stdio) wire(dir string) (shim, fifos cio.Config) {
	shim.Terminal, fifos.Terminal = w.terminal, w.terminal
	if w.stdin != nil || w.terminal {
		fifos.Stdin = filepath.Join(dir, fifoNames[0])
		shim.Stdin = fifos.Stdin
	}
	shim.Stdout = devNull
	if w.stdout != nil {
		fifos.Stdout = filepath.Join(dir, fifoNames[1])
		shim.Stdout = fifos.Stdout
	}
	if w.terminal {
		return shim, fifos
	}
	shim.Stderr = devNull
	if w.stderr != nil {
		fifos.Stderr = filepath.Join(dir, fifoNames[2])
		shim.Stderr = fifos.Stderr
	}
	return shim, fifos
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

// newSink returns the IO of a process whose output is discarded on the shim's
// side. Its address carries an origin, and so says who made the process: a task
// has no other place for it.
//
// With no address at all, the shim gives the process the null device opened for
// reading only. Runtimes open it again for a task, but not for an exec, all of
// whose writes would fail.
func newSink(terminal bool, origin string) unattached {
	address := sinkPrefix + origin
	if terminal {
		// The shim opens the other side of a terminal as a plain path. It has no
		// use for the address of an error stream there, but keeps it.
		return unattached{Terminal: true, Stdout: devNull, Stderr: address}
	}
	return unattached{Stdout: address, Stderr: address}
}

// unattached is the IO of a task whose streams have no part in this process.
type unattached cio.Config

// Config returns the addresses.
func (u unattached) Config() cio.Config { return cio.Config(u) }

// Cancel has nothing to cancel.
func (unattached) Cancel() {}

// Wait returns at once: nothing is copied here.
func (unattached) Wait() {}

// Close has nothing to close.
func (unattached) Close() error { return nil }

// taskOwner returns the owner of the call that made the task of p, if that was
// one of ours.
func taskOwner(p *tasktypes.Process) (owner, bool) {
	if config, ok := logfile.ParseAddress(p.GetStdout()); ok {
		return originOwner(config.Origin)
	}
	if origin, ok := strings.CutPrefix(p.GetStderr(), sinkPrefix); ok {
		return originOwner(origin)
	}
	if dir, _, ok := parseMarkedPath(p.GetStdout()); ok {
		return fifoDirOwner(dir)
	}
	return fifoDirOwner(fifoDirOf(p))
}

// fifoDirOf returns the directory of the process's FIFOs, "" if it has none of
// ours.
func fifoDirOf(p *tasktypes.Process) string {
	for _, address := range []string{p.GetStdin(), p.GetStdout(), p.GetStderr()} {
		if dir := filepath.Dir(address); isFIFODir(dir) {
			return dir
		}
	}
	return ""
}
