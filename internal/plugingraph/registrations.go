package plugingraph

import (
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"

	// What Services names.
	_ "github.com/containerd/containerd/v2/plugins/content/local/plugin"
	_ "github.com/containerd/containerd/v2/plugins/events"
	_ "github.com/containerd/containerd/v2/plugins/gc"
	_ "github.com/containerd/containerd/v2/plugins/leases"
	_ "github.com/containerd/containerd/v2/plugins/metadata"
	_ "github.com/containerd/containerd/v2/plugins/mount"
	_ "github.com/containerd/containerd/v2/plugins/services/containers"
	_ "github.com/containerd/containerd/v2/plugins/services/content"
	_ "github.com/containerd/containerd/v2/plugins/services/diff"
	_ "github.com/containerd/containerd/v2/plugins/services/events"
	_ "github.com/containerd/containerd/v2/plugins/services/healthcheck"
	_ "github.com/containerd/containerd/v2/plugins/services/images"
	_ "github.com/containerd/containerd/v2/plugins/services/introspection"
	_ "github.com/containerd/containerd/v2/plugins/services/leases"
	_ "github.com/containerd/containerd/v2/plugins/services/mounts"
	_ "github.com/containerd/containerd/v2/plugins/services/namespaces"
	_ "github.com/containerd/containerd/v2/plugins/services/snapshots"
	_ "github.com/containerd/containerd/v2/plugins/services/streaming"
	_ "github.com/containerd/containerd/v2/plugins/services/tasks"
	_ "github.com/containerd/containerd/v2/plugins/services/transfer"
	_ "github.com/containerd/containerd/v2/plugins/services/version"
	_ "github.com/containerd/containerd/v2/plugins/services/warning"
	_ "github.com/containerd/containerd/v2/plugins/streaming"
	_ "github.com/containerd/containerd/v2/plugins/transfer"
)

// Services returns the URIs of the plugins that every containerd has, whatever
// it stores and runs containers with: content, metadata, garbage collection,
// leases, events, transfer and all API services. What is missing for a whole
// containerd is a snapshotter, a differ, and the runtime
// "io.containerd.runtime.v2.task". The caller owns the slice.
func Services() []string {
	return []string{
		"io.containerd.content.v1.content",
		"io.containerd.event.v1.exchange",
		"io.containerd.gc.v1.scheduler",
		"io.containerd.grpc.v1.containers",
		"io.containerd.grpc.v1.content",
		"io.containerd.grpc.v1.diff",
		"io.containerd.grpc.v1.events",
		"io.containerd.grpc.v1.healthcheck",
		"io.containerd.grpc.v1.images",
		"io.containerd.grpc.v1.introspection",
		"io.containerd.grpc.v1.leases",
		"io.containerd.grpc.v1.mounts",
		"io.containerd.grpc.v1.namespaces",
		"io.containerd.grpc.v1.snapshots",
		"io.containerd.grpc.v1.streaming",
		"io.containerd.grpc.v1.tasks",
		"io.containerd.grpc.v1.transfer",
		"io.containerd.grpc.v1.version",
		"io.containerd.lease.v1.manager",
		"io.containerd.metadata.v1.bolt",
		"io.containerd.mount-manager.v1.bolt",
		"io.containerd.service.v1.containers-service",
		"io.containerd.service.v1.content-service",
		"io.containerd.service.v1.diff-service",
		"io.containerd.service.v1.images-service",
		"io.containerd.service.v1.introspection-service",
		"io.containerd.service.v1.namespaces-service",
		"io.containerd.service.v1.snapshots-service",
		"io.containerd.service.v1.tasks-service",
		"io.containerd.streaming.v1.manager",
		"io.containerd.transfer.v1.local",
		"io.containerd.warning.v1.deprecations",
	}
}

// Registered returns the registrations with the given URIs from containerd's
// plugin registry, where a plugin's package puts them when it is imported. It
// returns a not-found error that names the first URI nobody registered.
func Registered(uris ...string) ([]plugin.Registration, error) {
	all := registry.Graph(func(*plugin.Registration) bool { return false })
	set := make([]plugin.Registration, 0, len(uris))
	for _, uri := range uris {
		at := indexURI(all, uri)
		if at < 0 {
			return nil, fmt.Errorf("plugin %s is not registered: %w", uri, errdefs.ErrNotFound)
		}
		set = append(set, all[at])
	}
	return set, nil
}

// Replace returns a copy of set in which each of with stands in the place of
// the registration with the same URI, or at the end if there is none.
func Replace(set []plugin.Registration, with ...plugin.Registration) []plugin.Registration {
	set = slices.Clone(set)
	for _, r := range with {
		if at := indexURI(set, r.URI()); at >= 0 {
			set[at] = r
		} else {
			set = append(set, r)
		}
	}
	return set
}

// Wrap returns a copy of set in which the instance of the plugin with the given
// URI is what wrap makes of it. It returns a not-found error if set has no such
// plugin.
func Wrap(set []plugin.Registration, uri string, wrap func(*plugin.InitContext, any) (any, error)) ([]plugin.Registration, error) {
	at := indexURI(set, uri)
	if at < 0 {
		return nil, fmt.Errorf("plugin %s is not in the set: %w", uri, errdefs.ErrNotFound)
	}
	r := set[at]
	shipped := r.InitFn
	r.InitFn = func(ic *plugin.InitContext) (any, error) {
		instance, err := shipped(ic)
		if err != nil {
			return nil, err
		}
		return wrap(ic, instance)
	}
	return Replace(set, r), nil
}

func indexURI(set []plugin.Registration, uri string) int {
	return slices.IndexFunc(set, func(r plugin.Registration) bool { return r.URI() == uri })
}

// order sorts set so that each plugin comes after what it requires. Malformed
// sets make the plugin package panic, with an error; order returns that.
func order(set []plugin.Registration) (ordered []plugin.Registration, err error) {
	defer func() {
		if r := recover(); r != nil {
			cause, ok := r.(error)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("plugin set: %w: %w", cause, errdefs.ErrInvalidArgument)
		}
	}()
	var reg plugin.Registry
	for i := range set {
		reg = reg.Register(&set[i])
	}
	return reg.Graph(nil), nil
}
