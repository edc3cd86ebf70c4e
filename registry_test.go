package containerd

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// askedRegistry remembers what it was asked for.
type askedRegistry struct {
	remotes.Resolver
	refs    []string
	fetched []ocispec.Descriptor
	err     error // of Fetcher
}

func (r *askedRegistry) Resolve(_ context.Context, ref string) (string, ocispec.Descriptor, error) {
	r.refs = append(r.refs, ref)
	return ref, ocispec.Descriptor{MediaType: "from the registry"}, nil
}

func (r *askedRegistry) Fetcher(context.Context, string) (remotes.Fetcher, error) {
	return remotes.FetcherFunc(func(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
		r.fetched = append(r.fetched, desc)
		return io.NopCloser(strings.NewReader("")), nil
	}), r.err
}

// resolveStored resolves a digest reference to a stored blob.
func resolveStored(t *testing.T, d *daemon, blob string) (ocispec.Descriptor, *askedRegistry, error) {
	t.Helper()
	s := d.service()
	dgst := digest.FromString(blob)
	d.stores.blobs[dgst.String()] = []byte(blob)
	asked := &askedRegistry{}
	r := &pullResolver{Resolver: asked, content: s.client.ContentStore()}
	_, desc, err := r.Resolve(s.scope().context(t.Context()), "registry.test/app@"+dgst.String())
	return desc, asked, err
}

func TestStoredManifestIsResolvedWithoutTheRegistry(t *testing.T) {
	for blob, want := range map[string]string{
		`{"mediaType":"` + ocispec.MediaTypeImageManifest + `"}`:            ocispec.MediaTypeImageManifest,
		`{"mediaType":"` + ocispec.MediaTypeImageIndex + `"}`:               ocispec.MediaTypeImageIndex,
		`{"mediaType":"` + images.MediaTypeDockerSchema2Manifest + `"}`:     images.MediaTypeDockerSchema2Manifest,
		`{"mediaType":"` + images.MediaTypeDockerSchema2ManifestList + `"}`: images.MediaTypeDockerSchema2ManifestList,
		`{"manifests":[]}`:          ocispec.MediaTypeImageIndex,
		`{"config":{},"layers":[]}`: ocispec.MediaTypeImageManifest,
	} {
		t.Run(blob, func(t *testing.T) {
			desc, asked, err := resolveStored(t, newDaemon(t), blob)
			require.NoError(t, err)
			assert.Equal(t, ocispec.Descriptor{
				MediaType: want, Digest: digest.FromString(blob), Size: int64(len(blob)),
			}, desc)
			assert.Empty(t, asked.refs)
		})
	}
}

func TestStoredBlobThatIsNoManifestIsLeftToTheRegistry(t *testing.T) {
	for name, blob := range map[string]string{
		"another media type": `{"mediaType":"application/vnd.test"}`,
		"no JSON":            "layer",
	} {
		t.Run(name, func(t *testing.T) {
			desc, asked, err := resolveStored(t, newDaemon(t), blob)
			require.NoError(t, err)
			assert.Len(t, asked.refs, 1)
			assert.Equal(t, "from the registry", desc.MediaType)
		})
	}
}

func TestStoreThatCannotAnswerIsNoReasonToFetch(t *testing.T) {
	for _, method := range []string{"Content/Info", "Content/Read"} {
		for _, answer := range []error{errdefs.ErrUnavailable, errdefs.ErrPermissionDenied, errdefs.ErrUnknown} {
			t.Run(method+" "+answer.Error(), func(t *testing.T) {
				d := newDaemon(t)
				d.fail(method, answer)
				_, asked, err := resolveStored(t, d, `{"config":{}}`)
				require.Error(t, err)
				assert.Empty(t, asked.refs)
			})
		}
	}
}

func TestAbsentDigestAndTagsAreAskedForAtTheRegistry(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	asked := &askedRegistry{}
	r := &pullResolver{Resolver: asked, content: s.client.ContentStore()}
	refs := []string{"registry.test/app@" + digest.FromString("absent").String(), testImage}
	for _, ref := range refs {
		_, _, err := r.Resolve(s.scope().context(t.Context()), ref)
		require.NoError(t, err)
	}
	assert.Equal(t, refs, asked.refs, "a tag is asked for although the image is there")
}

func TestForeignURLsAreFollowedOnlyWhenAllowed(t *testing.T) {
	foreign := ocispec.Descriptor{Digest: digest.FromString("layer"), URLs: []string{"http://elsewhere.test/layer"}}
	for name, test := range map[string]struct {
		allowed bool
		want    []string
	}{
		"dropped": {false, nil},
		"allowed": {true, foreign.URLs},
	} {
		t.Run(name, func(t *testing.T) {
			asked := &askedRegistry{}
			r := &pullResolver{Resolver: asked, foreign: test.allowed}
			fetcher, err := r.Fetcher(t.Context(), testImage)
			require.NoError(t, err)
			blob, err := fetcher.Fetch(t.Context(), foreign)
			require.NoError(t, err)
			require.NoError(t, blob.Close())
			require.Len(t, asked.fetched, 1)
			assert.Equal(t, foreign.Digest, asked.fetched[0].Digest)
			assert.Equal(t, test.want, asked.fetched[0].URLs)
			assert.Len(t, foreign.URLs, 1, "the caller's descriptor is not changed")
		})
	}
}

func TestRegistryWithoutAFetcher(t *testing.T) {
	r := &pullResolver{Resolver: &askedRegistry{err: errdefs.ErrUnauthenticated}}
	_, err := r.Fetcher(t.Context(), testImage)
	assert.ErrorIs(t, err, errdefs.ErrUnauthenticated)
}

func TestServiceHasOneWayToRegistries(t *testing.T) {
	configured := &askedRegistry{}
	var r registry
	assert.Same(t, configured, r.get(configured))
	assert.Nil(t, r.transport, "a configured resolver has its own transport")
	r.close()

	r = registry{}
	first := r.get(nil)
	require.NotNil(t, first)
	assert.Same(t, first, r.get(nil), "every pull shares it")
	require.NotNil(t, r.transport)
	r.close()
	assert.Same(t, first, r.get(configured), "the first call decided")
}

func TestRegistryThatWasNeverUsedHasNothingToClose(t *testing.T) {
	var r registry
	r.close()
	assert.Nil(t, r.transport)
}

// seekable is a registry's answer that can seek.
type seekable struct{ *strings.Reader }

func (seekable) Close() error { return nil }

type bodyRegistry struct {
	remotes.Resolver
	body io.ReadCloser
	err  error // of Fetch
}

func (r *bodyRegistry) Fetcher(context.Context, string) (remotes.Fetcher, error) {
	return remotes.FetcherFunc(func(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
		return r.body, r.err
	}), nil
}

// fetchBody fetches a body of a content that should have size bytes.
func fetchBody(t *testing.T, body io.ReadCloser, size int64) io.ReadCloser {
	t.Helper()
	r := &pullResolver{Resolver: &bodyRegistry{body: body}}
	fetcher, err := r.Fetcher(t.Context(), testImage)
	require.NoError(t, err)
	fetched, err := fetcher.Fetch(t.Context(), ocispec.Descriptor{Digest: digest.FromString("x"), Size: size})
	require.NoError(t, err)
	return fetched
}

func TestContentThatIsTooShortIsAFailedPrecondition(t *testing.T) {
	for name, body := range map[string]io.ReadCloser{
		"seekable":      seekable{strings.NewReader("four")},
		"read only":     io.NopCloser(strings.NewReader("four")),
		"nothing in it": io.NopCloser(strings.NewReader("")),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := io.ReadAll(fetchBody(t, body, 5))
			require.ErrorIs(t, err, errdefs.ErrFailedPrecondition)
			assert.NotErrorIs(t, err, io.EOF)
			assert.Contains(t, err.Error(), digest.FromString("x").String())
		})
	}
}

func TestContentOfTheRightSizeIsRead(t *testing.T) {
	for size := range int64(5) { // a registry that has more is the digest's matter
		got, err := io.ReadAll(fetchBody(t, io.NopCloser(strings.NewReader("four")), size))
		require.NoError(t, err)
		assert.Equal(t, "four", string(got))
	}
}

func TestInterruptedDownloadGoesOnWhereItWas(t *testing.T) {
	body := fetchBody(t, seekable{strings.NewReader("four")}, 4)
	seeker, ok := body.(io.Seeker)
	require.True(t, ok)
	at, err := seeker.Seek(3, io.SeekStart)
	require.NoError(t, err)
	assert.Equal(t, int64(3), at)
	rest, err := io.ReadAll(body)
	require.NoError(t, err, "the part that is skipped counts")
	assert.Equal(t, "r", string(rest))
	_, err = seeker.Seek(-1, io.SeekStart)
	assert.Error(t, err)
	_, ok = fetchBody(t, io.NopCloser(strings.NewReader("four")), 4).(io.Seeker)
	assert.False(t, ok, "what can't seek does not say so")
}

func TestFetchThatFailsHasTheRegistrysError(t *testing.T) {
	r := &pullResolver{Resolver: &bodyRegistry{err: errdefs.ErrNotFound}}
	fetcher, err := r.Fetcher(t.Context(), testImage)
	require.NoError(t, err)
	_, err = fetcher.Fetch(t.Context(), ocispec.Descriptor{})
	assert.ErrorIs(t, err, errdefs.ErrNotFound)
}
