package integration_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ctrdkit/containerd/containerdtest/conformance"
)

func TestConformance(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		report := conformance.Run(t, func(t *testing.T) conformance.Backend {
			return backend(t, shared.daemon.address)
		})
		if lacks() == nil {
			assert.Zero(t, report.Skipped, "this daemon lacks nothing")
		}
	})
	if address := os.Getenv("CONTAINERD_ADDRESS"); address != "" {
		t.Run("host", func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) conformance.Backend {
				return backend(t, address)
			})
		})
	}
}
