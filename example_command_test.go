package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ctrdkit/containerd"
)

func ExampleCommand() {
	svc, end := openFake("web")
	defer end()
	ctx := context.Background()

	c := containerd.Command(svc, "web", "cat")
	c.Stdin = strings.NewReader("hello")
	out, err := c.Output(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", out)
	// Output: hello
}

func ExampleExitError() {
	svc, end := openFake("web")
	defer end()
	ctx := context.Background()

	err := containerd.Command(svc, "web", "sh", "-c", "echo no such user >&2; exit 3").Run(ctx)
	if failed, ok := errors.AsType[*containerd.ExitError](err); ok {
		fmt.Printf("%v: %s", failed, failed.Stderr)
	}

	err = containerd.Command(svc, "web", "no-such-program").Run(ctx)
	fmt.Println(errors.Is(err, containerd.ErrExecutableNotFound))
	// Output:
	// exit status 3: no such user
	// true
}

func ExampleCmd_StdoutPipe() {
	svc, end := openFake("web")
	defer end()
	ctx := context.Background()

	c := containerd.Command(svc, "web", "sh", "-c", "echo one; echo two")
	out, err := c.StdoutPipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	text, err := io.ReadAll(out) // to its end, before Wait
	if err := errors.Join(err, c.Wait()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", text)
	// Output:
	// one
	// two
}

// A process that goes on without the program that started it.
func ExampleDefaultService_StartExec() {
	svc, end := openFake("web")
	defer end()
	ctx := context.Background()

	_, err := svc.StartExec(ctx, "web", containerd.StartExecRequest{
		ID: "migration", Args: []string{"sh", "-c", "exit 4"}, Detach: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// Later, or in another process:
	x, err := svc.OpenExec(ctx, "web", "migration")
	if err != nil {
		fmt.Println(err)
		return
	}
	exit, err := x.Wait(ctx)
	if err := errors.Join(err, x.Remove(ctx)); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("exit code", exit.Code)
	// Output: exit code 4
}
