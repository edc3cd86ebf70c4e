package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
)

// asProgram before a name keeps interp from taking it for a builtin.
const asProgram = "\x00"

// call sees every command before it runs.
func (s *shell) call(ctx context.Context, args []string) ([]string, error) {
	switch {
	case args[0] == "kill": // interp counts it among the builtins, and has none
		return append([]string{asProgram + "kill"}, args[1:]...), nil
	case args[0] == "type", args[0] == "command" && len(args) > 1 && args[1] == "-v":
		return s.find(ctx, args)
	case args[0] == "echo":
		return oneByOne(args), nil
	}
	for _, name := range []string{"read", "mapfile", "readarray"} {
		if slices.Contains(args, name) { // may be behind "command" or "builtin"
			s.input.pump(interp.HandlerCtx(ctx).Stdin)
		}
	}
	return args, nil
}

// oneByOne splits the flags of echo, which interp knows only by themselves.
func oneByOne(args []string) []string {
	split, rest := args[:1:1], args[1:]
	for len(rest) > 0 && isEchoFlag(rest[0]) {
		for _, flag := range rest[0][1:] {
			split = append(split, "-"+string(flag))
		}
		rest = rest[1:]
	}
	return append(split, rest...)
}

// exec runs a program and waits for it.
func (s *shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	args = slices.Clone(args)
	args[0] = strings.TrimPrefix(args[0], asProgram)
	cmd := &Command{
		Args: args, Env: exported(hc.Env), Dir: hc.Dir,
		Stdin: s.input.forChild(hc.Stdin), Stdout: unwrapped(hc.Stdout), Stderr: unwrapped(hc.Stderr),
	}
	wait, err := start(s.sys, cmd, hc.Env.Get("PATH").String())
	if err != nil {
		fmt.Fprintln(hc.Stderr, err) //nolint:errcheck // nobody is left to be told
		return interp.ExitStatus(startCode(err))
	}
	code, err := wait(ctx)
	if err != nil {
		return err
	}
	if status := interp.ExitStatus(code); status != 0 { // interp panics on an error that is status 0
		return status
	}
	return nil
}

// exported returns the environment of a child. A variable may come up several
// times: the last value counts, and once exported it stays so.
func exported(vars expand.Environ) []string {
	values, exports := make(map[string]string), make(map[string]bool)
	var names []string
	for name, v := range vars.Each {
		if _, known := exports[name]; !known {
			names = append(names, name)
		}
		exports[name] = v.IsSet() && v.Kind == expand.String && (v.Exported || exports[name])
		values[name] = v.String()
	}
	env := []string{} // not nil, which would mean the shell's own
	for _, name := range names {
		if exports[name] {
			env = append(env, name+"="+values[name])
		}
	}
	return env
}

// open opens the file of a redirection. interp takes no error but a *PathError
// for one of the script's, and wants an *os.File to read from.
func (s *shell) open(ctx context.Context, name string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	if name != "" {
		name = absolute(interp.HandlerCtx(ctx).Dir, name)
	}
	f, err := s.sys.OpenFile(name, flag, perm)
	if err != nil {
		if failed, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, failed
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if _, isFile := f.(*os.File); isFile || flag != os.O_RDONLY {
		return f, nil
	}
	return readPipe(f)
}

func (s *shell) readDir(ctx context.Context, name string) ([]fs.DirEntry, error) {
	return s.sys.ReadDir(absolute(interp.HandlerCtx(ctx).Dir, name))
}

func (s *shell) stat(_ context.Context, name string, follow bool) (fs.FileInfo, error) {
	if follow {
		return s.sys.Stat(name)
	}
	return s.sys.Lstat(name)
}

func (s *shell) access(_ context.Context, name string, mode interp.AccessMode) error {
	return s.sys.Access(name, uint32(mode))
}
