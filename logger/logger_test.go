package logger_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/logfile"
	_ "github.com/ctrdkit/containerd/logger"
)

// program is a logger that a test runs as a shim does.
type program struct {
	cmd            *exec.Cmd
	stdout, stderr *os.File // the container's ends
	dir            string
}

// start runs this test binary as a logger, and returns when it is ready.
func start(t *testing.T) *program {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	path, err := logfile.Program()
	require.NoError(t, err)
	text, err := json.Marshal(logfile.Config{Dir: dir})
	require.NoError(t, err)
	var files []*os.File
	pipe := func() *os.File {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		files = append(files, r)
		return w
	}
	p := &program{stdout: pipe(), stderr: pipe(), dir: dir}
	ready, tell, err := os.Pipe()
	require.NoError(t, err)
	files = append(files, tell)
	p.cmd = exec.CommandContext(t.Context(), path, logfile.Role, string(text))
	p.cmd.ExtraFiles = files
	p.cmd.Stderr = os.Stderr
	require.NoError(t, p.cmd.Start())
	for _, f := range files {
		require.NoError(t, f.Close())
	}
	said, err := io.ReadAll(ready)
	require.NoError(t, err)
	require.Equal(t, "\n", string(said), "it is ready")
	require.NoError(t, ready.Close())
	require.True(t, logfile.Running(dir))
	return p
}

func (p *program) log(t *testing.T) map[logfile.Stream]string {
	t.Helper()
	l, err := logfile.Open(t.Context(), p.dir, logfile.ReadOptions{})
	require.NoError(t, err)
	all := map[logfile.Stream][]byte{}
	for e, err := range l.All(t.Context()) {
		require.NoError(t, err)
		all[e.Stream] = append(all[e.Stream], e.Data...)
	}
	got := map[logfile.Stream]string{}
	for stream, data := range all {
		got[stream] = string(data)
	}
	return got
}

func TestTheBinaryLogsBothPipes(t *testing.T) {
	p := start(t)
	long := strings.Repeat("0123456789\n", 100_000)
	_, err := io.WriteString(p.stderr, "an error\n")
	require.NoError(t, err)
	_, err = io.WriteString(p.stdout, long)
	require.NoError(t, err)
	assert.Equal(t, "an error\n", p.log(t)["stderr"], "it is there while the logger runs")
	require.NoError(t, p.stdout.Close())
	require.NoError(t, p.stderr.Close())

	require.NoError(t, p.cmd.Wait(), "it ends with its pipes")

	assert.False(t, logfile.Running(p.dir))
	assert.Equal(t, long, p.log(t)["stdout"])
}

func TestALoggerThatIsToldToEndReadsWhatThereIs(t *testing.T) {
	p := start(t)
	long := strings.Repeat("x", 60_000)
	_, err := io.WriteString(p.stdout, long)
	require.NoError(t, err)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))

	require.NoError(t, p.cmd.Wait())

	assert.Equal(t, long, p.log(t)["stdout"])
	require.NoError(t, p.stdout.Close())
	require.NoError(t, p.stderr.Close())
}

func TestABadConfigurationIsNotReady(t *testing.T) {
	path, err := logfile.Program()
	require.NoError(t, err)
	for _, text := range []string{"nonsense", `{"Dir":"/dev/null/x"}`} {
		cmd := exec.CommandContext(t.Context(), path, logfile.Role, text)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		require.Error(t, cmd.Run())
		assert.NotEmpty(t, stderr.String())
	}
}

func TestOtherArgumentsAreTheProgramsOwn(t *testing.T) {
	path, err := logfile.Program()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), path, "-test.run=^$", logfile.Role, "{}")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "PASS")
}
