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

	"mvdan.cc/sh/v3/expand"
)

// echo is the program; a shell has its own.
func echo(_ context.Context, sys System, c call) error {
	end, expanded, args := "\n", false, c.args
	for len(args) > 0 && isEchoFlag(args[0]) {
		for _, flag := range args[0][1:] {
			switch flag {
			case 'n':
				end = ""
			default:
				expanded = flag == 'e'
			}
		}
		args = args[1:]
	}
	text := strings.Join(args, " ")
	if expanded {
		var err error
		if text, _, err = expand.Format(nil, text, nil); err != nil {
			return err
		}
	}
	_, err := io.WriteString(sys.Stdout(), text+end)
	return err
}

// isEchoFlag says whether echo takes arg for flags. It prints all others.
func isEchoFlag(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' && strings.Trim(arg[1:], "neE") == ""
}

// forEach calls do with each named file, or with stdin, whose name is "-".
func forEach(sys System, names []string, do func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if name == "-" {
			in := sys.Stdin()
			if in == nil {
				in = strings.NewReader("")
			}
			if err := do(name, in); err != nil {
				return err
			}
			continue
		}
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

func cat(_ context.Context, sys System, c call) error {
	return forEach(sys, c.args, func(_ string, r io.Reader) error {
		_, err := io.Copy(sys.Stdout(), r)
		return err
	})
}

func sha256sum(_ context.Context, sys System, c call) error {
	return forEach(sys, c.args, func(name string, r io.Reader) error {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		return say(sys, fmt.Sprintf("%x  %s", h.Sum(nil), name))
	})
}

// wc counts lines (-l), words (-w) and bytes (-c), or all of these.
func wc(_ context.Context, sys System, c call) error {
	const kinds = "lwc"
	all := len(c.flags) == 0
	report := func(counts [len(kinds)]int, name string) error {
		var words []string
		for i := range kinds {
			if all || c.has(kinds[i]) {
				words = append(words, strconv.Itoa(counts[i]))
			}
		}
		if name != "" {
			words = append(words, name)
		}
		return say(sys, strings.Join(words, " "))
	}
	var total [len(kinds)]int
	err := forEach(sys, c.args, func(name string, r io.Reader) error {
		counts, err := countIn(r)
		if err != nil {
			return err
		}
		for i, n := range counts {
			total[i] += n
		}
		if len(c.args) == 0 {
			name = ""
		}
		return report(counts, name)
	})
	if err == nil && len(c.args) > 1 {
		err = report(total, "total")
	}
	return err
}

// countIn counts lines, words and bytes.
func countIn(r io.Reader) (counts [3]int, err error) {
	inWord := false
	for buf := bufio.NewReader(r); ; {
		b, err := buf.ReadByte()
		if errors.Is(err, io.EOF) {
			return counts, nil
		} else if err != nil {
			return counts, err
		}
		counts[2]++
		if b == '\n' {
			counts[0]++
		}
		space := strings.IndexByte(" \t\n\v\f\r", b) >= 0
		if !space && !inWord {
			counts[1]++
		}
		inWord = !space
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// zeros writes N zero bytes.
func zeros(_ context.Context, sys System, c call) error {
	n, err := count(c.args[0])
	if err != nil {
		return err
	}
	_, err = io.CopyN(sys.Stdout(), zeroReader{}, n)
	return err
}
