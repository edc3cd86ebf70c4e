package containerd

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// handWritten is a Service as its users write one: with these 19 methods and
// nothing else it must stay one.
type handWritten struct{}

var _ Service = handWritten{}

func TestServiceHasExactlyNineteenMethods(t *testing.T) {
	assert.Equal(t, 19, reflect.TypeFor[Service]().NumMethod())
}

func (handWritten) PullImage(context.Context, string, *PullImageOptions) (containerd.Image, error) {
	return nil, nil
}
func (handWritten) GetImage(context.Context, string) (containerd.Image, error) { return nil, nil }
func (handWritten) ListImages(context.Context) ([]containerd.Image, error)     { return nil, nil }
func (handWritten) DeleteImage(context.Context, string, *DeleteImageOptions) error {
	return nil
}
func (handWritten) CreateContainer(context.Context, CreateContainerRequest) (containerd.Container, error) {
	return nil, nil
}
func (handWritten) CreateContainerFromSnapshot(context.Context, CreateContainerRequest) (containerd.Container, error) {
	return nil, nil
}
func (handWritten) GetContainer(context.Context, string) (containerd.Container, error) {
	return nil, nil
}
func (handWritten) ListContainers(context.Context) ([]containerd.Container, error) { return nil, nil }
func (handWritten) ListContainersByLabel(context.Context, string, string) ([]containerd.Container, error) {
	return nil, nil
}
func (handWritten) DeleteContainer(context.Context, string, *DeleteContainerOptions) error {
	return nil
}
func (handWritten) StartTask(context.Context, string, *StartTaskOptions) (containerd.Task, error) {
	return nil, nil
}
func (handWritten) GetTask(context.Context, string) (containerd.Task, error) { return nil, nil }
func (handWritten) ListTasks(context.Context, *ListTasksOptions) ([]TaskInfo, error) {
	return nil, nil
}
func (handWritten) StopTask(context.Context, string, *StopTaskOptions) error     { return nil }
func (handWritten) DeleteTask(context.Context, string, *DeleteTaskOptions) error { return nil }
func (handWritten) ExecTask(context.Context, string, ExecTaskRequest) (ExecTaskResult, error) {
	return ExecTaskResult{}, nil
}
func (handWritten) CommitSnapshot(context.Context, string, string, string) error  { return nil }
func (handWritten) PrepareSnapshot(context.Context, string, string, string) error { return nil }
func (handWritten) SnapshotMounts(context.Context, string, string) ([]mount.Mount, error) {
	return nil, nil
}

// method is one method with arguments that succeed on the canned state.
type method struct {
	op, id string
	args   []string // the required strings
	call   func(ctx context.Context, s *DefaultService, args []string) error
	// given adds to the canned state what the method needs there.
	given func(d *daemon)
	// withNil and withZero are given where the options may be nil.
	withNil, withZero func(ctx context.Context, s *DefaultService) error
}

func (m method) do(ctx context.Context, s *DefaultService) error { return m.call(ctx, s, m.args) }

// daemon serves the state that the method succeeds on.
func (m method) daemon(t *testing.T) *daemon {
	t.Helper()
	d := newDaemon(t)
	if m.given != nil {
		m.given(d)
	}
	return d
}

func TestEmptyRequiredArgumentsMakeNoRequest(t *testing.T) {
	for name, m := range methods(t) {
		for i := range m.args {
			d := m.daemon(t)
			args := append([]string{}, m.args...)
			args[i] = ""
			err := m.call(t.Context(), d.service(), args)
			assertError(t, err, m.op, errdefs.IsInvalidArgument, "%s without argument %d", name, i)
			assert.Contains(t, err.Error(), "empty")
			assert.Empty(t, d.Calls(), "%s without argument %d", name, i)
		}
	}
	d := newDaemon(t)
	for _, args := range [][]string{nil, {""}} {
		_, err := d.service().ExecTask(t.Context(), "web", ExecTaskRequest{Args: args})
		assertError(t, err, "exec task", errdefs.IsInvalidArgument, "Args %q", args)
	}
	assert.Empty(t, d.Calls())
}

func TestEveryCallActsInTheServicesNamespace(t *testing.T) {
	for name, m := range methods(t) {
		t.Run(name, func(t *testing.T) {
			for _, ctx := range []context.Context{t.Context(), namespaces.WithNamespace(t.Context(), "other")} {
				d := m.daemon(t)
				require.NoError(t, m.do(ctx, d.service()))
				require.NotEmpty(t, d.Calls())
				for _, call := range d.Calls() {
					assert.Equal(t, testNamespace, call.Namespace, "%s", call.Method)
				}
			}
		})
	}
}

// assertError checks what every error has: operation, object and class.
func assertError(t *testing.T, err error, op string, class func(error) bool, why string, args ...any) {
	t.Helper()
	opErr, ok := errors.AsType[*Error](err)
	if !assert.True(t, ok, "%T: %v", err, err) {
		return
	}
	assert.Equal(t, op, opErr.Op)
	assert.True(t, class(err), append([]any{why + ": " + strings.ReplaceAll(err.Error(), "%", "%%")}, args...)...)
	assert.False(t, errdefs.IsUnknown(err), "unknown is no class: %v", err)
}

func TestErrorsCarryOperationObjectAndClass(t *testing.T) {
	answers := map[string]struct {
		err   error
		class func(error) bool
	}{
		"unknown becomes internal": {status.Error(codes.Unknown, "odd"), errdefs.IsInternal},
		"unavailable stays":        {status.Error(codes.Unavailable, "gone"), errdefs.IsUnavailable},
		"permission denied stays":  {errdefs.ErrPermissionDenied, errdefs.IsPermissionDenied},
		"exhausted stays":          {status.Error(codes.ResourceExhausted, "full"), errdefs.IsResourceExhausted},
	}
	for name, m := range methods(t) {
		for what, answer := range answers {
			t.Run(name+" "+what, func(t *testing.T) {
				d := m.daemon(t)
				s := d.service()
				if what == "unavailable stays" {
					stopClock(s) // the cleaner goes on until the daemon is healed
				}
				d.Inject(func(context.Context, callOf) error { return answer.err })
				t.Cleanup(func() { d.Inject(d.hook) })
				err := m.do(t.Context(), s)
				assertError(t, err, m.op, answer.class, what)
				opErr, _ := errors.AsType[*Error](err)
				assert.Equal(t, m.id, opErr.ID)
			})
		}
	}
}

func TestEndedContextMakesNoRequest(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, m := range methods(t) {
		d := m.daemon(t)
		err := m.do(ended, d.service())
		assertError(t, err, m.op, func(err error) bool { return errors.Is(err, context.Canceled) }, name)
		assert.Empty(t, d.Calls(), name)
	}
}

func TestServiceThatCannotCall(t *testing.T) {
	d := newDaemon(t)
	closed := d.service()
	require.NoError(t, closed.Close())
	services := map[string]struct {
		s     *DefaultService
		class func(error) bool
	}{
		"nil client":        {NewDefaultService(nil, ""), errdefs.IsFailedPrecondition},
		"closed":            {closed, errdefs.IsFailedPrecondition},
		"invalid namespace": {NewDefaultService(d.client, "a/b"), errdefs.IsInvalidArgument},
		"empty label":       {NewDefaultService(d.client, "-"), errdefs.IsInvalidArgument},
	}
	for what, test := range services {
		for name, m := range methods(t) {
			assertError(t, m.do(t.Context(), test.s), m.op, test.class, name+", "+what)
		}
		require.NoError(t, test.s.Close())
		require.NoError(t, test.s.Close(), "closing twice")
	}
	assert.Empty(t, d.Calls())
}

func TestNilOptionsAreTheZeroOptions(t *testing.T) {
	exceptions := map[string]bool{"PullImage": true, "DeleteContainer": true}
	compared := 0
	for name, m := range methods(t) {
		if m.withNil == nil {
			continue
		}
		compared++
		t.Run(name, func(t *testing.T) {
			one, other := m.daemon(t), m.daemon(t)
			s, z := one.service(), other.service()
			stopClock(s) // no request is repeated for want of time
			stopClock(z)
			require.NoError(t, m.withNil(t.Context(), s))
			require.NoError(t, m.withZero(t.Context(), z))
			if exceptions[name] {
				assert.NotEqual(t, one.methods(), other.methods())
				return
			}
			assert.ElementsMatch(t, one.methods(), other.methods())
			assert.Equal(t, one.state(), other.state())
		})
	}
	assert.Equal(t, 18, compared, "methods with options")
}

// A daemon that stops answering at any request of a call must not hold the
// call longer than a second after its context has ended.
func TestHungDaemonHoldsNoCall(t *testing.T) {
	const deadline, bound, slack = 20 * time.Millisecond, time.Second + 20*time.Millisecond, time.Second
	var wg sync.WaitGroup
	turns := make(chan struct{}, 24) // more at once take too long by themselves
	for name, m := range methods(t) {
		for nth := range requestsOf(t, m) {
			d := m.daemon(t)
			s := d.service()
			stopClock(s)
			wg.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				d.atRequest(nth+1, func(ctx context.Context, _ string) error {
					d.Inject(func(ctx context.Context, _ callOf) error { return hang(ctx) })
					return hang(ctx)
				})
				ctx, cancel := context.WithCancel(t.Context())
				timer := time.AfterFunc(deadline, cancel)
				defer timer.Stop()
				start := time.Now()
				err := m.do(ctx, s)
				took := time.Since(start)
				d.Inject(d.hook)
				assert.Less(t, took, bound+slack, "%s hung at request %d", name, nth+1)
				if err != nil { // the goal may have been reached before
					assertError(t, err, m.op, func(err error) bool { return errors.Is(err, context.Canceled) }, "%s hung at request %d", name, nth+1)
				}
			})
		}
	}
	wg.Wait()
}
