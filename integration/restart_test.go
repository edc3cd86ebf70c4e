package integration_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/dialer"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/ctrdkit/containerd"
)

// afterRestart bounds the first call after the daemon is back.
const afterRestart = 2 * time.Second

// restartable is a world whose daemon can be killed.
func restartable(t *testing.T) (*world, *ownDaemon) {
	t.Helper()
	b, d := privateDaemon(t)
	return worldOn(t, b), d
}

// nilOrLost checks that a call that the daemon's end met tells the truth, and
// reports whether it succeeded.
func (w *world) nilOrLost(err error) bool {
	w.Helper()
	assert.True(w, err == nil || errdefs.IsUnavailable(err), "error is of another class: %v", err)
	return err == nil
}

// worksAgain checks that the very same service works at once.
func (w *world) worksAgain() {
	w.Helper()
	began := time.Now()
	_, err := w.Service.ListContainers(w.ctx)
	require.NoError(w, err)
	assert.Less(w, time.Since(began), afterRestart)
}

// settle closes the service, which waits for its clean-up.
func (w *world) settle() {
	w.Helper()
	closer, ok := w.Service.(io.Closer)
	require.True(w, ok)
	require.NoError(w, closer.Close())
}

func TestRestartWhileATaskIsStopped(t *testing.T) {
	stop := func(w *world, id string) <-chan error {
		return async(func() error {
			return w.Service.StopTask(w.ctx, id, &containerd.StopTaskOptions{Signal: syscall.SIGWINCH, Timeout: -1})
		})
	}
	t.Run("which ends when the daemon is back", func(t *testing.T) {
		t.Parallel()
		w, d := restartable(t)
		id := w.start("sleep", "300")
		done := stop(w, id)
		d.restart()
		w.worksAgain()
		select {
		case err := <-done:
			require.Error(t, err, "the task still runs")
			w.nilOrLost(err)
			w.kill(id)
		default:
			w.kill(id)
			w.nilOrLost(received(w, done))
		}
		assert.Equal(t, "STOPPED", w.status(id))
	})
	t.Run("which ends while the daemon is away", func(t *testing.T) {
		t.Parallel()
		w, d := restartable(t)
		id := w.start("sleep", "300")
		pid := int(w.task(id).GetPid())
		done := stop(w, id)
		d.kill()
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		d.start()
		if w.nilOrLost(received(w, done)) {
			assert.Contains(t, []string{"STOPPED", ""}, w.status(id))
		}
		w.worksAgain()
		assert.NoError(t, w.Service.StopTask(w.ctx, id, nil), "it has stopped")
	})
}

// moments are when a daemon dies after a call has begun, in milliseconds.
var moments = []time.Duration{0, 2, 5, 10, 20, 40, 80, 160}

// restartSweep restarts the daemon at many moments of a call.
func restartSweep(t *testing.T, call func(w *world, id string) error, check func(w *world, id string, err error)) {
	w, d := restartable(t)
	for _, moment := range moments {
		id := w.start()
		done := async(func() error { return call(w, id) })
		<-time.After(moment * time.Millisecond)
		d.restart()
		check(w, id, received(w, done))
		w.worksAgain()
		w.noLeases()
	}
}

func TestRestartWhileATaskIsDeleted(t *testing.T) {
	t.Parallel()
	call := func(w *world, id string) error {
		return w.Service.DeleteTask(w.ctx, id, &containerd.DeleteTaskOptions{Force: true})
	}
	restartSweep(t, call, func(w *world, id string, err error) {
		if !w.nilOrLost(err) {
			gone := w.task(id) == nil
			if err = call(w, id); err != nil {
				assert.True(w, gone && errdefs.IsNotFound(err), "retry: %v", err)
			}
		}
		w.noTask(id)
		assert.True(w, w.hasContainer(id))
	})
}

func TestRestartWhileATaskIsForcedToStop(t *testing.T) {
	t.Parallel()
	call := func(w *world, id string) error {
		return w.Service.StopTask(w.ctx, id, &containerd.StopTaskOptions{Timeout: 20 * time.Millisecond, Force: true})
	}
	restartSweep(t, call, func(w *world, id string, err error) {
		if !w.nilOrLost(err) {
			require.NoError(w, call(w, id), "retry")
		}
		assert.Contains(w, []string{"STOPPED", ""}, w.status(id))
	})
}

func TestRestartWhileAProcessRunsInATask(t *testing.T) {
	t.Parallel()
	var w *world
	var ids []string
	call := func(w *world, id string) error {
		result, err := w.Service.ExecTask(w.ctx, id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", "sleep 0.1; exit 7"}})
		if err == nil {
			assert.EqualValues(w, 7, result.ExitCode, "an exit code that is made up")
		}
		return err
	}
	restartSweep(t, call, func(in *world, id string, err error) {
		w, ids = in, append(ids, id)
		w.nilOrLost(err)
		assert.NoError(w, call(w, id))
	})
	w.settle()
	for _, id := range ids {
		w.onlyInit(id)
	}
}

// gate is a registry's fault that stops the first request of its kind.
type gate struct {
	part    string
	once    sync.Once
	reached chan struct{}
	open    chan struct{}
}

func newGate(part string) *gate {
	return &gate{part: part, reached: make(chan struct{}), open: make(chan struct{})}
}

func (g *gate) fault(_ http.ResponseWriter, r *http.Request) bool {
	if strings.Contains(r.URL.Path, g.part) {
		g.once.Do(func() { close(g.reached) })
		select {
		case <-g.open:
		case <-r.Context().Done():
		}
	}
	return false
}

func TestRestartWhileAnImageIsFetched(t *testing.T) {
	for name, part := range map[string]string{"resolved": "/manifests/v1", "fetched": "/blobs/"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, d := restartable(t)
			for call, do := range map[string]func(ref, id string) error{
				"PullImage": func(ref, _ string) error {
					_, err := w.Service.PullImage(w.ctx, ref, nil)
					return err
				},
				"CreateContainer": func(ref, id string) error {
					_, err := w.Service.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: ref})
					return err
				},
			} {
				reg, gate, id := newRegistry(t), newGate(part), newID()
				ref := reg.Push("app:v1", freshContent(t))
				reg.SetFault(gate.fault)
				done := async(func() error { return do(ref, id) })
				received(w, gate.reached)
				d.restart()
				close(gate.open)
				if !w.nilOrLost(received(w, done)) {
					w.worksAgain()
					require.NoError(t, do(ref, id), "%s: retry", call)
				}
				w.noLeases()
				w.snapshots() // collects garbage
				image, err := w.Client.GetImage(w.raw, ref)
				require.NoError(t, err)
				unpacked, err := image.IsUnpacked(w.raw, w.Snapshotter)
				require.NoError(t, err)
				assert.True(t, unpacked, "%s says that the image is there", call)
				assert.Equal(t, call == "CreateContainer", w.hasContainer(id) && w.hasSnapshot(id))
			}
		})
	}
}

func TestRestartBetweenTheSnapshotAndTheRecordOfAContainer(t *testing.T) {
	t.Parallel()
	w, d := restartable(t)
	restart := func(context.Context, oci.Client, *containers.Container, *oci.Spec) error {
		d.restart()
		return nil
	}
	first := w.request()
	first.SpecOpts = []oci.SpecOpts{restart}
	_, err := w.Service.CreateContainer(w.ctx, first)
	if !w.nilOrLost(err) {
		w.worksAgain()
		_, err = w.Service.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: first.ID, ImageRef: first.ImageRef})
		require.NoError(t, err, "retry")
	}
	w.noLeases()
	assert.Contains(t, w.snapshots(), first.ID)
	assert.True(t, w.hasContainer(first.ID))

	// Without a retry the service cleans up by itself.
	second := w.request()
	second.SpecOpts = []oci.SpecOpts{restart}
	_, err = w.Service.CreateContainer(w.ctx, second)
	created := w.nilOrLost(err)
	w.settle()
	w.noLeases()
	assert.Equal(t, created, w.hasContainer(second.ID))
	assert.Equal(t, created, w.hasSnapshot(second.ID))
}

func TestRestartWhileTheDaemonIsAwayForLonger(t *testing.T) {
	t.Parallel()
	w, d := restartable(t)
	id := w.start()
	failures := make(chan error, 100)
	raw, err := client.New(d.address, client.WithExtraDialOpts([]grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := dialer.ContextDialer(ctx, address)
			if err != nil {
				failures <- err
			}
			return conn, err
		}),
	}))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, raw.Close()) })
	s := containerd.NewDefaultService(raw, w.Namespace)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	_, err = s.GetTask(w.ctx, id)
	require.NoError(t, err)
	d.kill()
	conn, ok := raw.Conn().(*grpc.ClientConn)
	require.True(t, ok)
	require.True(t, conn.WaitForStateChange(w.ctx, connectivity.Ready), "the connection is not lost")
	conn.Connect()
	for range 3 { // each makes the next pause longer: the third is more than 2 s
		received(w, failures)
	}
	d.start()
	began := time.Now()
	_, err = s.GetTask(w.ctx, id)
	require.NoError(t, err)
	assert.Less(t, time.Since(began), afterRestart)
	w.worksAgain()
}

func TestErrorsWhileTheDaemonIsAwayAreUnavailable(t *testing.T) {
	t.Parallel()
	w, d := restartable(t)
	id := w.start()
	d.kill()
	for name, call := range map[string]func() error{
		"CreateContainer": func() error { _, err := w.Service.CreateContainer(w.ctx, w.request()); return err },
		"DeleteTask":      func() error { return w.Service.DeleteTask(w.ctx, id, nil) },
		"ListTasks":       func() error { _, err := w.Service.ListTasks(w.ctx, nil); return err },
		"PullImage":       func() error { _, err := w.Service.PullImage(w.ctx, w.Image, nil); return err },
		"StartTask":       func() error { _, err := w.Service.StartTask(w.ctx, id, nil); return err },
		"StopTask":        func() error { return w.Service.StopTask(w.ctx, id, nil) },
	} {
		err := call()
		assert.True(t, errdefs.IsUnavailable(err), "%s: %v", name, err)
		_, ok := errors.AsType[*containerd.Error](err)
		assert.True(t, ok, "%s: %T", name, err)
	}
	d.start()
	w.worksAgain()
	assert.Equal(t, "RUNNING", w.status(id))
}
