package containerdtest

import (
	"context"
	"errors"
	"os"

	"github.com/ctrdkit/containerd/internal/logfile"
	_ "github.com/ctrdkit/containerd/logger" // for LogIO on the fake, and on a real daemon of the test
)

// startLogger starts a logger of two pipes, which is a goroutine here, and
// returns their other ends. The logger ends when these are closed, and is one of
// the output's users until then.
func (s *stdio) startLogger(config logfile.Config) (stdout, stderr *os.File, err error) {
	w, err := logfile.Create(config)
	if err != nil {
		return nil, nil, err
	}
	var ends [2]*os.File
	var copies [2]func() error
	for i, stream := range []logfile.Stream{logfile.Stdout, logfile.Stderr} {
		r, end, err := os.Pipe()
		if err != nil {
			return nil, nil, errors.Join(err, closeFiles(ends[:]...), w.Close())
		}
		s.ends = append(s.ends, r)
		ends[i], copies[i] = end, w.Add(stream, r).Copy
	}
	s.out.add()
	s.copies.Go(func() {
		defer s.out.done()
		other := make(chan error, 1)
		go func() { other <- copies[1]() }()
		ignore(errors.Join(copies[0](), <-other, w.Close()))
	})
	return ends[0], ends[1], nil
}

// openTerminalOutput opens where a terminal's output goes.
func (s *stdio) openTerminalOutput(ctx context.Context, address string) (*os.File, error) {
	config, ok := logfile.ParseAddress(address)
	if !ok {
		return s.openOutput(ctx, address)
	}
	out, unused, err := s.startLogger(config)
	if err != nil {
		return nil, err
	}
	return out, unused.Close()
}
