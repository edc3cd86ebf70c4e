//go:build linux

package embedded_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/embedded"
)

// helperEnv makes the helper tests below do something; its value is theirs.
const helperEnv = "EMBEDDED_TEST_HELPER"

// helper is another process with a daemon and a container.
type helper struct {
	cmd         *exec.Cmd
	Root, State string
	PID         int
	TaskPID     int
}

func startHelper(t *testing.T, root string) *helper {
	t.Helper()
	h := &helper{cmd: exec.Command("/proc/self/exe", "-test.run=^TestHelperDaemon$")}
	h.cmd.Env = append(os.Environ(), helperEnv+"=root:"+root)
	h.cmd.Stderr = t.Output()
	stdin, err := h.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := h.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, h.cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, stdin.Close())
		if err := h.cmd.Wait(); err != nil {
			t.Log("helper:", err)
		}
	})
	require.NoError(t, json.NewDecoder(stdout).Decode(h))
	return h
}

func TestHelperDaemon(t *testing.T) {
	arg, ok := os.LookupEnv(helperEnv)
	if !ok || len(arg) < 5 || arg[:5] != "root:" {
		t.Skip("runs as a helper of other tests only")
	}
	root := arg[5:]
	d := startDaemon(t, embedded.Options{Root: root, Log: os.Stderr})
	tr := tracesOf(t, d, root)
	task := runContainer(testContext(t), t, newClient(t, d), "a")
	require.NoError(t, json.NewEncoder(os.Stdout).Encode(helper{
		Root: tr.root, State: tr.state, PID: d.PID(), TaskPID: int(task.Pid()),
	}))
	// The other process closes the pipe, or kills this one.
	_, err := os.Stdin.Read(make([]byte, 1))
	t.Log("stdin:", err)
}

func TestHelperIdle(t *testing.T) {
	if os.Getenv(helperEnv) != "idle" {
		t.Skip("runs as a helper of other tests only")
	}
	children, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, path := range children {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Empty(t, data, "child processes")
	}
	// This test's, and that of testing.tRunner's caller.
	require.LessOrEqual(t, runtime.NumGoroutine(), 2)
	fds, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err == nil { // else it was that of the listing
			require.False(t, strings.HasPrefix(target, "socket:"), target)
		}
	}
}
