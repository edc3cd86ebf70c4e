package containerdtest_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// errText is the text of an error without what gRPC puts before it.
func errText(err error) string {
	if err == nil {
		return "no error"
	}
	return strings.TrimPrefix(native(err).Error(), "rpc error: code = Unknown desc = ")
}

// hint is the fake's own addition to what a runtime says.
const hint = " (script it with Fake.Handle)"

func TestWhatIsRefusedInEachStateOfATask(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task, err := w.create("web", "sleep", "3600").NewTask(w.ctx, cio.NullIO)
	require.NoError(t, err)
	remove := func() error {
		_, err := w.plain.TaskService().Delete(w.ctx, &tasks.DeleteTaskRequest{ContainerID: "web"})
		return err
	}
	exec := func(id string) error {
		_, err := task.Exec(w.ctx, id, w.process(task, "true"), cio.NullIO)
		return err
	}
	update := func() error { return task.Update(w.ctx, client.WithResources(&specs.LinuxResources{})) }

	assert.Equal(t, "cannot pause task in created state", errText(task.Pause(w.ctx)))
	assert.Equal(t, "cannot resume task in created state", errText(task.Resume(w.ctx)))
	require.NoError(t, exec("created"), "runc runs execs in a created container")
	require.NoError(t, update())

	require.NoError(t, task.Start(w.ctx))
	assert.Equal(t, "cannot start a running process", errText(task.Start(w.ctx)))
	assert.Equal(t, "cannot resume a running process", errText(task.Resume(w.ctx)))
	assert.Equal(t, "failed to delete task: cannot delete a running process", errText(remove()))
	require.NoError(t, exec("running"))
	require.NoError(t, update())

	require.NoError(t, task.Pause(w.ctx))
	assert.Equal(t, "cannot start a paused process", errText(task.Start(w.ctx)))
	assert.Equal(t, "cannot pause a paused container", errText(task.Pause(w.ctx)))
	assert.Equal(t, "failed to delete task: cannot delete a paused process", errText(remove()))
	assert.Equal(t, "cannot exec in a paused state", errText(exec("paused")))
	require.NoError(t, update())

	require.NoError(t, task.Kill(w.ctx, syscall.SIGKILL))
	w.await(task)
	assert.Equal(t, "cannot start a stopped process", errText(task.Start(w.ctx)))
	assert.Equal(t, "cannot pause a stopped container", errText(task.Pause(w.ctx)))
	assert.Equal(t, "cannot resume a stopped container", errText(task.Resume(w.ctx)))
	assert.Equal(t, "cannot exec in a stopped state", errText(exec("stopped")))
	assert.Equal(t, "cannot update a stopped container", errText(update()))
	require.NoError(t, task.Resize(w.ctx, 80, 24))
	require.NoError(t, task.CloseIO(w.ctx, client.WithStdinCloser))
	require.NoError(t, remove())
	assert.True(t, errdefs.IsNotFound(native(remove())))
}

func TestACreatedTaskThatIsSignalledOrDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	create := func(id string) (client.Task, <-chan client.ExitStatus) {
		task, err := w.create(id, "pause").NewTask(w.ctx, cio.NullIO)
		require.NoError(t, err)
		exit, err := task.Wait(w.ctx)
		require.NoError(t, err)
		return task, exit
	}
	task, exit := create("terminated")
	require.NoError(t, task.Kill(w.ctx, syscall.SIGUSR1))
	assertRuns(t, exit, "runc's init has nothing to do with that signal")
	require.NoError(t, task.Kill(w.ctx, syscall.SIGTERM))
	assert.Equal(t, 2, w.code(exit), "runc's init is a Go program")
	assert.Equal(t, "cannot start a stopped process", errText(task.Start(w.ctx)))

	task, exit = create("killed")
	require.NoError(t, task.Kill(w.ctx, syscall.SIGKILL))
	assert.Equal(t, 137, w.code(exit))

	task, err := w.create("deleted", "pause").NewTask(w.ctx, cio.NullIO)
	require.NoError(t, err)
	exit = w.awaited(task)
	_, err = task.Delete(w.ctx)
	require.ErrorContains(t, err, "task must be stopped before deletion: created")
	r, err := w.plain.TaskService().Delete(w.ctx, &tasks.DeleteTaskRequest{ContainerID: "deleted"})
	require.NoError(t, err, "the daemon does it")
	assert.Zero(t, r.GetExitStatus())
	status := received(t, exit)
	require.Error(t, status.Error(), "nobody learns of an exit")
	assert.EqualValues(t, client.UnknownExitStatus, status.ExitCode())
}

func TestAnExecThatCantStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	const failed = "OCI runtime exec failed: exec failed: "
	for id, c := range map[string]struct {
		change func(*specs.Process)
		text   string
	}{
		"path":    {func(p *specs.Process) { p.Args = []string{"/no/such"} }, failed + `unable to start container process: exec: "/no/such": stat /no/such: no such file or directory` + hint},
		"name":    {func(p *specs.Process) { p.Args = []string{"nosuch"} }, failed + `unable to start container process: exec: "nosuch": executable file not found in $PATH` + hint},
		"dir":     {func(p *specs.Process) { p.Args = []string{"/etc"} }, failed + `unable to start container process: exec: "/etc": is a directory`},
		"data":    {func(p *specs.Process) { p.Args = []string{"/etc/passwd"} }, failed + `unable to start container process: exec: "/etc/passwd": permission denied`},
		"noargs":  {func(p *specs.Process) { p.Args = nil }, failed + "args must not be empty"},
		"nodir":   {func(p *specs.Process) { p.Cwd = "" }, failed + "Cwd property must not be empty"},
		"absent":  {func(p *specs.Process) { p.Cwd = "/no/dir" }, failed + `unable to start container process: chdir to cwd ("/no/dir") set in config.json failed: no such file or directory`},
		"filedir": {func(p *specs.Process) { p.Cwd = "/etc/passwd" }, failed + `unable to start container process: chdir to cwd ("/etc/passwd") set in config.json failed: not a directory`},
	} {
		spec := w.process(task, "true")
		c.change(spec)
		p, err := task.Exec(w.ctx, id, spec, cio.NullIO)
		require.NoError(t, err)
		exit, err := p.Wait(w.ctx)
		require.NoError(t, err)

		assert.Equal(t, c.text, errText(p.Start(w.ctx)), id)
		assert.Equal(t, 0, w.code(exit), "waiting for it is over, though it never ran")
		assert.Equal(t, "CREATED", w.status("web", id))
		_, err = p.Delete(w.ctx)
		require.NoError(t, err)
	}
	_, err := task.Exec(w.ctx, "a/b", w.process(task, "true"), cio.NullIO)
	assert.True(t, errdefs.IsInvalidArgument(err), "%v", err)
}

func TestAnExecsStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	p, err := task.Exec(w.ctx, "e", w.process(task, "sleep", "3600"), cio.NullIO)
	require.NoError(t, err)
	_, err = task.Exec(w.ctx, "e", w.process(task, "true"), cio.NullIO)
	assert.True(t, errdefs.IsAlreadyExists(err), "%v", err)
	assert.Equal(t, "CREATED", w.status("web", "e"))
	assert.Zero(t, w.state("web", "e").GetPid())
	assert.True(t, errdefs.IsFailedPrecondition(p.Kill(w.ctx, syscall.SIGKILL)), "it is not there yet")

	require.NoError(t, task.Pause(w.ctx))
	assert.Equal(t, "OCI runtime exec failed: exec failed: cannot exec in a paused container (use --ignore-paused to override)",
		errText(p.Start(w.ctx)))
	require.NoError(t, task.Resume(w.ctx))
	require.Error(t, p.Start(w.ctx), "a shim does not survive a second start")
	_, err = p.Delete(w.ctx)
	require.NoError(t, err)

	r := w.exec(task, "e", "sleep", "3600")
	assert.Equal(t, "cannot start a running process", errText(r.Start(w.ctx)))
	_, err = r.Delete(w.ctx)
	assert.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	require.NoError(t, r.Kill(w.ctx, syscall.SIGKILL))
	r.code()
	assert.Equal(t, "cannot start a stopped process", errText(r.Start(w.ctx)))
	assert.Equal(t, "cannot resize a stopped container", errText(r.Resize(w.ctx, 80, 24)))
	assert.True(t, errdefs.IsNotFound(r.Kill(w.ctx, syscall.SIGTERM)), "process already finished")
	status, err := r.Delete(w.ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 137, status.ExitCode())
	_, err = r.Delete(w.ctx)
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
}

func TestATaskThatCantBeCreatedLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const failed = "failed to create shim task: OCI runtime create failed: runc create failed: "
	const inInit = failed + "unable to start container process: error during container init: "
	for id, c := range map[string]struct {
		change func(*specs.Spec)
		text   string
	}{
		"path":     {func(s *specs.Spec) { s.Process.Args = []string{"/no/such"} }, inInit + `exec: "/no/such": stat /no/such: no such file or directory` + hint},
		"noargs":   {func(s *specs.Spec) { s.Process.Args = nil }, failed + "args must not be empty"},
		"relative": {func(s *specs.Spec) { s.Process.Cwd = "tmp" }, failed + "Cwd must be an absolute path"},
		"file":     {func(s *specs.Spec) { s.Process.Cwd = "/etc/passwd" }, inInit + "mkdir /etc/passwd: not a directory"},
		"terminal": {func(s *specs.Spec) { s.Process.Terminal = true }, failed + "cannot allocate tty if runc will detach without setting console socket"},
		"mount": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Type: "bind", Source: "/no/such", Destination: "/mnt"})
		}, inInit + "failed to fulfil mount request: open /no/such: no such file or directory"},
	} {
		c2 := w.createFrom("app", id, []string{"pause"})
		w.changeSpec(c2, c.change)
		_, err := c2.NewTask(w.ctx, cio.NullIO)
		assert.Equal(t, c.text, errText(err), id)
		_, err = c2.Task(w.ctx, nil)
		assert.True(t, errdefs.IsNotFound(err), "%v", err)
	}
}

func TestPidsSayWhichExecTheyAreOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	e := w.exec(task, "e", "sh", "-c", "echo begun; sleep 3600; echo")
	e.out.await(t, "begun")
	w.exec(task, "gone", "true").code()

	var pids []client.ProcessInfo
	require.Eventually(t, func() bool {
		var err error
		pids, err = task.Pids(w.ctx)
		return err == nil && len(pids) == 3
	}, testLimit, pause, "the first process, the exec and its child")
	assert.Equal(t, task.Pid(), pids[0].Pid)
	assert.Nil(t, pids[0].Info)
	assert.Equal(t, e.Pid(), pids[1].Pid)
	details, err := typeurl.UnmarshalAny(pids[1].Info)
	require.NoError(t, err)
	assert.Equal(t, "e", details.(*options.ProcessDetails).ExecID)
	assert.Nil(t, pids[2].Info)
	metrics, err := task.Metrics(w.ctx)
	require.NoError(t, err)
	assert.Equal(t, "web", metrics.ID)
}

func TestConcurrentStartsOfOneExec(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	p, err := task.Exec(w.ctx, "e", w.process(task, "sleep", "3600"), cio.NullIO)
	require.NoError(t, err)
	errs := make(chan error)
	for range 8 {
		go func() { errs <- p.Start(w.ctx) }()
	}
	var all []error
	for range 8 {
		all = append(all, received(t, errs))
	}
	won := 0
	for _, err := range all {
		if err == nil {
			won++
		}
	}
	assert.Equal(t, 1, won, "%v", errors.Join(all...))
}
