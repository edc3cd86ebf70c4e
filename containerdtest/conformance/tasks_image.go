package conformance

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageVariant stores an image like the backend's with a changed configuration,
// and returns its name. The layers are the same.
func (e *env) imageVariant(change func(*ocispec.ImageConfig)) string {
	e.Helper()
	pulled, err := e.Service.PullImage(e.ctx, e.Image, nil)
	e.ok(err)
	store := e.Client.ContentStore()
	manifest, err := images.Manifest(e.raw, store, pulled.Target(), pulled.Platform())
	e.ok(err)
	text, err := content.ReadBlob(e.raw, store, manifest.Config)
	e.ok(err)
	var image ocispec.Image
	e.ok(json.Unmarshal(text, &image))
	change(&image.Config)

	ctx, done, err := e.Client.WithLease(e.raw)
	e.ok(err)
	write := func(desc ocispec.Descriptor, value any, labels map[string]string) ocispec.Descriptor {
		e.Helper()
		text, err := json.Marshal(value)
		e.ok(err)
		desc.Digest, desc.Size = digest.FromBytes(text), int64(len(text))
		e.ok(content.WriteBlob(ctx, store, desc.Digest.String(), bytes.NewReader(text), desc, content.WithLabels(labels)))
		return desc
	}
	manifest.Config = write(manifest.Config, image, nil)
	labels := map[string]string{"containerd.io/gc.ref.content.config": manifest.Config.Digest.String()}
	for i, layer := range manifest.Layers {
		labels["containerd.io/gc.ref.content.l."+strconv.Itoa(i)] = layer.Digest.String()
	}
	target := write(ocispec.Descriptor{MediaType: manifest.MediaType}, manifest, labels)
	if target.MediaType == "" {
		target.MediaType = ocispec.MediaTypeImageManifest
	}
	name := "conformance.invalid/" + e.id() + ":variant"
	_, err = e.Client.ImageService().Create(ctx, images.Image{Name: name, Target: target})
	e.ok(err)
	e.ok(done(ctx))
	return name
}
