package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
)

func ls(args []string) error {
	if len(args) == 0 {
		args = []string{"."}
	}
	for _, name := range args {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			fmt.Println(name)
			continue
		}
		entries, err := os.ReadDir(name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			fmt.Println(e.Name())
		}
	}
	return nil
}

// without returns args without the flag, and whether it was there.
func without(args []string, flag string) ([]string, bool) {
	i := slices.Index(args, flag)
	if i < 0 {
		return args, false
	}
	return slices.Delete(slices.Clone(args), i, i+1), true
}

func mkdir(args []string) error {
	args, parents := without(args, "-p")
	create := os.Mkdir
	if parents {
		create = os.MkdirAll
	}
	for _, name := range args {
		if err := create(name, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func rm(args []string) error {
	args, tree := without(args, "-rf")
	remove := os.Remove
	if tree {
		remove = os.RemoveAll
	}
	for _, name := range args {
		if err := remove(name); err != nil {
			return err
		}
	}
	return nil
}

func touch(args []string) error {
	for _, name := range args {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

func ln(args []string) error {
	args, symbolic := without(args, "-s")
	if len(args) != 2 {
		return errors.New("usage: ln [-s] TARGET NAME")
	}
	if symbolic {
		return os.Symlink(args[0], args[1])
	}
	return os.Link(args[0], args[1])
}

func readlink(args []string) error {
	for _, name := range args {
		target, err := os.Readlink(name)
		if err != nil {
			return err
		}
		fmt.Println(target)
	}
	return nil
}

func chmod(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: chmod MODE FILE [FILE]..., modes are octal")
	}
	mode, err := strconv.ParseUint(args[0], 8, 32)
	if err != nil {
		return err
	}
	for _, name := range args[1:] {
		if err := os.Chmod(name, fs.FileMode(mode)); err != nil {
			return err
		}
	}
	return nil
}
