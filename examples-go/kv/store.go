package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	hotstuff "libhotstuff/bindings/go"
)

// The replicated state: what a command does to it, and how it is read. Keys are chosen by their
// first byte, numbers are little-endian:
//
//	"m"           the summary: numbers of everything, and the sum of the digests
//	"d" key       a value
//	"s" slot:u16  a session: id, nonce, and a window of (sequence, height), one for each residue
//	"o" nonce:u64 which session an open made, and at which height
//	"h" slot:u16  (height, state hash) of the data blocks of late: a ring of historyLen
//
// Sessions make a command take effect once, however often it is proposed. The session remembers,
// for each residue of windowLen, the greatest sequence applied, and at which height: the same again
// is a duplicate (answered with that height), a smaller one is stale (never applied). There are
// sessionsMax slots; session n takes the slot of session n - sessionsMax, which is then expired.
//
// Validators are no part of this state: the library keeps the set.
//
// The state hash is a digest of the summary, which holds the sum of the digests of all "d", "s" and
// "o" pairs: equal contents, equal hash.
const (
	sessionsMax      = 4096
	windowLen        = 16
	historyLen       = 4096
	changesPerBlock  = 16
	summaryLen       = 5*8 + digestLen
	sessionHeaderLen = 16
	sessionLen       = sessionHeaderLen + 16*windowLen
	openedLen        = 16
	historyRecordLen = 8 + digestLen
	// A command touches at most four entries: an open its nonce, the slot, and the evicted nonce.
	entriesPerCommand = 4
	entriesMax        = entriesPerCommand * blockCommandsMax
)

type outcome int

const (
	applied   outcome = iota
	duplicate         // applied earlier on this chain
	stale             // overtaken by sequence + windowLen: applied long ago, or never
	expired           // its session is gone: applied long ago, or never
	unknown           // no such session yet
	refused           // no validators would be left, or too many, or too much power
	full              // the execution holds all it can: propose the rest later
)

var errCorrupt error = hotstuff.ErrCorrupt

/* ---- records ---- */

type summary struct {
	nextSession, commands, keys, dataBlocks uint64
	height                                  uint64 // of the last data block
	sum                                     digest
}

var summaryKey = []byte("m")

var genesisSummary = summary{nextSession: 1}

func (s *summary) encode() []byte {
	out := make([]byte, 0, summaryLen)
	for _, n := range []uint64{s.nextSession, s.commands, s.keys, s.dataBlocks, s.height} {
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	return s.sum.append(out)
}

func (s *summary) hash() digest { return digestOfPair(summaryKey, s.encode()) }

func takeSummary(in []byte) summary {
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(in[8*i:]) }
	return summary{n(0), n(1), n(2), n(3), n(4), takeDigest(in[40:])}
}

func slotKey(kind byte, slot uint64) []byte {
	return binary.LittleEndian.AppendUint16(append(make([]byte, 0, 3), kind), uint16(slot))
}

func openedKey(nonce uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(make([]byte, 0, 9), 'o'), nonce)
}

func dataKey(key []byte) []byte { return append(append(make([]byte, 0, 1+len(key)), 'd'), key...) }

func twoNumbers(a, b uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, a), b)
}

/* ---- point reads ---- */

func readRecord(tree *hotstuff.Snapshot, key []byte, length int) ([]byte, error) {
	record, err := tree.Get(key)
	if err == nil && len(record) != length {
		err = errCorrupt
	}
	return record, err
}

// readSummary: the summary is in the genesis state: not finding it is damage, not a fresh start.
func readSummary(tree *hotstuff.Snapshot) (summary, error) {
	record, err := readRecord(tree, summaryKey, summaryLen)
	if errors.Is(err, hotstuff.ErrNotFound) {
		err = errCorrupt
	}
	if err != nil {
		return summary{}, err
	}
	return takeSummary(record), nil
}

// judgeSession: the sessions alive are the sessionsMax youngest.
func (s *summary) judgeSession(session uint64) outcome {
	switch {
	case session >= s.nextSession:
		return unknown
	case s.nextSession-session > sessionsMax:
		return expired
	}
	return applied
}

// windowOf is the place of a sequence in a session's record.
func windowOf(session []byte, sequence uint64) []byte {
	return session[sessionHeaderLen+16*(sequence%windowLen):]
}

func judgeSequence(window []byte, sequence uint64) outcome {
	last := binary.LittleEndian.Uint64(window)
	switch {
	case sequence == last:
		return duplicate
	case sequence < last:
		return stale
	}
	return applied
}

// change is what a validator command asks for.
func change(c *command) hotstuff.Validator {
	return hotstuff.Validator{
		Address: hotstuff.Address(c.key),
		Power:   binary.LittleEndian.Uint64(c.value),
	}
}

// changed is the set after a validator command; false if that would be none.
func changed(set hotstuff.ValidatorSet, c *command) (hotstuff.ValidatorSet, bool) {
	after, err := hotstuff.NewValidatorSet(append(slices.Clone(set.Members), change(c))...)
	return after, err == nil && len(after.Members) > 0
}

// judgement is what would become of a command. A duplicate also tells where it was applied, and
// what it made: the session of an open, the epoch of a validator command.
type judgement struct {
	outcome      outcome
	height, made uint64
}

// judge says what would become of a command on this snapshot: applied means that it is new.
func judge(tree *hotstuff.Snapshot, c *command) (judgement, error) {
	if c.kind == commandOpen {
		return judgeOpen(tree, c.client)
	}
	s, err := readSummary(tree)
	if err != nil {
		return judgement{}, err
	}
	if o := s.judgeSession(c.client); o != applied {
		return judgement{outcome: o}, nil
	}
	session, err := readRecord(tree, slotKey('s', c.client%sessionsMax), sessionLen)
	if err != nil {
		return judgement{}, err
	}
	window := windowOf(session, c.sequence)
	j := judgement{outcome: judgeSequence(window, c.sequence)}
	if j.outcome == duplicate {
		j.height = binary.LittleEndian.Uint64(window[8:])
	}
	if c.kind == commandValidator {
		err = judgeValidator(tree, c, &j)
	}
	return j, err
}

func judgeOpen(tree *hotstuff.Snapshot, nonce uint64) (judgement, error) {
	record, err := readRecord(tree, openedKey(nonce), openedLen)
	if errors.Is(err, hotstuff.ErrNotFound) {
		return judgement{outcome: applied}, nil
	}
	if err != nil {
		return judgement{}, err
	}
	return judgement{duplicate, binary.LittleEndian.Uint64(record[8:]),
		binary.LittleEndian.Uint64(record)}, nil
}

func judgeValidator(tree *hotstuff.Snapshot, c *command, j *judgement) error {
	switch j.outcome {
	case duplicate:
		block, err := tree.BlockAt(j.height)
		if err == nil {
			j.made = block.Epoch + 1
		}
		return err
	case applied:
		set, err := tree.Validators()
		if err != nil {
			return err
		}
		if _, ok := changed(set, c); !ok {
			j.outcome = refused
		}
	}
	return nil
}

// hashAt is the state hash after block height, if it is among the last historyLen data blocks; else
// hotstuff.ErrNotFound. The caller has checked that height is committed. Data blocks are numbered
// from 1, and their heights rise: find the last one at or below height.
func hashAt(tree *hotstuff.Snapshot, height uint64) (digest, error) {
	s, err := readSummary(tree)
	if err != nil {
		return digest{}, err
	}
	low := uint64(1)
	if s.dataBlocks > historyLen {
		low = s.dataBlocks - historyLen + 1
	}
	oldest, high := low, s.dataBlocks+1
	var found digest
	for low < high {
		middle := low + (high-low)/2
		record, err := readRecord(tree, slotKey('h', middle%historyLen), historyRecordLen)
		if errors.Is(err, hotstuff.ErrNotFound) {
			err = errCorrupt
		}
		if err != nil {
			return digest{}, err
		}
		if binary.LittleEndian.Uint64(record) <= height {
			found, low = takeDigest(record[8:]), middle+1
		} else {
			high = middle
		}
	}
	if low > oldest {
		return found, nil
	}
	if oldest > 1 {
		return digest{}, hotstuff.ErrNotFound
	}
	return genesisSummary.hash(), nil
}

/* ---- executing a block ---- */

// entry is one key of the state, as the block leaves it.
type entry struct {
	key, value       []byte // value nil: absent
	before           digest // of the pair as the parent has it
	existed, changed bool
}

// execution is an overlay on the state of a parent. One goroutine; reused from block to block.
type execution struct {
	tree       *hotstuff.Snapshot
	height     uint64
	summary    summary
	err        error                  // of storage; the block is then neither valid nor invalid
	validators *hotstuff.ValidatorSet // nil until the block changes them
	changes    []hotstuff.Validator
	entries    []entry
	index      map[string]int32
}

func newExecution() *execution { return &execution{index: make(map[string]int32)} }

func (e *execution) begin(tree *hotstuff.Snapshot, height uint64) error {
	clear(e.index)
	clear(e.entries)
	*e = execution{tree: tree, height: height, entries: e.entries[:0], index: e.index}
	e.summary, e.err = readSummary(tree)
	return e.err
}

// lookUp is the entry of a key; nil if storage failed. It is valid until the next lookUp.
func (e *execution) lookUp(key []byte) *entry {
	if at, ok := e.index[string(key)]; ok {
		return &e.entries[at]
	}
	value, err := e.tree.Get(key)
	if err != nil && !errors.Is(err, hotstuff.ErrNotFound) {
		e.err = err
		return nil
	}
	loaded := entry{key: key, value: value}
	if err == nil {
		if len(value) == 0 || len(value) > valueMax {
			e.err = errCorrupt
			return nil
		}
		loaded.existed, loaded.before = true, digestOfPair(key, value)
	}
	e.index[string(key)] = int32(len(e.entries))
	e.entries = append(e.entries, loaded)
	return &e.entries[len(e.entries)-1]
}

func (n *entry) set(value []byte) { n.value, n.changed = value, true }

// apply runs one command. session is the number that an open got. After e.err the outcome means
// nothing.
func (e *execution) apply(c *command) (o outcome, session uint64) {
	if entriesMax-len(e.entries) < entriesPerCommand {
		return full, 0
	}
	switch c.kind {
	case commandOpen:
		o, session = e.applyOpen(c)
	case commandValidator:
		o = e.applyValidator(c)
	default:
		o = e.applyWrite(c)
	}
	if o == applied {
		e.summary.commands++
	}
	return o, session
}

func (e *execution) applyOpen(c *command) (outcome, uint64) {
	key := openedKey(c.client)
	opened := e.lookUp(key)
	if opened == nil {
		return unknown, 0
	}
	if opened.value != nil {
		return duplicate, 0
	}
	id := e.summary.nextSession
	slot := e.lookUp(slotKey('s', id%sessionsMax))
	if slot == nil {
		return unknown, 0
	}
	old := slot.value
	record := make([]byte, sessionLen)
	copy(record, twoNumbers(id, c.client))
	slot.set(record)
	if old != nil { // forgets the open of the session that loses its slot
		evicted := e.lookUp(openedKey(binary.LittleEndian.Uint64(old[8:])))
		if evicted == nil {
			return unknown, 0
		}
		evicted.set(nil)
	}
	e.lookUp(key).set(twoNumbers(id, e.height))
	e.summary.nextSession++
	return applied, id
}

// findWindow finds the place in its session that a command fills when it is applied.
func (e *execution) findWindow(c *command) (*entry, outcome) {
	if o := e.summary.judgeSession(c.client); o != applied {
		return nil, o
	}
	session := e.lookUp(slotKey('s', c.client%sessionsMax))
	if session == nil {
		return nil, unknown
	}
	if len(session.value) != sessionLen || binary.LittleEndian.Uint64(session.value) != c.client {
		e.err = errCorrupt
		return nil, unknown
	}
	return session, judgeSequence(windowOf(session.value, c.sequence), c.sequence)
}

func (e *execution) fillWindow(c *command, session *entry) {
	window := windowOf(session.value, c.sequence)
	binary.LittleEndian.PutUint64(window, c.sequence)
	binary.LittleEndian.PutUint64(window[8:], e.height)
	session.changed = true
}

func (e *execution) applyWrite(c *command) outcome {
	session, o := e.findWindow(c)
	if o != applied || e.err != nil {
		return o
	}
	e.fillWindow(c, session)
	data := e.lookUp(dataKey(c.key))
	if data == nil {
		return unknown
	}
	if data.value != nil {
		e.summary.keys--
	}
	if c.kind == commandSet {
		e.summary.keys++
		data.set(c.value)
	} else {
		data.set(nil)
	}
	return applied
}

func (e *execution) applyValidator(c *command) outcome {
	session, o := e.findWindow(c)
	if o != applied || e.err != nil {
		return o
	}
	if len(e.changes) == changesPerBlock {
		return full
	}
	for _, other := range e.changes {
		if bytes.Equal(other.Address[:], c.key) {
			return full // a second change of one validator waits for the next block
		}
	}
	if e.validators == nil {
		set, err := e.tree.Validators()
		if err != nil {
			e.err = err
			return unknown
		}
		e.validators = &set
	}
	after, ok := changed(*e.validators, c)
	if !ok {
		return refused
	}
	e.validators = &after
	e.changes = append(e.changes, change(c))
	e.fillWindow(c, session)
	return applied
}

// finish hands what has changed to the library, and says what the state hash is then.
func (e *execution) finish(out *hotstuff.Updates) (digest, error) {
	for i := range e.entries {
		if e.entries[i].changed {
			if err := e.write(&e.entries[i], out); err != nil {
				return digest{}, err
			}
		}
	}
	for _, change := range e.changes {
		if err := out.SetValidator(change.Address, change.Power); err != nil {
			return digest{}, err
		}
	}
	e.summary.dataBlocks++
	e.summary.height = e.height
	hash := e.summary.hash()
	history := hash.append(binary.LittleEndian.AppendUint64(nil, e.height))
	if err := out.Set(slotKey('h', e.summary.dataBlocks%historyLen), history); err != nil {
		return digest{}, err
	}
	return hash, out.Set(summaryKey, e.summary.encode())
}

// write hands one changed entry to the library, and moves the sum along.
func (e *execution) write(n *entry, out *hotstuff.Updates) error {
	if n.existed {
		e.summary.sum = e.summary.sum.subtract(n.before)
	}
	if n.value == nil {
		if !n.existed {
			return nil
		}
		return out.Delete(n.key)
	}
	e.summary.sum = e.summary.sum.add(digestOfPair(n.key, n.value))
	return out.Set(n.key, n.value)
}

// String is for the log.
func (o outcome) String() string {
	names := []string{"applied", "duplicate", "stale", "expired", "unknown", "refused", "full"}
	return fmt.Sprint(names[o])
}
