package containerd

import (
	"testing"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

const canonicalApp = "docker.io/library/app:latest"

// addName stores testImage under one more name.
func (d *daemon) addName(name string) {
	image := proto.CloneOf(d.stores.images[testImage])
	image.Name = name
	d.stores.images[name] = image
}

func TestExactNameWinsOverTheCanonicalOne(t *testing.T) {
	for name, test := range map[string]struct {
		stored []string
		want   string
	}{
		"both":           {[]string{"app", canonicalApp}, "app"},
		"only canonical": {[]string{canonicalApp}, canonicalApp},
		"only exact":     {[]string{"app"}, "app"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			for _, stored := range test.stored {
				d.addName(stored)
			}
			image, err := d.service().GetImage(t.Context(), "app")
			require.NoError(t, err)
			assert.Equal(t, test.want, image.Name())
		})
	}
}

func TestNameThatIsNoReferenceIsFoundAndDeleted(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	const odd = "NOT a reference"
	d.addName(odd)

	image, err := s.GetImage(t.Context(), odd)
	require.NoError(t, err)
	assert.Equal(t, odd, image.Name())
	require.NoError(t, s.DeleteImage(t.Context(), odd, nil))
	_, err = s.GetImage(t.Context(), odd)
	assertError(t, err, "get image", errdefs.IsNotFound, "deleted")
}

func TestSimilarNamesAreNotTheImage(t *testing.T) {
	for _, similar := range []string{"evil.test/library/app:latest", "docker.io/library/app:1", "docker.io/other/app:latest", "app:latest.evil"} {
		t.Run(similar, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			d.addName(similar)
			_, err := s.GetImage(t.Context(), "app")
			assertError(t, err, "get image", errdefs.IsNotFound, similar)
			assert.Contains(t, err.Error(), `"app"`)
			err = s.DeleteImage(t.Context(), "app", nil)
			assertError(t, err, "delete image", errdefs.IsNotFound, similar)
			assert.Contains(t, d.state(), "image "+similar)
		})
	}
}

// A daemon that does not apply the filter must not decide which image it is.
func TestListThatIsNotFilteredFindsOnlyTheName(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.Images.ExpectedCalls = nil
	d.Images.EXPECT().List(mock.Anything, mock.Anything).Return(&imagesapi.ListImagesResponse{
		Images: []*imagesapi.Image{{Name: "evil.test/app", Target: d.stores.images[testImage].GetTarget()}},
	}, nil)

	_, err := s.GetImage(t.Context(), "app")

	assertError(t, err, "get image", errdefs.IsNotFound, "another image")
}

func TestDeleteImageByItsShortName(t *testing.T) {
	d := newDaemon(t)
	d.addName(canonicalApp)
	require.NoError(t, d.service().DeleteImage(t.Context(), "app", &DeleteImageOptions{Synchronous: true}))
	assert.NotContains(t, d.state(), "image "+canonicalApp)
}

func TestDeleteImageDeletesOnlyTheExactNameOfTwo(t *testing.T) {
	d := newDaemon(t)
	d.addName("app")
	d.addName(canonicalApp)
	require.NoError(t, d.service().DeleteImage(t.Context(), "app", nil))
	assert.Contains(t, d.state(), "image "+canonicalApp)
	assert.NotContains(t, d.state(), "image app")
}

func TestDeleteImageSynchronouslySaysSoToTheDaemon(t *testing.T) {
	for _, sync := range []bool{false, true} {
		d := newDaemon(t)
		s := d.service()
		var asked []bool
		d.Images.ExpectedCalls = nil
		d.Images.EXPECT().Delete(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Images/Delete",
			func(r *imagesapi.DeleteImageRequest) (*emptypb.Empty, error) {
				asked = append(asked, r.GetSync())
				return &emptypb.Empty{}, nil
			}))
		require.NoError(t, s.DeleteImage(t.Context(), testImage, &DeleteImageOptions{Synchronous: sync}))
		assert.Equal(t, []bool{sync}, asked)
	}
}

func TestImagesOfADaemonThatCannotAnswer(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.fail("Images/List", errdefs.ErrUnavailable)
	d.fail("Images/Delete", errdefs.ErrUnavailable)
	_, err := s.GetImage(t.Context(), "app")
	assertError(t, err, "get image", errdefs.IsUnavailable, "get")
	_, err = s.ListImages(t.Context())
	assertError(t, err, "list images", errdefs.IsUnavailable, "list")
	err = s.DeleteImage(t.Context(), "app", nil)
	assertError(t, err, "delete image", errdefs.IsUnavailable, "delete")
	assert.Equal(t, 1, d.countOf("Images/Delete"), "the other name is tried only when the first is not there")
}
