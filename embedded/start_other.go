//go:build !linux

package embedded

import (
	"context"
	"fmt"
	"runtime"

	"github.com/containerd/errdefs"
)

func start(context.Context, Options) (*Daemon, error) {
	return nil, fmt.Errorf("operating system %q: %w", runtime.GOOS, errdefs.ErrNotImplemented)
}
