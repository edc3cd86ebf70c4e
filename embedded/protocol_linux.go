package embedded

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"

	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Parent and child talk JSON over a socket pair: first the parent sends a
// daemonConfig, and the child answers with a report when it serves; then the
// parent sends a command, and the child answers with a report before it exits.
// The end of the parent's half tells the child that the parent is gone.

// daemonConfig is what the parent tells the child.
type daemonConfig struct {
	Root, State string
	// TempRoot and TempState say that Start made the directory, and that the
	// child removes it in the end.
	TempRoot, TempState bool
	Runtime             string
	Snapshotter         string
	Verbose             bool
	// Rootless says that the daemon is root only in a user namespace.
	Rootless bool
	// CleanUp asks the child to stop and remove what a dead daemon left, instead
	// of serving.
	CleanUp bool
}

type command struct {
	Detach bool
}

// report is the child's answer; it carries an error with its class.
type report struct {
	Code            codes.Code
	Message         string
	NoUserNamespace bool
}

func reportOf(err error) report {
	s := status.Convert(errgrpc.ToGRPC(err))
	return report{Code: s.Code(), Message: s.Message(), NoUserNamespace: errors.Is(err, ErrNoUserNamespace)}
}

func (r report) err() error {
	err := errgrpc.ToNative(status.Error(r.Code, r.Message))
	if r.NoUserNamespace {
		return noUserNamespace{err}
	}
	return err
}

// noUserNamespace is an ErrNoUserNamespace that a child has told.
type noUserNamespace struct{ error }

func (e noUserNamespace) Unwrap() error        { return e.error }
func (e noUserNamespace) Is(target error) bool { return target == ErrNoUserNamespace }

// control is one half of the socket pair.
type control struct {
	net.Conn
	*json.Encoder
	*json.Decoder
}

func newControl(f *os.File) (*control, error) {
	conn, err := net.FileConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return &control{conn, json.NewEncoder(conn), json.NewDecoder(conn)}, nil
}

// controlPair returns the parent's half, and the child's as a file.
func controlPair() (*control, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "control")
	ours, err := newControl(os.NewFile(uintptr(fds[0]), "control"))
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

func isDisconnect(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}
