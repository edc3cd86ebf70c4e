package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/containerdtest/conformance"
	"github.com/ctrdkit/containerd/internal/gobuild"
)

// daemon is an embedded containerd in a program of its own, which is compiled
// to shared.program.
type daemon struct {
	address string
	pid     int // of containerd
	input   io.Closer
	ended   <-chan struct{} // closed when the program has ended
	err     error           // how it did
}

func buildDaemon(ctx context.Context, dir string) (program string, err error) {
	program = filepath.Join(dir, "daemon")
	return program, gobuild.Static(ctx, "github.com/ctrdkit/containerd/integration/daemon", program)
}

// startDaemon starts a daemon on root, or a temporary one if root is empty.
// DAEMON_LOG in the environment shows its log.
func startDaemon(root string) (*daemon, error) {
	cmd := exec.Command(shared.program)
	cmd.WaitDelay = 10 * time.Second // another process may hold its stderr open
	if root != "" {
		cmd.Args = append(cmd.Args, root)
	}
	var log tail
	cmd.Stderr = &log
	if os.Getenv("DAEMON_LOG") != "" {
		cmd.Stderr = os.Stderr
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	d := &daemon{input: input, ended: ended}
	_, scanErr := fmt.Fscanln(output, &d.pid, &d.address)
	go func() {
		defer close(ended)
		if err := cmd.Wait(); err != nil {
			d.err = fmt.Errorf("containerd: %w: %s", err, log.Bytes())
		}
	}()
	if scanErr != nil {
		return nil, errors.Join(scanErr, d.close())
	}
	noteDaemon(d.address)
	return d, nil
}

// close ends the daemon with all that it runs. It does nothing if the daemon
// was killed.
func (d *daemon) close() error {
	select {
	case <-d.ended:
		return d.err
	default:
	}
	err := d.input.Close()
	<-d.ended
	return errors.Join(err, d.err)
}

// kill ends the daemon as a crash would.
func (d *daemon) kill() error {
	if err := syscall.Kill(d.pid, syscall.SIGKILL); err != nil {
		return err
	}
	<-d.ended
	d.err = nil // that is what was asked for
	return nil
}

// tail keeps the last of what is written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const most = 8 << 10
	n, err := t.Buffer.Write(p)
	t.Next(max(0, t.Len()-most))
	return n, err
}

// private opens a service on a daemon of its own, which can be killed and
// started again.
func private(t *testing.T) conformance.Backend {
	t.Helper()
	b, _ := privateDaemon(t)
	return b
}

// ownDaemon is a daemon that only one test uses.
type ownDaemon struct {
	*daemon
	t      *testing.T
	root   string
	killed bool
}

func privateDaemon(t *testing.T) (conformance.Backend, *ownDaemon) {
	t.Helper()
	// The socket's path must be short, and so must the root's that it depends on.
	root, err := os.MkdirTemp("", "it-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(root)) })
	d := &ownDaemon{t: t, root: root}
	d.start()
	t.Cleanup(func() {
		if d.killed { // a test that failed meanwhile: what still runs has to end
			d.start()
		}
		assert.NoError(t, d.close())
	})
	b := backend(t, d.address)
	b.Private = nil
	b.Restart = func(*testing.T) { d.restart() }
	return b, d
}

func (d *ownDaemon) start() {
	d.t.Helper()
	started, err := startDaemon(d.root)
	require.NoError(d.t, err)
	d.daemon, d.killed = started, false
}

func (d *ownDaemon) kill() {
	d.t.Helper()
	require.NoError(d.t, d.daemon.kill())
	d.killed = true
}

func (d *ownDaemon) restart() {
	d.t.Helper()
	address := d.address
	d.kill()
	d.start()
	require.Equal(d.t, address, d.address, "the daemon comes back at its address")
}
