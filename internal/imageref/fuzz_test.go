package imageref_test

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/imageref"
)

func FuzzNormalize(f *testing.F) {
	for _, ref := range []string{
		"nginx", "nginx:1.27", "localhost:5000/app", "evil.test/library/nginx", "docker.io/a/b@" + sha256Digest,
		"[::1]:5000/app", "Registry/app", "https://quay.io/app", "index.docker.io/nginx", sha256Digest, " ", "\xff",
	} {
		f.Add(ref)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		canonical, err := imageref.Normalize(ref)
		if err != nil {
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			assert.Empty(t, canonical)
			return
		}
		again, err := imageref.Normalize(canonical)
		require.NoError(t, err)
		assert.Equal(t, canonical, again, "not idempotent")

		host, path, ok := strings.Cut(canonical, "/")
		require.True(t, ok)
		assert.Equal(t, wantHost(ref), host, "another registry than the one asked for")
		assert.NotContains(t, strings.Split(path, "/"), "..")

		before, complete := imageref.Digest(ref)
		after, stillComplete := imageref.Digest(canonical)
		assert.Equal(t, before, after)
		assert.Equal(t, complete, stillComplete)
		if complete {
			assert.True(t, strings.HasSuffix(canonical, "@"+before.String()))
		}
	})
}

// wantHost says which registry Docker asks for ref: the part before the first
// slash if it looks like a host, else Docker Hub.
func wantHost(ref string) string {
	first, _, ok := strings.Cut(ref, "/")
	switch {
	case !ok || first == "index.docker.io":
		return "docker.io"
	case first == "localhost", strings.ContainsAny(first, ".:"), strings.ToLower(first) != first:
		return first
	}
	return "docker.io"
}
