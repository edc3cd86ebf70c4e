package applets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path"
	"slices"
	"strings"
	"syscall"
)

// start starts the program that cmd's first argument names, where dirs is the
// PATH, or the script.
func start(sys System, cmd *Command, dirs string) (wait func(context.Context) (int, error), err error) {
	if cmd.Path, err = lookPath(sys, cmd, dirs); err != nil {
		return nil, err
	}
	wait, err = sys.Start(cmd)
	if errors.Is(err, syscall.ENOEXEC) {
		script := *cmd
		script.Path, script.Args = "", slices.Concat([]string{"sh", cmd.Path}, cmd.Args[1:])
		return sys.Start(&script)
	}
	return wait, err
}

// startCode is the exit code for a program that could not be started.
func startCode(err error) int {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		return 127
	}
	return 126
}

// lookPath returns the path of the program that cmd's first argument means.
// Files go first: of programs without one only the name is known.
func lookPath(sys System, cmd *Command, dirs string) (string, error) {
	name := cmd.Args[0]
	plays := func(program string) bool {
		wanted := *cmd
		wanted.Path = program
		return sys.Plays(&wanted)
	}
	if strings.Contains(name, "/") {
		program := absolute(cmd.Dir, name)
		if err := executable(sys, program); err != nil && !plays(program) {
			return "", err
		}
		return program, nil
	}
	elems := strings.Split(dirs, ":")
	for _, elem := range elems {
		program := path.Join(absolute(cmd.Dir, elem), name)
		if executable(sys, program) == nil {
			return program, nil
		}
	}
	if program := path.Join(absolute(cmd.Dir, elems[0]), name); dirs != "" && plays(program) {
		return program, nil
	}
	return "", fmt.Errorf("%q: %w", name, exec.ErrNotFound)
}

func executable(sys System, name string) error {
	info, err := sys.Stat(name)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return &fs.PathError{Op: "exec", Path: name, Err: syscall.EISDIR}
	case info.Mode()&0o111 == 0:
		return &fs.PathError{Op: "exec", Path: name, Err: syscall.EACCES}
	}
	return nil
}

// absolute returns name as seen from dir.
func absolute(dir, name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join(dir, name)
}
