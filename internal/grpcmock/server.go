package grpcmock

import (
	"errors"
	"net"
	"sync"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	contentapi "github.com/containerd/containerd/api/services/content/v1"
	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	eventsapi "github.com/containerd/containerd/api/services/events/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	versionapi "github.com/containerd/containerd/api/services/version/v1"
	"github.com/containerd/containerd/v2/defaults"
	"google.golang.org/grpc"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
)

const bufferSize = 1 << 20

// T is the part of testing.TB that this package uses.
type T interface {
	Cleanup(func())
	Errorf(format string, args ...any)
	Helper()
	Logf(format string, args ...any)
}

// Server serves one mock per service. Set expectations on them before the
// requests come; a function that a mock runs for a request must not end its
// goroutine (use assert there, not require), or the request stays unanswered.
// A Server is safe for concurrent use by multiple goroutines.
type Server struct {
	Containers    *ContainersServer
	Content       *ContentServer
	Diff          *DiffServer
	Events        *EventsServer
	Health        *HealthServer
	Images        *ImagesServer
	Introspection *IntrospectionServer
	Leases        *LeasesServer
	Namespaces    *NamespacesServer
	Snapshots     *SnapshotsServer
	Tasks         *TasksServer
	Version       *VersionServer

	t        T
	server   *grpc.Server
	memory   *bufconn.Listener
	serving  sync.WaitGroup
	requests recorder
	conns    connections
}

// New starts a server in memory. When the test ends, the server is stopped,
// its handlers are awaited, and a mock whose expectations were not met fails the test.
func New(t T) *Server {
	t.Helper()
	m := mockT{t}
	s := &Server{
		Containers:    NewContainersServer(m),
		Content:       NewContentServer(m),
		Diff:          NewDiffServer(m),
		Events:        NewEventsServer(m),
		Health:        NewHealthServer(m),
		Images:        NewImagesServer(m),
		Introspection: NewIntrospectionServer(m),
		Leases:        NewLeasesServer(m),
		Namespaces:    NewNamespacesServer(m),
		Snapshots:     NewSnapshotsServer(m),
		Tasks:         NewTasksServer(m),
		Version:       NewVersionServer(m),
		t:             t,
		memory:        bufconn.Listen(bufferSize),
	}
	s.server = grpc.NewServer(
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
		grpc.UnknownServiceHandler(unimplemented),
		grpc.WaitForHandlers(true),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
	)
	s.register()
	s.Serve(s.memory)
	t.Cleanup(s.stop) // runs before the mocks check their expectations
	return s
}

// register joins each mock with the unexported method that its service's
// interface asks for, and which only the generated package can implement.
func (s *Server) register() {
	containersapi.RegisterContainersServer(s.server, struct {
		*ContainersServer
		containersapi.UnsafeContainersServer
	}{ContainersServer: s.Containers})
	contentapi.RegisterContentServer(s.server, struct {
		*ContentServer
		contentapi.UnsafeContentServer
	}{ContentServer: s.Content})
	diffapi.RegisterDiffServer(s.server, struct {
		*DiffServer
		diffapi.UnsafeDiffServer
	}{DiffServer: s.Diff})
	eventsapi.RegisterEventsServer(s.server, struct {
		*EventsServer
		eventsapi.UnsafeEventsServer
	}{EventsServer: s.Events})
	healthapi.RegisterHealthServer(s.server, s.Health)
	imagesapi.RegisterImagesServer(s.server, struct {
		*ImagesServer
		imagesapi.UnsafeImagesServer
	}{ImagesServer: s.Images})
	introspectionapi.RegisterIntrospectionServer(s.server, struct {
		*IntrospectionServer
		introspectionapi.UnsafeIntrospectionServer
	}{IntrospectionServer: s.Introspection})
	leasesapi.RegisterLeasesServer(s.server, struct {
		*LeasesServer
		leasesapi.UnsafeLeasesServer
	}{LeasesServer: s.Leases})
	namespacesapi.RegisterNamespacesServer(s.server, struct {
		*NamespacesServer
		namespacesapi.UnsafeNamespacesServer
	}{NamespacesServer: s.Namespaces})
	snapshotsapi.RegisterSnapshotsServer(s.server, struct {
		*SnapshotsServer
		snapshotsapi.UnsafeSnapshotsServer
	}{SnapshotsServer: s.Snapshots})
	tasksapi.RegisterTasksServer(s.server, struct {
		*TasksServer
		tasksapi.UnsafeTasksServer
	}{TasksServer: s.Tasks})
	versionapi.RegisterVersionServer(s.server, struct {
		*VersionServer
		versionapi.UnsafeVersionServer
	}{VersionServer: s.Version})
}

// Serve serves the same mocks on one more listener, for example a unix socket,
// until the test ends. It closes the listener.
func (s *Server) Serve(listener net.Listener) {
	s.serving.Go(func() {
		// A test that makes no request can stop the server before it serves.
		if err := s.server.Serve(s.conns.listen(listener)); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.t.Errorf("serving the mocks: %v", err)
		}
	})
}

func (s *Server) stop() {
	s.server.Stop()
	s.serving.Wait()
}

// mockT makes an unexpected call fail the request as well as the test. FailNow
// of a testing.TB must not be called on the request's goroutine.
type mockT struct{ T }

// FailNow ends the request.
func (mockT) FailNow() { panic(errUnexpected) }
