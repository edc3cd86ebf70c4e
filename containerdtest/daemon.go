package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	apitypes "github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/timeout"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/containerd/plugin"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"google.golang.org/grpc/test/bufconn"

	"github.com/ctrdkit/containerd/internal/plugingraph"
)

const (
	exchangePlugin = "io.containerd.event.v1.exchange"
	taskPlugin     = "io.containerd.runtime.v2.task"
	metadataPlugin = "io.containerd.metadata.v1.bolt"
	transferPlugin = "io.containerd.transfer.v1.local"

	// bufferSize is what a connection to the fake holds in each direction.
	bufferSize = 256 << 10
)

// lockLimit is how long a new daemon waits for one that does not give its
// database up. None is there: only one lives at a time.
const lockLimit = time.Minute

// boundLocks makes that an error instead of a wait without end. containerd has
// one setting for the whole process.
var boundLocks = sync.OnceFunc(func() { timeout.Set("io.containerd.timeout.bolt.open", lockLimit) })

// snapshotterNames are the fake's snapshotters, all of one kind; the first is
// what clients take by themselves.
var snapshotterNames = []string{"overlayfs", "native"}

// server is one life of the fake's daemon: containerd's own plugins on the
// fake's directory, and the machine as their runtime.
type server struct {
	graph    *plugingraph.Graph
	life     life
	garbage  *collector
	listener *bufconn.Listener
	served   chan error
}

func startServer(ctx context.Context, dir string, m *machine, intercept *interceptors) (*server, error) {
	quieten()
	boundLocks()
	set, err := plugingraph.Registered(plugingraph.Services()...)
	if err != nil {
		return nil, err
	}
	scheduler, err := plugingraph.Registered(schedulerPlugin)
	if err != nil {
		return nil, err
	}
	garbage := &collector{}
	set = plugingraph.Replace(set, runtimePlugin(m), differPlugin(), collectedBy(garbage, scheduler[0]))
	for _, name := range snapshotterNames {
		set = plugingraph.Replace(set, snapshotterPlugin(name))
	}
	life := life{intercept, make(chan struct{})}
	graph, err := plugingraph.Start(withoutLog(ctx), plugingraph.Options{
		Plugins: set,
		Root:    filepath.Join(dir, "root"), State: filepath.Join(dir, "state"),
		Config: map[string]any{
			metadataPlugin: map[string]bool{"NoSync": true},
			transferPlugin: map[string]any{"UnpackConfiguration": []map[string]string{{
				"Platform":    platforms.Format(platforms.DefaultSpec()),
				"Snapshotter": snapshotterNames[0],
				"Differ":      "walking",
			}}},
		},
		Unary: life.unary, Stream: life.stream,
	})
	if err != nil {
		return nil, err
	}
	s := &server{graph: graph, life: life, garbage: garbage, listener: bufconn.Listen(bufferSize), served: make(chan error, 1)}
	go func() { s.served <- graph.Serve(s.listener) }()
	return s, nil
}

// stop ends every request and closes everything. The connections must be cut
// already, and a function that a request is told to is not waited for.
func (s *server) stop(m *machine) error {
	m.connect(nil)
	close(s.life.ending)
	s.graph.StopServing()
	s.garbage.end()
	return errors.Join(<-s.served, s.graph.Close(), s.closeExchange())
}

// closeExchange ends the goroutine of the event exchange, which has no method
// for that: daemons end with their process.
func (s *server) closeExchange() error {
	exchange, err := s.graph.Instance(exchangePlugin)
	if err != nil {
		return err
	}
	field := reflect.ValueOf(exchange).Elem().FieldByName("broadcaster")
	if !field.IsValid() {
		return nil
	}
	broadcaster, ok := reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem().Interface().(io.Closer)
	if !ok {
		return nil
	}
	return broadcaster.Close()
}

func (s *server) dial(ctx context.Context) (net.Conn, error) { return s.listener.DialContext(ctx) }

func runtimePlugin(m *machine) plugin.Registration {
	return plugin.Registration{
		Type:     plugins.RuntimePluginV2,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			exchange, err := ic.GetSingle(plugins.EventPlugin)
			if err != nil {
				return nil, err
			}
			publisher, ok := exchange.(events.Publisher)
			if !ok {
				return nil, fmt.Errorf("unexpected type %T", exchange)
			}
			ic.Meta.Platforms = append(ic.Meta.Platforms, platforms.DefaultSpec())
			m.connect(publisher)
			return taskRuntime{m}, nil
		},
	}
}

// PluginInfo describes the runtime: it takes specs with a seccomp profile.
func (taskRuntime) PluginInfo(_ context.Context, request any) (any, error) {
	req, ok := request.(*apitypes.RuntimeRequest)
	if !ok {
		return nil, fmt.Errorf("unknown request type %T: %w", request, errdefs.ErrNotImplemented)
	}
	enabled := true
	able, err := typeurl.MarshalAnyToProto(&features.Features{
		OCIVersionMin: "1.0.0", OCIVersionMax: "1.2.0",
		Linux: &features.Linux{Seccomp: &features.Seccomp{Enabled: &enabled}},
	})
	if err != nil {
		return nil, err
	}
	return &apitypes.RuntimeInfo{
		Name:     req.RuntimePath,
		Version:  &apitypes.RuntimeVersion{Version: version.Version},
		Features: able,
	}, nil
}
