package containerdtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// faultGrace is how long the end of a test waits for an injected function.
const faultGrace = 5 * time.Second

// close ends everything, in the order of a machine that is turned off.
func (f *Fake) close() {
	f.clock.stop()
	f.intercept.set(nil)
	f.machine.halt()
	f.lifecycle.Lock()
	f.closed = true
	err := f.stop()
	f.lifecycle.Unlock()
	if left := f.intercept.wait(faultGrace); len(left) > 0 {
		f.t.Errorf("the injected function has not returned, which it must when the context of its Op ends: %v", left)
	}
	if err := errors.Join(err, removeTree(f.dir)); err != nil {
		f.t.Errorf("closing the fake: %v", err)
	}
}

// heal ends faults, so that what is under way can end.
func (f *Fake) heal() {
	if f.intercept.set(nil) {
		f.cut() // requests may hang in the fault
	}
	f.Recover()
}

// removeTree removes a file or tree, also directories that nobody may write to.
// A garbage collection may be about to do that too.
func removeTree(dir string) error {
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}
