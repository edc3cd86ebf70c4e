package containerd

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProcessDetailsOfAProcessOfThisMachine(t *testing.T) {
	began := time.Now()
	cmd := exec.Command("sh", "-c", "read line; exit 0", "a  b", "", "c\nd")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })

	got := processDetails(uint32(cmd.Process.Pid), ownCgroup(t))

	require.NotNil(t, got)
	assert.Equal(t, []string{"sh", "-c", "read line; exit 0", "a  b", "", "c\nd"}, got.Args)
	assert.EqualValues(t, os.Getpid(), got.ParentPID)
	assert.EqualValues(t, os.Geteuid(), got.UID)
	assert.EqualValues(t, os.Getegid(), got.GID)
	assert.NotEmpty(t, got.Command)
	assert.WithinDuration(t, began, got.StartedAt, 5*time.Second)
	assert.Nil(t, processDetails(uint32(cmd.Process.Pid), "web"), "it is not that container's")
	assert.Nil(t, processDetails(1<<30, ownCgroup(t)), "there is no such process")
}

// procFiles are a process whose name is made to mislead.
var procFiles = map[string]string{
	"stat":    "42 (a) R 1 (b) S 7 42 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1234 0 0\n",
	"status":  "Name:\ta\nUid:\t1\t1000\t1\t1\nGid:\t1\t100\t1\t1\nNSpid:\t42\t9\t3\n",
	"cmdline": "",
}

func TestReadProcess(t *testing.T) {
	for what, test := range map[string]struct {
		file, text string
		fails      bool
	}{
		"as it is":                 {},
		"without parentheses":      {file: "stat", text: "42 a S 7", fails: true},
		"short":                    {file: "stat", text: "42 (a) S 7", fails: true},
		"parent is no number":      {file: "stat", text: "42 (a) S x 42 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1234 0 0", fails: true},
		"start is no number":       {file: "stat", text: "42 (a) S 7 42 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 x 0 0", fails: true},
		"a status with less":       {file: "status", text: "Uid:\t1\t2\t3\t4\n", fails: true},
		"a status without a user":  {file: "status", text: "Uid:\t1\n", fails: true},
		"a user that is no number": {file: "status", text: "Uid:\t1\tx\t1\t1\n", fails: true},
		"a PID without numbers":    {file: "status", text: "NSpid:\n", fails: true},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range procFiles {
				if name == test.file {
					text = test.text
				}
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
			}
			got, err := readProcess(dir)
			if test.fails {
				require.ErrorIs(t, err, errProcFormat)
				return
			}
			require.NoError(t, err)
			boot, err := bootTime()
			require.NoError(t, err)
			assert.Equal(t, &ProcessDetails{
				ContainerPID: 3, ParentPID: 7, Args: []string{}, Command: "a) R 1 (b", UID: 1000, GID: 100,
				State: ProcessSleeping, StartedAt: boot.Add(12340 * time.Millisecond),
			}, got)
		})
	}
	for missing := range procFiles {
		dir := t.TempDir()
		for name, text := range procFiles {
			if name != missing {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
			}
		}
		_, err := readProcess(dir)
		assert.ErrorIs(t, err, os.ErrNotExist, missing)
	}
}

func TestProcessStates(t *testing.T) {
	for letter, want := range map[string]ProcessState{
		"R": ProcessRunning, "S": ProcessSleeping, "D": ProcessBlocked, "T": ProcessStopped, "t": ProcessStopped,
		"Z": ProcessZombie, "X": ProcessZombie, "I": ProcessIdle, "P": "P",
	} {
		assert.Equal(t, want, processState(letter), letter)
	}
}
