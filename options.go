package containerd

import (
	"github.com/containerd/containerd/v2/core/remotes"
)

// Option configures [Open].
type Option func(*config)

type config struct {
	address   string
	namespace string

	snapshotter string
	runtime     string
	resolver    remotes.Resolver

	newPrivileges  bool
	noSeccomp      bool
	reservedLabels bool
	foreignContent bool
}

// WithAddress sets the path of containerd's socket. Without it, or with "",
// [Open] takes CONTAINERD_ADDRESS from the environment, else
// /run/containerd/containerd.sock.
func WithAddress(address string) Option {
	return func(c *config) { c.address = address }
}

// WithNamespace sets the containerd namespace. Without it, or with "", [Open]
// takes CONTAINERD_NAMESPACE from the environment, else [DefaultNamespace].
func WithNamespace(namespace string) Option {
	return func(c *config) { c.namespace = namespace }
}

// WithSnapshotter sets the snapshotter that is used where a request names
// none. Without it the namespace's label containerd.io/defaults/snapshotter
// decides, else it is containerd's default, overlayfs.
func WithSnapshotter(name string) Option {
	return func(c *config) { c.snapshotter = name }
}

// WithRuntime sets the runtime of new containers, for example
// "io.containerd.runc.v2". Without it the namespace's label
// containerd.io/defaults/runtime decides, else it is the client's default.
func WithRuntime(name string) Option {
	return func(c *config) { c.runtime = name }
}

// WithResolver sets the resolver that pulls use, for example one with
// credentials or mirrors. Without it registries are asked anonymously, by
// plain HTTP on loopback addresses and by HTTPS elsewhere. The service shares
// the resolver between concurrent pulls.
func WithResolver(resolver remotes.Resolver) Option {
	return func(c *config) { c.resolver = resolver }
}

// WithNewPrivileges lets the processes of new containers gain privileges
// through setuid programs and file capabilities, as Docker does by default.
func WithNewPrivileges() Option {
	return func(c *config) { c.newPrivileges = true }
}

// WithoutSeccomp makes new containers run without the default seccomp profile.
func WithoutSeccomp() Option {
	return func(c *config) { c.noSeccomp = true }
}

// WithReservedLabels accepts labels under containerd.io/ and io.cri-containerd
// in requests. They make the daemon act: some stop garbage collection, and one
// runs a program on the host. Accept them from trusted callers only.
func WithReservedLabels() Option {
	return func(c *config) { c.reservedLabels = true }
}

// WithForeignLayers lets pulls follow the URLs that an image's own
// descriptors name. Without it all content comes from the image's registry.
func WithForeignLayers() Option {
	return func(c *config) { c.foreignContent = true }
}
