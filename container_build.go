package containerd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/platforms"
	"github.com/containerd/typeurl/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// build is what a container's record is made from.
type build struct {
	request     CreateContainerRequest
	image       containerd.Image
	info        *imageInfo
	snapshotter string
	key         string        // of the active snapshot
	mounts      []mount.Mount // of the active snapshot
	fresh       bool          // the snapshot has nothing but the image's files
	origin      string
}

// buildRecord is the one place that turns a request into a container's record.
func (s *DefaultService) buildRecord(ctx context.Context, b *build) (*containers.Container, error) {
	runtime, err := s.runtime(ctx)
	if err != nil {
		return nil, err
	}
	record := &containers.Container{
		ID:          b.request.ID,
		Image:       b.image.Name(),
		Labels:      recordLabels(b.request.Labels, b.info.config.StopSignal),
		Runtime:     containers.RuntimeInfo{Name: runtime},
		Snapshotter: b.snapshotter,
		SnapshotKey: b.key,
		Extensions:  map[string]typeurl.Any{extensionOrigin: originExtension(b.origin)},
	}
	spec, err := s.buildSpec(ctx, b, record)
	if err != nil {
		return nil, err
	}
	if record.Spec, err = typeurl.MarshalAny(spec); err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	return record, nil
}

// recordLabels adds the image's stop signal, where [Service.StopTask] and
// other clients of containerd look for it.
func recordLabels(requested map[string]string, stopSignal string) map[string]string {
	labels := maps.Clone(requested)
	if stopSignal == "" || labels[containerd.StopSignalLabel] != "" {
		return labels
	}
	if labels == nil {
		labels = make(map[string]string)
	}
	labels[containerd.StopSignalLabel] = stopSignal
	return labels
}

// buildSpec applies containerd's defaults, the image's settings, the service's
// options, the request's SpecOpts and at last the seccomp profile, which
// depends on the final capabilities.
func (s *DefaultService) buildSpec(ctx context.Context, b *build, record *containers.Container) (*oci.Spec, error) {
	wanted := &specs.LinuxSeccomp{} // stands for the default profile until SpecOpts are through
	opts := []oci.SpecOpts{
		withImageSettings(b.info.config),
		s.withImageUser(b),
		func(_ context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
			spec.Process.NoNewPrivileges = !s.config.newPrivileges
			if spec.Linux != nil && !s.config.noSeccomp {
				spec.Linux.Seccomp = wanted
			}
			return nil
		},
	}
	opts = append(opts, b.request.SpecOpts...)
	spec, err := oci.GenerateSpecWithPlatform(ctx, s.client, platforms.DefaultString(), record, opts...)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	if spec.Linux != nil && spec.Linux.Seccomp == wanted {
		spec.Linux.Seccomp = nil
		if supported, err := s.seccompSupport(ctx, record.Runtime.Name); err != nil {
			return nil, err
		} else if supported == Supported {
			spec.Linux.Seccomp = seccomp.DefaultProfile(spec)
		}
	}
	return spec, checkProcess(spec.Process)
}

func checkProcess(p *specs.Process) error {
	if p == nil {
		return nil
	}
	return firstError(
		checkStrings("Process.Args", p.Args),
		checkStrings("Process.Env", p.Env),
		checkStrings("Process.Cwd", []string{p.Cwd}),
	)
}

// defaultPath is the PATH of images that have none, as in Docker.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// withImageSettings takes command, environment and working directory from the
// image's configuration.
func withImageSettings(config ocispec.ImageConfig) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
		p := spec.Process
		p.Args = slices.Concat(config.Entrypoint, config.Cmd)
		p.Env = slices.Clone(config.Env)
		if !slices.ContainsFunc(p.Env, func(entry string) bool { return strings.HasPrefix(entry, "PATH=") }) {
			p.Env = slices.Insert(p.Env, 0, defaultPath)
		}
		p.Cwd = "/"
		if config.WorkingDir != "" {
			p.Cwd = config.WorkingDir
		}
		return nil
	}
}
