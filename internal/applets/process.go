package applets

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/signal"
)

// sleep waits for SECONDS, which may be a fraction.
func sleep(ctx context.Context, sys System, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: sleep SECONDS")
	}
	seconds, err := strconv.ParseFloat(args[0], 64)
	if err != nil {
		return err
	}
	return sys.Sleep(ctx, time.Duration(seconds*float64(time.Second)))
}

// pause waits until SIGTERM or SIGINT.
func pause(ctx context.Context, sys System, _ []string) error {
	sys.Trap(syscall.SIGTERM, syscall.SIGINT)
	_, err := sys.NextSignal(ctx)
	return err
}

// sigtrap waits for a signal, prints its name, and exits with CODE, or goes on
// if CODE is "ignore": sigtrap NAME CODE.
func sigtrap(ctx context.Context, sys System, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: sigtrap NAME CODE|ignore")
	}
	sig, name, err := signalNamed(args[0])
	if err != nil {
		return err
	}
	sys.Trap(sig)
	if err := say(sys, "ready"); err != nil {
		return err
	}
	for {
		if _, err := sys.NextSignal(ctx); err != nil {
			return err
		}
		if err := say(sys, name); err != nil {
			return err
		}
		if args[1] != "ignore" {
			code, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			return exitCode(code)
		}
	}
}

// signalNamed finds a signal by its name, with or without SIG.
func signalNamed(name string) (_ syscall.Signal, full string, _ error) {
	short := strings.TrimPrefix(name, "SIG")
	sig, ok := signal.SignalMap[short]
	if !ok {
		return 0, "", fmt.Errorf("signal %q is unknown", name)
	}
	return sig, "SIG" + short, nil
}

// hold leaves a child behind that keeps stdout open for SECONDS.
func hold(_ context.Context, sys System, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: hold SECONDS")
	}
	_, err := sys.Start(&Command{Args: []string{"sleep", args[0]}, Stdout: sys.Stdout(), Stderr: sys.Stderr()})
	return err
}

// kill sends a signal, by name or number, to processes: kill [-SIGNAL] PID...
func kill(_ context.Context, sys System, args []string) error {
	sig := syscall.SIGTERM
	if len(args) > 0 && strings.HasPrefix(args[0], "-") {
		name := strings.TrimPrefix(args[0], "-")
		var err error
		if n, notNumber := strconv.Atoi(name); notNumber == nil {
			sig = syscall.Signal(n)
		} else if sig, _, err = signalNamed(name); err != nil {
			return err
		}
		args = args[1:]
	}
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		if err := sys.Kill(pid, sig); err != nil {
			return err
		}
	}
	return nil
}

// env prints the environment, or one variable's value.
func env(_ context.Context, sys System, args []string) error {
	for _, entry := range sys.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case len(args) == 0:
			if err := say(sys, entry); err != nil {
				return err
			}
		case name == args[0]:
			return say(sys, value)
		}
	}
	if len(args) > 0 {
		return exitCode(1)
	}
	return nil
}

// id prints the user's ID (-u), the group's (-g), all groups' (-G), or all of these.
func id(_ context.Context, sys System, args []string) error {
	groups, err := sys.Getgroups()
	if err != nil {
		return err
	}
	all := strings.Trim(fmt.Sprint(groups), "[]")
	switch strings.Join(args, " ") {
	case "-u":
		return say(sys, sys.Getuid())
	case "-g":
		return say(sys, sys.Getgid())
	case "-G":
		return say(sys, all)
	}
	return say(sys, fmt.Sprintf("uid=%d gid=%d groups=%s", sys.Getuid(), sys.Getgid(), all))
}

func pwd(_ context.Context, sys System, _ []string) error {
	dir, err := sys.Getwd()
	if err != nil {
		return err
	}
	return say(sys, dir)
}

func hostname(_ context.Context, sys System, _ []string) error {
	name, err := sys.Hostname()
	if err != nil {
		return err
	}
	return say(sys, name)
}

// tty says whether stdin is a terminal.
func tty(_ context.Context, sys System, _ []string) error {
	if sys.IsTerminal() {
		return say(sys, "terminal")
	}
	return errors.Join(say(sys, "not a tty"), exitCode(1))
}
