package reconciler_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// unprivileged is a user that has nothing on the machine.
	unprivileged = 64321
	// patience is how long building and running another module's test may take.
	patience = 5 * time.Minute

	downstreamMod = `module example.com/downstream

go %s

require github.com/ctrdkit/containerd v0.0.0

replace github.com/ctrdkit/containerd => %q
`
)

// TestAnotherModuleTestsOnTheFakeWithoutRoot runs the test of a module that uses
// this one.
func TestAnotherModuleTestsOnTheFakeWithoutRoot(t *testing.T) {
	out := testModule(t, "testdata/downstream")

	assert.Contains(t, out, "--- PASS: TestStartWorker")
}

// TestAnotherModuleRunsTheSuiteOverItsWrapper runs a few cases of the contract
// over a wrapper in a module that uses this one.
func TestAnotherModuleRunsTheSuiteOverItsWrapper(t *testing.T) {
	out := testModule(t, "testdata/suite", "-test.run", "/^(snapshots|tasks)$/^(CommitSnapshot: the active|StartTask: nil)")

	assert.Contains(t, out, "--- PASS: TestContract/snapshots/")
	assert.Contains(t, out, "conformance cases ran")
}

// testModule writes a module that uses this one by a replace line, with the Go
// files of a directory, and runs its tests as an ordinary user, without the
// network. It returns what they write.
func testModule(t *testing.T, files string, args ...string) string {
	t.Helper()
	root := moduleRoot(t)
	dir := ordinaryDir(t)
	mod := fmt.Sprintf(downstreamMod, goVersion(t, root), root)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644))
	copyFile(t, filepath.Join(root, "go.sum"), dir)
	sources, err := filepath.Glob(filepath.Join(files, "*.go"))
	require.NoError(t, err)
	require.NotEmpty(t, sources)
	for _, source := range sources {
		copyFile(t, source, dir)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", "downstream.test")
	build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	output(t, build, dir)
	test := exec.CommandContext(ctx, filepath.Join(dir, "downstream.test"), append(args, "-test.v")...)
	test.Env = []string{"HOME=" + dir, "TMPDIR=" + dir}
	if os.Geteuid() == 0 {
		test.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
	}
	return output(t, test, dir)
}

// moduleRoot returns the directory of this module's go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	mod := strings.TrimSpace(output(t, exec.CommandContext(t.Context(), "go", "env", "GOMOD"), "."))
	require.Equal(t, "go.mod", filepath.Base(mod))
	return filepath.Dir(mod)
}

func goVersion(t *testing.T, root string) string {
	t.Helper()
	return strings.TrimSpace(output(t, exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.GoVersion}}"), root))
}

// ordinaryDir returns a new directory of the ordinary user.
func ordinaryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "downstream-") // others can't enter the parent of t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(dir, unprivileged, unprivileged))
	}
	return dir
}

func copyFile(t *testing.T, file, dir string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), content, 0o644))
}

// output runs a command in a directory and returns what it writes to stdout.
func output(t *testing.T, cmd *exec.Cmd, dir string) string {
	t.Helper()
	cmd.Dir = dir
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(t, err, "%v: %s%s", cmd, out, &problems)
	return string(out)
}
