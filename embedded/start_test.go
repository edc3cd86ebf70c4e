//go:build linux

package embedded_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/embedded"
)

func TestStartErrors(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	root := filepath.Join(t.TempDir(), "root")
	notExecutable := filepath.Join(t.TempDir(), "runc")
	require.NoError(t, os.WriteFile(notExecutable, nil, 0o600))
	runc := runcPath(t)
	long := "/" + strings.Repeat("x", 60)
	tests := map[string]struct {
		opts  embedded.Options
		is    func(error) bool
		names string
	}{
		"no runtime":             {embedded.Options{Runtime: "no-such-runtime"}, errdefs.IsNotFound, "no-such-runtime"},
		"runtime not executable": {embedded.Options{Runtime: notExecutable}, errdefs.IsInvalidArgument, notExecutable},
		"unknown snapshotter":    {embedded.Options{Runtime: runc, Snapshotter: "zfs"}, errdefs.IsInvalidArgument, "zfs"},
		"long state":             {embedded.Options{Runtime: runc, State: long}, errdefs.IsInvalidArgument, long},
		"root is a file":         {embedded.Options{Runtime: runc, Root: notExecutable}, errdefs.IsInvalidArgument, notExecutable},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := embedded.Start(t.Context(), &tc.opts)
			require.Error(t, err)
			require.Nil(t, d)
			assert.True(t, tc.is(err), "%v", err)
			assert.Contains(t, err.Error(), tc.names)
			t.Log(err)
		})
	}
	t.Run("root in use", func(t *testing.T) {
		startDaemon(t, embedded.Options{Root: root})
		_, err := embedded.Start(t.Context(), &embedded.Options{Root: root, Runtime: runc})
		require.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
		assert.Contains(t, err.Error(), root)
	})
	t.Run("detach from temporary root", func(t *testing.T) {
		d := startDaemon(t, embedded.Options{})
		err := d.Detach()
		require.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	})
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestStartCanceled(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	opts := &embedded.Options{Runtime: runcPath(t)}
	check := requireResources(t)
	for timeout := time.Duration(0); timeout <= 60*time.Millisecond; timeout += 3 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		d, err := embedded.Start(ctx, opts)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		} else {
			require.NoError(t, d.Close())
		}
		left, err := os.ReadDir(os.TempDir())
		require.NoError(t, err)
		require.Empty(t, left, "after %v", timeout)
	}
	check()
}
