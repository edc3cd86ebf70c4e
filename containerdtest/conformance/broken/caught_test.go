// Package broken_test shows that the conformance suite can fail: it runs it
// over services with one classic bug each, and checks that the cases that name
// the bug catch it.
package broken_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/containerdtest/conformance"
	"github.com/ctrdkit/containerd/internal/testimage"
)

const (
	// bugEnv names the bug that this process has; it is then a child of the test,
	// because a case that fails makes the test fail that runs it.
	bugEnv = "CONFORMANCE_BUG"
	// wholeEnv, if it is set, makes every bug meet the whole suite, which takes
	// many minutes: it finds the cases that a bug fails without being expected to.
	wholeEnv = "CONFORMANCE_BUGS_WHOLE"
	// reportEnv makes the suite report to a file, where the children don't count.
	reportEnv = "CONFORMANCE_REPORT"
	// memory is a file system that forgets, for the fakes' many small files.
	memory = "/dev/shm"
)

// bug is a mistake that wrappers of containerd make in a method, which is the
// first word of the name.
type bug struct {
	name string
	// service is the one that has it.
	service func(broken) containerd.Service
	// caught are the cases that name the bug. All of them fail.
	caught []string
	// says is part of what the first of them reports: it fails for this reason.
	says string
	// may are the beginnings of cases that may fail too, besides the method's own:
	// they use the method, or what is in its place lacks more than the bug says.
	may []string
	// works are cases that pass: the service is sound but for the bug.
	works []string
	// timing says that the bug shows at a moment that not every run of the case
	// meets, only nearly every one: it gets three.
	timing bool
}

// bugs are all that the suite is known to catch.
var bugs = slices.Concat(imageBugs, containerBugs, deleteBugs, snapshotBugs, taskBugs, stopBugs, execBugs, methodBugs)

func TestEveryBugIsCaught(t *testing.T) {
	if name, child := os.LookupEnv(bugEnv); child {
		runSuite(t, find(t, name))
		return
	}
	for _, b := range bugs {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			r := startSuite(t, b.name, slices.Concat(b.caught, b.works))
			for range 2 {
				if b.timing && !b.caughtIn(r) {
					r = startSuite(t, b.name, slices.Concat(b.caught, b.works))
				}
			}
			b.check(t, r)
		})
	}
	t.Run("no bug", func(t *testing.T) {
		t.Parallel()
		var cases []string
		for _, b := range bugs {
			cases = append(cases, slices.Concat(b.caught, b.works)...)
		}
		r := startSuite(t, "", cases)
		for _, name := range cases {
			assert.Equal(t, "PASS", r[name].outcome, "the service without a bug fails %q:\n%s", name, r[name].output)
		}
	})
}

// find returns the bug of that name, or none for "".
func find(t *testing.T, name string) bug {
	t.Helper()
	if name == "" {
		return bug{service: func(b broken) containerd.Service { return b.Service }}
	}
	i := slices.IndexFunc(bugs, func(b bug) bool { return b.name == name })
	require.GreaterOrEqual(t, i, 0, "there is no bug %q", name)
	return bugs[i]
}

// runSuite runs the cases that the -run flag selects over the bug's service.
func runSuite(t *testing.T, b bug) {
	content, err := testimage.Make(testimage.Userland([]byte("all commands of package containerdtest\n")))
	require.NoError(t, err)
	registry := testimage.NewRegistry()
	t.Cleanup(registry.Close)
	image := registry.Push("userland:v1", content)

	conformance.Run(t, func(t *testing.T) conformance.Backend {
		fake := containerdtest.New(t)
		namespace := "test-" + strings.ToLower(rand.Text()[:12])
		svc := fake.Open(namespace)
		return conformance.Backend{
			Service:     b.service(broken{Service: svc, client: svc.Client(), namespace: namespace, dir: t.TempDir()}),
			Client:      fake.NewClient(),
			Namespace:   namespace,
			Snapshotter: "overlayfs",
			Image:       image,
			Restart:     func(*testing.T) { fake.RestartDaemon() },
		}
	})
}

// caughtIn says whether the first of the cases that name the bug caught it.
func (b bug) caughtIn(r results) bool {
	first := r[b.caught[0]]
	return first.outcome == "FAIL" && strings.Contains(first.output, b.says)
}

// check holds what the suite found against what it should have found.
func (b bug) check(t *testing.T, r results) {
	t.Helper()
	for _, name := range b.caught {
		assert.Equal(t, "FAIL", r[name].outcome, "%q got through: it passes %q:\n%s", b.name, name, r[name].output)
	}
	assert.Contains(t, r[b.caught[0]].output, b.says, "%q fails for another reason than %q", b.caught[0], b.name)
	for _, name := range b.works {
		assert.Equal(t, "PASS", r[name].outcome, "%q is not all that is wrong, also %q fails:\n%s", b.name, name, r[name].output)
	}
	method, _, _ := strings.Cut(b.name, " ")
	for name, found := range r {
		_, sentence, _ := strings.Cut(name, "/")
		expected := slices.Contains(b.caught, name) || strings.HasPrefix(sentence, method+": ") ||
			slices.ContainsFunc(b.may, func(begin string) bool { return strings.HasPrefix(name, begin) })
		if found.outcome == "FAIL" && !expected {
			t.Errorf("%q also fails %q:\n%s", b.name, name, found.output)
		}
	}
}

// results are what became of cases, by GROUP/CASE.
type results map[string]result

type result struct {
	outcome string // PASS, FAIL or SKIP; "" if the case did not run to its end
	output  string
}

// startSuite runs cases over the service with a bug, in a process of its own.
func startSuite(t *testing.T, name string, cases []string) results {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	if inMemory, err := os.MkdirTemp(memory, "broken-"); err == nil {
		dir = inMemory
		t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	}
	selection := pattern(t.Name(), cases)
	if os.Getenv(wholeEnv) != "" {
		selection = pattern(t.Name(), nil)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run", selection, "-test.v", "-test.count=1", "-test.timeout=15m")
	cmd.Env = append(os.Environ(), bugEnv+"="+name, reportEnv+"=", "TMPDIR="+dir,
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	failed := cmd.Run()
	r := parse(output.String())
	for _, name := range cases {
		assert.NotEmpty(t, r[name].outcome, "%s did not run to its end, or is no case", name)
	}
	if t.Failed() {
		t.Fatalf("%v:\n%s", failed, &output)
	}
	return r
}

// pattern selects cases with the -run flag, or all of them.
func pattern(test string, cases []string) string {
	test, _, _ = strings.Cut(test, "/")
	if len(cases) == 0 {
		return "^" + test + "$"
	}
	patterns := make([]string, 0, len(cases))
	for _, name := range cases {
		elements := strings.Split(strings.ReplaceAll(test+"/"+name, " ", "_"), "/")
		for i, element := range elements {
			elements[i] = "^" + regexp.QuoteMeta(element) + "$"
		}
		patterns = append(patterns, strings.Join(elements, "/"))
	}
	return strings.Join(patterns, "|")
}

var (
	// speaks is the line before what a test prints.
	speaks = regexp.MustCompile(`^=== (?:RUN|NAME|CONT|PAUSE) +\S+?/(\S+)$`)
	// ends is the line after a test's end.
	ends = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): \S+?/(\S+) \(`)
)

// parse reads what "go test -v" prints.
func parse(output string) results {
	r := make(results)
	speaker := ""
	for line := range strings.Lines(output) {
		if m := speaks.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			speaker = caseName(m[1])
			continue
		}
		if m := ends.FindStringSubmatch(line); m != nil {
			if name := caseName(m[2]); strings.Contains(name, "/") {
				r[name] = result{m[1], r[name].output}
			}
			continue
		}
		r[speaker] = result{r[speaker].outcome, r[speaker].output + line}
	}
	return r
}

// caseName takes back what package testing does to a subtest's name; no case
// has an underscore in its name.
func caseName(test string) string { return strings.ReplaceAll(test, "_", " ") }
