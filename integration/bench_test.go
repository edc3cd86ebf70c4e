package integration_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

// BenchmarkTaskOutput has a container write 80-byte lines, 256 MiB at a time, to
// each kind of IO in turn, and reports the median throughput of each in MB/s.
func BenchmarkTaskOutput(b *testing.B) {
	const size, rounds = 256 << 20, 5
	dir := b.TempDir()
	line := strings.Repeat("x", 79) + "\n"
	require.NoError(b, os.WriteFile(filepath.Join(dir, "lines"), []byte(strings.Repeat(line, size/len(line))), 0o644))
	ctx := namespaces.WithNamespace(b.Context(), "bench")
	svc, err := containerd.Open(ctx, containerd.WithAddress(shared.daemon.address), containerd.WithNamespace("bench"))
	require.NoError(b, err)
	const id = "writer"
	_, err = svc.CreateContainer(ctx, containerd.CreateContainerRequest{ID: id, ImageRef: shared.image, SpecOpts: []oci.SpecOpts{
		oci.WithProcessArgs("cat", "/lines"),
		oci.WithMounts([]specs.Mount{{Type: "bind", Source: filepath.Join(dir, "lines"), Destination: "/lines", Options: []string{"rbind", "ro"}}}),
	}})
	require.NoError(b, err)
	kinds := map[string]func(round string) containerd.TaskIO{
		"discard": func(string) containerd.TaskIO { return containerd.DiscardIO{} },
		"streams": func(string) containerd.TaskIO { return containerd.StreamIO{Stdout: io.Discard, Stderr: io.Discard} },
		"files": func(round string) containerd.TaskIO {
			return containerd.FileIO{Stdout: filepath.Join(dir, "out-"+round), Stderr: filepath.Join(dir, "err-"+round)}
		},
		"log": func(string) containerd.TaskIO { // a container has one
			return containerd.LogIO{Dir: filepath.Join(dir, "log"), MaxSize: 64 << 20}
		},
	}
	took := map[string][]float64{}
	for b.Loop() {
		for round := range rounds {
			for kind, make := range kinds {
				began := time.Now()
				_, err := svc.LaunchTask(ctx, id, containerd.LaunchTaskRequest{IO: make(string(rune('a' + round)))})
				require.NoError(b, err)
				started := time.Now()
				_, err = svc.Client().TaskService().Wait(ctx, &tasks.WaitRequest{ContainerID: id})
				require.NoError(b, err)
				took[kind] = append(took[kind], float64(size)/1e6/time.Since(started).Seconds())
				took[kind+"-start"] = append(took[kind+"-start"], float64(started.Sub(began).Milliseconds()))
				require.NoError(b, svc.DeleteTask(ctx, id, nil))
			}
		}
	}
	require.NoError(b, svc.DeleteContainer(ctx, id, nil))
	require.NoError(b, svc.Close())
	for kind, list := range took {
		slices.Sort(list)
		unit := "-MB/s"
		if strings.HasSuffix(kind, "-start") {
			unit = "-ms"
		}
		b.ReportMetric(list[len(list)/2], kind+unit)
	}
}
