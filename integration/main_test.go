// Package integration_test runs the conformance suite on real daemons, and
// shows what only a real kernel, runtime and registry can show.
package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/ctrdkit/containerd/internal/testimage"
	_ "github.com/ctrdkit/containerd/logger" // for LogIO
)

// shared is what all tests of the package use: one embedded daemon, one
// registry, one image.
var shared struct {
	program  string // that starts daemons
	daemon   *daemon
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

	dir, err := os.MkdirTemp("", "daemon-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if shared.program, err = buildDaemon(ctx, dir); err != nil {
		return 1, err
	}
	if shared.daemon, err = startDaemon(""); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.daemon.close()) }()
	return m.Run(), nil
}
