package reconciler_test

import (
	"testing"

	"github.com/ctrdkit/containerd/containerdtest"
)

func TestLifeOnADaemon(t *testing.T) {
	testLife(t, containerdtest.NewDaemon(t))
}
