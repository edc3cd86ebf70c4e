package containerd

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd/internal/rootfs"
)

// maxInterpreter bounds the first line of a script, as the kernel does.
const maxInterpreter = 256

// probe looks, after exit code 255, whether the program is a file that this
// kernel can't have run. Where it can't look, because the daemon's processes
// are not visible here, the exit code stands.
func (e *executing) probe(ctx context.Context) error {
	process := e.process
	p, err := e.service.process(ctx, e.containerID, "")
	if err != nil {
		return nil
	}
	if !isContainerInit(p.GetPid()) {
		return nil
	}
	root, err := openRoot(p.GetPid())
	if err != nil {
		return nil
	}
	defer closeRead(root)
	name, file, err := findProgram(root, process)
	if err != nil {
		return nil
	}
	defer closeRead(file)
	if err := checkProgram(root, file); err != nil {
		return fmt.Errorf("%s: %w", quoted(name), err)
	}
	return nil
}

// isContainerInit tells the first process of a PID namespace below this
// process's own from another one of the same PID, which it is when the daemon's
// PIDs are not those that are seen here.
func isContainerInit(pid uint32) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if pids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			inner := strings.Fields(pids)
			return len(inner) > 1 && inner[len(inner)-1] == "1"
		}
	}
	return false
}

// openRoot opens the root directory that a process sees.
func openRoot(pid uint32) (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/%d/root", pid))
}

// openIn opens an executable file below root as a process in it would: no link
// leads out, and nothing blocks.
func openIn(root *os.File, name string) (*os.File, error) {
	file, err := rootfs.Open(root, name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0) {
		err = errors.New("not an executable file")
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// findProgram opens the file that the process's first argument names.
func findProgram(root *os.File, process *specs.Process) (string, *os.File, error) {
	program := process.Args[0]
	if strings.Contains(program, "/") {
		if !path.IsAbs(program) {
			program = path.Join(process.Cwd, program)
		}
		file, err := openIn(root, program)
		return program, file, err
	}
	var dirs string
	for _, entry := range process.Env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			dirs = value
		}
	}
	for _, dir := range strings.Split(dirs, ":") {
		if !path.IsAbs(dir) {
			dir = path.Join(process.Cwd, dir)
		}
		name := path.Join(dir, program)
		if file, err := openIn(root, name); err == nil {
			return name, file, nil
		}
	}
	return "", nil, errdefs.ErrNotFound
}

// checkProgram returns an error if the kernel can't run the file.
func checkProgram(root, file *os.File) error {
	head := make([]byte, maxInterpreter)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	head = head[:n]
	if line, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		return checkInterpreter(root, line)
	}
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		if otherFormats() {
			return nil
		}
		return fmt.Errorf("exec format error: %w", errdefs.ErrPermissionDenied)
	}
	f, err := elf.NewFile(file)
	if err != nil {
		return nil
	}
	if native := nativeMachines[runtime.GOARCH]; native != nil && !slices.Contains(native, f.Machine) && !otherFormats() {
		return fmt.Errorf("exec format error: %v program: %w", f.Machine, errdefs.ErrPermissionDenied)
	}
	for _, prog := range f.Progs {
		if prog.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(io.LimitReader(prog.Open(), maxInterpreter))
		if err != nil {
			return nil
		}
		return missing(root, strings.TrimRight(string(name), "\x00"))
	}
	return nil
}

// nativeMachines are those whose programs a kernel can run by itself. Of other
// kernels than these nothing is known here.
var nativeMachines = map[string][]elf.Machine{
	"amd64":   {elf.EM_X86_64, elf.EM_386},
	"386":     {elf.EM_X86_64, elf.EM_386},
	"arm64":   {elf.EM_AARCH64, elf.EM_ARM},
	"arm":     {elf.EM_AARCH64, elf.EM_ARM},
	"riscv64": {elf.EM_RISCV},
	"ppc64le": {elf.EM_PPC64},
	"s390x":   {elf.EM_S390},
}

// checkInterpreter looks for the program that a script's first line names.
func checkInterpreter(root *os.File, line []byte) error {
	line, _, _ = bytes.Cut(line, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) == 0 {
		return fmt.Errorf("exec format error: %w", errdefs.ErrPermissionDenied)
	}
	return missing(root, fields[0])
}

// missing returns a not-found error if there is no such interpreter.
func missing(root *os.File, interpreter string) error {
	file, err := openIn(root, interpreter)
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("interpreter %s does not exist: %w", quoted(interpreter), ErrExecutableNotFound)
	} else if err != nil {
		return nil
	}
	closeRead(file)
	return nil
}

// closeRead closes a file that was only read: there is nothing to lose.
func closeRead(f *os.File) {
	if err := f.Close(); err != nil {
		return
	}
}

// otherFormats reports whether the kernel may run other formats than its own.
func otherFormats() bool {
	entries, err := os.ReadDir("/proc/sys/fs/binfmt_misc")
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	for _, entry := range entries {
		if entry.Name() != "register" && entry.Name() != "status" {
			return true
		}
	}
	return false
}
