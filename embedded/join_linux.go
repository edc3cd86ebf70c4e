package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Containers that run in a user's namespaces can be adopted only from within
// them. A process with threads, as every Go program is, cannot enter a user
// namespace; the child of a bare clone has one thread and can.

// namespaceFDs are the user and the mount namespace to enter, in this order, as
// files for a child to inherit.
type namespaceFDs []*os.File

// openNamespaces returns the namespaces of a shim in the daemon's state, or nil
// if there is none.
func openNamespaces(state string) (namespaceFDs, error) {
	pids, err := shimsIn(filepath.Join(state, taskPlugin))
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		var files namespaceFDs
		for _, name := range []string{"user", "mnt"} {
			f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns", name))
			if err != nil {
				break
			}
			files = append(files, f)
		}
		if len(files) == 2 {
			return files, nil
		}
		if err := files.close(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (n namespaceFDs) close() error {
	var errs []error
	for _, f := range n {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// joined tells the parent the process that the joining child has left to it.
type joined struct {
	PID int
}

// joinMain starts the daemon in the namespaces whose files follow the locks, as
// a child of this process's parent, and exits.
func joinMain() {
	env := append(os.Environ(), roleEnv+"="+roleDaemon)
	path, err := syscall.BytePtrFromString("/proc/self/exe")
	if err != nil {
		exit(err)
	}
	argv, err := syscall.SlicePtrFromStrings(os.Args)
	if err != nil {
		exit(err)
	}
	envv, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		exit(err)
	}
	const userFD = locksFD + lockCount
	runtime.LockOSThread()
	pid, errno := cloneInto(userFD, userFD+1, path, &argv[0], &envv[0])
	if errno != 0 {
		exit(fmt.Errorf("clone: %w", errno))
	}
	if err := json.NewEncoder(os.NewFile(controlFD, "control")).Encode(joined{PID: int(pid)}); err != nil {
		exit(err)
	}
	os.Exit(0)
}

// cloneInto executes path in a new child of this process's parent, inside the
// given namespaces. Between clone and exec nothing but system calls may happen.
//
//go:norace
//go:nosplit
//go:noinline
func cloneInto(userNS, mountNS uintptr, path *byte, argv, envv **byte) (uintptr, syscall.Errno) {
	const flags = unix.CLONE_PARENT | uintptr(syscall.SIGCHLD)
	first, second := flags, uintptr(0)
	if runtime.GOARCH == "s390x" {
		first, second = second, first
	}
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, first, second, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	code := uintptr(1)
	if _, _, errno = syscall.RawSyscall(unix.SYS_SETNS, userNS, unix.CLONE_NEWUSER, 0); errno != 0 {
		goto fail
	}
	code++
	if _, _, errno = syscall.RawSyscall(unix.SYS_SETNS, mountNS, unix.CLONE_NEWNS, 0); errno != 0 {
		goto fail
	}
	code++
	syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)), //nolint:errcheck // it returns only if it failed
		uintptr(unsafe.Pointer(argv)), uintptr(unsafe.Pointer(envv)))
fail:
	for {
		syscall.RawSyscall( //nolint:errcheck // nobody is left to be told
			unix.SYS_EXIT_GROUP, 100+code, 0, 0)
	}
}
