package containerdmock_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdmock"
)

var (
	_ containerd.Service          = (*containerdmock.Service)(nil)
	_ containerd.ImageService     = (*containerdmock.ImageService)(nil)
	_ containerd.ContainerService = (*containerdmock.ContainerService)(nil)
	_ containerd.TaskService      = (*containerdmock.TaskService)(nil)
	_ containerd.SnapshotService  = (*containerdmock.SnapshotService)(nil)
	_ containerd.Connection       = (*containerdmock.Connection)(nil)
	_ containerd.Inspector        = (*containerdmock.Inspector)(nil)
	_ containerd.TaskWaiter       = (*containerdmock.TaskWaiter)(nil)
	_ containerd.TaskController   = (*containerdmock.TaskController)(nil)
	_ containerd.TaskMonitor      = (*containerdmock.TaskMonitor)(nil)
	_ containerd.Executor         = (*containerdmock.Executor)(nil)
	_ containerd.Exec             = (*containerdmock.Exec)(nil)
)

// interfaces returns the names of a package's exported interfaces.
func interfaces(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				if _, ok := spec.Type.(*ast.InterfaceType); ok {
					names = append(names, spec.Name.Name)
				}
			}
			return true
		})
	}
	return names
}

func TestEveryRoleHasAMock(t *testing.T) {
	roles := interfaces(t, "..")
	require.Contains(t, roles, "Service")
	mocks := map[string]bool{}
	files, err := filepath.Glob("mock_*.go")
	require.NoError(t, err)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				mocks[spec.Name.Name] = true
			}
			return true
		})
	}
	for _, role := range roles {
		// Engine grows, so no test should depend on all of it; a TaskIO is one of
		// this module's own.
		assert.True(t, mocks[role] || role == "Engine" || role == "TaskIO", "no mock of %s", role)
	}
}

func TestMockAnswersWhatItWasTold(t *testing.T) {
	svc := containerdmock.NewService(t)
	svc.EXPECT().StopTask(mock.Anything, "web", (*containerd.StopTaskOptions)(nil)).Return(errdefs.ErrNotFound).Once()

	err := svc.StopTask(t.Context(), "web", nil)

	assert.ErrorIs(t, err, errdefs.ErrNotFound)
}
