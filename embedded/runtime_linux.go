package embedded

import (
	"context"
	"fmt"
	"path/filepath"

	apitypes "github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/proto"
)

type pluginInformer interface {
	PluginInfo(ctx context.Context, request any) (any, error)
}

// taskRuntime gives tasks of the default runtime the daemon's OCI runtime
// binary, a runc root of the daemon's own, and a spec that fits the daemon.
type taskRuntime struct {
	platformRuntime
	daemon *daemon
}

// Create starts a shim and creates the task in it.
func (r *taskRuntime) Create(ctx context.Context, id string, opts runtime.CreateOpts) (runtime.Task, error) {
	if opts.Runtime == runtimeName {
		task := opts.TaskOptions
		if task == nil || task.GetValue() == nil {
			task = opts.RuntimeOptions
		}
		filled, err := r.fill(task)
		if err != nil {
			return nil, err
		}
		opts.TaskOptions = filled
		if opts.Spec, err = r.daemon.adaptSpec(ctx, id, opts.Spec); err != nil {
			return nil, err
		}
	}
	return r.platformRuntime.Create(ctx, id, opts)
}

// PluginInfo describes the runtime that a request names.
func (r *taskRuntime) PluginInfo(ctx context.Context, request any) (any, error) {
	req, ok := request.(*apitypes.RuntimeRequest)
	if !ok || req.GetRuntimePath() != runtimeName {
		return r.platformRuntime.PluginInfo(ctx, request)
	}
	var given typeurl.Any
	if req.Options != nil {
		given = req.Options
	}
	filled, err := r.fill(given)
	if err != nil {
		return nil, err
	}
	req = proto.CloneOf(req)
	req.Options = typeurl.MarshalProto(filled)
	return r.platformRuntime.PluginInfo(ctx, req)
}

// fill sets in a client's runtime options what the client left open.
func (r *taskRuntime) fill(given typeurl.Any) (typeurl.Any, error) {
	opts := &options.Options{}
	if given != nil && given.GetValue() != nil {
		v, err := typeurl.UnmarshalAny(given)
		if err != nil {
			return nil, fmt.Errorf("runtime options: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		var ok bool
		if opts, ok = v.(*options.Options); !ok {
			return nil, fmt.Errorf("runtime options of type %T: %w", v, errdefs.ErrInvalidArgument)
		}
	}
	if opts.BinaryName == "" {
		opts.BinaryName = r.daemon.Runtime
	}
	if opts.Root == "" {
		opts.Root = filepath.Join(r.daemon.State, "runc")
	}
	return typeurl.MarshalAny(opts)
}
