// Package conformance is the contract of containerd.Service as a test suite.
// It runs over any backend: a real daemon, an in-process one, or a wrapper of
// Service in another module.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, func(t *testing.T) conformance.Backend { ... })
//	}
//
// docs/TESTING.md has a whole one, for a wrapper on the fake.
//
// Every subtest is one sentence of the contract. What the service did is
// looked at through a plain containerd client, never through the service
// alone, and after every case the suite checks that nothing is left in the
// namespace.
package conformance

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// Report says how many cases of the suite ran on a backend. Those that did not
// were skipped because of what it lacks, or left out by -run.
type Report struct{ Ran, Skipped, Cases int }

// String returns the report in one line.
func (r Report) String() string {
	return fmt.Sprintf("%d of %d conformance cases ran, %d skipped", r.Ran, r.Cases, r.Skipped)
}

// reportEnv names a file that [Run] adds a line to: "go test" shows no log of a
// test that passes.
const reportEnv = "CONFORMANCE_REPORT"

// Run runs the whole suite, one subtest per sentence of the contract, and
// returns when the last one has ended. It adds its report to the file that the
// environment variable CONFORMANCE_REPORT names, if that is set.
func Run(t *testing.T, open Open) Report {
	var ran, skipped atomic.Int64
	var all sync.WaitGroup // no group waits for the slow cases of another
	turns := make(chan struct{}, parallel())
	for _, group := range groups {
		listed := make(chan struct{})
		list := sync.OnceFunc(func() { close(listed) })
		all.Go(func() {
			defer list() // of a group that -run leaves out
			t.Run(group.name, func(t *testing.T) {
				defer list()
				for _, c := range group.cases {
					t.Run(c.name, func(t *testing.T) {
						t.Parallel()
						turns <- struct{}{} // each group that waits gives its own turn to a further case
						defer func() { <-turns }()
						defer func() {
							if t.Skipped() {
								skipped.Add(1)
							} else {
								ran.Add(1)
							}
						}()
						c.runOn(t, open)
					})
				}
			})
		})
		<-listed
	}
	all.Wait()
	report := Report{Ran: int(ran.Load()), Skipped: int(skipped.Load()), Cases: Count()}
	t.Log(report)
	if name := os.Getenv(reportEnv); name != "" {
		if err := appendLine(name, fmt.Sprintf("%s: %v\n", t.Name(), report)); err != nil {
			t.Errorf("writing the report: %v", err)
		}
	}
	return report
}

// parallel is how many cases run at once: what the flag says.
func parallel() int {
	if f := flag.Lookup("test.parallel"); f != nil {
		if n, err := strconv.Atoi(f.Value.String()); err == nil && n > 0 {
			return n
		}
	}
	return runtime.GOMAXPROCS(0)
}

// runOn runs the case on a backend of its own.
func (c testCase) runOn(t *testing.T, open Open) {
	b := open(t)
	b.check(t)
	if c.needs != nil {
		if b.Private != nil {
			b = b.Private(t)
			b.check(t)
		}
		if missing := c.needs(b); missing != "" {
			t.Skipf("the backend has no %s", missing)
		}
	}
	c.run(newEnv(t, b))
}

func appendLine(name, line string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

// Count returns how many cases the suite has.
func Count() int {
	n := 0
	for _, group := range groups {
		n += len(group.cases)
	}
	return n
}

type group struct {
	name  string
	cases []testCase
}

// testCase is one sentence of the contract.
type testCase struct {
	name  string
	run   func(e *env)
	needs func(Backend) (missing string) // nil if every backend can run it
}

// groups begin in this order, the one with the slowest case first.
var groups = []group{
	{"tasks", taskCases},
	{"all methods", allMethods},
	{"images", imageCases},
	{"containers", containerCases},
	{"snapshots", snapshotCases},
	{"exec", execCases},
	{"wait", waitCases},
	{"control", controlCases},
	{"measure", measureCases},
	{"launch", launchCases},
	{"logs", slices.Concat(logCases, logDirCases)},
	{"attach", attachCases},
	{"exec role", execRoleCases},
}
