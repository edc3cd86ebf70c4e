package main

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/applets"
	"github.com/ctrdkit/containerd/internal/applets/appletstest"
)

// TestMain makes the test's own binary act as an applet by whose name it is called.
func TestMain(m *testing.M) {
	if slices.Contains(applets.Names(), filepath.Base(os.Args[0])) {
		main()
	}
	os.Exit(m.Run())
}

// bin makes a directory with all applets.
func bin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	for _, name := range applets.Names() {
		require.NoError(t, os.Symlink(self, filepath.Join(dir, name)))
	}
	return dir
}

func TestLines(t *testing.T) {
	dir := bin(t)
	for _, line := range appletstest.Lines() {
		t.Run(line.Name, func(t *testing.T) {
			cmd := exec.Command(filepath.Join(dir, "sh"), append([]string{"-c", line.Line, "sh"}, line.Args...)...)
			cmd.Dir, cmd.Env = t.TempDir(), []string{"PATH=" + dir, "COLOR=red", "GORACE=atexit_sleep_ms=0"}
			var stdout, stderr bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(line.Stdin), &stdout, &stderr
			code := 0
			if failed, ok := errors.AsType[*exec.ExitError](cmd.Run()); ok {
				code = failed.ExitCode()
				if status := failed.Sys().(syscall.WaitStatus); status.Signaled() {
					code = 128 + int(status.Signal())
				}
			}
			assert.Equal(t, line.Stdout, stdout.String())
			assert.Equal(t, line.Stderr, stderr.String())
			assert.Equal(t, line.Code, code)
		})
	}
}

func TestSignals(t *testing.T) {
	dir := bin(t)
	cmd := exec.Command(filepath.Join(dir, "sigtrap"), "USR1", "7")
	cmd.Env = []string{"GORACE=atexit_sleep_ms=0"}
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan())
	assert.Equal(t, "ready", lines.Text())
	require.NoError(t, cmd.Process.Signal(syscall.SIGUSR1))
	require.True(t, lines.Scan())
	assert.Equal(t, "SIGUSR1", lines.Text())
	failed, ok := errors.AsType[*exec.ExitError](cmd.Wait())
	require.True(t, ok)
	assert.Equal(t, 7, failed.ExitCode())
}
