package testimage

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctrdkit/containerd/internal/applets"
)

// userlandPackage is the program that is the image's shell and all its commands.
const userlandPackage = "github.com/ctrdkit/containerd/internal/userland"

// BuildUserland compiles the userland, a static binary of a few megabytes. It
// needs the Go toolchain and this module's source.
func BuildUserland(ctx context.Context) (binary []byte, err error) {
	tool, err := exec.LookPath("go")
	if err != nil {
		return nil, fmt.Errorf("building the sample image needs the go command: %w", err)
	}
	dir, err := os.MkdirTemp("", "userland-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out := filepath.Join(dir, "userland")
	cmd := exec.CommandContext(ctx, tool, "build", "-trimpath", "-ldflags", "-s -w", "-o", out, userlandPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("building the sample image's userland: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return os.ReadFile(out)
}

// Userland describes an image with a shell and the usual commands, in three
// layers. Its command waits for SIGTERM; "app" is a user with UID 1000.
func Userland(binary []byte) Image {
	dirs := []string{"bin", "dev", "etc", "home", "home/app", "proc", "root", "sys", "tmp"}
	var base, bin []File
	for _, dir := range dirs {
		f := File{Path: dir + "/", Type: tar.TypeDir}
		if dir == "tmp" {
			f.Mode = 0o1777
		}
		base = append(base, f)
	}
	base = append(base,
		File{Path: "etc/passwd", Content: []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n")},
		File{Path: "etc/group", Content: []byte("root:x:0:\napp:x:1000:\nextra:x:2000:app\n")},
	)
	bin = append(bin, File{Path: "bin/userland", Mode: 0o755, Content: binary})
	for _, name := range applets.Names() {
		bin = append(bin, File{Path: "bin/" + name, Type: tar.TypeSymlink, Link: "userland", Mode: 0o777})
	}
	return Image{
		Layers: []Layer{
			{Files: base},
			{Files: bin},
			{Files: []File{{Path: "etc/motd", Content: []byte("hello from a layer\n")}}},
		},
		Config: ocispec.ImageConfig{
			Env: []string{"PATH=/bin", "FROM_IMAGE=yes"},
			Cmd: []string{"/bin/pause"},
			Labels: map[string]string{
				"org.opencontainers.image.title": "userland",
			},
		},
	}
}
