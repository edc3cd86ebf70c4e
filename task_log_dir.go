package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// labelLogDir is where a container's log is, in its labels. Others can write
// labels too: the directory's owner file has the last word.
const labelLogDir = "ctrdkit.io/log-dir"

func (s *DefaultService) logOwner(record containers.Container) logfile.Owner {
	return logOwner(s.namespace, record)
}

// logOwner says whose a container's log is. What tells its record from others is
// the call that made it, or the time if another program did.
func logOwner(namespace string, record containers.Container) logfile.Owner {
	made := recordOrigin(record)
	if made == "" {
		made = record.CreatedAt.UTC().Format(time.RFC3339Nano)
	}
	digest := sha256.Sum256([]byte(made))
	return logfile.Owner{Container: record.ID, Namespace: namespace, Record: hex.EncodeToString(digest[:16])}
}

// logDirFor returns the directory that a log of the container would go to.
func (s *DefaultService) logDirFor(record containers.Container, l LogIO) (dir string, err error) {
	owner := s.logOwner(record)
	if l.Dir != "" {
		dir = filepath.Clean(l.Dir)
	}
	if noted := record.Labels[labelLogDir]; noted != "" {
		owned, err := logfile.Owns(noted, owner)
		switch {
		case err != nil && !errors.Is(err, logfile.ErrForeign):
			return "", err
		case !owned: // gone, or a label that was copied
		case dir != "" && dir != noted:
			return "", fmt.Errorf("the container's log is in %s, and can't go on in %s: %w", quoted(noted), quoted(dir), errdefs.ErrFailedPrecondition)
		default:
			return noted, nil
		}
	}
	if dir == "" {
		if dir, err = s.defaultLogDir(owner); err != nil {
			return "", err
		}
	}
	return dir, foreignLog(dir, logfile.Check(dir, owner))
}

// defaultLogDir is of this container only, and not of one with its name in
// another daemon.
func (s *DefaultService) defaultLogDir(owner logfile.Owner) (_ string, err error) {
	base := s.logDir
	if base == "" {
		if base, err = logBase(); err != nil {
			return "", err
		}
	}
	return filepath.Join(base, owner.Namespace, owner.Container+"-"+owner.Record), nil
}

func logBase() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/ctrdkit/logs", nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ctrdkit", "logs"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no directory for logs: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	return filepath.Join(home, ".local", "state", "ctrdkit", "logs"), nil
}

// foreignLog gives an error about a directory's owner its class.
func foreignLog(dir string, err error) error {
	if errors.Is(err, logfile.ErrForeign) {
		return fmt.Errorf("log directory %s: %w: %w", quoted(dir), err, errdefs.ErrFailedPrecondition)
	}
	return err
}

// logOf returns the directory of the container's log.
func (s *DefaultService) logOf(record containers.Container) (string, error) {
	dir := record.Labels[labelLogDir]
	if dir == "" {
		return "", fmt.Errorf("no task of the container was started with LogIO: %w", errdefs.ErrFailedPrecondition)
	}
	_, err := logfile.Owns(dir, s.logOwner(record))
	return dir, foreignLog(dir, err)
}

// loggedIO tells how the last task of a container was wired whose log it has.
func (s *DefaultService) loggedIO(record containers.Container) (LaunchTaskRequest, error) {
	discard := LaunchTaskRequest{IO: DiscardIO{}}
	dir := record.Labels[labelLogDir]
	if dir == "" {
		return discard, nil
	}
	owned, err := logfile.Owns(dir, s.logOwner(record))
	switch {
	case errors.Is(err, logfile.ErrForeign):
		return discard, nil // the label was copied
	case err != nil:
		return discard, err
	case !owned:
		return LaunchTaskRequest{IO: LogIO{Dir: dir}}, nil // somebody removed it
	}
	config, err := logfile.Stored(dir)
	return LaunchTaskRequest{IO: logIO(config), Terminal: config.Terminal}, err
}

// logIO returns the IO that a logger's configuration was made from.
func logIO(config logfile.Config) LogIO {
	return LogIO{Dir: config.Dir, MaxSize: config.MaxSize, MaxFiles: config.MaxFiles, Stdin: config.Stdin}
}

// setLogDir decides where the log of a LogIO goes, and makes that directory the
// container's.
func (st *starting) setLogDir(ctx context.Context, record containers.Container) (_ containers.Container, err error) {
	l, ok := st.req.IO.(LogIO)
	if !ok {
		return record, nil
	}
	if st.logDir, err = st.service.logDirFor(record, l); err != nil {
		return record, err
	}
	st.logOwner = st.service.logOwner(record)
	fresh, err := logfile.Claim(l.config(st))
	if errors.Is(err, logfile.ErrForeign) {
		return record, foreignLog(st.logDir, err)
	} else if err != nil {
		return record, invalid("log directory %s: %v", quoted(st.logDir), err)
	}
	if fresh {
		st.undo.push("log in "+quoted(st.logDir), func(context.Context) error { return logfile.Discard(st.logDir, st.logOwner) })
	}
	return st.storeLogDir(ctx, record)
}

// storeLogDir notes in the container's labels where its log is.
func (st *starting) storeLogDir(ctx context.Context, record containers.Container) (containers.Container, error) {
	before, known := record.Labels[labelLogDir]
	if before == st.logDir {
		return record, nil
	}
	store := st.service.client.ContainerService()
	set := func(ctx context.Context, dir string) (containers.Container, error) {
		return store.Update(ctx, containers.Container{ID: st.id, Labels: map[string]string{labelLogDir: dir}}, "labels."+labelLogDir)
	}
	st.undo.push("container's label "+labelLogDir, func(ctx context.Context) error {
		now, err := store.Get(ctx, st.id)
		if err != nil || now.Labels[labelLogDir] != st.logDir {
			return err
		}
		if !known {
			before = "" // the daemon drops a label without a value
		}
		_, err = set(ctx, before)
		return err
	})
	return set(ctx, st.logDir)
}

// handOverLog keeps the log that the container had when its record was deleted
// for the one that was written back.
func (s *DefaultService) handOverLog(deleted, back containers.Container) error {
	from, to := s.logOwner(deleted), s.logOwner(back)
	dir := deleted.Labels[labelLogDir]
	if dir == "" || from == to {
		return nil
	}
	return logfile.HandOver(dir, from, to)
}

// removeLog removes the log of a container whose record is deleted.
func (s *DefaultService) removeLog(record containers.Container) error {
	dir := record.Labels[labelLogDir]
	if dir == "" {
		return nil
	}
	if err := logfile.Remove(dir, s.logOwner(record)); err != nil {
		return fmt.Errorf("removing the log in %s: %w", quoted(dir), err)
	}
	return nil
}
