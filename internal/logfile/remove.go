package logfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Remove removes the owner's log in dir, and the directory unless there is
// something else in it, or it can't be removed itself. It does nothing to
// another's.
func Remove(dir string, owner Owner) error {
	stored, err := Stored(dir)
	if errors.Is(err, ErrForeign) || err == nil && stored.Owner != owner {
		return nil
	} else if err != nil {
		return ignoreAbsent(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ignoreAbsent(err)
	}
	names := []string{aliveName, askName, inputName}
	for _, entry := range entries {
		if _, ok := numberOf(entry); ok || isNewOwner(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	// The owner's file last: what is left of a removal is still the owner's.
	for _, name := range append(names, ownerName) {
		if err := ignoreAbsent(os.Remove(filepath.Join(dir, name))); err != nil {
			return err
		}
	}
	return ignoreKept(os.Remove(dir))
}

// Discard removes the owner's log in dir if nothing was ever logged.
func Discard(dir string, owner Owner) error {
	list, err := numbers(dir)
	if err != nil || Running(dir) {
		return ignoreAbsent(err)
	}
	for _, n := range list {
		if info, err := os.Stat(fileName(dir, n)); err != nil || info.Size() > 0 {
			return ignoreAbsent(err)
		}
	}
	return Remove(dir, owner)
}

// ignoreKept drops the errors of removing a directory that has to stay: it has
// others' files in it, is mounted, or is in a directory of somebody else.
func ignoreKept(err error) error {
	for _, kept := range []error{fs.ErrNotExist, fs.ErrPermission, unix.ENOTEMPTY, unix.EEXIST, unix.EBUSY, unix.EROFS} {
		if errors.Is(err, kept) {
			return nil
		}
	}
	return err
}
