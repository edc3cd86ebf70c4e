package containerdtest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	continuity "github.com/containerd/continuity/fs"

	"github.com/ctrdkit/containerd/internal/applets"
)

// hostDevices are the devices that a container has, whatever its image has.
var hostDevices = []string{"/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"}

// bind is a directory or file of the host in a container.
type bind struct{ source, target string }

// hostPath returns where a path of the container is on the host.
func (t *task) hostPath(dir, name string) (string, error) {
	if !path.IsAbs(name) {
		name = path.Join(dir, name)
	}
	name = path.Clean(name)
	if slices.Contains(hostDevices, name) {
		return name, nil
	}
	for _, b := range slices.Backward(t.binds) {
		if rest, ok := strings.CutPrefix(name, b.target); ok && (rest == "" || rest[0] == '/') {
			return continuity.RootPath(b.source, rest)
		}
	}
	host, err := continuity.RootPath(t.root, name)
	if err == nil && path.Dir(name) == "/bin" && slices.Contains(builtins, path.Base(name)) {
		host = t.builtinPath(host)
	}
	return host, err
}

// builtins are the commands that an image has without a file of their names.
var builtins = applets.Names()

// builtinPath returns host, the path of a command in /bin, or if it does not
// exist the file that stands for all commands, if the image has it.
func (t *task) builtinPath(host string) string {
	if _, err := os.Lstat(host); !errors.Is(err, fs.ErrNotExist) {
		return host
	}
	stand := filepath.Join(filepath.Dir(host), builtinName)
	if _, err := os.Lstat(stand); err != nil {
		return host
	}
	return stand
}

// entryPath is hostPath for the entry itself, not for what it links to.
func (t *task) entryPath(dir, name string) (string, error) {
	if !path.IsAbs(name) {
		name = path.Join(dir, name)
	}
	name = path.Clean(name)
	if name == "/" || slices.Contains(hostDevices, name) {
		return t.hostPath("/", name)
	}
	parent, err := t.hostPath("/", path.Dir(name))
	return path.Join(parent, path.Base(name)), err
}

// files gives built-in commands the files of a container.
type files struct {
	task *task
	dir  string
}

// follow calls do with the host's path of a file; entry does so for a link itself.
func (f files) follow(name string, do func(host string) error) error {
	host, err := f.task.hostPath(f.dir, name)
	if err == nil {
		err = do(host)
	}
	return named(err, name)
}

func (f files) entry(name string, do func(host string) error) error {
	host, err := f.task.entryPath(f.dir, name)
	if err == nil {
		err = do(host)
	}
	return named(err, name)
}

// change is entry for what a read-only root file system refuses.
func (f files) change(op, name string, do func(host string) error) error {
	if f.task.readonly {
		return &fs.PathError{Op: op, Path: name, Err: syscall.EROFS}
	}
	return f.entry(name, do)
}

// named puts the container's name of a file into an error.
func named(err error, name string) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: failed.Op, Path: name, Err: failed.Err}
	}
	if failed, ok := errors.AsType[*os.LinkError](err); ok {
		return &fs.PathError{Op: failed.Op, Path: name, Err: failed.Err}
	}
	return err
}

func (f files) OpenFile(name string, flag int, perm fs.FileMode) (file io.ReadWriteCloser, err error) {
	if f.task.readonly && flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE) != 0 && !slices.Contains(hostDevices, name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	err = f.follow(name, func(host string) error {
		opened, err := os.OpenFile(host, flag, perm)
		if err == nil {
			file = opened
		}
		return err
	})
	return file, err
}

func (f files) Stat(name string) (info fs.FileInfo, err error) {
	err = f.follow(name, func(host string) error { info, err = os.Stat(host); return err })
	return info, err
}

func (f files) Lstat(name string) (info fs.FileInfo, err error) {
	err = f.entry(name, func(host string) error { info, err = os.Lstat(host); return err })
	return info, err
}

func (f files) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = f.follow(name, func(host string) error { list, err = os.ReadDir(host); return err })
	return list, err
}

func (f files) Readlink(name string) (target string, err error) {
	err = f.entry(name, func(host string) error { target, err = os.Readlink(host); return err })
	return target, err
}

// Access lets everybody read, and write where the file system can be written.
func (f files) Access(name string, mode uint32) error {
	info, err := f.Stat(name)
	switch {
	case err != nil:
		return err
	case mode&2 != 0 && f.task.readonly:
		return &fs.PathError{Op: "access", Path: name, Err: syscall.EROFS}
	case mode&1 != 0 && !info.IsDir() && info.Mode()&0o111 == 0:
		return &fs.PathError{Op: "access", Path: name, Err: syscall.EACCES}
	}
	return nil
}

func (f files) Mkdir(name string, perm fs.FileMode) error {
	return f.change("mkdir", name, func(host string) error { return os.Mkdir(host, perm) })
}

func (f files) MkdirAll(name string, perm fs.FileMode) error {
	if f.task.readonly {
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.EROFS}
	}
	return f.follow(name, func(host string) error { return os.MkdirAll(host, perm) })
}

func (f files) Remove(name string) error { return f.change("remove", name, os.Remove) }

func (f files) RemoveAll(name string) error { return f.change("remove", name, os.RemoveAll) }

func (f files) Symlink(target, name string) error {
	return f.change("symlink", name, func(host string) error { return os.Symlink(target, host) })
}

func (f files) Link(target, name string) error {
	return f.change("link", name, func(host string) error {
		from, err := f.task.entryPath(f.dir, target)
		if err != nil {
			return err
		}
		return os.Link(from, host)
	})
}

func (f files) Chmod(name string, mode fs.FileMode) error {
	if f.task.readonly {
		return &fs.PathError{Op: "chmod", Path: name, Err: syscall.EROFS}
	}
	return f.follow(name, func(host string) error { return os.Chmod(host, mode) })
}
