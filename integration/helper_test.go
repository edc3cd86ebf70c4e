package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/ctrdkit/containerd"
)

// helperCall is what another process of the library's user does.
type helperCall struct {
	Op                 string
	Address, Namespace string
	ID, Image          string
	Args               []string
	ExecID             string
	FIFODir            string
	Terminal           bool
	Repeat             int

	// At is the number of the request before (or, with Sent, shortly after)
	// which the process kills itself; 0 means that it does not.
	At   int
	Sent bool
	// Hold is the method of a request before which the process waits until it
	// is released.
	Hold string
}

// helperReport is what a helper says of its call, on its descriptor 3.
type helperReport struct {
	Held       bool
	Requests   int
	Err        string
	ExitCode   uint32
	Took       time.Duration
	Goroutines [2]int // before and after
	Files      [2]int
}

// helper is a running one.
type helper struct {
	cmd     *exec.Cmd
	owner   string // as it is in what the library marks
	reports *json.Decoder
	release *os.File
}

// startHelper executes this test binary again for one call.
func startHelper(t *testing.T, call helperCall, wire ...func(*exec.Cmd)) *helper {
	t.Helper()
	text, err := json.Marshal(call)
	require.NoError(t, err)
	reports, reportsEnd, err := os.Pipe()
	require.NoError(t, err)
	hold, release, err := os.Pipe()
	require.NoError(t, err)
	// No helper outlasts its test for ever. This is more than the time of a world:
	// where it kills a helper, the test has failed already.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = t.Output()
	cmd.ExtraFiles = []*os.File{reportsEnd, hold}
	for _, w := range wire {
		w(cmd)
	}
	require.NoError(t, cmd.Start())
	owner, err := noteProcess(cmd.Process.Pid)
	require.NoError(t, err)
	h := &helper{cmd: cmd, owner: owner, reports: json.NewDecoder(reports), release: release}
	require.NoError(t, errors.Join(reportsEnd.Close(), hold.Close()))
	t.Cleanup(func() {
		h.kill(t)
		require.NoError(t, errors.Join(reports.Close(), release.Close()))
	})
	return h
}

// kill ends the helper if it still runs.
func (h *helper) kill(t *testing.T) {
	t.Helper()
	if h.cmd.ProcessState != nil {
		return
	}
	require.NoError(t, h.cmd.Process.Kill())
	h.wait(t)
}

func (h *helper) wait(t *testing.T) {
	t.Helper()
	if err := h.cmd.Wait(); err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
	}
}

// report returns the next report.
func (h *helper) report(t *testing.T) helperReport {
	t.Helper()
	var r helperReport
	require.NoError(t, h.reports.Decode(&r))
	return r
}

// result waits for the helper's end and returns its last report.
func (h *helper) result(t *testing.T) helperReport {
	t.Helper()
	r := h.report(t)
	require.NoError(t, h.cmd.Wait())
	return r
}

// died waits for the helper's end and reports whether it was killed; otherwise
// its call came to an end before.
func (h *helper) died(t *testing.T) bool {
	t.Helper()
	h.wait(t)
	status, ok := h.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.True(t, status.Signaled() || status.ExitStatus() == 0, "helper: %v", h.cmd.ProcessState)
	return status.Signaled()
}

// goOn releases a helper that holds.
func (h *helper) goOn(t *testing.T) {
	t.Helper()
	_, err := h.release.Write([]byte{1})
	require.NoError(t, err)
}

// runHelper is the helper's main.
func runHelper() error {
	var call helperCall
	if err := json.Unmarshal([]byte(os.Getenv(helperEnv)), &call); err != nil {
		return err
	}
	// What the helper starts must not take itself for a helper.
	if err := os.Unsetenv(helperEnv); err != nil {
		return err
	}
	op, ok := helperOps[call.Op]
	if !ok {
		return fmt.Errorf("no such helper: %q", call.Op)
	}
	reports := json.NewEncoder(os.NewFile(3, "reports"))
	helperSays = reports.Encode
	c := &counter{call: call, reports: reports, hold: os.NewFile(4, "hold")}
	raw, err := client.New(call.Address, client.WithExtraDialOpts([]grpc.DialOption{
		grpc.WithChainUnaryInterceptor(c.unary), grpc.WithChainStreamInterceptor(c.stream),
	}))
	if err != nil {
		return err
	}
	svc := containerd.NewDefaultService(raw, call.Namespace)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := op(ctx, svc, call)
	if err != nil {
		r.Err = err.Error()
	}
	r.Requests = int(c.requests.Load())
	return errors.Join(svc.Close(), reports.Encode(r), raw.Close())
}

// helperSays sends a report before the end of a helper's call.
var helperSays func(any) error

// helperOps are the calls that helpers make.
var helperOps = map[string]func(context.Context, *containerd.DefaultService, helperCall) (helperReport, error){
	"create": func(ctx context.Context, s *containerd.DefaultService, call helperCall) (r helperReport, err error) {
		req := containerd.CreateContainerRequest{ID: call.ID, ImageRef: call.Image}
		if len(call.Args) > 0 {
			req.SpecOpts = []oci.SpecOpts{oci.WithProcessArgs(call.Args...)}
		}
		_, err = s.CreateContainer(ctx, req)
		return r, err
	},
	"pull": func(ctx context.Context, s *containerd.DefaultService, call helperCall) (r helperReport, err error) {
		_, err = s.PullImage(ctx, call.Image, nil)
		return r, err
	},
	"start": func(ctx context.Context, s *containerd.DefaultService, call helperCall) (r helperReport, err error) {
		_, err = s.StartTask(ctx, call.ID, nil)
		return r, err
	},
	"attach": func(ctx context.Context, s *containerd.DefaultService, call helperCall) (r helperReport, err error) {
		_, err = s.StartTask(ctx, call.ID, &containerd.StartTaskOptions{UseStdio: true, FIFODir: call.FIFODir})
		return r, err
	},
	"log": func(ctx context.Context, s *containerd.DefaultService, call helperCall) (r helperReport, err error) {
		return r, logTask(ctx, s, call)
	},
	"launch and attach": func(ctx context.Context, s *containerd.DefaultService, call helperCall) (r helperReport, err error) {
		return r, launchAttached(ctx, s, call)
	},
	"start exec": func(ctx context.Context, s *containerd.DefaultService, call helperCall) (r helperReport, err error) {
		_, err = s.StartExec(ctx, call.ID, containerd.StartExecRequest{ID: call.ExecID, Args: call.Args, Detach: true})
		return r, err
	},
	"run command": func(ctx context.Context, s *containerd.DefaultService, call helperCall) (r helperReport, err error) {
		return r, containerd.Command(s, call.ID, call.Args[0], call.Args[1:]...).Run(ctx)
	},
	"run":  runAttached,
	"exec": execAttached,
}

// counter counts the requests of a helper, and kills it or holds it at one.
type counter struct {
	call     helperCall
	reports  *json.Encoder
	hold     *os.File
	requests atomic.Int64
}

// sentPause is how long a request is under way when its process is killed.
const sentPause = 2 * time.Millisecond

// next is called before a request is made.
func (c *counter) next(method string) error {
	n := int(c.requests.Add(1))
	switch {
	case c.call.Hold != "" && strings.HasSuffix(method, c.call.Hold):
		if err := c.reports.Encode(helperReport{Held: true}); err != nil {
			return err
		}
		if _, err := c.hold.Read(make([]byte, 1)); err != nil {
			return err
		}
	case n != c.call.At:
	case c.call.Sent:
		time.AfterFunc(sentPause, die)
	default:
		die()
	}
	return nil
}

// die ends this process as the kernel's out-of-memory killer would.
func die() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}

func (c *counter) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if err := c.next(method); err != nil {
		return err
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

func (c *counter) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := c.next(method); err != nil {
		return nil, err
	}
	return open(ctx, desc, cc, method, opts...)
}

const (
	// fifoDirs is where root's services put FIFOs if they are not told where.
	fifoDirs = "/run/ctrdkit/stdio"
	// marksDir is where they note the starts that are under way.
	marksDir = "/run/ctrdkit/starts"
)
