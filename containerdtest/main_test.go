package containerdtest_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// memory is a file system that forgets.
const memory = "/dev/shm"

// parallel is how many tests run at once by default: most of them wait, for
// timeouts, exits and each other, and use no processor.
const parallel = "4"

// TestMain puts the fakes' many small files into memory, where that can be had.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", parallel); err != nil { // before the command line is parsed
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if dir, err := os.MkdirTemp(memory, "containerdtest-"); err == nil {
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
		if err := os.Setenv("TMPDIR", dir); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}
