package containerd

import (
	"encoding/json"
	"slices"
	"testing"

	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/types"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// countOf counts a method's requests.
func (d *daemon) countOf(method string) int {
	n := 0
	for _, m := range d.methods() {
		if m == method {
			n++
		}
	}
	return n
}

// hasSeccomp says whether a stored container's spec has a profile.
func (d *daemon) hasSeccomp(t *testing.T, id string) bool {
	t.Helper()
	var spec oci.Spec
	require.NoError(t, json.Unmarshal(d.record(id).GetSpec().GetValue(), &spec))
	return spec.Linux.Seccomp != nil
}

func TestSeccompIsUsedOnlyWhereItIsKnownToWork(t *testing.T) {
	yes, no := true, false
	for want, seccomp := range map[Support]*bool{Supported: &yes, Unsupported: &no, Unknown: nil} {
		t.Run(string(want), func(t *testing.T) {
			d := newDaemon(t)
			d.seccomp = seccomp
			s := d.service()

			c, err := s.Capabilities(t.Context())
			require.NoError(t, err)
			_, err = s.CreateContainer(t.Context(), newContainer)
			require.NoError(t, err)

			assert.Equal(t, want, c.Seccomp)
			assert.Equal(t, want == Supported, d.hasSeccomp(t, "new"))
		})
	}
}

func TestCapabilitiesSayWhatNewContainersGet(t *testing.T) {
	d := newDaemon(t)
	c, err := d.service().Capabilities(t.Context())
	require.NoError(t, err)
	assert.Equal(t, Capabilities{
		Version: "v2.4.2", Revision: "abc", Runtime: defaults.DefaultRuntime, Snapshotter: testSnapshotter, Seccomp: Unknown,
	}, c)
}

// serveFeatures makes the runtime answer features.
func (d *daemon) serveFeatures(t *testing.T, found any) *DefaultService {
	t.Helper()
	info := &types.RuntimeInfo{Name: "runc"}
	if found != nil {
		packed, err := typeurl.MarshalAnyToProto(found)
		require.NoError(t, err)
		info.Features = packed
	}
	extra, err := typeurl.MarshalAnyToProto(info)
	require.NoError(t, err)
	d.Introspection.ExpectedCalls = nil
	d.Introspection.EXPECT().PluginInfo(mock.Anything, mock.Anything).
		Return(&introspectionapi.PluginInfoResponse{Extra: extra}, nil)
	return d.service()
}

func TestRuntimeThatSaysNothingOfSeccomp(t *testing.T) {
	for name, found := range map[string]any{
		"no features":           nil,
		"features of something": &specs.Process{},
		"no Linux":              &features.Features{},
		"no seccomp":            &features.Features{Linux: &features.Linux{}},
		"seccomp without a word": &features.Features{Linux: &features.Linux{
			Seccomp: &features.Seccomp{},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newDaemon(t).serveFeatures(t, found)
			support, err := s.seccompSupport(s.scope().context(t.Context()), "runc")
			require.NoError(t, err)
			assert.Equal(t, Unknown, support)
		})
	}
}

func TestOldDaemonThatCannotSayHasUnknownSeccomp(t *testing.T) {
	for _, answer := range []error{errdefs.ErrNotImplemented, errdefs.ErrNotFound, status.Error(codes.Unknown, "shim too old")} {
		t.Run(answer.Error(), func(t *testing.T) {
			d := newDaemon(t)
			d.fail("Introspection/PluginInfo", answer)
			c, err := d.service().Capabilities(t.Context())
			require.NoError(t, err)
			assert.Equal(t, Unknown, c.Seccomp)
		})
	}
}

// An error on the way must not switch seccomp off, nor be remembered.
func TestSeccompThatCouldNotBeAskedForFailsTheCall(t *testing.T) {
	yes := true
	d := newDaemon(t)
	d.seccomp = &yes
	s := d.service()
	before := d.state()
	d.fail("Introspection/PluginInfo", errdefs.ErrUnavailable)

	_, err := s.CreateContainer(t.Context(), newContainer)
	assertError(t, err, opCreateContainer, errdefs.IsUnavailable, "no answer")
	assert.Equal(t, before, d.state())
	_, err = s.Capabilities(t.Context())
	assertError(t, err, "capabilities", errdefs.IsUnavailable, "no answer")

	d.heal()
	_, err = s.CreateContainer(t.Context(), newContainer)
	require.NoError(t, err)
	assert.True(t, d.hasSeccomp(t, "new"))
}

func TestSeccompIsAskedForOncePerRuntime(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for _, id := range []string{"one", "two"} {
		_, err := s.CreateContainer(t.Context(), CreateContainerRequest{ID: id, ImageRef: testImage})
		require.NoError(t, err)
	}
	assert.Equal(t, 1, d.countOf("Introspection/PluginInfo"))

	_, err := s.seccompSupport(s.scope().context(t.Context()), "another")
	require.NoError(t, err)
	assert.Equal(t, 2, d.countOf("Introspection/PluginInfo"))
}

func TestSeccompThatIsSwitchedOffIsNotAskedFor(t *testing.T) {
	d := newDaemon(t)
	_, err := d.service(WithoutSeccomp()).CreateContainer(t.Context(), newContainer)
	require.NoError(t, err)
	assert.False(t, slices.Contains(d.methods(), "Introspection/PluginInfo"))
}

func TestCapabilitiesFailWithTheDaemon(t *testing.T) {
	for _, method := range []string{"Version/Version", "Namespaces/Get"} {
		t.Run(method, func(t *testing.T) {
			d := newDaemon(t)
			d.fail(method, errdefs.ErrPermissionDenied)
			c, err := d.service().Capabilities(t.Context())
			assertError(t, err, "capabilities", errdefs.IsPermissionDenied, method)
			assert.Zero(t, c)
		})
	}
}

func TestNamespacesDefaultsAreRememberedForTenSeconds(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	ctx := s.scope().context(t.Context())
	ask := func() string {
		name, err := s.snapshotter(ctx, "")
		require.NoError(t, err)
		return name
	}
	assert.Equal(t, testSnapshotter, ask())
	d.mu.Lock()
	d.nsLabels = map[string]string{defaults.DefaultSnapshotterNSLabel: "native"}
	d.mu.Unlock()

	clock.advance(defaultsLifetime - 1)
	assert.Equal(t, testSnapshotter, ask(), "still remembered")
	assert.Equal(t, 1, d.countOf("Namespaces/Get"))
	clock.advance(1)
	assert.Equal(t, "native", ask())
	assert.Equal(t, 2, d.countOf("Namespaces/Get"))
}

func TestNamespaceThatDoesNotExistYetHasNoDefaults(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.fail("Namespaces/Get", errdefs.ErrNotFound)
	ctx := s.scope().context(t.Context())
	for range 2 {
		name, err := s.snapshotter(ctx, "")
		require.NoError(t, err)
		assert.Equal(t, defaults.DefaultSnapshotter, name)
	}
	assert.Equal(t, 1, d.countOf("Namespaces/Get"), "that is remembered too")
}

func TestSnapshotterAndRuntimeByRequestOptionLabelAndDefault(t *testing.T) {
	labelled := map[string]string{
		defaults.DefaultSnapshotterNSLabel: "of the label", defaults.DefaultRuntimeNSLabel: "runtime of the label",
	}
	options := []Option{WithSnapshotter("of the option"), WithRuntime("runtime of the option")}
	for name, test := range map[string]struct {
		requested            string
		opts                 []Option
		labels               map[string]string
		snapshotter, runtime string
	}{
		"request": {"requested", options, labelled, "requested", "runtime of the option"},
		"option":  {"", options, labelled, "of the option", "runtime of the option"},
		"label":   {"", nil, labelled, "of the label", "runtime of the label"},
		"default": {"", nil, nil, defaults.DefaultSnapshotter, defaults.DefaultRuntime},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			d.nsLabels = test.labels
			s := d.service(test.opts...)
			ctx := s.scope().context(t.Context())
			snapshotter, err := s.snapshotter(ctx, test.requested)
			require.NoError(t, err)
			runtime, err := s.runtime(ctx)
			require.NoError(t, err)
			assert.Equal(t, test.snapshotter, snapshotter)
			assert.Equal(t, test.runtime, runtime)
			if len(test.opts) > 0 {
				assert.Empty(t, d.Calls(), "what is given needs no request")
			}
		})
	}
}

// A client with a default namespace would ask the daemon for its default
// runtime again, on a context that never ends.
func TestDefaultRuntimeCostsNoSecondRequest(t *testing.T) {
	d := newDaemon(t)
	client, err := containerd.New("", containerd.WithDefaultNamespace("other"),
		containerd.WithServices(containerd.WithNamespaceService(d.client.NamespaceService())))
	require.NoError(t, err)
	s := newService(client, config{namespace: testNamespace})

	runtime, err := s.runtime(s.scope().context(t.Context()))

	require.NoError(t, err)
	assert.Equal(t, defaults.DefaultRuntime, runtime)
	assert.Equal(t, []string{"Namespaces/Get"}, d.methods())
}
