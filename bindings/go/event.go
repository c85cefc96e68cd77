package hotstuff

// #include "shim.h"
import "C"

import (
	"fmt"
	"time"
)

// EventKind says what has happened. A newer library may tell of kinds that are not among the
// constants: ignore them.
type EventKind uint32

const (
	// EventStartView: a view has begun. Epoch, View, Peer: its leader.
	EventStartView EventKind = C.HOTSTUFF_EVENT_START_VIEW
	// EventProposed: this replica has proposed a block. Epoch, View, Height, Block.
	EventProposed EventKind = C.HOTSTUFF_EVENT_PROPOSED
	// EventVoted: this replica has voted. Epoch, View, Block.
	EventVoted EventKind = C.HOTSTUFF_EVENT_VOTED
	// EventQCCollected: this replica has collected a quorum of votes. Epoch, View, Block.
	EventQCCollected EventKind = C.HOTSTUFF_EVENT_QC_COLLECTED
	// EventCommitted: a block is committed. Epoch, View, Height, Block.
	EventCommitted EventKind = C.HOTSTUFF_EVENT_COMMITTED
	// EventViewTimeout: a view has run out. Epoch, View.
	EventViewTimeout EventKind = C.HOTSTUFF_EVENT_VIEW_TIMEOUT
	// EventValidatorsChanged: an epoch has begun, with other validators. Epoch, Block: what has
	// updated them.
	EventValidatorsChanged EventKind = C.HOTSTUFF_EVENT_VALIDATORS_CHANGED
	// EventSyncStarted: catching up has begun. Peer: who is asked.
	EventSyncStarted EventKind = C.HOTSTUFF_EVENT_SYNC_STARTED
	// EventSyncFinished: catching up has ended. Height.
	EventSyncFinished EventKind = C.HOTSTUFF_EVENT_SYNC_FINISHED
	// EventEvidence: a validator has signed two statements that contradict each other. Epoch, View,
	// Peer: the validator; Count: an EvidenceKind; Evidence. Told once for each validator, epoch
	// and kind, also across restarts.
	EventEvidence EventKind = C.HOTSTUFF_EVENT_EVIDENCE
	// EventDropped: a bounded queue of events, the library's or Config.EventQueue, was full. Count:
	// how many events were lost.
	EventDropped EventKind = C.HOTSTUFF_EVENT_DROPPED
	// EventFatal: the replica has stopped itself; Message says why and what to do.
	EventFatal EventKind = C.HOTSTUFF_EVENT_FATAL
	// EventDiverged: a quorum has certified a block that this replica's app calls invalid. Height,
	// Block.
	EventDiverged EventKind = C.HOTSTUFF_EVENT_DIVERGED
	// EventAppFailed: the app has failed, or has answered what it must not.
	EventAppFailed EventKind = C.HOTSTUFF_EVENT_APP_FAILED
	// EventSyncFailed: a peer was asked for blocks in vain. Peer.
	EventSyncFailed EventKind = C.HOTSTUFF_EVENT_SYNC_FAILED
	// EventBlockRefused: a leader has proposed a block that breaks a rule. Epoch, View, Block,
	// Peer: the leader.
	EventBlockRefused EventKind = C.HOTSTUFF_EVENT_BLOCK_REFUSED
	// EventTooManyPending: too many blocks await commit: only empty ones are proposed and accepted.
	// Count.
	EventTooManyPending EventKind = C.HOTSTUFF_EVENT_TOO_MANY_PENDING
	// EventWarning: something that an operator should look at; Message says what.
	EventWarning EventKind = C.HOTSTUFF_EVENT_WARNING
	// EventTwinSeen: this replica's own key has signed what its voting record does not know:
	// another process uses the key, or the data directory is an old copy. The replica signs nothing
	// more until it is started again. Epoch, View: of what was signed.
	EventTwinSeen EventKind = C.HOTSTUFF_EVENT_TWIN_SEEN
)

// Event is something that has happened in a replica. A field that its kind does not name is zero.
type Event struct {
	// Kind says what has happened.
	Kind EventKind
	// Time says when.
	Time time.Time
	// Epoch, View and Height say where on the chain.
	Epoch, View, Height uint64
	// Count says how many.
	Count uint64
	// Block is the block that it is about.
	Block Hash
	// Peer is the validator that it is about.
	Peer Address
	// Message is what has happened, and what to do about it if something is to be done.
	Message string
	// Evidence is canonical bytes for [VerifyEvidence].
	Evidence []byte
}

func goEvent(e *C.hotstuff_go_event) Event {
	return Event{
		Kind:  EventKind(e.kind),
		Time:  time.Unix(0, int64(e.time_ns)),
		Epoch: uint64(e.epoch), View: uint64(e.view),
		Height: uint64(e.height), Count: uint64(e.count),
		Block: goHash(&e.block), Peer: goAddress(&e.peer),
		Message: C.GoString(e.message), Evidence: goBytes(e.evidence),
	}
}

// Events are what happens in the replica, in order: a channel of capacity Config.EventQueue, nil if
// that is 0, which is closed with the replica. A reader that is slow never holds up the replica:
// what does not fit is dropped, and an [EventDropped] says how many before the next event.
func (r *Replica) Events() <-chan Event { return r.events }

// EventsDropped is how many events the channel of [Replica.Events] had no room for so far.
func (r *Replica) EventsDropped() uint64 { return r.dropped.Load() }

// onEvent is called by one thread, in order.
func (r *Replica) onEvent(e Event) {
	if lost := r.dropped.Load() - r.droppedTold; lost > 0 {
		told := Event{Kind: EventDropped, Time: e.Time, Count: lost,
			Message: fmt.Sprintf("%d events were dropped: the channel of Events() was full", lost)}
		if r.offer(told) {
			r.droppedTold += lost
		}
	}
	if !r.offer(e) {
		r.dropped.Add(1)
	}
}

func (r *Replica) offer(e Event) bool {
	select {
	case r.events <- e:
		return true
	default:
		return false
	}
}
