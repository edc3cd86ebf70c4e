package containerdtest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

// failing returns a fault that fails one kind of request at one moment.
func failing(name string, after bool, err error) func(containerdtest.Op) error {
	return func(op containerdtest.Op) error {
		if op.String() == name && op.After == after {
			return err
		}
		return nil
	}
}

// put stores a container's record with the plain client.
func (w *world) put(id string) error {
	_, err := w.plain.ContainerService().Create(w.ctx, containers.Container{
		ID: id, Runtime: containers.RuntimeInfo{Name: "io.containerd.runc.v2"},
	})
	return err
}

func (w *world) has(id string) bool {
	w.t.Helper()
	_, err := w.plain.ContainerService().Get(w.ctx, id)
	if !errdefs.IsNotFound(err) {
		require.NoError(w.t, err)
	}
	return err == nil
}

func TestAFaultBeforeARequestPreventsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Inject(failing("Containers/Create", false, errdefs.ErrResourceExhausted))
	err := w.put("web")
	assert.True(t, errdefs.IsResourceExhausted(err), "%v", err)
	assert.False(t, w.has("web"))

	w.Inject(nil)
	require.NoError(t, w.put("web"), "nil ends it")
}

func TestAFaultAfterARequestHidesItsSuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Inject(failing("Containers/Create", true, context.DeadlineExceeded))
	err := w.put("web")
	assert.True(t, errdefs.IsDeadlineExceeded(err), "%v", err)
	assert.True(t, w.has("web"))
	assert.True(t, errdefs.IsAlreadyExists(w.put("web")), "and a request that fails by itself is not asked about again")
}

func TestAnInjectedErrorKeepsItsClass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, class := range []error{
		errdefs.ErrUnknown, errdefs.ErrInvalidArgument, errdefs.ErrNotFound, errdefs.ErrAlreadyExists, errdefs.ErrPermissionDenied,
		errdefs.ErrResourceExhausted, errdefs.ErrFailedPrecondition, errdefs.ErrAborted, errdefs.ErrOutOfRange, errdefs.ErrNotImplemented,
		errdefs.ErrInternal, errdefs.ErrUnavailable, errdefs.ErrDataLoss, errdefs.ErrUnauthenticated,
		context.Canceled, context.DeadlineExceeded,
	} {
		w.Inject(failing("Tasks/Kill", false, fmt.Errorf("shim of web: %w", class)))
		_, err := w.plain.TaskService().Kill(w.ctx, &tasks.KillRequest{ContainerID: "web"})
		require.ErrorIs(t, native(err), class)
		require.ErrorContains(t, err, "shim of web")
	}
	w.Inject(failing("Containers/Create", false, errors.New("just so")))
	_, err := w.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
	var failed *containerd.Error
	require.ErrorAs(t, err, &failed)
	require.ErrorContains(t, err, "just so")
}

func TestAFaultSeesWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	var mu sync.Mutex
	var seen []containerdtest.Op
	w.Inject(func(op containerdtest.Op) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, op)
		return nil
	})
	require.NoError(t, task.Kill(w.ctx, syscall.SIGUSR1))
	require.Error(t, w.put("web"))
	w.Inject(nil)

	var names []string
	for _, op := range seen {
		names = append(names, fmt.Sprint(op, " ", op.After))
		assert.Equal(t, containerd.DefaultNamespace, op.Namespace)
	}
	require.Equal(t, []string{"Tasks/Kill false", "Tasks/Kill true", "Containers/Create false"}, names)
	assert.Equal(t, uint32(syscall.SIGUSR1), seen[0].Request.(*tasks.KillRequest).GetSignal())
	assert.Equal(t, "web", seen[2].Request.(*containersapi.CreateContainerRequest).GetContainer().GetID())
	assert.Equal(t, []string{"Tasks", "Kill"}, []string{seen[0].Service, seen[0].Method})
}

func TestAFaultMayDelayARequestUntilItsCallerGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, giveUp := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	w.Inject(func(op containerdtest.Op) error {
		if op.String() == "Containers/Create" {
			giveUp()
			<-op.Context().Done()
			ended <- op.Context().Err()
		}
		return nil
	})
	err := (&world{w.Fake, t, w.plain, ctx}).put("web")
	require.ErrorIs(t, native(err), context.Canceled)
	require.Error(t, received(t, ended))
}

func TestACutConnectionLeavesTheCallerInDoubt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		after bool
	}{{"before", false}, {"after", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var once sync.Once
			w.Inject(func(op containerdtest.Op) (err error) {
				if op.String() == "Containers/Create" && op.After == c.after {
					once.Do(func() { err = containerdtest.ErrCutConnection })
				}
				return err
			})
			err := native(w.put("web"))
			assert.True(t, errdefs.IsUnavailable(err), "%v", err)
			require.Eventually(t, func() bool { _, err := w.plain.Version(w.ctx); return err == nil }, testLimit, pause,
				"the client connects again by itself")
			assert.Equal(t, c.after, w.has("web"))
		})
	}
}

func TestACutConnectionIsThatOfEveryClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	exit := w.awaited(task)
	_, errs := w.subscribe(`topic=="/tasks/exit"`)

	w.Inject(failing("Containers/Create", false, containerdtest.ErrCutConnection))
	require.Error(t, w.put("db"))
	status := received(t, exit)
	assert.True(t, errdefs.IsUnavailable(native(status.Error())), "%v", status.Error())
	assert.EqualValues(t, 255, status.ExitCode(), "that is no exit")
	require.Error(t, received(t, errs))
}

func TestStreamsAreFaultyToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ops := make(chan string, 100)
	w.Inject(func(op containerdtest.Op) error {
		if op.After { // of what the test has begun with
			return nil
		}
		ops <- fmt.Sprint(op, " ", op.Request, " ", op.Namespace)
		return errdefs.ErrResourceExhausted
	})
	walk := func() error {
		return w.plain.ContentStore().Walk(w.ctx, func(content.Info) error { return nil })
	}
	err := walk()
	assert.True(t, errdefs.IsResourceExhausted(err), "%v", err)
	assert.Equal(t, "Content/List <nil> default", <-ops)

	blob := "content"
	desc := ocispec.Descriptor{Digest: digest.FromString(blob), Size: int64(len(blob))}
	err = content.WriteBlob(w.ctx, w.plain.ContentStore(), "ref", strings.NewReader(blob), desc)
	require.Error(t, err)
	assert.Equal(t, "Content/Write <nil> default", <-ops)

	w.Inject(nil)
	require.NoError(t, walk())
	_, err = w.plain.ContentStore().Info(w.ctx, desc.Digest)
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
}
