package applets_test

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
)

func (p *process) Stat(name string) (fs.FileInfo, error)     { return at(p, name, p.root.Stat) }
func (p *process) Lstat(name string) (fs.FileInfo, error)    { return at(p, name, p.root.Lstat) }
func (p *process) Readlink(name string) (string, error)      { return at(p, name, p.root.Readlink) }
func (p *process) Remove(name string) error                  { return do(p, name, p.root.Remove) }
func (p *process) RemoveAll(name string) error               { return do(p, name, p.root.RemoveAll) }
func (p *process) Link(target, name string) error            { return p.root.Link(p.below(target), p.below(name)) }
func (p *process) Symlink(target, name string) error         { return p.root.Symlink(target, p.below(name)) }
func (p *process) Mkdir(name string, perm fs.FileMode) error { return p.mode(name, perm, p.root.Mkdir) }
func (p *process) MkdirAll(name string, perm fs.FileMode) error {
	return p.mode(name, perm, p.root.MkdirAll)
}
func (p *process) Chmod(name string, perm fs.FileMode) error { return p.mode(name, perm, p.root.Chmod) }
func (p *process) mode(name string, perm fs.FileMode, change func(string, fs.FileMode) error) error {
	return do(p, name, func(name string) error { return change(name, perm) })
}

// below returns the name below the machine's directory.
func (p *process) below(name string) string {
	if !path.IsAbs(name) {
		name = path.Join(p.cmd.Dir, name)
	}
	return cmp.Or(strings.TrimPrefix(path.Clean(name), "/"), ".")
}

// at calls a method of [os.Root], whose errors it makes those of package os.
func at[T any](p *process, name string, get func(string) (T, error)) (T, error) {
	v, err := get(p.below(name))
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = &fs.PathError{Op: strings.TrimSuffix(failed.Op, "at"), Path: name, Err: failed.Err}
	}
	return v, err
}

func do(p *process, name string, change func(string) error) error {
	_, err := at(p, name, func(name string) (struct{}, error) { return struct{}{}, change(name) })
	return err
}

func (p *process) ReadDir(name string) ([]fs.DirEntry, error) {
	return at(p, name, func(name string) ([]fs.DirEntry, error) { return fs.ReadDir(p.root.FS(), name) })
}

func (p *process) OpenFile(name string, flag int, perm fs.FileMode) (io.ReadWriteCloser, error) {
	return at(p, name, func(name string) (io.ReadWriteCloser, error) {
		f, err := p.root.OpenFile(name, flag, perm)
		return struct{ io.ReadWriteCloser }{f}, err // no *os.File, as in other machines
	})
}

func (p *process) Access(name string, mode uint32) error {
	info, err := p.Stat(name)
	if err == nil && uint32(info.Mode().Perm()>>6)&mode != mode {
		err = fs.ErrPermission
	}
	return err
}

// buffer is a bytes.Buffer for several processes.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Read(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
