package containerd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

func TestDetachedStdioHasNoPartInThisProcess(t *testing.T) {
	ctx, s, _ := mocked(t)
	for _, terminal := range []bool{false, true} {
		io, err := s.openStdio(ctx, stdio{terminal: terminal}, "a", "")
		require.NoError(t, err)
		config := io.Config()
		assert.Equal(t, terminal, config.Terminal)
		assert.Empty(t, config.Stdin)
		to, err := url.Parse(config.Stdout)
		require.NoError(t, err)
		assert.Equal(t, "/dev/null", to.Path, "the shim discards the output")

		made, ours := taskOwner(&tasktypes.Process{Stdout: config.Stdout, Stderr: config.Stderr})
		assert.True(t, ours, "the addresses say who made the process")
		assert.Equal(t, s.owner, made)
		again, err := s.openStdio(ctx, stdio{terminal: terminal}, "a", "")
		require.NoError(t, err)
		assert.NotEqual(t, config, again.Config(), "no two calls have the same")
	}
}

func TestTaskOwnerIsOnlyWhoeverLeftOurMark(t *testing.T) {
	for _, stdout := range []string{"", "/dev/null", "file:///dev/null", "file:///dev/null?" + extensionOrigin, sinkPrefix, sinkPrefix + "a/b", "/run/fifos/stdout"} {
		_, ours := taskOwner(&tasktypes.Process{Stdout: stdout, Stderr: stdout})
		assert.False(t, ours, "%s", stdout)
	}
}

func TestMarkedPathsLeadThroughADirectoryAnywhere(t *testing.T) {
	_, s, _ := mocked(t)
	for _, base := range []string{"/run", "/root", "/root/root", "/a/root/b"} {
		dir := filepath.Join(base, s.fifoDirPrefix()+"ABCDEFGH")
		for _, target := range []string{"/var/log/out", "/root/out", "/root/root/root", "/x/root/y", ""} {
			gotDir, got, ok := parseMarkedPath(markedPath(dir, target))
			assert.True(t, ok, "%s in %s", target, dir)
			assert.Equal(t, dir, gotDir, target)
			assert.Equal(t, target, got, dir)
		}
	}
	for _, path := range []string{"", "/root/", "/root/out", "/run/root/out", "/root/root/root/"} {
		_, _, ok := parseMarkedPath(path)
		assert.False(t, ok, path)
	}
}

// standIn replaces this process's streams for a test, and returns their other ends.
func standIn(t *testing.T) (stdin *os.File, output func() string) {
	t.Helper()
	in, out, errs := os.Stdin, os.Stdout, os.Stderr
	inR, inW, err := os.Pipe()
	require.NoError(t, err)
	outR, outW, err := os.Pipe()
	require.NoError(t, err)
	os.Stdin, os.Stdout, os.Stderr = inR, outW, outW
	t.Cleanup(func() {
		os.Stdin, os.Stdout, os.Stderr = in, out, errs
		assert.NoError(t, errors.Join(inR.Close(), outR.Close()))
	})
	return inW, func() string {
		require.NoError(t, outW.Close())
		text, err := io.ReadAll(outR)
		require.NoError(t, err)
		return string(text)
	}
}

// shimEnds opens the FIFOs as a shim does.
func shimEnds(t *testing.T, st *streams) (stdin, stdout, stderr *os.File) {
	t.Helper()
	open := func(path string, flag int) *os.File {
		f, err := os.OpenFile(path, flag, 0)
		require.NoError(t, err)
		return f
	}
	config := st.Config()
	return open(config.Stdin, os.O_RDONLY), open(config.Stdout, os.O_WRONLY), open(config.Stderr, os.O_WRONLY)
}

func TestStreams(t *testing.T) {
	ctx, s, server := mocked(t)
	closed := make(chan *tasks.CloseIORequest, 1)
	server.Tasks.EXPECT().CloseIO(mock.Anything, mock.Anything).
		RunAndReturn(func(_ context.Context, r *tasks.CloseIORequest) (*emptypb.Empty, error) {
			closed <- r
			return &emptypb.Empty{}, nil
		}).Once()
	input, output := standIn(t)
	base := filepath.Join(t.TempDir(), "made", "when absent")
	st, err := s.openStreams(ctx, ownStdio(false, base), "a", "exec-1")
	require.NoError(t, err)
	stdin, stdout, stderr := shimEnds(t, st)

	_, err = input.WriteString("in")
	require.NoError(t, err)
	require.NoError(t, input.Close())
	got, err := io.ReadAll(io.LimitReader(stdin, 2))
	require.NoError(t, err)
	assert.Equal(t, "in", string(got))
	assert.Empty(t, closed, "stdin is not closed before the process was started")
	st.begin()
	r := <-closed
	assert.Equal(t, "exec-1", r.GetExecID())
	assert.True(t, r.GetStdin())

	_, err = stdout.WriteString("out")
	require.NoError(t, err)
	require.NoError(t, stdout.Close())
	_, err = stderr.WriteString("err")
	require.NoError(t, err)
	require.NoError(t, errors.Join(stderr.Close(), stdin.Close()))
	drained, err := st.finish(ctx)
	require.NoError(t, err)
	assert.True(t, drained)
	text := output()
	assert.Contains(t, text, "out")
	assert.Contains(t, text, "err")
	left, err := os.ReadDir(base)
	require.NoError(t, err, "only the directory of its own is removed")
	assert.Empty(t, left)
	<-st.idle
}

func TestStreamsThatNobodyOpensAreReleased(t *testing.T) {
	ctx, s, _ := mocked(t)
	standIn(t)
	st, err := s.openStreams(ctx, ownStdio(false, t.TempDir()), "a", "")
	require.NoError(t, err)
	require.NoError(t, st.Close())
	require.NoError(t, st.Close(), "twice")
	<-st.idle
	assert.NoDirExists(t, st.dir)
}

func TestDrainIsBounded(t *testing.T) {
	ctx, s, _ := mocked(t)
	s.clock = quickClock{}
	standIn(t)
	st, err := s.openStreams(ctx, ownStdio(false, t.TempDir()), "a", "")
	require.NoError(t, err)
	stdin, stdout, stderr := shimEnds(t, st) // as a child of the process would hold them
	drained, err := st.finish(ctx)
	require.NoError(t, err)
	assert.False(t, drained)
	require.NoError(t, errors.Join(stdin.Close(), stdout.Close(), stderr.Close()))
}

func TestOutputIsReadOnWhenItCanNotBeWritten(t *testing.T) {
	r := strings.NewReader(strings.Repeat("x", 3*copyBuffer))
	(&outflow{writer: failingWriter{}, now: time.Now}).run(r)
	assert.Zero(t, r.Len())
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestStdinReaderCanBeStopped(t *testing.T) {
	input, _ := standIn(t)
	r, err := newStdinReader(os.Stdin)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 1))
		ended <- err
	}()
	require.NoError(t, r.stop())
	require.ErrorIs(t, <-ended, errStopped)
	require.NoError(t, errors.Join(r.release(), input.Close()))
}

func TestFIFODirsOfDeadOwnersAreSwept(t *testing.T) {
	_, s, _ := mocked(t)
	base := t.TempDir()
	dead := s.owner
	dead.start = "1"
	name := func(o owner) string {
		return filepath.Join(base, fifoPrefix+strings.ReplaceAll(o.String(), "/", "_")+"-ABCDEFGH")
	}
	others := []string{filepath.Join(base, "theirs"), filepath.Join(base, fifoPrefix+"x"), name(s.owner)}
	for _, dir := range append(others, name(dead)) {
		require.NoError(t, os.Mkdir(dir, 0o700))
	}
	dir, err := s.makeFIFODir(base)
	require.NoError(t, err)
	assert.DirExists(t, dir)
	assert.NoDirExists(t, name(dead))
	for _, dir := range others {
		assert.DirExists(t, dir)
	}
	o, ours := fifoDirOwner(dir)
	assert.True(t, ours)
	assert.Equal(t, s.owner, o)
}

func TestEndStreamsLeavesForeignFIFOs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "stdout")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, endStreams(&tasktypes.Process{Stdout: path}))
	assert.FileExists(t, path)
}

func TestMergeEnvReplacesByName(t *testing.T) {
	env := []string{"PATH=/bin", "A=1"}
	assert.Equal(t, []string{"PATH=/bin", "A=3", "B="}, mergeEnv(env, []string{"A=2", "B=", "A=3"}))
	assert.Equal(t, []string{"PATH=/bin", "A=1"}, env)
}

func TestCheckExec(t *testing.T) {
	long := strings.Repeat("x", maxArgument)
	for name, req := range map[string]StartExecRequest{
		"no args":       {},
		"empty program": {Args: []string{""}},
		"NUL":           {Args: []string{"a", "b\x00"}},
		"long":          {Args: []string{long}},
		"env NUL":       {Args: []string{"a"}, Env: []string{"A=\x00"}},
		"env name":      {Args: []string{"a"}, Env: []string{"=x"}},
		"env no value":  {Args: []string{"a"}, Env: []string{"A"}},
		"relative dir":  {Args: []string{"a"}, WorkDir: "etc"},
		"dir NUL":       {Args: []string{"a"}, WorkDir: "/\x00"},
	} {
		assert.True(t, errdefs.IsInvalidArgument(checkExec(req)), name)
	}
	assert.NoError(t, checkExec(StartExecRequest{Args: []string{"a"}, Env: []string{"A="}, WorkDir: "/"}))
}

func TestWithTerminalKeepsEverythingElse(t *testing.T) {
	_, err := specTerminal(nil)
	assert.True(t, errdefs.IsFailedPrecondition(err))
	before := jsonAny(`{"process":{"args":["a"],"x":12345678901234567890},"y":{"z":1}}`)
	on, err := specTerminal(before)
	require.NoError(t, err)
	assert.False(t, on)
	after, err := withTerminal(before)
	require.NoError(t, err)
	on, err = specTerminal(after)
	require.NoError(t, err)
	assert.True(t, on)
	assert.JSONEq(t, `{"process":{"args":["a"],"x":12345678901234567890,"terminal":true},"y":{"z":1}}`, string(after.GetValue()))
	assert.True(t, bytes.Contains(after.GetValue(), []byte("12345678901234567890")))
}

func jsonAny(text string) *anypb.Any { return &anypb.Any{TypeUrl: "spec", Value: []byte(text)} }
