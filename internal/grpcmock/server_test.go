package grpcmock_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	contentapi "github.com/containerd/containerd/api/services/content/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	versionapi "github.com/containerd/containerd/api/services/version/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/ctrdkit/containerd/internal/grpcmock"
)

func newClient(t *testing.T, s *grpcmock.Server) (context.Context, *containerd.Client) {
	t.Helper()
	client, err := s.Client()
	require.NoError(t, err)
	return namespaces.WithNamespace(t.Context(), "test"), client
}

func TestLoadContainerNotFound(t *testing.T) {
	s := grpcmock.New(t)
	s.Containers.EXPECT().
		Get(mock.Anything, mock.MatchedBy(func(req *containersapi.GetContainerRequest) bool { return req.ID == "web-1" })).
		Return(nil, fmt.Errorf("container %q: %w", "web-1", errdefs.ErrNotFound)).Once()
	ctx, client := newClient(t, s)

	_, err := client.LoadContainer(ctx, "web-1")

	require.ErrorIs(t, err, errdefs.ErrNotFound)
	assert.Equal(t, []grpcmock.Call{{Method: "/containerd.services.containers.v1.Containers/Get", Namespace: "test"}}, s.Calls())
}

func TestStreams(t *testing.T) {
	s := grpcmock.New(t)
	s.Containers.EXPECT().ListStream(mock.Anything, mock.Anything).
		RunAndReturn(func(req *containersapi.ListContainersRequest, stream containersapi.Containers_ListStreamServer) error {
			assert.Equal(t, []string{"labels.x"}, req.Filters)
			for _, id := range []string{"a", "b"} {
				if err := stream.Send(&containersapi.ListContainerMessage{Container: &containersapi.Container{ID: id}}); err != nil {
					return err
				}
			}
			return nil
		}).Once()
	s.Content.EXPECT().Read(mock.Anything, mock.Anything).Return(errdefs.ErrUnavailable).Once()
	ctx, client := newClient(t, s)

	list, err := client.ContainerService().List(ctx, "labels.x")
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, "b", list[1].ID)

	conn, err := s.Conn()
	require.NoError(t, err)
	stream, err := contentapi.NewContentClient(conn).Read(ctx, &contentapi.ReadContentRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	assert.Equal(t, codes.Unavailable, status.Code(err))
	assert.Len(t, s.Calls(), 2)
}

func TestEveryServiceIsServed(t *testing.T) {
	s := grpcmock.New(t)
	s.Version.EXPECT().Version(mock.Anything, mock.Anything).Return(&versionapi.VersionResponse{Version: "2.4.2"}, nil).Once()
	s.Health.EXPECT().Check(mock.Anything, mock.Anything).
		Return(&healthapi.HealthCheckResponse{Status: healthapi.HealthCheckResponse_SERVING}, nil).Once()
	s.Tasks.EXPECT().Get(mock.Anything, mock.Anything).Return(nil, errdefs.ErrNotFound).Once()
	ctx, client := newClient(t, s)

	version, err := client.Version(ctx)
	require.NoError(t, err)
	assert.Equal(t, "2.4.2", version.Version)
	serving, err := client.IsServing(ctx)
	require.NoError(t, err)
	assert.True(t, serving)
	_, err = client.TaskService().Get(ctx, &tasksapi.GetRequest{ContainerID: "web-1"})
	assert.Equal(t, codes.NotFound, status.Code(err))
}

func TestUnknownServiceIsUnimplementedAndCounted(t *testing.T) {
	s := grpcmock.New(t)
	ctx, client := newClient(t, s)

	_, err := client.SandboxStore().Get(ctx, "x")

	require.ErrorIs(t, err, errdefs.ErrNotImplemented)
	require.Len(t, s.Calls(), 1)
	assert.Equal(t, "/containerd.services.sandbox.v1.Store/Get", s.Calls()[0].Method)
	s.Reset()
	assert.Empty(t, s.Calls())
}

func TestInject(t *testing.T) {
	s := grpcmock.New(t)
	ctx, client := newClient(t, s)
	s.Inject(func(_ context.Context, call grpcmock.Call) error {
		assert.Equal(t, "test", call.Namespace)
		return errdefs.ErrPermissionDenied
	})

	_, err := client.LoadContainer(ctx, "web-1")
	require.ErrorIs(t, err, errdefs.ErrPermissionDenied)
	_, err = client.ContainerService().List(ctx)
	require.ErrorIs(t, err, errdefs.ErrPermissionDenied)

	s.Inject(nil)
	s.Containers.EXPECT().Get(mock.Anything, mock.Anything).Return(nil, errdefs.ErrNotFound).Once()
	_, err = client.LoadContainer(ctx, "web-1")
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}

func TestCutDuringRequest(t *testing.T) {
	s := grpcmock.New(t)
	ctx, client := newClient(t, s)
	s.Containers.EXPECT().Get(mock.Anything, mock.Anything).
		RunAndReturn(func(ctx context.Context, _ *containersapi.GetContainerRequest) (*containersapi.GetContainerResponse, error) {
			s.Cut()
			<-ctx.Done()
			return nil, ctx.Err()
		}).Once()

	_, err := client.LoadContainer(ctx, "web-1")
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	_, err = client.LoadContainer(ctx, "web-1")
	require.ErrorIs(t, err, errdefs.ErrUnavailable, "connects while cut")

	s.Restore()
	s.Containers.EXPECT().Get(mock.Anything, mock.Anything).Return(nil, errdefs.ErrNotFound)
	assert.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := client.LoadContainer(ctx, "web-1")
		assert.ErrorIs(c, err, errdefs.ErrNotFound)
	}, 5*time.Second, 5*time.Millisecond)
}

func TestServeUnixSocket(t *testing.T) {
	s := grpcmock.New(t)
	s.Containers.EXPECT().Get(mock.Anything, mock.Anything).Return(nil, errdefs.ErrNotFound).Once()
	address := filepath.Join(t.TempDir(), "c.sock")
	socket, err := net.Listen("unix", address)
	require.NoError(t, err)
	s.Serve(socket)
	client, err := containerd.New(address, containerd.WithDefaultNamespace("other"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })

	_, err = client.LoadContainer(t.Context(), "web-1")

	require.ErrorIs(t, err, errdefs.ErrNotFound)
	assert.Equal(t, "other", s.Calls()[0].Namespace)
}

// recordingT is a test that fails without failing this one.
type recordingT struct {
	mu       sync.Mutex
	errors   []string
	cleanups []func()
}

func (r *recordingT) Helper()             {}
func (r *recordingT) Logf(string, ...any) {}
func (r *recordingT) Cleanup(f func())    { r.cleanups = append(r.cleanups, f) }
func (r *recordingT) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recordingT) end() string {
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	return strings.Join(r.errors, "\n")
}

func TestUnexpectedRequestFailsTheTest(t *testing.T) {
	var fake recordingT
	s := grpcmock.New(&fake)
	ctx, client := newClient(t, s)

	_, err := client.LoadContainer(ctx, "web-1")

	require.ErrorIs(t, err, errdefs.ErrInternal)
	require.NoError(t, client.Close())
	assert.Contains(t, fake.end(), "/containerd.services.containers.v1.Containers/Get: unexpected request")
}

func TestPanicInMockFailsTheTest(t *testing.T) {
	var fake recordingT
	s := grpcmock.New(&fake)
	s.Containers.EXPECT().Get(mock.Anything, mock.Anything).
		RunAndReturn(func(context.Context, *containersapi.GetContainerRequest) (*containersapi.GetContainerResponse, error) {
			panic("boom")
		}).Once()
	ctx, client := newClient(t, s)

	_, err := client.LoadContainer(ctx, "web-1")

	require.ErrorIs(t, err, errdefs.ErrInternal)
	require.NoError(t, client.Close())
	assert.Contains(t, fake.end(), "boom")
}

func TestUnmetExpectationFailsTheTest(t *testing.T) {
	var fake recordingT
	s := grpcmock.New(&fake)
	s.Containers.EXPECT().Get(mock.Anything, mock.Anything).Return(nil, errgrpc.ToGRPC(errdefs.ErrNotFound)).Once()

	assert.Contains(t, fake.end(), "FAIL:")
}
