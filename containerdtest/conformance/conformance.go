// Package conformance is the contract of containerd.Service as a test suite.
// It runs over any backend: a real daemon, an in-process one, or a wrapper of
// Service in another module.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, func(t *testing.T) conformance.Backend { ... })
//	}
//
// Every subtest is one sentence of the contract. What the service did is
// looked at through a plain containerd client, never through the service
// alone, and after every case the suite checks that nothing is left in the
// namespace.
package conformance

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	client "github.com/containerd/containerd/v2/client"

	"github.com/ctrdkit/containerd"
)

// Backend is what one case runs on. Members that are nil or empty skip the
// cases that need them, by name.
type Backend struct {
	// Service is under test. Required.
	Service containerd.Service
	// Client is a plain client of the same daemon. Required.
	Client *client.Client
	// Namespace is the namespace that Service acts in, used by nothing else
	// and empty at the start of the case. Required.
	Namespace string
	// Snapshotter is the one that Service uses when none is named. Required.
	Snapshotter string
	// Image is a reference that can be pulled, of an image with the usual
	// commands (sh, sleep, cat, echo, true, false, env, id, pwd) whose default
	// command is a long sleep that ends at SIGTERM. Required.
	Image string
	// Private returns a backend on a daemon that no other case uses, with a
	// Restart. It is called for the cases that need one. Optional.
	Private Open
	// Restart ends the daemon as a crash would and starts it again on the same
	// state and address. Optional.
	Restart func(t *testing.T)
	// Lacks says what the backend can't do, and why. Cases that need it are
	// skipped with that reason. Optional.
	Lacks map[Ability]string
}

// Ability is something that a case needs and not every backend has.
type Ability string

const (
	// Pausing is to pause a task and to resume it.
	Pausing Ability = "pausing"
	// ProcessLists is to list the processes of a task and to measure it.
	ProcessLists Ability = "process lists"
	// Logging is to start tasks with LogIO. It needs a test binary that imports
	// package github.com/ctrdkit/containerd/logger, on the daemon's machine.
	Logging Ability = "logging"
	// Limits is to limit what a task uses.
	Limits Ability = "limits"
	// OtherUsers is to run a process with any user and group.
	OtherUsers Ability = "other users"
)

// Open returns a backend for one case and registers its end with t.Cleanup.
type Open func(t *testing.T) Backend

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
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					defer func() {
						if t.Skipped() {
							skipped.Add(1)
						} else {
							ran.Add(1)
						}
					}()
					b := open(t)
					if c.needs != nil && b.Private != nil {
						b = b.Private(t)
					}
					if c.needs != nil {
						if missing := c.needs(b); missing != "" {
							t.Skipf("the backend has no %s", missing)
						}
					}
					c.run(newEnv(t, b))
				})
			}
		})
	}
	report := Report{Ran: int(ran.Load()), Skipped: int(skipped.Load()), Cases: Count()}
	t.Log(report)
	if name := os.Getenv(reportEnv); name != "" {
		if err := appendLine(name, fmt.Sprintf("%s: %v\n", t.Name(), report)); err != nil {
			t.Errorf("writing the report: %v", err)
		}
	}
	return report
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

var groups = []group{
	{"all methods", allMethods},
	{"images", imageCases},
	{"containers", containerCases},
	{"snapshots", snapshotCases},
	{"tasks", taskCases},
	{"exec", execCases},
	{"wait", waitCases},
	{"control", controlCases},
	{"measure", measureCases},
	{"launch", launchCases},
	{"logs", logCases},
	{"attach", attachCases},
	{"exec role", execRoleCases},
}
