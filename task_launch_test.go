package containerd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/logfile"
	"github.com/ctrdkit/containerd/internal/seam"
)

// canLog makes this process a program that can log, and every task's logger one
// that is running in dir until the test ends.
func canLog(t *testing.T, dir string) LogIO {
	t.Helper()
	logWith(t, os.Executable)
	runLogger(t, dir)
	return LogIO{Dir: dir}
}

// logWith sets the program that logs until the test ends.
func logWith(t *testing.T, program func() (string, error)) {
	t.Helper()
	before := logfile.Program
	logfile.Program = program
	t.Cleanup(func() { logfile.Program = before })
}

// runLogger lets the next task that is started with a log in dir find its logger
// running.
func runLogger(t *testing.T, dir string) {
	t.Helper()
	logfile.Program = func() (string, error) {
		logfile.Program = os.Executable
		config, err := logfile.Stored(dir)
		if err != nil {
			config = logfile.Config{Dir: dir}
		}
		w, err := logfile.Create(config)
		if assert.NoError(t, err) {
			t.Cleanup(func() { assert.NoError(t, w.Close()) })
		}
		return os.Executable()
	}
}

// labelsOf returns a container's labels.
func (d *daemon) labelsOf(id string) map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stores.containers[id].GetLabels()
}

// launch starts the task of "idle" and returns the error only.
func launch(t *testing.T, s *DefaultService, req LaunchTaskRequest) error {
	t.Helper()
	_, err := s.LaunchTask(t.Context(), "idle", req)
	return err
}

func TestLaunchTaskWithFilesLeavesNoMark(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	marks, dir := t.TempDir(), t.TempDir()
	seam.Configure(s, seam.Settings{StdioDir: marks})
	files := FileIO{Stdout: filepath.Join(dir, "out"), Stderr: filepath.Join(dir, "err")}
	d.on("Tasks/Create", func(context.Context) error {
		entries, err := os.ReadDir(marks)
		assert.Len(t, entries, 1, "until the task was started it says whose it is")
		return err
	})

	require.NoError(t, launch(t, s, LaunchTaskRequest{IO: files}))

	left, err := os.ReadDir(marks)
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.FileExists(t, files.Stdout)
	d.change("idle", func(p *taskState) {
		io, err := ioOf(p.Process)
		require.NoError(t, err)
		assert.Equal(t, files, io, "its addresses say what it is wired to")
	})
}

func TestLaunchTaskWithFilesThatFailsLeavesNoMark(t *testing.T) {
	for _, method := range []string{"Tasks/Create", "Tasks/Start"} {
		d := newDaemon(t)
		s := d.service()
		marks := t.TempDir()
		seam.Configure(s, seam.Settings{StdioDir: marks})
		before := d.state()
		d.fail(method, errdefs.ErrPermissionDenied)

		err := launch(t, s, LaunchTaskRequest{IO: FileIO{Stdout: filepath.Join(t.TempDir(), "out")}})

		assertError(t, err, "launch task", errdefs.IsPermissionDenied, "%s", method)
		left, err := os.ReadDir(marks)
		require.NoError(t, err)
		assert.Empty(t, left)
		assert.Equal(t, before, d.state())
	}
}

func TestACreatedTaskWithFilesHasItsOwner(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	seam.Configure(s, seam.Settings{StdioDir: t.TempDir()})
	for name, io := range map[string]TaskIO{
		"files": FileIO{Stdout: filepath.Join(t.TempDir(), "out")}, "log": canLog(t, filepath.Join(t.TempDir(), "log")), "discard": DiscardIO{},
	} {
		st := &starting{service: s, id: "idle", req: LaunchTaskRequest{IO: io}, logDir: filepath.Join(t.TempDir(), "l")}
		opened, err := io.open(t.Context(), st)
		require.NoError(t, err)
		config := opened.Config()
		by, ours := taskOwner(&tasktypes.Process{Stdout: config.Stdout, Stderr: config.Stderr})
		assert.True(t, ours, name)
		assert.Equal(t, s.owner, by, name)
		require.NoError(t, st.unmark())
	}
}

func TestLaunchTaskWithALogNotesWhereItIs(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	dir := filepath.Join(t.TempDir(), "log")

	require.NoError(t, launch(t, s, LaunchTaskRequest{IO: canLog(t, dir)}))

	assert.Equal(t, dir, d.labelsOf("idle")[labelLogDir])
	d.change("idle", func(p *taskState) {
		io, err := ioOf(p.Process)
		require.NoError(t, err)
		assert.Equal(t, LogIO{Dir: dir}, io)
	})
}

func TestLaunchTaskWithALogThatFailsLeavesNothing(t *testing.T) {
	for what, prepare := range map[string]func(d *daemon){
		"create fails":               func(d *daemon) { d.fail("Tasks/Create", errdefs.ErrPermissionDenied) },
		"start fails":                func(d *daemon) { d.fail("Tasks/Start", errdefs.ErrPermissionDenied) },
		"the label's answer is lost": func(d *daemon) { d.lose("Containers/Update") },
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			before := d.state()
			prepare(d)
			require.Error(t, launch(t, s, LaunchTaskRequest{IO: canLog(t, filepath.Join(t.TempDir(), "log"))}))
			assert.Equal(t, before, d.state())
			assert.Empty(t, d.labelsOf("idle")[labelLogDir])
		})
	}
}

func TestLaunchTaskWhoseLoggerDidNotStart(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	before := d.state()
	logWith(t, os.Executable)

	err := launch(t, s, LaunchTaskRequest{IO: LogIO{Dir: filepath.Join(t.TempDir(), "log")}})

	assertError(t, err, "launch task", errdefs.IsUnavailable, "no logger")
	assert.Equal(t, before, d.state())
}

func TestLogIONeedsAProgramThatCanLog(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	logWith(t, nil)
	err := launch(t, s, LaunchTaskRequest{IO: LogIO{}})
	assertError(t, err, "launch task", errdefs.IsFailedPrecondition, "not imported")
	assert.ErrorContains(t, err, "containerd/logger")
	assert.Empty(t, d.Calls())

	logWith(t, func() (string, error) { return "/no/such/program", nil })
	err = launch(t, s, LaunchTaskRequest{IO: LogIO{Dir: filepath.Join(t.TempDir(), "log")}})
	assertError(t, err, "launch task", errdefs.IsFailedPrecondition, "removed")
}

func TestStreamIOCopiesToTheCaller(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	var out bytes.Buffer
	streams := StreamIO{Stdout: &out, FIFODir: t.TempDir()}

	require.NoError(t, launch(t, s, LaunchTaskRequest{IO: streams}))

	var stdout string
	d.change("idle", func(p *taskState) {
		stdout = p.GetStdout()
		io, err := ioOf(p.Process)
		require.NoError(t, err)
		assert.Equal(t, streams, io)
		assert.Equal(t, devNull, p.GetStderr(), "nobody wants it")
	})
	f, err := os.OpenFile(stdout, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("hello")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, s.DeleteTask(t.Context(), "idle", &DeleteTaskOptions{Force: true}))
	assert.Equal(t, "hello", out.String())
	left, err := os.ReadDir(streams.FIFODir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestIOThatCanNotWorkIsRefusedBeforeAnyRequest(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for field, req := range map[string]LaunchTaskRequest{
		"Stderr":  {IO: StreamIO{Stderr: &bytes.Buffer{}}, Terminal: true},
		"FIFODir": {IO: StreamIO{FIFODir: "x"}},
		"Stdout":  {IO: FileIO{Stdout: "x"}},
	} {
		err := launch(t, s, req)
		assertError(t, err, "launch task", errdefs.IsInvalidArgument, "%s", field)
		assert.ErrorContains(t, err, field)
	}
	_, err := s.RestartTask(t.Context(), "idle", RestartTaskRequest{Signal: 99})
	assertError(t, err, "restart task", errdefs.IsInvalidArgument, "signal")
	assert.Empty(t, d.Calls())
}

func TestRestartTaskOfAnotherProgramsStreams(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for _, address := range []string{
		"/run/containerd/fifo/1/web-stdout",                                // another program's
		filepath.Join(t.TempDir(), s.fifoDirPrefix()+"ABCDEFGH", "stdout"), // of a process that has ended
	} {
		d.change("web", func(p *taskState) { p.Stdout = address })
		_, err := s.RestartTask(t.Context(), "web", RestartTaskRequest{})
		assertError(t, err, "restart task", errdefs.IsFailedPrecondition, "%s", address)
		d.assertStatus("web", int32(running), "it runs on")
	}
	_, err := s.RestartTask(t.Context(), "web", RestartTaskRequest{IO: DiscardIO{}})
	require.NoError(t, err)
}

func TestLogsEndWithTheService(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	require.NoError(t, launch(t, s, LaunchTaskRequest{IO: canLog(t, filepath.Join(t.TempDir(), "log"))}))
	waited := d.arrivals("Tasks/Wait")
	done := async(func() error {
		for _, err := range s.Logs(t.Context(), "idle", &LogsOptions{Follow: true}) {
			return err
		}
		return nil
	})
	received(t, waited)
	require.NoError(t, s.Close())
	assertError(t, received(t, done), "read logs", func(err error) bool { return err != nil }, "closed")
}

func TestLogEntryOfWhatWasLost(t *testing.T) {
	at := time.Unix(1, 0)
	assert.Equal(t, LogEntry{Time: at, Lost: 12}, logEntry(logfile.Entry{Time: at, Stream: logfile.Lost, Data: []byte("12\n")}))
	assert.Equal(t, LogEntry{Time: at, Lost: 1}, logEntry(logfile.Entry{Time: at, Stream: logfile.Lost, Data: []byte("many\n")}))
}

func TestRestartTaskWhoseStreamsCanNotBeMadeLeavesTheTaskStopped(t *testing.T) {
	d := newDaemon(t)
	files := FileIO{Stdout: filepath.Join(t.TempDir(), "missing", "out")}
	_, err := d.service().RestartTask(t.Context(), "web", RestartTaskRequest{IO: files})
	assertError(t, err, "restart task", errdefs.IsInvalidArgument, "no directory")
	d.assertStatus("web", int32(stopped), "how it ended can still be asked for")
}

func TestRestartTaskOfATaskThatSomebodyDeletesAtItsEnd(t *testing.T) {
	d := newDaemon(t)
	d.on("Containers/Get", func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.taskStates["web"].Status == stopped {
			delete(d.taskStates, "web")
		}
		return nil
	})
	_, err := d.service().RestartTask(t.Context(), "web", RestartTaskRequest{})
	require.NoError(t, err)
	d.assertStatus("web", int32(running), "it is another one")
}
