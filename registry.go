package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctrdkit/containerd/internal/imageref"
)

// registry is the service's one way to registries: every pull shares its
// connections and tokens.
type registry struct {
	once      sync.Once
	transport *http.Transport
	resolver  remotes.Resolver
	reach     func(host string) error // nil if every registry may be asked
}

func (r *registry) get(configured remotes.Resolver) remotes.Resolver {
	r.once.Do(func() {
		if configured != nil {
			r.resolver = configured
			return
		}
		r.transport = docker.DefaultHTTPTransport(nil)
		client := &http.Client{Transport: r.transport}
		r.resolver = docker.NewResolver(docker.ResolverOptions{
			Hosts: r.within(docker.ConfigureDefaultRegistries(
				docker.WithClient(client),
				docker.WithPlainHTTP(docker.MatchLocalhost),
				docker.WithAuthorizer(docker.NewDockerAuthorizer(docker.WithAuthClient(client))),
			)),
		})
	})
	return r.resolver
}

// within keeps to the registries that may be asked.
func (r *registry) within(hosts docker.RegistryHosts) docker.RegistryHosts {
	return func(host string) ([]docker.RegistryHost, error) {
		if r.reach != nil {
			if err := r.reach(host); err != nil {
				return nil, err
			}
		}
		return hosts(host)
	}
}

func (r *registry) close() {
	r.once.Do(func() {}) // nobody makes a transport any more
	if r.transport != nil {
		r.transport.CloseIdleConnections()
	}
}

// pullResolver resolves a complete digest reference from the content store
// where it can, keeps fetches on the image's own registry, and tells content that
// is too short from a lost connection.
type pullResolver struct {
	remotes.Resolver
	content content.Store
	foreign bool // follow the URLs that descriptors name
}

// Resolve asks the registry only for what is not stored: a store that can't
// answer is an error, not a reason to fetch.
func (r *pullResolver) Resolve(ctx context.Context, ref string) (string, ocispec.Descriptor, error) {
	if dgst, ok := imageref.Digest(ref); ok {
		desc, err := r.stored(ctx, dgst)
		if err == nil {
			return ref, desc, nil
		}
		if !errdefs.IsNotFound(err) && !errdefs.IsNotImplemented(err) && !errdefs.IsFailedPrecondition(err) {
			return "", ocispec.Descriptor{}, err
		}
	}
	return r.Resolver.Resolve(ctx, ref)
}

// stored describes the manifest dgst if it is in the content store.
func (r *pullResolver) stored(ctx context.Context, dgst digest.Digest) (ocispec.Descriptor, error) {
	info, err := r.content.Info(ctx, dgst)
	if err != nil {
		return ocispec.Descriptor{}, native(err)
	}
	desc := ocispec.Descriptor{Digest: dgst, Size: info.Size}
	desc.MediaType, err = mediaType(ctx, r.content, desc)
	return desc, native(err)
}

func (r *pullResolver) Fetcher(ctx context.Context, ref string) (remotes.Fetcher, error) {
	fetcher, err := r.Resolver.Fetcher(ctx, ref)
	if err != nil {
		return nil, err
	}
	return remotes.FetcherFunc(func(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
		if !r.foreign {
			desc.URLs = nil
		}
		body, err := fetcher.Fetch(ctx, desc)
		if err != nil {
			return nil, err
		}
		return sized(body, desc), nil
	}), nil
}

// sizedBody is a registry's answer whose end may not come before its size.
type sizedBody struct {
	io.ReadCloser
	desc ocispec.Descriptor
	read int64
}

// sized keeps a body that can seek able to: an interrupted download goes on so.
func sized(body io.ReadCloser, desc ocispec.Descriptor) io.ReadCloser {
	b := &sizedBody{ReadCloser: body, desc: desc}
	if seeker, ok := body.(io.Seeker); ok {
		return &seekableBody{sizedBody: b, seeker: seeker}
	}
	return b
}

func (b *sizedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if err == io.EOF && b.read < b.desc.Size { //nolint:errorlint // one that is wrapped is a lost connection
		err = fmt.Errorf("the registry has %d bytes of %s, want %d: %w", b.read, b.desc.Digest, b.desc.Size, errdefs.ErrFailedPrecondition)
	}
	return n, err
}

type seekableBody struct {
	*sizedBody
	seeker io.Seeker
}

func (b *seekableBody) Seek(offset int64, whence int) (int64, error) {
	at, err := b.seeker.Seek(offset, whence)
	if err == nil {
		b.read = at
	}
	return at, err
}

// mediaType reads what kind of manifest a stored blob is.
func mediaType(ctx context.Context, store content.Store, desc ocispec.Descriptor) (string, error) {
	var m struct {
		MediaType string            `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
		Config    json.RawMessage   `json:"config"`
	}
	if err := readJSON(ctx, store, desc, &m); err != nil {
		return "", err
	}
	switch {
	case images.IsManifestType(m.MediaType), images.IsIndexType(m.MediaType):
		return m.MediaType, nil
	case m.MediaType != "":
		return "", fmt.Errorf("media type %s: %w", quoted(m.MediaType), errdefs.ErrNotImplemented)
	case m.Manifests != nil:
		return ocispec.MediaTypeImageIndex, nil
	}
	return ocispec.MediaTypeImageManifest, nil
}
