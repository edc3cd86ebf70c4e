package counted_test

import (
	"testing"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/containerdtest/conformance"

	counted "example.com/downstream"
)

func TestContract(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Backend {
		fake := containerdtest.New(t)
		return conformance.Backend{
			Service:     &counted.Service{Service: fake},
			Client:      fake.NewClient(),
			Namespace:   containerd.DefaultNamespace,
			Snapshotter: "overlayfs",
			Image:       fake.ServeImage(containerdtest.Image{}),
			Restart:     func(*testing.T) { fake.RestartDaemon() },
		}
	})
}
