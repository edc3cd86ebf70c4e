package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// sh runs a line (sh -c LINE [NAME [ARG...]]), a script (sh FILE [ARG...]), or
// what it reads from stdin.
func sh(args []string) error {
	runner, err := interp.New(
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Env(expand.ListEnviron(os.Environ()...)),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc {
			return interp.DefaultExecHandler(time.Second)
		}),
	)
	if err != nil {
		return err
	}
	source, params := "", []string(nil)
	switch {
	case len(args) >= 2 && args[0] == "-c":
		source = args[1]
		if len(args) > 3 {
			params = args[3:]
		}
	case len(args) >= 1:
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		source, params = string(text), args[1:]
	default:
		return interactive(runner)
	}
	if err := interp.Params(append([]string{"--"}, params...)...)(runner); err != nil {
		return err
	}
	file, err := syntax.NewParser().Parse(strings.NewReader(source), "sh")
	if err != nil {
		return err
	}
	return status(runner.Run(context.Background(), file))
}

// interactive reads and runs line by line, with a prompt on a terminal.
func interactive(runner *interp.Runner) error {
	prompt := func() {
		if isTerminal() {
			fmt.Print("$ ")
		}
	}
	prompt()
	var last error
	for stmts, err := range syntax.NewParser().InteractiveSeq(os.Stdin) {
		if err != nil {
			return err
		}
		for _, stmt := range stmts {
			last = runner.Run(context.Background(), stmt)
			if runner.Exited() {
				return status(last)
			}
		}
		prompt()
	}
	return status(last)
}

func status(err error) error {
	if code, ok := errors.AsType[interp.ExitStatus](err); ok {
		return exitCode(code)
	}
	return err
}
