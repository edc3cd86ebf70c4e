//go:build linux

package containerd

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tree is a root file system of a container.
type tree struct {
	t    *testing.T
	dir  string
	root *os.File
}

func newTree(t *testing.T) *tree {
	t.Helper()
	dir := t.TempDir()
	root, err := os.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, root.Close()) })
	return &tree{t: t, dir: dir, root: root}
}

func (tr *tree) path(name string) string {
	tr.t.Helper()
	path := filepath.Join(tr.dir, name)
	require.NoError(tr.t, os.MkdirAll(filepath.Dir(path), 0o755))
	return path
}

func (tr *tree) file(name, content string, mode os.FileMode) {
	tr.t.Helper()
	require.NoError(tr.t, os.WriteFile(tr.path(name), []byte(content), mode))
}

func (tr *tree) link(name, target string) {
	tr.t.Helper()
	require.NoError(tr.t, os.Symlink(target, tr.path(name)))
}

// check opens the program as probe does, and says whether it can be run.
func (tr *tree) check(name string) error {
	tr.t.Helper()
	file, err := openIn(tr.root, name)
	require.NoError(tr.t, err)
	defer closeRead(file)
	return checkProgram(tr.root, file)
}

// elfOf returns a program for the machine, with an interpreter if one is given.
func elfOf(t *testing.T, machine elf.Machine, interpreter string) string {
	t.Helper()
	const headerSize, progSize = 64, 56
	header := elf.Header64{
		Ident:   [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(machine),
		Version: uint32(elf.EV_CURRENT),
		Phoff:   headerSize, Ehsize: headerSize, Phentsize: progSize, Phnum: 2,
	}
	const at = headerSize + 2*progSize
	text := interpreter + "\x00"
	load := elf.Prog64{Type: uint32(elf.PT_LOAD), Filesz: at, Memsz: at}
	interp := elf.Prog64{Type: uint32(elf.PT_NULL)}
	if interpreter != "" {
		interp = elf.Prog64{Type: uint32(elf.PT_INTERP), Off: at, Filesz: uint64(len(text)), Memsz: uint64(len(text))}
	}
	var b bytes.Buffer
	for _, part := range []any{header, load, interp, []byte(text)} {
		require.NoError(t, binary.Write(&b, binary.LittleEndian, part))
	}
	return b.String()
}

func thisMachine(t *testing.T) elf.Machine {
	t.Helper()
	self, err := elf.Open("/proc/self/exe")
	require.NoError(t, err)
	defer func() { assert.NoError(t, self.Close()) }()
	return self.Machine
}

func TestOpenInFindsExecutableFilesOnly(t *testing.T) {
	tr := newTree(t)
	tr.file("bin/app", "x", 0o755)
	tr.file("etc/plain", "x", 0o644)
	require.NoError(t, os.Mkdir(tr.path("bin/dir"), 0o755))
	require.NoError(t, unix.Mkfifo(tr.path("bin/fifo"), 0o755))
	for _, name := range []string{"/etc/plain", "/bin/dir", "/bin/fifo", "/bin/nothing", "/etc/plain/below"} {
		_, err := openIn(tr.root, name)
		assert.Error(t, err, name)
	}
	file, err := openIn(tr.root, "/bin/app")
	require.NoError(t, err)
	closeRead(file)
}

func TestOpenInNeverLeavesTheRoot(t *testing.T) {
	outside := newTree(t)
	outside.file("secret", "outside", 0o755)
	tr := newTree(t)
	tr.file("lib/app", "inside", 0o755)
	tr.link("bin/absolute", "/lib/app")
	tr.link("bin/up", "../../../../../../../../lib/app")
	tr.link("bin/out", outside.path("secret"))
	for _, name := range []string{"/bin/absolute", "/bin/up", "/../../lib/app"} {
		file, err := openIn(tr.root, name)
		require.NoError(t, err, name)
		got := make([]byte, 6)
		_, err = file.ReadAt(got, 0)
		require.NoError(t, err)
		assert.Equal(t, "inside", string(got), name)
		closeRead(file)
	}
	for _, name := range []string{"/bin/out", outside.path("secret"), "../" + filepath.Base(outside.dir) + "/secret"} {
		_, err := openIn(tr.root, name)
		assert.ErrorIs(t, err, os.ErrNotExist, name)
	}
}

func TestFindProgram(t *testing.T) {
	tr := newTree(t)
	for _, name := range []string{"bin/app", "usr/bin/app", "work/app", "work/sub/tool"} {
		tr.file(name, "x", 0o755)
	}
	tr.file("first/app", "not executable", 0o644)
	for what, test := range map[string]struct {
		program, path string
		want          string // "" means not found
	}{
		"an absolute path":                {"/usr/bin/app", "PATH=/bin", "/usr/bin/app"},
		"a relative path":                 {"sub/tool", "PATH=/bin", "/work/sub/tool"},
		"a path that is not there":        {"/nothing", "PATH=/bin", ""},
		"the first in PATH":               {"app", "PATH=/none:/bin:/usr/bin", "/bin/app"},
		"not what can't be executed":      {"app", "PATH=/first:/usr/bin", "/usr/bin/app"},
		"an empty element is the cwd":     {"app", "PATH=/none:", "/work/app"},
		"a relative element is below cwd": {"tool", "PATH=sub", "/work/sub/tool"},
		"nowhere in PATH":                 {"nothing", "PATH=/bin:/usr/bin", ""},
	} {
		t.Run(what, func(t *testing.T) {
			name, file, err := findProgram(tr.root, &specs.Process{
				Args: []string{test.program}, Env: []string{"A=PATH=/usr/bin", test.path}, Cwd: "/work",
			})
			if test.want == "" {
				assert.Error(t, err)
				return
			}
			require.NoError(t, err)
			defer closeRead(file)
			assert.Equal(t, test.want, name)
		})
	}
}

func TestCheckProgramLooksForTheInterpreter(t *testing.T) {
	here := thisMachine(t)
	tr := newTree(t)
	tr.file("bin/sh", elfOf(t, here, ""), 0o755)
	tr.link("bin/dash", "/bin/sh")
	tr.link("bin/out", "/proc/self/exe")
	tr.file("etc/plain", "x", 0o644)
	for what, test := range map[string]struct {
		content string
		class   func(error) bool // nil: can be run, or can't be told
	}{
		"a script":                             {"#!/bin/sh\n", nil},
		"a script with arguments":              {"#! /bin/sh -eu\n", nil},
		"a script without an end of line":      {"#!/bin/sh", nil},
		"a script whose shell is a link":       {"#!/bin/dash\n", nil},
		"a script of a file that is not one":   {"#!/etc/plain\n", nil},
		"a script of nothing":                  {"#!/bin/bash\n", errdefs.IsNotFound},
		"a script whose shell is outside":      {"#!/bin/out\n", errdefs.IsNotFound},
		"a script that names none":             {"#! \n/bin/sh", errdefs.IsPermissionDenied},
		"a program whose loader is missing":    {elfOf(t, here, "/lib/ld.so"), errdefs.IsNotFound},
		"a program whose loader is there":      {elfOf(t, here, "/bin/sh"), nil},
		"a program whose header can't be read": {elf.ELFMAG + "odd", nil},
	} {
		t.Run(what, func(t *testing.T) {
			tr.file("app", test.content, 0o755)
			err := tr.check("/app")
			if test.class == nil {
				assert.NoError(t, err)
				return
			}
			assert.True(t, test.class(err), "%v", err)
		})
	}
}

func TestCheckProgramOfAForeignFormat(t *testing.T) {
	tr := newTree(t)
	for what, content := range map[string]string{"text": "echo hello\n", "nothing": ""} {
		tr.file("app", content, 0o755)
		tr.assertForeign(what)
	}
}

func TestCheckProgramOfAnotherMachine(t *testing.T) {
	tr := newTree(t)
	for what, interpreter := range map[string]string{"static": "", "with a loader that is missing": "/lib/ld.so"} {
		tr.file("app", elfOf(t, elf.EM_68K, interpreter), 0o755)
		tr.assertForeign(what)
	}
}

// assertForeign checks that the file "app" is refused, unless the kernel may run
// it after all.
func (tr *tree) assertForeign(what string) {
	tr.t.Helper()
	err := tr.check("/app")
	if otherFormats() {
		assert.NoError(tr.t, err, what)
		return
	}
	assert.True(tr.t, errdefs.IsPermissionDenied(err), "%s: %v", what, err)
}

func TestCheckProgramThatCanNotBeReadSaysNothing(t *testing.T) {
	tr := newTree(t)
	assert.NoError(t, checkProgram(tr.root, tr.root), "a directory can't be read")
}

func TestContainerInitIsTheFirstOfANamespaceBelow(t *testing.T) {
	assert.False(t, isContainerInit(uint32(os.Getpid())), "this process is in this namespace")
	assert.False(t, isContainerInit(noPID), "no such process")
}

func TestOpenRootOfAProcess(t *testing.T) {
	root, err := openRoot(uint32(os.Getpid()))
	require.NoError(t, err)
	defer closeRead(root)
	here, err := os.Stat("/")
	require.NoError(t, err)
	there, err := root.Stat()
	require.NoError(t, err)
	assert.True(t, os.SameFile(here, there))
	_, err = openRoot(noPID)
	assert.Error(t, err)
}

func TestExitCodeThatCanNotBeProbedStands(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	e := &executing{
		service: s, containerID: "web", execID: "exec-1",
		process: &specs.Process{Args: []string{"/nothing"}, Cwd: "/"},
	}
	ctx := s.scope().context(t.Context())
	assert.NoError(t, e.probe(ctx), "the task's process is not to be seen here")
	d.fail("Tasks/Get", errdefs.ErrUnavailable)
	assert.NoError(t, e.probe(ctx), "nobody tells the task's process")
}
