package conformance

import (
	"bytes"
	"context"
	"slices"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctrdkit/containerd"
)

// handleContexts are what a handle must work with.
func handleContexts() []context.Context {
	return []context.Context{context.Background(), namespaces.WithNamespace(context.Background(), "conformance-elsewhere")}
}

// imageHandleCases use images from every method that hands one out.
var imageHandleCases = []testCase{
	{name: "an image's handle from PullImage works with a bare context", run: func(e *env) {
		image, err := e.Service.PullImage(e.ctx, e.Image, nil)
		e.ok(err)
		e.useImage(image)
	}},
	{name: "an image's handle from GetImage works with a bare context", run: func(e *env) {
		e.pull()
		image, err := e.Service.GetImage(e.ctx, e.Image)
		e.ok(err)
		e.useImage(image)
	}},
	{name: "an image's handle from ListImages works with a bare context", run: func(e *env) {
		e.pull()
		list, err := e.Service.ListImages(e.ctx)
		e.ok(err)
		e.useImage(list[0])
	}},
	{name: "an image's handle from a container works with a bare context", run: func(e *env) {
		c, err := e.Service.GetContainer(e.ctx, e.create())
		e.ok(err)
		for _, ctx := range handleContexts() {
			image, err := c.Image(ctx)
			e.ok(err)
			e.useImage(image)
		}
	}},
	{name: "an image's handle unpacks in the service's namespace", run: func(e *env) {
		image, err := e.Service.PullImage(e.ctx, e.Image, &containerd.PullImageOptions{})
		e.ok(err)
		e.ok(image.Unpack(context.Background(), e.Snapshotter))
		e.want(e.unpacked(e.Image, e.Snapshotter), "the image is not unpacked")
		e.collect()
	}},
}

// useImage calls every method of an image that asks the daemon.
func (e *env) useImage(image client.Image) {
	e.Helper()
	plain, err := e.Client.GetImage(e.raw, e.Image)
	e.ok(err)
	e.want(image.Name() == e.Image && image.Target().Digest == plain.Target().Digest, "got %s of %s", image.Name(), image.Target().Digest)
	want, err := plain.RootFS(e.raw)
	e.ok(err)
	for _, ctx := range handleContexts() {
		got, err := image.RootFS(ctx)
		e.ok(err)
		e.want(slices.Equal(got, want), "got layers %v, want %v", got, want)
		size, err := image.Size(ctx)
		e.ok(err)
		e.want(size > 0, "got size %d", size)
		_, err = image.Usage(ctx)
		e.ok(err)
		desc, err := image.Config(ctx)
		e.ok(err)
		spec, err := image.Spec(ctx)
		e.ok(err)
		e.want(desc.Size > 0 && spec.OS != "", "got configuration %v", spec)
		unpacked, err := image.IsUnpacked(ctx, e.Snapshotter)
		e.ok(err)
		e.want(unpacked, "the image is not unpacked")
		info, err := image.ContentStore().Info(ctx, desc.Digest)
		e.ok(err)
		e.want(info.Size == desc.Size, "got %d bytes, want %d", info.Size, desc.Size)
	}
}

// contentHandleCases use the content store that an image hands out.
var contentHandleCases = []testCase{
	{name: "a content store's handle reads, walks and updates in the service's namespace", run: func(e *env) {
		e.pull()
		image, err := e.Service.GetImage(e.ctx, e.Image)
		e.ok(err)
		store := image.ContentStore()
		for _, ctx := range handleContexts() {
			blob, err := content.ReadBlob(ctx, store, image.Target())
			e.ok(err)
			e.want(digest.FromBytes(blob) == image.Target().Digest, "read %d other bytes", len(blob))
			seen := 0
			e.ok(store.Walk(ctx, func(content.Info) error { seen++; return nil }))
			e.want(seen > 2, "walked over %d blobs", seen)
			info := content.Info{Digest: image.Target().Digest, Labels: map[string]string{"conformance": "yes"}}
			_, err = store.Update(ctx, info, "labels.conformance")
			e.ok(err)
		}
		info, err := e.Client.ContentStore().Info(e.raw, image.Target().Digest)
		e.ok(err)
		e.want(info.Labels["conformance"] == "yes", "the update went elsewhere")
	}},
	{name: "a content store's handle writes, aborts and deletes in the service's namespace", run: writeContent},
}

func writeContent(e *env) {
	e.pull()
	image, err := e.Service.GetImage(e.ctx, e.Image)
	e.ok(err)
	store := image.ContentStore()
	for _, ctx := range handleContexts() {
		blob := []byte(e.id())
		desc := ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}
		e.ok(content.WriteBlob(ctx, store, e.id(), bytes.NewReader(blob), desc,
			content.WithLabels(map[string]string{"containerd.io/gc.root": "now"})))
		e.want(e.hasContent(desc.Digest), "the blob is not in the service's namespace")
		e.ok(store.Delete(ctx, desc.Digest))
		e.want(!e.hasContent(desc.Digest), "the blob is still there")

		ref := e.id()
		w, err := store.Writer(ctx, content.WithRef(ref))
		e.ok(err)
		_, err = w.Write(blob)
		e.ok(err)
		e.ok(w.Close())
		status, err := store.Status(ctx, ref)
		e.ok(err)
		e.want(status.Offset == desc.Size, "got offset %d", status.Offset)
		all, err := store.ListStatuses(ctx)
		e.ok(err)
		e.want(len(all) == 1, "got %d writes", len(all))
		// A writer's Close does not wait until the daemon has closed the write, and
		// what the daemon then still writes gets in the way of an abort.
		e.until(func() bool {
			err = store.Abort(ctx, ref)
			return err == nil || errdefs.IsNotFound(err)
		})
		e.ok(err)
		_, err = e.Client.ContentStore().Status(e.raw, ref)
		e.want(errdefs.IsNotFound(err), "the write is still there: %v", err)
	}
}

// containerHandleCases use containers from every method that hands one out.
var containerHandleCases = []testCase{
	{name: "a container's handle from CreateContainer works with a bare context", run: func(e *env) {
		c, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: e.id(), ImageRef: e.Image})
		e.ok(err)
		e.useContainer(c)
	}},
	{name: "a container's handle from CreateContainerFromSnapshot works with a bare context", run: func(e *env) {
		c, err := e.Service.CreateContainerFromSnapshot(e.ctx, containerd.CreateContainerRequest{ID: e.id(), ImageRef: e.Image, SnapshotID: e.prepared()})
		e.ok(err)
		e.useContainer(c)
	}},
	{name: "a container's handle from GetContainer works with a bare context", run: func(e *env) {
		c, err := e.Service.GetContainer(e.ctx, e.create())
		e.ok(err)
		e.useContainer(c)
	}},
	{name: "a container's handle from ListContainers works with a bare context", run: func(e *env) {
		e.create()
		list, err := e.Service.ListContainers(e.ctx)
		e.ok(err)
		e.useContainer(list[0])
	}},
	{name: "a container's handle from ListContainersByLabel works with a bare context", run: func(e *env) {
		e.createWith(containerd.CreateContainerRequest{Labels: map[string]string{"a": "b"}})
		list, err := e.Service.ListContainersByLabel(e.ctx, "a", "")
		e.ok(err)
		e.useContainer(list[0])
	}},
	{name: "a container's handle deletes in the service's namespace", run: func(e *env) {
		for _, ctx := range handleContexts() {
			id := e.create()
			c, err := e.Service.GetContainer(e.ctx, id)
			e.ok(err)
			e.ok(c.Delete(ctx, client.WithSnapshotCleanup))
			e.wantGone(id)
		}
	}},
	{name: "a container's handle keeps containerd's own errors", run: func(e *env) {
		id := e.create()
		c, err := e.Service.GetContainer(e.ctx, id)
		e.ok(err)
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		_, err = c.Info(context.Background())
		e.want(errdefs.IsNotFound(err), "got %v", err)
	}},
}

// useContainer calls every method of a container that asks the daemon.
func (e *env) useContainer(c client.Container) {
	e.Helper()
	for i, ctx := range handleContexts() {
		info, err := c.Info(ctx)
		e.ok(err)
		e.want(info.ID == c.ID() && info.Image == e.Image, "got %+v", info)
		spec, err := c.Spec(ctx)
		e.ok(err)
		e.want(spec.Process != nil, "got no process")
		_, err = c.Extensions(ctx)
		e.ok(err)
		value := []string{"first", "second"}[i]
		_, err = c.SetLabels(ctx, map[string]string{"set": value})
		e.ok(err)
		labels, err := c.Labels(ctx)
		e.ok(err)
		e.want(labels["set"] == value, "got labels %v", labels)
		e.ok(c.Update(ctx, func(_ context.Context, _ *client.Client, record *containers.Container) error {
			record.Labels["updated"] = value
			return nil
		}))
		stored := e.record(c.ID()).Labels
		e.want(stored["set"] == value && stored["updated"] == value, "labels went elsewhere: %v", stored)
		_, err = c.Task(ctx, nil)
		e.want(errdefs.IsNotFound(err), "got %v for a task that is not there", err)
	}
}
