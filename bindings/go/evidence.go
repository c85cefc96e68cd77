package hotstuff

// #include "shim.h"
import "C"

import "fmt"

// EvidenceKind says what a validator has done that no honest one does.
type EvidenceKind uint32

const (
	// DoubleVote: two votes in one view, for different things.
	DoubleVote EvidenceKind = C.HOTSTUFF_EVIDENCE_DOUBLE_VOTE
	// DoubleProposal: two blocks proposed in one view.
	DoubleProposal EvidenceKind = C.HOTSTUFF_EVIDENCE_DOUBLE_PROPOSAL
	// LyingTimeout: a time-out that hides a quorum certificate on which its signer had voted.
	LyingTimeout EvidenceKind = C.HOTSTUFF_EVIDENCE_LYING_TIMEOUT
)

// String is the kind in words: "double-vote".
func (k EvidenceKind) String() string {
	switch k {
	case DoubleVote:
		return "double-vote"
	case DoubleProposal:
		return "double-proposal"
	case LyingTimeout:
		return "lying-timeout"
	}
	return fmt.Sprintf("evidence-%d", uint32(k))
}

// EvidenceInfo is what a piece of evidence claims. Whether it is true says [VerifyEvidence].
type EvidenceInfo struct {
	// Kind says what the accused has done.
	Kind EvidenceKind
	// Epoch is the one whose validators judge it.
	Epoch uint64
	// View is that of the two votes or proposals; of a lying time-out, the view timed out.
	View uint64
	// VoteView is the same; of a lying time-out, the view of the vote that proves the lie.
	VoteView uint64
	// Validator is the accused.
	Validator Address
}

// ReadEvidence reads what a piece of evidence claims, without verifying it. [ErrDecode]: the bytes
// are no evidence. [ErrTooLarge]: no evidence is so large.
func ReadEvidence(evidence []byte) (EvidenceInfo, error) {
	var info C.hotstuff_evidence_info
	if len(evidence) == 0 {
		return EvidenceInfo{}, failure("read evidence", C.HOTSTUFF_E_DECODE)
	}
	C.hotstuff_evidence_info_init(&info, C.sizeof_hotstuff_evidence_info)
	p, n := bytesOf(evidence)
	if status := C.hotstuff_evidence_read(p, n, &info); status != C.HOTSTUFF_OK {
		return EvidenceInfo{}, failure("read evidence", status)
	}
	return EvidenceInfo{
		Kind: EvidenceKind(info.kind), Epoch: uint64(info.epoch), View: uint64(info.view),
		VoteView: uint64(info.vote_view), Validator: goAddress(&info.validator),
	}, nil
}

// VerifyEvidence checks that a piece of evidence convicts its accused, whom it returns: that the
// accused belongs to validators, those of the evidence's epoch, and has signed, on the chain of
// that genesis, two statements that no honest validator signs both of. It needs no replica, and
// believes nothing.
//
// [ErrDecode], [ErrTooLarge]: the bytes are no evidence. [ErrNotFound]: the accused is not in
// validators. [ErrBadSignature]: the accused has not signed both on this chain.
// [ErrInvalidArgument]: an honest validator may sign both, or validators is empty.
func VerifyEvidence(genesis Hash, validators ValidatorSet, evidence []byte) (Address, error) {
	var offender Address
	err := validators.lendFor("verify evidence", evidence,
		func(set *cSet) cStatus {
			p, n := bytesOf(evidence)
			return C.hotstuff_verify_evidence(genesis.c(), set, p, n, offender.c())
		})
	return offender, err
}

// Evidence is what the replica keeps against validators, in the order of epochs: the first piece of
// each validator, epoch and kind, at most 4096 in all. Other replicas may keep others.
func (r *Replica) Evidence() ([][]byte, error) {
	var all [][]byte
	for {
		piece, err := r.EvidenceAt(len(all))
		if err != nil || piece == nil {
			return all, err
		}
		all = append(all, piece)
	}
}

// EvidenceAt is one piece of [Replica.Evidence], by its index from 0; nil if there are not so many.
func (r *Replica) EvidenceAt(index int) ([]byte, error) {
	var buffer *cBuffer
	if index < 0 {
		return nil, failure("evidence", C.HOTSTUFF_E_INVALID_ARGUMENT)
	}
	status, err := r.enter("evidence", func(c *cReplica) cStatus {
		return C.hotstuff_replica_evidence_at(c, C.size_t(index), &buffer)
	})
	if err != nil || Status(status) == errDone {
		return nil, err
	}
	if status != C.HOTSTUFF_OK {
		return nil, failure("evidence", status)
	}
	return takeBuffer(buffer), nil
}
