// Package imageref normalises image references as Docker does.
package imageref

import (
	_ "crypto/sha256" // makes sha256 digests valid
	_ "crypto/sha512" // makes sha384 and sha512 digests valid
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/ctrdkit/containerd/internal/quote"
)

// maxLength is more than the longest host, path, tag and digest together.
const maxLength = 1024

// Normalize returns the canonical form of ref, the name under which its image
// is stored: "nginx" gives "docker.io/library/nginx:latest". A reference with
// both a tag and a digest loses its tag, because the digest alone says which
// image is meant.
//
// It fails with an error that wraps errdefs.ErrInvalidArgument and starts with
// the quoted reference if ref is not a valid one. A bare digest is not: it says
// nothing about where to get the image.
func Normalize(ref string) (string, error) {
	named, err := parse(ref)
	if err != nil {
		return "", err
	}
	return named.String(), nil
}

// Digest returns the digest that ref ends in, and whether there is one: such a
// reference means the same content for ever. It is false for invalid references.
func Digest(ref string) (digest.Digest, bool) {
	named, err := parse(ref)
	if err != nil {
		return "", false
	}
	digested, ok := named.(reference.Digested)
	if !ok {
		return "", false
	}
	return digested.Digest(), true
}

func parse(ref string) (reference.Named, error) {
	if err := check(ref); err != nil {
		return nil, fmt.Errorf("%s %w: %w", quote.Value(ref), err, errdefs.ErrInvalidArgument)
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", quote.Value(ref), err, errdefs.ErrInvalidArgument)
	}
	return named, nil
}

// check gives the usual mistakes a clearer error than the parser does, and
// keeps huge values away from it.
func check(ref string) error {
	switch {
	case ref == "":
		return errors.New("is empty")
	case len(ref) > maxLength:
		return fmt.Errorf("is longer than %d bytes", maxLength)
	case !utf8.ValidString(ref):
		return errors.New("is not valid UTF-8")
	case strings.ContainsFunc(ref, unicode.IsControl):
		return errors.New("contains a control character")
	case strings.ContainsFunc(ref, unicode.IsSpace):
		return errors.New("contains a space")
	case strings.Contains(ref, "://"):
		return errors.New("has a URL scheme")
	}
	if _, err := digest.Parse(ref); err == nil {
		return errors.New("is a digest without a repository")
	}
	return nil
}
