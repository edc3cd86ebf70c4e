package broken_test

import (
	"context"
	"strings"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

var imageBugs = []bug{
	{
		name:    "GetImage takes an image whose name ends like the reference",
		service: func(b broken) containerd.Service { return suffixMatches{b} },
		caught:  []string{"images/images: a name is never satisfied by one that ends like it"},
		says:    "no error",
		works:   []string{"images/GetImage: every form of a name finds the image stored under the canonical one"},
	},
	{
		name:    "GetImage asks for exactly the given name only",
		service: func(b broken) containerd.Service { return literalName{b} },
		caught:  []string{"images/GetImage: every form of a name finds the image stored under the canonical one"},
		says:    "not found",
		works:   []string{"images/GetImage: an image stored under exactly the given name wins"},
	},
	{
		name:    "GetImage pulls what is not stored",
		service: func(b broken) containerd.Service { return pullsToGet{b} },
		caught:  []string{"images/GetImage: an absent image is not pulled"},
		says:    "no error",
		may:     []string{"images/images: a name is never satisfied by one that ends like it"},
		works:   []string{"images/GetImage: an image stored under exactly the given name wins"},
	},
	{
		name:    "PullImage deletes its lease on the caller's context",
		service: func(b broken) containerd.Service { return leaksLease{b} },
		caught:  []string{"images/PullImage: a context that is cancelled during the unpacking leaves no lease, and the next pull works"},
		says:    "leases are left",
		works:   []string{"images/PullImage: Snapshotter says where Unpack puts the layers"},
		timing:  true,
	},
	{
		name:    "PullImage takes nil options for the zero value",
		service: func(b broken) containerd.Service { return nilPullsOnly{b} },
		caught: []string{
			"all methods/PullImageOptions: nil unpacks, the zero value does not",
			"images/PullImage: nil options store the image and unpack it into the default snapshotter",
		},
		says:  "nil options did not unpack the image",
		may:   []string{"containers/", "snapshots/", "all methods/"},
		works: []string{"images/PullImage: without Unpack the content is fetched and nothing is unpacked"},
	},
}

type suffixMatches struct{ broken }

func (s suffixMatches) GetImage(ctx context.Context, ref string) (client.Image, error) {
	image, err := s.Service.GetImage(ctx, ref)
	if !errdefs.IsNotFound(err) {
		return image, err
	}
	list, err := s.Service.ListImages(ctx)
	if err != nil {
		return nil, err
	}
	for _, image := range list {
		if strings.HasSuffix(image.Name(), "/"+ref) || strings.HasSuffix(image.Name(), "/"+ref+":latest") {
			return image, nil
		}
	}
	return nil, failed("get image", ref, errdefs.ErrNotFound)
}

type literalName struct{ broken }

func (s literalName) GetImage(ctx context.Context, ref string) (client.Image, error) {
	if _, err := s.client.GetImage(s.in(ctx), ref); err != nil {
		return nil, failed("get image", ref, err)
	}
	return s.Service.GetImage(ctx, ref)
}

type pullsToGet struct{ broken }

func (s pullsToGet) GetImage(ctx context.Context, ref string) (client.Image, error) {
	image, err := s.Service.GetImage(ctx, ref)
	if errdefs.IsNotFound(err) {
		return s.PullImage(ctx, ref, nil)
	}
	return image, err
}

// leaksLease pulls with the client's own Pull, whose lease is one of those.
type leaksLease struct{ broken }

func (s leaksLease) PullImage(ctx context.Context, ref string, opts *containerd.PullImageOptions) (client.Image, error) {
	if opts == nil {
		opts = &containerd.PullImageOptions{Unpack: true}
	}
	var options []client.RemoteOpt
	if opts.Unpack {
		options = append(options, client.WithPullUnpack)
	}
	if opts.Snapshotter != "" {
		options = append(options, client.WithPullSnapshotter(opts.Snapshotter))
	}
	image, err := s.client.Pull(s.in(ctx), ref, options...)
	if err != nil {
		return nil, failed("pull image", ref, err)
	}
	return s.GetImage(ctx, image.Name())
}

type nilPullsOnly struct{ broken }

func (s nilPullsOnly) PullImage(ctx context.Context, ref string, opts *containerd.PullImageOptions) (client.Image, error) {
	if opts == nil {
		opts = &containerd.PullImageOptions{}
	}
	return s.Service.PullImage(ctx, ref, opts)
}
