package appletstest

// flags are what commands are usually called with.
var flags = []Line{
	{Name: "env with a command", Line: `env A=B sh -c 'echo $A $COLOR'; env -u COLOR A=B COLOR=x sh -c 'echo $A$COLOR; exit 3'`, Stdout: "B red\nBx\n", Code: 3},
	{Name: "env without an environment", Line: `env -i A=1 B=2 A=3; env -i PATH="$PATH" sh -c 'echo "<$COLOR>"'; env -u COLOR | grep`, Stdout: "B=2\nA=3\n<>\n",
		Stderr: "\"grep\": executable file not found in $PATH\n", Code: 127},
	{Name: "env and PATH", Line: `env no-such; echo $?; env PATH=/no ls; echo $?; touch f; env ./f 2>err; echo $?`, Stdout: "127\n127\n126\n",
		Stderr: "env: \"no-such\": executable file not found in $PATH\nenv: \"ls\": executable file not found in $PATH\n"},
	{Name: "env and a script", Line: `echo 'echo "$1$A"; exit 5' >s; chmod 755 s; env A=2 ./s 1`, Stdout: "12\n", Code: 5},
	{Name: "printenv", Line: `A=1 printenv COLOR A; printenv NO COLOR`, Stdout: "red\n1\nred\n", Code: 1},
	{Name: "wc of files", Line: `printf 'a b\nc\n' >f; wc -l f; wc -wc f; wc -l <f; wc f - <f; cat f | wc -w`,
		Stdout: "2 f\n3 6 f\n2\n2 3 6 f\n2 3 6 -\n4 6 12 total\n3\n"},
	{Name: "id", Line: `[ $(id -u) = $UID ] && [ $(id -g) = $GID ] && [ -n "$(id -G)" ] && [ -n "$(id -un 2>err)" ] && [ "$(id -u -n 2>&1)" = "$(id -nu 2>&1)" ]`},
	{Name: "touch of several", Line: `touch a -- -b; ls`, Stdout: "-b\na\n"},
	{Name: "rm with flags", Line: `mkdir -p d/e; touch f g; rm -f f no; rm -r d; rm -fr no; rm -f; mkdir d; rm -R g d; ls; mkdir d; rm d; echo $?; rm -r no; echo $?`,
		Stdout: "1\n1\n", Stderr: "rm: remove d: is a directory\nrm: remove no: no such file or directory\n"},
	{Name: "rm of a link", Line: `mkdir d; touch d/f; ln -s d l; rm l; ls; ls d; ln -s d l; rm -rf l; ls d`, Stdout: "d\nf\nf\n"},
	{Name: "ls with flags", Line: `touch .a b; mkdir d; touch d/.c; ls; echo; ls -1; echo; ls -a -1; echo; ls -A1 d`, Stdout: "b\nd\n\nb\nd\n\n.\n..\n.a\nb\nd\n\n.c\n"},
	{Name: "cat of the input", Line: `echo x >f; cat f - f`, Stdin: "in\n", Stdout: "x\nin\nx\n"},
	{Name: "sh with flags", Line: `sh -e -c 'false; echo no'; echo $?; sh -ec 'false; echo no'; echo $?; sh -lc 'echo "$1"' sh a; sh -o pipefail -c 'false | true'; echo $?`,
		Stdout: "1\n1\na\n1\n"},
	{Name: "sh that traces", Line: `sh -xc 'echo a'; sh -x -c 'true b' 2>&1; echo 'false; echo no' >s; sh -e s`, Stdout: "a\n+ true b\n", Stderr: "+ echo a\n", Code: 1},
	{Name: "sh -e from stdin", Line: `printf 'echo a\nfalse\necho b\n' | sh -e`, Stdout: "a\n", Code: 1},
	{Name: "kill with flags", Line: `kill -s 0 $$ && sh -c 'kill -s TERM $$; while :; do :; done'; echo $?; sh -c 'kill -KILL -- $$; while :; do :; done'; echo $?; sh -c 'kill -s sigint $$; while :; do :; done'; echo $?; sh -c 'kill $$; while :; do :; done'; echo $?`,
		Stdout: "143\n137\n130\n143\n"},
	{Name: "head of lines", Line: `printf '%s\n' 1 2 3 4 5 6 7 8 9 10 11 >f; head -n 2 f; head -1 f; head -n1 f; head f | wc -l; head -c2 f; echo a >g; head -n 1 f g; printf x | head -n 3`,
		Stdout: "1\n2\n1\n1\n10\n1\n==> f <==\n1\n\n==> g <==\na\nx"},
	{Name: "tail", Line: `printf '%s\n' 1 2 3 4 5 6 7 8 9 10 11 >f; tail -n 2 f; tail -1 f; tail f | wc -l; tail -n +10 f; tail -c 3 f; cat f | tail -c +22; tail -n 0 f; printf 'a\nb' | tail -n 1`,
		Stdout: "10\n11\n11\n10\n10\n11\n11\n11\nb"},
	{Name: "tail of a pipe that is to be followed", Line: `printf 'a\nb\n' | tail -f -n 1`, Stdout: "b\n"},
	{Name: "sleep with units", Line: `sleep 0.001s 0.0001m; sleep 0 0.0000001h 1e-9d; sleep 1e-400`},
	{Name: "echo with flags", Line: `echo -e 'a\tb'; echo -n x; echo -ne 'y\n'; echo -E 'a\tb'; echo -x -e; exec echo -ne 'a\tb\n'`, Stdout: "a\tb\nxy\na\\tb\n-x -e\na\tb\n"},
	{Name: "ln -f", Line: `echo a >f; touch l; ln -sf f l; cat l; ln -f f l; rm f; cat l`, Stdout: "a\na\n"},
	{Name: "command -v", Line: `f() { :; }; command -v f echo if >out; command -v no-such; echo $?; [ "$(command -v ls)" = "$(type -p ls)" ] && [ -x "$(command -v ls)" ] && command -v ls >err; echo $?; cat out`,
		Stdout: "1\n0\nf\necho\nif\n"},
	{Name: "type", Line: `f() { :; }; type -t f echo ls if; type f; type no; echo $?; type ls >out`, Stdout: "function\nbuiltin\nfile\nkeyword\nf is a function\n1\n", Stderr: "type: no: not found\n"},
}

// usages are calls that a command does not take.
var usages = []Line{
	{Name: "unknown flag of touch", Line: `touch -d x q; echo $?; ls`, Stdout: "2\n", Stderr: "touch: unknown flag -d; usage: touch FILE...\n"},
	{Name: "unknown flag of rm", Line: `touch f; rm --force f; ls`, Stdout: "f\n", Stderr: "rm: unknown flag --force; usage: rm [-f] [-r | -R] FILE...\n"},
	{Name: "unknown flags", Line: `for c in 'cat -n' 'chmod -R 644 f' 'env -S x' 'head -q' 'hostname -f' 'id -r' 'ln -r a b' 'ls -l' 'mkdir -m 755 d' 'pause -x' 'printenv -0' 'exec pwd -P' 'readlink -f x' 'sh -z' 'sha256sum -c' 'sigtrap -x' 'sleep -1' 'tail -s 1' 'tty -s' 'wc -m' 'zeros -1'; do (eval "$c") 2>>err >&2 && echo $c; [ $? = 2 ] || echo "$c"; done; wc -l <err`,
		Stdout: "21\n"},
	{Name: "what is no number", Line: `for c in 'head -n x' 'head -n -1' 'head -c' 'tail -n 1k' 'tail -n 1 -c 1' 'sleep NaN' 'sleep s' 'sleep 1x' 'sleep -- -1' 'zeros x' 'hold x' 'sigtrap TERM x' 'chmod +x f' 'id -u -g' 'id -n' 'kill' 'kill -s' 'kill -9' 'sh -c' 'sh -o no' 'rm' 'mkdir' 'touch' 'readlink' 'tty x' 'hostname x'; do (eval "$c") 2>>err >&2; [ $? = 2 ] || echo "$c"; done; wc -l <err`,
		Stdout: "26\n"},
}
