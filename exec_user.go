package containerd

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxUserID is the largest user or group ID that the lookup accepts.
const maxUserID = 1<<31 - 1

// checkUser accepts what can be a user as in an image's configuration.
func checkUser(field, value string) error {
	if err := checkOptional(field, value); err != nil {
		return err
	}
	parts := strings.Split(value, ":")
	if len(parts) > 2 {
		return invalid("%s %s is not user[:group]", field, quoted(value))
	}
	for _, part := range parts {
		if strings.Trim(part, "0123456789") != "" || part == "" {
			continue
		}
		if n, err := strconv.ParseUint(part, 10, 32); err != nil || n > maxUserID {
			return invalid("%s %s has an ID above %d", field, quoted(value), maxUserID)
		}
	}
	return nil
}

// setExecUser sets the user that the request names, with the groups that the
// files of the container's root file system give it, and the request's groups.
func (s *DefaultService) setExecUser(ctx context.Context, record containers.Container, process *specs.Process, req StartExecRequest) error {
	if req.User != "" {
		mounts, err := s.client.SnapshotService(record.Snapshotter).Mounts(ctx, record.SnapshotKey)
		if err != nil {
			return fmt.Errorf("root file system of the container: %w", err)
		}
		found, err := lookupUser(ctx, mounts, req.User)
		if err != nil {
			return fmt.Errorf("user %s: %w", quoted(req.User), err)
		}
		found.Umask = process.User.Umask
		process.User = found
	}
	for _, gid := range req.AdditionalGIDs {
		if !slices.Contains(process.User.AdditionalGids, gid) {
			process.User.AdditionalGids = append(process.User.AdditionalGids, gid)
		}
	}
	return nil
}
