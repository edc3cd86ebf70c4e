package containerd

import (
	"testing"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
)

func TestRecordedAnswersFromTheRecordUntilOpened(t *testing.T) {
	ctx, s, server := mocked(t)
	c, store, err := s.recorded(ctx, containers.Container{ID: "a", Image: "before"})
	require.NoError(t, err)
	info, err := c.Info(ctx)
	require.NoError(t, err)
	assert.Equal(t, "before", info.Image)
	assert.Empty(t, server.Calls(), "a record that is known is not asked for")

	server.Containers.EXPECT().Get(mock.Anything, mock.Anything).
		Return(&containersapi.GetContainerResponse{Container: &containersapi.Container{ID: "a", Image: "after"}}, nil).Once()
	store.open()
	info, err = c.Info(ctx)
	require.NoError(t, err)
	assert.Equal(t, "after", info.Image)
}

func TestDerivedClientKeepsThePlatform(t *testing.T) {
	_, s, server := mocked(t)
	client, err := server.Client(containerd.WithDefaultPlatform(platforms.OnlyStrict(platforms.MustParse("linux/riscv64"))))
	require.NoError(t, err)
	s.client = client

	derived, err := s.derive(client.ContainerService(), client.ImageService(), "")

	require.NoError(t, err)
	matcher := containerd.NewImage(derived, images.Image{}).Platform()
	assert.True(t, matcher.Match(platforms.MustParse("linux/riscv64")))
	assert.False(t, matcher.Match(platforms.MustParse("linux/amd64")))
}

func TestDerivedClientNeedsNoConnection(t *testing.T) {
	_, s, server := mocked(t)
	source := s.client
	bare, err := containerd.New("", containerd.WithServices(
		containerd.WithContainerStore(source.ContainerService()),
		containerd.WithTaskClient(source.TaskService()),
		containerd.WithContentStore(source.ContentStore()),
		containerd.WithImageStore(source.ImageService()),
		containerd.WithLeasesService(source.LeasesService()),
		containerd.WithDiffService(source.DiffService()),
		containerd.WithIntrospectionService(source.IntrospectionService()),
	))
	require.NoError(t, err)
	s = NewDefaultService(bare, "test")
	server.Containers.EXPECT().Get(mock.Anything, mock.Anything).
		Return(&containersapi.GetContainerResponse{Container: &containersapi.Container{ID: "a", Image: "x"}}, nil).Once()

	c, store, err := s.recorded(s.scope().context(t.Context()), containers.Container{ID: "a"})
	require.NoError(t, err)
	store.open()
	info, err := c.Info(s.scope().context(t.Context()))

	require.NoError(t, err)
	assert.Equal(t, "x", info.Image)
}
