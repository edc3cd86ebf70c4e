package integration_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

// chunk is how much the logged container writes at once, from a file.
const chunk = 32 << 20

// logVolume is how often the container writes a chunk: 1 GiB with SOAK set.
func logVolume() int {
	if os.Getenv("SOAK") != "" {
		return 1 << 30 / chunk
	}
	return 4
}

// numberedLines writes a chunk of lines, each of which is different.
func numberedLines(t *testing.T, name string) hash.Hash {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	for i, n := 0, 0; n < chunk; i++ {
		line := fmt.Sprintf("%09d %s\n", i, strings.Repeat("x", i%120))
		_, err := w.WriteString(line[:min(len(line), chunk-n)])
		require.NoError(t, err)
		n += len(line)
	}
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	want := sha256.New()
	for range logVolume() {
		want.Write(data)
	}
	return want
}

// TestALogIsWholeAlthoughItsClientIsKilled has a container write much, kills the
// client that has launched it and reads its log when it has written half, and
// reads the log all the time and afterwards.
func TestALogIsWholeAlthoughItsClientIsKilled(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	want := numberedLines(t, filepath.Join(dir, "lines"))
	call := w.call("log")
	call.FIFODir = filepath.Join(dir, "log")
	half := "cat" + strings.Repeat(" /lines", logVolume()/2)
	req := w.request("sh", "-c", half+"; while [ ! -e /go ]; do sleep 0.02; done; "+half+"; echo done >&2")
	req.ID = call.ID
	req.SpecOpts = append(req.SpecOpts, oci.WithMounts([]specs.Mount{{
		Type: "bind", Source: filepath.Join(dir, "lines"), Destination: "/lines", Options: []string{"rbind", "ro"},
	}}))
	_, err := w.Service.CreateContainer(w.ctx, req)
	require.NoError(t, err)

	client := startHelper(t, call)
	require.True(t, client.report(t).Held, "the task was launched")
	svc := w.fresh()
	got, n := sha256.New(), 0
	for e, err := range svc.Logs(w.ctx, call.ID, &containerd.LogsOptions{Follow: true}) {
		require.NoError(t, err)
		require.Zero(t, e.Lost)
		if e.Stream == "stderr" {
			continue
		}
		got.Write(e.Data)
		if n += len(e.Data); n == logVolume()*chunk/2 {
			client.kill(t)
			result, err := svc.ExecTask(w.ctx, call.ID, containerd.ExecTaskRequest{Args: []string{"touch", "/go"}})
			require.NoError(t, err)
			require.Zero(t, result.ExitCode)
		}
	}
	require.Equal(t, logVolume()*chunk, n, "bytes that were followed")
	assert.Equal(t, want.Sum(nil), got.Sum(nil), "they are the bytes, in order")

	again, last := sha256.New(), ""
	for e, err := range w.fresh().Logs(w.ctx, call.ID, nil) {
		require.NoError(t, err)
		if e.Stream == "stdout" {
			again.Write(e.Data)
		} else {
			last += string(e.Data)
		}
	}
	assert.Equal(t, want.Sum(nil), again.Sum(nil), "they are there afterwards")
	assert.Equal(t, "done\n", last)
	require.NoError(t, svc.DeleteContainer(w.ctx, call.ID, nil))
	assert.NoDirExists(t, call.FIFODir)
}

// logTask starts a task with a log, says so, and reads the log until it ends.
func logTask(ctx context.Context, s *containerd.DefaultService, call helperCall) error {
	io := containerd.LogIO{Dir: call.FIFODir, MaxSize: 64 << 20, MaxFiles: 1000}
	if _, err := s.LaunchTask(ctx, call.ID, containerd.LaunchTaskRequest{IO: io}); err != nil {
		return err
	}
	if err := helperSays(helperReport{Held: true}); err != nil {
		return err
	}
	for _, err := range s.Logs(ctx, call.ID, &containerd.LogsOptions{Follow: true}) {
		if err != nil {
			return err
		}
	}
	return nil
}
