package main

import (
	"sync"
	"time"
)

// verdict is how a command of our own clients has ended.
type verdict int

const (
	committed verdict = iota
	verdictStale
	verdictExpired // the session, not the command
	verdictRefused
	verdictListener
	verdictTimeout
	verdictStopped
)

// done is the end of a command.
type done struct {
	verdict verdict
	height  uint64 // of a committed command
	made    uint64 // the session that an open, the epoch that a validator command has made
}

// pool holds the commands of this replica's clients that are not yet known to be committed, oldest
// first. A command stays until it is resolved or has expired: that a block proposes it is no reason
// to forget it, because that block may be abandoned. Its bounds are fixed when it is made.
type pool struct {
	mu               sync.Mutex
	oldest, youngest *waiting
	byIdentity       map[identity]*waiting
	count, bytes     int
	countMax         int
	bytesMax         int
	closed           bool
	arrived          chan struct{} // a command has come since somebody last looked
}

type waiting struct {
	command        command
	deadline       time.Time
	result         chan done // takes one, never blocks
	older, younger *waiting
	same           *waiting // another with this identity
}

func newPool(countMax, bytesMax int) *pool {
	return &pool{byIdentity: make(map[identity]*waiting), countMax: countMax, bytesMax: bytesMax,
		arrived: make(chan struct{}, 1)}
}

func payload(c *command) int { return len(c.key) + len(c.value) }

// submit keeps a command, whose bytes are the pool's from then on; nil if the pool is full. The
// channel will have its end.
func (p *pool) submit(c command, deadline time.Time) <-chan done {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &waiting{command: c, deadline: deadline, result: make(chan done, 1), older: p.youngest}
	if p.closed {
		w.result <- done{verdict: verdictStopped}
		return w.result
	}
	if p.count >= p.countMax || p.bytes+payload(&c) > p.bytesMax {
		return nil
	}
	if p.youngest != nil {
		p.youngest.younger = w
	} else {
		p.oldest = w
	}
	p.youngest = w
	w.same = p.byIdentity[c.identity()]
	p.byIdentity[c.identity()] = w
	p.count++
	p.bytes += payload(&c)
	select {
	case p.arrived <- struct{}{}:
	default:
	}
	return w.result
}

// resolve ends every waiting command with the identity of c.
func (p *pool) resolve(c *command, d done) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(c.identity(), d)
}

// resolveAll ends the commands of a committed block.
func (p *pool) resolveAll(commands []command, ends []done) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range commands {
		p.end(commands[i].identity(), ends[i])
	}
}

func (p *pool) end(id identity, d done) {
	w, ok := p.byIdentity[id]
	if !ok {
		return
	}
	delete(p.byIdentity, id)
	for ; w != nil; w = w.same {
		p.unlink(w)
		w.result <- d
	}
}

func (p *pool) unlink(w *waiting) {
	if w.older != nil {
		w.older.younger = w.younger
	} else {
		p.oldest = w.younger
	}
	if w.younger != nil {
		w.younger.older = w.older
	} else {
		p.youngest = w.older
	}
	p.count--
	p.bytes -= payload(&w.command)
}

// expire ends every command whose deadline is not after now. All wait equally long, so the oldest
// is the first to expire; with it goes what is the same.
func (p *pool) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.oldest != nil && !p.oldest.deadline.After(now) {
		p.end(p.oldest.command.identity(), done{verdict: verdictTimeout})
	}
}

// giveUp ends every command.
func (p *pool) giveUp(v verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.oldest != nil {
		p.end(p.oldest.command.identity(), done{verdict: v})
	}
}

// close ends every command, and each that is still to come.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.giveUp(verdictStopped)
}

func (p *pool) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// nextDeadline is the nearest; false if nothing waits.
func (p *pool) nextDeadline() (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.oldest == nil {
		return time.Time{}, false
	}
	return p.oldest.deadline, true
}

// commands appends all that wait, oldest first. They are not changed any more.
func (p *pool) commands(to []*command) []*command {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := p.oldest; w != nil; w = w.younger {
		to = append(to, &w.command)
	}
	return to
}
