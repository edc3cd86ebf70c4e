package conformance

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pull makes sure that the backend's image is there and unpacked, and returns
// the plain client's view of it.
func (e *env) pull() client.Image {
	e.Helper()
	_, err := e.Service.PullImage(e.ctx, e.Image, nil)
	e.ok(err)
	image, err := e.Client.GetImage(e.raw, e.Image)
	e.ok(err)
	return image
}

// hasImage asks the daemon for a record of exactly that name.
func (e *env) hasImage(name string) bool {
	e.Helper()
	_, err := e.Client.ImageService().Get(e.raw, name)
	if err != nil && !errdefs.IsNotFound(err) {
		e.ok(err)
	}
	return err == nil
}

// hasContent asks the daemon for a blob.
func (e *env) hasContent(dgst digest.Digest) bool {
	e.Helper()
	_, err := e.Client.ContentStore().Info(e.raw, dgst)
	if err != nil && !errdefs.IsNotFound(err) {
		e.ok(err)
	}
	return err == nil
}

// unpacked asks the daemon whether the image's layers are in a snapshotter.
func (e *env) unpacked(name, snapshotter string) bool {
	e.Helper()
	image, err := e.Client.GetImage(e.raw, name)
	e.ok(err)
	ok, err := image.IsUnpacked(e.raw, snapshotter)
	e.ok(err)
	return ok
}

// tagImage stores an image record with the plain client.
func (e *env) tagImage(name string, target ocispec.Descriptor) {
	e.Helper()
	_, err := e.Client.ImageService().Create(e.raw, images.Image{Name: name, Target: target})
	e.ok(err)
}

// made describes an image that a case writes into the content store itself.
type made struct {
	name     string // "" means one at a registry that does not answer
	config   ocispec.ImageConfig
	platform ocispec.Platform  // zero means this machine's
	claims   *ocispec.Platform // what an index says about the image, nil for no index
	files    []tar.Header      // of its only layer, none for an image without layers
	urls     []string          // of its layer's descriptor; the layer is then not stored
}

// makeImage stores the image with the plain client and returns its name and target.
func (e *env) makeImage(m made) (name string, target ocispec.Descriptor) {
	e.Helper()
	if m.name == "" {
		m.name = unreachable(e.id())
	}
	if m.platform.OS == "" {
		m.platform = platforms.DefaultSpec()
	}
	ctx, done, err := e.Client.WithLease(e.raw)
	e.ok(err)
	defer func() { e.ok(done(e.raw)) }()

	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	config := ocispec.Image{Platform: m.platform, Config: m.config, RootFS: ocispec.RootFS{Type: "layers"}}
	refs := map[string]string{}
	if len(m.files) > 0 {
		layer := e.archive(m.files)
		desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(layer), Size: int64(len(layer)), URLs: m.urls}
		if len(m.urls) == 0 {
			e.writeBlob(ctx, desc, layer, nil)
		}
		manifest.Layers = []ocispec.Descriptor{desc}
		config.RootFS.DiffIDs = []digest.Digest{desc.Digest}
		refs["containerd.io/gc.ref.content.l.0"] = desc.Digest.String()
	}
	manifest.Config = e.writeJSON(ctx, ocispec.MediaTypeImageConfig, config, nil)
	refs["containerd.io/gc.ref.content.config"] = manifest.Config.Digest.String()
	target = e.writeJSON(ctx, ocispec.MediaTypeImageManifest, manifest, refs)
	if m.claims != nil {
		child := target
		child.Platform = m.claims
		index := ocispec.Index{Versioned: manifest.Versioned, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{child}}
		target = e.writeJSON(ctx, index.MediaType, index, map[string]string{"containerd.io/gc.ref.content.m.0": child.Digest.String()})
	}
	e.tagImage(m.name, target)
	return m.name, target
}

func (e *env) writeJSON(ctx context.Context, mediaType string, v any, labels map[string]string) ocispec.Descriptor {
	e.Helper()
	blob, err := json.Marshal(v)
	e.ok(err)
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	e.writeBlob(ctx, desc, blob, labels)
	return desc
}

func (e *env) writeBlob(ctx context.Context, desc ocispec.Descriptor, blob []byte, labels map[string]string) {
	e.Helper()
	ref := fmt.Sprintf("made-%s-%s", e.id(), desc.Digest)
	e.ok(content.WriteBlob(ctx, e.Client.ContentStore(), ref, bytes.NewReader(blob), desc, content.WithLabels(labels)))
}

// archive writes empty files of every kind as a layer. A regular file's
// content is its Linkname, which has no other meaning for one.
func (e *env) archive(files []tar.Header) []byte {
	e.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range files {
		text := ""
		if h.Typeflag == tar.TypeReg {
			text, h.Linkname = h.Linkname, ""
		}
		h.Size = int64(len(text))
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		e.ok(w.WriteHeader(&h))
		_, err := w.Write([]byte(text))
		e.ok(err)
	}
	e.ok(w.Close())
	return buf.Bytes()
}
