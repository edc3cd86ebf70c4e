package applets

import (
	"context"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
)

// find returns what runs in place of "command -v" and "type", for which interp
// would look at the host's files. Only the shell knows its functions, and only
// sys knows its programs: it is a script that asks the shell first.
func (s *shell) find(ctx context.Context, args []string) ([]string, error) {
	command, names := args[0], args[1:]
	var flags []string
	for len(names) > 0 && strings.HasPrefix(names[0], "-") {
		flags, names = append(flags, names[0]), names[1:]
	}
	flag := strings.Join(flags, " ")
	if command == "type" && !slices.Contains([]string{"", "-t", "-p", "-P"}, flag) || command == "command" && flag != "-v" {
		return append([]string{"builtin"}, args...), nil // which says that it can't
	}
	var script strings.Builder
	for _, name := range names {
		known, found, missing := "builtin "+command+" "+flag, "builtin echo ", "builtin false"
		switch flag {
		case "-v":
			known = "builtin echo"
		case "":
			missing = "{ builtin echo " + quoted("type: "+name+": not found") + " >&2; builtin false; }"
		case "-p", "-P":
			known = "builtin :"
		}
		hc := interp.HandlerCtx(ctx)
		program, err := lookPath(s.sys, &Command{Args: []string{name}, Dir: hc.Dir, Env: exported(hc.Env)}, hc.Env.Get("PATH").String())
		switch {
		case err != nil:
			found = missing
		case flag == "-t":
			found += "file"
		case flag == "":
			found += quoted(name + " is " + program)
		default:
			found += quoted(program)
		}
		script.WriteString("case $(builtin type -t " + quoted(name) + " 2>&1) in " +
			"alias|builtin|function|keyword) " + known + " " + quoted(name) + ";; *) " + found + ";; esac\n")
	}
	return []string{"eval", script.String()}, nil
}

// quoted makes one word of text, whatever is in it.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
