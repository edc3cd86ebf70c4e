package containerdtest

import (
	"path"
	"slices"
)

// Match says whether a handler plays a process.
type Match func(p *Proc) bool

// Command matches processes by the base name of their program, as in
// Command("nginx") for /usr/sbin/nginx -g "daemon off;".
func Command(name string) Match {
	return func(p *Proc) bool { return path.Base(p.Args[0]) == name }
}

// CommandLine matches processes whose arguments are exactly args.
func CommandLine(args ...string) Match {
	return func(p *Proc) bool {
		if p.lookup {
			return len(args) > 0 && p.Args[0] == args[0]
		}
		return slices.Equal(p.Args, args)
	}
}

// InContainer matches the processes of one container.
func InContainer(id string) Match {
	return func(p *Proc) bool { return p.ContainerID == id }
}

type handling struct {
	match  Match
	handle Handler
}

// Handle makes handle play every process that match says yes to, from now on:
// the first process of a task as well as execs and children of a shell. The
// program needs no file in the image. The latest matching handler counts, and
// before all built-in commands. match sees what Proc's fields say, and must not
// use its streams. When a shell looks for a program in its PATH, match is also
// asked about a process whose only argument is the name.
func (f *Fake) Handle(match Match, handle Handler) {
	m := f.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handlers = append(m.handlers, handling{match, handle})
}

// handler returns what plays a process, or nil.
func (m *machine) handler(p *Proc) Handler {
	m.mu.Lock()
	handlers := slices.Clone(m.handlers)
	m.mu.Unlock()
	for _, h := range slices.Backward(handlers) {
		if h.match(p) {
			return h.handle
		}
	}
	return nil
}
