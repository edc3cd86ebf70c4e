// Package testimage makes OCI images and serves them from a registry on
// loopback, for tests and for programs that must not depend on a download.
package testimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// File is one entry of a layer.
type File struct {
	Path     string
	Mode     int64 // permission bits; 0 means 0755 for directories, 0644 otherwise
	UID, GID int
	Type     byte   // a tar type flag; 0 means a regular file
	Link     string // target of a link
	Content  []byte
	Major    int64 // of a device
	Minor    int64
}

// Compression of a layer.
type Compression int

// The compressions that registries serve.
const (
	Gzip Compression = iota
	Zstd
	None
)

// Layer is a list of files, in order.
type Layer struct {
	Files       []File
	Compression Compression
	URLs        []string // stored in the layer's descriptor
}

// Image describes an image. The zero value of a field is left out of it.
type Image struct {
	Layers       []Layer
	Config       ocispec.ImageConfig
	OS           string            // "" means linux
	Architecture string            // "" means this machine's
	Claims       *ocispec.Platform // what an index says of the image, if that is not the truth
}

// Content is a set of blobs, of which Target is the root.
type Content struct {
	Target ocispec.Descriptor
	Blobs  map[digest.Digest][]byte
	types  map[digest.Digest]string
}

func newContent() *Content {
	return &Content{Blobs: make(map[digest.Digest][]byte), types: make(map[digest.Digest]string)}
}

func (c *Content) add(mediaType string, blob []byte) ocispec.Descriptor {
	dgst := digest.FromBytes(blob)
	c.Blobs[dgst] = blob
	c.types[dgst] = mediaType
	return ocispec.Descriptor{MediaType: mediaType, Digest: dgst, Size: int64(len(blob))}
}

func (c *Content) addJSON(mediaType string, v any) (ocispec.Descriptor, error) {
	blob, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return c.add(mediaType, blob), nil
}

// Make builds an image with a single manifest.
func Make(image Image) (*Content, error) {
	c := newContent()
	target, err := c.manifest(image)
	c.Target = target
	return c, err
}

// MakeIndex builds an index of several images.
func MakeIndex(list ...Image) (*Content, error) {
	c := newContent()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, image := range list {
		desc, err := c.manifest(image)
		if err != nil {
			return nil, err
		}
		desc.Platform = image.Claims
		if desc.Platform == nil {
			platform := image.platform()
			desc.Platform = &platform
		}
		index.Manifests = append(index.Manifests, desc)
	}
	target, err := c.addJSON(ocispec.MediaTypeImageIndex, index)
	c.Target = target
	return c, err
}

func (i Image) platform() ocispec.Platform {
	p := ocispec.Platform{OS: i.OS, Architecture: i.Architecture}
	if p.OS == "" {
		p.OS = "linux"
	}
	if p.Architecture == "" {
		p.Architecture = runtime.GOARCH
	}
	return p
}

func (c *Content) manifest(image Image) (ocispec.Descriptor, error) {
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	rootfs := ocispec.RootFS{Type: "layers"}
	for n, layer := range image.Layers {
		raw, err := archive(layer.Files)
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("layer %d: %w", n, err)
		}
		mediaType, blob, err := layer.Compression.compress(raw)
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("layer %d: %w", n, err)
		}
		desc := c.add(mediaType, blob)
		desc.URLs = layer.URLs
		manifest.Layers = append(manifest.Layers, desc)
		rootfs.DiffIDs = append(rootfs.DiffIDs, digest.FromBytes(raw))
	}
	config, err := c.addJSON(ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: image.platform(), Config: image.Config, RootFS: rootfs,
	})
	if err != nil {
		return config, err
	}
	manifest.Config = config
	return c.addJSON(ocispec.MediaTypeImageManifest, manifest)
}

// archive writes files as a tar archive with a fixed time.
func archive(files []File) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		if f.Type == 0 {
			f.Type = tar.TypeReg
		}
		if f.Mode == 0 {
			f.Mode = 0o644
			if f.Type == tar.TypeDir {
				f.Mode = 0o755
			}
		}
		err := w.WriteHeader(&tar.Header{
			Name: f.Path, Mode: f.Mode, Uid: f.UID, Gid: f.GID, Typeflag: f.Type, Linkname: f.Link,
			Size: int64(len(f.Content)), Devmajor: f.Major, Devminor: f.Minor,
			ModTime: time.Unix(1, 0), Format: tar.FormatPAX,
		})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

func (c Compression) compress(raw []byte) (mediaType string, blob []byte, err error) {
	var buf bytes.Buffer
	var w io.WriteCloser
	switch c {
	case Gzip:
		mediaType = ocispec.MediaTypeImageLayerGzip
		w, err = gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	case Zstd:
		mediaType = ocispec.MediaTypeImageLayerZstd
		w, err = zstd.NewWriter(&buf)
	default:
		return ocispec.MediaTypeImageLayer, raw, nil
	}
	if err != nil {
		return "", nil, err
	}
	_, err = w.Write(raw)
	err = errors.Join(err, w.Close())
	return mediaType, buf.Bytes(), err
}
