package containerd

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/clock"
	"github.com/ctrdkit/containerd/internal/grpcmock"
)

const (
	testNamespace = "test"
	// patience is how long a test waits for what must happen.
	patience = 20 * time.Second
)

// daemon is mocks that answer from canned state: what a request made is there
// for the next one, so that undoing and retrying can be seen. It knows nothing
// of garbage collection.
type daemon struct {
	*grpcmock.Server
	t      *testing.T
	client *containerd.Client

	mu         sync.Mutex
	before     map[string]func(context.Context) error
	after      map[string]func() error
	nth        int // the request at which atNth is called, counted from 1
	atNth      func(ctx context.Context, method string) error
	seen       int
	lostAt     int   // the request that takes effect, but whose answer is lost
	seccomp    *bool // nil: the runtime does not say
	nsLabels   map[string]string
	rootfs     string
	stores     stores
	taskStates taskStates
	pids       uint32
}

// newDaemon serves the canned state of addCanned.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	d := &daemon{
		Server: grpcmock.New(t),
		t:      t,
		before: map[string]func(context.Context) error{},
		after:  map[string]func() error{},
		rootfs: t.TempDir(),
	}
	client, err := d.Client()
	require.NoError(t, err)
	d.client = client
	d.Inject(d.hook)
	d.serveImages()
	d.serveContent()
	d.serveContainers()
	d.serveSnapshots()
	d.serveLeases()
	d.serveTasks()
	d.serveIntrospection()
	d.addCanned()
	return d
}

// service returns a service of the daemon, which is closed when the test ends.
func (d *daemon) service(opts ...Option) *DefaultService {
	cfg := config{namespace: testNamespace, resolver: emptyRegistry{}}
	for _, opt := range opts {
		opt(&cfg)
	}
	s := newService(d.client, cfg)
	d.t.Cleanup(func() {
		d.heal()
		if clock, ok := s.clock.(*fakeClock); ok {
			clock.run()
		}
		require.NoError(d.t, s.Close())
	})
	return s
}

// emptyRegistry is a registry that has nothing.
type emptyRegistry struct{ remotes.Resolver }

var errEmptyRegistry = fmt.Errorf("the registry has no such image: %w", errdefs.ErrNotFound)

func (emptyRegistry) Resolve(context.Context, string) (string, ocispec.Descriptor, error) {
	return "", ocispec.Descriptor{}, errEmptyRegistry
}

func (emptyRegistry) Fetcher(context.Context, string) (remotes.Fetcher, error) {
	return remotes.FetcherFunc(func(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
		return nil, errEmptyRegistry
	}), nil
}

// stopClock makes the service's time stand still until the test moves it.
func stopClock(s *DefaultService) *fakeClock {
	clock := newFakeClock()
	s.clock, s.cleaner.clock = clock, clock
	return clock
}

func shortMethod(full string) string {
	service, method := path.Split(full)
	return service[strings.LastIndexByte(service, '.')+1:] + method
}

// hook runs what the test set for the method, before the request takes effect.
func (d *daemon) hook(ctx context.Context, call grpcmock.Call) error {
	method := shortMethod(call.Method)
	d.mu.Lock()
	d.seen++
	do := d.before[method]
	if d.nth > 0 && d.seen == d.nth {
		at := d.atNth
		do = func(ctx context.Context) error { return at(ctx, method) }
	}
	if d.lostAt > 0 && d.seen == d.lostAt {
		d.after[method] = func() error {
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.after, method)
			return errdefs.ErrUnavailable
		}
	}
	d.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(ctx)
}

// on runs do before each request of the method; its error is the answer.
func (d *daemon) on(method string, do func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before[method] = do
}

// endedMeanwhile is for a request that is not to be given up when its caller's
// context ends, as it does while the daemon has it.
func endedMeanwhile(t *testing.T, end func()) func(context.Context) error {
	return func(request context.Context) error {
		end()
		select {
		case <-request.Done():
			t.Error("the request is given up, and takes effect when nobody waits for it")
		case <-time.After(5 * waitPause):
		}
		return nil
	}
}

// once runs do before the method's next request.
func (d *daemon) once(method string, do func(context.Context) error) {
	var once sync.Once
	d.on(method, func(ctx context.Context) (err error) {
		once.Do(func() { err = do(ctx) })
		return err
	})
}

// fail answers the method's requests with err, without their taking effect.
func (d *daemon) fail(method string, err error) {
	d.on(method, func(context.Context) error { return err })
}

// hang leaves the method's requests unanswered.
func (d *daemon) hang(method string) {
	d.on(method, hang)
}

func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// lose lets the method's requests take effect, and loses their answers.
func (d *daemon) lose(method string) { d.answer(method, errdefs.ErrUnavailable) }

// answer lets the method's requests take effect, and answers err.
func (d *daemon) answer(method string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.after[method] = func() error { return err }
}

// heal ends every fault, or those of the methods.
func (d *daemon) heal(methods ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(methods) == 0 {
		clear(d.before)
		clear(d.after)
		d.nth, d.lostAt = 0, 0
	}
	for _, method := range methods {
		delete(d.before, method)
		delete(d.after, method)
	}
}

// atRequest runs do at the nth request from now, whatever that is.
func (d *daemon) atRequest(nth int, do func(ctx context.Context, method string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen, d.nth, d.atNth = 0, nth, do
}

// loseRequest loses the answer to the nth request from now.
func (d *daemon) loseRequest(nth int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen, d.lostAt = 0, nth
}

// serve makes a mock's function from one that changes the canned state.
func serve[Req, Resp any](d *daemon, method string, f func(Req) (Resp, error)) func(context.Context, Req) (Resp, error) {
	return func(_ context.Context, req Req) (Resp, error) {
		d.mu.Lock()
		resp, err := f(req)
		lost := d.after[method]
		d.mu.Unlock()
		if err == nil && lost != nil {
			err = lost()
		}
		return resp, err
	}
}

// methods returns the requests since the last reset, without their packages.
func (d *daemon) methods() []string {
	var list []string
	for _, call := range d.Calls() {
		list = append(list, shortMethod(call.Method))
	}
	return list
}

// fakeClock is a clock that the test moves.
type fakeClock struct {
	clock.System // what is not the test's

	mu      sync.Mutex
	now     time.Time
	timers  map[*fakeTimer]struct{}
	changed chan struct{}
	running bool
}

type fakeTimer struct {
	due     time.Time
	length  time.Duration
	elapsed chan time.Time
}

func newFakeClock() *fakeClock {
	return &fakeClock{
		now:     time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		timers:  map[*fakeTimer]struct{}{},
		changed: make(chan struct{}),
	}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) NewProcessTimer(d time.Duration) (<-chan time.Time, func()) { return c.NewTimer(d) }

func (c *fakeClock) NewTimer(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &fakeTimer{due: c.now.Add(d), length: d, elapsed: make(chan time.Time, 1)}
	if c.running {
		t.elapsed <- c.now
	} else {
		c.timers[t] = struct{}{}
		close(c.changed)
		c.changed = make(chan struct{})
	}
	return t.elapsed, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, t)
	}
}

// advance moves the time on and lets the timers that are due elapse.
func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for t := range c.timers {
		if !t.due.After(c.now) {
			t.elapsed <- c.now
			delete(c.timers, t)
		}
	}
}

// await returns when somebody waits for d.
func (c *fakeClock) await(t *testing.T, d time.Duration) {
	t.Helper()
	limit := time.After(patience)
	for {
		c.mu.Lock()
		for timer := range c.timers {
			if timer.length == d {
				c.mu.Unlock()
				return
			}
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("nobody waits for %v", d)
		}
	}
}

// pass lets d elapse once somebody waits for it.
func (c *fakeClock) pass(t *testing.T, d time.Duration) {
	t.Helper()
	c.await(t, d)
	c.advance(d)
}

// run lets every timer elapse at once from now on.
func (c *fakeClock) run() {
	c.mu.Lock()
	c.running = true
	c.mu.Unlock()
	c.advance(24 * time.Hour)
}

// received returns what ch delivers.
func received[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// async runs call and delivers its error.
func async(call func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	return done
}
