package containerdtest_test

import (
	"os"
	osexec "os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/containerdtest/conformance"
)

// missingEnv names the member of a backend that a test in a process of its own
// leaves out.
const missingEnv = "CONTAINERDTEST_MISSING_MEMBER"

// TestABackendWithoutARequiredMember runs one case in a process of its own,
// because that has to fail.
func TestABackendWithoutARequiredMember(t *testing.T) {
	if missing := os.Getenv(missingEnv); missing != "" {
		conformance.Run(t, func(t *testing.T) conformance.Backend { return backendWithout(t, missing) })
		return
	}
	t.Parallel()
	for _, member := range []string{"Service", "Client", "Namespace", "Snapshotter", "Image"} {
		cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$/^images$/^PullImage")
		cmd.Env = append(os.Environ(), missingEnv+"="+member, "CONFORMANCE_REPORT=") // its cases are not the suite's
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		assert.Contains(t, string(out), "Backend."+member+" is required")
		assert.NotContains(t, string(out), "panic")
	}
}

func backendWithout(t *testing.T, member string) conformance.Backend {
	t.Helper()
	fake := containerdtest.New(t)
	b := conformance.Backend{
		Service: fake, Client: fake.NewClient(), Namespace: containerd.DefaultNamespace, Snapshotter: "overlayfs", Image: "image",
	}
	switch member {
	case "Service":
		b.Service = nil
	case "Client":
		b.Client = nil
	case "Namespace":
		b.Namespace = ""
	case "Snapshotter":
		b.Snapshotter = ""
	case "Image":
		b.Image = ""
	}
	return b
}
