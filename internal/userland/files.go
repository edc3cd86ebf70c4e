package main

import (
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// files is the operating system's files.
type files struct{}

func (files) OpenFile(name string, flag int, perm fs.FileMode) (io.ReadWriteCloser, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (files) Access(name string, mode uint32) error {
	if err := unix.Access(name, mode); err != nil {
		return &fs.PathError{Op: "access", Path: name, Err: err}
	}
	return nil
}

func (files) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }
func (files) Lstat(name string) (fs.FileInfo, error)       { return os.Lstat(name) }
func (files) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (files) Readlink(name string) (string, error)         { return os.Readlink(name) }
func (files) Mkdir(name string, perm fs.FileMode) error    { return os.Mkdir(name, perm) }
func (files) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (files) Remove(name string) error                     { return os.Remove(name) }
func (files) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (files) Symlink(target, name string) error            { return os.Symlink(target, name) }
func (files) Link(target, name string) error               { return os.Link(target, name) }
func (files) Chmod(name string, mode fs.FileMode) error    { return os.Chmod(name, mode) }
