package main

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/pkg/oci"

	"github.com/ctrdkit/containerd/internal/testimage"
)

// sampleImage builds a small Linux image, with a shell and the usual commands,
// and serves it from a registry on loopback, so that pulling it is real.
func sampleImage(ctx context.Context) (_ *testimage.Registry, ref string, err error) {
	start := time.Now()
	binary, err := testimage.BuildUserland(ctx)
	if err != nil {
		return nil, "", err
	}
	image := testimage.Userland(binary)
	image.Config.StopSignal = "SIGINT"
	content, err := testimage.Make(image)
	if err != nil {
		return nil, "", err
	}
	registry := testimage.NewRegistry()
	ref = registry.Push("sample:v1", content)
	report("build and serve a sample image", start, fmt.Sprintf("%s, %s of userland", ref, size(int64(len(binary)))))
	return registry, ref, nil
}

// withArgs replaces the image's command.
func withArgs(args []string) oci.SpecOpts { return oci.WithProcessArgs(args...) }

func size(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
