// Package leaks finds goroutines and open files of this process that were not
// there before.
package leaks

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Resources are what a process has, at one moment.
type Resources struct {
	goroutines map[string]stacks // by the function that started them
	files      map[string]int    // by what they are
}

// stacks are those of goroutines, by the goroutines' numbers.
type stacks map[string]string

// Take returns what the process has now. It counts neither idle connections
// that package net/http keeps, nor goroutines that wait for a test, nor files
// below the directories.
func Take(except ...string) Resources { return Resources{goroutines(), files(except)} }

// Since returns one line for everything that there is more of than before.
func (r Resources) Since(before Resources) (left []string) {
	for key, s := range r.goroutines {
		if more := len(s) - len(before.goroutines[key]); more > 0 {
			left = append(left, fmt.Sprintf("%d more of goroutine %s:\n%s", more, key, s.sample(before.goroutines[key])))
		}
	}
	for key, n := range r.files {
		if more := n - before.files[key]; more > 0 {
			left = append(left, fmt.Sprintf("%d more of open file %s", more, key))
		}
	}
	slices.Sort(left)
	return left
}

// sample returns the stack of a goroutine that was not there before.
func (s stacks) sample(before stacks) (text string) {
	for _, id := range slices.Sorted(maps.Keys(s)) {
		if _, old := before[id]; !old {
			return s[id]
		}
	}
	return ""
}

// And returns what is in both samples: the same goroutines, and as many open
// files as the one has that has less.
func (r Resources) And(other Resources) Resources {
	both := Resources{make(map[string]stacks), make(map[string]int)}
	for key, s := range r.goroutines {
		kept := maps.Clone(s)
		maps.DeleteFunc(kept, func(id, _ string) bool { _, ok := other.goroutines[key][id]; return !ok })
		both.goroutines[key] = kept
	}
	for key, n := range r.files {
		both.files[key] = min(n, other.files[key])
	}
	return both
}

var ignored = []string{
	"leaks.goroutines(",                       // the one that counts
	"net/http.(*persistConn).",                // idle connections of a client
	"testing.(*T).Run(", "testing.(*B).run1(", // wait for a test
	"testing.tRunner.func1(",
	"os/signal.loop(", // once started, it stays
}

func goroutines() map[string]stacks {
	text := make([]byte, 1<<20)
	for {
		n := runtime.Stack(text, true)
		if n < len(text) {
			text = text[:n]
			break
		}
		text = make([]byte, 2*len(text))
	}
	groups := make(map[string]stacks)
	for stack := range strings.SplitSeq(string(text), "\n\n") {
		if slices.ContainsFunc(ignored, func(part string) bool { return strings.Contains(stack, part) }) {
			continue
		}
		key := creator(stack)
		if groups[key] == nil {
			groups[key] = make(stacks)
		}
		stack = strings.TrimSpace(stack)
		id, _, _ := strings.Cut(stack, " [")
		groups[key][id] = stack
	}
	return groups
}

// creator returns the function that has started the goroutine of a stack.
func creator(stack string) string {
	const begin = "\ncreated by "
	i := strings.LastIndex(stack, begin)
	if i < 0 {
		return "main"
	}
	line, _, _ := strings.Cut(stack[i+len(begin):], "\n")
	name, _, _ := strings.Cut(line, " in goroutine ")
	return name
}

// files counts this process's open files by their path, or their kind if they
// have none. Sockets are the connections of clients, and not counted.
func files(except []string) map[string]int {
	paths, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return nil
	}
	kinds := make(map[string]int)
	for _, path := range paths {
		target, err := os.Readlink(path)
		if err != nil {
			continue // it was that of the listing
		}
		kind, _, _ := strings.Cut(target, ":[") // sockets and pipes have numbers
		below := func(dir string) bool { return strings.HasPrefix(kind, dir+"/") }
		if kind != "socket" && !slices.ContainsFunc(except, below) {
			kinds[kind]++
		}
	}
	return kinds
}
