// Package appletstest holds shell lines and what they do on every
// [applets.System], real or fake.
package appletstest

// Line is a shell line and what it does. It runs in an empty directory that the
// process may write to, with all applets in the PATH, COLOR=red in the
// environment and no HOME.
type Line struct {
	Name   string
	Line   string
	Args   []string // $1 and so on
	Stdin  string
	Stdout string // all of it, as Stderr
	Stderr string
	Code   int
}

// Lines returns all lines.
func Lines() []Line {
	var all []Line
	for _, group := range [][]Line{shell, exits, variables, files, streams, jobs, programs, flags, usages} {
		all = append(all, group...)
	}
	return all
}

var shell = []Line{
	{Name: "nothing", Line: ""},
	{Name: "arguments", Line: `echo $# "$1" "$2"`, Args: []string{"a  b", "*"}, Stdout: "2 a  b *\n"},
	{Name: "arithmetic", Line: `n=0; while [ $n -lt 3 ]; do n=$((n+1)); done; echo $n`, Stdout: "3\n"},
	{Name: "case", Line: `case abc in x*) echo x;; a*) echo a;; esac`, Stdout: "a\n"},
	{Name: "function", Line: `f() { echo "<$1>"; return 4; }; f x; echo $?`, Stdout: "<x>\n4\n"},
	{Name: "command substitution", Line: `a=$(echo x; cat; false); echo $a $?`, Stdin: "y", Stdout: "x y 1\n"},
	{Name: "printf", Line: `printf '%s-%s\n' a b`, Stdout: "a-b\n"},
	{Name: "here document", Line: "cat <<END\nhello $COLOR\nEND", Stdout: "hello red\n"},
	{Name: "syntax error", Line: `if`, Stderr: "sh: sh:1:1: `if` must be followed by a statement list\n", Code: 1},
	{Name: "eval", Line: `eval 'echo a; exit 3'`, Stdout: "a\n", Code: 3},
	{Name: "script file", Line: `echo 'echo "$#$1"; exit 3' >s; sh s a b`, Stdout: "2a\n", Code: 3},
	{Name: "absent script file", Line: `sh s`, Stderr: "sh: open s: no such file or directory\n", Code: 1},
	{Name: "sourced file", Line: `echo 'a=b' >s; . ./s; echo $a`, Stdout: "b\n"},
	{Name: "script from stdin", Line: `printf 'echo a\necho b; exit 3\necho c\n' | sh`, Stdout: "a\nb\n", Code: 3},
	{Name: "exit trap", Line: `trap 'echo bye' EXIT; echo hi; exit 3`, Stdout: "hi\nbye\n", Code: 3},
}

var exits = []Line{
	{Name: "exit 0", Line: `true`},
	{Name: "exit 1", Line: `false`, Code: 1},
	{Name: "exit 255", Line: `exit 255`, Code: 255},
	{Name: "exit code of a child", Line: `sh -c 'exit 5'; echo $?`, Stdout: "5\n"},
	{Name: "exit code of the last command", Line: `sh -c 'exit 5'`, Code: 5},
	{Name: "errexit", Line: `set -e; sh -c 'exit 5'; echo no`, Code: 5},
	{Name: "and, or", Line: `false && echo no || echo yes`, Stdout: "yes\n"},
	{Name: "exec", Line: `exec sh -c 'exit 9'; echo no`, Code: 9},
	{Name: "exec of what is builtin", Line: `exec echo x; echo no`, Stdout: "x\n"},
	{Name: "absent program", Line: `no-such; echo $?`, Stdout: "127\n", Stderr: "\"no-such\": executable file not found in $PATH\n"},
	{Name: "absent path", Line: `./no-such 2>err; echo $?; wc -l <err`, Stdout: "127\n1\n"},
	{Name: "file without the right to execute", Line: `touch f; ./f 2>err; echo $?; wc -l <err`, Stdout: "126\n1\n"},
	{Name: "directory as program", Line: `mkdir d; ./d 2>err; echo $?; wc -l <err`, Stdout: "126\n1\n"},
	{Name: "script without interpreter", Line: `echo 'echo "$1$#$COLOR"; exit 6' >s; chmod 755 s; ./s a b`, Stdout: "a2red\n", Code: 6},
	{Name: "program by path", Line: `for dir in $PATH; do $dir/echo x; done`, Stdout: "x\n"},
	{Name: "no PATH", Line: `PATH=; ls`, Stderr: "\"ls\": executable file not found in $PATH\n", Code: 127},
	{Name: "killed by itself", Line: `kill -9 $$; exit 3`, Code: 137},
	{Name: "killed child", Line: `sh -c 'kill -KILL $$; exit 3'; echo $?`, Stdout: "137\n"},
}

var variables = []Line{
	{Name: "environment", Line: `echo $COLOR; printenv COLOR`, Stdout: "red\nred\n"},
	{Name: "changed environment", Line: `COLOR=blue; printenv COLOR`, Stdout: "blue\n"},
	{Name: "removed environment", Line: `unset COLOR; printenv COLOR`, Code: 1},
	{Name: "not exported", Line: `A=1; printenv A`, Code: 1},
	{Name: "exported", Line: `A=1; export A; printenv A; export B=2; printenv B`, Stdout: "1\n2\n"},
	{Name: "exported, then changed", Line: `export A=1; A=2; printenv A`, Stdout: "2\n"},
	{Name: "for one command", Line: `A=1 printenv A; COLOR=blue printenv COLOR; printenv COLOR; printenv A`, Stdout: "1\nblue\nred\n", Code: 1},
	{Name: "every name once", Line: `COLOR=blue; env | while read l; do case $l in COLOR=*) echo $l;; esac; done`, Stdout: "COLOR=blue\n"},
	{Name: "working directory", Line: `[ "$PWD" = "$(exec pwd)" ] && [ "$(pwd)" = "$PWD" ]`},
	{Name: "user", Line: `[ $UID = $(id -u) ] && [ $EUID = $UID ] && [ $GID = $(id -g) ]`},
	{Name: "home", Line: `echo "<$HOME>"; printenv HOME`, Stdout: "<>\n", Code: 1},
	{Name: "process", Line: `kill -0 $$ && [ $$ -gt 0 ] && [ "$(echo $$)" = $$ ] && (exit $(($$-${$})))`},
	{Name: "process of a child", Line: `[ $(sh -c 'echo $$') != $$ ]`},
	{Name: "host", Line: `[ -n "$(hostname)" ]`},
}

var files = []Line{
	{Name: "redirections", Line: `echo one >f; echo two >>f; cat <f; cat f f | wc -l; echo three >f; cat f`, Stdout: "one\ntwo\n4\nthree\n"},
	{Name: "input of a group", Line: `printf 'a\nb\n' >f; { read x; read y; } <f; echo $y$x`, Stdout: "ba\n"},
	{Name: "large input", Line: `zeros 200000 >f; wc -c <f; true <f; head -c 5 <f | wc -c`, Stdout: "200000\n5\n"},
	{Name: "file in a substitution", Line: `echo x >f; echo "<$(<f)>"`, Stdout: "<x>\n"},
	{Name: "absent input", Line: `{ cat <f; } 2>err; echo $?; wc -l <err`, Stdout: "1\n1\n"},
	{Name: "output in an absent directory", Line: `echo x >/no/such`, Stderr: "open /no/such: no such file or directory\n", Code: 1},
	{Name: "redirections for good", Line: `exec 2>err; echo x >&2; cat err`, Stdout: "x\n"},
	{Name: "globs", Line: `touch b a c; mkdir d; touch d/x d/y; echo *; echo [ab]; echo d/*; echo */x; echo no*`, Stdout: "a b c d\na b\nd/x d/y\nd/x\nno*\n"},
	{Name: "cd", Line: `mkdir -p d/e; cd d; echo x >f; cat f; ls; [ -d e ]; cd ../d/e; ls ..; cd; echo $?`, Stdout: "x\ne\nf\ne\nf\n1\n", Stderr: "cd: empty directory path\n"},
	{Name: "cd to what is absent", Line: `cd no || ls`, Stderr: "cd: no such file or directory: \"no\"\n"},
	{Name: "cd in a subshell", Line: `mkdir d; (cd d; touch x); ls; ls d`, Stdout: "d\nx\n"},
	{Name: "test", Line: `touch f; mkdir d; ln -s no l; for o in -e -f -d -s -L -r -w -x; do for x in f d l no; do [ $o $x ] && echo -n " $o$x"; done; done`,
		Stdout: " -ef -ed -ff -dd -sd -Ll -rf -rd -wf -wd -xd", Code: 1},
	{Name: "chmod", Line: `touch f; chmod 755 f; [ -x f ]`},
	{Name: "mkdir", Line: `mkdir d; mkdir -p d/e/f; ls d; mkdir d/e`, Stdout: "e\n", Stderr: "mkdir: mkdir d/e: file exists\n", Code: 1},
	{Name: "rm", Line: `mkdir -p d/e; touch f; rm f; rm -rf d; ls; rm f`, Stderr: "rm: remove f: no such file or directory\n", Code: 1},
	{Name: "links", Line: `echo x >f; ln -s f s; ln f h; readlink s; rm f; cat h; [ ! -e s ]`, Stdout: "f\nx\n"},
	{Name: "ls of a file, and of nothing", Line: `touch f; ls f; ls no`, Stdout: "f\n", Stderr: "ls: stat no: no such file or directory\n", Code: 1},
	{Name: "wait for a file", Line: `{ sleep 0.05; echo > go; } & while [ ! -e go ]; do sleep 0.01; done; exit 7`, Code: 7},
}

var streams = []Line{
	{Name: "input at its end", Line: `cat; exit 7`, Code: 7},
	{Name: "input for a child", Line: `cat`, Stdin: "abc", Stdout: "abc"},
	{Name: "input for several children", Line: `head -c 2; echo; sh -c 'head -c 1; cat'`, Stdin: "abcd", Stdout: "ab\ncd"},
	{Name: "input for the shell", Line: `read a b; read c; echo "$c$b$a"; cat`, Stdin: "x y z\nu\nrest\n", Stdout: "uy zx\nrest\n"},
	{Name: "input for a child, then the shell", Line: `head -c 2; command read a; echo "<$a>"`, Stdin: "abcd\n", Stdout: "ab<cd>\n"},
	{Name: "lines", Line: `while read l; do echo "<$l>"; done`, Stdin: "a\nb\nc\n", Stdout: "<a>\n<b>\n<c>\n"},
	{Name: "array of lines", Line: `mapfile -t a; echo ${a[1]}`, Stdin: "a\nb\nc\n", Stdout: "b\n"},
	{Name: "read at the end", Line: `read x; echo $?`, Stdout: "1\n"},
	{Name: "stderr", Line: `echo out && echo err >&2 && exit 7`, Stdout: "out\n", Stderr: "err\n", Code: 7},
	{Name: "both in one", Line: `{ echo out; sh -c 'echo err >&2'; } 2>&1 | wc -l`, Stdout: "2\n"},
	{Name: "closed output", Line: `echo x >&-; ls >&-`},
	{Name: "pipe", Line: `echo abc | cat | wc -c`, Stdout: "4\n"},
	{Name: "pipe whose reader ends first", Line: `set -o pipefail; zeros 10000000 | head -c 1 >f; echo $?; wc -c f`, Stdout: "141\n1 f\n"},
	{Name: "shell whose reader ends first", Line: `set -o pipefail; sh -c 'while true; do echo x; done' | head -c 2; echo $?`, Stdout: "x\n141\n"},
	{Name: "no terminal", Line: `tty; [ -t 0 ] || [ -t 1 ]`, Stdout: "not a tty\n", Code: 1},
	{Name: "much output", Line: `s=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do s=$s$s; done; for i in x x x; do echo $s; done | wc -c`, Stdout: "196611\n"},
}

var jobs = []Line{
	{Name: "wait", Line: `{ sleep 0.01; echo a >f; } & wait; cat f`, Stdout: "a\n"},
	{Name: "wait for one", Line: `sh -c 'exit 4' & wait $!; echo $?`, Stdout: "4\n"},
	{Name: "background", Line: `while [ ! -e go ]; do sleep 0.01; done & touch go; wait`},
	{Name: "variables of a job", Line: `[ $$ = "$(echo $$ & wait)" ] && { a=1; echo $a >f; } & wait; echo "$a"; cat f`, Stdout: "\n1\n"},
}

var programs = []Line{
	{Name: "echo", Line: `exec echo -n a "b  c"`, Stdout: "a b  c"},
	{Name: "true and false", Line: `sh -c 'exec true' && sh -c 'exec false'`, Code: 1},
	{Name: "sha256sum", Line: `echo -n abc >f; sha256sum f; sha256sum`, Stdin: "abc",
		Stdout: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  f\nba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n"},
	{Name: "wc", Line: `printf 'a\nb\n' >f; wc -c f; wc -l f; wc`, Stdout: "4 f\n2 f\n0 0 0\n"},
	{Name: "head", Line: `echo abc >f; head -c 2 f; head -c 9 f; head 1`, Stdout: "ababc\n", Stderr: "head: open 1: no such file or directory\n", Code: 1},
	{Name: "cat of what is absent", Line: `cat no`, Stderr: "cat: open no: no such file or directory\n", Code: 1},
	{Name: "zeros", Line: `zeros 70000 | wc -c; zeros`, Stdout: "70000\n", Stderr: "zeros: usage: zeros N\n", Code: 2},
	{Name: "sleep", Line: `sleep 0.001; sleep`, Stderr: "sleep: usage: sleep NUMBER[s|m|h|d]...\n", Code: 2},
	{Name: "hold", Line: `hold 0.01; hold`, Stderr: "hold: usage: hold SECONDS\n", Code: 2},
	{Name: "kill", Line: `kill -NOPE $$; kill x`, Stderr: "kill: signal \"NOPE\" is unknown\nkill: \"x\" is no process; usage: kill [-s SIGNAL | -SIGNAL] PID...\n", Code: 2},
	{Name: "kill of what is absent", Line: `kill 99999999`, Stderr: "kill: no such process\n", Code: 1},
	{Name: "sigtrap", Line: `sigtrap NOPE 1; sigtrap`, Stderr: "sigtrap: signal \"NOPE\" is unknown\nsigtrap: usage: sigtrap SIGNAL CODE|ignore\n", Code: 2},
	{Name: "wrong usage", Line: `ln x; chmod x`,
		Stderr: "ln: usage: ln [-s] [-f] TARGET NAME\nchmod: usage: chmod OCTAL FILE...\n", Code: 2},
}
