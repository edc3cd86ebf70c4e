package containerdtest_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/containerdtest"
)

// assertLines runs each line and compares all of its output and its exit code
// with what the test says: the output, and " !CODE" if that is not 0.
func (w *world) assertLines(task client.Task, lines [][2]string) {
	w.t.Helper()
	for _, line := range lines {
		stdout, stderr, code := w.sh(task, line[0])
		got := stdout + stderr
		if code != 0 {
			got += " !" + string(rune('0'+code))
		}
		assert.Equal(w.t, line[1], got, line[0])
	}
}

func bindMount(source, target string, options ...string) specs.Mount {
	return specs.Mount{Type: "bind", Source: source, Destination: target, Options: append(options, "rbind")}
}

func TestLinksStayInTheRootDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outside := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, []byte("secret"), 0o600))
	up := strings.Repeat("../", 20)
	w.assertLines(w.start("web", "pause"), [][2]string{
		{"ln -s /etc/group abs; cat abs", "root:x:0:\n"},
		{"ln -s " + up + "etc/group tmp/rel; cat tmp/rel", "root:x:0:\n"},
		{"ln -s " + up + outside + " out; cat out", "cat: open out: no such file or directory\n !1"},
		{"ln -s " + outside + " out2; cat out2", "cat: open out2: no such file or directory\n !1"},
		{"cat " + up + outside, "cat: open " + up + outside + ": no such file or directory\n !1"},
		{"echo x >out2", "open /out2: no such file or directory\n !1"},
		{"ln -s /tmp t; echo deep >t/new; cat /tmp/new; ls t/..; rm t; cat tmp/new", "deep\nabs\nbin\ndev\netc\nout\nout2\nproc\nrun\nsys\nt\ntmp\ndeep\n"},
		{"ln -s loop loop; cat loop", "cat: open loop: too many levels of symbolic links\n !1"},
		{"readlink abs out2", "/etc/group\n" + outside + "\n"},
		{"ln -s dangling d; echo made >d; cat dangling", "made\n"},
		{"cat etc", "cat: read etc: is a directory\n !1"},
		{"ln -s a abs", "ln: symlink a abs: file exists\n !1"},
		{"ln no hard", "ln: link no hard: no such file or directory\n !1"},
	})
}

func TestBindMounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(host, "file"), []byte("host\n"), 0o600))
	require.NoError(t, os.Symlink("/etc/group", filepath.Join(host, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(host, "dir"), 0o700))
	task := w.startIn(w.createFrom("app", "web", []string{"pause"}, oci.WithMounts([]specs.Mount{
		bindMount(host, "/rw", "rw"), bindMount(host, "/ro", "ro"), bindMount(filepath.Join(host, "file"), "/etc/file", "ro"),
		bindMount(host, "/rw/dir/nested"), {Type: "tmpfs", Source: "tmpfs", Destination: "/rw/dir/nested/dir"},
	})))
	w.assertLines(task, [][2]string{
		{"cat /rw/file /etc/file", "host\nhost\n"},
		{"cat /rw/link", "root:x:0:\n"}, // of the container
		{"echo new >/rw/new; cat /ro/new /rw/dir/nested/new", "new\nnew\n"},
		{"echo x >/ro/x", "open /ro/x: read-only file system\n !1"},
		{"mkdir /ro/x", "mkdir: mkdir /ro/x: read-only file system\n !1"},
		{"rm /ro/file", "rm: remove /ro/file: read-only file system\n !1"},
		{"chmod 600 /ro/file", "chmod: chmod /ro/file: read-only file system\n !1"},
		{"[ -w /rw ] && [ ! -w /ro ] && [ ! -w /etc/file ]", ""},
		{"ln -s /rw/file /tmp/in; cat /tmp/in", "host\n"},
		{"ln -s /rw /tmp/dir; ls /tmp/dir; rm /tmp/dir/new", "dir\nfile\nlink\nnew\n"},
		{"rm -rf /rw", "rm: remove /rw: device or resource busy\n !1"},
		{"echo x >/rw/dir/nested/dir/x; ls /ro/dir", "nested\n"}, // the mount point, and no x
	})
	text, err := os.ReadFile(filepath.Join(host, "file"))
	require.NoError(t, err)
	assert.Equal(t, "host\n", string(text))
	assert.NoFileExists(t, filepath.Join(host, "new"))
	assert.DirExists(t, filepath.Join(host, "dir"), "what is mounted is not removed")
}

func TestAReadOnlyRoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := t.TempDir()
	task := w.startIn(w.createFrom("app", "web", []string{"pause"}, oci.WithRootFSReadonly(),
		oci.WithMounts([]specs.Mount{bindMount(host, "/data")}), oci.WithProcessCwd("/made/anyway")))
	w.assertLines(task, [][2]string{
		{"echo x >/x", "open /x: read-only file system\n !1"},
		{"touch /etc/group", "touch: open /etc/group: read-only file system\n !1"},
		{"mkdir -p /etc; mkdir -p /etc/a/b", "mkdir: mkdir /etc/a/b: read-only file system\n !1"},
		{"rm -rf /no; rm -rf /etc", "rm: remove /etc: read-only file system\n !1"},
		{"ln -s a /b", "ln: symlink a /b: read-only file system\n !1"},
		{"cat /etc/group; [ -w /etc/group ]", "root:x:0:\n !1"},
		{"pwd; echo x >/data/x; cat /data/x", "/made/anyway\nx\n"},
		{"echo x >/run/x; cat /run/x; echo x >/dev/shm/x; cat /dev/shm/x", "x\nx\n"},
		{"echo x >/dev/null; cat /dev/null", ""},
	})
	assert.FileExists(t, filepath.Join(host, "x"))
}

func TestAViewIsReadOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("web", "pause") // unpacks the image
	image, err := w.plain.GetImage(w.ctx, "docker.io/library/app:latest")
	require.NoError(t, err)
	c, err := w.plain.NewContainer(w.ctx, "view", client.WithNewSnapshotView("view", image),
		client.WithNewSpec(oci.WithImageConfig(image), oci.WithProcessArgs("pause")))
	require.NoError(t, err)
	task := w.startIn(c)
	w.assertLines(task, [][2]string{{"echo x >/x", "open /x: read-only file system\n !1"}})
}

func TestDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.assertLines(w.start("web", "pause"), [][2]string{
		{"echo x >/dev/null; cat /dev/null; cat </dev/null", ""},
		{"head -c 5 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c", "5\n5\n"},
		{"echo out >/dev/stdout; echo err >/dev/stderr; cat /dev/stdin", "out\nerr\n"},
		{"echo x | cat /dev/stdin", "x\n"},
		{"ls /dev /proc /sys /run", "mqueue\npts\nshm\n"},
		{"cat /dev/sda", "cat: open /dev/sda: no such file or directory\n !1"},
	})
}

func TestAHandlerFindsTheContainersFilesOnTheHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := t.TempDir()
	results := make(chan error, 1)
	w.Handle(containerdtest.Command("app"), func(_ context.Context, p *containerdtest.Proc) int {
		results <- func() error {
			for name, text := range map[string]string{"relative": "1", "/etc/new": "2", "/data/file": "3", "/bin/sh": "#!/bin/cat\n"} {
				path, err := p.Path(name)
				if err != nil {
					return err
				}
				if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
					return err
				}
			}
			_, err := p.Path("/loop")
			return err
		}()
		return 0
	})
	task := w.startIn(w.createFrom("app", "web", []string{"pause"},
		oci.WithMounts([]specs.Mount{bindMount(host, "/data")}), oci.WithProcessCwd("/tmp")))
	w.exec(task, "link", "ln", "-s", "loop", "/loop").code()
	w.exec(task, "e", "app").code()
	require.ErrorContains(t, received(t, results), "too many levels of symbolic links")
	r := w.exec(task, "cat", "cat", "/tmp/relative", "/etc/new", "/data/file")
	r.code()
	assert.Equal(t, "123", r.out.String())
	r = w.exec(task, "sh", "sh")
	r.code()
	assert.Equal(t, "#!/bin/cat\n", r.out.String(), "a file of the image counts before a built-in command")
	assert.FileExists(t, filepath.Join(host, "file"))
}

func TestMountsAreEmptyForEachTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create("web", "pause")
	task := w.startIn(c)
	w.assertLines(task, [][2]string{{"echo x >/run/x; echo y >/tmp/y", ""}})
	_, err := task.Delete(w.ctx, client.WithProcessKill)
	require.NoError(t, err)
	w.assertLines(w.startIn(c), [][2]string{{"ls /run; cat /tmp/y", "y\n"}})
	mounts, err := w.SnapshotMounts(w.ctx, "overlayfs", "web")
	require.NoError(t, err)
	entries, err := os.ReadDir(filepath.Join(mounts[0].Source, "run"))
	require.NoError(t, err)
	assert.Empty(t, entries)
	assert.Equal(t, []mount.Mount{{Type: "bind", Source: mounts[0].Source, Options: []string{"rbind", "rw"}}}, mounts)
}
