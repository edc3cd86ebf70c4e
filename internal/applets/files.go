package applets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ls prints names, one a line: not the hidden ones, unless with -a (all) or -A
// (all but . and ..). -1 is for those who don't know that.
func ls(_ context.Context, sys System, c call) error {
	if len(c.args) == 0 {
		c.args = []string{"."}
	}
	for _, name := range c.args {
		names, err := list(sys, name, c)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := say(sys, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// list returns what is in a directory, or just the name of another file.
func list(sys System, name string, c call) ([]string, error) {
	info, err := sys.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	entries, err := sys.ReadDir(name)
	var names []string
	if c.has('a') {
		names = []string{".", ".."}
	}
	for _, e := range entries {
		if hidden := strings.HasPrefix(e.Name(), "."); !hidden || c.has('a') || c.has('A') {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func mkdir(_ context.Context, sys System, c call) error {
	create := sys.Mkdir
	if c.has('p') {
		create = sys.MkdirAll
	}
	for _, name := range c.args {
		if err := create(name, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// rm removes files, and directories with -r; what is absent is none of its
// business with -f.
func rm(_ context.Context, sys System, c call) error {
	if len(c.args) == 0 && !c.has('f') {
		return usageError("")
	}
	tree := c.has('r') || c.has('R')
	for _, name := range c.args {
		info, err := sys.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && c.has('f'):
			continue
		case err == nil && info.IsDir() && !tree:
			err = &fs.PathError{Op: "remove", Path: name, Err: syscall.EISDIR}
		case err == nil && tree:
			err = sys.RemoveAll(name)
		default:
			err = sys.Remove(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// touch makes files. It leaves the times of those that are there alone.
func touch(_ context.Context, sys System, c call) error {
	for _, name := range c.args {
		f, err := sys.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// ln makes a link, with -f in place of a file.
func ln(_ context.Context, sys System, c call) error {
	target, name := c.args[0], c.args[1]
	if c.has('f') {
		if err := sys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if c.has('s') {
		return sys.Symlink(target, name)
	}
	return sys.Link(target, name)
}

func readlink(_ context.Context, sys System, c call) error {
	for _, name := range c.args {
		target, err := sys.Readlink(name)
		if err != nil {
			return err
		}
		if err := say(sys, target); err != nil {
			return err
		}
	}
	return nil
}

func chmod(_ context.Context, sys System, c call) error {
	mode, err := strconv.ParseUint(c.args[0], 8, 32)
	if err != nil {
		return misuse("%q is no octal mode", c.args[0])
	}
	for _, name := range c.args[1:] {
		if err := sys.Chmod(name, fs.FileMode(mode)); err != nil {
			return err
		}
	}
	return nil
}
