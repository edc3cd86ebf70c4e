package containerd

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

func TestAFollowerOfALogIsToldThatTheWaitForTheTaskFailed(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	require.NoError(t, launch(t, s, LaunchTaskRequest{IO: canLog(t, filepath.Join(t.TempDir(), "log"))}))
	s.clock = quickClock{}
	d.fail("Tasks/Wait", errdefs.ErrPermissionDenied)
	d.change("idle", func(p *taskState) { close(p.exited) })
	var last error
	for _, err := range s.Logs(t.Context(), "idle", &LogsOptions{Follow: true}) {
		last = err
	}
	assertError(t, last, "read logs", errdefs.IsPermissionDenied, "not the end of the task")
}

func TestAFollowerOfALogEndsAtUntil(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	require.NoError(t, launch(t, s, LaunchTaskRequest{IO: canLog(t, filepath.Join(t.TempDir(), "log"))}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, until := range []time.Time{time.Now().Add(-time.Hour), time.Now().Add(100 * time.Millisecond)} {
		for _, err := range s.Logs(ctx, "idle", &LogsOptions{Follow: true, Until: until}) {
			require.NoError(t, err)
		}
	}
}
