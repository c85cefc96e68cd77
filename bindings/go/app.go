package hotstuff

// #include "shim.h"
import "C"

import (
	"errors"
	"time"
)

// App is what is replicated: a deterministic function of a block and the state of its parent, with
// the same answer on every replica, today and after a restart. It keeps what must last in the state
// and nowhere else.
//
// The callbacks of one replica run one at a time. They may take long: that costs the view, not the
// replica. What they are given is valid until they return.
type App interface {
	// ProposeBlock makes a block: it fills updates, the data included, and returns nil; or it
	// returns [ErrDefer] if there is nothing to propose. Any other error is a failure: nothing is
	// proposed in this view. The updates must be those that ValidateBlock gives for this block on
	// the other replicas: here it is not asked again.
	ProposeBlock(request *ProposeRequest, updates *Updates) error

	// ValidateBlock judges a block: it says in updates what the block changes and returns nil; or
	// it returns [ErrInvalidBlock], wrapped or not, if no correct leader proposes this block. Any
	// other error means undecided, as when a disk fails: the replica does not vote, and nothing is
	// held against the leader. The data may be empty: the library made the block alone.
	ValidateBlock(request *ValidateRequest, updates *Updates) error
}

// ErrDefer is what ProposeBlock returns if there is nothing to propose. It is asked again after
// [Replica.Notify], or when the chain has been idle for Config.MaxIdle.
var ErrDefer = errors.New("hotstuff: nothing to propose")

// ErrInvalidBlock is what ValidateBlock returns for a block that no correct leader proposes.
var ErrInvalidBlock = errors.New("hotstuff: invalid block")

// ProposeRequest says: you lead; is there work? It comes while the votes for Parent come in: the
// block may come to nothing, and its work is asked for again.
type ProposeRequest struct {
	// View is the view in which the block will be proposed.
	View uint64
	// Parent is the block to build on; the genesis hash for the first block.
	Parent Hash
	// Snapshot is the chain, with the state as of Parent.
	Snapshot *Snapshot
	// Budget is how long it is, at least, until this replica gives the view up. A hint: a block
	// that comes later is not used, and one that comes just before is late for the others; half of
	// it is a good plan.
	Budget time.Duration
}

// ValidateRequest asks: is this block right, and what does it change?
type ValidateRequest struct {
	// View is the view that the replica is in.
	View uint64
	// Block is the block in question.
	Block *Block
	// Snapshot is the chain, with the state as of the parent of Block.
	Snapshot *Snapshot
	// IsSync says that the replica is catching up: the block has a certificate already.
	IsSync bool
}

// Updates is what the app answers: a block's data, and what the block changes. It is used by one
// goroutine at a time and only during the callback; afterwards its methods return [ErrState].
//
// An answer of which a method has refused a part counts as failed, whatever the callback returns:
// half an answer would be another answer.
type Updates struct {
	updates *C.hotstuff_updates // nil: the callback has returned
}

// SetData sets the data of the block that is proposed, at least 1 byte. Of two calls the later
// stands. It is ignored in ValidateBlock. [ErrTooLarge]: more than Config.MaxBlockBytes.
func (u *Updates) SetData(data []byte) error {
	if u.updates == nil {
		return errUpdatesOver
	}
	if len(data) == 0 {
		return &Error{Op: "set data", Status: ErrInvalidArgument,
			Message: "a block that the app proposes has data: return ErrDefer if there is no work"}
	}
	p, n := bytesOf(data)
	return failure("set data", C.hotstuff_updates_set_data(u.updates, p, n))
}

// Set sets one key of the app's state: 1 to 500 bytes, to a value of at most 16 MiB. Updates are
// made in the order of the calls. [ErrTooLarge]: one of these limits, or more than 262144 updates
// or 256 MiB in the block.
func (u *Updates) Set(key, value []byte) error {
	if u.updates == nil {
		return errUpdatesOver
	}
	if len(key) == 0 {
		return errNoKey
	}
	k, kn := bytesOf(key)
	v, vn := bytesOf(value)
	return failure("set state", C.hotstuff_updates_set_state(u.updates, k, kn, v, vn))
}

// Delete deletes one key of the app's state, whether or not it is there. [ErrTooLarge]: as for Set.
func (u *Updates) Delete(key []byte) error {
	if u.updates == nil {
		return errUpdatesOver
	}
	if len(key) == 0 {
		return errNoKey
	}
	k, kn := bytesOf(key)
	return failure("delete state", C.hotstuff_updates_delete_state(u.updates, k, kn))
}

// SetValidator gives a validator a power, from the epoch on that begins once the block is
// committed; 0 removes it. Of two calls for one validator the later stands. [ErrTooLarge]: the
// block has 2048 such updates already.
func (u *Updates) SetValidator(validator Address, power uint64) error {
	if u.updates == nil {
		return errUpdatesOver
	}
	return failure("set validator",
		C.hotstuff_updates_set_validator(u.updates, validator.c(), C.uint64_t(power)))
}

var (
	errUpdatesOver = &Error{Op: "updates", Status: ErrState, Message: "the callback has returned"}
	errNoKey       = &Error{Op: "updates", Status: ErrInvalidArgument, Message: "an empty key"}
)
