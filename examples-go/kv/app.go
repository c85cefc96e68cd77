package main

import (
	"errors"
	"fmt"
	"sync/atomic"

	hotstuff "libhotstuff/bindings/go"
)

// app is the application as the library sees it. Both of its roads run the same execution on the
// same parent, and the proposer writes the resulting state hash into the block: replicas that would
// compute different states find out before they vote.
//
// A block is invalid if it breaks the form, the limits, or the promise that each command in it is
// applied by it. So "never twice" is a rule of the chain, and needs no trust in leaders.
type app struct {
	pool        *pool
	genesis     hotstuff.Hash
	notify      func()
	execution   *execution
	bytesMax    int
	commandsMax uint32
	refused     atomic.Uint64 // blocks called invalid: 0 among correct replicas

	buffer  []byte     // of the block that is made
	gathers []*command // what waits, when a block is made
}

func newApp(pool *pool, bytesMax int, commandsMax uint32) *app {
	return &app{pool: pool, execution: newExecution(), bytesMax: bytesMax, commandsMax: commandsMax}
}

// parentHeight is 0 for the genesis, which is no block.
func (a *app) parentHeight(request *hotstuff.ProposeRequest) (uint64, error) {
	if request.Parent == a.genesis {
		return 0, nil
	}
	parent, err := request.Snapshot.Block(request.Parent)
	if err != nil {
		return 0, err
	}
	return parent.Height, nil
}

// ProposeBlock makes a block of what waits in the pool.
func (a *app) ProposeBlock(request *hotstuff.ProposeRequest, updates *hotstuff.Updates) error {
	if a.pool.waiting() == 0 {
		return hotstuff.ErrDefer
	}
	height, err := a.parentHeight(request)
	if errors.Is(err, hotstuff.ErrNotFound) { // the parent is valid, but on no disk yet
		a.notify()
		return hotstuff.ErrDefer
	}
	if err == nil {
		err = a.execution.begin(request.Snapshot, height+1)
	}
	if err != nil {
		return fmt.Errorf("reading the parent's state: %w", err)
	}
	b := newBatch(a.buffer, a.bytesMax, a.commandsMax)
	more := a.gather(b)
	a.buffer = b.data
	if a.execution.err != nil {
		return fmt.Errorf("executing: %w", a.execution.err)
	}
	if b.count == 0 {
		return hotstuff.ErrDefer
	}
	hash, err := a.execution.finish(updates)
	if err == nil {
		err = updates.SetData(b.finish(hash))
	}
	if err == nil && more {
		a.notify()
	}
	return err
}

// gather takes the waiting commands that are new on this branch, oldest first. Those that a block
// between the committed state and the parent holds are duplicates here; those for which the time
// has not come, or is over, are left to the follower and to their deadlines. It says whether a new
// command is left for the next block.
func (a *app) gather(b *batch) (more bool) {
	a.gathers = a.pool.commands(a.gathers[:0])
	defer clear(a.gathers)
	for _, waiting := range a.gathers {
		if !b.hasRoom(waiting) {
			return true // not the next smaller one: commands of a session keep their order
		}
		o, session := a.execution.apply(waiting)
		if a.execution.err != nil {
			return false
		}
		switch o {
		case applied:
			c := *waiting
			if c.kind == commandOpen {
				c.sequence = session
			}
			b.append(&c)
		case full:
			return true
		}
	}
	return false
}

// ValidateBlock runs a block of another replica.
func (a *app) ValidateBlock(request *hotstuff.ValidateRequest, updates *hotstuff.Updates) error {
	block := request.Block
	reader, ok := openBatch(block.Data)
	if !ok {
		return a.invalid(block, "no batch header")
	}
	if err := a.execution.begin(request.Snapshot, block.Height); err != nil {
		return fmt.Errorf("reading the parent's state: %w", err)
	}
	for {
		var c command
		ended, err := reader.next(&c)
		if err != nil {
			return a.invalid(block, err.Error())
		}
		if ended {
			break
		}
		o, session := a.execution.apply(&c)
		switch {
		case a.execution.err != nil:
			return fmt.Errorf("executing: %w", a.execution.err)
		case o != applied:
			return a.invalid(block, "a command that cannot be applied: "+o.String())
		case c.kind == commandOpen && c.sequence != session:
			return a.invalid(block, "a session with the wrong number")
		}
	}
	hash, err := a.execution.finish(updates)
	if err != nil {
		return fmt.Errorf("writing updates: %w", err)
	}
	if hash != reader.stateHash {
		return a.invalid(block, "its state hash is not the one computed here")
	}
	return nil
}

func (a *app) invalid(block *hotstuff.Block, why string) error {
	a.refused.Add(1)
	logf(hotstuff.LogWarn, "block %d is invalid: %s", block.Height, why)
	return hotstuff.ErrInvalidBlock
}
