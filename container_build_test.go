package containerd

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// createWith creates a container of an image with the configuration and
// returns its spec and its stored labels.
func createWith(t *testing.T, config ocispec.ImageConfig, req CreateContainerRequest, opts ...Option) (*oci.Spec, map[string]string) {
	t.Helper()
	d := newDaemon(t)
	supported := true
	d.seccomp = &supported
	d.addImage("registry.test/built:1", ocispec.Image{Platform: platforms.DefaultSpec(), Config: config})
	req.ID, req.ImageRef = "new", "registry.test/built:1"
	_, err := d.service(opts...).CreateContainer(t.Context(), req)
	require.NoError(t, err)
	record := d.record("new")
	spec := &oci.Spec{}
	require.NoError(t, json.Unmarshal(record.GetSpec().GetValue(), spec))
	return spec, record.GetLabels()
}

// changeSpec is a SpecOpt that calls change.
func changeSpec(change func(spec *oci.Spec) error) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
		return change(spec)
	}
}

func TestSpecTakesTheImagesSettings(t *testing.T) {
	spec, _ := createWith(t, ocispec.ImageConfig{
		Entrypoint: []string{"/app"}, Cmd: []string{"-v"}, Env: []string{"A=1", "PATH=/x"}, WorkingDir: "/data",
	}, CreateContainerRequest{})
	assert.Equal(t, []string{"/app", "-v"}, spec.Process.Args)
	assert.Equal(t, []string{"A=1", "PATH=/x"}, spec.Process.Env)
	assert.Equal(t, "/data", spec.Process.Cwd)
}

func TestSpecOfAnImageThatSaysLittle(t *testing.T) {
	spec, labels := createWith(t, ocispec.ImageConfig{Env: []string{"A=1"}}, CreateContainerRequest{})
	assert.Empty(t, spec.Process.Args)
	assert.Equal(t, []string{defaultPath, "A=1"}, spec.Process.Env)
	assert.Equal(t, "/", spec.Process.Cwd)
	assert.Empty(t, labels)
}

func TestSpecIsSafeByDefault(t *testing.T) {
	spec, _ := createWith(t, ocispec.ImageConfig{}, CreateContainerRequest{})
	assert.True(t, spec.Process.NoNewPrivileges)
	require.NotNil(t, spec.Linux)
	assert.NotNil(t, spec.Linux.Seccomp)
	assert.NotEmpty(t, spec.Linux.MaskedPaths)
	assert.NotContains(t, spec.Process.Capabilities.Bounding, "CAP_SYS_ADMIN")
}

func TestOptionsSwitchSafetyOff(t *testing.T) {
	spec, _ := createWith(t, ocispec.ImageConfig{}, CreateContainerRequest{}, WithNewPrivileges(), WithoutSeccomp())
	assert.False(t, spec.Process.NoNewPrivileges)
	assert.Nil(t, spec.Linux.Seccomp)
}

func TestSeccompProfileFollowsTheFinalCapabilities(t *testing.T) {
	allows := func(opts ...oci.SpecOpts) bool {
		spec, _ := createWith(t, ocispec.ImageConfig{}, CreateContainerRequest{SpecOpts: opts})
		for _, rule := range spec.Linux.Seccomp.Syscalls {
			for _, name := range rule.Names {
				if name == "mount" && rule.Action == specs.ActAllow {
					return true
				}
			}
		}
		return false
	}
	assert.False(t, allows())
	assert.True(t, allows(oci.WithAddedCapabilities([]string{"CAP_SYS_ADMIN"})))
}

func TestSpecOptsDecideOnSeccomp(t *testing.T) {
	own := &specs.LinuxSeccomp{DefaultAction: specs.ActKill}
	for name, want := range map[string]*specs.LinuxSeccomp{"set": own, "cleared": nil} {
		t.Run(name, func(t *testing.T) {
			spec, _ := createWith(t, ocispec.ImageConfig{}, CreateContainerRequest{SpecOpts: []oci.SpecOpts{
				changeSpec(func(spec *oci.Spec) error { spec.Linux.Seccomp = want; return nil }),
			}})
			assert.Equal(t, want, spec.Linux.Seccomp)
		})
	}
}

func TestSpecOptsMayRemoveWholeSections(t *testing.T) {
	spec, _ := createWith(t, ocispec.ImageConfig{}, CreateContainerRequest{SpecOpts: []oci.SpecOpts{
		changeSpec(func(spec *oci.Spec) error { spec.Linux, spec.Process = nil, nil; return nil }),
	}})
	assert.Nil(t, spec.Linux)
	assert.Nil(t, spec.Process)
}

func TestLabelsOfTheRequestAndTheImagesStopSignal(t *testing.T) {
	config := ocispec.ImageConfig{StopSignal: "SIGINT", Labels: map[string]string{"of.the": "image"}}
	given := map[string]string{"a": "b"}
	for name, test := range map[string]struct{ labels, want map[string]string }{
		"none": {nil, map[string]string{containerd.StopSignalLabel: "SIGINT"}},
		"some": {given, map[string]string{"a": "b", containerd.StopSignalLabel: "SIGINT"}},
		"theirs wins": {map[string]string{containerd.StopSignalLabel: "SIGHUP"},
			map[string]string{containerd.StopSignalLabel: "SIGHUP"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, labels := createWith(t, config, CreateContainerRequest{Labels: test.labels}, WithReservedLabels())
			assert.Equal(t, test.want, labels)
		})
	}
	assert.Equal(t, map[string]string{"a": "b"}, given, "the caller's map is not written to")
}

func TestSpecThatTheKernelWouldRefuse(t *testing.T) {
	long := strings.Repeat("x", maxArgument)
	for field, change := range map[string]func(p *specs.Process){
		"Process.Args": func(p *specs.Process) { p.Args = []string{"a\x00"} },
		"Process.Env":  func(p *specs.Process) { p.Env = []string{long} },
		"Process.Cwd":  func(p *specs.Process) { p.Cwd = "/\x00" },
	} {
		t.Run(field, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			before := d.state()
			req := newContainer
			req.SpecOpts = []oci.SpecOpts{changeSpec(func(spec *oci.Spec) error { change(spec.Process); return nil })}

			_, err := s.CreateContainer(t.Context(), req)

			assertError(t, err, opCreateContainer, errdefs.IsInvalidArgument, field)
			assert.Contains(t, err.Error(), field)
			assert.Equal(t, before, d.state())
		})
	}
}

func TestSpecOptThatFails(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	before := d.state()
	req := newContainer
	req.SpecOpts = []oci.SpecOpts{changeSpec(func(*oci.Spec) error { return errdefs.ErrOutOfRange })}

	_, err := s.CreateContainer(t.Context(), req)

	assertError(t, err, opCreateContainer, errdefs.IsOutOfRange, "the opt's own class")
	assert.Equal(t, before, d.state())
}

func TestRequestsThatAreRefusedBeforeAnythingIsMade(t *testing.T) {
	for field, change := range map[string]func(*CreateContainerRequest){
		"ID":          func(r *CreateContainerRequest) { r.ID = "a/b" },
		"ImageRef":    func(r *CreateContainerRequest) { r.ImageRef = "NOT VALID" },
		"SnapshotID":  func(r *CreateContainerRequest) { r.SnapshotID = "\x00" },
		"Snapshotter": func(r *CreateContainerRequest) { r.Snapshotter = "\xff" },
		"Labels": func(r *CreateContainerRequest) {
			r.Labels = map[string]string{"containerd.io/restart.status": "running"}
		},
		"SpecOpts[1]": func(r *CreateContainerRequest) { r.SpecOpts = []oci.SpecOpts{oci.WithDefaultSpec(), nil} },
	} {
		t.Run(field, func(t *testing.T) {
			d := newDaemon(t)
			req := newContainer
			change(&req)

			_, err := d.service().CreateContainer(t.Context(), req)

			assertError(t, err, opCreateContainer, errdefs.IsInvalidArgument, field)
			assert.Contains(t, err.Error(), field)
			assert.Empty(t, d.Calls())
		})
	}
}

func TestCreateContainerFailsWithoutTheNamespacesRuntime(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	before := d.state()
	d.fail("Namespaces/Get", errdefs.ErrPermissionDenied)
	req := newContainer
	req.Snapshotter = testSnapshotter // so that only the runtime is asked for

	_, err := s.CreateContainer(t.Context(), req)

	assertError(t, err, opCreateContainer, errdefs.IsPermissionDenied, "which runtime?")
	assert.Equal(t, before, d.state())
}

func TestCreateContainerInASnapshotterThatIsNotThere(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	before := d.state()
	for _, method := range []string{"Snapshots/Prepare", "Snapshots/Stat"} {
		d.fail(method, errdefs.ErrInvalidArgument)
	}
	req := newContainer
	req.Snapshotter = "none"

	_, err := s.CreateContainer(t.Context(), req)

	assertError(t, err, opCreateContainer, errdefs.IsInvalidArgument, "no such snapshotter")
	assert.NotContains(t, err.Error(), "cleaned up", "there is nothing to undo")
	assert.Equal(t, before, d.state())
}
