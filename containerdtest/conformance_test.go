package containerdtest_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/containerdtest/conformance"
	"github.com/ctrdkit/containerd/internal/testimage"
)

// userland is the image that the suite uses on daemons, with the fake's own
// commands.
func userland() testimage.Image {
	image := testimage.Userland(nil)
	image.Layers[1].Files = []testimage.File{
		{Path: "bin/builtin", Mode: 0o755, Content: []byte("all commands of package containerdtest\n")},
	}
	return image
}

func TestConformanceOnTheFake(t *testing.T) {
	content, err := testimage.Make(userland())
	require.NoError(t, err)
	registry := testimage.NewRegistry()
	t.Cleanup(registry.Close)
	image := registry.Push("userland:v1", content)

	conformance.Run(t, func(t *testing.T) conformance.Backend {
		fake := containerdtest.New(t)
		namespace := "test-" + strings.ToLower(rand.Text()[:12])
		return conformance.Backend{
			Service:     fake.Open(namespace),
			Client:      fake.NewClient(),
			Namespace:   namespace,
			Snapshotter: "overlayfs",
			Image:       image,
			Restart:     func(*testing.T) { fake.RestartDaemon() },
		}
	})
}
