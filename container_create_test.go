package containerd

import (
	"context"
	"errors"
	"testing"
	"time"

	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const opCreateContainer = "create container"

var newContainer = CreateContainerRequest{ID: "new", ImageRef: testImage}

// deadOwner is a service of a boot that is over.
func deadOwner() owner {
	o := newOwner()
	o.boot = "00000000-0000-0000-0000-000000000000"
	return o
}

// elsewhere is a service whose PID namespace can't be looked into.
func elsewhere() owner {
	o := newOwner()
	o.pidns = "1"
	return o
}

// addRemainder adds the snapshot that a killed CreateContainer of o left.
func (d *daemon) addRemainder(key string, o owner) {
	d.addSnapshot(key, "", snapshotsapi.Kind_ACTIVE, map[string]string{extensionOrigin: o.String() + "/call"})
}

// addLease adds a lease of o, which holds the snapshots keys until it expires.
func (d *daemon) addLease(id string, o owner, expires time.Time, keys ...string) {
	d.stores.leases[id] = &leasesapi.Lease{ID: id, Labels: map[string]string{
		labelOwner:                o.String(),
		labelOperation:            `create container "new"`,
		"containerd.io/gc.expire": expires.Format(time.RFC3339),
	}}
	for _, key := range keys {
		d.stores.resources[id] = append(d.stores.resources[id], &leasesapi.Resource{ID: key, Type: "snapshots/" + testSnapshotter})
	}
}

func TestCreateContainerLeavesAnExistingContainerAlone(t *testing.T) {
	for name, key := range map[string]string{"with its snapshot": "idle", "on another snapshot": "free"} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			before := d.state()

			_, err := s.CreateContainer(t.Context(), CreateContainerRequest{ID: "idle", ImageRef: testImage, SnapshotID: key})

			assertError(t, err, opCreateContainer, errdefs.IsAlreadyExists, "the container exists")
			assert.Contains(t, err.Error(), "container: ")
			assert.Equal(t, before, d.state())
		})
	}
}

func TestCreateContainerSaysThatItIsTheSnapshotThatExists(t *testing.T) {
	alive := time.Now().Add(time.Hour)
	live, unseen := newOwner(), elsewhere()
	for name, test := range map[string]struct {
		given func(d *daemon)
		says  string
	}{
		"not ours": {func(d *daemon) {
			d.addSnapshot("new", "", snapshotsapi.Kind_ACTIVE, nil)
		}, ""},
		"ours, but kept by the user": {func(d *daemon) {
			d.addRemainder("new", deadOwner())
			d.snapshotLabels("new")[labelRoot] = "2026-01-02T03:04:05Z"
		}, ""},
		"ours, but used by a container": {func(d *daemon) {
			d.addRemainder("new", deadOwner())
			d.addContainer("user", "new")
		}, `container "user"`},
		"ours, of a live owner": {func(d *daemon) {
			d.addRemainder("new", live)
			d.addLease("other", live, alive, "new")
		}, live.String()},
		"ours, of an owner that can't be seen": {func(d *daemon) {
			d.addRemainder("new", unseen)
			d.addLease("other", unseen, alive, "new")
		}, unseen.String()},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			test.given(d)
			before := d.state()

			_, err := s.CreateContainer(t.Context(), newContainer)

			assertError(t, err, opCreateContainer, errdefs.IsAlreadyExists, name)
			assert.Contains(t, err.Error(), `snapshot "new"`)
			assert.Contains(t, err.Error(), test.says)
			assert.Equal(t, before, d.state())
		})
	}
}

func (d *daemon) snapshotLabels(key string) map[string]string {
	return d.stores.snapshots[testSnapshotter+" "+key].GetLabels()
}

func TestCreateContainerTakesOverTheRemainderOfAFailedCall(t *testing.T) {
	unseen, later := elsewhere(), time.Now().Add(time.Hour)
	for name, given := range map[string]func(d *daemon){
		"of a dead owner": func(d *daemon) {
			dead := deadOwner()
			d.addRemainder("new", dead)
			d.addLease("dead", dead, later, "new")
		},
		"whose lease has ended": func(d *daemon) { d.addRemainder("new", unseen) },
		"whose lease has expired": func(d *daemon) {
			d.addRemainder("new", unseen)
			d.addLease("expired", unseen, time.Now().Add(-time.Minute), "new")
		},
		"beside another lease of its owner": func(d *daemon) {
			d.addRemainder("new", unseen)
			d.addLease("other", unseen, later, "something else")
		},
		"that the daemon has added to the new call's lease": func(d *daemon) {
			d.addRemainder("new", unseen)
			d.once("Snapshots/Prepare", func(context.Context) error {
				d.mu.Lock()
				defer d.mu.Unlock()
				for id := range d.stores.leases {
					d.stores.resources[id] = []*leasesapi.Resource{{ID: "new", Type: "snapshots/" + testSnapshotter}}
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			given(d)
			old := d.snapshot("new").GetLabels()[extensionOrigin]

			_, err := s.CreateContainer(t.Context(), newContainer)

			require.NoError(t, err)
			assert.NotNil(t, d.record("new"))
			assert.NotEqual(t, old, d.snapshot("new").GetLabels()[extensionOrigin], "the snapshot is a new one")
			assert.NotContains(t, d.state(), "lease dead")
			assert.NotContains(t, d.state(), "lease expired")
		})
	}
}

func TestCreateContainerRemovesNoSnapshotThatAnotherProcessTookOver(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.addRemainder("new", deadOwner())
	taken := newOwner()
	d.once("Containers/ListStream", func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.addRemainder("new", taken)
		return nil
	})

	_, err := s.CreateContainer(t.Context(), newContainer)

	assertError(t, err, opCreateContainer, errdefs.IsAlreadyExists, "another process was faster")
	assert.Equal(t, taken.String()+"/call", d.snapshot("new").GetLabels()[extensionOrigin])
}

func TestCreateContainerRemovesNoSnapshotWhoseMakerSucceedsMeanwhile(t *testing.T) {
	// Given another call that has made the snapshot and holds it,
	d := newDaemon(t)
	s := d.service()
	maker := newOwner()
	d.addRemainder("new", maker)
	d.addLease("its", maker, time.Now().Add(time.Hour), "new")
	lists := 0
	d.on("Leases/List", func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if lists++; lists == 2 { // the first one is the service's sweep
			// when it writes its record and lets go while this call looks,
			d.addContainer("other", "new")
			delete(d.stores.leases, "its")
		}
		return nil
	})

	_, err := s.CreateContainer(t.Context(), newContainer)

	// then the snapshot is the other container's.
	assertError(t, err, opCreateContainer, errdefs.IsAlreadyExists, "the maker was faster")
	assert.Equal(t, 2, lists)
	assert.Equal(t, maker.String()+"/call", d.snapshot("new").GetLabels()[extensionOrigin])
}

func TestCreateContainerUsesAKeyThatIsFreedMeanwhile(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.addSnapshot("new", "", snapshotsapi.Kind_ACTIVE, nil)
	d.once("Snapshots/Stat", func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.stores.snapshots, testSnapshotter+" new")
		return nil
	})

	_, err := s.CreateContainer(t.Context(), newContainer)

	require.NoError(t, err)
}

// What the daemon can't answer is no leave to remove a snapshot.
func TestCreateContainerRemovesNothingItCannotLookAt(t *testing.T) {
	for _, method := range []string{
		"Containers/Get", "Snapshots/Stat", "Containers/ListStream", "Leases/List", "Leases/ListResources", "Snapshots/Remove",
	} {
		t.Run(method, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			clock := stopClock(s)
			maker := elsewhere()
			d.addRemainder("new", maker)
			d.addLease("other", maker, clock.Now().Add(time.Hour), "something else")
			d.fail(method, errdefs.ErrUnavailable)

			_, err := s.CreateContainer(t.Context(), newContainer)
			d.heal()

			assertError(t, err, opCreateContainer, errdefs.IsUnavailable, method)
			assert.Equal(t, maker.String()+"/call", d.snapshot("new").GetLabels()[extensionOrigin])
			_, err = s.CreateContainer(t.Context(), newContainer)
			require.NoError(t, err, "retry")
		})
	}
}

func TestCreateContainerFromSnapshotRefusesOtherThanActiveOnes(t *testing.T) {
	for key, class := range map[string]func(error) bool{"v0": errdefs.IsFailedPrecondition, "gone": errdefs.IsNotFound} {
		t.Run(key, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			before := d.state()

			_, err := s.CreateContainerFromSnapshot(t.Context(), CreateContainerRequest{ID: "new", ImageRef: testImage, SnapshotID: key})

			assertError(t, err, "create container from snapshot", class, key)
			assert.Contains(t, err.Error(), `snapshot "`+key+`"`)
			assert.Equal(t, before, d.state())
		})
	}
}

// A snapshot that is committed while the record is on its way would leave a
// container on a key that no longer exists.
func TestCreateContainerFromSnapshotLooksAgainAtTheEnd(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.once("Containers/Create", func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.addSnapshot("kept", "v0", snapshotsapi.Kind_COMMITTED, nil)
		return nil
	})

	_, err := s.CreateContainerFromSnapshot(t.Context(), CreateContainerRequest{ID: "new", ImageRef: testImage, SnapshotID: "kept"})

	assertError(t, err, "create container from snapshot", errdefs.IsFailedPrecondition, "committed meanwhile")
	assert.Nil(t, d.record("new"), "the record is taken back")
	assert.NotNil(t, d.snapshot("kept"), "the snapshot survives")
}

func TestCreateWaitingForItsTurnEndsWithTheContext(t *testing.T) {
	for name, create := range map[string]func(*DefaultService, context.Context) error{
		opCreateContainer: func(s *DefaultService, ctx context.Context) error {
			_, err := s.CreateContainer(ctx, newContainer)
			return err
		},
		"create container from snapshot": func(s *DefaultService, ctx context.Context) error {
			_, err := s.CreateContainerFromSnapshot(ctx, CreateContainerRequest{ID: "new", ImageRef: testImage, SnapshotID: "kept"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			unlock, err := s.lockID(t.Context(), "new")
			require.NoError(t, err)
			defer unlock()
			before := d.state()
			ctx, cancel := context.WithCancel(t.Context())
			d.once("Content/Read", func(context.Context) error { cancel(); return nil })

			err = create(s, ctx)

			assertError(t, err, name, func(err error) bool { return errors.Is(err, context.Canceled) }, "no turn")
			assert.Equal(t, before, d.state())
		})
	}
}

// A create whose answer did not come in time takes effect when its call has
// long taken back what there was.
func TestCreateThatTakesEffectLateIsTakenBackToo(t *testing.T) {
	for name, retry := range map[string]bool{"by the cleaner": false, "by a retry": true} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			release := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			d.once("Containers/Create", func(request context.Context) error {
				cancel()
				<-request.Done()
				<-release
				return nil
			})
			create := func(ctx context.Context) error {
				_, err := s.CreateContainer(ctx, CreateContainerRequest{ID: "new", ImageRef: testImage})
				return err
			}
			before := d.state()
			require.ErrorIs(t, create(ctx), context.Canceled)

			close(release)

			if retry {
				require.NoError(t, create(t.Context()))
				require.NoError(t, s.DeleteContainer(t.Context(), "new", nil))
			}
			require.NoError(t, s.Close(), "which waits for the cleaner")
			assert.Equal(t, before, d.state())
		})
	}
}
