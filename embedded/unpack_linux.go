package embedded

import (
	"context"
	"fmt"
	"regexp"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// unpacker says in one sentence what stands in the way of unpacking a layer
// when the daemon has too few user or group IDs.
type unpacker struct {
	differ
}

// Apply unpacks a layer.
func (u unpacker) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	applied, err := u.differ.Apply(ctx, desc, mounts, opts...)
	return applied, explainUnmapped(err)
}

// unmappedID matches what containerd's archive package says when the kernel
// refuses an ID.
var unmappedID = regexp.MustCompile(`Lchown "(?:.*?/containerd-mount\d+)?(/[^"]*)" for UID (\d+), GID (\d+): .*invalid argument`)

func explainUnmapped(err error) error {
	if err == nil {
		return nil
	}
	m := unmappedID.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	return fmt.Errorf("the image's file %s belongs to uid %s and gid %s, which this user has no subordinate IDs for: "+
		"add ranges for the user to /etc/subuid and /etc/subgid, and install newuidmap and newgidmap: %w",
		m[1], m[2], m[3], errdefs.ErrFailedPrecondition)
}
