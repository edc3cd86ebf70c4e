package containerdtest

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/ctrdkit/containerd/internal/logfile"
	_ "github.com/ctrdkit/containerd/logger" // for LogIO on the fake, and on a real daemon of the test
)

// openLog opens a process's output to a logger, which is a goroutine here. The
// process's files are closed with it, the logger ends then.
func (s *stdio) openLog(config logfile.Config) (err error) {
	s.stdout, s.stderr, s.out.copied, err = startLogger(config)
	return err
}

// startLogger starts a logger of two pipes, and returns their other ends and
// what is closed when it has ended.
func startLogger(config logfile.Config) (stdout, stderr *os.File, ended chan struct{}, err error) {
	w, err := logfile.Create(config)
	if err != nil {
		return nil, nil, nil, err
	}
	var group sync.WaitGroup
	pipe := func(stream logfile.Stream) *os.File {
		r, end, pipeErr := os.Pipe()
		if pipeErr != nil {
			err = errors.Join(err, pipeErr)
			return nil
		}
		source := w.Add(stream, r)
		group.Go(func() { ignore(errors.Join(source.Copy(), r.Close())) })
		return end
	}
	stdout, stderr = pipe(logfile.Stdout), pipe(logfile.Stderr)
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		group.Wait()
		ignore(w.Close())
	}()
	if err != nil {
		return nil, nil, nil, errors.Join(err, closeFiles(stdout, stderr))
	}
	return stdout, stderr, ended, nil
}

// openTerminalOutput opens where a terminal's output goes; logged is closed when
// a logger of it has ended, and nil without one.
func openTerminalOutput(ctx context.Context, address string) (out *os.File, logged chan struct{}, err error) {
	config, ok := logfile.ParseAddress(address)
	if !ok {
		out, err = openOutput(ctx, address)
		return out, nil, err
	}
	out, unused, logged, err := startLogger(config)
	if err != nil {
		return nil, nil, err
	}
	return out, logged, unused.Close()
}
