package conformance

import "slices"

// imageCases are the contract of ImageService.
var imageCases = slices.Concat(
	pullCases,
	pullRefusalCases,
	imageNameCases,
	deleteImageCases,
)
