//go:build linux

package embedded_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/embedded"
)

// unprivileged is a user without a name, a home, or subordinate IDs.
const unprivileged = 47110

// rootlessTests are those that are run again as an unprivileged user.
const rootlessTests = "^(TestCloseLeavesNothing|TestRuntimeInfo|TestDetachAndAdopt|TestKilledDaemonIsAdopted|" +
	"TestCloseAfterKill|TestSameNamespaceAndID|TestNativeSnapshotterByDefault|TestStartErrors|TestStartCanceled|" +
	"TestParentKilled.*|TestUnmappedOwner|TestManyAtOnce|TestGivenState|TestTerminatedDaemon|TestCloseEndsCallsInProgress)$"

func TestRootless(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the tests run as an unprivileged user already")
	}
	binary, err := guest()
	require.NoError(t, err)
	home := unprivilegedDir(t)
	guestFile := filepath.Join(home, "guest")
	require.NoError(t, os.WriteFile(guestFile, binary, 0o644))
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run="+rootlessTests)
	cmd.Args[0] = os.Args[0]
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home, "XDG_RUNTIME_DIR=",
		guestEnv+"="+guestFile, "RUNC="+runcPath(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
	left, err := filepath.Glob(filepath.Join(home, "c*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// unprivilegedDir returns a temporary directory of the unprivileged user.
func unprivilegedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chown(dir, unprivileged, unprivileged))
	return dir
}

func TestUnmappedOwner(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root has all IDs; runs again as an unprivileged user")
	}
	client := newClient(t, startDaemon(t, embedded.Options{}))
	ctx := testContext(t)
	_, err := client.Import(ctx, imageTar(t, 1<<30, 1<<30+1))
	require.NoError(t, err)
	img, err := client.GetImage(ctx, imageRef)
	require.NoError(t, err)
	err = img.Unpack(ctx, "")
	require.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	for _, part := range []string{"uid 1073741824", "gid 1073741825", " /guest "} {
		assert.Contains(t, err.Error(), part)
	}
	t.Log(err)
}

func TestNoUserNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to forbid user namespaces to a user")
	}
	home := unprivilegedDir(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^TestHelperNoUserNamespaces$")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), helperEnv+"=forbid", "TMPDIR="+home, "XDG_RUNTIME_DIR=", "RUNC="+runcPath(t))
	// The limit is one of a user namespace, and so cannot touch the host's.
	all := []syscall.SysProcIDMap{{Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true,
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}

func TestHelperNoUserNamespaces(t *testing.T) {
	if os.Getenv(helperEnv) != "forbid" {
		t.Skip("runs as a helper of another test only")
	}
	if os.Geteuid() == 0 {
		require.NoError(t, os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0))
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", os.Args[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		t.Logf("%s", out)
		return
	}
	_, err := embedded.Start(t.Context(), &embedded.Options{Runtime: runcPath(t)})
	require.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	require.ErrorIs(t, err, embedded.ErrNoUserNamespace)
	assert.Contains(t, err.Error(), "user namespace")
	t.Log(err)
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	assert.Empty(t, left)
}
