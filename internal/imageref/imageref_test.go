package imageref_test

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/imageref"
)

const (
	sha256Digest = "sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa"
	hex64        = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa"
)

func TestNormalize(t *testing.T) {
	sha512Digest := digest.SHA512.FromString("x").String()
	tests := map[string]string{
		"nginx":                                  "docker.io/library/nginx:latest",
		"nginx:1.27":                             "docker.io/library/nginx:1.27",
		"library/nginx":                          "docker.io/library/nginx:latest",
		"docker.io/nginx":                        "docker.io/library/nginx:latest",
		"docker.io/library/nginx:latest":         "docker.io/library/nginx:latest",
		"index.docker.io/nginx":                  "docker.io/library/nginx:latest",
		"grafana/grafana":                        "docker.io/grafana/grafana:latest",
		"a/b/c":                                  "docker.io/a/b/c:latest",
		"quay.io/nginx":                          "quay.io/nginx:latest",
		"evil.test/library/nginx":                "evil.test/library/nginx:latest",
		"docker.io.evil.test/library/nginx":      "docker.io.evil.test/library/nginx:latest",
		"localhost/app":                          "localhost/app:latest",
		"localhost:5000/app:v1":                  "localhost:5000/app:v1",
		"registry:5000/app":                      "registry:5000/app:latest",
		"127.0.0.1:5000/a/b:c":                   "127.0.0.1:5000/a/b:c",
		"[::1]:5000/app":                         "[::1]:5000/app:latest",
		"Registry/app":                           "Registry/app:latest",
		"EXAMPLE.com/app:Tag_1.2-x":              "EXAMPLE.com/app:Tag_1.2-x",
		"localhost":                              "docker.io/library/localhost:latest",
		"host:5000":                              "docker.io/library/host:5000",
		"nginx@" + sha256Digest:                  "docker.io/library/nginx@" + sha256Digest,
		"nginx@" + sha512Digest:                  "docker.io/library/nginx@" + sha512Digest,
		"nginx:1.27@" + sha256Digest:             "docker.io/library/nginx@" + sha256Digest,
		"localhost:5000/app:v1@" + sha256Digest:  "localhost:5000/app@" + sha256Digest,
		"docker.io/library/" + hex64:             "docker.io/library/" + hex64 + ":latest",
		"quay.io/" + strings.Repeat("a", 255):    "quay.io/" + strings.Repeat("a", 255) + ":latest",
		"nginx:" + strings.Repeat("t", 128):      "docker.io/library/nginx:" + strings.Repeat("t", 128),
		"xn--7o8h.com/myimage":                   "xn--7o8h.com/myimage:latest",
		"docker.io/library/nginx" + ":" + "1__2": "docker.io/library/nginx:1__2",
	}
	for ref, want := range tests {
		t.Run(ref, func(t *testing.T) {
			got, err := imageref.Normalize(ref)
			require.NoError(t, err)
			assert.Equal(t, want, got)

			again, err := imageref.Normalize(got)
			require.NoError(t, err)
			assert.Equal(t, got, again, "normalising the canonical form changes it")
		})
	}
}

func TestNormalizeRefusesInvalidReferences(t *testing.T) {
	tests := []struct{ name, ref, want string }{
		{"empty", "", `"" is empty`},
		{"scheme", "https://docker.io/library/nginx", `"https://docker.io/library/nginx" has a URL scheme`},
		{"transport", "docker://nginx", "has a URL scheme"},
		{"space", "nginx latest", `"nginx latest" contains a space`},
		{"leading space", " nginx", "contains a space"},
		{"no-break space", "nginx\u00a0", "contains a space"},
		{"newline", "nginx\n", `"nginx\n" contains a control character`},
		{"NUL", "nginx\x00", `"nginx\x00" contains a control character`},
		{"escape sequence", "\x1b[31mnginx", "contains a control character"},
		{"invalid UTF-8", "nginx\xff", `"nginx\xff" is not valid UTF-8`},
		{"too long", strings.Repeat("a", 1<<20), "is longer than 1024 bytes"},
		{"long path", strings.Repeat("a", 256), "must not be more than 255 characters"},
		{"long tag", "nginx:" + strings.Repeat("t", 129), "invalid reference format"},
		{"upper case", "Nginx", "must be lowercase"},
		{"not ASCII", "café", "invalid reference format"},
		{"dot-dot", "../../etc/passwd", "invalid reference format"},
		{"dot-dot in path", "quay.io/a/../b", "invalid reference format"},
		{"absolute path", "/etc/passwd", "invalid reference format"},
		{"double slash", "quay.io//app", "invalid reference format"},
		{"trailing slash", "quay.io/app/", "invalid reference format"},
		{"empty tag", "nginx:", "invalid reference format"},
		{"two tags", "nginx:a:b", "invalid reference format"},
		{"port without a number", "localhost:port/app", "invalid reference format"},
		{"user", "user@quay.io/app", "invalid reference format"},
		{"query", "quay.io/app?x=y", "invalid reference format"},
		{"bare digest", sha256Digest, "is a digest without a repository"},
		{"bare hexadecimal", hex64, "64-byte hexadecimal"},
		{"short digest", "nginx@sha256:7cc4", "invalid reference format"},
		{"wrong digest length", "nginx@" + sha256Digest[:len(sha256Digest)-1], "invalid checksum digest length"},
		{"unknown digest algorithm", "nginx@md5:" + hex64, "unsupported digest algorithm"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := imageref.Normalize(tt.ref)
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			assert.Empty(t, got)
			assert.ErrorContains(t, err, tt.want)
			assert.LessOrEqual(t, len(err.Error()), 1024, "the error repeats too much of the value")

			_, ok := imageref.Digest(tt.ref)
			assert.False(t, ok)
		})
	}
}

func TestDigest(t *testing.T) {
	tests := map[string]digest.Digest{
		"nginx@" + sha256Digest:                   sha256Digest,
		"nginx:1.27@" + sha256Digest:              sha256Digest,
		"docker.io/library/nginx@" + sha256Digest: sha256Digest,
		"nginx":      "",
		"nginx:1.27": "",
		"docker.io/library/sha256:" + sha256Digest[7:]: "",
	}
	for ref, want := range tests {
		got, ok := imageref.Digest(ref)
		assert.Equal(t, want, got, ref)
		assert.Equal(t, want != "", ok, ref)
	}
}
