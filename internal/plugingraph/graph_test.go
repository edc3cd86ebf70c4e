package plugingraph_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins"
	_ "github.com/containerd/containerd/v2/plugins/diff/walking/plugin"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/errdefs"
	"github.com/containerd/plugin"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/ctrdkit/containerd/internal/plugingraph"
)

const (
	gcPlugin      = "io.containerd.gc.v1.scheduler"
	contentPlugin = "io.containerd.content.v1.content"
)

// emptyRuntime runs nothing.
type emptyRuntime struct{ runtime.PlatformRuntime }

func (emptyRuntime) Tasks(context.Context, bool) ([]runtime.Task, error) { return nil, nil }

// wholeSet is a containerd whose runtime and snapshotter are the test's own.
func wholeSet(t *testing.T) []plugin.Registration {
	t.Helper()
	set, err := plugingraph.Registered(append(plugingraph.Services(), "io.containerd.differ.v1.walking")...)
	require.NoError(t, err)
	return plugingraph.Replace(set,
		plugin.Registration{
			Type: plugins.RuntimePluginV2, ID: "task",
			InitFn: func(*plugin.InitContext) (any, error) { return emptyRuntime{}, nil },
		},
		plugin.Registration{
			Type: plugins.SnapshotPlugin, ID: "overlayfs",
			InitFn: func(ic *plugin.InitContext) (any, error) {
				return native.NewSnapshotter(ic.Properties[plugins.PropertyRootDir])
			},
		})
}

func startGraph(t *testing.T, set []plugin.Registration) *plugingraph.Graph {
	t.Helper()
	g, err := plugingraph.Start(t.Context(), plugingraph.Options{Plugins: set, Root: t.TempDir(), State: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	return g
}

// connect serves the graph in memory and returns a client.
func connect(t *testing.T, g *plugingraph.Graph) *containerd.Client {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.StopServing()
		require.NoError(t, <-served)
	})
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	require.NoError(t, err)
	client, err := containerd.NewWithConn(conn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func TestInstancesAreIndependent(t *testing.T) {
	ctx := namespaces.WithNamespace(t.Context(), "test")
	one := connect(t, startGraph(t, wholeSet(t)))
	two := connect(t, startGraph(t, wholeSet(t)))
	_, err := one.ImageService().Create(ctx, images.Image{
		Name: "x", Target: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("x"), Size: 1},
	})
	require.NoError(t, err)
	_, err = two.ImageService().Get(ctx, "x")
	require.True(t, errdefs.IsNotFound(err), "%v", err)
	_, err = one.ImageService().Get(ctx, "x")
	require.NoError(t, err)

	version, err := one.Version(ctx)
	require.NoError(t, err)
	assert.NotEmpty(t, version.Version)
	server, err := one.Server(ctx)
	require.NoError(t, err)
	assert.NotEmpty(t, server.UUID)
	loaded, err := one.IntrospectionService().Plugins(ctx)
	require.NoError(t, err)
	assert.Len(t, loaded.Plugins, len(wholeSet(t)))
}

func TestConfig(t *testing.T) {
	start := func(config map[string]any) (*plugingraph.Graph, error) {
		return plugingraph.Start(t.Context(), plugingraph.Options{
			Plugins: wholeSet(t), Root: t.TempDir(), State: t.TempDir(), Config: config,
		})
	}
	g, err := start(map[string]any{gcPlugin: map[string]any{"PauseThreshold": 0.25, "StartupDelay": "1h"}})
	require.NoError(t, err)
	require.NoError(t, g.Close())

	_, err = start(map[string]any{gcPlugin: map[string]any{"NoSuchField": 1}})
	require.True(t, errdefs.IsInvalidArgument(err), "%v", err)
	require.ErrorContains(t, err, "NoSuchField")
	_, err = start(map[string]any{contentPlugin: map[string]any{"X": 1}})
	require.True(t, errdefs.IsInvalidArgument(err), "%v", err)
}

type config struct {
	Limit, Kept int
	Names       []string
	Sub         map[string]*config
}

func TestConfigIsFreshForEachGraph(t *testing.T) {
	fresh := func() *config {
		return &config{Limit: 1, Kept: 2, Names: []string{"a"}, Sub: map[string]*config{"s": {Limit: 3}}}
	}
	defaults := fresh()
	var seen []config
	set := []plugin.Registration{{Type: "test", ID: "a", Config: defaults, InitFn: func(ic *plugin.InitContext) (any, error) {
		c := ic.Config.(*config)
		seen = append(seen, *c)
		c.Kept = 99
		if len(seen) == 1 { // what the first graph writes, the second one must not see
			c.Names[0], c.Sub["t"] = "b", c
			c.Sub["s"].Limit = 99
		}
		return c, nil
	}}}
	for range 2 {
		g, err := plugingraph.Start(t.Context(), plugingraph.Options{
			Plugins: set, Config: map[string]any{"test.a": map[string]any{"Limit": 7, "Names": []string{"c"}}},
		})
		require.NoError(t, err)
		require.NoError(t, g.Close())
	}
	want := *fresh()
	want.Limit, want.Names = 7, []string{"c"}
	require.Len(t, seen, 2)
	assert.Equal(t, want, seen[1])
	assert.Equal(t, fresh(), defaults)
}

// recorder notes when it is closed.
type recorder struct {
	name   string
	closed *[]string
	err    error
}

func (r recorder) Close() error {
	*r.closed = append(*r.closed, r.name)
	return r.err
}

func recording(closed *[]string, id string, err error, requires ...plugin.Type) plugin.Registration {
	return plugin.Registration{
		Type: plugin.Type(id), ID: "x", Requires: requires,
		InitFn: func(*plugin.InitContext) (any, error) { return recorder{id, closed, err}, nil },
	}
}

func TestCloseReversesTheOrder(t *testing.T) {
	var closed []string
	broken := errors.New("broken")
	g, err := plugingraph.Start(t.Context(), plugingraph.Options{Plugins: []plugin.Registration{
		recording(&closed, "c", nil, "b"), recording(&closed, "a", nil), recording(&closed, "b", broken, "a"),
	}})
	require.NoError(t, err)
	_, err = g.Instance("b.x")
	require.NoError(t, err)
	_, err = g.Instance("z.x")
	require.True(t, errdefs.IsNotFound(err), "%v", err)
	require.ErrorIs(t, g.Close(), broken)
	require.ErrorIs(t, g.Close(), broken)
	assert.Equal(t, []string{"c", "b", "a"}, closed)
}

func TestStartUndoesWhatItDid(t *testing.T) {
	var closed []string
	broken := errors.New("broken")
	failing := recording(&closed, "c", nil, "b")
	failing.InitFn = func(*plugin.InitContext) (any, error) { return nil, broken }
	skipped := recording(&closed, "s", nil)
	skipped.InitFn = func(*plugin.InitContext) (any, error) { return nil, plugin.ErrSkipPlugin }
	_, err := plugingraph.Start(t.Context(), plugingraph.Options{Plugins: []plugin.Registration{
		skipped, recording(&closed, "a", nil), recording(&closed, "b", nil, "a"), failing,
	}})
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "c.x")
	assert.Equal(t, []string{"b", "a"}, closed)
}

func TestMalformedSets(t *testing.T) {
	var closed []string
	for name, set := range map[string][]plugin.Registration{
		"twice":      {recording(&closed, "a", nil), recording(&closed, "a", nil)},
		"circle":     {recording(&closed, "a", nil, "b"), recording(&closed, "b", nil, "a")},
		"needs self": {recording(&closed, "a", nil, "a")},
		"no type":    {recording(&closed, "", nil)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := plugingraph.Start(t.Context(), plugingraph.Options{Plugins: set})
			require.True(t, errdefs.IsInvalidArgument(err), "%v", err)
		})
	}
	assert.Empty(t, closed)
}

func TestStartCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := plugingraph.Start(ctx, plugingraph.Options{Plugins: wholeSet(t), Root: t.TempDir(), State: t.TempDir()})
	require.ErrorIs(t, err, context.Canceled)
}

func TestSets(t *testing.T) {
	_, err := plugingraph.Registered("no.such")
	require.True(t, errdefs.IsNotFound(err), "%v", err)
	assert.True(t, slices.IsSorted(plugingraph.Services()))

	set, err := plugingraph.Registered(contentPlugin, gcPlugin)
	require.NoError(t, err)
	_, err = plugingraph.Wrap(set, "no.such", nil)
	require.True(t, errdefs.IsNotFound(err), "%v", err)
	wrapped, err := plugingraph.Wrap(set, contentPlugin, func(_ *plugin.InitContext, instance any) (any, error) {
		return []any{instance}, nil
	})
	require.NoError(t, err)
	require.Len(t, wrapped, 2)
	g := startGraph(t, wrapped[:1])
	instance, err := g.Instance(contentPlugin)
	require.NoError(t, err)
	assert.IsType(t, []any{}, instance)
}
