// Command quickstart shows the main job of the library on a real containerd:
// the daemon at CONTAINERD_ADDRESS if that is set, else a private one that it
// starts itself. It needs an OCI runtime such as runc on PATH.
//
//	quickstart                     take the tour with a sample image
//	quickstart IMAGE [COMMAND...]  pull IMAGE and run COMMAND in it
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/embedded"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// run does the whole job in a namespace of its own, and leaves nothing behind,
// also when it fails or is interrupted.
func run(ctx context.Context, args []string) (code int, err error) {
	address, closeDaemon, err := daemon(ctx)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, closeDaemon()) }()

	svc, err := containerd.Open(ctx,
		containerd.WithAddress(address),
		containerd.WithNamespace("quickstart-"+strings.ToLower(rand.Text()[:8])))
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, svc.Close()) }()
	defer func() {
		// A context of its own: after Ctrl-C there is still this to do.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, removeAll(ctx, svc))
	}()

	if len(args) > 0 {
		return runImage(ctx, svc, args[0], args[1:])
	}
	return 0, tour(ctx, svc)
}

// daemon returns the address of containerd, and the function that ends what it started.
func daemon(ctx context.Context) (address string, end func() error, err error) {
	if address := os.Getenv("CONTAINERD_ADDRESS"); address != "" {
		return address, func() error { return nil }, nil
	}
	start := time.Now()
	d, err := embedded.Start(ctx, nil)
	if err != nil {
		return "", nil, err
	}
	report("start a private containerd", start, d.Address())
	return d.Address(), d.Close, nil
}

// report prints one line about a step that is done.
func report(step string, start time.Time, detail string) {
	fmt.Printf("%-34s %9s  %s\n", step, time.Since(start).Round(10*time.Microsecond), detail)
}
