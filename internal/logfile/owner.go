package logfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// ownerName is the file that says whose log a directory has, and how it was
	// last written.
	ownerName = "owner"
	// A new owner file has another name until it is whole.
	newOwnerPrefix, newOwnerSuffix = ownerName + "-", ".new"
	maxOwnerSize                   = 64 << 10
)

// Owner says whose log it is. The zero value is an owner too.
type Owner struct {
	Container string `json:",omitempty"`
	Namespace string `json:",omitempty"`
	// Record tells the container from all others that have or had its name, of
	// this daemon and of others.
	Record string `json:",omitempty"`
}

// String names the owner in messages.
func (o Owner) String() string {
	return fmt.Sprintf("container %q in namespace %q, record %q", o.Container, o.Namespace, o.Record)
}

// ErrForeign is the cause of errors about a directory with something else in it
// than the log that was asked for.
var ErrForeign = errors.New("not this container's log")

// Claim makes a directory the one of config's owner: one that is absent, which
// it makes, or empty, or the owner's already. Any other gives an error that
// wraps ErrForeign, and is not touched. fresh says that it was none's before.
func Claim(config Config) (fresh bool, err error) {
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return false, err
	}
	if owned, err := Owns(config.Dir, config.Owner); owned || err != nil {
		return false, err
	}
	name, err := writeOwner(config)
	if err != nil {
		return false, err
	}
	// Unlike a rename, a link does not replace what another one has put there.
	err = os.Link(name, ownerFile(config.Dir))
	if err = errors.Join(err, os.Remove(name)); errors.Is(err, fs.ErrExist) {
		return false, Check(config.Dir, config.Owner)
	}
	return err == nil, err
}

// Check says what Claim would, and changes nothing.
func Check(dir string, owner Owner) error {
	stored, err := Stored(dir)
	switch {
	case err == nil && stored.Owner == owner:
		return nil
	case err == nil:
		return fmt.Errorf("%w but that of %s", ErrForeign, stored.Owner)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ignoreAbsent(err)
	}
	for _, entry := range entries {
		if !isNewOwner(entry.Name()) {
			return fmt.Errorf("%w: the directory has other things in it, such as %q", ErrForeign, entry.Name())
		}
	}
	return nil
}

// Owns says whether dir has a log of the owner's. A directory that is gone has
// none; one that is another's gives an error that wraps ErrForeign.
func Owns(dir string, owner Owner) (bool, error) {
	stored, err := Stored(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, Check(dir, owner)
	} else if err != nil {
		return false, err
	}
	if stored.Owner != owner {
		return false, Check(dir, owner)
	}
	return true, nil
}

// Stored returns the configuration of the log in dir: the one that its last
// logger was started with, or that it was claimed with. The error wraps
// fs.ErrNotExist if there is none, and ErrForeign if it can't be read as one.
func Stored(dir string) (Config, error) {
	var config Config
	text, err := readRegular(ownerFile(dir))
	if err != nil {
		return config, err
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return config, fmt.Errorf("%w: %s: %s", ErrForeign, ownerFile(dir), err.Error())
	}
	config.Dir = dir
	return config, nil
}

// readRegular reads a small file. The directory may be anybody's: nothing else
// must be opened for it, and nothing be waited for.
func readRegular(name string) (text []byte, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, nil // a link: no owner can be read from it
	} else if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxOwnerSize))
}

// keep stores the configuration, for those who start the next logger.
func keep(config Config) error {
	stored, err := Stored(config.Dir)
	if err != nil {
		return err
	}
	if stored.Origin = config.Origin; stored == config {
		return nil
	}
	name, err := writeOwner(config)
	if err != nil {
		return err
	}
	return os.Rename(name, ownerFile(config.Dir))
}

// writeOwner writes an owner file under a name that is not its own yet.
func writeOwner(config Config) (name string, err error) {
	f, err := os.CreateTemp(config.Dir, newOwnerPrefix+"*"+newOwnerSuffix)
	if err != nil {
		return "", err
	}
	config.Dir, config.Origin = "", ""
	text, err := json.Marshal(config)
	if err == nil {
		_, err = f.Write(append(text, '\n'))
	}
	if err == nil {
		err = f.Sync() // an empty one after a crash would make the log nobody's
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func ownerFile(dir string) string { return filepath.Join(dir, ownerName) }

func isNewOwner(name string) bool {
	return strings.HasPrefix(name, newOwnerPrefix) && strings.HasSuffix(name, newOwnerSuffix)
}

// HandOver gives the log in dir to another owner, if it is the first one's.
func HandOver(dir string, from, to Owner) error {
	config, err := Stored(dir)
	if err != nil || config.Owner != from {
		return ignoreAbsent(err)
	}
	config.Owner = to
	return keep(config)
}
