package containerd

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"golang.org/x/sync/semaphore"
)

// pull fetches the image of a canonical name and stores it under that name.
func (s *DefaultService) pull(ctx context.Context, name string, opts PullImageOptions) (_ containerd.Image, err error) {
	lasting, cancel := outlive(ctx)
	defer cancel()
	u := &undo{}
	defer func() {
		if err != nil {
			err = s.takeBack(lasting, "image "+name, u, err)
		}
	}()
	lease, err := s.hold(lasting, "pull image", name, u)
	if err != nil {
		return nil, err
	}
	stop := lease.keep()
	image, err := s.fetch(lease.until(ctx), name, opts)
	stop()
	if err != nil {
		return nil, err
	}
	lease.release()
	return image, nil
}

func (s *DefaultService) fetch(ctx context.Context, name string, opts PullImageOptions) (containerd.Image, error) {
	store := s.client.ContentStore()
	var snapshotter string
	remoteOpts := []containerd.RemoteOpt{
		containerd.WithResolver(&pullResolver{
			Resolver: s.registry.get(s.config.resolver),
			content:  store,
			foreign:  s.config.foreignContent,
		}),
		containerd.WithImageHandlerWrapper(verifyPlatform(store, s.platform())),
	}
	if opts.Unpack {
		var err error
		if snapshotter, err = s.snapshotter(ctx, opts.Snapshotter); err != nil {
			return nil, err
		}
		remoteOpts = append(remoteOpts,
			containerd.WithPullUnpack,
			containerd.WithPullSnapshotter(snapshotter),
			containerd.WithUnpackOpts(s.unpackOpts(ctx, snapshotter)),
		)
	}
	client, err := s.derive(s.client.ContainerService(), wholeImages{s.client.ImageService()}, snapshotter)
	if err != nil {
		return nil, err
	}
	image, err := client.Pull(ctx, name, remoteOpts...)
	if err != nil {
		return nil, err
	}
	return containerd.NewImageWithPlatform(s.client, image.Metadata(), image.Platform()), nil
}

// wholeImages stores images by requests that are not cut short when a pull's
// context ends: a daemon that has one would store the image later, when nothing
// holds its content any more.
type wholeImages struct{ images.Store }

func (w wholeImages) Create(ctx context.Context, image images.Image) (images.Image, error) {
	return whole(ctx, func(ctx context.Context) (images.Image, error) { return w.Store.Create(ctx, image) })
}

func (w wholeImages) Update(ctx context.Context, image images.Image, fieldpaths ...string) (images.Image, error) {
	return whole(ctx, func(ctx context.Context) (images.Image, error) {
		return w.Store.Update(ctx, image, fieldpaths...)
	})
}

func whole(ctx context.Context, store func(context.Context) (images.Image, error)) (images.Image, error) {
	if err := ctx.Err(); err != nil {
		return images.Image{}, err
	}
	lasting, cancel := outlive(ctx)
	defer cancel()
	return store(lasting)
}

// unpackOpts lets as many layers be unpacked at once as there are processors,
// where the snapshotter can. For one that can't, containerd's client would write
// that to this process's log.
func (s *DefaultService) unpackOpts(ctx context.Context, snapshotter string) []containerd.UnpackOpt {
	if !s.rebases.has(ctx, s.client, snapshotter) {
		return nil
	}
	return []containerd.UnpackOpt{
		containerd.WithUnpackLimiter(semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0)))),
	}
}

// rebaseSupport remembers which snapshotters can stack a layer on its parent
// after it was unpacked.
type rebaseSupport struct {
	mu    sync.Mutex
	known map[string]bool
}

// has asks once per snapshotter. An answer that fails is no reason for a pull to.
func (r *rebaseSupport) has(ctx context.Context, client *containerd.Client, snapshotter string) bool {
	r.mu.Lock()
	supported, known := r.known[snapshotter]
	r.mu.Unlock()
	if known {
		return supported
	}
	capabilities, err := client.GetSnapshotterCapabilities(ctx, snapshotter)
	if err != nil {
		return false
	}
	supported = slices.Contains(capabilities, snapshots.RebaseCap)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = make(map[string]bool)
	}
	r.known[snapshotter] = supported
	return supported
}

// platform is the client's platform, which only an image tells.
func (s *DefaultService) platform() platforms.MatchComparer {
	return containerd.NewImage(s.client, images.Image{}).Platform()
}

// ensureImage returns the image ref with its configuration, and pulls it into
// snapshotter when it, or content of this platform, is absent.
func (s *DefaultService) ensureImage(ctx context.Context, ref, name, snapshotter string) (containerd.Image, *imageInfo, error) {
	image, err := s.findImage(ctx, ref)
	if err == nil {
		info, err := s.imageInfo(ctx, image)
		if !errdefs.IsNotFound(err) {
			return image, info, err
		}
	} else if !errdefs.IsNotFound(native(err)) {
		return nil, nil, err
	}
	image, err = s.pull(ctx, name, PullImageOptions{Unpack: true, Snapshotter: snapshotter})
	if err != nil {
		return nil, nil, fmt.Errorf("pulling %s: %w", quoted(name), err)
	}
	info, err := s.imageInfo(ctx, image)
	return image, info, err
}

// unpack makes the image's layers into snapshots, and fetches those that are
// not there.
func (s *DefaultService) unpack(ctx context.Context, image containerd.Image, name, snapshotter string) error {
	err := image.Unpack(ctx, snapshotter, s.unpackOpts(ctx, snapshotter)...)
	if errdefs.IsNotFound(native(err)) {
		_, err = s.fetch(ctx, name, PullImageOptions{Unpack: true, Snapshotter: snapshotter})
	}
	return err
}
