package containerd_test

import (
	"context"

	"github.com/containerd/containerd/v2/pkg/oci"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/internal/exampletest"
)

// openFake takes the place of [containerd.Open] in examples: it returns a service
// on a fake that has the image busybox, and a running container for each of ids,
// and what ends the fake. The containers' command, sleep, ignores SIGTERM.
func openFake(ids ...string) (svc *containerd.DefaultService, end func()) {
	t := exampletest.New()
	fake := containerdtest.New(t, containerdtest.WithVirtualTime())
	fake.AddImage("busybox", containerdtest.Image{})
	ctx := context.Background()
	for _, id := range ids {
		_, err := fake.CreateContainer(ctx, containerd.CreateContainerRequest{
			ID:       id,
			ImageRef: "busybox",
			SpecOpts: []oci.SpecOpts{oci.WithProcessArgs("sleep", "86400")},
		})
		if err == nil {
			_, err = fake.StartTask(ctx, id, nil)
		}
		if err != nil {
			t.Fatalf("starting %s: %v", id, err)
		}
	}
	return fake.DefaultService, t.End
}
