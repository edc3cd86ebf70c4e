package containerd

import (
	"context"
	"errors"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestContainerHandsOutScopedHandles(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	c, err := s.GetContainer(t.Context(), "web")
	require.NoError(t, err)

	task, err := c.Task(t.Context(), nil)
	require.NoError(t, err)
	assert.IsType(t, &scopedTask{}, task)
	image, err := c.Image(t.Context())
	require.NoError(t, err)
	assert.IsType(t, &scopedImage{}, image)
	idle, err := s.GetContainer(t.Context(), "idle")
	require.NoError(t, err)
	made, err := idle.NewTask(t.Context(), cio.NullIO)
	require.NoError(t, err)
	assert.IsType(t, &scopedTask{}, made)
	labels, err := c.Labels(t.Context())
	require.NoError(t, err)
	assert.Empty(t, labels)
	spec, err := c.Spec(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"/app"}, spec.Process.Args)
}

func TestTaskHandsOutScopedHandles(t *testing.T) {
	d := newDaemon(t)
	task, err := d.service().GetTask(t.Context(), "web")
	require.NoError(t, err)

	made, err := task.Exec(t.Context(), "exec", &specs.Process{}, cio.NullIO)
	require.NoError(t, err)
	assert.IsType(t, &scopedProcess{}, made)
	loaded, err := task.LoadProcess(t.Context(), "exec", nil)
	require.NoError(t, err)
	assert.IsType(t, &scopedProcess{}, loaded)
	spec, err := task.Spec(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"/app"}, spec.Process.Args)
}

func TestListsAreOfScopedHandles(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	all, err := s.ListContainers(t.Context())
	require.NoError(t, err)
	byLabel, err := s.ListContainersByLabel(t.Context(), "a", "")
	require.NoError(t, err)
	require.Len(t, all, 3)
	for _, c := range append(all, byLabel...) {
		assert.IsType(t, &scopedContainer{}, c)
	}
	images, err := s.ListImages(t.Context())
	require.NoError(t, err)
	require.Len(t, images, 1)
	assert.IsType(t, &scopedImage{}, images[0])
}

func TestErrorsOfHandlesAreContainerdsOwn(t *testing.T) {
	d := newDaemon(t)
	c, err := d.service().GetContainer(t.Context(), "idle")
	require.NoError(t, err)

	_, err = c.Task(t.Context(), nil)

	assert.True(t, errdefs.IsNotFound(err), "%v", err)
	_, ours := errors.AsType[*Error](err)
	assert.False(t, ours)
}

// noted notes the namespace that a method acts in.
type noted struct{ namespace string }

func (n *noted) note(ctx context.Context) error {
	namespace, err := namespaces.NamespaceRequired(ctx)
	n.namespace = namespace
	return err
}

type notedTask struct {
	containerd.Task
	*noted
	image containerd.Image
}

func (k notedTask) Checkpoint(ctx context.Context, _ ...containerd.CheckpointTaskOpts) (containerd.Image, error) {
	return k.image, k.note(ctx)
}

type notedContainer struct {
	containerd.Container
	*noted
	image containerd.Image
}

func (c notedContainer) Checkpoint(ctx context.Context, _ string, _ ...containerd.CheckpointOpts) (containerd.Image, error) {
	return c.image, c.note(ctx)
}

type notedStore struct {
	content.Store
	*noted
}

func (s notedStore) Writer(ctx context.Context, _ ...content.WriterOpt) (content.Writer, error) {
	return notedWriter{noted: s.noted}, s.note(ctx)
}

type notedWriter struct {
	content.Writer
	*noted
}

func (w notedWriter) Commit(ctx context.Context, _ int64, _ digest.Digest, _ ...content.Opt) error {
	return w.note(ctx)
}

type notedImage struct {
	containerd.Image
	*noted
}

func (i notedImage) ContentStore() content.Store { return notedStore{noted: i.noted} }

func TestCheckpointsAreScopedImages(t *testing.T) {
	sc, n := scope{testNamespace}, &noted{}
	for what, image := range map[string]containerd.Image{"an image": notedImage{}, "nothing": nil} {
		fromTask, err := sc.task(notedTask{noted: n, image: image}).Checkpoint(t.Context())
		require.NoError(t, err)
		assert.Equal(t, testNamespace, n.namespace)
		*n = noted{}
		fromContainer, err := sc.container(notedContainer{noted: n, image: image}).Checkpoint(t.Context(), "x")
		require.NoError(t, err)
		assert.Equal(t, testNamespace, n.namespace)
		for _, made := range []containerd.Image{fromTask, fromContainer} {
			if image == nil {
				assert.Nil(t, made, what)
			} else {
				assert.IsType(t, &scopedImage{}, made, what)
			}
		}
	}
}

func TestWritersOfAnImagesStoreAreScoped(t *testing.T) {
	n := &noted{}
	image := scope{testNamespace}.image(notedImage{noted: n})

	w, err := image.ContentStore().Writer(t.Context())
	require.NoError(t, err)
	assert.Equal(t, testNamespace, n.namespace)
	*n = noted{}
	require.NoError(t, w.Commit(t.Context(), 0, ""))
	assert.Equal(t, testNamespace, n.namespace)
}
