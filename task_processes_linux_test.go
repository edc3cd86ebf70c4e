package containerd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProcessDetailsOfAProcessOfThisMachine(t *testing.T) {
	began := time.Now()
	cmd := exec.Command("sh", "-c", "echo ready; read line", "a  b", "", "c\nd")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = stdout.Read(make([]byte, 1)) // Start returns before the kernel has the arguments
	require.NoError(t, err)
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })

	budget := argsBudget(maxAllArgs)
	got := processDetails(uint32(cmd.Process.Pid), ownCgroup(t), &budget)

	require.NotNil(t, got)
	assert.Equal(t, []string{"sh", "-c", "echo ready; read line", "a  b", "", "c\nd"}, got.Args)
	assert.EqualValues(t, os.Getpid(), got.ParentPID)
	assert.EqualValues(t, os.Geteuid(), got.UID)
	assert.EqualValues(t, os.Getegid(), got.GID)
	assert.NotEmpty(t, got.Command)
	assert.WithinDuration(t, began, got.StartedAt, 5*time.Second)
	assert.Nil(t, processDetails(uint32(cmd.Process.Pid), "web", &budget), "it is not that container's")
	assert.Nil(t, processDetails(1<<30, ownCgroup(t), &budget), "there is no such process")
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
			got, err := readProcess(dir, maxArgs)
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
		_, err := readProcess(dir, maxArgs)
		assert.ErrorIs(t, err, os.ErrNotExist, missing)
	}
}

// writeProcess writes the files of a process with these arguments.
func writeProcess(t *testing.T, cmdline string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range procFiles {
		if name == "cmdline" {
			text = cmdline
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func TestArguments(t *testing.T) {
	many := make([]string, maxArgCount)
	for what, test := range map[string]struct {
		cmdline string
		want    []string
		cut     bool
	}{
		"none":           {"", []string{}, false},
		"an empty one":   {"\x00", []string{""}, false},
		"several":        {"a\x00\x00b\x00", []string{"a", "", "b"}, false},
		"a title":        {"a title", []string{"a title"}, false},
		"the most":       {strings.Repeat("\x00", maxArgCount), many, false},
		"one more":       {strings.Repeat("\x00", maxArgCount+1), many, true},
		"the longest":    {strings.Repeat("x", maxArgs), []string{strings.Repeat("x", maxArgs)}, false},
		"longer":         {strings.Repeat("x", maxArgs+1), []string{strings.Repeat("x", maxArgs)}, true},
		"without an end": {strings.Repeat("a\x00", maxArgs), slices.Repeat([]string{"a"}, maxArgCount), true},
	} {
		got, err := readProcess(writeProcess(t, test.cmdline), maxArgs)
		require.NoError(t, err, what)
		assert.Equal(t, test.want, got.Args, what)
		assert.Equal(t, test.cut, got.ArgsTruncated, what)
	}
}

// What a container's processes have together is bounded, too.
func TestArgumentsOfManyProcesses(t *testing.T) {
	dir := writeProcess(t, strings.Repeat("x", 2*maxArgs))
	budget := argsBudget(maxAllArgs)
	total := 0
	for range 1000 {
		got, err := readProcess(dir, budget.limit())
		require.NoError(t, err)
		require.True(t, got.ArgsTruncated)
		require.GreaterOrEqual(t, len(got.Args[0]), minArgs)
		budget.spend(got.Args)
		total += len(got.Args[0])
	}
	assert.LessOrEqual(t, total, maxAllArgs+maxArgs+1000*minArgs)
}

// A process can belong to many groups, and can't make its status endless.
func TestLongStatus(t *testing.T) {
	dir := writeProcess(t, "")
	status := procFiles["status"]
	name := filepath.Join(dir, "status")
	require.NoError(t, os.WriteFile(name, []byte("Groups:\t"+strings.Repeat("4294967294 ", 65536)+"\n"+status), 0o600))
	got, err := readProcess(dir, maxArgs)
	require.NoError(t, err)
	assert.EqualValues(t, 1000, got.UID)
	require.NoError(t, os.WriteFile(name, []byte(strings.Repeat("x", maxStatus)+"\n"+status), 0o600))
	_, err = readProcess(dir, maxArgs)
	require.ErrorIs(t, err, errProcFormat)
}

func TestProcessStates(t *testing.T) {
	for letter, want := range map[string]ProcessState{
		"R": ProcessRunning, "S": ProcessSleeping, "D": ProcessBlocked, "T": ProcessStopped, "t": ProcessStopped,
		"Z": ProcessZombie, "X": ProcessZombie, "I": ProcessIdle, "P": "P",
	} {
		assert.Equal(t, want, processState(letter), letter)
	}
}
