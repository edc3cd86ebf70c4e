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
	return func(p *Proc) bool { return len(p.Args) > 0 && path.Base(p.Args[0]) == name }
}

// CommandLine matches processes whose arguments are exactly args.
func CommandLine(args ...string) Match {
	return func(p *Proc) bool {
		if p.lookup {
			return len(args) > 0 && len(p.Args) > 0 && p.Args[0] == args[0]
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
// the first process of a task as well as execs, children of a shell and of env,
// and interpreters of scripts ("#!/usr/sbin/nginx"). The program needs no file in
// the image: it is found by its name and by any path, by "command -v" and "type"
// too, though test and ls see no file. The latest matching handler counts, and
// before all built-in commands.
//
// match sees what Proc's fields say, and must not use its streams or methods. It
// may be asked about a process several times before that starts, and about one
// that never does. "command -v" and "type" ask about a process whose only
// argument is the name.
//
// If nobody plays a program and it is not in the image, the error of the start
// names Handle, and so does the test's log where a shell does not find it.
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

// suggestHandle names Handle in the test's log, once for every program.
func (m *machine) suggestHandle(container, program string) {
	log, ok := m.t.(interface {
		Logf(format string, args ...any)
	})
	m.mu.Lock()
	known := m.suggested[program]
	if !known {
		if m.suggested == nil {
			m.suggested = map[string]bool{}
		}
		m.suggested[program] = true
	}
	m.mu.Unlock()
	if ok && !known {
		log.Logf("containerdtest: container %s has no program %s: %s", container, program, useHandle)
	}
}
