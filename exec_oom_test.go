package containerd

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"
)

// countKills serves metrics of "web" with the counts of processes killed for
// memory, one after the other; -1 is no answer.
func (d *daemon) countKills(counts ...int) {
	for _, n := range counts {
		call := d.Tasks.EXPECT().Metrics(mock.Anything, mock.Anything).Once()
		if n < 0 {
			call.Return(nil, errdefs.ErrUnavailable)
			continue
		}
		call.Return(&tasksapi.MetricsResponse{Metrics: []*types.Metric{{ID: "web", Data: &anypb.Any{
			TypeUrl: "io.containerd.cgroups.v1.Metrics", Value: []byte{9<<3 | 2, 2, 3 << 3, byte(n)},
		}}}}, nil)
	}
}

const limited = `{"process":{"args":["a"],"cwd":"/"},"linux":{"resources":{"memory":{"limit":1000}}}}`

func TestExecThatWasKilledForMemory(t *testing.T) {
	ctx := t.Context()
	for what, test := range map[string]struct {
		limit  bool
		counts []int
		end    func(*daemon, Exec) error
		want   bool
	}{
		"the count rose":                {true, []int{3, 4}, nil, true},
		"the count stayed":              {true, []int{3, 3}, nil, false},
		"nobody counts any more":        {true, []int{3, -1}, nil, false},
		"nobody counted before":         {true, []int{-1, 1}, nil, true},
		"a limit of somebody else's":    {false, []int{1}, nil, true},
		"no want of memory ever":        {false, []int{0}, nil, false},
		"ended by itself":               {true, []int{3}, func(d *daemon, _ Exec) error { d.endExecs(7); return nil }, false},
		"by another signal":             {true, []int{3}, func(_ *daemon, x Exec) error { return x.Signal(ctx, syscall.SIGTERM) }, false},
		"by its user, who need not ask": {true, []int{3}, func(_ *daemon, x Exec) error { return x.Signal(ctx, syscall.SIGKILL) }, false},
		"removed by its user":           {true, []int{3}, func(_ *daemon, x Exec) error { return x.Remove(ctx) }, false},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			if test.limit {
				d.setSpec("web", limited)
			}
			d.countKills(test.counts...)
			x := startSleeper(t.Context(), t, d, d.service(), nil)
			if test.end == nil {
				d.endExecs(137)
			} else {
				require.NoError(t, test.end(d, x))
			}
			exit, err := x.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, test.want, exit.OOMKilled)
		})
	}
}

// An exec that can't be removed may be about to be started: its shim must find
// the FIFOs, or it loses the process. The caller's streams are left alone.
func TestStreamsOfAnExecThatCanNotBeRemovedStayOpen(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	ctx, cancel := context.WithCancel(t.Context())
	d.change("web", func(p *taskState) { p.code = runsOn })
	d.fail("Tasks/Kill", errdefs.ErrUnavailable)
	d.on("Tasks/Start", func(context.Context) error {
		cancel()
		return errdefs.ErrUnavailable
	})
	r := &blockingReader{began: make(chan struct{}), end: make(chan struct{})}
	written := &countingWriter{}
	_, err := s.StartExec(ctx, "web", StartExecRequest{Args: []string{"x"}, Stdin: r, Stdout: written, Stderr: written})
	require.ErrorContains(t, err, "still to be cleaned up: exec exec-")

	st := attachedStreams(t, s)
	stdin, stdout, stderr := execShim(t, s)
	_, err = stdout.WriteString("text")
	require.NoError(t, err, "somebody reads")
	close(r.end)
	require.NoError(t, errors.Join(stdin.Close(), stdout.Close(), stderr.Close()))
	received(t, st.drained)
	assert.Zero(t, written.n, "but nobody writes it any more")
	d.heal()
	clock.run()
	require.NoError(t, s.Close())
	assert.NoDirExists(t, st.dir, "the cleaner removes everything")
	assert.Zero(t, d.execs())
}

type countingWriter struct{ n int }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.n += len(p)
	return len(p), nil
}

// A writer that is in use when its stream is muted is waited for.
func TestMutedWriterIsNotUsedAnyMore(t *testing.T) {
	r, w := io.Pipe()
	flow := &outflow{writer: w, now: time.Now}
	wrote := async(func() error { return flow.write([]byte("x")) })
	require.Eventually(t, flow.heldUp, patience, waitPause)
	quiet := flow.mute()
	select {
	case <-quiet:
		assert.Fail(t, "the writer is in use")
	default:
	}
	_, err := r.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, received(t, wrote))
	received(t, quiet)
	require.NoError(t, flow.write([]byte("y")), "discarded, as nobody reads")
}
