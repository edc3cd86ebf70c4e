package embedded

import (
	"fmt"
	"os"
	"path/filepath"

	apinamespaces "github.com/containerd/containerd/api/services/namespaces/v1"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/containerd/plugin"

	// The plugins that a daemon has besides plugingraph's services register themselves.
	_ "github.com/containerd/containerd/v2/core/runtime/v2"
	_ "github.com/containerd/containerd/v2/plugins/diff/walking/plugin"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/native/plugin"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/overlay/plugin"

	"github.com/ctrdkit/containerd/internal/plugingraph"
)

const (
	snapshotterOverlay = "overlayfs"
	snapshotterNative  = "native"

	taskPlugin        = "io.containerd.runtime.v2.task"
	shimManagerPlugin = "io.containerd.shim.v1.manager"
	differPlugin      = "io.containerd.differ.v1.walking"
	transferPlugin    = "io.containerd.transfer.v1.local"
	namespacesPlugin  = "io.containerd.service.v1.namespaces-service"
	snapshotterPrefix = "io.containerd.snapshotter.v1."
)

// graphOptions chooses the daemon's plugins and configures them.
func (d *daemon) graphOptions() (plugingraph.Options, error) {
	var none plugingraph.Options
	snapshotters, err := d.snapshotters()
	if err != nil {
		return none, err
	}
	uris := append(plugingraph.Services(), differPlugin, shimManagerPlugin, taskPlugin)
	for _, name := range snapshotters {
		uris = append(uris, snapshotterPrefix+name)
	}
	set, err := plugingraph.Registered(uris...)
	if err != nil {
		return none, err
	}
	for uri, wrap := range map[string]func(*plugin.InitContext, any) (any, error){
		taskPlugin:       d.wrapRuntime,
		differPlugin:     wrapDiffer,
		namespacesPlugin: d.wrapNamespaces,
	} {
		if set, err = plugingraph.Wrap(set, uri, wrap); err != nil {
			return none, err
		}
	}
	address := socketPath(d.State)
	return plugingraph.Options{
		Plugins: set,
		Root:    d.Root, State: d.State,
		Address: address, TTRPCAddress: address + ".ttrpc",
		Config: map[string]any{
			shimManagerPlugin: map[string]string{"SocketDir": filepath.Join(d.State, "s")},
			transferPlugin: map[string]any{"UnpackConfiguration": []map[string]string{{
				"Platform":    platforms.Format(platforms.DefaultSpec()),
				"Snapshotter": snapshotters[0],
				"Differ":      "walking",
			}}},
		},
	}, nil
}

// snapshotters returns the names of those that work here, the default first.
func (d *daemon) snapshotters() ([]string, error) {
	dir := filepath.Join(d.Root, snapshotterPrefix+snapshotterOverlay)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := overlayutils.Supported(dir); err != nil {
		if d.Snapshotter == snapshotterOverlay {
			return nil, fmt.Errorf("snapshotter %q does not work in root %q: %w: %w",
				d.Snapshotter, d.Root, err, errdefs.ErrFailedPrecondition)
		}
		log.L.WithError(err).Info("overlayfs does not work here, the default snapshotter is native")
		d.Snapshotter = snapshotterNative
		return []string{snapshotterNative}, nil
	}
	if d.Snapshotter == snapshotterNative {
		return []string{snapshotterNative, snapshotterOverlay}, nil
	}
	return []string{snapshotterOverlay, snapshotterNative}, nil
}

func (d *daemon) wrapRuntime(_ *plugin.InitContext, instance any) (any, error) {
	shipped, ok := instance.(platformRuntime)
	if !ok {
		return nil, fmt.Errorf("unexpected type %T", instance)
	}
	return &taskRuntime{platformRuntime: shipped, daemon: d}, nil
}

func (d *daemon) wrapNamespaces(_ *plugin.InitContext, instance any) (any, error) {
	shipped, ok := instance.(apinamespaces.NamespacesClient)
	if !ok {
		return nil, fmt.Errorf("unexpected type %T", instance)
	}
	if d.Snapshotter != snapshotterNative {
		return shipped, nil // clients take overlayfs by themselves
	}
	return &namespaceDefaults{NamespacesClient: shipped, snapshotter: d.Snapshotter}, nil
}

func wrapDiffer(_ *plugin.InitContext, instance any) (any, error) {
	shipped, ok := instance.(differ)
	if !ok {
		return nil, fmt.Errorf("unexpected type %T", instance)
	}
	return unpacker{shipped}, nil
}

type platformRuntime interface {
	runtime.PlatformRuntime
	pluginInformer
}

type differ interface {
	diff.Comparer
	diff.Applier
}
