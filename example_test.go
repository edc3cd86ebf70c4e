package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

func ExampleDefaultService_CreateContainer() {
	ctx := context.Background()
	svc, end := openFake() // in a program: containerd.Open(ctx)
	defer end()

	container, err := svc.CreateContainer(ctx, containerd.CreateContainerRequest{
		ID:       "web",
		ImageRef: "busybox",
		Labels:   map[string]string{"example.com/app": "shop"},
		SpecOpts: []oci.SpecOpts{oci.WithProcessArgs("sleep", "60"), oci.WithProcessCwd("/tmp")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	spec, err := container.Spec(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(container.ID(), spec.Process.Args, spec.Process.Cwd)
	fmt.Println("no new privileges:", spec.Process.NoNewPrivileges)
	// Output:
	// web [sleep 60] /tmp
	// no new privileges: true
}

func ExampleDefaultService_ExecTask() {
	ctx := context.Background()
	svc, end := openFake("web") // a running container
	defer end()

	result, err := svc.ExecTask(ctx, "web", containerd.ExecTaskRequest{
		Args:     []string{"sh", "-c", `echo "$GREETING from a container"; exit 3`},
		Env:      []string{"GREETING=hello"},
		UseStdio: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("exit code", result.ExitCode)
	// Output:
	// hello from a container
	// exit code 3
}

func ExampleDefaultService_StopTask() {
	ctx := context.Background()
	svc, end := openFake("web") // a running container that ignores SIGTERM
	defer end()

	err := svc.StopTask(ctx, "web", &containerd.StopTaskOptions{Signal: syscall.SIGTERM, Timeout: 5 * time.Second})
	if errors.Is(err, containerd.ErrTaskStopTimeout) {
		fmt.Println("it is still running")
	}
	err = svc.StopTask(ctx, "web", &containerd.StopTaskOptions{Timeout: 5 * time.Second, Force: true})
	fmt.Println("killed:", err == nil)
	// Output:
	// it is still running
	// killed: true
}

func ExampleDefaultService_ListContainersByLabel() {
	ctx := context.Background()
	svc, end := openFake()
	defer end()

	const label = "example.com/app"
	for id, app := range map[string]string{"web": "shop", "db": "shop", "wiki": "docs"} {
		_, err := svc.CreateContainer(ctx, containerd.CreateContainerRequest{
			ID: id, ImageRef: "busybox", Labels: map[string]string{label: app},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}

	containers, err := svc.ListContainersByLabel(ctx, label, "shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range containers {
		fmt.Println(c.ID())
	}
	// Unordered output:
	// db
	// web
}

func ExampleError() {
	ctx := context.Background()
	svc, end := openFake()
	defer end()

	_, err := svc.StartTask(ctx, "web", nil)
	switch {
	case err == nil:
		fmt.Println("started")
	case errdefs.IsNotFound(err):
		fmt.Println("no such container, or no such program in it")
	case errdefs.IsAlreadyExists(err):
		fmt.Println("running already")
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Println("out of time")
	}
	if e, ok := errors.AsType[*containerd.Error](err); ok {
		fmt.Printf("%s, %q\n", e.Op, e.ID)
	}
	// Output:
	// no such container, or no such program in it
	// start task, "web"
}
