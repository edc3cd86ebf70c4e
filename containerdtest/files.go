package containerdtest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

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
	host, _, err := f.task.locate(f.dir, name, false)
	if err == nil {
		err = do(host)
	}
	return named(err, name)
}

// change calls do like follow or entry, where the file system can be written.
func (f files) change(op, name string, follow bool, do func(host string) error) error {
	host, readonly, err := f.task.locate(f.dir, name, follow)
	if err == nil && readonly {
		err = &fs.PathError{Op: op, Err: syscall.EROFS}
	}
	if err == nil {
		err = do(host)
	}
	return named(err, name)
}

// named puts the container's name of a file into an error.
func named(err error, name string) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: failed.Op, Path: name, Err: failed.Err}
	}
	return err
}

// link makes name a link to target.
func (f files) link(op, target, name string, do func(host string) error) error {
	err := f.change(op, name, false, do)
	if failed, ok := errors.AsType[*os.LinkError](err); ok {
		err = failed.Err
	} else if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err
	}
	if err != nil {
		err = &os.LinkError{Op: op, Old: target, New: name, Err: err}
	}
	return err
}

func (f files) OpenFile(name string, flag int, perm fs.FileMode) (file io.ReadWriteCloser, err error) {
	open := func(host string) error {
		opened, err := os.OpenFile(host, flag, perm)
		if err != nil {
			return err
		}
		file, err = duplicate(opened, name) // its errors are to have the container's name
		return errors.Join(err, opened.Close())
	}
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE) != 0 {
		return file, f.change("open", name, true, open)
	}
	return file, f.follow(name, open)
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
	case mode&2 != 0:
		return f.change("access", name, true, func(string) error { return nil })
	case mode&1 != 0 && !info.IsDir() && info.Mode()&0o111 == 0:
		return &fs.PathError{Op: "access", Path: name, Err: syscall.EACCES}
	}
	return nil
}

func (f files) Mkdir(name string, perm fs.FileMode) error {
	return f.change("mkdir", name, false, func(host string) error { return os.Mkdir(host, perm) })
}

func (f files) MkdirAll(name string, perm fs.FileMode) error {
	if info, err := f.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	return f.change("mkdir", name, true, func(host string) error { return os.MkdirAll(host, perm) })
}

func (f files) Remove(name string) error {
	return f.change("remove", name, false, f.removing(os.Remove))
}

func (f files) RemoveAll(name string) error {
	if _, err := f.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.change("remove", name, false, f.removing(removeTree))
}

// removing refuses what something is mounted on.
func (f files) removing(remove func(host string) error) func(host string) error {
	return func(host string) error {
		mount := func(m mounted) bool { return m.source == host }
		if host == f.task.root || slices.ContainsFunc(f.task.mounts, mount) {
			return &fs.PathError{Op: "remove", Err: syscall.EBUSY}
		}
		return remove(host)
	}
}

func (f files) Symlink(target, name string) error {
	return f.link("symlink", target, name, func(host string) error { return os.Symlink(target, host) })
}

func (f files) Link(target, name string) error {
	return f.link("link", target, name, func(host string) error {
		from, _, err := f.task.locate(f.dir, target, false)
		if err != nil {
			return err
		}
		return os.Link(from, host)
	})
}

// Chmod leaves the test's user the access that root has to every file.
func (f files) Chmod(name string, mode fs.FileMode) error {
	return f.change("chmod", name, true, func(host string) error {
		info, err := os.Stat(host)
		if err != nil {
			return &fs.PathError{Op: "chmod", Err: errors.Unwrap(err)}
		}
		return os.Chmod(host, mode|access(info.IsDir()))
	})
}

// access is what everybody may do with a file or a directory.
func access(dir bool) fs.FileMode {
	if dir {
		return 0o700
	}
	return 0o600
}
