package containerdtest_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

// tells is a handler that says what its command line is.
func tells(_ context.Context, p *containerdtest.Proc) int {
	fmt.Fprintln(p.Stdout, strings.Join(p.Args, " "))
	return 0
}

func TestAHandledProgramIsFoundWhereverItIsLookedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	w.Handle(containerdtest.Command("nginx"), tells)
	w.Handle(containerdtest.CommandLine("/opt/load", "-f"), tells)
	for line, want := range map[string]string{
		"nginx -t":                           "nginx -t\n",
		"/usr/sbin/nginx -t":                 "/usr/sbin/nginx -t\n",
		"cd /tmp; ./sbin/nginx":              "./sbin/nginx\n",
		"exec /usr/sbin/nginx":               "/usr/sbin/nginx\n",
		`set -- nginx -g x; exec "$@"`:       "nginx -g x\n",
		"command nginx":                      "nginx\n",
		"/opt/load -f; /opt/load -g || :":    "/opt/load -f\n",
		"/opt/load || echo $?":               "127\n",
		"command -v nginx":                   "/bin/nginx\n",
		"command -v /usr/sbin/nginx":         "/usr/sbin/nginx\n",
		"command -v other; echo $?":          "1\n",
		"type nginx":                         "nginx is /bin/nginx\n",
		"type -t nginx; type -p nginx":       "file\n/bin/nginx\n",
		"test -e /usr/sbin/nginx || echo 1":  "1\n", // the program needs no file, and has none
		`PATH=; nginx || echo $?`:            "127\n",
		`sh -c "$(echo nginx -s quit)"`:      "nginx -s quit\n",
		"env A=B /usr/sbin/nginx; env nginx": "/usr/sbin/nginx\nnginx\n",
	} {
		stdout, stderr, _ := w.sh(task, line)
		assert.Equal(t, want, stdout, line+": "+stderr)
	}
}

func TestScriptsFindHandledPrograms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.AddImage("scripts", containerdtest.Image{
		Files: map[string]string{
			"/entrypoint": "#!/bin/sh\nset -e\nexec \"$@\"\n",
			"/site":       "#!/usr/sbin/nginx -c\n",
			"/orphan":     "#!/usr/bin/perl\n",
		},
		Entrypoint: []string{"/entrypoint"}, Cmd: []string{"/usr/sbin/nginx", "-g", "daemon off;"},
	})
	w.Handle(containerdtest.Command("nginx"), tells)
	out := func(r *running) string { r.code(); return r.out.String() + r.errs.String() }

	assert.Equal(t, "/usr/sbin/nginx -g daemon off;\n", out(w.attach(w.createFrom("scripts", "web", nil))))
	assert.Equal(t, "/usr/sbin/nginx -c /site a\n", out(w.attach(w.createFrom("scripts", "site", []string{"/site", "a"}))))
	task := w.startIn(w.createFrom("scripts", "idle", []string{"pause"}))
	assert.Equal(t, "/usr/sbin/nginx -c /site b\n", out(w.exec(task, "site", "sh", "-c", "/site b")))

	_, err := w.createFrom("scripts", "orphan", []string{"/orphan"}).NewTask(w.ctx, cio.NullIO)
	require.ErrorContains(t, err, "exec /orphan: no such file or directory")
	require.ErrorContains(t, err, "/usr/bin/perl")
}

func TestTheErrorOfAnAbsentProgramNamesHandle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start("web", "pause")
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		_, err := w.ExecTask(w.ctx, "web", containerd.ExecTaskRequest{Args: []string{name}})
		require.ErrorIs(t, err, containerd.ErrExecutableNotFound)
		require.ErrorContains(t, err, "Fake.Handle")
	}
}

// logged is a test whose log is looked at.
type logged struct {
	*testing.T
	lines chan string
}

func (l logged) Logf(format string, args ...any) { l.lines <- fmt.Sprintf(format, args...) }

func TestTheTestsLogNamesHandleForWhatAShellDoesNotFind(t *testing.T) {
	t.Parallel()
	l := logged{t, make(chan string, 10)}
	fake := containerdtest.New(l)
	fake.AddImage("app", containerdtest.Image{})
	_, err := fake.CreateContainer(t.Context(), containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
	require.NoError(t, err)
	_, err = fake.StartTask(t.Context(), "web", nil)
	require.NoError(t, err)
	for range 2 {
		r, err := fake.ExecTask(t.Context(), "web", containerd.ExecTaskRequest{Args: []string{"sh", "-c", "/usr/sbin/nginx -t"}})
		require.NoError(t, err)
		assert.EqualValues(t, 127, r.ExitCode)
	}
	assert.Contains(t, received(t, l.lines), "/usr/sbin/nginx")
	assert.Empty(t, l.lines, "once is enough")
}

func TestMatchersTakeAnEmptyCommandLine(t *testing.T) {
	t.Parallel()
	assert.False(t, containerdtest.Command("nginx")(&containerdtest.Proc{}))
	assert.False(t, containerdtest.CommandLine("nginx")(&containerdtest.Proc{}))
}

func TestAProcWithoutAFakeHasWhatItsFieldsSay(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := &containerdtest.Proc{Args: []string{"nginx", "-t"}, Stdout: &out}
	assert.Equal(t, 0, tells(t.Context(), p))
	assert.Equal(t, "nginx -t\n", out.String())

	assert.Equal(t, 1, p.PID())
	assert.Empty(t, p.Getenv("A"))
	_, err := p.Path("/etc")
	assert.True(t, errdefs.IsFailedPrecondition(err))
	require.NoError(t, p.Sleep(t.Context(), 1))
	p.Trap(syscall.SIGTERM)
	width, height, err := p.TerminalSize()
	require.NoError(t, err)
	assert.Equal(t, []int{0, 0}, []int{width, height})

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, p.Sleep(ctx, time.Hour), context.Canceled)
	_, err = p.NextSignal(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
