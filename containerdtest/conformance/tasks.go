package conformance

import "slices"

// taskCases are the contract of TaskService without ExecTask.
var taskCases = slices.Concat(
	stopWaitCases, // the slowest ones begin first
	startCases,
	startTerminalCases,
	startFailureCases,
	stopCases,
	deleteTaskCases,
	listTaskCases,
	taskHandleCases,
	taskRestartCases,
)

// execCases are the contract of ExecTask.
var execCases = slices.Concat(
	execResultCases,
	execSettingCases,
	execRefusalCases,
	execStateCases,
	execEndCases,
)
