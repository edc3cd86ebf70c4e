// Package integration_test runs the conformance suite on real daemons, and
// shows what only a real kernel, runtime and registry can show.
package integration_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/ctrdkit/containerd/embedded"
	"github.com/ctrdkit/containerd/internal/testimage"
	_ "github.com/ctrdkit/containerd/logger" // for LogIO
)

// shared is what all tests of the package use: one embedded daemon, one
// registry, one image.
var shared struct {
	daemon   *embedded.Daemon
	registry *testimage.Registry
	userland testimage.Image
	image    string // reference of the userland image
}

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if isHelper() {
		return 0, runHelper()
	}
	left, err := watchLeftovers()
	if err != nil {
		return 1, err
	}
	defer func() {
		if err == nil {
			err = left.check()
		}
	}()
	ctx := context.Background()
	binary, err := testimage.BuildUserland(ctx)
	if err != nil {
		return 1, err
	}
	shared.userland = testimage.Userland(binary)
	content, err := testimage.Make(shared.userland)
	if err != nil {
		return 1, err
	}
	shared.registry = testimage.NewRegistry()
	defer shared.registry.Close()
	shared.image = shared.registry.Push("userland:v1", content)

	shared.daemon, err = embedded.Start(ctx, &embedded.Options{Log: daemonLog()})
	if err != nil {
		return 1, err
	}
	noteDaemon(shared.daemon)
	defer func() {
		if closeErr := shared.daemon.Close(); closeErr != nil && err == nil {
			code, err = 1, closeErr
		}
	}()
	return m.Run(), nil
}
