package applets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
)

func ls(_ context.Context, sys System, args []string) error {
	if len(args) == 0 {
		args = []string{"."}
	}
	for _, name := range args {
		names, err := list(sys, name)
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
func list(sys System, name string) ([]string, error) {
	info, err := sys.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	entries, err := sys.ReadDir(name)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// without returns args without the flag, and whether it was there.
func without(args []string, flag string) ([]string, bool) {
	i := slices.Index(args, flag)
	if i < 0 {
		return args, false
	}
	return slices.Delete(slices.Clone(args), i, i+1), true
}

func mkdir(_ context.Context, sys System, args []string) error {
	args, parents := without(args, "-p")
	create := sys.Mkdir
	if parents {
		create = sys.MkdirAll
	}
	for _, name := range args {
		if err := create(name, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func rm(_ context.Context, sys System, args []string) error {
	args, tree := without(args, "-rf")
	remove := sys.Remove
	if tree {
		remove = sys.RemoveAll
	}
	for _, name := range args {
		if err := remove(name); err != nil {
			return err
		}
	}
	return nil
}

func touch(_ context.Context, sys System, args []string) error {
	for _, name := range args {
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

func ln(_ context.Context, sys System, args []string) error {
	args, symbolic := without(args, "-s")
	if len(args) != 2 {
		return errors.New("usage: ln [-s] TARGET NAME")
	}
	if symbolic {
		return sys.Symlink(args[0], args[1])
	}
	return sys.Link(args[0], args[1])
}

func readlink(_ context.Context, sys System, args []string) error {
	for _, name := range args {
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

func chmod(_ context.Context, sys System, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: chmod MODE FILE [FILE]..., modes are octal")
	}
	mode, err := strconv.ParseUint(args[0], 8, 32)
	if err != nil {
		return err
	}
	for _, name := range args[1:] {
		if err := sys.Chmod(name, fs.FileMode(mode)); err != nil {
			return err
		}
	}
	return nil
}
