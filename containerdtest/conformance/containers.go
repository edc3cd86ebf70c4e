package conformance

import "slices"

// containerCases are the contract of ContainerService.
var containerCases = slices.Concat(
	createCases,
	createRefusalCases(),
	createUndoCases,
	createRaceCases,
	specCases,
	seccompCases,
	rootfsCases(),
	fromSnapshotCases,
	listContainerCases,
	deleteContainerCases,
	deleteTaskStateCases,
	deleteRaceCases,
)
