package integration_test

import (
	"os"
	"testing"

	"github.com/ctrdkit/containerd/containerdtest/conformance"
)

func TestConformance(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		conformance.Run(t, func(t *testing.T) conformance.Backend {
			return backend(t, shared.daemon.Address())
		})
	})
	if address := os.Getenv("CONTAINERD_ADDRESS"); address != "" {
		t.Run("host", func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) conformance.Backend {
				return backend(t, address)
			})
		})
	}
}
