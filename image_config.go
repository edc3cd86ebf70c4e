package containerd

import (
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// maxJSON is the largest manifest or configuration that is read.
	maxJSON = 8 << 20
	// cachedImages is how many images' configurations are remembered.
	cachedImages = 256
)

// imageInfo is what creating a container needs to know of an image. It follows
// from the image's digest, so it never changes.
type imageInfo struct {
	config  ocispec.ImageConfig
	chainID string // committed snapshot of all layers; "" for an image without layers

	mu       sync.Mutex
	resolved *specs.User // the configured user, once looked up in the image's files
}

// imageInfo reads and remembers the configuration of image for the client's
// platform. It returns a not-found error if its content is incomplete, and a
// failed-precondition error if it is for another platform.
func (s *DefaultService) imageInfo(ctx context.Context, image containerd.Image) (*imageInfo, error) {
	key := image.Target().Digest
	if info := s.images.get(key); info != nil {
		return info, nil
	}
	desc, err := image.Config(ctx)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", quoted(image.Name()), err)
	}
	config, err := readConfig(ctx, image.ContentStore(), desc, image.Platform())
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", quoted(image.Name()), err)
	}
	info := &imageInfo{
		config:  config.Config,
		chainID: identity.ChainID(config.RootFS.DiffIDs).String(),
	}
	s.images.put(key, info)
	return info, nil
}

// readConfig reads an image configuration and refuses one for another platform.
func readConfig(ctx context.Context, store content.Store, desc ocispec.Descriptor, want platforms.MatchComparer) (ocispec.Image, error) {
	var config ocispec.Image
	if err := readJSON(ctx, store, desc, &config); err != nil {
		return config, fmt.Errorf("configuration: %w", err)
	}
	if config.OS == "" && config.Architecture == "" {
		return config, nil // says nothing, so it contradicts nothing
	}
	if !want.Match(platforms.Normalize(config.Platform)) {
		return config, fmt.Errorf("configuration is for platform %s, want %s: %w",
			platforms.Format(config.Platform), platforms.DefaultString(), errdefs.ErrFailedPrecondition)
	}
	return config, nil
}

// readJSON decodes a stored blob of limited size. What a descriptor says of the
// size may be wrong.
func readJSON(ctx context.Context, store content.Store, desc ocispec.Descriptor, v any) error {
	blob, err := readBlob(ctx, store, desc)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(blob, v); err != nil {
		return fmt.Errorf("blob %s: %w: %w", desc.Digest, err, errdefs.ErrFailedPrecondition)
	}
	return nil
}

func readBlob(ctx context.Context, store content.Store, desc ocispec.Descriptor) (blob []byte, err error) {
	if desc.Size > maxJSON {
		return nil, oversized(desc, desc.Size)
	}
	reader, err := store.ReaderAt(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	if reader.Size() > maxJSON {
		return nil, oversized(desc, reader.Size())
	}
	return io.ReadAll(content.NewReader(reader))
}

func oversized(desc ocispec.Descriptor, size int64) error {
	return fmt.Errorf("blob %s has %d bytes, more than %d: %w", desc.Digest, size, maxJSON, errdefs.ErrFailedPrecondition)
}

// verifyPlatform wraps the handler of a pull: a configuration for another
// platform ends the pull before anything is unpacked.
func verifyPlatform(store content.Store, want platforms.MatchComparer) func(images.Handler) images.Handler {
	return func(next images.Handler) images.Handler {
		return images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
			children, err := next.Handle(ctx, desc)
			if err != nil || !images.IsConfigType(desc.MediaType) {
				return children, err
			}
			_, err = readConfig(ctx, store, desc, want)
			return children, err
		})
	}
}

// imageCache remembers the images that were used last.
type imageCache struct {
	mu      sync.Mutex
	order   list.List // of *cachedImage, the last used first
	entries map[digest.Digest]*list.Element
}

type cachedImage struct {
	digest digest.Digest
	info   *imageInfo
}

func (c *imageCache) get(key digest.Digest) *imageInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cachedImage).info
}

func (c *imageCache) put(key digest.Digest, info *imageInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[digest.Digest]*list.Element)
	}
	if c.entries[key] != nil {
		return
	}
	c.entries[key] = c.order.PushFront(&cachedImage{key, info})
	if c.order.Len() > cachedImages {
		oldest := c.order.Remove(c.order.Back()).(*cachedImage)
		delete(c.entries, oldest.digest)
	}
}
