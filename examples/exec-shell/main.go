// Command exec-shell runs an interactive shell, or another command, in a running
// container, on this terminal:
//
//	exec-shell CONTAINER [COMMAND [ARG...]]
//
// It uses the daemon and the namespace that CONTAINERD_ADDRESS and
// CONTAINERD_NAMESPACE name, and ends with the command's exit code.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: exec-shell CONTAINER [COMMAND [ARG...]]")
		os.Exit(2)
	}
	args := os.Args[2:]
	if len(args) == 0 {
		args = []string{"sh"}
	}
	code, err := run(context.Background(), os.Args[1], args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "exec-shell:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(ctx context.Context, containerID string, args []string) (code int, err error) {
	terminal, err := console.ConsoleFromFile(os.Stdin)
	if err != nil {
		return 0, fmt.Errorf("stdin: %w", err)
	}
	svc, err := containerd.Open(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, svc.Close()) }()

	// From here on every key goes to the container, ^C too.
	if err := terminal.SetRaw(); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, terminal.Reset()) }()
	return shell(ctx, svc, containerID, args, terminal)
}

// shell runs args in the container, with a terminal that follows the size of
// this one, and returns the exit code.
func shell(ctx context.Context, svc containerd.Executor, containerID string, args []string, terminal console.Console) (int, error) {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	size, err := terminal.Size()
	if err != nil {
		return 0, err
	}
	process, err := svc.StartExec(ctx, containerID, containerd.StartExecRequest{
		Args: args, Env: []string{"TERM=" + os.Getenv("TERM")},
		Terminal: true, Width: uint32(size.Width), Height: uint32(size.Height),
		Stdin: os.Stdin, Stdout: os.Stdout,
	})
	if err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	followed := make(chan error, 1)
	go func() { followed <- follow(ctx, process, terminal, resized, ended) }()
	exit, err := process.Wait(ctx)
	close(ended)
	return int(exit.Code), errors.Join(err, <-followed)
}

// follow gives the process's terminal the size of this one, until it has ended.
func follow(ctx context.Context, process containerd.Exec, terminal console.Console, resized <-chan os.Signal, ended <-chan struct{}) error {
	for {
		select {
		case <-ended:
			return nil
		case <-resized:
		}
		size, err := terminal.Size()
		if err != nil {
			return err
		}
		err = process.Resize(ctx, uint32(size.Width), uint32(size.Height))
		select {
		case <-ended: // it has no terminal any more
			return nil
		default:
		}
		if err != nil {
			return err
		}
	}
}
