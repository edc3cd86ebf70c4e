package containerdtest

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/containerd/plugin"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// differ is containerd's walking differ without mounts: it works in the
// directories themselves.
type differ struct{ store content.Store }

var (
	_ diff.Applier  = differ{}
	_ diff.Comparer = differ{}
)

func differPlugin() plugin.Registration {
	return plugin.Registration{
		Type:     plugins.DiffPlugin,
		ID:       "walking",
		Requires: []plugin.Type{plugins.MetadataPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			db, err := ic.GetSingle(plugins.MetadataPlugin)
			if err != nil {
				return nil, err
			}
			ic.Meta.Platforms = append(ic.Meta.Platforms, platforms.DefaultSpec())
			return differ{db.(*metadata.DB).ContentStore()}, nil
		},
	}
}

// Apply unpacks a layer. All files are the current user's, and devices are left
// out, so that nothing needs root.
func (d differ) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (_ ocispec.Descriptor, err error) {
	var none ocispec.Descriptor
	var config diff.ApplyConfig
	for _, opt := range opts {
		if err := opt(ctx, desc, &config); err != nil {
			return none, err
		}
	}
	dir, err := directory(mounts)
	if err != nil {
		return none, err
	}
	blob, err := d.store.ReaderAt(ctx, desc)
	if err != nil {
		return none, err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	layer, err := layerReader(ctx, desc.MediaType, io.NopCloser(content.NewReader(blob)), config)
	if err != nil {
		return none, err
	}
	defer func() { err = errors.Join(err, layer.Close()) }()

	digester := digest.Canonical.Digester()
	counter := &counter{r: io.TeeReader(layer, digester.Hash())}
	if _, err := archive.Apply(ctx, dir, counter, archive.WithNoSameOwner(), archive.WithFilter(forUser)); err != nil {
		return none, err
	}
	if _, err := io.Copy(io.Discard, counter); err != nil {
		return none, err
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: counter.n, Digest: digester.Digest()}, nil
}

// forUser leaves out devices, and attributes that only root can set, and lets
// the test's user at every file, as root in a container is let.
func forUser(h *tar.Header) (bool, error) {
	h.Mode |= int64(access(h.Typeflag == tar.TypeDir))
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "SCHILY.xattr.") && !strings.HasPrefix(key, "SCHILY.xattr.user.") {
			delete(h.PAXRecords, key)
		}
	}
	return h.Typeflag != tar.TypeBlock && h.Typeflag != tar.TypeChar, nil
}

// layerReader returns the archive inside a blob of any media type that
// containerd knows.
func layerReader(ctx context.Context, mediaType string, blob io.ReadCloser, config diff.ApplyConfig) (io.ReadCloser, error) {
	processor := diff.NewProcessorChain(mediaType, blob)
	for {
		next, err := diff.GetProcessor(ctx, processor, config.ProcessorPayloads)
		if err != nil {
			return nil, fmt.Errorf("no stream processor for %s: %w", mediaType, err)
		}
		if processor = next; processor.MediaType() == ocispec.MediaTypeImageLayer {
			return processor, nil
		}
	}
}

// directory returns the directory that mounts stand for.
func directory(mounts []mount.Mount) (string, error) {
	if len(mounts) != 1 || mounts[0].Type != "bind" {
		return "", fmt.Errorf("the fake takes one bind mount, not %v: %w", mounts, errdefs.ErrNotImplemented)
	}
	return mounts[0].Source, nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// Compare writes the difference of two directories as a layer.
func (d differ) Compare(ctx context.Context, lower, upper []mount.Mount, opts ...diff.Opt) (_ ocispec.Descriptor, err error) {
	var none ocispec.Descriptor
	config := diff.Config{MediaType: ocispec.MediaTypeImageLayerGzip}
	for _, opt := range opts {
		if err := opt(&config); err != nil {
			return none, err
		}
	}
	format := compression.Gzip
	switch config.MediaType {
	case ocispec.MediaTypeImageLayer:
		format = compression.Uncompressed
	case ocispec.MediaTypeImageLayerGzip:
	case ocispec.MediaTypeImageLayerZstd:
		format = compression.Zstd
	default:
		return none, fmt.Errorf("diff media type %q: %w", config.MediaType, errdefs.ErrNotImplemented)
	}
	from := ""
	if len(lower) > 0 {
		if from, err = directory(lower); err != nil {
			return none, err
		}
	}
	to, err := directory(upper)
	if err != nil {
		return none, err
	}
	return d.upload(ctx, config, format, func(w io.Writer) error { return archive.WriteDiff(ctx, w, from, to) })
}

// upload stores what write writes, compressed, as a blob.
func (d differ) upload(ctx context.Context, config diff.Config, format compression.Compression, write func(io.Writer) error) (_ ocispec.Descriptor, err error) {
	var none ocispec.Descriptor
	ref := config.Reference
	if ref == "" {
		ref = "diff-" + digest.FromString(fmt.Sprint(&config)).Encoded()
	}
	blob, err := content.OpenWriter(ctx, d.store, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{MediaType: config.MediaType}))
	if err != nil {
		return none, err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	compressed, err := compression.CompressStream(blob, format)
	if err != nil {
		return none, err
	}
	digester := digest.Canonical.Digester()
	if err := errors.Join(write(io.MultiWriter(compressed, digester.Hash())), compressed.Close()); err != nil {
		return none, err
	}
	labels := map[string]string{"containerd.io/uncompressed": digester.Digest().String()}
	for key, value := range config.Labels {
		labels[key] = value
	}
	dgst := blob.Digest()
	if err := blob.Commit(ctx, 0, dgst, content.WithLabels(labels)); err != nil && !errdefs.IsAlreadyExists(err) {
		return none, err
	}
	info, err := d.store.Info(ctx, dgst)
	if err != nil {
		return none, err
	}
	return ocispec.Descriptor{MediaType: config.MediaType, Size: info.Size, Digest: info.Digest}, nil
}
