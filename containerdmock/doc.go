// Package containerdmock has testify mocks of [containerd.Service] and of every
// role interface, for tests that decide on each answer:
//
//	svc := containerdmock.NewService(t)
//	svc.EXPECT().StopTask(mock.Anything, "web", mock.Anything).Return(nil)
//
// The constructors take the test: when it ends, a mock whose expectations were
// not met fails it. A call that was not expected fails it at once. Code that
// depends on what containerd does with a call is better tested on a daemon.
//
// The mocks are generated; "go generate ./..." writes them anew.
package containerdmock
