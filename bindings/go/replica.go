package hotstuff

// #include "shim.h"
import "C"

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Replica is the threads, the disk and the network of one participant of a chain.
//
// Close it when it is done with: neither the garbage collector nor the end of Run does. Besides
// what its methods say, they return [ErrClosed] after Close, and most return [ErrHalted] when the
// replica has stopped itself: then [Replica.Wait] says why.
type Replica struct {
	gate    gate
	replica *cReplica // freed when the gate is closed

	app       App
	network   Network
	localAddr string

	events      chan Event
	dropped     atomic.Uint64 // all of them
	droppedTold uint64        // of them, by EventDropped; of the thread of events
	panicked    atomic.Pointer[PanicError]
}

// Open opens a replica over a network of your own. It does nothing yet: see [Replica.Run].
//
// [ErrState]: Config.GenesisValidators or Config.DataDir is missing. [ErrInvalidArgument]: settings
// do not fit together, or not what is in the data directory. [ErrNotFound]: there is no chain in
// the data directory, and Config.Create is false. [ErrLocked]: another replica has it open.
// [ErrGenesisMismatch]: it belongs to a chain with another genesis. [ErrCorrupt], [ErrUnsupported]:
// it is damaged, or of a newer library. [ErrStorage], [ErrIO]: the database or the operating system
// fails.
func Open(config Config, app App, network Network) (*Replica, error) {
	if network == nil {
		return nil, &Error{Op: "open", Status: ErrNull, Message: "the network is nil"}
	}
	r := newReplica(&config, app)
	r.network = network
	_, broadcasts := network.(Broadcaster)
	handle := newHandle(r)
	var c *C.hotstuff_network
	if status := C.hotstuff_go_network(handle, C.bool(broadcasts), &c); status != C.HOTSTUFF_OK {
		deleteHandle(handle)
		return nil, failure("network", status)
	}
	return r.open(&config, c)
}

// OpenTCP opens a replica over TCP. It listens at once, and otherwise does nothing yet: see
// [Replica.Run]. It returns the errors of [Open]. [ErrIO] may also mean that the address to listen
// on cannot be had, and [ErrInvalidArgument] that an address is not host:port, or that there is no
// key.
func OpenTCP(config Config, app App, tcp TCP) (*Replica, error) {
	r := newReplica(&config, app)
	network, err := tcp.network(&config)
	if err != nil {
		return nil, err
	}
	r.localAddr = localAddr(network)
	return r.open(&config, network)
}

func newReplica(config *Config, app App) *Replica {
	r := &Replica{app: app}
	config.panicked = &r.panicked
	if config.EventQueue > 0 {
		r.events = make(chan Event, config.EventQueue)
	}
	return r
}

// open takes the network over.
func (r *Replica) open(config *Config, network *C.hotstuff_network) (*Replica, error) {
	err := config.lend(func(c *C.hotstuff_config) error { return r.openWith(c, network) })
	if err != nil {
		if r.replica == nil {
			C.hotstuff_network_free(network)
		}
		r.Close()
		return nil, err
	}
	return r, nil
}

// openWith leaves the network to the caller if there is no replica afterwards.
func (r *Replica) openWith(config *C.hotstuff_config, network *C.hotstuff_network) error {
	if r.app == nil {
		return &Error{Op: "open", Status: ErrNull, Message: "the app is nil"}
	}
	var text *C.hotstuff_error
	handle := newHandle(r)
	status := C.hotstuff_go_open(config, handle, network, &r.replica, &text)
	if status != C.HOTSTUFF_OK {
		deleteHandle(handle)
		return described("open", status, text)
	}
	if r.events == nil {
		return nil
	}
	handle = newHandle(r)
	status = C.hotstuff_go_set_events(r.replica, handle)
	if status != C.HOTSTUFF_OK {
		deleteHandle(handle)
	}
	return failure("events", status)
}

// Close stops the replica, however long its callbacks take, closes its data directory, and frees
// it. Calls that wait return [ErrClosed] first. Snapshots stay, and keep the directory open until
// they are closed. A second call does nothing. In a callback of the replica it returns at once, and
// all this happens when that callback has returned. The error is always nil.
func (r *Replica) Close() error {
	if !r.gate.close() {
		return nil
	}
	C.hotstuff_replica_free(r.replica)
	return nil
}

// enter calls use with the replica, which is not freed meanwhile.
func (r *Replica) enter(op string,
	use func(*cReplica) cStatus) (cStatus, error) {
	if !r.gate.enter() {
		return 0, &Error{Op: op, Status: ErrClosed, Message: "the replica is closed"}
	}
	defer r.gate.leave()
	return use(r.replica), nil
}

func (r *Replica) do(op string, use func(*cReplica) cStatus) error {
	status, err := r.enter(op, use)
	if err != nil {
		return err
	}
	return failure(op, status)
}

// A call that waits returns so often, to see whether its context is done or the replica closed: C
// cannot be interrupted.
const slice = 100 * time.Millisecond

// wait calls use, a slice of time each, until it returns something else than HOTSTUFF_E_TIMEOUT.
func (r *Replica) wait(ctx context.Context, op string,
	use func(*cReplica, C.uint32_t) cStatus) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		left := slice
		if deadline, ok := ctx.Deadline(); ok {
			left = min(left, time.Until(deadline))
		}
		ms := C.uint32_t(max(left, time.Millisecond).Milliseconds())
		status, err := r.enter(op, func(c *cReplica) cStatus { return use(c, ms) })
		if err != nil {
			return err
		}
		if status != C.HOTSTUFF_E_TIMEOUT {
			return failure(op, status)
		}
	}
}

// Run starts the replica, waits until ctx is done or the replica stops, and stops it. It is nil if
// ctx ended it; otherwise it says why the replica has halted, or could not start. If a callback has
// panicked, that is part of the error in any case. The replica is still to be closed.
func (r *Replica) Run(ctx context.Context) error {
	if err := r.Start(); err != nil {
		return err
	}
	err := r.Wait(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	if stopErr := r.Stop(context.WithoutCancel(ctx)); !errors.Is(stopErr, ErrClosed) {
		err = errors.Join(err, stopErr)
	}
	return errors.Join(err, r.Err())
}

// Start starts the replica's threads. Once. [ErrState]: it was started before, or stopped.
func (r *Replica) Start() error {
	var text *C.hotstuff_error
	status, err := r.enter("start", func(c *cReplica) cStatus {
		return C.hotstuff_replica_start(c, &text)
	})
	if err != nil {
		return err
	}
	return described("start", status, text)
}

// Stop stops the replica. When it returns nil no callback runs any more. A replica that is stopped,
// or was never started, is stopped again with nil; none is started again. If ctx is done first, a
// callback has not returned in time: call again. [ErrReentrant]: called in a callback of this
// replica.
func (r *Replica) Stop(ctx context.Context) error {
	return r.wait(ctx, "stop", func(c *cReplica, ms C.uint32_t) cStatus {
		return C.hotstuff_replica_stop(c, ms)
	})
}

// Wait waits until the replica is stopped, which is nil, or has stopped itself because it cannot go
// on safely, as when its disk is full: [ErrHalted], with what to do. It returns the error of ctx,
// at most 0.1 s late. [ErrReentrant]: called in a callback of this replica.
func (r *Replica) Wait(ctx context.Context) error {
	var why error
	err := r.wait(ctx, "wait", func(c *cReplica, ms C.uint32_t) cStatus {
		var text *C.hotstuff_error
		status := C.hotstuff_replica_wait(c, ms, &text)
		why = described("wait", status, text)
		return status
	})
	if errors.Is(err, ErrHalted) {
		return why
	}
	return err
}

// Err is the first panic of a callback, a [*PanicError], or nil. The replica goes on after one.
func (r *Replica) Err() error {
	if caught := r.panicked.Load(); caught != nil {
		return caught
	}
	return nil
}

// Notify says that there is work for the app: whoever leads asks its app again. It is remembered
// until then, also before the start.
func (r *Replica) Notify() error {
	return r.do("notify", func(c *cReplica) cStatus {
		return C.hotstuff_replica_notify(c)
	})
}

// Deliver delivers a message that a [Network] has received; the bytes are copied. from is the peer
// as the transport has authenticated it. [ErrTooLarge]: longer than any message of this chain: drop
// it. [ErrWouldBlock]: the queue of that peer is full: drop it, the protocol sends again.
// [ErrClosed]: the replica is stopped, or was never started.
func (r *Replica) Deliver(from Address, message []byte) error {
	if len(message) == 0 {
		return nil // no message of any chain is empty
	}
	p, n := bytesOf(message)
	return r.do("deliver", func(c *cReplica) cStatus {
		return C.hotstuff_replica_deliver(c, from.c(), p, n)
	})
}

// LocalAddr is where a replica of [OpenTCP] listens, with the port that it was given; "" if it does
// not listen.
func (r *Replica) LocalAddr() string { return r.localAddr }

// Snapshot is a consistent view of the chain and of the state as of the last committed block. Also
// of a replica that is not started, is stopped or has halted. Close it. [ErrStorage]: the database
// failed, or too many snapshots are open.
func (r *Replica) Snapshot() (*Snapshot, error) {
	s := new(Snapshot)
	err := r.do("snapshot", func(c *cReplica) cStatus {
		return C.hotstuff_replica_snapshot(c, &s.tree)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// NextCommitted is the committed block after the one at a height, as soon as there is one. To be
// called in a loop with the height of the block before, 0 at first: all committed blocks, in order,
// none lost. It returns the error of ctx, at most 0.1 s late. [ErrClosed]: the replica is stopped.
// [ErrCorrupt]: the block is damaged or missing; the replica goes on. [ErrReentrant]: called in a
// callback of this replica.
func (r *Replica) NextCommitted(ctx context.Context, after uint64) (*Block, error) {
	var block *C.hotstuff_block
	err := r.wait(ctx, "next committed", func(c *cReplica, ms C.uint32_t) cStatus {
		return C.hotstuff_replica_next_committed(c, C.uint64_t(after), ms, &block)
	})
	if err != nil {
		return nil, err
	}
	return takeBlock(block), nil
}

// WaitCommitted waits until a height is committed. It returns the error of ctx, at most 0.1 s late,
// and the errors of [Replica.NextCommitted].
func (r *Replica) WaitCommitted(ctx context.Context, height uint64) error {
	return r.wait(ctx, "wait committed", func(c *cReplica, ms C.uint32_t) cStatus {
		return C.hotstuff_replica_wait_committed(c, C.uint64_t(height), ms)
	})
}
