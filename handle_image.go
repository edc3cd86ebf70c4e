package containerd

import (
	"context"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// scopedImage is an Image whose methods work with any context and act in the
// service's namespace. Methods that take no context are the embedded image's.
type scopedImage struct {
	containerd.Image
	scope scope
}

func (sc scope) image(image containerd.Image) containerd.Image {
	if image == nil {
		return nil
	}
	return &scopedImage{Image: image, scope: sc}
}

func (i *scopedImage) Unpack(ctx context.Context, snapshotter string, opts ...containerd.UnpackOpt) error {
	return i.Image.Unpack(i.scope.context(ctx), snapshotter, opts...)
}

func (i *scopedImage) RootFS(ctx context.Context) ([]digest.Digest, error) {
	return i.Image.RootFS(i.scope.context(ctx))
}

func (i *scopedImage) Size(ctx context.Context) (int64, error) {
	return i.Image.Size(i.scope.context(ctx))
}

func (i *scopedImage) Usage(ctx context.Context, opts ...containerd.UsageOpt) (int64, error) {
	return i.Image.Usage(i.scope.context(ctx), opts...)
}

func (i *scopedImage) Config(ctx context.Context) (ocispec.Descriptor, error) {
	return i.Image.Config(i.scope.context(ctx))
}

func (i *scopedImage) IsUnpacked(ctx context.Context, snapshotter string) (bool, error) {
	return i.Image.IsUnpacked(i.scope.context(ctx), snapshotter)
}

func (i *scopedImage) ContentStore() content.Store {
	return &scopedContent{Store: i.Image.ContentStore(), scope: i.scope}
}

func (i *scopedImage) Spec(ctx context.Context) (ocispec.Image, error) {
	return i.Image.Spec(i.scope.context(ctx))
}

// scopedContent is the content store that a scopedImage hands out.
type scopedContent struct {
	content.Store
	scope scope
}

func (c *scopedContent) Info(ctx context.Context, dgst digest.Digest) (content.Info, error) {
	return c.Store.Info(c.scope.context(ctx), dgst)
}

func (c *scopedContent) Update(ctx context.Context, info content.Info, fieldpaths ...string) (content.Info, error) {
	return c.Store.Update(c.scope.context(ctx), info, fieldpaths...)
}

func (c *scopedContent) Walk(ctx context.Context, fn content.WalkFunc, filters ...string) error {
	return c.Store.Walk(c.scope.context(ctx), fn, filters...)
}

func (c *scopedContent) Delete(ctx context.Context, dgst digest.Digest) error {
	return c.Store.Delete(c.scope.context(ctx), dgst)
}

func (c *scopedContent) ReaderAt(ctx context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	return c.Store.ReaderAt(c.scope.context(ctx), desc)
}

func (c *scopedContent) Status(ctx context.Context, ref string) (content.Status, error) {
	return c.Store.Status(c.scope.context(ctx), ref)
}

func (c *scopedContent) ListStatuses(ctx context.Context, filters ...string) ([]content.Status, error) {
	return c.Store.ListStatuses(c.scope.context(ctx), filters...)
}

func (c *scopedContent) Abort(ctx context.Context, ref string) error {
	return c.Store.Abort(c.scope.context(ctx), ref)
}

func (c *scopedContent) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	w, err := c.Store.Writer(c.scope.context(ctx), opts...)
	if err != nil {
		return nil, err
	}
	return &scopedWriter{Writer: w, scope: c.scope}, nil
}

// scopedWriter is the writer that a scopedContent hands out.
type scopedWriter struct {
	content.Writer
	scope scope
}

func (w *scopedWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	return w.Writer.Commit(w.scope.context(ctx), size, expected, opts...)
}
