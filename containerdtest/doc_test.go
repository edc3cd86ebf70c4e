package containerdtest_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/applets"
)

func TestThePackageCommentHasTheUsageOfEveryCommand(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for _, name := range applets.Names() {
		assert.Contains(t, string(text), "\n//\t"+applets.Usage(name))
	}
}
