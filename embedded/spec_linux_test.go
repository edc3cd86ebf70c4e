package embedded

import (
	"encoding/json"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"
)

func adapt(t *testing.T, d *daemon, spec specs.Spec) (specs.Spec, error) {
	t.Helper()
	value, err := json.Marshal(spec)
	require.NoError(t, err)
	ctx := namespaces.WithNamespace(t.Context(), "ns")
	adapted, err := d.adaptSpec(ctx, "id", &anypb.Any{TypeUrl: "spec", Value: value})
	if err != nil {
		return specs.Spec{}, err
	}
	assert.Equal(t, "spec", adapted.GetTypeUrl())
	var out specs.Spec
	require.NoError(t, json.Unmarshal(adapted.GetValue(), &out))
	return out, nil
}

func TestCgroupPaths(t *testing.T) {
	d := &daemon{daemonConfig: daemonConfig{Root: "/r"}}
	parent := "/" + cgroupParent("/r")
	for given, want := range map[string]string{
		"":               parent + "/ns/id",
		"/ns/id":         parent + "/ns/id",
		"own":            parent + "/own",
		"/../../../etc":  parent + "/etc",
		"a.slice:pre:id": "a.slice:pre:id",
	} {
		out, err := adapt(t, d, specs.Spec{Linux: &specs.Linux{CgroupsPath: given}})
		require.NoError(t, err)
		assert.Equal(t, want, out.Linux.CgroupsPath, "%q", given)
	}
	out, err := adapt(t, d, specs.Spec{})
	require.NoError(t, err)
	assert.Equal(t, parent+"/ns/id", out.Linux.CgroupsPath)
	assert.NotEqual(t, cgroupParent("/r"), cgroupParent("/s"))
}

func TestRootlessSpec(t *testing.T) {
	d := &daemon{daemonConfig: daemonConfig{Rootless: true}, uids: idMap{{0, 1}}, gids: idMap{{0, 1}, {10, 5}}}
	score := -1000
	shares := uint64(1)
	spec := specs.Spec{
		Process: &specs.Process{
			User:        specs.User{AdditionalGids: []uint32{0, 1, 12}},
			OOMScoreAdj: &score,
			Rlimits:     []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1 << 60, Soft: 1 << 60}, {Type: "RLIMIT_X", Hard: 3}},
		},
		Mounts: []specs.Mount{
			{Destination: "/sys/fs/cgroup", Type: "cgroup"},
			{Destination: "/dev/pts", Type: "devpts", Options: []string{"newinstance", "gid=5", "gid=11"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: "/ns/id",
			Resources:   &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &shares}},
		},
	}
	out, err := adapt(t, d, spec)
	require.NoError(t, err)
	assert.Empty(t, out.Linux.CgroupsPath)
	assert.Nil(t, out.Linux.Resources)
	require.Len(t, out.Mounts, 2)
	assert.Equal(t, []string{"newinstance", "gid=11"}, out.Mounts[0].Options)
	assert.Equal(t, specs.Mount{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"ro", "rbind"}}, out.Mounts[1])
	assert.Equal(t, []uint32{0, 12}, out.Process.User.AdditionalGids)
	assert.Greater(t, *out.Process.OOMScoreAdj, -1000)
	assert.Less(t, out.Process.Rlimits[0].Hard, uint64(1<<60))
	assert.Equal(t, specs.POSIXRlimit{Type: "RLIMIT_X", Hard: 3}, out.Process.Rlimits[1])

	spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.NetworkNamespace}}
	out, err = adapt(t, d, spec)
	require.NoError(t, err)
	assert.Equal(t, "sysfs", out.Mounts[1].Type)

	spec.Process.User.UID = 33
	_, err = adapt(t, d, spec)
	require.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	assert.ErrorContains(t, err, "uid 33")
	spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 33, Size: 1}}
	_, err = adapt(t, d, spec)
	require.NoError(t, err, "the container has IDs of its own")
}

func TestMalformedSpec(t *testing.T) {
	ctx := namespaces.WithNamespace(t.Context(), "ns")
	d := &daemon{}
	_, err := d.adaptSpec(ctx, "id", &anypb.Any{Value: []byte("{")})
	require.True(t, errdefs.IsInvalidArgument(err), "%v", err)
	none, err := d.adaptSpec(ctx, "id", nil)
	require.NoError(t, err)
	assert.Nil(t, none)
}
