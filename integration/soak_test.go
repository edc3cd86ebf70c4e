package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/internal/leaks"
)

const (
	soakWorkers = 32
	// soakExecs run by default, and soakFull with SOAK=1.
	soakExecs, soakFull = 500, 10_000
	// soakPatience bounds one exec, so that a hang is a failure of that exec.
	soakPatience = 2 * time.Minute
)

// soak is execs of mixed kinds, many at a time, in one container.
type soak struct {
	*world
	id     string
	x      containerd.Executor
	second containerd.Executor // another service on the same daemon
	bytes  atomic.Int64
}

// soakKinds are what one exec of the soak can be. Each returns an error if a
// byte or an exit code is not as it should be.
var soakKinds = []struct {
	name string
	run  func(s *soak, ctx context.Context, r *rand.Rand) error
}{
	{"input comes back", (*soak).echo},
	{"input through a pipe", (*soak).pipes},
	{"both streams and an exit code", (*soak).both},
	{"much output", (*soak).zeros},
	{"no streams", (*soak).code},
	{"input that nobody reads", (*soak).unread},
	{"a signal", (*soak).signal},
	{"a context that ends", (*soak).canceled},
	{"a terminal", (*soak).terminal},
	{"detached", (*soak).detached},
	{"not found", (*soak).notFound},
	{"ExecTask", (*soak).execTask},
}

func TestSoak(t *testing.T) {
	count := soakExecs
	if os.Getenv("SOAK") != "" {
		count = soakFull
	}
	w := newWorld(t)
	w.ctx = context.WithoutCancel(w.ctx)
	w.raw = namespaces.WithNamespace(w.ctx, w.Namespace)
	other := backend(t, shared.daemon.address, containerd.WithNamespace(w.Namespace))
	s := &soak{world: w, id: w.start(), x: w.executor(), second: other.Service.(containerd.Executor)}

	s.run(2 * len(soakKinds)) // connections, caches and threads
	assert.Eventually(t, s.clean, 35*time.Second, 100*time.Millisecond)
	before := s.settle(leaks.Resources{})
	began := time.Now()
	kinds := s.run(count)
	took := time.Since(began)
	t.Logf("%d execs, %d at a time, in %v (%.0f per second), %d MiB of input and output",
		count, soakWorkers, took.Round(time.Millisecond), float64(count)/took.Seconds(), s.bytes.Load()>>20)
	t.Logf("kinds: %v", kinds)

	// What could not be undone in time is the cleaner's, which takes 30 s at most.
	assert.Eventually(t, s.clean, 35*time.Second, 100*time.Millisecond)
	t.Logf("clean %v after the last one", time.Since(began.Add(took)).Round(time.Millisecond))
	after := s.settle(before)
	assert.Empty(t, after.Since(before), "left in this process")
	s.onlyInit(s.id)
	if len(s.Lacks) == 0 {
		list, err := s.x.ListExecs(s.ctx, s.id, nil)
		require.NoError(t, err)
		assert.Empty(t, list)
	}
	assert.Equal(t, "RUNNING", s.status(s.id))
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("heap %d KiB, %d goroutines", memory.HeapAlloc>>10, runtime.NumGoroutine())
}

// clean says whether the container runs nothing but its own process.
func (s *soak) clean() bool { return len(s.pids(s.id)) == 1 }

// settle returns this process's resources, when they are those of before or
// time is up: what was told to end needs a moment.
func (s *soak) settle(before leaks.Resources) leaks.Resources {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var now leaks.Resources
	for range 150 {
		if now = leaks.Take(); len(now.Since(before)) == 0 {
			break
		}
		<-tick.C
	}
	return now
}

// run runs count execs and returns how many there were of each kind.
func (s *soak) run(count int) map[string]int {
	s.Helper()
	var next atomic.Int64
	var workers sync.WaitGroup
	ran := make([]atomic.Int64, len(soakKinds))
	for range soakWorkers {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				r := rand.New(rand.NewPCG(1, uint64(i)))
				kind := i % len(soakKinds)
				ctx, cancel := context.WithTimeout(s.ctx, soakPatience)
				began := time.Now()
				err := soakKinds[kind].run(s, ctx, r)
				cancel()
				if err != nil {
					s.Errorf("exec %d, %s, after %v: %v", i, soakKinds[kind].name, time.Since(began).Round(time.Millisecond), err)
				}
				ran[kind].Add(1)
			}
		})
	}
	workers.Wait()
	kinds := map[string]int{}
	for i := range ran {
		kinds[soakKinds[i].name] = int(ran[i].Load())
	}
	return kinds
}

// input returns 0 to 1 MiB, with both ends of the range among them.
func (s *soak) input(r *rand.Rand) []byte {
	size := r.IntN(mebibyte + 1)
	switch r.IntN(8) {
	case 0:
		size = 0
	case 1:
		size = mebibyte
	case 2:
		size = 1 + r.IntN(3)
	}
	data := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		n := r.Uint64()
		for j := range 8 {
			data[i+j] = byte(n >> (8 * j))
		}
	}
	return data
}

// same compares what went in with what came out.
func (s *soak) same(want, got []byte) error {
	s.bytes.Add(int64(len(want) + len(got)))
	if !bytes.Equal(want, got) {
		return fmt.Errorf("%d bytes came back of %d, or others", len(got), len(want))
	}
	return nil
}

func wantExit(err error, exit containerd.ExecExit, code uint32) error {
	if err != nil {
		return err
	}
	if exit.Code != code || exit.OutputCut || exit.OOMKilled {
		return fmt.Errorf("exit is %+v, want code %d", exit, code)
	}
	return nil
}

// wantFailed checks the error of a command whose process ends with code.
func wantFailed(err error, code uint32) error {
	failed, ok := errors.AsType[*containerd.ExitError](err)
	if !ok {
		return fmt.Errorf("no ExitError: %w", err)
	}
	return wantExit(nil, failed.ExecExit, code)
}

func (s *soak) echo(ctx context.Context, r *rand.Rand) error {
	input := s.input(r)
	c := containerd.Command(s.x, s.id, "cat")
	c.Stdin = bytes.NewReader(input)
	out, err := c.Output(ctx)
	return errors.Join(wantExit(err, c.Exit, 0), s.same(input, out))
}

func (s *soak) pipes(ctx context.Context, r *rand.Rand) error {
	input := s.input(r)
	c := containerd.Command(s.x, s.id, "cat")
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	fed := async(func() error {
		_, err := in.Write(input)
		return errors.Join(err, in.Close())
	})
	got, err := io.ReadAll(out)
	return errors.Join(err, <-fed, wantExit(c.Wait(), c.Exit, 0), s.same(input, got))
}

func (s *soak) both(ctx context.Context, r *rand.Rand) error {
	code := 1 + r.IntN(120)
	c := containerd.Command(s.x, s.id, "sh", "-c", strings.Replace(bothLoud, "exit 7", fmt.Sprint("exit ", code), 1))
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := wantFailed(c.Run(ctx), uint32(code))
	return errors.Join(err,
		s.same(bytes.Repeat([]byte("a"), mebibyte), stdout.Bytes()),
		s.same(bytes.Repeat([]byte("b"), mebibyte), stderr.Bytes()))
}

func (s *soak) zeros(ctx context.Context, r *rand.Rand) error {
	size := r.IntN(8 * mebibyte)
	c := containerd.Command(s.x, s.id, "zeros", fmt.Sprint(size))
	out, err := c.CombinedOutput(ctx)
	return errors.Join(wantExit(err, c.Exit, 0), s.same(make([]byte, size), out))
}

func (s *soak) code(ctx context.Context, r *rand.Rand) error {
	code := r.IntN(128)
	x, err := s.x.StartExec(ctx, s.id, containerd.StartExecRequest{Args: []string{"sh", "-c", fmt.Sprint("exit ", code)}})
	if err != nil {
		return err
	}
	exit, err := x.Wait(ctx)
	return wantExit(err, exit, uint32(code))
}

func (s *soak) unread(ctx context.Context, r *rand.Rand) error {
	c := containerd.Command(s.x, s.id, "false")
	c.Stdin = bytes.NewReader(s.input(r))
	return wantFailed(c.Run(ctx), 1)
}

func (s *soak) signal(ctx context.Context, r *rand.Rand) error {
	sig := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGINT}[r.IntN(3)]
	x, err := s.x.StartExec(ctx, s.id, containerd.StartExecRequest{Args: []string{"sigtrap", "TERM", "7"}, Stdout: io.Discard})
	if err != nil {
		return err
	}
	if err := x.Signal(ctx, sig); err != nil {
		return err
	}
	exit, err := x.Wait(ctx)
	if sig != syscall.SIGKILL && err == nil {
		// Trapped, ended by Go's default, or before Go's runtime had a say.
		if exit.Code == 7 || exit.Code == 128+uint32(sig) || exit.Code == 2 {
			return nil
		}
	}
	return wantExit(err, exit, 128+uint32(sig))
}

func (s *soak) canceled(ctx context.Context, r *rand.Rand) error {
	cut, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(400))*time.Millisecond)
	defer cancel()
	c := containerd.Command(s.x, s.id, "sleep", "300")
	c.Stdin, c.Stdout = bytes.NewReader(s.input(r)), io.Discard
	if r.IntN(2) == 0 {
		c.StopSignal = syscall.SIGTERM
	}
	if err := c.Run(cut); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("error is %w", err)
	}
	return nil
}

func (s *soak) terminal(ctx context.Context, _ *rand.Rand) error {
	c := containerd.Command(s.x, s.id, "sh", "-c", "tty; exit 9")
	c.Terminal, c.Width, c.Height = true, 80, 25
	out, err := c.CombinedOutput(ctx)
	return errors.Join(wantFailed(err, 9), s.same([]byte("terminal\r\n"), out))
}

func (s *soak) detached(ctx context.Context, r *rand.Rand) error {
	code := r.IntN(128)
	x, err := s.x.StartExec(ctx, s.id, containerd.StartExecRequest{
		Args: []string{"sh", "-c", fmt.Sprintf("echo out; sleep 0.0%d; exit %d", r.IntN(10), code)}, Detach: true,
	})
	if err != nil {
		return err
	}
	opened, err := s.second.OpenExec(ctx, s.id, x.ID())
	if err != nil {
		return err
	}
	exit, err := opened.Wait(ctx)
	return errors.Join(wantExit(err, exit, uint32(code)), opened.Remove(ctx))
}

func (s *soak) notFound(ctx context.Context, _ *rand.Rand) error {
	if err := containerd.Command(s.x, s.id, "no-such-program").Run(ctx); !errors.Is(err, containerd.ErrExecutableNotFound) {
		return fmt.Errorf("error is %w", err)
	}
	return nil
}

func (s *soak) execTask(ctx context.Context, r *rand.Rand) error {
	code := r.IntN(128)
	result, err := s.Service.ExecTask(ctx, s.id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", fmt.Sprint("exit ", code)}})
	return wantExit(err, containerd.ExecExit{Code: result.ExitCode}, uint32(code))
}
