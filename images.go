package containerd

import (
	"context"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd/internal/filter"
	"github.com/ctrdkit/containerd/internal/imageref"
)

// PullImageOptions says what [Service.PullImage] does with what it fetched:
// nil unpacks into the default snapshotter, and with options Unpack says
// whether to. The zero value only fetches.
type PullImageOptions struct {
	// Unpack makes the image's layers into snapshots, so that containers start at once.
	Unpack bool
	// Snapshotter is where Unpack puts them; "" means the namespace's default.
	Snapshotter string
}

// DeleteImageOptions says how [Service.DeleteImage] ends. nil and the zero
// value are the same.
type DeleteImageOptions struct {
	// Synchronous returns only after the garbage collection that removes the
	// image's content. The default leaves it to the daemon's schedule.
	Synchronous bool
}

// PullImage fetches the image ref for the client's platform, and unpacks it as
// opts say. A tag is resolved at the registry every time; a complete digest
// reference whose content is present costs no request there, and content that
// is present is not fetched again.
//
// It returns an invalid-argument error for a reference that is not valid, a
// not-found error if the registry does not have it, unauthenticated,
// permission-denied, resource-exhausted or unavailable errors for what the
// registry answers, and a failed-precondition error for content of the wrong
// digest or size and for an image of another platform. Cancelling ctx stops
// the pull; what was fetched by then is left to garbage collection, and an
// image that was stored under the name stays what it was.
func (s *DefaultService) PullImage(ctx context.Context, ref string, opts *PullImageOptions) (containerd.Image, error) {
	const op = "pull image"
	if opts == nil {
		opts = &PullImageOptions{Unpack: true}
	}
	name, err := pullableName("ref", ref)
	if err == nil {
		err = checkOptional("Snapshotter", opts.Snapshotter)
	}
	if err != nil {
		return nil, opError(ctx, op, ref, err)
	}
	ctx, err = s.begin(ctx)
	if err != nil {
		return nil, opError(ctx, op, ref, err)
	}
	image, err := s.pull(ctx, name, *opts)
	if err != nil {
		return nil, opError(ctx, op, ref, err)
	}
	return s.scope().image(image), nil
}

// GetImage returns the stored image ref. It returns a not-found error if there
// is none; it never asks a registry. ref may also be a stored name that is no
// valid reference.
func (s *DefaultService) GetImage(ctx context.Context, ref string) (containerd.Image, error) {
	const op = "get image"
	if err := checkText("ref", ref); err != nil {
		return nil, opError(ctx, op, ref, err)
	}
	ctx, err := s.begin(ctx)
	if err != nil {
		return nil, opError(ctx, op, ref, err)
	}
	image, err := s.findImage(ctx, ref)
	if err != nil {
		return nil, opError(ctx, op, ref, err)
	}
	return s.scope().image(image), nil
}

// ListImages returns all images of the namespace, in no particular order.
func (s *DefaultService) ListImages(ctx context.Context) ([]containerd.Image, error) {
	const op = "list images"
	ctx, err := s.begin(ctx)
	if err != nil {
		return nil, opError(ctx, op, "", err)
	}
	list, err := s.client.ListImages(ctx)
	if err != nil {
		return nil, opError(ctx, op, "", err)
	}
	for i, image := range list {
		list[i] = s.scope().image(image)
	}
	return list, nil
}

// DeleteImage removes the stored image ref. Its content and layers go with the
// next garbage collection unless something else refers to them; containers
// made from it are not affected. It returns a not-found error if there is no
// such image.
func (s *DefaultService) DeleteImage(ctx context.Context, ref string, opts *DeleteImageOptions) error {
	const op = "delete image"
	if err := checkText("ref", ref); err != nil {
		return opError(ctx, op, ref, err)
	}
	ctx, err := s.begin(ctx)
	if err != nil {
		return opError(ctx, op, ref, err)
	}
	var deleteOpts []images.DeleteOpt
	if opts != nil && opts.Synchronous {
		deleteOpts = append(deleteOpts, images.SynchronousDelete())
	}
	for _, name := range storedNames(ref) {
		err = s.client.ImageService().Delete(ctx, name, deleteOpts...)
		if !errdefs.IsNotFound(err) {
			break
		}
	}
	return opError(ctx, op, ref, err)
}

// findImage looks ref up under its own name and the canonical one, in one request.
func (s *DefaultService) findImage(ctx context.Context, ref string) (containerd.Image, error) {
	names := storedNames(ref)
	if len(names) == 1 {
		return s.client.GetImage(ctx, names[0])
	}
	list, err := s.client.ListImages(ctx, filter.NameIn(names...)...)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		for _, image := range list {
			if image.Name() == name {
				return image, nil
			}
		}
	}
	return nil, fmt.Errorf("image %s: %w", quoted(ref), errdefs.ErrNotFound)
}

// storedNames returns the names under which ref may be stored, the best first.
func storedNames(ref string) []string {
	if name, err := imageref.Normalize(ref); err == nil && name != ref {
		return []string{ref, name}
	}
	return []string{ref}
}

// pullableName returns the canonical form of a reference that a registry can be asked for.
func pullableName(field, ref string) (string, error) {
	if err := checkText(field, ref); err != nil {
		return "", err
	}
	name, err := imageref.Normalize(ref)
	if err != nil {
		return "", fmt.Errorf("%s: %w", field, err)
	}
	return name, nil
}
