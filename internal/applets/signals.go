package applets

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/signal"
)

// sigtrap waits for a signal, prints its name, and exits with CODE, or goes on
// if CODE is "ignore".
func sigtrap(ctx context.Context, sys System, c call) error {
	sig, name, err := signalNamed(c.args[0])
	if err != nil {
		return err
	}
	code, err := strconv.Atoi(c.args[1])
	if err != nil && c.args[1] != "ignore" {
		return usageError("")
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
		if c.args[1] != "ignore" {
			return exitCode(code)
		}
	}
}

// signalNamed finds a signal by its name, with or without SIG, or its number.
func signalNamed(name string) (_ syscall.Signal, full string, _ error) {
	if n, err := strconv.ParseUint(name, 10, 7); err == nil {
		return syscall.Signal(n), "SIG" + name, nil
	}
	short := strings.TrimPrefix(strings.ToUpper(name), "SIG")
	sig, ok := signal.SignalMap[short]
	if !ok {
		return 0, "", fmt.Errorf("signal %q is unknown", name)
	}
	return sig, "SIG" + short, nil
}

// kill sends a signal, SIGTERM unless there is another, to processes.
func kill(_ context.Context, sys System, c call) error {
	name, pids := "TERM", c.args
	switch {
	case len(pids) > 1 && pids[0] == "-s":
		name, pids = pids[1], pids[2:]
	case len(pids) > 0 && strings.HasPrefix(pids[0], "-") && len(pids[0]) > 1 && pids[0] != "-s" && pids[0] != "--":
		name, pids = pids[0][1:], pids[1:]
	}
	if len(pids) > 0 && pids[0] == "--" {
		pids = pids[1:]
	}
	if len(pids) == 0 {
		return usageError("")
	}
	sig, _, err := signalNamed(name)
	if err != nil {
		return err
	}
	for _, arg := range pids {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			return misuse("%q is no process", arg)
		}
		if err := sys.Kill(pid, sig); err != nil {
			return err
		}
	}
	return nil
}
