package containerd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ctrdkit/containerd/internal/logfile"
	"github.com/ctrdkit/containerd/internal/seam"
)

// logDaemon is a daemon with the container "idle", whose task had a log in dir.
func logDaemon(t *testing.T) (d *daemon, s *DefaultService, dir string) {
	t.Helper()
	d = newDaemon(t)
	s = d.service()
	dir = filepath.Join(t.TempDir(), "log")
	config := logfile.Config{Dir: dir, Owner: logOwner(testNamespace, canned("idle"))}
	w, err := logfile.Create(config)
	require.NoError(t, err)
	logLine(t, w, "idle's line\n")
	require.NoError(t, w.Close())
	d.stores.containers["idle"].Labels = map[string]string{labelLogDir: dir}
	return d, s, dir
}

// canned is what of a container that newDaemon adds says whose its log is.
func canned(id string) containers.Container {
	return containers.Container{ID: id, CreatedAt: time.Unix(0, 0)}
}

func logLine(t *testing.T, w *logfile.Writer, text string) {
	t.Helper()
	from, to, err := os.Pipe()
	require.NoError(t, err)
	_, err = to.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	require.NoError(t, w.Add(logfile.Stdout, from).Copy())
	require.NoError(t, from.Close())
}

// logText returns what a container's log has.
func logText(t *testing.T, s *DefaultService, id string) (string, error) {
	t.Helper()
	var text strings.Builder
	for e, err := range s.Logs(t.Context(), id, nil) {
		if err != nil {
			return text.String(), err
		}
		text.Write(e.Data)
	}
	return text.String(), nil
}

// clone makes the container "clone" as a program does that copies a record.
func (d *daemon) clone(of string) {
	c := proto.CloneOf(d.stores.containers[of])
	c.ID = "clone"
	d.stores.containers["clone"] = c
}

func TestAClonesLabelGivesItNoLog(t *testing.T) {
	d, s, dir := logDaemon(t)
	d.clone("idle")

	_, err := logText(t, s, "clone")
	assertError(t, err, "read logs", errdefs.IsFailedPrecondition, "it is another's")
	assert.ErrorContains(t, err, dir)
	_, err = s.RestartTask(t.Context(), "clone", RestartTaskRequest{})
	require.NoError(t, err, "without a log")
	require.NoError(t, s.DeleteTask(t.Context(), "clone", &DeleteTaskOptions{Force: true}))
	require.NoError(t, s.DeleteContainer(t.Context(), "clone", nil))

	text, err := logText(t, s, "idle")
	require.NoError(t, err)
	assert.Equal(t, "idle's line\n", text)
}

func TestACloneThatLogsHasALogOfItsOwn(t *testing.T) {
	d, s, dir := logDaemon(t)
	d.clone("idle")
	own := filepath.Join(t.TempDir(), "own")
	io := canLog(t, own)
	_, err := s.LaunchTask(t.Context(), "clone", LaunchTaskRequest{IO: LogIO{Dir: dir}})
	assertError(t, err, "launch task", errdefs.IsFailedPrecondition, "the original's")
	assert.ErrorContains(t, err, dir)

	_, err = s.LaunchTask(t.Context(), "clone", LaunchTaskRequest{IO: io})

	require.NoError(t, err)
	assert.Equal(t, own, d.labelsOf("clone")[labelLogDir])
	assert.Equal(t, dir, d.labelsOf("idle")[labelLogDir])
}

func TestALogDirectoryIsOneContainersOnly(t *testing.T) {
	d, s, dir := logDaemon(t)
	d.addContainer("other", "idle")
	before := d.state()
	canLog(t, dir)
	for name, call := range map[string]func(io LogIO) error{
		"launch task": func(io LogIO) error {
			_, err := s.LaunchTask(t.Context(), "other", LaunchTaskRequest{IO: io})
			return err
		},
		"restart task": func(io LogIO) error {
			_, err := s.RestartTask(t.Context(), "other", RestartTaskRequest{IO: io})
			return err
		},
	} {
		err := call(LogIO{Dir: dir})
		assertError(t, err, name, errdefs.IsFailedPrecondition, "idle has it")
		assert.ErrorContains(t, err, dir)
		assert.ErrorContains(t, err, "idle")
		theirs := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(theirs, "20251126.log"), nil, 0o600))
		err = call(LogIO{Dir: theirs})
		assertError(t, err, name, errdefs.IsFailedPrecondition, "another program has it")
		assert.ErrorContains(t, err, theirs)
	}
	assert.Equal(t, before, d.state())
}

func TestARestartWithALogThatCanNotBeLeavesTheTaskRunning(t *testing.T) {
	d, s, dir := logDaemon(t)
	canLog(t, dir)
	_, err := s.RestartTask(t.Context(), "web", RestartTaskRequest{IO: LogIO{Dir: dir}})
	assertError(t, err, "restart task", errdefs.IsFailedPrecondition, "idle's")
	d.assertStatus("web", int32(running), "it was not stopped for nothing")
}

func TestAContainerHasOneLog(t *testing.T) {
	d, s, dir := logDaemon(t)
	seam.Configure(s, seam.Settings{LogDir: t.TempDir()})
	canLog(t, dir)
	other := filepath.Join(t.TempDir(), "other")
	err := launch(t, s, LaunchTaskRequest{IO: LogIO{Dir: other}})
	assertError(t, err, "launch task", errdefs.IsFailedPrecondition, "it has one")
	assert.ErrorContains(t, err, dir)
	assert.ErrorContains(t, err, other)
	assert.NoDirExists(t, other)

	require.NoError(t, launch(t, s, LaunchTaskRequest{IO: LogIO{}}), "the one that it has")

	assert.Equal(t, dir, d.labelsOf("idle")[labelLogDir])
}

func TestALogWhoseDirectoryIsGoneBindsNobody(t *testing.T) {
	d, s, dir := logDaemon(t)
	require.NoError(t, os.RemoveAll(dir))
	text, err := logText(t, s, "idle")
	require.NoError(t, err)
	assert.Empty(t, text)
	other := filepath.Join(t.TempDir(), "other")
	require.NoError(t, launch(t, s, LaunchTaskRequest{IO: canLog(t, other)}))
	assert.Equal(t, other, d.labelsOf("idle")[labelLogDir])
}

func TestRestartTaskKeepsWhatTheLogIOSaid(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	io := canLog(t, filepath.Join(t.TempDir(), "log"))
	io.MaxSize, io.MaxFiles, io.Stdin = 1<<10, 100, true
	require.NoError(t, launch(t, s, LaunchTaskRequest{IO: io, Terminal: true}))
	for range 2 {
		require.NoError(t, s.DeleteTask(t.Context(), "idle", &DeleteTaskOptions{Force: true}))
		_, err := s.RestartTask(t.Context(), "idle", RestartTaskRequest{})
		require.NoError(t, err)
		var p *tasktypes.Process
		d.change("idle", func(now *taskState) { p = now.Process })
		got, err := ioOf(p)
		require.NoError(t, err)
		assert.Equal(t, io, got)
		assert.True(t, p.GetTerminal())
	}
}

func TestDeleteContainerLeavesWhatIsNotTheLogs(t *testing.T) {
	d, s, dir := logDaemon(t)
	theirs := filepath.Join(dir, "lost+found")
	require.NoError(t, os.WriteFile(theirs, nil, 0o600))

	require.NoError(t, s.DeleteContainer(t.Context(), "idle", nil))

	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	assert.FileExists(t, theirs)
	assert.Nil(t, d.record("idle"))
	_, err = s.CreateContainer(t.Context(), CreateContainerRequest{ID: "idle", ImageRef: testImage})
	require.NoError(t, err, "the ID is free")
}

func TestALaunchThatFailsGivesItsDirectoryBack(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	dir := filepath.Join(t.TempDir(), "log")
	logWith(t, os.Executable)
	require.Error(t, launch(t, s, LaunchTaskRequest{IO: LogIO{Dir: dir}}), "no logger is there")
	assert.NoDirExists(t, dir)
	d.addContainer("other", "idle")
	runLogger(t, dir)
	_, err := s.LaunchTask(t.Context(), "other", LaunchTaskRequest{IO: LogIO{Dir: dir}})
	require.NoError(t, err)
}

func TestALaunchThatFailsKeepsTheLogOfEarlierTasks(t *testing.T) {
	d, s, dir := logDaemon(t)
	d.fail("Tasks/Start", errdefs.ErrPermissionDenied)
	require.Error(t, launch(t, s, LaunchTaskRequest{IO: canLog(t, dir)}))
	text, err := logText(t, s, "idle")
	require.NoError(t, err)
	assert.Equal(t, "idle's line\n", text)
}

func TestALogOfARecordThatIsWrittenBackStaysItsLog(t *testing.T) {
	// Given a container of another program, which its time identifies,
	d, s, dir := logDaemon(t)
	before := containers.Container{ID: "idle", CreatedAt: time.Unix(9, 0)}
	d.stores.containers["idle"].CreatedAt = timestamppb.New(before.CreatedAt)
	require.NoError(t, logfile.HandOver(dir, logOwner(testNamespace, canned("idle")), logOwner(testNamespace, before)))
	// when its record is written back, which gives it another time,
	d.once("Containers/Delete", d.startElsewhere("idle"))
	err := s.DeleteContainer(t.Context(), "idle", nil)
	// then it has its log.
	assertError(t, err, opDeleteContainer, errdefs.IsFailedPrecondition, "a task appeared")
	assert.NotEqual(t, before.CreatedAt.Unix(), d.record("idle").GetCreatedAt().AsTime().Unix())
	text, err := logText(t, s, "idle")
	require.NoError(t, err)
	assert.Equal(t, "idle's line\n", text)
}

func TestWhoseALogIs(t *testing.T) {
	made := func(origin string, second int64) containers.Container {
		c := containers.Container{ID: "c", CreatedAt: time.Unix(second, 0)}
		if origin != "" {
			c.Extensions = map[string]typeurl.Any{extensionOrigin: originExtension(origin)}
		}
		return c
	}
	same := logOwner("n", made("origin", 1))
	assert.Equal(t, same, logOwner("n", made("origin", 2)), "also when its record is written back")
	for _, other := range []logfile.Owner{
		logOwner("m", made("origin", 1)), logOwner("n", made("another", 1)), logOwner("n", made("", 1)), logOwner("n", made("", 2)),
	} {
		assert.NotEqual(t, same, other)
	}
	assert.NotEqual(t, logOwner("n", made("", 1)), logOwner("n", made("", 2)))
}

func TestLogsGoToADirectoryOfTheUser(t *testing.T) {
	s := newDaemon(t).service()
	record := containers.Container{ID: "web"}
	for _, c := range []struct {
		io   LogIO
		base string
		want string
	}{
		{LogIO{Dir: "/a/../b/"}, "", "/b"},
		{LogIO{}, "/logs", "/logs/" + testNamespace + "/web-" + s.logOwner(record).Record},
	} {
		seam.Configure(s, seam.Settings{LogDir: c.base})
		got, err := s.logDirFor(record, c.io)
		require.NoError(t, err)
		assert.Equal(t, c.want, got)
	}
	base, err := logBase()
	require.NoError(t, err)
	assert.True(t, filepath.IsAbs(base))
}
