package hotstuff

// #include "shim.h"
import "C"

import (
	"iter"
	"sync"
	"unsafe"
)

// Snapshot is a consistent view of the chain and of the app's state. It does not change.
//
// [Replica.Snapshot] gives one that is yours: the state as of the last committed block. It pins
// pages of the database, so Close it soon; it may outlive the replica. A callback of the app is
// lent one: the state as of the parent of the block in question, committed or not. That one is
// closed when the callback returns.
//
// Besides what its methods say, they return [ErrClosed] after Close and [ErrStorage] if the
// database fails; the logger then has the text.
type Snapshot struct {
	mu   sync.RWMutex
	tree *cTree // nil: closed
	lent bool
}

// Close gives the pages back. A second call does nothing, and so does one for a snapshot that was
// lent. Iterations that have begun go on.
func (s *Snapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lent {
		C.hotstuff_block_tree_free(s.tree)
		s.tree = nil
	}
	return nil
}

// giveBack ends what was lent to a callback.
func (s *Snapshot) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree = nil
}

// use calls f with the tree, which is not closed meanwhile.
func (s *Snapshot) use(op string, f func(*cTree) cStatus) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.tree == nil {
		return s.closed(op)
	}
	return failure(op, f(s.tree))
}

func (s *Snapshot) closed(op string) error {
	what := "the snapshot is closed"
	if s.lent {
		what = "the snapshot was lent to a callback that has returned"
	}
	return &Error{Op: op, Status: ErrClosed, Message: what}
}

// A place for a value, so that most reads cost one call of C and one allocation.
type scratch struct {
	bytes [1024]byte
	len   C.size_t
	rest  *cBuffer
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// What most reads fail with: no place to put an explanation.
var errNotFound error = ErrNotFound

// Get is the value of a key of the app's state. [ErrNotFound]: it has no such key.
func (s *Snapshot) Get(key []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.tree == nil {
		return nil, s.closed("get")
	}
	if len(key) == 0 {
		return nil, errNotFound
	}
	t := scratches.Get().(*scratch)
	defer scratches.Put(t)
	p, n := bytesOf(key)
	into := (*C.uint8_t)(unsafe.Pointer(&t.bytes[0]))
	status := C.hotstuff_go_state(s.tree, p, n, into, C.size_t(len(t.bytes)), &t.len, &t.rest)
	switch {
	case status == C.HOTSTUFF_E_NOT_FOUND:
		return nil, errNotFound
	case status != C.HOTSTUFF_OK:
		return nil, failure("get", status)
	case t.rest != nil:
		rest := t.rest
		t.rest = nil
		return takeBuffer(rest), nil
	}
	return append(make([]byte, 0, t.len), t.bytes[:t.len]...), nil
}

// Block is a block by its hash, committed or not. [ErrNotFound]: no such block is stored here.
func (s *Snapshot) Block(hash Hash) (*Block, error) {
	block, err := s.blockOf(hash)
	if err != nil {
		return nil, err
	}
	return takeBlock(block), nil
}

// EncodedBlock is a block by its hash, committed or not, as canonical bytes for [DecodeBlock].
// [ErrNotFound]: no such block is stored here.
func (s *Snapshot) EncodedBlock(hash Hash) ([]byte, error) {
	block, err := s.blockOf(hash)
	if err != nil {
		return nil, err
	}
	return encodeBlock(block)
}

func (s *Snapshot) blockOf(hash Hash) (block *C.hotstuff_block, err error) {
	err = s.use("block", func(tree *cTree) cStatus {
		return C.hotstuff_block_tree_block(tree, hash.c(), &block)
	})
	return block, err
}

// BlockAt is the committed block at a height, from 1 to [Snapshot.CommittedHeight]. [ErrNotFound]:
// none is committed there; the genesis, at 0, is no block.
func (s *Snapshot) BlockAt(height uint64) (*Block, error) {
	var block *C.hotstuff_block
	err := s.use("block", func(tree *cTree) cStatus {
		return C.hotstuff_block_tree_block_at(tree, C.uint64_t(height), &block)
	})
	if err != nil {
		return nil, err
	}
	return takeBlock(block), nil
}

// Blocks goes through the committed blocks from a height upward; 0 and 1 both mean the first block.
// It ends after an error.
//
//	for block, err := range snapshot.Blocks(1) {
func (s *Snapshot) Blocks(from uint64) iter.Seq2[*Block, error] {
	return func(yield func(*Block, error) bool) {
		var blocks *C.hotstuff_block_iter
		err := s.use("blocks", func(tree *cTree) cStatus {
			return C.hotstuff_block_tree_iter(tree, C.uint64_t(from), &blocks)
		})
		if err != nil {
			yield(nil, err)
			return
		}
		defer C.hotstuff_block_iter_free(blocks)
		for {
			var block *C.hotstuff_block
			status := C.hotstuff_block_iter_next(blocks, &block)
			if Status(status) == errDone {
				return
			}
			if status != C.HOTSTUFF_OK {
				yield(nil, failure("blocks", status))
				return
			}
			if !yield(takeBlock(block), nil) {
				return
			}
		}
	}
}

// CommittedHeight is the height of the last committed block; 0 while there is none.
func (s *Snapshot) CommittedHeight() (uint64, error) {
	var height C.uint64_t
	err := s.use("committed height", func(tree *cTree) cStatus {
		return C.hotstuff_block_tree_committed_height(tree, &height)
	})
	return uint64(height), err
}

// HighestQC is the highest quorum certificate that is known, as canonical bytes.
func (s *Snapshot) HighestQC() ([]byte, error) {
	return s.buffer("highest qc", func(tree *cTree, out **cBuffer) cStatus {
		return C.hotstuff_block_tree_highest_qc(tree, out)
	})
}

// Validators are those of the current epoch; in a callback, of the epoch of the block in question.
func (s *Snapshot) Validators() (ValidatorSet, error) {
	return s.set("validators", func(tree *cTree, out **cSet) cStatus {
		return C.hotstuff_block_tree_validators(tree, out)
	})
}

// ValidatorsOf are the validators of an epoch, past ones included, from 0, the genesis's, to the
// current one. [ErrNotFound]: that epoch has not begun.
func (s *Snapshot) ValidatorsOf(epoch uint64) (ValidatorSet, error) {
	return s.set("validators", func(tree *cTree, out **cSet) cStatus {
		return C.hotstuff_block_tree_validators_of(tree, C.uint64_t(epoch), out)
	})
}

// CommitQCOf is the certificate that began an epoch, from 1 to the current one, as canonical bytes:
// signed by the validators of the epoch before, it proves that the block which updates them is
// committed. [ErrNotFound]: that epoch has not begun, or is the genesis's.
func (s *Snapshot) CommitQCOf(epoch uint64) ([]byte, error) {
	return s.buffer("commit qc", func(tree *cTree, out **cBuffer) cStatus {
		return C.hotstuff_block_tree_commit_qc_of(tree, C.uint64_t(epoch), out)
	})
}

func (s *Snapshot) buffer(op string,
	ask func(*cTree, **cBuffer) cStatus) ([]byte, error) {
	var out *cBuffer
	err := s.use(op, func(tree *cTree) cStatus { return ask(tree, &out) })
	if err != nil {
		return nil, err
	}
	return takeBuffer(out), nil
}

func (s *Snapshot) set(op string,
	ask func(*cTree, **cSet) cStatus) (ValidatorSet, error) {
	var out *cSet
	err := s.use(op, func(tree *cTree) cStatus { return ask(tree, &out) })
	if err != nil {
		return ValidatorSet{}, err
	}
	return takeSet(out), nil
}
