package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctrdkit/containerd/internal/rootfs"
)

// withImageUser sets the user that the image's configuration names, with the
// groups that the image's /etc/passwd and /etc/group give it, as Docker does.
// For a snapshot fresh from the image the answer is remembered.
func (s *DefaultService) withImageUser(b *build) oci.SpecOpts {
	return func(ctx context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
		name := b.info.config.User
		resolve := func() (specs.User, error) { return lookupUser(ctx, b.mounts, name) }
		if b.fresh {
			resolve = func() (specs.User, error) { return b.info.user(ctx, b.mounts) }
		}
		found, err := resolve()
		if err != nil {
			return fmt.Errorf("image user %s: %w", quoted(name), err)
		}
		spec.Process.User = found
		return nil
	}
}

// user resolves the configured user in the image's own files, once.
func (i *imageInfo) user(ctx context.Context, mounts []mount.Mount) (specs.User, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.resolved == nil {
		found, err := lookupUser(ctx, mounts, i.config.User)
		if err != nil {
			return specs.User{}, err
		}
		i.resolved = &found
	}
	found := *i.resolved
	found.AdditionalGids = slices.Clone(found.AdditionalGids)
	return found, nil
}

// lookupUser resolves a user such as "app", "1000" or "app:www" in the root
// file system of mounts. A numeric user needs no entry there.
func lookupUser(ctx context.Context, mounts []mount.Mount, name string) (specs.User, error) {
	passwd, group, err := userFiles(ctx, mounts)
	if err != nil && !(errors.Is(err, fs.ErrPermission) && numeric(name)) {
		return specs.User{}, err
	}
	found, err := user.GetExecUser(name, nil, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return specs.User{}, fmt.Errorf("%w: %w", err, ErrUserNotFound)
	}
	result := specs.User{UID: uint32(found.Uid), GID: uint32(found.Gid), AdditionalGids: []uint32{uint32(found.Gid)}}
	for _, gid := range found.Sgids {
		if !slices.Contains(result.AdditionalGids, uint32(gid)) {
			result.AdditionalGids = append(result.AdditionalGids, uint32(gid))
		}
	}
	return result, nil
}

func userFiles(ctx context.Context, mounts []mount.Mount) (passwd, group []byte, err error) {
	files, err := rootfs.ReadFiles(ctx, mounts, "etc/passwd", "etc/group")
	if err != nil {
		return nil, nil, err
	}
	return files[0], files[1], nil
}

// numeric says whether a user specification needs no file to be resolved.
func numeric(name string) bool {
	return strings.Trim(name, "0123456789:") == ""
}
