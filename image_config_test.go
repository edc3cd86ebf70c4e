package containerd

import (
	"encoding/json"
	"testing"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	imagespecs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const oddImage = "registry.test/odd:1"

// addOddImage stores an image whose configuration is config, whatever that is.
// change may make its descriptor lie.
func (d *daemon) addOddImage(config []byte, change func(desc *ocispec.Descriptor)) {
	desc := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config)),
	}
	d.stores.blobs[desc.Digest.String()] = config
	if change != nil {
		change(&desc)
	}
	target := d.addBlob(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: imagespecs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: desc,
	})
	d.stores.images[oddImage] = &imagesapi.Image{Name: oddImage, Target: &types.Descriptor{
		MediaType: target.MediaType, Digest: target.Digest.String(), Size: target.Size,
	}}
}

// createOdd creates a container of that image.
func createOdd(t *testing.T, d *daemon) error {
	t.Helper()
	_, err := d.service().CreateContainer(t.Context(), CreateContainerRequest{ID: "new", ImageRef: oddImage})
	return err
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return data
}

// oddPlatform is one that these tests do not run on.
var oddPlatform = ocispec.Platform{OS: "linux", Architecture: "s390x"}

func TestConfigurationOfAnotherPlatformIsRefused(t *testing.T) {
	// The manifest says nothing, so only the configuration tells.
	d := newDaemon(t)
	d.addOddImage(marshal(t, ocispec.Image{Platform: oddPlatform}), nil)
	before := d.state()

	err := createOdd(t, d)

	assertError(t, err, opCreateContainer, errdefs.IsFailedPrecondition, "another platform")
	assert.Contains(t, err.Error(), platforms.Format(oddPlatform))
	assert.Contains(t, err.Error(), platforms.DefaultString())
	assert.Contains(t, err.Error(), oddImage)
	assert.Equal(t, before, d.state())
}

func TestConfigurationThatLiesAboutThePlatformIsRefused(t *testing.T) {
	// The manifest claims this platform, the configuration is for another.
	d := newDaemon(t)
	here := platforms.DefaultSpec()
	d.addOddImage(marshal(t, ocispec.Image{Platform: oddPlatform}), func(desc *ocispec.Descriptor) { desc.Platform = &here })

	err := createOdd(t, d)

	assertError(t, err, opCreateContainer, errdefs.IsFailedPrecondition, "it lies")
}

func TestConfigurationWithoutAPlatformIsAccepted(t *testing.T) {
	store := newDaemon(t)
	config := []byte(`{"config":{"Cmd":["/app"]},"rootfs":{"type":"layers"}}`)
	desc := ocispec.Descriptor{Digest: digest.FromBytes(config), Size: int64(len(config))}
	store.stores.blobs[desc.Digest.String()] = config
	s := store.service()

	read, err := readConfig(s.scope().context(t.Context()), s.client.ContentStore(), desc, s.platform())

	require.NoError(t, err)
	assert.Equal(t, []string{"/app"}, read.Config.Cmd)
}

func TestMalformedConfigurationIsAFailedPrecondition(t *testing.T) {
	for name, config := range map[string]string{
		"no JSON":          "not json",
		"cut short":        `{"architecture":`,
		"another type":     `[]`,
		"a field's type":   `{"config":{"Env":"A=1"}}`,
		"invalid diff IDs": `{"rootfs":{"diff_ids":7}}`,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			desc := ocispec.Descriptor{Digest: digest.FromString(config), Size: int64(len(config))}
			d.stores.blobs[desc.Digest.String()] = []byte(config)

			_, err := readConfig(s.scope().context(t.Context()), s.client.ContentStore(), desc, s.platform())

			require.ErrorIs(t, err, errdefs.ErrFailedPrecondition)
			assert.Contains(t, err.Error(), desc.Digest.String())
		})
	}
}

func TestOversizedBlobIsNotRead(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	desc := ocispec.Descriptor{Digest: digest.FromString("x"), Size: maxJSON + 1}

	err := readJSON(s.scope().context(t.Context()), s.client.ContentStore(), desc, &struct{}{})

	require.ErrorIs(t, err, errdefs.ErrFailedPrecondition)
	assert.Empty(t, d.Calls())
}

// A descriptor may lie about the size: what is stored counts.
func TestBlobThatIsLargerThanItsDescriptorSays(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	blob := make([]byte, maxJSON+1)
	desc := ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: 10}
	d.stores.blobs[desc.Digest.String()] = blob

	err := readJSON(s.scope().context(t.Context()), s.client.ContentStore(), desc, &struct{}{})

	require.Error(t, err)
	assert.NotContains(t, d.methods(), "Content/Read")
	assert.ErrorIs(t, native(err), errdefs.ErrFailedPrecondition, "%v", err)
}

func TestConfigurationIsReadOncePerImage(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	_, err := s.CreateContainer(t.Context(), newContainer)
	require.NoError(t, err)
	d.Reset()

	_, err = s.CreateContainer(t.Context(), CreateContainerRequest{ID: "second", ImageRef: testImage})

	require.NoError(t, err)
	assert.NotContains(t, d.methods(), "Content/Read")
}

func TestFailedReadingIsNotRemembered(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	stopClock(s)
	d.fail("Content/Read", errdefs.ErrUnavailable)
	_, err := s.CreateContainer(t.Context(), newContainer)
	assertError(t, err, opCreateContainer, errdefs.IsUnavailable, "no answer")
	d.heal()

	_, err = s.CreateContainer(t.Context(), newContainer)

	require.NoError(t, err)
}

func TestImageCachePutTwiceKeepsTheFirst(t *testing.T) {
	var c imageCache
	key, first := digest.FromString("a"), &imageInfo{}
	c.put(key, first)
	c.put(key, &imageInfo{})
	assert.Same(t, first, c.get(key), "its user may have been looked up")
	assert.Equal(t, 1, c.order.Len())
}
