package logfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}

func TestALoggerDoesNotUseTheDirectoryOfAnother(t *testing.T) {
	// Given another program's directory,
	dir := t.TempDir()
	var theirs []string
	for day := range 4 {
		theirs = append(theirs, fmt.Sprintf("2025112%d.log", 6+day))
		require.NoError(t, os.WriteFile(filepath.Join(dir, theirs[day]), []byte("theirs"), 0o600))
	}
	_, err := Create(Config{Dir: dir})
	require.ErrorIs(t, err, ErrForeign)
	require.NoError(t, Remove(dir, Owner{}))
	require.NoError(t, Discard(dir, Owner{}))
	assert.Equal(t, theirs, names(t, dir))

	// and another container's.
	one := Config{Dir: filepath.Join(t.TempDir(), "log"), Owner: Owner{Container: "one", Namespace: "n"}}
	logMore(t, one, "text\n")
	for _, other := range []Owner{{}, {Container: "two", Namespace: "n"}, {Container: "one"}, {Container: "one", Namespace: "n", Record: "r"}} {
		_, err := Create(Config{Dir: one.Dir, Owner: other})
		require.ErrorIs(t, err, ErrForeign)
		assert.ErrorContains(t, err, "one")
		_, err = Owns(one.Dir, other)
		require.ErrorIs(t, err, ErrForeign)
		require.NoError(t, Remove(one.Dir, other))
	}
	assert.Equal(t, []string{`stdout "text\n"`}, read(t, one.Dir, ReadOptions{}))
}

func TestOnlyNamesOfTheWritersAreTheLogs(t *testing.T) {
	config := Config{Dir: filepath.Join(t.TempDir(), "log"), MaxFiles: 1, MaxSize: 10}
	logMore(t, config, "text\n")
	for _, name := range []string{"1.log", "+0000001.log", "000000001.log", "00000000.log", "-0000001.log", "0000001.log", "00000009.logs"} {
		require.NoError(t, os.WriteFile(filepath.Join(config.Dir, name), []byte("x"), 0o600))
	}
	require.NoError(t, os.Mkdir(fileName(config.Dir, 99), 0o700))
	logMore(t, config, "more\n")
	assert.Equal(t, []int{2}, listed(t, config.Dir))
	assert.Len(t, names(t, config.Dir), 8+1+len([]string{ownerName, aliveName, askName}))
}

func TestOneOfManyGetsADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	var group sync.WaitGroup
	var got, fresh atomic.Int32
	for i := range 20 {
		group.Go(func() {
			ok, err := Claim(Config{Dir: dir, Owner: Owner{Container: fmt.Sprint("c", i%10)}})
			switch {
			case err == nil:
				got.Add(1)
			default:
				assert.ErrorIs(t, err, ErrForeign)
			}
			if ok {
				fresh.Add(1)
			}
		})
	}
	group.Wait()
	assert.Equal(t, int32(1), fresh.Load())
	assert.LessOrEqual(t, got.Load(), int32(2), "the owner's only")
	assert.Equal(t, []string{ownerName}, names(t, dir))
}

func TestTheConfigurationIsKept(t *testing.T) {
	config := Config{
		Dir: filepath.Join(t.TempDir(), "log"), MaxSize: 1 << 10, MaxFiles: 7, Stdin: true, Terminal: true,
		Owner: Owner{Container: "one"}, Origin: "a call",
	}
	fresh, err := Claim(config)
	require.NoError(t, err)
	assert.True(t, fresh)
	config.MaxFiles = 9
	logMore(t, config, "")
	got, err := Stored(config.Dir)
	require.NoError(t, err)
	config.Origin = ""
	assert.Equal(t, config, got)
	fresh, err = Claim(Config{Dir: config.Dir, Owner: config.Owner})
	require.NoError(t, err)
	assert.False(t, fresh)
	assert.Equal(t, []string{"00000001.log", aliveName, askName, ownerName}, names(t, config.Dir), "nothing temporary")
}

func TestRemoveLeavesWhatIsNotTheLogs(t *testing.T) {
	config := Config{Dir: filepath.Join(t.TempDir(), "log")}
	logMore(t, config, "text\n")
	_, err := MakeInput(config.Dir)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(config.Dir, "lost+found"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(config.Dir, newOwnerPrefix+"1"+newOwnerSuffix), nil, 0o600))
	for range 2 {
		require.NoError(t, Remove(config.Dir, Owner{}))
		assert.Equal(t, []string{"lost+found"}, names(t, config.Dir))
	}
	require.NoError(t, os.Remove(filepath.Join(config.Dir, "lost+found")))
	logMore(t, config, "text\n") // it is empty
	require.NoError(t, Remove(config.Dir, Owner{}))
	assert.NoDirExists(t, config.Dir)
	require.NoError(t, Remove(config.Dir, Owner{}))
}

func TestDiscardKeepsWhatWasLogged(t *testing.T) {
	config := Config{Dir: filepath.Join(t.TempDir(), "log")}
	w, err := Create(config)
	require.NoError(t, err)
	require.NoError(t, Discard(config.Dir, Owner{}))
	assert.DirExists(t, config.Dir, "a logger has it")
	require.NoError(t, feed(w, Stdout, strings.NewReader("text\n")))
	require.NoError(t, w.Close())
	require.NoError(t, Discard(config.Dir, Owner{}))
	assert.DirExists(t, config.Dir, "there is a line")
	require.NoError(t, os.Truncate(fileName(config.Dir, 1), 0))
	require.NoError(t, Discard(config.Dir, Owner{}))
	assert.NoDirExists(t, config.Dir)
	require.NoError(t, Discard(config.Dir, Owner{}))
}

func TestALogThatIsHandedOver(t *testing.T) {
	config := Config{Dir: filepath.Join(t.TempDir(), "log"), MaxFiles: 3, Owner: Owner{Container: "one", Record: "r"}}
	logMore(t, config, "text\n")
	to := Owner{Container: "one", Record: "s"}
	require.NoError(t, HandOver(config.Dir, to, Owner{}), "it is not that one's")
	require.NoError(t, HandOver(config.Dir, config.Owner, to))
	owned, err := Owns(config.Dir, to)
	require.NoError(t, err)
	assert.True(t, owned)
	stored, err := Stored(config.Dir)
	require.NoError(t, err)
	assert.Equal(t, 3, stored.MaxFiles)
	require.NoError(t, HandOver(filepath.Join(config.Dir, "none"), to, to))
}

func TestAnOwnerFileThatCanNotBeReadIsForeign(t *testing.T) {
	for what, place := range map[string]func(name string) error{
		"text":      func(name string) error { return os.WriteFile(name, []byte("pid 7"), 0o600) },
		"nothing":   func(name string) error { return os.WriteFile(name, nil, 0o600) },
		"much":      func(name string) error { return os.WriteFile(name, make([]byte, 2*maxOwnerSize), 0o600) },
		"FIFO":      func(name string) error { return unix.Mkfifo(name, 0o600) },
		"directory": func(name string) error { return os.Mkdir(name, 0o700) },
		"link":      func(name string) error { return os.Symlink("elsewhere", name) },
		"own link":  func(name string) error { return os.Symlink(name, name) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, place(filepath.Join(dir, ownerName)))
			_, err := Create(Config{Dir: dir})
			require.ErrorIs(t, err, ErrForeign)
			_, err = Owns(dir, Owner{})
			require.ErrorIs(t, err, ErrForeign)
			require.NoError(t, Remove(dir, Owner{}))
			assert.Equal(t, []string{ownerName}, names(t, dir))
		})
	}
	_, err := Stored(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}
