package containerd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A child of this test stands for a container's process. Cgroups are named by
// the machine, so the test gives the ID that the child's has, if it has one.
func TestWitnessSeesAProcessOfThisMachineEnd(t *testing.T) {
	for what, test := range map[string]struct {
		script string
		want   uint32
	}{
		"by itself":   {script: "read line; exit 42", want: 42},
		"by a signal": {script: "read line; kill -TERM $$", want: 143},
	} {
		t.Run(what, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", test.script)
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			w := watchProcess(uint32(cmd.Process.Pid), ownCgroup(t))
			defer w.stop()
			_, ok := w.result()
			assert.False(t, ok, "it runs")
			require.NoError(t, stdin.Close())
			_ = cmd.Wait()
			got, ok := w.result()
			if !ok {
				t.Skip("this kernel does not keep exit codes for pidfds (Linux 6.15 does)")
			}
			assert.Equal(t, test.want, got.code)
			assert.WithinDuration(t, time.Now(), got.at, 10*time.Second)
		})
	}
}

// ownCgroup returns the name of this process's cgroup.
func ownCgroup(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skipf("no cgroups: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if name := filepath.Base(fields[2]); name != "/" {
			return name
		}
	}
	t.Skip("this process is in no cgroup of its own")
	return ""
}

func TestWitnessSeesNothingOfOthers(t *testing.T) {
	for what, w := range map[string]*witness{
		"no process":           watchProcess(0, "web"),
		"no such process":      watchProcess(1<<30, "web"),
		"not in the container": watchProcess(uint32(os.Getpid()), "web"),
	} {
		_, ok := w.result()
		assert.False(t, ok, what)
		w.stop()
	}
}

func TestCgroupsOfContainers(t *testing.T) {
	for dir, want := range map[string]bool{
		"/default/web":                           true,
		"/default/web/deep":                      true,
		"/system.slice/cri-containerd-web.scope": true,
		"/system.slice/web.scope":                true,
		"/":                                      false,
		"/default/web2":                          false,
		"/default/my-web":                        false,
		"/default/web-x.scope":                   false,
		"":                                       false,
	} {
		assert.Equal(t, want, isCgroupOf(dir, "web"), dir)
	}
}
