package containerd_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rootImports are the modules that the root package may stand on, besides the
// standard library and this module: containerd and what its client brings.
var rootImports = []string{
	"github.com/containerd/console",
	"github.com/containerd/containerd/api",
	"github.com/containerd/containerd/v2",
	"github.com/containerd/errdefs",
	"github.com/containerd/fifo",
	"github.com/containerd/log",
	"github.com/containerd/platforms",
	"github.com/containerd/typeurl/v2",
	"github.com/distribution/reference",
	"github.com/moby/sys/signal",
	"github.com/moby/sys/user",
	"github.com/opencontainers/go-digest",
	"github.com/opencontainers/image-spec",
	"github.com/opencontainers/runtime-spec",
	"golang.org/x/sync",
	"golang.org/x/sys",
	"google.golang.org/grpc",
	"google.golang.org/protobuf",
}

func TestRootImportsOnlyWhatContainerdsClientBrings(t *testing.T) {
	for _, dir := range []string{".", "internal/clock", "internal/seam", "internal/imageref", "internal/filter", "internal/rootfs", "internal/quote", "internal/cgroupstats"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, path := range imports(t, file) {
				assert.True(t, allowed(path), "%s imports %s", file, path)
			}
		}
	}
}

func allowed(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	if !strings.Contains(first, ".") || strings.HasPrefix(path, "github.com/ctrdkit/containerd/internal/") {
		return true
	}
	return slices.ContainsFunc(rootImports, func(module string) bool {
		return path == module || strings.HasPrefix(path, module+"/")
	})
}

func imports(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	require.NoError(t, err)
	var paths []string
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		paths = append(paths, path)
	}
	return paths
}

func TestEveryPackageHasOnePackageComment(t *testing.T) {
	comments := make(map[string][]string)
	walkGo(t, func(file string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
		require.NoError(t, err)
		dir := filepath.Dir(file)
		comments[dir] = slices.Clip(comments[dir])
		if parsed.Doc != nil {
			comments[dir] = append(comments[dir], file)
		}
	})
	for dir, files := range comments {
		assert.Len(t, files, 1, "package comments in %s", dir)
	}
}

func TestOnlyTestsAndMocksImportTestify(t *testing.T) {
	walkGo(t, func(file string) {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "internal/grpcmock/") || strings.HasPrefix(file, "containerdmock/") {
			return
		}
		for _, path := range imports(t, file) {
			assert.NotContains(t, path, "testify", "%s", file)
		}
	})
}

// walkGo calls visit for every Go file of this module.
func walkGo(t *testing.T, visit func(file string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			visit(path)
		}
		return nil
	})
	require.NoError(t, err)
}

func TestModuleHasNoReplace(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	assert.NotContains(t, string(mod), "replace")
}

func TestReadmeShowsTheHelloProgram(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	program, err := os.ReadFile("examples/hello/main.go")
	require.NoError(t, err)
	assert.Contains(t, string(readme), "```go\n"+string(program)+"```\n")
	assert.Less(t, strings.Count(string(readme), "\n"), 150, "lines of README.md")
}

// TestDocumentsQuoteCodeThatIsTested finds every Go block of a document, byte for
// byte, in the code that it is from.
func TestDocumentsQuoteCodeThatIsTested(t *testing.T) {
	for doc, sources := range map[string][]string{
		"README.md":       {"examples/hello/main.go", "examples/reconciler/testdata/downstream/*.go"},
		"docs/TESTING.md": {"examples/reconciler/*.go", "examples/reconciler/testdata/suite/*.go"},
	} {
		text, err := os.ReadFile(doc)
		require.NoError(t, err)
		assert.Less(t, strings.Count(string(text), "\n"), 250, "lines of %s", doc)
		code := "\n"
		for _, pattern := range sources {
			files, err := filepath.Glob(pattern)
			require.NoError(t, err)
			require.NotEmpty(t, files, pattern)
			for _, file := range files {
				content, err := os.ReadFile(file)
				require.NoError(t, err)
				code += string(content)
			}
		}
		blocks := strings.Split(string(text), "```go\n")[1:]
		assert.NotEmpty(t, blocks, doc)
		for _, block := range blocks {
			quote, _, _ := strings.Cut(block, "```")
			if !strings.Contains(code, "\n"+quote) {
				t.Errorf("%s has Go code that is not in %v:\n%s", doc, sources, quote)
			}
		}
	}
}

func TestArchitectureStaysShort(t *testing.T) {
	text, err := os.ReadFile("docs/ARCHITECTURE.md")
	require.NoError(t, err)
	assert.Less(t, strings.Count(string(text), "\n"), 120, "lines of docs/ARCHITECTURE.md")
}
