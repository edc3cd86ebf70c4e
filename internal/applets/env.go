package applets

import (
	"context"
	"slices"
	"strings"
)

// defaultPath is where programs are looked for without a PATH.
const defaultPath = "/bin:/usr/bin"

// env runs a command in a changed environment, or prints that. It waits for the
// command, and does not become it: a signal to env is not one to the command.
func env(ctx context.Context, sys System, c call) error {
	environ := slices.Clone(sys.Environ())
	if c.has('i') {
		environ = nil
	}
	for _, name := range c.flags['u'] {
		environ = unset(environ, name)
	}
	args := c.args
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, _, _ := strings.Cut(args[0], "=")
		environ = append(unset(environ, name), args[0])
		args = args[1:]
	}
	if len(args) == 0 {
		for _, entry := range environ {
			if err := say(sys, entry); err != nil {
				return err
			}
		}
		return nil
	}
	dir, err := sys.Getwd()
	if err != nil {
		return err
	}
	cmd := &Command{
		Args: args, Env: append([]string{}, environ...), // not nil, which would mean env's own
		Dir: dir, Stdin: sys.Stdin(), Stdout: sys.Stdout(), Stderr: sys.Stderr(),
	}
	dirs, ok := lookupEnv(environ, "PATH")
	if !ok {
		dirs = defaultPath
	}
	wait, err := start(sys, cmd, dirs)
	if err != nil {
		complain(sys, "env: %v\n", err)
		return exitCode(startCode(err))
	}
	code, err := wait(ctx)
	if err != nil {
		return err
	}
	return exitCode(code)
}

func unset(environ []string, name string) []string {
	return slices.DeleteFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
}

// lookupEnv returns the value of a variable; the last one counts.
func lookupEnv(environ []string, name string) (string, bool) {
	for _, entry := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// printenv prints the values of variables, or the environment.
func printenv(ctx context.Context, sys System, c call) error {
	if len(c.args) == 0 {
		return env(ctx, sys, c)
	}
	var missing error
	for _, name := range c.args {
		value, ok := lookupEnv(sys.Environ(), name)
		if !ok {
			missing = exitCode(1)
		} else if err := say(sys, value); err != nil {
			return err
		}
	}
	return missing
}
