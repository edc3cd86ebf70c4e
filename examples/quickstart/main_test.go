package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/testimage"
)

// patience is how long a run may take.
const patience = 2 * time.Minute

// build compiles the program.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "quickstart")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// running is a run of the program on a daemon that it starts itself.
type running struct {
	*exec.Cmd
	lines  *bufio.Scanner
	stderr bytes.Buffer
	tmp    string // all its temporary files, but those that need a short path
	state  string // the daemon's sockets
}

func begin(t *testing.T, program string, args ...string) *running {
	t.Helper()
	tmp, err := os.MkdirTemp("", "qs-") // short enough for a socket
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(tmp)) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r := &running{Cmd: exec.CommandContext(ctx, program, args...), tmp: tmp}
	r.Env = append(os.Environ(), "TMPDIR="+tmp, "CONTAINERD_ADDRESS=")
	r.Stderr = &r.stderr
	stdout, err := r.StdoutPipe()
	require.NoError(t, err)
	r.lines = bufio.NewScanner(stdout)
	require.NoError(t, r.Start())
	t.Cleanup(func() {
		if r.ProcessState == nil {
			assert.NoError(t, r.Process.Kill())
		}
	})
	r.until(t, "start a private containerd")
	fields := strings.Fields(r.lines.Text())
	r.state = filepath.Dir(fields[len(fields)-1])
	require.DirExists(t, r.state)
	return r
}

// until reads the output up to the line of a step.
func (r *running) until(t *testing.T, step string) {
	t.Helper()
	for r.lines.Scan() {
		if strings.HasPrefix(r.lines.Text(), step) {
			return
		}
	}
	err := r.Wait()
	t.Fatalf("the program ended before %q: %v: %s", step, err, &r.stderr)
}

// end reads the rest of the output and waits for the program's end, after which
// nothing may be left.
func (r *running) end(t *testing.T) (output string, code int) {
	t.Helper()
	var text strings.Builder
	for r.lines.Scan() {
		text.WriteString(r.lines.Text() + "\n")
	}
	var exit *exec.ExitError
	if err := r.Wait(); err != nil {
		require.ErrorAs(t, err, &exit)
	}
	assert.NoDirExists(t, r.state, "the daemon's state is left")
	left, err := os.ReadDir(r.tmp)
	require.NoError(t, err)
	assert.Empty(t, left, "temporary files are left")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), r.tmp, "mounts are left")
	assert.Empty(t, processesBelow(t, r.tmp, r.state), "processes are left")
	return text.String(), r.ProcessState.ExitCode()
}

// processesBelow returns the processes that work in one of the directories.
func processesBelow(t *testing.T, dirs ...string) (found []string) {
	t.Helper()
	cwds, err := filepath.Glob("/proc/[0-9]*/cwd")
	require.NoError(t, err)
	for _, link := range cwds {
		cwd, err := os.Readlink(link)
		if err != nil {
			continue // it has ended, or is somebody else's
		}
		for _, dir := range dirs {
			if strings.HasPrefix(cwd, dir) {
				found = append(found, link+" "+cwd)
			}
		}
	}
	return found
}

func TestTour(t *testing.T) {
	output, code := begin(t, build(t)).end(t)
	assert.Zero(t, code)
	assert.Contains(t, output, "kept\n", "the second container sees the first one's file")
	assert.Contains(t, output, "containers 0, tasks 0, images 0, snapshots 0, leases 0, mounts 0, shims 0, FIFOs 0")
}

func TestInterruptAtAnyStepLeavesNothing(t *testing.T) {
	program := build(t)
	for _, step := range []string{
		"start a private containerd", "build and serve", "pull the image", "create a container", "start its task",
		"run a command", "list running tasks", "delete the task", "prepare a snapshot", "start the second task",
	} {
		t.Run(strings.TrimSpace(step), func(t *testing.T) {
			t.Parallel()
			r := begin(t, program)
			if step != "start a private containerd" {
				r.until(t, step)
			}
			require.NoError(t, r.Process.Signal(syscall.SIGINT))
			_, code := r.end(t)
			assert.Equal(t, 1, code, "%s", &r.stderr)
			assert.Contains(t, r.stderr.String(), context.Canceled.Error())
		})
	}
}

func TestImageOfTheCallers(t *testing.T) {
	binary, err := testimage.BuildUserland(t.Context())
	require.NoError(t, err)
	content, err := testimage.Make(testimage.Userland(binary))
	require.NoError(t, err)
	registry := testimage.NewRegistry()
	defer registry.Close()
	ref := registry.Push("theirs:v1", content)

	output, code := begin(t, build(t), ref, "sh", "-c", "echo out; echo $1; exit 3", "sh", "an argument").end(t)
	assert.Equal(t, 3, code, "the command's exit code")
	assert.Contains(t, output, "out\nan argument\n")
}
