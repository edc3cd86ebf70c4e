package containerdtest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOutputToFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	run := func(id string, config cio.Config) string {
		_, exit, err := w.begin(task, id, config, "sh", "-c", "cat; echo out; echo err >&2")
		if err == nil {
			assert.Equal(t, 0, w.code(exit))
		}
		return errText(err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(file(name))
		require.NoError(t, err)
		return string(text)
	}
	for _, name := range []string{"in", "out", "err"} {
		require.NoError(t, os.WriteFile(file(name), []byte("old\n"), 0o600))
	}
	assert.Equal(t, "no error", run("plain", cio.Config{Stdin: file("in"), Stdout: file("out"), Stderr: file("err")}))
	assert.Equal(t, []string{"old\nold\nout\n", "old\nerr\n"}, []string{read("out"), read("err")}, "they are appended to")

	assert.Equal(t, "no error", run("url", cio.Config{Stdout: "file://" + file("new/log"), Stderr: "file://" + file("unused")}))
	assert.Equal(t, "out\nerr\n", read("new/log"), "both streams go where stdout goes")
	assert.NoFileExists(t, file("unused"))

	assert.Contains(t, run("absent", cio.Config{Stdout: file("no"), Stderr: file("err")}), "opening file")
	assert.Contains(t, run("input", cio.Config{Stdin: file("no"), Stdout: file("out"), Stderr: file("err")}), "failed to open stdin fifo")
	assert.Equal(t, "failed to create init process I/O: unknown STDIO scheme x", run("scheme", cio.Config{Stdout: "x:///", Stderr: "x:///"}))
	assert.Contains(t, run("url2", cio.Config{Stdout: "%zz", Stderr: "%zz"}), "unable to parse stdout uri")
	assert.Contains(t, run("binary", cio.Config{Stdout: "binary:///bin/logger", Stderr: "x"}), "the fake runs no logging programs")
}
