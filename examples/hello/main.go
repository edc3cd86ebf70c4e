// Command hello runs one command in a new busybox container.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/ctrdkit/containerd"
)

func main() {
	if err := hello(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func hello(ctx context.Context) (err error) {
	svc, err := containerd.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, svc.Close()) }()

	const id = "hello"
	_, err = svc.CreateContainer(ctx, containerd.CreateContainerRequest{
		ID:       id,
		ImageRef: "busybox",
		SpecOpts: []oci.SpecOpts{oci.WithProcessArgs("sleep", "60")},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, svc.DeleteContainer(ctx, id, nil)) }()

	if _, err = svc.StartTask(ctx, id, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, svc.DeleteTask(ctx, id, &containerd.DeleteTaskOptions{Force: true})) }()

	result, err := svc.ExecTask(ctx, id, containerd.ExecTaskRequest{
		Args:     []string{"echo", "hello from a container"},
		UseStdio: true,
	})
	if err != nil {
		return err
	}
	fmt.Println("exit code", result.ExitCode)
	return nil
}
