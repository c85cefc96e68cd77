package hotstuff

// #include "shim.h"
import "C"

// Phase says which of its block's certificates a quorum certificate is.
type Phase uint32

const (
	// PhaseGeneric: of the pipelined mode, where most are.
	PhaseGeneric Phase = C.HOTSTUFF_PHASE_GENERIC
	// PhasePrepare: the first, of a block that changes the validators.
	PhasePrepare Phase = C.HOTSTUFF_PHASE_PREPARE
	// PhasePrecommit: the second; there is none under TwoChain.
	PhasePrecommit Phase = C.HOTSTUFF_PHASE_PRECOMMIT
	// PhaseCommit: the last, which commits the block and ends its epoch.
	PhaseCommit Phase = C.HOTSTUFF_PHASE_COMMIT
)

// QCInfo is what a quorum certificate says.
type QCInfo struct {
	// Epoch is the one whose validators have signed it.
	Epoch uint64
	// View is the view of the epoch in which they have.
	View uint64
	// SignedPower is the power of those who have signed, together; 0 for the genesis's.
	SignedPower uint64
	// Phase is which of its block's certificates it is.
	Phase Phase
	// SignerCount is how many have signed.
	SignerCount uint32
	// Block is what they have signed for; the genesis hash in the genesis's.
	Block Hash
}

func newQCInfo() *C.hotstuff_qc_info {
	info := new(C.hotstuff_qc_info)
	C.hotstuff_qc_info_init(info, C.sizeof_hotstuff_qc_info)
	return info
}

func goQCInfo(info *C.hotstuff_qc_info) QCInfo {
	return QCInfo{
		Epoch: uint64(info.epoch), View: uint64(info.view), SignedPower: uint64(info.signed_power),
		Phase: Phase(info.phase), SignerCount: uint32(info.signer_count),
		Block: goHash(&info.block),
	}
}

// VerifyQC checks a quorum certificate: that validators of trusted, those of its epoch, with more
// than two thirds of its power have signed it, on the chain of that genesis. It needs no replica,
// and believes nothing. A certificate alone commits no block, unless its phase is PhaseCommit; see
// [VerifyCommitProof].
//
// [ErrDecode], [ErrTooLarge]: the bytes are no certificate. [ErrNotFound]: it is of another epoch.
// [ErrNoQuorum]: those who have signed are none. [ErrBadSignature]: a signature does not verify, or
// not on this chain. [ErrInvalidArgument]: it does not fit trusted, or trusted is empty.
func VerifyQC(genesis Hash, trusted ValidatorSet, qc []byte) (QCInfo, error) {
	info := newQCInfo()
	err := trusted.lendFor("verify qc", qc, func(set *cSet) cStatus {
		p, n := bytesOf(qc)
		return C.hotstuff_verify_qc(genesis.c(), set, p, n, info)
	})
	return goQCInfo(info), err
}

// VerifyCommitProof checks that a block is committed: that the validators of trusted, those of its
// epoch, have made it final, and with it all blocks below. It needs no replica, and believes
// nothing but that less than a third of the power of trusted is dishonest. Of a block that is
// carried beside the proof take the hash that [DecodeBlock] gives it. What it returns is said by
// the proof's last certificate, which is of this block or of one above it.
//
// [ErrInvalidArgument]: it proves something else: another block, or nothing. The other errors are
// those of [VerifyQC].
func VerifyCommitProof(genesis Hash, trusted ValidatorSet, block Hash,
	proof []byte) (QCInfo, error) {
	info := newQCInfo()
	err := trusted.lendFor("verify commit proof", proof,
		func(set *cSet) cStatus {
			p, n := bytesOf(proof)
			return C.hotstuff_verify_commit_proof(genesis.c(), set, block.c(), p, n, info)
		})
	return goQCInfo(info), err
}

// VerifyEpochProof checks who validates in the next epoch: that the validators of trusted have
// committed a block that updates them. In a loop, from the genesis validators or any others that
// one trusts, it follows the chain over as many epochs as one likes, with no replica and no disk.
//
// [ErrInvalidArgument]: it does not prove that the epoch has ended. The other errors are those of
// [VerifyQC].
func VerifyEpochProof(genesis Hash, trusted ValidatorSet, proof []byte) (ValidatorSet, error) {
	var next *cSet
	err := trusted.lendFor("verify epoch proof", proof,
		func(set *cSet) cStatus {
			p, n := bytesOf(proof)
			return C.hotstuff_verify_epoch_proof(genesis.c(), set, p, n, &next)
		})
	if err != nil {
		return ValidatorSet{}, err
	}
	return takeSet(next), nil
}

// CommitProof is the proof that a block is committed, for whoever knows the validators of its epoch
// and nothing else: see [VerifyCommitProof]. [ErrNotFound]: it is not committed here, or its
// certificates are not here yet: ask again after the next commit.
func (s *Snapshot) CommitProof(hash Hash) ([]byte, error) {
	return s.buffer("commit proof",
		func(tree *cTree, out **cBuffer) cStatus {
			return C.hotstuff_block_tree_commit_proof(tree, hash.c(), out)
		})
}

// EpochProof is the proof of who validates after an epoch, for whoever knows the validators of that
// epoch and nothing else: see [VerifyEpochProof]. [ErrNotFound]: that epoch has not ended.
func (s *Snapshot) EpochProof(epoch uint64) ([]byte, error) {
	return s.buffer("epoch proof",
		func(tree *cTree, out **cBuffer) cStatus {
			return C.hotstuff_block_tree_epoch_proof(tree, C.uint64_t(epoch), out)
		})
}

// lendFor is lend, but for bytes that are none.
func (s ValidatorSet) lendFor(op string, bytes []byte,
	use func(*cSet) cStatus) error {
	if len(bytes) == 0 {
		return failure(op, C.HOTSTUFF_E_DECODE)
	}
	return s.lend(op, use)
}
