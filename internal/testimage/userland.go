package testimage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctrdkit/containerd/internal/applets"
	"github.com/ctrdkit/containerd/internal/gobuild"
)

// userlandPackage is the program that is the image's shell and all its commands.
const userlandPackage = "github.com/ctrdkit/containerd/internal/userland"

// BuildUserland compiles the userland, a static binary of a few megabytes. It
// needs the Go toolchain and this module's source.
func BuildUserland(ctx context.Context) (binary []byte, err error) {
	dir, err := os.MkdirTemp("", "userland-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out := filepath.Join(dir, "userland")
	if err := gobuild.Static(ctx, userlandPackage, out); err != nil {
		return nil, fmt.Errorf("making the sample image: %w", err)
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
