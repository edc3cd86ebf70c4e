package containerd

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requestLimits are the most requests that an operation may make, on an image
// that is present, unpacked and was used by the service before.
var requestLimits = map[string]int{
	"CreateContainer":             6,
	"CreateContainerFromSnapshot": 6,
	"StartTask":                   5,
	"ExecTask":                    6,
	"StartExec":                   4, // detached
	"OpenExec":                    1,
	"ListExecs":                   1,
	"StopTask":                    4,
	"DeleteTask":                  3,
	"DeleteContainer":             8,
	"GetTask":                     2,
	"GetImage":                    1,
	"ListImages":                  1,
	"GetContainer":                1,
	"ListContainers":              1,
	"ListContainersByLabel":       1,
	"ListTasks":                   1,
	"SnapshotMounts":              1,
	"Ping":                        1,
	"WaitTask":                    3,
	"LaunchTask":                  4,
	"RestartTask":                 10,
	"Logs":                        1,
	"AttachTask":                  2,
	"SignalTask":                  2,
	"PauseTask":                   1,
	"ResumeTask":                  1,
	"ListProcesses":               2,
	"UpdateResources":             3,
	"TaskMetrics":                 1,
	"WatchMetrics":                4, // one sample
	"WatchOOM":                    4,
}

func TestRequestsPerOperation(t *testing.T) {
	all := methods(t)
	for name, limit := range requestLimits {
		t.Run(name, func(t *testing.T) {
			d := all[name].daemon(t)
			s := d.service()
			warm(t, s)
			stopClock(s) // no request is repeated for want of time
			d.Reset()
			require.NoError(t, all[name].do(t.Context(), s))
			assert.LessOrEqual(t, len(d.Calls()), limit, "%v", d.methods())
			t.Logf("%s: %d of %d: %v", name, len(d.Calls()), limit, d.methods())
		})
	}
}

// warm makes the requests that a service makes once.
func warm(t *testing.T, s *DefaultService) {
	t.Helper()
	_, err := s.CreateContainer(t.Context(), CreateContainerRequest{ID: "earlier", ImageRef: testImage})
	require.NoError(t, err)
}

func TestShortReferenceCostsNoFurtherRequest(t *testing.T) {
	d := newDaemon(t)
	d.stores.images["docker.io/library/app:latest"] = d.stores.images[testImage]
	d.stores.images["docker.io/library/app:latest"].Name = "docker.io/library/app:latest"
	s := d.service()

	image, err := s.GetImage(t.Context(), "app")

	require.NoError(t, err)
	assert.Equal(t, "docker.io/library/app:latest", image.Name())
	assert.Equal(t, []string{"Images/List"}, d.methods())
}

func TestListingsCostOneRequestHoweverMuchThereIs(t *testing.T) {
	d := newDaemon(t)
	for i := range 100 {
		id := "c" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		d.addContainer(id, id)
		d.addTask(id, running)
	}
	s := d.service()
	for name, list := range map[string]func(context.Context) (int, error){
		"containers": func(ctx context.Context) (int, error) { l, err := s.ListContainers(ctx); return len(l), err },
		"tasks":      func(ctx context.Context) (int, error) { l, err := s.ListTasks(ctx, nil); return len(l), err },
	} {
		d.Reset()
		found, err := list(t.Context())
		require.NoError(t, err)
		assert.GreaterOrEqual(t, found, 100, name)
		assert.Len(t, d.Calls(), 1, name)
	}
}
