// Package gobuild compiles this module's own programs, where tests and examples
// need one as a file.
package gobuild

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
)

// Static compiles the program of the package pkg to the file out: static, and
// without the race detector. It needs the Go toolchain and this module's source.
func Static(ctx context.Context, pkg, out string) error {
	tool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("building %s needs the go command: %w", pkg, err)
	}
	cmd := exec.CommandContext(ctx, tool, "build", "-trimpath", "-race=false", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w: %s", pkg, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}
