package containerd

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
)

const opPullImage = "pull image"

// tagRegistry is a registry where every tag means desc, whose content the
// daemon has already.
type tagRegistry struct {
	remotes.Resolver
	desc   ocispec.Descriptor
	before func(ctx context.Context) error // runs before each answer; may be nil
	asked  atomic.Int32
}

func (r *tagRegistry) Resolve(ctx context.Context, ref string) (string, ocispec.Descriptor, error) {
	r.asked.Add(1)
	if r.before != nil {
		if err := r.before(ctx); err != nil {
			return "", ocispec.Descriptor{}, err
		}
	}
	return ref, r.desc, nil
}

func (r *tagRegistry) Fetcher(context.Context, string) (remotes.Fetcher, error) {
	return remotes.FetcherFunc(func(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("")), nil
	}), nil
}

// target describes a stored image.
func (d *daemon) target(name string) ocispec.Descriptor {
	d.mu.Lock()
	defer d.mu.Unlock()
	target := d.stores.images[name].GetTarget()
	return ocispec.Descriptor{
		MediaType: target.GetMediaType(), Digest: digest.Digest(target.GetDigest()), Size: target.GetSize(),
	}
}

// layerOf returns the diff ID and the committed snapshot of an image's layer.
func layerOf(name string) (diffID digest.Digest, chainID string) {
	diffID = digest.FromString(name)
	return diffID, identity.ChainID([]digest.Digest{diffID}).String()
}

// forgetLayer removes the snapshot that testImage is unpacked to, and serves
// the unpacking of its layer; apply's error is the answer.
func (d *daemon) forgetLayer(apply func() error) {
	diffID, chainID := layerOf(testImage)
	delete(d.stores.snapshots, testSnapshotter+" "+chainID)
	d.Diff.EXPECT().Apply(mock.Anything, mock.Anything).
		RunAndReturn(func(context.Context, *diffapi.ApplyRequest) (*diffapi.ApplyResponse, error) {
			if err := apply(); err != nil {
				return nil, err
			}
			return &diffapi.ApplyResponse{Applied: &types.Descriptor{Digest: diffID.String()}}, nil
		}).Maybe()
}

func succeed() error { return nil }

func TestPullAsksTheRegistryWhatATagMeans(t *testing.T) {
	d := newDaemon(t)
	asked := &tagRegistry{desc: d.target(testImage)}
	s := d.service(WithResolver(asked))
	for range 2 {
		image, err := s.PullImage(t.Context(), testImage, nil)
		require.NoError(t, err)
		assert.Equal(t, testImage, image.Name())
	}
	assert.Equal(t, int32(2), asked.asked.Load(), "although the image is present")
}

func TestPullStoresTheCanonicalName(t *testing.T) {
	d := newDaemon(t)
	s := d.service(WithResolver(&tagRegistry{desc: d.target(testImage)}))

	image, err := s.PullImage(t.Context(), "app", nil)

	require.NoError(t, err)
	assert.Equal(t, "docker.io/library/app:latest", image.Name())
	assert.Contains(t, d.state(), "image docker.io/library/app:latest")
}

func TestPullUnpacksAsAsked(t *testing.T) {
	_, chainID := layerOf(testImage)
	for name, test := range map[string]struct {
		opts *PullImageOptions
		in   string // the snapshotter; "" for none
	}{
		"nil":             {nil, testSnapshotter},
		"zero":            {&PullImageOptions{}, ""},
		"a snapshotter's": {&PullImageOptions{Unpack: true, Snapshotter: "native"}, "native"},
		"only fetching":   {&PullImageOptions{Snapshotter: "native"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			d.forgetLayer(succeed)
			s := d.service(WithResolver(&tagRegistry{desc: d.target(testImage)}))

			_, err := s.PullImage(t.Context(), testImage, test.opts)

			require.NoError(t, err)
			for _, snapshotter := range []string{testSnapshotter, "native"} {
				unpacked := d.stores.snapshots[snapshotter+" "+chainID] != nil
				assert.Equal(t, snapshotter == test.in, unpacked, snapshotter)
			}
		})
	}
}

func TestPullOfAnotherPlatformsImageStoresNothing(t *testing.T) {
	d := newDaemon(t)
	d.addOddImage(marshal(t, ocispec.Image{Platform: oddPlatform}), nil)
	s := d.service(WithResolver(&tagRegistry{desc: d.target(oddImage)}))
	before := d.state()

	_, err := s.PullImage(t.Context(), "registry.test/new:1", nil)

	assertError(t, err, opPullImage, errdefs.IsFailedPrecondition, "another platform")
	assert.Equal(t, before, d.state())
}

func TestPullThatStoresItsImageIsNotCutShort(t *testing.T) {
	for method, ref := range map[string]string{"Images/Create": "app", "Images/Update": testImage} {
		t.Run(method, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service(WithResolver(&tagRegistry{desc: d.target(testImage)}))
			ctx, cancel := context.WithCancel(t.Context())
			d.once(method, endedMeanwhile(t, cancel))

			image, err := s.PullImage(ctx, ref, nil)

			require.NoError(t, err)
			assert.Contains(t, d.state(), "image "+image.Name())
		})
	}
}

func TestPullKeepsTheRegistrysClass(t *testing.T) {
	for _, answer := range []error{errdefs.ErrUnauthenticated, errdefs.ErrNotFound, errdefs.ErrResourceExhausted} {
		t.Run(answer.Error(), func(t *testing.T) {
			d := newDaemon(t)
			s := d.service(WithResolver(&tagRegistry{before: func(context.Context) error { return answer }}))
			before := d.state()

			_, err := s.PullImage(t.Context(), testImage, nil)

			require.ErrorIs(t, err, answer)
			assert.Equal(t, before, d.state(), "the stored image stays what it was")
		})
	}
}

func TestPullRefusesBadOptionsAndReferences(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	_, err := s.PullImage(t.Context(), testImage, &PullImageOptions{Snapshotter: "\x00"})
	assertError(t, err, opPullImage, errdefs.IsInvalidArgument, "snapshotter")
	_, err = s.PullImage(t.Context(), "https://registry.test/app", nil)
	assertError(t, err, opPullImage, errdefs.IsInvalidArgument, "reference")
	assert.Empty(t, d.Calls())
}

func TestCreateContainerPullsAnAbsentImage(t *testing.T) {
	d := newDaemon(t)
	asked := &tagRegistry{desc: d.target(testImage)}
	s := d.service(WithResolver(asked))

	_, err := s.CreateContainer(t.Context(), CreateContainerRequest{ID: "new", ImageRef: "absent"})

	require.NoError(t, err)
	assert.Equal(t, int32(1), asked.asked.Load())
	assert.Equal(t, "docker.io/library/absent:latest", d.record("new").GetImage())
}

func TestCreateContainerPullsAnImageWhoseContentIsIncomplete(t *testing.T) {
	// Given an image of which only the name is there,
	d := newDaemon(t)
	target := d.target(testImage)
	d.stores.images[testImage].Target.Digest = digest.FromString("absent").String()
	asked := &tagRegistry{desc: target}
	s := d.service(WithResolver(asked))

	_, err := s.CreateContainer(t.Context(), newContainer)

	require.NoError(t, err)
	assert.Equal(t, int32(1), asked.asked.Load())
}

func TestCreateContainerPullsNothingWhenTheDaemonCannotAnswer(t *testing.T) {
	for _, method := range []string{"Images/Get", "Content/Info", "Content/Read"} {
		t.Run(method, func(t *testing.T) {
			d := newDaemon(t)
			asked := &tagRegistry{desc: d.target(testImage)}
			s := d.service(WithResolver(asked))
			d.fail(method, errdefs.ErrUnavailable)

			_, err := s.CreateContainer(t.Context(), newContainer)

			assertError(t, err, opCreateContainer, errdefs.IsUnavailable, method)
			assert.Zero(t, asked.asked.Load())
		})
	}
}

func TestCreateContainerSaysWhatItCouldNotPull(t *testing.T) {
	d := newDaemon(t)
	before := d.state()

	_, err := d.service().CreateContainer(t.Context(), CreateContainerRequest{ID: "new", ImageRef: "absent"})

	assertError(t, err, opCreateContainer, errdefs.IsNotFound, "the registry has none")
	assert.Contains(t, err.Error(), "docker.io/library/absent:latest")
	assert.Equal(t, before, d.state())
}

func TestCreateContainerUnpacksAnImageThatIsNotUnpacked(t *testing.T) {
	d := newDaemon(t)
	d.forgetLayer(succeed)
	s := d.service()

	_, err := s.CreateContainer(t.Context(), newContainer)

	require.NoError(t, err)
	_, chainID := layerOf(testImage)
	assert.NotNil(t, d.snapshot(chainID))
	assert.Equal(t, chainID, d.snapshot("new").GetParent())
}

func TestCreateContainerFetchesALayerThatIsMissing(t *testing.T) {
	// Given an image whose layer is neither unpacked nor stored,
	d := newDaemon(t)
	missing := true
	d.forgetLayer(func() error {
		if missing {
			missing = false
			return errdefs.ErrNotFound
		}
		return nil
	})
	asked := &tagRegistry{desc: d.target(testImage)}
	s := d.service(WithResolver(asked))

	_, err := s.CreateContainer(t.Context(), newContainer)

	require.NoError(t, err)
	assert.Equal(t, int32(1), asked.asked.Load())
	assert.NotNil(t, d.record("new"))
}

func TestCreateContainerThatCannotUnpackLeavesNothing(t *testing.T) {
	d := newDaemon(t)
	d.forgetLayer(func() error { return errdefs.ErrResourceExhausted })
	s := d.service()
	before := d.state()

	_, err := s.CreateContainer(t.Context(), newContainer)

	assertError(t, err, opCreateContainer, errdefs.IsResourceExhausted, "disk full")
	assert.Contains(t, err.Error(), testImage)
	assert.Equal(t, before, d.state())
}

func TestForeignLayersAreAnOption(t *testing.T) {
	for name, opts := range map[string][]Option{"without": nil, "with": {WithForeignLayers()}} {
		cfg := config{}
		for _, opt := range opts {
			opt(&cfg)
		}
		assert.Equal(t, name == "with", cfg.foreignContent)
	}
}

func TestSnapshotterIsAskedOnceWhetherItTakesLayersInAnyOrder(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	ctx := s.scope().context(t.Context())
	d.fail("Introspection/Plugins", errdefs.ErrUnavailable)
	assert.Empty(t, s.unpackOpts(ctx, testSnapshotter), "an answer that fails is no reason for a pull to")
	d.heal()
	d.Reset()
	for range 2 {
		assert.Len(t, s.unpackOpts(ctx, testSnapshotter), 1)
	}
	assert.Equal(t, 1, d.countOf("Introspection/Plugins"))
}
