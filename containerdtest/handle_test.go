package containerdtest_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/internal/testimage"
)

// says returns a handler that says who plays the process.
func says(name string) containerdtest.Handler {
	return func(_ context.Context, p *containerdtest.Proc) int {
		fmt.Fprintln(p.Stdout, name)
		return 0
	}
}

func everything(*containerdtest.Proc) bool { return true }

func TestTheLatestMatchingHandlerPlaysAProcessBeforeBuiltInCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task, other := w.start("web", "pause"), w.start("db", "pause")
	out := func(r *running) string { r.code(); return r.out.String() }
	require.Equal(t, "built in\n", out(w.exec(task, "e0", "echo", "built in")))

	w.Handle(everything, says("any"))
	w.Handle(containerdtest.Command("nginx"), says("nginx"))
	w.Handle(containerdtest.CommandLine("nginx", "-t"), says("nginx -t"))
	w.Handle(containerdtest.InContainer("db"), says("db"))

	assert.Equal(t, "any\n", out(w.exec(task, "e1", "echo", "built in")))
	assert.Equal(t, "nginx\n", out(w.exec(task, "e2", "nginx", "-s", "stop")))
	assert.Equal(t, "nginx\n", out(w.exec(task, "e3", "/usr/sbin/nginx")))
	assert.Equal(t, "nginx -t\n", out(w.exec(task, "e4", "nginx", "-t")))
	assert.Equal(t, "any\n", out(w.exec(task, "e5", "/usr/sbin/nginx-debug")))
	assert.Equal(t, "db\n", out(w.exec(other, "e1", "nginx", "-t")))

	w.Handle(containerdtest.Command("nginx"), says("new nginx"))
	assert.Equal(t, "new nginx\n", out(w.exec(other, "e2", "nginx", "-t")), "from now on")
}

func TestAHandlerSeesWhatTheSpecSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := make(chan containerdtest.Proc, 2)
	w.Handle(containerdtest.Command("app"), func(_ context.Context, p *containerdtest.Proc) int {
		seen <- *p
		return 0
	})
	c := w.createFrom("app", "web", []string{"/opt/app", "-v"},
		oci.WithEnv([]string{"A=1", "A=2"}), oci.WithProcessCwd("/srv/www"), oci.WithUserID(1000))

	task := w.startIn(c)
	first := received(t, seen)
	assert.Equal(t, []string{"/opt/app", "-v"}, first.Args)
	assert.Equal(t, "2", first.Getenv("A"), "the last value counts")
	assert.Equal(t, "/bin", first.Getenv("PATH"))
	assert.Equal(t, "/", first.Getenv("HOME"), "runc sets it, and the user has none in /etc/passwd")
	assert.Empty(t, first.Getenv("B"))
	assert.Equal(t, "/srv/www", first.Dir, "it was made")
	assert.Equal(t, []uint32{1000, 0}, []uint32{first.UID, first.GID})
	assert.Equal(t, 1, first.PID())
	assert.Equal(t, "web", first.ContainerID)
	assert.Empty(t, first.ExecID)
	assert.False(t, first.Terminal)
	w.await(task)

	idle := w.startIn(w.createFrom("app", "idle", []string{"pause"}))
	spec := w.process(idle, "app")
	spec.User, spec.Cwd, spec.Terminal = specs.User{UID: 7, GID: 8}, "/tmp", true
	w.execAs(idle, "shell", spec, cio.WithTerminal).code()
	exec := received(t, seen)
	assert.Equal(t, "shell", exec.ExecID)
	assert.Equal(t, "idle", exec.ContainerID)
	assert.Equal(t, "/tmp", exec.Dir)
	assert.Equal(t, []uint32{7, 8}, []uint32{exec.UID, exec.GID})
	assert.Greater(t, exec.PID(), 1)
	assert.True(t, exec.Terminal)
}

func TestAHandlersResultIsTheExitCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	for _, code := range []int{0, 1, 7, 127, 255, 256, -1} {
		w.Handle(containerdtest.Command("app"), func(context.Context, *containerdtest.Proc) int { return code })
		r, err := w.ExecTask(w.ctx, "web", containerd.ExecTaskRequest{Args: []string{"app"}})
		require.NoError(t, err)
		assert.EqualValues(t, code&0xff, r.ExitCode)
	}
	w.Handle(containerdtest.Command("app"), func(context.Context, *containerdtest.Proc) int {
		runtime.Goexit() // as t.FailNow does
		return 0
	})
	assert.Equal(t, 1, w.exec(task, "gone", "app").code(), "a goroutine that ends is no success")
}

func TestAHandledProgramNeedsNoFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.AddImage("empty", containerdtest.Image{Empty: true, Cmd: []string{"/usr/bin/server"}})
	w.Handle(containerdtest.Command("server"), says("serving"))
	w.Handle(containerdtest.Command("dump"), says("dumped"))

	r := w.attach(w.createFrom("empty", "web", nil))
	assert.Equal(t, 0, r.code())
	assert.Equal(t, "serving\n", r.out.String())

	_, err := w.createFrom("empty", "bare", []string{"/bin/sh"}).NewTask(w.ctx, cio.NullIO)
	require.ErrorContains(t, err, `exec: "/bin/sh": stat /bin/sh: no such file or directory`)
}

func TestAShellsChildrenGoThroughHandleToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	w.Handle(containerdtest.Command("dump"), says("dumped"))
	w.Handle(containerdtest.CommandLine("load", "-f"), says("loaded"))
	w.Handle(containerdtest.Command("wc"), func(_ context.Context, p *containerdtest.Proc) int {
		text, err := io.ReadAll(p.Stdin)
		if err != nil {
			return 1
		}
		fmt.Fprintf(p.Stdout, "counted %s in %s for %d", text, p.ContainerID, p.UID)
		return 3
	})

	out, stderr, code := w.sh(task, "dump | wc -l; echo $?; load -f; load -g; echo $?; other")
	assert.Equal(t, "counted dumped\n in web for 03\nloaded\n127\n", out)
	assert.Equal(t, "\"load\": executable file not found in $PATH\n\"other\": executable file not found in $PATH\n", stderr)
	assert.Equal(t, 127, code)
}

func TestOnlyTheMatchingExecIsPlayed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	w.Handle(func(p *containerdtest.Proc) bool { return p.ExecID == "probe" },
		func(context.Context, *containerdtest.Proc) int { return 9 })
	assert.Equal(t, 9, w.exec(task, "probe", "true").code())
	assert.Equal(t, 0, w.exec(task, "other", "true").code())
}

func TestAProgramThatNobodyHandlesIsAnErrorThatNamesHandle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	image := w.pull(testimage.File{Path: "bin/server", Mode: 0o755, Content: []byte("\x7fELF and the rest")},
		testimage.File{Path: "bin/script", Mode: 0o755, Content: []byte("#!/bin/server -x\n")},
		testimage.File{Path: "bin/orphan", Mode: 0o755, Content: []byte("#!/bin/no\n")},
		testimage.File{Path: "bin/text", Mode: 0o755, Content: []byte("just text")})
	for program, text := range map[string]string{
		"server": "exec /bin/server: the fake does not know this program, script it with Fake.Handle",
		"script": "exec /bin/server: the fake does not know this program, script it with Fake.Handle",
		"orphan": "exec /bin/orphan: no such file or directory",
		"text":   "exec /bin/text: exec format error",
	} {
		_, err := w.createFrom(image, program, []string{program}).NewTask(w.ctx, cio.NullIO)
		require.ErrorContains(t, err, text)
	}

	w.Handle(containerdtest.Command("server"), says("serving"))
	assert.Equal(t, 0, w.await(w.startIn(w.createFrom(image, "handled", []string{"server"}))))
}

func TestAHandlerMayGoOnAfterItWasKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	killed, goOn, wrote := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	w.Handle(containerdtest.Command("app"), func(ctx context.Context, p *containerdtest.Proc) int {
		<-ctx.Done()
		close(killed)
		<-goOn
		_, err := io.WriteString(p.Stdout, "from beyond")
		wrote <- err
		return 0
	})
	task := w.start("web", "app")
	exit, err := task.Wait(w.ctx)
	require.NoError(t, err)

	require.NoError(t, task.Kill(w.ctx, syscall.SIGKILL))
	received(t, killed)
	assert.Equal(t, 137, w.code(exit), "whatever the handler does")
	_, err = task.Delete(w.ctx)
	require.NoError(t, err)
	require.NoError(t, w.StopTask(w.ctx, "web", nil))
	require.NoError(t, w.DeleteContainer(w.ctx, "web", nil))

	close(goOn)
	require.Error(t, received(t, wrote), "its files are closed")
	_, err = w.GetContainer(w.ctx, "web")
	assert.True(t, errdefs.IsNotFound(err))
}
