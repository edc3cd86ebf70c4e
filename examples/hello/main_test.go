package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/embedded"
	"github.com/ctrdkit/containerd/internal/testimage"
)

// The program runs as it stands, on a private containerd that has an image
// under busybox's name.
func TestMain(m *testing.M) {
	code, err := onPrivateDaemon(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func onPrivateDaemon(run func() int) (code int, err error) {
	ctx := context.Background()
	daemon, err := embedded.Start(ctx, nil)
	if err != nil {
		return 1, err
	}
	defer func() {
		if closeErr := daemon.Close(); err == nil {
			err = closeErr
		}
	}()
	if err := os.Setenv("CONTAINERD_ADDRESS", daemon.Address()); err != nil {
		return 1, err
	}
	if err := addBusybox(ctx); err != nil {
		return 1, err
	}
	return run(), nil
}

func addBusybox(ctx context.Context) error {
	binary, err := testimage.BuildUserland(ctx)
	if err != nil {
		return err
	}
	content, err := testimage.Make(testimage.Userland(binary))
	if err != nil {
		return err
	}
	registry := testimage.NewRegistry()
	defer registry.Close()
	svc, err := containerd.Open(ctx)
	if err != nil {
		return err
	}
	image, err := svc.PullImage(ctx, registry.Push("userland:v1", content), nil)
	if err != nil {
		return err
	}
	_, err = svc.Client().ImageService().Create(namespaces.WithNamespace(ctx, svc.Namespace()),
		images.Image{Name: "docker.io/library/busybox:latest", Target: image.Target()})
	if err != nil {
		return err
	}
	return svc.Close()
}

func Example() {
	main()
	// Output:
	// hello from a container
	// exit code 0
}
