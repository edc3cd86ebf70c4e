package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"
)

// sleep waits for SECONDS, which may be a fraction.
func sleep(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: sleep SECONDS")
	}
	seconds, err := strconv.ParseFloat(args[0], 64)
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	return nil
}

// pause waits until SIGTERM or SIGINT.
func pause([]string) error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
	return nil
}

// sigtrap waits for a signal, prints its name, and exits with CODE, or goes on
// if CODE is "ignore": sigtrap NAME CODE.
func sigtrap(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: sigtrap NAME CODE|ignore")
	}
	num := unix.SignalNum("SIG" + strings.TrimPrefix(args[0], "SIG"))
	if num == 0 {
		return fmt.Errorf("signal %q is unknown", args[0])
	}
	got := make(chan os.Signal, 1)
	signal.Notify(got, num)
	fmt.Println("ready")
	for range got {
		fmt.Println(unix.SignalName(num))
		if args[1] != "ignore" {
			code, err := strconv.Atoi(args[1])
			return errors.Join(err, exitCode(code))
		}
	}
	return nil
}

// hold leaves a child behind that keeps stdout open for SECONDS.
func hold(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: hold SECONDS")
	}
	child := exec.Command("/proc/self/exe", args[0])
	child.Args[0] = "sleep"
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	return child.Start()
}

func kill(args []string) error {
	num := syscall.SIGTERM
	if len(args) > 0 && strings.HasPrefix(args[0], "-") {
		name := strings.TrimPrefix(args[0], "-")
		num = unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG"))
		if n, err := strconv.Atoi(name); err == nil {
			num = syscall.Signal(n)
		}
		args = args[1:]
	}
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, num); err != nil {
			return err
		}
	}
	return nil
}

// env prints the environment, or one variable's value.
func env(args []string) error {
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case len(args) == 0:
			fmt.Println(entry)
		case name == args[0]:
			fmt.Println(value)
			return nil
		}
	}
	if len(args) > 0 {
		return exitCode(1)
	}
	return nil
}

// id prints the user's ID (-u), the group's (-g), all groups' (-G), or all of these.
func id(args []string) error {
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	all := strings.Trim(fmt.Sprint(groups), "[]")
	switch strings.Join(args, " ") {
	case "-u":
		fmt.Println(os.Getuid())
	case "-g":
		fmt.Println(os.Getgid())
	case "-G":
		fmt.Println(all)
	default:
		fmt.Printf("uid=%d gid=%d groups=%s\n", os.Getuid(), os.Getgid(), all)
	}
	return nil
}

func pwd([]string) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	fmt.Println(dir)
	return nil
}

func hostname([]string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Println(name)
	return nil
}

// tty says whether stdin is a terminal.
func tty([]string) error {
	if isTerminal() {
		fmt.Println("terminal")
		return nil
	}
	fmt.Println("not a tty")
	return exitCode(1)
}

// isTerminal says whether stdin is a terminal.
func isTerminal() bool {
	_, err := console.ConsoleFromFile(os.Stdin)
	return err == nil
}
