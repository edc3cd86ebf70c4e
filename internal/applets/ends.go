package applets

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
)

// tenLines is what head and tail print if nothing else is asked for.
const tenLines = "10"

// amount is how much of its files head or tail prints: of lines (-n) or of bytes.
func amount(c call) (text string, ofBytes bool, err error) {
	lines, bytes := c.flags['n'], c.flags['c']
	switch {
	case len(lines) > 0 && len(bytes) > 0:
		return "", false, misuse("-n and -c exclude each other")
	case len(bytes) > 0:
		return bytes[len(bytes)-1], true, nil
	case len(lines) > 0:
		return lines[len(lines)-1], false, nil
	}
	return tenLines, false, nil
}

// titled is forEach with the name above every file's part if there are several.
func titled(sys System, names []string, do func(r io.Reader) error) error {
	title := ""
	return forEach(sys, names, func(name string, r io.Reader) error {
		if len(names) > 1 {
			if name == "-" {
				name = "standard input"
			}
			if err := say(sys, title+"==> "+name+" <=="); err != nil {
				return err
			}
			title = "\n"
		}
		return do(r)
	})
}

// head prints the first N lines or bytes.
func head(_ context.Context, sys System, c call) error {
	text, ofBytes, err := amount(c)
	if err != nil {
		return err
	}
	n, err := count(text)
	if err != nil {
		return err
	}
	return titled(sys, c.args, func(r io.Reader) error {
		if !ofBytes {
			return copyLines(sys.Stdout(), r, n)
		}
		_, err := io.CopyN(sys.Stdout(), r, n)
		return unlessEOF(err)
	})
}

func unlessEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func copyLines(w io.Writer, r io.Reader, n int64) error {
	for buf := bufio.NewReader(r); n > 0; n-- {
		line, err := buf.ReadBytes('\n')
		if _, writeErr := w.Write(line); writeErr != nil {
			return writeErr
		}
		if err != nil {
			return unlessEOF(err)
		}
	}
	return nil
}

// tail prints the last N lines or bytes, or all from the Nth with "+". With -f it
// then waits for what ends it, but sees no file grow; nor does it trap a signal.
func tail(ctx context.Context, sys System, c call) error {
	text, ofBytes, err := amount(c)
	if err != nil {
		return err
	}
	text, fromStart := strings.CutPrefix(text, "+")
	n, err := count(text)
	if err != nil {
		return err
	}
	err = titled(sys, c.args, func(r io.Reader) error {
		all, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		units := int64(len(all))
		if !ofBytes {
			units = int64(len(slices.Collect(bytes.Lines(all))))
		}
		skipped := max(0, units-n)
		if fromStart {
			skipped = min(max(0, n-1), units)
		}
		_, err = io.Copy(sys.Stdout(), bytes.NewReader(without(all, skipped, ofBytes)))
		return err
	})
	isFile := func(name string) bool { return name != "-" }
	if err == nil && c.has('f') && slices.ContainsFunc(c.args, isFile) {
		return forever(ctx, sys)
	}
	return err
}

// without returns text without its first bytes or lines.
func without(text []byte, n int64, ofBytes bool) []byte {
	if ofBytes {
		return text[n:]
	}
	for ; n > 0; n-- {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text
}
