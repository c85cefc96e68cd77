package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	hotstuff "libhotstuff/bindings/go"
)

// node is a replica and what clients may ask of it, whatever they speak:
//
//	clients --- lines, HTTP --- pool --- app (a thread of the library)
//	                             |                 |
//	                          follower <------- replica ------- other replicas, by TCP
//
// The follower reads the committed blocks one by one and ends the commands that it finds in them.
type node struct {
	config  *config
	genesis hotstuff.Hash
	replica *hotstuff.Replica
	pool    *pool
	app     *app
	due     chan struct{} // the replica is to be notified
	reading chan struct{} // holds one for each read under way
	latency histogram     // of commands, from their arrival to their commit

	listener atomic.Bool                       // as of a moment ago: no validator
	followed atomic.Pointer[hotstuff.Snapshot] // at least all blocks that the follower has resolved
}

// How often the replica is told again of commands that wait: a block that held them may have been
// abandoned.
const notifyAgain = 250 * time.Millisecond

// Reads that are under way at once; more wait. Each has a snapshot for some microseconds.
const readersMax = 32

func openNode(c *config, key *hotstuff.KeyPair) (*node, error) {
	n := &node{config: c, due: make(chan struct{}, 1), reading: make(chan struct{}, readersMax)}
	n.pool = newPool(int(c.poolCommandsMax), int(c.poolBytesMax))
	n.app = newApp(n.pool, int(c.blockBytesMax), uint32(c.blockCommandsMax))
	n.app.notify = n.notify
	replicaConfig := c.replicaConfig(key)
	genesis, err := replicaConfig.GenesisHash()
	if err != nil {
		return nil, err
	}
	n.genesis, n.app.genesis = genesis, genesis
	n.replica, err = hotstuff.OpenTCP(replicaConfig, n.app, c.tcp())
	if err != nil {
		return nil, err
	}
	return n, nil
}

/* ---- keeping it going ---- */

// notify says, soon, that there is work.
func (n *node) notify() {
	select {
	case n.due <- struct{}{}:
	default:
	}
}

// keep notifies the replica of new commands at once, and again while any wait; and ends those that
// have waited too long.
func (n *node) keep(ctx context.Context) {
	again := time.NewTicker(notifyAgain)
	defer again.Stop()
	expiry := time.NewTimer(time.Hour)
	defer expiry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.due:
			n.tell()
		case <-n.pool.arrived:
			n.tell()
			n.arm(expiry)
		case <-expiry.C:
			n.pool.expire(time.Now())
			n.arm(expiry)
		case <-again.C:
			n.look()
			if n.pool.waiting() > 0 {
				if n.listener.Load() { // which proposes nothing more
					n.pool.giveUp(verdictListener)
				}
				n.tell()
			}
		}
	}
}

// arm sets the timer to the nearest deadline.
func (n *node) arm(expiry *time.Timer) {
	if deadline, ok := n.pool.nextDeadline(); ok {
		expiry.Reset(time.Until(deadline))
	}
}

func (n *node) tell() {
	err := n.replica.Notify()
	if err != nil && !errors.Is(err, hotstuff.ErrClosed) {
		logf(hotstuff.LogWarn, "%v", err)
	}
}

// look notes whether the replica is a listener.
func (n *node) look() {
	if info, err := n.replica.Info(); err == nil {
		n.listener.Store(info.Role == hotstuff.Listener)
	}
}

// show lets submit see what the follower has. It is called before the commands of a block are ended:
// who submits one that has ended already must find it there.
func (n *node) show() {
	tree, err := n.replica.Snapshot()
	if err != nil { // then each command asks for itself
		logf(hotstuff.LogWarn, "%v", err)
	}
	if old := n.followed.Swap(tree); old != nil {
		old.Close()
	}
}

// follow ends the commands of committed blocks from a height on, until the replica stops.
func (n *node) follow(ctx context.Context, height uint64) error {
	var commands []command
	var ends []done
	for {
		block, err := n.replica.NextCommitted(ctx, height)
		if err != nil {
			return err
		}
		height = block.Height
		commands, ends = commands[:0], ends[:0]
		reader, ok := openBatch(block.Data)
		for ok {
			var c command
			if ended, err := reader.next(&c); ended || err != nil {
				break
			}
			d := done{committed, block.Height, c.sequence}
			if c.kind == commandValidator {
				d.made = block.Epoch + 1
			}
			commands, ends = append(commands, c), append(ends, d)
		}
		n.show()
		n.pool.resolveAll(commands, ends)
	}
}

/* ---- writes ---- */

// refusal is why a request is answered at once: the word and the explanation of the line protocol.
type refusal struct{ word, text string }

func (r *refusal) Error() string { return r.word + " " + r.text }

// submit puts a command into the pool. The channel will have its end.
func (n *node) submit(c command) (<-chan done, error) {
	if complaint := c.complaint(); complaint != "" {
		return nil, &refusal{"syntax", complaint}
	}
	if n.listener.Load() {
		n.look() // it may be a validator by now
	}
	if n.listener.Load() {
		return nil, &refusal{"listener", "this replica proposes nothing: ask a validator"}
	}
	timeout := time.Duration(n.config.commitTimeoutMs) * time.Millisecond
	result := n.pool.submit(c, time.Now().Add(timeout))
	if result == nil {
		return nil, &refusal{"busy", "the pool is full: try again later"}
	}
	n.resolveKnown(&c)
	return result, nil
}

func internal(err error) *refusal { return &refusal{"internal", err.Error()} }

// resolveKnown answers from the committed state what the state already knows. The command is in the
// pool by now, so a block that commits it later than this snapshot is the follower's to see: none
// is missed.
func (n *node) resolveKnown(c *command) {
	var j judgement
	var err error = hotstuff.ErrClosed
	if tree := n.followed.Load(); tree != nil {
		j, err = judge(tree, c)
	}
	if errors.Is(err, hotstuff.ErrClosed) { // there is none, or the follower has just gone on
		err = n.read(func(tree *hotstuff.Snapshot) (err error) {
			j, err = judge(tree, c)
			return err
		})
	}
	if err != nil {
		logf(hotstuff.LogError, "reading a session: %v", err)
		return // its deadline still stands
	}
	switch j.outcome {
	case duplicate:
		n.pool.resolve(c, done{committed, j.height, j.made})
	case stale:
		n.pool.resolve(c, done{verdict: verdictStale})
	case expired:
		n.pool.resolve(c, done{verdict: verdictExpired})
	case refused:
		n.pool.resolve(c, done{verdict: verdictRefused})
	}
}

// failure is nil for a command that is committed; otherwise what to tell its client.
func (d done) failure() error {
	switch d.verdict {
	case verdictStale:
		return &refusal{"stale",
			fmt.Sprintf("applied long ago or never: sequence + %d has been applied", windowLen)}
	case verdictExpired:
		return &refusal{"expired",
			fmt.Sprintf("the session is gone: %d younger ones were opened", sessionsMax)}
	case verdictRefused:
		return &refusal{"refused", "there would be no validators, too many, or too much power"}
	case verdictListener:
		return &refusal{"listener",
			"this replica has left the validators: repeat it at one of them"}
	case verdictTimeout:
		return &refusal{"timeout",
			"not committed in time; it may still be: repeat the same sequence"}
	case verdictStopped:
		return &refusal{"stopping", "it may still be committed: repeat it at another replica"}
	}
	return nil
}

func randomNonce() uint64 {
	for {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			panic(err) // never, says crypto/rand
		}
		if nonce := binary.LittleEndian.Uint64(b[:]); nonce != 0 {
			return nonce
		}
	}
}

// openSession makes a command that opens a session, under a name of our own.
func openSession() command { return command{kind: commandOpen, client: randomNonce()} }

/* ---- reads ---- */

// read lends the committed state. The library has a bound for open snapshots, and so have we.
func (n *node) read(use func(*hotstuff.Snapshot) error) error {
	n.reading <- struct{}{}
	defer func() { <-n.reading }()
	tree, err := n.replica.Snapshot()
	if err != nil {
		return err
	}
	defer tree.Close()
	return use(tree)
}

// get is the value of a key as this replica has committed it; hotstuff.ErrNotFound if it has none.
func (n *node) get(key []byte) (value []byte, err error) {
	err = n.read(func(tree *hotstuff.Snapshot) (err error) {
		value, err = tree.Get(dataKey(key))
		return err
	})
	return value, err
}

// hash is the state hash after a block, and the hash of the block; both as of the genesis at 0.
func (n *node) hash(height uint64) (state digest, block hotstuff.Hash, err error) {
	err = n.read(func(tree *hotstuff.Snapshot) error {
		committed, err := tree.CommittedHeight()
		if err != nil {
			return err
		}
		if height > committed {
			return &refusal{"notfound", fmt.Sprintf("height %d is not committed here yet", height)}
		}
		state, err = hashAt(tree, height)
		if errors.Is(err, hotstuff.ErrNotFound) {
			return &refusal{"notfound",
				fmt.Sprintf("only the last %d blocks with data are remembered", historyLen)}
		}
		if err != nil || height == 0 {
			return err
		}
		at, err := tree.BlockAt(height)
		if err == nil {
			block = at.Hash
		}
		return err
	})
	return state, block, err
}

// evidence is who has signed what contradicts itself, as this replica has verified.
func (n *node) evidence(index int) (info hotstuff.EvidenceInfo, err error) {
	piece, err := n.replica.EvidenceAt(index)
	if err != nil {
		return info, err
	}
	if piece == nil {
		return info, &refusal{"notfound", "no more evidence is kept here"}
	}
	if info, err = hotstuff.ReadEvidence(piece); err != nil {
		return info, err
	}
	err = n.read(func(tree *hotstuff.Snapshot) error {
		validators, err := tree.ValidatorsOf(info.Epoch)
		if err != nil {
			return err
		}
		info.Validator, err = hotstuff.VerifyEvidence(n.genesis, validators, piece)
		return err
	})
	return info, err
}

func (n *node) validators() (set hotstuff.ValidatorSet, err error) {
	err = n.read(func(tree *hotstuff.Snapshot) (err error) {
		set, err = tree.Validators()
		return err
	})
	return set, err
}

// status is the state of everything.
type status struct {
	info       hotstuff.Info
	metrics    hotstuff.Metrics
	summary    summary
	validators int
}

func (n *node) status() (s status, err error) {
	if s.info, err = n.replica.Info(); err != nil {
		return s, err
	}
	if s.metrics, err = n.replica.Metrics(); err != nil {
		return s, err
	}
	err = n.read(func(tree *hotstuff.Snapshot) (err error) {
		if s.summary, err = readSummary(tree); err != nil {
			return err
		}
		validators, err := tree.Validators()
		s.validators = len(validators.Members)
		return err
	})
	return s, err
}
