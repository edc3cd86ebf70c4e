package conformance

import (
	"context"
	"slices"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/ctrdkit/containerd"
)

// dockerCapabilities are what Docker gives a container.
var dockerCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

var specCases = []testCase{
	{name: "CreateContainer: the spec has Docker's default capabilities and no others", run: bothSpecs(func(e *env, spec *oci.Spec) {
		c := spec.Process.Capabilities
		for name, set := range map[string][]string{"bounding": c.Bounding, "effective": c.Effective, "permitted": c.Permitted} {
			slices.Sort(set)
			e.want(slices.Equal(set, dockerCapabilities), "the %s set is %v", name, set)
		}
		e.want(len(c.Inheritable) == 0 && len(c.Ambient) == 0, "the inheritable set is %v, the ambient one %v", c.Inheritable, c.Ambient)
	})},
	{name: "CreateContainer: the spec has no new privileges", run: bothSpecs(func(e *env, spec *oci.Spec) {
		e.want(spec.Process.NoNewPrivileges, "new privileges are allowed")
	})},
	{name: "CreateContainer: the spec masks the usual paths", run: bothSpecs(func(e *env, spec *oci.Spec) {
		for _, path := range []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/scsi", "/sys/firmware"} {
			e.want(slices.Contains(spec.Linux.MaskedPaths, path), "%s is not masked", path)
		}
		for _, path := range []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"} {
			e.want(slices.Contains(spec.Linux.ReadonlyPaths, path), "%s can be written to", path)
		}
	})},
	{name: "CreateContainer: the container has namespaces of its own", run: bothSpecs(func(e *env, spec *oci.Spec) {
		for _, kind := range []specs.LinuxNamespaceType{specs.PIDNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.MountNamespace, specs.NetworkNamespace} {
			e.want(slices.Contains(spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind}), "there is no %s namespace", kind)
		}
	})},
	{name: "CreateContainer: command, environment and directory come from the image", run: func(e *env) {
		name, _ := e.makeImage(made{config: ocispec.ImageConfig{
			Entrypoint: []string{"/entry", "point"}, Cmd: []string{"and", "command"}, Env: []string{"PATH=/x", "A=b"}, WorkingDir: "/work", User: "7:8",
		}})
		p := e.spec(e.record(e.createWith(containerd.CreateContainerRequest{ImageRef: name}))).Process
		e.want(slices.Equal(p.Args, []string{"/entry", "point", "and", "command"}), "args are %q", p.Args)
		e.want(slices.Equal(p.Env, []string{"PATH=/x", "A=b"}), "the environment is %q", p.Env)
		e.want(p.Cwd == "/work" && p.User.UID == 7 && p.User.GID == 8, "the directory is %q, the user %+v", p.Cwd, p.User)
	}},
	{name: "CreateContainer: an image that says nothing runs as root in the root directory with a PATH", run: func(e *env) {
		name, _ := e.makeImage(made{})
		p := e.spec(e.record(e.createWith(containerd.CreateContainerRequest{ImageRef: name}, "/none"))).Process
		e.want(p.Cwd == "/" && p.User.UID == 0 && p.User.GID == 0, "the directory is %q, the user %+v", p.Cwd, p.User)
		e.want(slices.ContainsFunc(p.Env, func(v string) bool { return len(v) > 5 && v[:5] == "PATH=" }), "the environment is %q", p.Env)
	}},
	{name: "CreateContainer: SpecOpts are applied in order, after the image's settings", run: func(e *env) {
		var seen []string
		note := func(_ context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
			seen = append(seen, spec.Process.Args[0])
			return nil
		}
		id := e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{
			oci.WithProcessArgs("first"), note, oci.WithProcessArgs("second"), note, oci.WithHostname("named"),
		}})
		spec := e.spec(e.record(id))
		e.want(slices.Equal(seen, []string{"first", "second"}), "saw %q", seen)
		e.want(spec.Process.Args[0] == "second" && spec.Hostname == "named", "got %q and %q", spec.Process.Args, spec.Hostname)
	}},
	{name: "CreateContainer: SpecOpts can widen and narrow what is safe", run: func(e *env) {
		id := e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{
			oci.WithNewPrivileges, oci.WithCapabilities([]string{"CAP_KILL"}), oci.WithMaskedPaths([]string{"/x"}),
		}})
		spec := e.spec(e.record(id))
		e.want(!spec.Process.NoNewPrivileges && slices.Equal(spec.Process.Capabilities.Bounding, []string{"CAP_KILL"}) &&
			slices.Equal(spec.Linux.MaskedPaths, []string{"/x"}), "got %+v", spec.Process)
	}},
	{name: "CreateContainer: SpecOpts see the record with its ID, image and snapshot", run: func(e *env) {
		id, seen := e.id(), containers.Container{}
		look := func(_ context.Context, _ oci.Client, c *containers.Container, _ *oci.Spec) error {
			seen = *c
			return nil
		}
		e.createWith(containerd.CreateContainerRequest{ID: id, SpecOpts: []oci.SpecOpts{look}})
		e.want(seen.ID == id && seen.Image == e.Image && seen.SnapshotKey == id && seen.Snapshotter == e.Snapshotter, "saw %+v", seen)
	}},
	{name: "CreateContainer: SpecOpts can use the client and a context of the service's namespace", run: func(e *env) {
		look := func(ctx context.Context, c oci.Client, r *containers.Container, _ *oci.Spec) error {
			_, err := c.SnapshotService(r.Snapshotter).Stat(ctx, r.SnapshotKey)
			return err
		}
		e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{look}})
	}},
	{name: "CreateContainer: the next container has the image's settings again", run: func(e *env) {
		e.create("changed")
		p := e.spec(e.record(e.create())).Process
		image, err := e.Client.GetImage(e.raw, e.Image)
		e.ok(err)
		config, err := image.Spec(e.raw)
		e.ok(err)
		e.want(slices.Equal(p.Args, slices.Concat(config.Config.Entrypoint, config.Config.Cmd)), "args are %q", p.Args)
	}},
	{name: "CreateContainer: a reference that was moved to another image gives that image's settings", run: func(e *env) {
		name, _ := e.makeImage(made{config: ocispec.ImageConfig{Cmd: []string{"old"}}})
		e.createWith(containerd.CreateContainerRequest{ImageRef: name})
		_, target := e.makeImage(made{config: ocispec.ImageConfig{Cmd: []string{"new"}}})
		_, err := e.Client.ImageService().Update(e.raw, images.Image{Name: name, Target: target}, "target")
		e.ok(err)
		p := e.spec(e.record(e.createWith(containerd.CreateContainerRequest{ImageRef: name}))).Process
		e.want(slices.Equal(p.Args, []string{"new"}), "args are %q", p.Args)
	}},
}

// bothSpecs runs check on the specs of both ways of creating.
func bothSpecs(check func(e *env, spec *oci.Spec)) func(*env) {
	return func(e *env) {
		check(e, e.spec(e.record(e.create())))
		id := e.id()
		e.from(id, e.prepared())
		check(e, e.spec(e.record(id)))
	}
}

var seccompCases = []testCase{
	{name: "seccomp: the default profile is set exactly where the runtime has seccomp", run: bothSpecs(func(e *env, spec *oci.Spec) {
		if !e.runtimeHasSeccomp() {
			e.want(spec.Linux.Seccomp == nil, "the runtime would refuse the profile")
			return
		}
		e.want(spec.Linux.Seccomp != nil && spec.Linux.Seccomp.DefaultAction == specs.ActErrno, "the profile is %v", spec.Linux.Seccomp)
		e.want(!allows(spec, "mount"), "the profile allows mount")
		e.want(allows(spec, "read"), "the profile does not allow read")
	})},
	{name: "seccomp: the profile follows the capabilities that SpecOpts leave", run: func(e *env) {
		id := e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithAddedCapabilities([]string{"CAP_SYS_ADMIN"})}})
		spec := e.spec(e.record(id))
		e.want(!e.runtimeHasSeccomp() || allows(spec, "mount"), "CAP_SYS_ADMIN does not allow mount")
		id = e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithCapabilities(nil)}})
		spec = e.spec(e.record(id))
		e.want(!e.runtimeHasSeccomp() || !allows(spec, "chroot"), "chroot is allowed without CAP_SYS_CHROOT")
	}},
	{name: "seccomp: a profile that a SpecOpt sets stays", run: func(e *env) {
		own := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"reboot"}, Action: specs.ActErrno}}}
		spec := e.spec(e.record(e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{setSeccomp(own)}})))
		got := spec.Linux.Seccomp
		e.want(got != nil && got.DefaultAction == specs.ActAllow && len(got.Syscalls) == 1, "the profile is %v", got)
	}},
	{name: "seccomp: a profile that a SpecOpt clears stays cleared", run: func(e *env) {
		spec := e.spec(e.record(e.createWith(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{setSeccomp(nil)}})))
		e.want(spec.Linux.Seccomp == nil, "the profile is %v", spec.Linux.Seccomp)
	}},
	{name: "seccomp: a container with the default profile runs", run: func(e *env) {
		e.want(e.sh(e.start(), "exit 7") == 7, "the exec failed")
	}},
}

func setSeccomp(profile *specs.LinuxSeccomp) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
		spec.Linux.Seccomp = profile
		return nil
	}
}

// allows reports whether a profile allows a system call whatever its arguments.
func allows(spec *oci.Spec, call string) bool {
	return spec.Linux.Seccomp != nil && slices.ContainsFunc(spec.Linux.Seccomp.Syscalls, func(s specs.LinuxSyscall) bool {
		return s.Action == specs.ActAllow && len(s.Args) == 0 && slices.Contains(s.Names, call)
	})
}

// runtimeHasSeccomp asks the daemon; a daemon that can't say counts as no.
func (e *env) runtimeHasSeccomp() bool {
	e.Helper()
	info, err := e.Client.RuntimeInfo(e.raw, defaults.DefaultRuntime, nil)
	if errdefs.IsNotImplemented(native(err)) {
		return false
	}
	e.ok(err)
	f, ok := info.Features.(*features.Features)
	return ok && f.Linux != nil && f.Linux.Seccomp != nil && f.Linux.Seccomp.Enabled != nil && *f.Linux.Seccomp.Enabled
}
