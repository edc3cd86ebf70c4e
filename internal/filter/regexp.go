package filter

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/ctrdkit/containerd/internal/quote"
)

// checkRegexps reports the first regular expression that does not compile in a
// filter that containerd's parser accepts. The parser leaves that to the
// matching, which logs it and goes on.
func checkRegexps(s string) error {
	for s != "" {
		field := s[:fieldEnd(s)]
		s = s[len(field):]
		if len(s) < 2 || s[0] == ',' { // a field alone
			s = strings.TrimPrefix(s, ",")
			continue
		}
		operator := s[:2]
		s = strings.TrimLeftFunc(s[2:], unicode.IsSpace)
		literal := s[:valueEnd(s)]
		s = strings.TrimPrefix(s[len(literal):], ",")
		if operator != "~=" {
			continue
		}
		if err := checkRegexp(literal); err != nil {
			return fmt.Errorf("invalid regular expression %s: %w", quote.Value(literal), err)
		}
	}
	return nil
}

// fieldEnd returns the length of the field path that s starts with.
func fieldEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			i += quoteEnd(s[i:]) - 1
		case '=', '!', '~', ',':
			return i
		}
	}
	return len(s)
}

// valueEnd returns the length of the value that s starts with.
func valueEnd(s string) int {
	if s != "" && strings.IndexByte(`"/|`, s[0]) >= 0 {
		return quoteEnd(s)
	}
	if i := strings.IndexByte(s, ','); i >= 0 {
		return i
	}
	return len(s)
}

// quoteEnd returns the length of the literal that s starts with, which ends in
// the character that it begins with.
func quoteEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return len(s)
}

func checkRegexp(literal string) error {
	expr, err := unquote(literal)
	if err == nil {
		_, err = regexp.Compile(expr)
	}
	return err
}

// unquote returns the text of a value. Slashes and bars quote like double quotes.
func unquote(literal string) (string, error) {
	switch {
	case strings.HasPrefix(literal, `"`):
		return strconv.Unquote(literal)
	case strings.HasPrefix(literal, "/"), strings.HasPrefix(literal, "|"):
		delimiter := literal[:1]
		text := strings.TrimSuffix(literal[1:], delimiter)
		text = strings.ReplaceAll(text, `\`+delimiter, delimiter)
		return strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	}
	return literal, nil
}
