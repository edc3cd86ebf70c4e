package containerd

import (
	"context"
	"sync"
)

// lockKey names what a lock protects: one ID in one namespace of one daemon
// connection.
type lockKey struct {
	conn      any
	namespace string
	id        string
}

// idLocks serialises the steps that create or delete a container or a task on
// one ID within this process.
var idLocks = keyedLocks{held: make(map[lockKey]*keyedLock)}

type keyedLocks struct {
	mu   sync.Mutex
	held map[lockKey]*keyedLock
}

type keyedLock struct {
	turn  chan struct{} // holds one token while the lock is free
	users int           // holders and waiters
}

// lock waits for its turn on key, or for ctx to end. The function it returns
// gives the turn to the next.
func (l *keyedLocks) lock(ctx context.Context, key lockKey) (unlock func(), err error) {
	l.mu.Lock()
	k := l.held[key]
	if k == nil {
		k = &keyedLock{turn: make(chan struct{}, 1)}
		k.turn <- struct{}{}
		l.held[key] = k
	}
	k.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case <-k.turn:
		return func() { k.turn <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// lockID takes the lock of a container ID, after finishing what a failed call
// on the same ID left to be undone.
func (s *DefaultService) lockID(ctx context.Context, id string) (unlock func(), err error) {
	unlock, err = idLocks.lock(ctx, s.lockKey(id))
	if err != nil {
		return nil, err
	}
	if err := s.cleaner.finish(ctx, id); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func (s *DefaultService) lockKey(id string) lockKey {
	var conn any = s.client
	if c := s.conn(); c != nil {
		conn = c
	}
	return lockKey{conn: conn, namespace: s.namespace, id: id}
}
