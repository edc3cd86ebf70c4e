package containerdtest_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/containerdtest/conformance"
)

func TestConformanceOnTheFake(t *testing.T) {
	t.Parallel()
	report := conformance.Run(t, func(t *testing.T) conformance.Backend {
		fake := containerdtest.New(t)
		namespace := "test-" + strings.ToLower(rand.Text()[:12])
		return conformance.Backend{
			Service:     fake.Open(namespace),
			Client:      fake.NewClient(),
			Namespace:   namespace,
			Snapshotter: "overlayfs",
			Image:       fake.ServeImage(containerdtest.Image{}),
			Restart:     func(*testing.T) { fake.RestartDaemon() },
		}
	})
	assert.Zero(t, report.Skipped, "cases that the fake can't show")
}
