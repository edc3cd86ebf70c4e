package containerdtest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/internal/exampletest"
)

// startJob is what the examples test: it runs a command in a new container.
func startJob(ctx context.Context, svc containerd.Service, id string, args ...string) error {
	_, err := svc.CreateContainer(ctx, containerd.CreateContainerRequest{
		ID:       id,
		ImageRef: "app",
		SpecOpts: []oci.SpecOpts{oci.WithProcessArgs(args...)},
	})
	if err != nil {
		return err
	}
	_, err = svc.StartTask(ctx, id, nil)
	return err
}

func ExampleNew() {
	t := exampletest.New() // a test has its *testing.T
	defer t.End()
	ctx := context.Background()

	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})
	err := startJob(ctx, fake, "job-1", "sleep", "60")

	fmt.Println("error:", err)
	running, err := fake.ListTasks(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, task := range running {
		fmt.Println(task.ContainerID, task.Status)
	}
	// Output:
	// error: <nil>
	// job-1 RUNNING
}

func ExampleFake_Handle() {
	t := exampletest.New() // a test has its *testing.T
	defer t.End()
	ctx := context.Background()
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})

	fake.Handle(containerdtest.Command("pg_dump"), func(_ context.Context, p *containerdtest.Proc) int {
		if p.Getenv("PGUSER") == "" {
			fmt.Fprintln(p.Stderr, "no user")
			return 1
		}
		return 0
	})

	if err := startJob(ctx, fake, "db", "sleep", "60"); err != nil {
		fmt.Println(err)
		return
	}
	for _, env := range [][]string{nil, {"PGUSER=backup"}} {
		result, err := fake.ExecTask(ctx, "db", containerd.ExecTaskRequest{Args: []string{"pg_dump", "orders"}, Env: env})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(env, "exit code", result.ExitCode)
	}
	// Output:
	// [] exit code 1
	// [PGUSER=backup] exit code 0
}

func ExampleFake_Inject() {
	t := exampletest.New() // a test has its *testing.T
	defer t.End()
	ctx := context.Background()
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})

	fake.Inject(func(op containerdtest.Op) error {
		if op.String() == "Containers/Create" && op.After {
			return containerdtest.ErrCutConnection // it is done, and nobody hears of it
		}
		return nil
	})

	err := startJob(ctx, fake, "job-1", "sleep", "60")
	fmt.Println("unavailable:", errdefs.IsUnavailable(err))
	fake.Inject(nil)
	_, err = fake.GetContainer(ctx, "job-1")
	fmt.Println("nothing left:", errdefs.IsNotFound(err))
	// Output:
	// unavailable: true
	// nothing left: true
}

func ExampleWithVirtualTime() {
	t := exampletest.New() // a test has its *testing.T
	defer t.End()
	ctx := context.Background()

	fake := containerdtest.New(t, containerdtest.WithVirtualTime())
	fake.AddImage("app", containerdtest.Image{})
	if err := startJob(ctx, fake, "job-1", "sleep", "86400"); err != nil { // ignores SIGTERM
		fmt.Println(err)
		return
	}

	began := time.Now()
	err := fake.StopTask(ctx, "job-1", &containerd.StopTaskOptions{Timeout: time.Hour})
	fmt.Println("still running after an hour:", errors.Is(err, containerd.ErrTaskStopTimeout))
	fmt.Println("the test took less than a minute:", time.Since(began) < time.Minute)
	// Output:
	// still running after an hour: true
	// the test took less than a minute: true
}
