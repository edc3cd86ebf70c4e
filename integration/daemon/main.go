// Daemon runs an embedded containerd for the integration tests. It is a program
// of its own so that the daemon and the shims of all containers, which are the
// same binary, are built without the race detector: the tests' own process is
// the one to be checked, and a raced shim takes several times as long to start.
//
// With a directory as its argument, that is the daemon's root. It prints the
// daemon's PID and its address in a line, and closes the daemon at the end of
// its input. It ends too, without any clean-up, when the daemon does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ctrdkit/containerd/embedded"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	opts := embedded.Options{Log: os.Stderr}
	if len(os.Args) > 1 {
		opts.Root = os.Args[1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d, err := embedded.Start(ctx, &opts)
	if err != nil {
		return err
	}
	if _, err := fmt.Println(d.PID(), d.Address()); err != nil {
		return errors.Join(err, d.Close())
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	select {
	case err := <-ended:
		return errors.Join(err, d.Close())
	case <-d.Done():
		return errors.New("containerd has ended")
	}
}
