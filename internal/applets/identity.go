package applets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
)

// id prints the user (-u), the group (-g) or all groups (-G), as names with -n;
// or the numbers of all of these.
func id(_ context.Context, sys System, c call) error {
	groups, err := sys.Getgroups()
	if err != nil {
		return err
	}
	if !slices.Contains(groups, sys.Getgid()) {
		groups = slices.Insert(groups, 0, sys.Getgid())
	}
	what, chosen := "", 0
	for _, flag := range []byte("ugG") {
		if c.has(flag) {
			what, chosen = string(flag), chosen+1
		}
	}
	ids := map[string][]int{"u": {sys.Getuid()}, "g": {sys.Getgid()}, "G": groups}[what]
	switch {
	case chosen > 1:
		return misuse("-u, -g and -G exclude each other")
	case chosen == 0 && c.has('n'):
		return misuse("-n alone means nothing")
	case chosen == 0:
		return say(sys, fmt.Sprintf("uid=%d gid=%d groups=%s", sys.Getuid(), sys.Getgid(), strings.Trim(fmt.Sprint(groups), "[]")))
	}
	var words []string
	var unnamed error
	for _, id := range ids {
		word := strconv.Itoa(id)
		if c.has('n') {
			name, err := nameOf(sys, id, what == "u")
			if err != nil {
				return err
			}
			if name == "" {
				complain(sys, "id: cannot find name for ID %d\n", id)
				name, unnamed = word, exitCode(1)
			}
			word = name
		}
		words = append(words, word)
	}
	return errors.Join(say(sys, strings.Join(words, " ")), unnamed)
}

// nameOf returns the name of a user or a group, or "".
func nameOf(sys System, id int, isUser bool) (name string, err error) {
	file := "/etc/group"
	if isUser {
		file = "/etc/passwd"
	}
	f, err := sys.OpenFile(file, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if isUser {
		found, err := user.ParsePasswdFilter(f, func(u user.User) bool { return u.Uid == id })
		if err != nil || len(found) == 0 {
			return "", err
		}
		return found[0].Name, nil
	}
	found, err := user.ParseGroupFilter(f, func(g user.Group) bool { return g.Gid == id })
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0].Name, nil
}

func pwd(_ context.Context, sys System, _ call) error {
	dir, err := sys.Getwd()
	if err != nil {
		return err
	}
	return say(sys, dir)
}

func hostname(_ context.Context, sys System, _ call) error {
	name, err := sys.Hostname()
	if err != nil {
		return err
	}
	return say(sys, name)
}

// tty says whether stdin is a terminal.
func tty(_ context.Context, sys System, _ call) error {
	if sys.IsTerminal() {
		return say(sys, "terminal")
	}
	return errors.Join(say(sys, "not a tty"), exitCode(1))
}
