package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func echo(args []string) error {
	end := "\n"
	if len(args) > 0 && args[0] == "-n" {
		end, args = "", args[1:]
	}
	_, err := fmt.Print(strings.Join(args, " "), end)
	return err
}

// forEach calls do with each named file, or with stdin.
func forEach(names []string, do func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		return do("-", os.Stdin)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(do(name, f), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func cat(args []string) error {
	return forEach(args, func(_ string, r io.Reader) error {
		_, err := io.Copy(os.Stdout, r)
		return err
	})
}

func sha256sum(args []string) error {
	return forEach(args, func(name string, r io.Reader) error {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		_, err := fmt.Printf("%x  %s\n", h.Sum(nil), name)
		return err
	})
}

// wc counts bytes (-c) or lines (-l).
func wc(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: wc -c|-l [FILE...]")
	}
	lines := args[0] == "-l"
	return forEach(args[1:], func(_ string, r io.Reader) error {
		n, buf := 0, bufio.NewReader(r)
		for {
			b, err := buf.ReadByte()
			if errors.Is(err, io.EOF) {
				_, err = fmt.Println(n)
				return err
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
func head(args []string) error {
	if len(args) < 2 || args[0] != "-c" {
		return errors.New("usage: head -c N [FILE]")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	return forEach(args[2:], func(_ string, r io.Reader) error {
		_, err := io.CopyN(os.Stdout, r, n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// zeros writes N zero bytes.
func zeros(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: zeros N")
	}
	n, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	_, err = io.CopyN(os.Stdout, zeroReader{}, n)
	return err
}
