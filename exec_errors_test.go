package containerd

import (
	"errors"
	"fmt"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
)

func TestRuntimeClass(t *testing.T) {
	for _, test := range []struct {
		text  string
		class error
	}{
		// runc 1.5.2
		{`OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH`, ErrExecutableNotFound},
		{`OCI runtime exec failed: exec failed: unable to start container process: exec: "/nosuch": stat /nosuch: no such file or directory`, ErrExecutableNotFound},
		{`OCI runtime exec failed: exec failed: unable to start container process: exec: "/etc/plain/x": stat /etc/plain/x: not a directory`, errdefs.ErrPermissionDenied},
		{`OCI runtime exec failed: exec failed: unable to start container process: exec: "/etc/plain": permission denied`, errdefs.ErrPermissionDenied},
		{`OCI runtime exec failed: exec failed: unable to start container process: exec: "/etc": is a directory`, errdefs.ErrPermissionDenied},
		{`OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd ("/nosuch") set in config.json failed: no such file or directory`, ErrWorkDirNotFound},
		{`OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd ("/etc/plain") set in config.json failed: not a directory`, ErrWorkDirNotFound},
		{`OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd ("/root") set in config.json failed: permission denied`, errdefs.ErrPermissionDenied},
		{`failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "nosuch": executable file not found in $PATH`, ErrExecutableNotFound},
		{`failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: mkdir /etc/plain: not a directory`, ErrWorkDirNotFound},
		// runc 1.1.5
		{`OCI runtime exec failed: exec failed: unable to start container process: exec /bin/badexec: exec format error`, errdefs.ErrPermissionDenied},
		{`OCI runtime exec failed: exec failed: unable to start container process: exec /bin/badinterp: no such file or directory`, ErrExecutableNotFound},
		{`OCI runtime exec failed: exec failed: unable to start container process: exec /bin/true: argument list too long`, errdefs.ErrInvalidArgument},
		// crun
		{"OCI runtime exec failed: executable file `nosuch` not found in $PATH: No such file or directory", ErrExecutableNotFound},
		{"OCI runtime create failed: executable file `/nosuch` not found: No such file or directory", ErrExecutableNotFound},
		{"OCI runtime exec failed: open executable: Permission denied", errdefs.ErrPermissionDenied},
		{"OCI runtime exec failed: open executable: Operation not permitted", errdefs.ErrPermissionDenied},
		{"OCI runtime exec failed: the path `/` is not a regular file: Operation not permitted", errdefs.ErrPermissionDenied},
		{"OCI runtime exec failed: the path `/plain` exists but it is not executable: Operation not permitted", errdefs.ErrPermissionDenied},
		{"OCI runtime exec failed: chdir: No such file or directory", ErrWorkDirNotFound},
		{"OCI runtime exec failed: chdir to `/nosuch`: No such file or directory", ErrWorkDirNotFound},
		{"OCI runtime exec failed: chdir `/etc/plain`: Not a directory", ErrWorkDirNotFound},
		{"OCI runtime exec failed: exec container process `/bin/badexec`: Exec format error", errdefs.ErrPermissionDenied},
		{"OCI runtime exec failed: exec container process (missing dynamic library?) `/bin/x`: No such file or directory", ErrExecutableNotFound},
		// everything else
		{`OCI runtime exec failed: exec failed: cannot exec in a stopped container`, nil},
		{`failed to create shim task: OCI runtime create failed: open /proc/12/ns/pid: no such file or directory`, nil},
		{`cannot exec in a paused state`, nil},
		{`OCI runtime exec failed: fork/exec /usr/bin/runc: resource temporarily unavailable`, nil},
	} {
		assert.Equal(t, test.class, runtimeClass(errors.New(test.text)), test.text)
	}
}

func TestStartErrorKeepsAClassThatIsThere(t *testing.T) {
	err := startError(fmt.Errorf(`exec: "x": permission denied: %w`, errdefs.ErrAlreadyExists))
	assert.True(t, errdefs.IsAlreadyExists(err))
	assert.False(t, errdefs.IsPermissionDenied(err))

	err = startError(fmt.Errorf(`exec: "x": executable file not found in $PATH: %w`, errdefs.ErrUnknown))
	assert.True(t, errdefs.IsNotFound(err))
	assert.ErrorIs(t, err, ErrExecutableNotFound)
	assert.False(t, errdefs.IsInternal(err))
	assert.Equal(t, `exec: "x": executable file not found in $PATH: executable not found`, err.Error())
}

func TestSentinelsBelongToOneClass(t *testing.T) {
	for sentinel, class := range map[error]func(error) bool{
		ErrExecutableNotFound: errdefs.IsNotFound,
		ErrWorkDirNotFound:    errdefs.IsInvalidArgument,
		ErrUserNotFound:       errdefs.IsFailedPrecondition,
		ErrNotRunning:         errdefs.IsFailedPrecondition,
		ErrProcessesNotListed: errdefs.IsNotImplemented,
	} {
		err := fmt.Errorf("why: %w", sentinel)
		assert.ErrorIs(t, err, sentinel)
		assert.True(t, class(err), "%v", sentinel)
		assert.Equal(t, err, native(err), "%v has a class", sentinel)
	}
}
