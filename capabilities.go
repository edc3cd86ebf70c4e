package containerd

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// Support says whether a feature is there.
type Support string

const (
	// Unknown means that the daemon can't say; the feature is not used.
	Unknown Support = "unknown"
	// Supported means that the feature is there and is used.
	Supported Support = "supported"
	// Unsupported means that the feature is not there.
	Unsupported Support = "unsupported"
)

// Capabilities is what the daemon and the default runtime can do.
type Capabilities struct {
	Version     string  `json:"version"`     // containerd's version, for example "v2.4.2"
	Revision    string  `json:"revision"`    // the commit it was built from; may be empty
	Runtime     string  `json:"runtime"`     // runtime of new containers
	Snapshotter string  `json:"snapshotter"` // snapshotter of new containers
	Seccomp     Support `json:"seccomp"`     // whether new containers get the default seccomp profile
}

// Capabilities asks the daemon for its version, its namespace's defaults and
// its runtime's features. Daemons before 2.0 can't tell the latter: Seccomp is
// then [Unknown], and new containers run without a seccomp profile.
func (s *DefaultService) Capabilities(ctx context.Context) (Capabilities, error) {
	const op = "capabilities"
	ctx, err := s.begin(ctx)
	if err != nil {
		return Capabilities{}, opError(ctx, op, "", err)
	}
	c, err := s.capabilities(ctx)
	return c, opError(ctx, op, "", err)
}

func (s *DefaultService) capabilities(ctx context.Context) (Capabilities, error) {
	version, err := s.client.Version(ctx)
	if err != nil {
		return Capabilities{}, err
	}
	c := Capabilities{Version: version.Version, Revision: version.Revision}
	if c.Snapshotter, err = s.snapshotter(ctx, ""); err != nil {
		return Capabilities{}, err
	}
	if c.Runtime, err = s.runtime(ctx); err != nil {
		return Capabilities{}, err
	}
	c.Seccomp, err = s.seccompSupport(ctx, c.Runtime)
	return c, err
}

// runtimeFeatures remembers per runtime what it supports: asking starts the shim.
type runtimeFeatures struct {
	mu      sync.Mutex
	seccomp map[string]Support
}

// seccompSupport asks once per runtime. What can't be found out for another
// reason than an old daemon is an error: it must not switch seccomp off.
func (s *DefaultService) seccompSupport(ctx context.Context, runtime string) (Support, error) {
	r := &s.runtimes
	r.mu.Lock()
	known, ok := r.seccomp[runtime]
	r.mu.Unlock()
	if ok {
		return known, nil
	}
	support, err := s.askSeccomp(ctx, runtime)
	if err != nil {
		return Unknown, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seccomp == nil {
		r.seccomp = make(map[string]Support)
	}
	r.seccomp[runtime] = support
	return support, nil
}

func (s *DefaultService) askSeccomp(ctx context.Context, runtime string) (Support, error) {
	info, err := s.client.RuntimeInfo(ctx, runtime, nil)
	err = native(err)
	switch {
	case errdefs.IsUnavailable(err), isContextError(err):
		return Unknown, err
	case err != nil:
		// Old daemons have no such request, and old shims no such answer.
		return Unknown, nil
	}
	f, ok := info.Features.(*features.Features)
	switch {
	case !ok || f.Linux == nil || f.Linux.Seccomp == nil || f.Linux.Seccomp.Enabled == nil:
		return Unknown, nil
	case *f.Linux.Seccomp.Enabled:
		return Supported, nil
	}
	return Unsupported, nil
}

// defaultsLifetime is how long a namespace's labels are trusted. They change
// rarely, and by an administrator's hand.
const defaultsLifetime = 10 * time.Second

// namespaceDefaults remembers the labels of the service's namespace.
type namespaceDefaults struct {
	mu     sync.Mutex
	labels map[string]string
	read   time.Time
}

func (s *DefaultService) namespaceLabels(ctx context.Context) (map[string]string, error) {
	d := &s.defaults
	d.mu.Lock()
	labels, read := d.labels, d.read
	d.mu.Unlock()
	if labels != nil && s.clock.Now().Sub(read) < defaultsLifetime {
		return labels, nil
	}
	labels, err := s.client.NamespaceService().Labels(ctx, s.namespace)
	if err = native(err); err != nil && !errdefs.IsNotFound(err) {
		return nil, err
	}
	if labels == nil {
		labels = map[string]string{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.labels, d.read = labels, s.clock.Now()
	return labels, nil
}

// snapshotter returns the requested snapshotter, else the default one.
func (s *DefaultService) snapshotter(ctx context.Context, requested string) (string, error) {
	if name := cmp.Or(requested, s.config.snapshotter); name != "" {
		return name, nil
	}
	labels, err := s.namespaceLabels(ctx)
	return cmp.Or(labels[defaults.DefaultSnapshotterNSLabel], defaults.DefaultSnapshotter), err
}

// runtime returns the runtime of new containers.
func (s *DefaultService) runtime(ctx context.Context) (string, error) {
	if s.config.runtime != "" {
		return s.config.runtime, nil
	}
	labels, err := s.namespaceLabels(ctx)
	return cmp.Or(labels[defaults.DefaultRuntimeNSLabel], s.clientRuntime()), err
}

// clientRuntime returns the client's default runtime. A client with a default
// namespace would make a request for it that no context ends, and only to read
// the kind of label that runtime has read already.
func (s *DefaultService) clientRuntime() string {
	if s.client.DefaultNamespace() != "" {
		return defaults.DefaultRuntime
	}
	return s.client.Runtime()
}
