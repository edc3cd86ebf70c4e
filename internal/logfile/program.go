package logfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Role is the first argument of a program that is to be a logger. The second
// one is its configuration.
const Role = "ctrdkit-logger"

// Program returns the path of the executable that can be a logger. It is nil
// unless the process imports package logger.
var Program func() (string, error)

// pipeSize is what the pipes of a container hold. More than the usual 64 KiB
// spares wake-ups.
const pipeSize = 1 << 20

// lastWords is how long a logger that is told to end still reads.
const lastWords = 250 * time.Millisecond

// Address returns the address for the output of a task that program is to log.
func Address(program string, config Config) (string, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return "", err
	}
	u := url.URL{Scheme: "binary", Path: program, RawQuery: url.Values{Role: {string(text)}}.Encode()}
	return u.String(), nil
}

// ParseAddress returns what [Address] was made of; ok is false for any other
// address.
func ParseAddress(address string) (config Config, ok bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "binary" || !u.Query().Has(Role) {
		return config, false
	}
	err = json.Unmarshal([]byte(u.Query().Get(Role)), &config)
	return config, err == nil
}

// Main is the program of a logger: it logs the pipes 3 and 4 until they end,
// and tells through 5 that it is ready. It returns the exit code.
func Main(text string) int {
	if err := run(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func run(text string) (err error) {
	// A shim that closes its pipes must not end the log before it is complete.
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	var config Config
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return fmt.Errorf("configuration of the logger: %w", err)
	}
	w, err := Create(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	pipes := map[Stream]*os.File{}
	for fd, stream := range map[int]Stream{3: Stdout, 4: Stderr} {
		if pipes[stream], err = inherited(fd); err != nil {
			return err
		}
	}
	if config.Terminal {
		delete(pipes, Stderr) // nothing comes from there, not even its end
	}
	var sources []*Source
	for stream, pipe := range pipes {
		sources = append(sources, w.Add(stream, pipe))
	}
	ready := os.NewFile(5, "ready")
	if _, err := ready.Write([]byte{'\n'}); err != nil {
		return err
	}
	if err := ready.Close(); err != nil {
		return err
	}
	go func() {
		<-ends
		for _, s := range sources {
			s.EndAt(time.Now().Add(lastWords)) //nolint:errcheck // closed is ended
		}
	}()
	return copyAll(sources)
}

// copyAll logs the sources until all have ended.
func copyAll(sources []*Source) error {
	var group sync.WaitGroup
	errs := make(chan error, len(sources))
	for _, s := range sources {
		group.Go(func() { errs <- s.Copy() })
	}
	group.Wait()
	close(errs)
	var all []error
	for err := range errs {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// inherited returns a pipe that the program was started with.
func inherited(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := growPipe(fd); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("pipe %d", fd)), nil
}

// Running says whether a logger has the log in dir open.
func Running(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, aliveName), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // it was only read
	if f.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	held := false
	err = conn.Control(func(fd uintptr) {
		_, err := unix.Read(int(fd), make([]byte, 1))
		held = errors.Is(err, unix.EAGAIN) // else it is the end
	})
	return err == nil && held
}
