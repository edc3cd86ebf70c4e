// Package exampletest has what examples give to package containerdtest, because
// they are no tests.
package exampletest

import (
	"fmt"
	"os"
	"slices"
)

// T stands in for a test in an example. Whatever would fail or skip a test
// panics. It is not safe for concurrent use.
type T struct{ cleanups []func() }

// New returns a T. The caller ends it.
func New() *T { return &T{} }

// End does what the end of a test does: it runs the clean-ups, last first.
func (t *T) End() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

// Cleanup makes End call f.
func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// TempDir returns a new directory, which End removes.
func (t *T) TempDir() string {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		t.Fatalf("making a directory: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the directory: %v", err)
		}
	})
	return dir
}

// Name returns "Example".
func (t *T) Name() string { return "Example" }

// Helper does nothing.
func (t *T) Helper() {}

// Errorf panics.
func (t *T) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Fatalf panics.
func (t *T) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Skipf panics.
func (t *T) Skipf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
