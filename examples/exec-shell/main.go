// Command exec-shell runs an interactive shell, or another command, in a running
// container, on this terminal:
//
//	exec-shell CONTAINER [COMMAND [ARG...]]
//
// It uses the daemon and the namespace that CONTAINERD_ADDRESS and
// CONTAINERD_NAMESPACE name, and ends with the command's exit code. When this
// terminal is closed, or SIGTERM comes, the command gets SIGHUP, and is killed if
// it does not end.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

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
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGHUP, unix.SIGTERM)
	code, err := run(ctx, os.Args[1], args)
	stop()
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
	width, height, err := size(terminal)
	if err != nil {
		return 0, err
	}
	process, err := svc.StartExec(ctx, containerID, containerd.StartExecRequest{
		Args: args, Env: []string{"TERM=" + os.Getenv("TERM")},
		Terminal: true, Width: width, Height: height,
		Stdin: os.Stdin, Stdout: os.Stdout,
		StopSignal: unix.SIGHUP, StopGrace: stopGrace,
	})
	if err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	followed := make(chan error, 1)
	go func() { followed <- follow(ctx, process, terminal, resized, ended) }()
	// What ends the process is the context of its start.
	exit, err := process.Wait(context.WithoutCancel(ctx))
	close(ended)
	return int(exit.Code), errors.Join(err, <-followed)
}

// stopGrace is the time in which a command can end by itself.
const stopGrace = 2 * time.Second

// size returns the terminal's size, or 0 for both where it has none, as on some
// serial lines.
func size(terminal console.Console) (width, height uint32, err error) {
	size, err := terminal.Size()
	if err != nil || size.Width == 0 || size.Height == 0 {
		return 0, 0, err
	}
	return uint32(size.Width), uint32(size.Height), nil
}

// follow gives the process's terminal the size of this one, until it has ended.
func follow(ctx context.Context, process containerd.Exec, terminal console.Console, resized <-chan os.Signal, ended <-chan struct{}) error {
	for {
		select {
		case <-ended:
			return nil
		case <-resized:
		}
		width, height, err := size(terminal)
		if err != nil {
			return err
		}
		if width == 0 {
			continue
		}
		err = process.Resize(ctx, width, height)
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
