package applets

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func echo(_ context.Context, sys System, args []string) error {
	end := "\n"
	if len(args) > 0 && args[0] == "-n" {
		end, args = "", args[1:]
	}
	_, err := io.WriteString(sys.Stdout(), strings.Join(args, " ")+end)
	return err
}

// forEach calls do with each named file, or with stdin.
func forEach(sys System, names []string, do func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		in := sys.Stdin()
		if in == nil {
			in = strings.NewReader("")
		}
		return do("-", in)
	}
	for _, name := range names {
		f, err := sys.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(do(name, f), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func cat(_ context.Context, sys System, args []string) error {
	return forEach(sys, args, func(_ string, r io.Reader) error {
		_, err := io.Copy(sys.Stdout(), r)
		return err
	})
}

func sha256sum(_ context.Context, sys System, args []string) error {
	return forEach(sys, args, func(name string, r io.Reader) error {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		return say(sys, fmt.Sprintf("%x  %s", h.Sum(nil), name))
	})
}

// wc counts bytes (-c) or lines (-l).
func wc(_ context.Context, sys System, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: wc -c|-l [FILE...]")
	}
	lines := args[0] == "-l"
	return forEach(sys, args[1:], func(_ string, r io.Reader) error {
		n, buf := 0, bufio.NewReader(r)
		for {
			b, err := buf.ReadByte()
			if errors.Is(err, io.EOF) {
				return say(sys, n)
			} else if err != nil {
				return err
			}
			if !lines || b == '\n' {
				n++
			}
		}
	})
}

// head copies the first N bytes: head -c N [FILE].
func head(_ context.Context, sys System, args []string) error {
	if len(args) < 2 || args[0] != "-c" {
		return errors.New("usage: head -c N [FILE]")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	return forEach(sys, args[2:], func(_ string, r io.Reader) error {
		_, err := io.CopyN(sys.Stdout(), r, n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// zeros writes N zero bytes.
func zeros(_ context.Context, sys System, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: zeros N")
	}
	n, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	_, err = io.CopyN(sys.Stdout(), zeroReader{}, n)
	return err
}
