package applets

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// sh runs a line (sh -c LINE [NAME [ARG...]]), a script (sh FILE [ARG...]), or
// what it reads from stdin. Its other flags are those of set; -l reads no profile.
func sh(ctx context.Context, sys System, c call) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // ends what is left of background jobs
	s, err := newShell(sys, cancel)
	if err != nil {
		return err
	}
	defer s.input.close()
	source, params := "", c.args
	switch {
	case c.has('c') && len(params) == 0:
		return misuse("flag -c needs a line")
	case c.has('c'):
		source, params = params[0], params[min(2, len(params)):]
	case len(params) > 0:
		if source, err = readAll(sys, params[0]); err != nil {
			return err
		}
		params = params[1:]
	}
	if err := interp.Params(slices.Concat(options(c), []string{"--"}, params)...)(s.runner); err != nil {
		return misuse("%v", err)
	}
	if !c.has('c') && len(c.args) == 0 {
		return s.interactive(ctx)
	}
	file, err := syntax.NewParser().Parse(strings.NewReader(source), "sh")
	if err != nil {
		return err
	}
	return s.run(ctx, file)
}

// options returns the flags of a shell that set has too.
func options(c call) []string {
	var opts []string
	for _, flag := range []byte("efnux") {
		if c.has(flag) {
			opts = append(opts, "-"+string(flag))
		}
	}
	for _, name := range c.flags['o'] {
		opts = append(opts, "-o", name)
	}
	return opts
}

func readAll(sys System, name string) (_ string, err error) {
	f, err := sys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(f)
	return string(text), errors.Join(err, f.Close())
}

// shell is an interpreter whose every contact with the outside goes through sys.
type shell struct {
	sys    System
	runner *interp.Runner
	input  *input // nil unless stdin has to be a pipe
}

// newShell makes a shell. It calls end when the reader of its output is gone,
// which the interpreter itself overlooks.
func newShell(sys System, end context.CancelCauseFunc) (*shell, error) {
	dir, err := sys.Getwd()
	if err != nil {
		return nil, err
	}
	s := &shell{sys: sys}
	stdin := sys.Stdin()
	if _, isFile := stdin.(*os.File); stdin != nil && !isFile {
		if s.input, err = newInput(stdin); err != nil {
			return nil, err
		}
		stdin = s.input.r
	}
	s.runner, err = interp.New(
		// Not interp.Dir, which wants a directory of the host.
		func(r *interp.Runner) error { r.Dir = dir; return nil },
		interp.StdIO(stdin, &output{sys.Stdout(), end}, &output{sys.Stderr(), end}),
		interp.Env(environOf(sys)),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(s.open),
		interp.ReadDirHandler2(s.readDir),
		interp.StatHandler(s.stat),
		interp.AccessHandler(s.access),
	)
	if err != nil {
		s.input.close()
		return nil, err
	}
	return s, nil
}

// run runs a file or a statement.
func (s *shell) run(ctx context.Context, node syntax.Node) error {
	syntax.Walk(node, func(n syntax.Node) bool {
		if p, ok := n.(*syntax.ParamExp); ok && p.Param != nil && p.Param.Value == "$" {
			p.Param.Value = pidName
		}
		return true
	})
	err := s.runner.Run(ctx, node)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if code, ok := errors.AsType[interp.ExitStatus](err); ok {
		return exitCode(code)
	}
	return err
}

// interactive reads and runs line by line, with a prompt on a terminal.
func (s *shell) interactive(ctx context.Context) error {
	prompt := func() {
		if s.sys.IsTerminal() {
			io.WriteString(s.sys.Stdout(), "$ ") //nolint:errcheck // the next command will tell
		}
	}
	prompt()
	var last error
	for stmts, err := range syntax.NewParser().InteractiveSeq(readerFunc(s.read)) {
		if err != nil {
			return err
		}
		for _, stmt := range stmts {
			last = s.run(ctx, stmt)
			if ctx.Err() != nil || s.runner.Exited() {
				return last
			}
		}
		prompt()
	}
	return last
}

// pidName is the variable that stands for $$, which interp would expand to the
// ID of the host's process. It can't be a variable of a script.
const pidName = "$$"

// environ is a process's environment, and the variables that interp would
// otherwise ask the host for.
type environ struct {
	expand.Environ
	own map[string]expand.Variable
}

func environOf(sys System) environ {
	number := func(n int) expand.Variable {
		return expand.Variable{Set: true, ReadOnly: true, Kind: expand.String, Str: strconv.Itoa(n)}
	}
	e := environ{Environ: expand.ListEnviron(sys.Environ()...), own: map[string]expand.Variable{
		pidName: number(sys.Getpid()),
		"UID":   number(sys.Getuid()),
		"EUID":  number(sys.Getuid()),
		"GID":   number(sys.Getgid()),
		"HOME":  {Set: true, Kind: expand.String},
	}}
	for name := range e.own {
		if e.Environ.Get(name).IsSet() {
			delete(e.own, name)
		}
	}
	return e
}

func (e environ) Get(name string) expand.Variable {
	if v, ok := e.own[name]; ok {
		return v
	}
	return e.Environ.Get(name)
}

func (e environ) Each(f func(string, expand.Variable) bool) {
	for name, v := range e.own {
		if !f(name, v) {
			return
		}
	}
	e.Environ.Each(f)
}
