package containerd

import (
	"context"
	"maps"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// handleCalls calls one method of a handle that the daemon refuses to answer.
type handleCalls[H any] map[string]func(ctx context.Context, h H) error

var containerCalls = handleCalls[containerd.Container]{
	"Info":   func(ctx context.Context, c containerd.Container) error { _, err := c.Info(ctx); return err },
	"Delete": func(ctx context.Context, c containerd.Container) error { return c.Delete(ctx) },
	"NewTask": func(ctx context.Context, c containerd.Container) error {
		_, err := c.NewTask(ctx, cio.NullIO)
		return err
	},
	"Spec":       func(ctx context.Context, c containerd.Container) error { _, err := c.Spec(ctx); return err },
	"Task":       func(ctx context.Context, c containerd.Container) error { _, err := c.Task(ctx, nil); return err },
	"Image":      func(ctx context.Context, c containerd.Container) error { _, err := c.Image(ctx); return err },
	"Labels":     func(ctx context.Context, c containerd.Container) error { _, err := c.Labels(ctx); return err },
	"SetLabels":  func(ctx context.Context, c containerd.Container) error { _, err := c.SetLabels(ctx, nil); return err },
	"Extensions": func(ctx context.Context, c containerd.Container) error { _, err := c.Extensions(ctx); return err },
	"Update":     func(ctx context.Context, c containerd.Container) error { return c.Update(ctx) },
	"Checkpoint": func(ctx context.Context, c containerd.Container) error { _, err := c.Checkpoint(ctx, "x"); return err },
	"Restore": func(ctx context.Context, c containerd.Container) error {
		_, err := c.Restore(ctx, cio.NullIO, "/nowhere")
		return err
	},
}

var processCalls = handleCalls[containerd.Process]{
	"Start":   func(ctx context.Context, p containerd.Process) error { return p.Start(ctx) },
	"Delete":  func(ctx context.Context, p containerd.Process) error { _, err := p.Delete(ctx); return err },
	"Kill":    func(ctx context.Context, p containerd.Process) error { return p.Kill(ctx, 15) },
	"CloseIO": func(ctx context.Context, p containerd.Process) error { return p.CloseIO(ctx) },
	"Resize":  func(ctx context.Context, p containerd.Process) error { return p.Resize(ctx, 80, 25) },
	"Status":  func(ctx context.Context, p containerd.Process) error { _, err := p.Status(ctx); return err },
	"Wait": func(ctx context.Context, p containerd.Process) error {
		exited, err := p.Wait(ctx)
		if err != nil {
			return err
		}
		status := <-exited
		return status.Error()
	},
}

var taskCalls = handleCalls[containerd.Task]{
	"Pause":  func(ctx context.Context, k containerd.Task) error { return k.Pause(ctx) },
	"Resume": func(ctx context.Context, k containerd.Task) error { return k.Resume(ctx) },
	"Exec": func(ctx context.Context, k containerd.Task) error {
		_, err := k.Exec(ctx, "x", &specs.Process{}, cio.NullIO)
		return err
	},
	"Pids":        func(ctx context.Context, k containerd.Task) error { _, err := k.Pids(ctx); return err },
	"Checkpoint":  func(ctx context.Context, k containerd.Task) error { _, err := k.Checkpoint(ctx); return err },
	"Update":      func(ctx context.Context, k containerd.Task) error { return k.Update(ctx) },
	"LoadProcess": func(ctx context.Context, k containerd.Task) error { _, err := k.LoadProcess(ctx, "x", nil); return err },
	"Metrics":     func(ctx context.Context, k containerd.Task) error { _, err := k.Metrics(ctx); return err },
	"Spec":        func(ctx context.Context, k containerd.Task) error { _, err := k.Spec(ctx); return err },
}

var imageCalls = handleCalls[containerd.Image]{
	"Unpack": func(ctx context.Context, i containerd.Image) error { return i.Unpack(ctx, testSnapshotter) },
	"RootFS": func(ctx context.Context, i containerd.Image) error { _, err := i.RootFS(ctx); return err },
	"Size":   func(ctx context.Context, i containerd.Image) error { _, err := i.Size(ctx); return err },
	"Usage":  func(ctx context.Context, i containerd.Image) error { _, err := i.Usage(ctx); return err },
	"Config": func(ctx context.Context, i containerd.Image) error { _, err := i.Config(ctx); return err },
	"IsUnpacked": func(ctx context.Context, i containerd.Image) error {
		_, err := i.IsUnpacked(ctx, testSnapshotter)
		return err
	},
	"Spec": func(ctx context.Context, i containerd.Image) error { _, err := i.Spec(ctx); return err },
}

var storeCalls = handleCalls[content.Store]{
	"Info": func(ctx context.Context, s content.Store) error {
		_, err := s.Info(ctx, digest.FromString("x"))
		return err
	},
	"Update": func(ctx context.Context, s content.Store) error { _, err := s.Update(ctx, content.Info{}); return err },
	"Walk":   func(ctx context.Context, s content.Store) error { return s.Walk(ctx, nil) },
	"Delete": func(ctx context.Context, s content.Store) error { return s.Delete(ctx, digest.FromString("x")) },
	"ReaderAt": func(ctx context.Context, s content.Store) error {
		_, err := s.ReaderAt(ctx, ocispec.Descriptor{})
		return err
	},
	"Status":       func(ctx context.Context, s content.Store) error { _, err := s.Status(ctx, "x"); return err },
	"ListStatuses": func(ctx context.Context, s content.Store) error { _, err := s.ListStatuses(ctx); return err },
	"Abort":        func(ctx context.Context, s content.Store) error { return s.Abort(ctx, "x") },
	"Writer": func(ctx context.Context, s content.Store) error {
		_, err := s.Writer(ctx, content.WithRef("x"))
		return err
	},
}

var writerCalls = handleCalls[content.Writer]{
	"Commit": func(ctx context.Context, w content.Writer) error { return w.Commit(ctx, 0, "") },
}

// declares says whether one of our types declares the method, so that it is
// not only promoted from containerd's value.
func declares(method string, types ...reflect.Type) bool {
	return slices.ContainsFunc(types, func(typ reflect.Type) bool {
		m, ok := typ.MethodByName(method)
		if !ok {
			return false
		}
		file, _ := runtime.FuncForPC(m.Func.Pointer()).FileLine(m.Func.Pointer())
		return strings.HasPrefix(filepath.Base(file), "handle_")
	})
}

// reaching lists the methods of a handle's interface that can make a request,
// and those that hand out something which can.
func reaching(handle reflect.Type) (requests, handles []string) {
	ctx := reflect.TypeFor[context.Context]()
	results := []reflect.Type{
		reflect.TypeFor[containerd.Image](), reflect.TypeFor[containerd.Container](), reflect.TypeFor[containerd.Task](),
		reflect.TypeFor[containerd.Process](), reflect.TypeFor[content.Store](), reflect.TypeFor[content.Writer](),
	}
	for m := range handle.Methods() {
		if slices.Contains(slices.Collect(m.Type.Ins()), ctx) {
			requests = append(requests, m.Name)
		} else if slices.ContainsFunc(slices.Collect(m.Type.Outs()), func(out reflect.Type) bool { return slices.Contains(results, out) }) {
			handles = append(handles, m.Name)
		}
	}
	return requests, handles
}

// A method that containerd adds to a handle has to be scoped and listed here.
func TestEveryMethodOfAHandleIsScoped(t *testing.T) {
	process := reflect.TypeFor[*scopedProcess]()
	require.False(t, declares("ID", process), "what is promoted can be told")
	keys := func(m ...[]string) []string { return slices.Sorted(slices.Values(slices.Concat(m...))) }
	for _, test := range []struct {
		handle reflect.Type
		ours   []reflect.Type
		called []string
	}{
		{reflect.TypeFor[containerd.Container](), []reflect.Type{reflect.TypeFor[*scopedContainer]()}, keys(slices.Collect(maps.Keys(containerCalls)))},
		{reflect.TypeFor[containerd.Process](), []reflect.Type{process}, keys(slices.Collect(maps.Keys(processCalls)))},
		{reflect.TypeFor[containerd.Task](), []reflect.Type{reflect.TypeFor[*scopedTask](), process}, keys(slices.Collect(maps.Keys(processCalls)), slices.Collect(maps.Keys(taskCalls)))},
		{reflect.TypeFor[containerd.Image](), []reflect.Type{reflect.TypeFor[*scopedImage]()}, keys(slices.Collect(maps.Keys(imageCalls)))},
		{reflect.TypeFor[content.Store](), []reflect.Type{reflect.TypeFor[*scopedContent]()}, keys(slices.Collect(maps.Keys(storeCalls)))},
		{reflect.TypeFor[content.Writer](), []reflect.Type{reflect.TypeFor[*scopedWriter]()}, keys(slices.Collect(maps.Keys(writerCalls)))},
	} {
		t.Run(test.handle.Name(), func(t *testing.T) {
			requests, handles := reaching(test.handle)
			for _, method := range append(requests, handles...) {
				assert.True(t, declares(method, test.ours...), "%s is containerd's own", method)
			}
			assert.Equal(t, slices.Sorted(slices.Values(requests)), test.called, "the methods that the tests call")
		})
	}
}

// checkCalls checks that a handle's calls reach the daemon in the service's
// namespace, whatever context they are made with.
func checkCalls[H any](t *testing.T, d *daemon, h H, calls handleCalls[H]) {
	t.Helper()
	for name, call := range calls {
		for what, ctx := range map[string]context.Context{
			"a bare context":      t.Context(),
			"another's namespace": namespaces.WithNamespace(t.Context(), "other"),
		} {
			d.Reset()
			err := call(ctx, h)
			require.Error(t, err, "%s with %s", name, what)
			require.NotEmpty(t, d.Calls(), "%s with %s: %v", name, what, err)
			for _, call := range d.Calls() {
				assert.Equal(t, testNamespace, call.Namespace, "%s with %s", name, what)
			}
		}
	}
}

func TestHandlesActInTheServicesNamespace(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	c, err := s.GetContainer(t.Context(), "web")
	require.NoError(t, err)
	task, err := s.GetTask(t.Context(), "web")
	require.NoError(t, err)
	exec, err := task.Exec(t.Context(), "exec", &specs.Process{}, cio.NullIO)
	require.NoError(t, err)
	image, err := s.GetImage(t.Context(), testImage)
	require.NoError(t, err)
	d.Inject(func(context.Context, callOf) error { return errdefs.ErrPermissionDenied })

	t.Run("container", func(t *testing.T) { checkCalls(t, d, c, containerCalls) })
	t.Run("task", func(t *testing.T) { checkCalls(t, d, task, taskCalls) })
	t.Run("task's process", func(t *testing.T) { checkCalls(t, d, containerd.Process(task), processCalls) })
	t.Run("exec", func(t *testing.T) { checkCalls(t, d, exec, processCalls) })
	t.Run("image", func(t *testing.T) { checkCalls(t, d, image, imageCalls) })
	t.Run("content store", func(t *testing.T) { checkCalls(t, d, image.ContentStore(), storeCalls) })
}
