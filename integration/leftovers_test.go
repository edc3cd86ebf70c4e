package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ctrdkit/containerd/internal/leaks"
)

// leftovers knows what there was before the tests, and finds what is left
// after them.
type leftovers struct {
	before leaks.Resources
	temp   string // the tests' own directory for temporary files
}

// used are the places where the tests' daemons and containers can leave something.
var used struct {
	mu      sync.Mutex
	states  []string // directories of daemons
	cgroups []string // that daemons made for their containers
	owners  []string // processes that used the library, as in their marks
}

// noteDaemon remembers where a daemon keeps what runs.
func noteDaemon(address string) {
	used.mu.Lock()
	defer used.mu.Unlock()
	used.states = append(used.states, filepath.Dir(address))
}

// noteContainer remembers the cgroup that the daemon of a container made.
func noteContainer(pid uint32, namespace string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return // it has ended already
	}
	for line := range strings.Lines(string(text)) {
		path := line[strings.LastIndexByte(line, ':')+1:]
		parent, _, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/"+namespace+"/")
		used.mu.Lock()
		if ok && !slices.Contains(used.cgroups, parent) {
			used.cgroups = append(used.cgroups, parent)
		}
		used.mu.Unlock()
	}
}

// noteProcess remembers a process by what the library's marks say of it: its
// PID and its start time, because PIDs are used again.
func noteProcess(pid int) (owner string, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field, the program's name, is in brackets and may have spaces.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')'):]))
	owner = fmt.Sprintf("/%d/%s/", pid, fields[20])
	used.mu.Lock()
	defer used.mu.Unlock()
	used.owners = append(used.owners, owner)
	return owner, nil
}

// watchLeftovers is called before anything else. It gives the tests a directory
// of their own for temporary files; its path is short, because of sockets.
func watchLeftovers() (*leftovers, error) {
	temp, err := os.MkdirTemp("", "it-")
	if err != nil {
		return nil, err
	}
	if _, err := noteProcess(os.Getpid()); err != nil {
		return nil, err
	}
	l := &leftovers{temp: temp, before: leaks.Take()}
	return l, os.Setenv("TMPDIR", temp)
}

// check returns an error that names what is left. Whatever was told to end gets
// a moment for it.
func (l *leftovers) check() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); ; <-tick.C {
		left := l.find()
		if len(left) == 0 {
			return os.RemoveAll(l.temp)
		}
		if time.Now().After(deadline) {
			err := fmt.Errorf("the tests have left:\n%s", strings.Join(left, "\n"))
			if len(mountsWith(l.temp)) > 0 {
				return err // what is mounted may be somebody's files
			}
			return errors.Join(err, os.RemoveAll(l.temp))
		}
	}
}

func (l *leftovers) find() []string {
	used.mu.Lock()
	defer used.mu.Unlock()
	left := slices.Concat(
		leaks.Take().Since(l.before),
		owned(fifoDirs, used.owners...),
		owned(marksDir, used.owners...),
	)
	for _, dir := range append(used.states, l.temp) {
		for _, mount := range mountsWith(dir) {
			left = append(left, "mount "+mount)
		}
		for _, process := range processesOf(strings.TrimPrefix(dir, "/")) {
			left = append(left, "process "+process)
		}
	}
	for _, dir := range used.states {
		if _, err := os.Lstat(dir); err == nil {
			left = append(left, "state "+dir)
		}
	}
	for _, name := range used.cgroups {
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			left = append(left, glob("cgroup", pattern+name)...)
		}
	}
	return append(left, glob("temporary", l.temp+"/*")...)
}

func glob(what, pattern string) []string {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return []string{err.Error()}
	}
	for i, path := range paths {
		paths[i] = what + " " + path
	}
	return paths
}

// owned returns the entries of dir that say, in their name or content, that
// one of the processes made them.
func owned(dir string, owners ...string) (left []string) {
	paths, err := filepath.Glob(dir + "/*")
	if err != nil {
		return []string{err.Error()}
	}
	for _, path := range paths {
		text := strings.ReplaceAll(filepath.Base(path), "_", "/")
		if content, err := os.ReadFile(path); err == nil {
			text = string(content)
		}
		if slices.ContainsFunc(owners, func(owner string) bool { return strings.Contains(text, owner) }) {
			left = append(left, path)
		}
	}
	return left
}
