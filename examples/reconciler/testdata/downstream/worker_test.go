package downstream

import (
	"testing"

	"github.com/ctrdkit/containerd/containerdtest"
)

func TestStartWorker(t *testing.T) {
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})
	if err := StartWorker(t.Context(), fake); err != nil {
		t.Fatal(err)
	}
}
