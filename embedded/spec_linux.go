package embedded

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"
)

// adaptSpec returns a container's spec as this daemon can run it. The stored
// spec stays as the client made it.
func (d *daemon) adaptSpec(ctx context.Context, id string, given typeurl.Any) (typeurl.Any, error) {
	if given == nil || given.GetValue() == nil {
		return given, nil
	}
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	var spec specs.Spec
	if err := json.Unmarshal(given.GetValue(), &spec); err != nil {
		return nil, fmt.Errorf("spec of container %q: %w: %w", id, err, errdefs.ErrInvalidArgument)
	}
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	if d.Rootless {
		err = d.rootlessSpec(&spec)
	} else {
		prefixCgroup(spec.Linux, cgroupParent(d.Root), path.Join(ns, id))
	}
	if err != nil {
		return nil, fmt.Errorf("spec of container %q: %w", id, err)
	}
	value, err := json.Marshal(&spec)
	if err != nil {
		return nil, err
	}
	return &anypb.Any{TypeUrl: given.GetTypeUrl(), Value: value}, nil
}

// prefixCgroup puts a container's cgroup below parent. A path of systemd's form,
// slice:prefix:name, is left alone.
func prefixCgroup(linux *specs.Linux, parent, fallback string) {
	if strings.Contains(linux.CgroupsPath, ":") {
		return
	}
	child := linux.CgroupsPath
	if child == "" {
		child = fallback
	}
	linux.CgroupsPath = path.Join("/", parent, path.Join("/", child))
}
