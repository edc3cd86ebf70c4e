package applets

import (
	"fmt"
	"strconv"
	"strings"
)

// call is what an applet is called with: flags, and operands.
type call struct {
	flags map[byte][]string // the values of every flag; "" of one that takes none
	args  []string
}

// has says whether a flag was given.
func (c call) has(flag byte) bool { return len(c.flags[flag]) > 0 }

// usageError is what is wrong with an applet's arguments; "" if its usage line
// says it all. A message ends in "; ".
type usageError string

func (e usageError) Error() string { return string(e) }

func misuse(format string, a ...any) error { return usageError(fmt.Sprintf(format, a...) + "; ") }

// call finds the flags in an applet's arguments.
func (a applet) call(args []string) (call, error) {
	if a.raw {
		return call{args: args}, nil
	}
	c, err := parse(a.flags, args)
	if err == nil && (len(c.args) < a.min || len(c.args) > a.max) {
		err = usageError("")
	}
	return c, err
}

// parse finds the flags in args. known has their letters, with a colon after one
// that takes a value. It begins with "+" if the first operand ends them, and with
// "#" if -5 means -n 5.
func parse(known string, args []string) (call, error) {
	c := call{flags: map[byte][]string{}}
	for len(args) > 0 {
		arg := args[0]
		isFlag := len(arg) > 1 && arg[0] == '-'
		switch {
		case arg == "--":
			c.args = append(c.args, args[1:]...)
			return c, nil
		case !isFlag && strings.HasPrefix(known, "+"):
			c.args = args
			return c, nil
		case !isFlag:
			c.args = append(c.args, arg)
		case strings.HasPrefix(known, "#") && isCount(arg[1:]):
			c.flags['n'] = append(c.flags['n'], arg[1:])
		default:
			used, err := c.add(known, arg, args[1:])
			if err != nil {
				return call{}, err
			}
			args = args[used:]
		}
		args = args[1:]
	}
	return c, nil
}

// add adds the flags of one argument, and returns how many of rest are values.
func (c call) add(known, arg string, rest []string) (used int, err error) {
	for letters := arg[1:]; letters != ""; {
		letter := letters[0]
		letters = letters[1:]
		at := strings.IndexByte(known, letter)
		switch {
		case at < 0 || strings.IndexByte("+#:", letter) >= 0:
			if strings.HasPrefix(arg, "--") {
				return 0, misuse("unknown flag %s", arg)
			}
			return 0, misuse("unknown flag -%c", letter)
		case !strings.HasPrefix(known[at+1:], ":"):
			c.flags[letter] = append(c.flags[letter], "")
			continue
		case letters == "" && len(rest) == 0:
			return 0, misuse("flag -%c needs a value", letter)
		case letters == "":
			letters, used = rest[0], 1
		}
		c.flags[letter] = append(c.flags[letter], letters)
		return used, nil
	}
	return 0, nil
}

// isCount says whether text is a number that counts something.
func isCount(text string) bool {
	_, err := count(text)
	return err == nil
}

// count reads a number that is not negative.
func count(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, misuse("%q is no number", text)
	}
	return int64(n), nil
}
