//! Verification with nothing but a genesis hash and a validator set.

use std::sync::Mutex;

use super::entry::{enter, failure, Call, Failure};
use super::table::{self, Growing};
use super::validator_set::{members, Members};
use super::*;
use crate::proof::{CommitProof, EpochProof, Trust, Unproven};
use crate::types::limits::QC_BYTES_MAX;
use crate::types::{codec, BlockHash, GenesisHash, QuorumCertificate};

/// Phase of a quorum certificate: of a block that does not update the validators.
pub const HOTSTUFF_PHASE_GENERIC: u32 = 0;
/// Phase of a quorum certificate: the first of a block that updates the validators.
pub const HOTSTUFF_PHASE_PREPARE: u32 = 1;
/// Phase of a quorum certificate: the second; there is none under the two-chain commit rule.
pub const HOTSTUFF_PHASE_PRECOMMIT: u32 = 2;
/// Phase of a quorum certificate: the last, which commits the block and ends its epoch.
pub const HOTSTUFF_PHASE_COMMIT: u32 = 3;

/// What a quorum certificate says.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hotstuff_qc_info {
    /// Set by hotstuff_qc_info_init().
    pub struct_size: usize,
    /// The epoch, whose validators have signed it.
    pub epoch: u64,
    /// The view of the epoch in which they have.
    pub view: u64,
    /// The power of those who have signed, together; 0 for the certificate of the genesis.
    pub signed_power: u64,
    /// One of the HOTSTUFF_PHASE_ numbers.
    pub phase: u32,
    /// How many have signed.
    pub signer_count: u32,
    /// What they have signed for; the genesis hash in the certificate of the genesis.
    pub block: hotstuff_hash,
}

// SAFETY: repr(C), struct_size first, and zero is a value of each member.
unsafe impl Growing for hotstuff_qc_info {
    const BYTES_MIN: usize = std::mem::size_of::<hotstuff_qc_info>();
    const NAME: &'static str = "hotstuff_qc_info";
}

impl hotstuff_qc_info {
    fn new(qc: &QuorumCertificate, signed_power: u64) -> Self {
        hotstuff_qc_info {
            struct_size: std::mem::size_of::<Self>(),
            epoch: qc.epoch.0,
            view: qc.view_num.0,
            signed_power,
            phase: u32::from(qc.phase.number()),
            signer_count: qc.signatures.iter().flatten().count() as u32,
            block: qc.block_hash.into(),
        }
    }
}

/// Zeroes a struct and notes its size. Call it before the struct is filled. [any]
///
/// @param info         the struct
/// @param struct_size  `sizeof *info`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_qc_info_init(info: *mut hotstuff_qc_info, struct_size: usize) {
    // SAFETY: the header's rules: NULL, or `struct_size` bytes.
    unsafe { table::init(info, struct_size) }
}

impl From<Unproven> for Failure {
    fn from(unproven: Unproven) -> Self {
        let status = match unproven {
            Unproven::OtherEpoch => HOTSTUFF_E_NOT_FOUND,
            Unproven::WrongSlots | Unproven::SaysOther(_) => HOTSTUFF_E_INVALID_ARGUMENT,
            Unproven::NoQuorum => HOTSTUFF_E_NO_QUORUM,
            Unproven::WrongSignature => HOTSTUFF_E_BAD_SIGNATURE,
        };
        failure(status, unproven.to_string())
    }
}

/// # Safety
/// NULL or a hash, and NULL or a living set.
unsafe fn trust(
    call: &Call,
    genesis: *const hotstuff_hash,
    trusted: *const hotstuff_validator_set,
) -> Result<Trust, Failure> {
    // SAFETY: the caller's contract.
    let genesis = GenesisHash(unsafe { call.plain(genesis) }?.bytes);
    // SAFETY: the caller's contract.
    unsafe { members(call, trusted) }?.trusted(genesis)
}

/// # Safety
/// NULL, or initialised.
unsafe fn tell(
    info: *mut hotstuff_qc_info,
    qc: &QuorumCertificate,
    signed_power: u64,
) -> Result<(), Failure> {
    if info.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's contract.
    unsafe { table::write(info, &hotstuff_qc_info::new(qc, signed_power)) }
}

/// Checks a quorum certificate: that validators of `trusted` with more than two thirds of its power
/// have signed it, on this chain, in its epoch. It needs no replica and no chain, and believes
/// nothing. A certificate alone commits no block, unless its phase is ::HOTSTUFF_PHASE_COMMIT; see
/// hotstuff_verify_commit_proof(). [any]
///
/// @param genesis  the chain's genesis hash; see hotstuff_config_genesis_hash()
/// @param trusted  the validators of the certificate's epoch
/// @param qc       the canonical bytes, from anywhere; see hotstuff_block_tree_highest_qc()
/// @param len      how many; at most 128 KiB
/// @param info     initialised by hotstuff_qc_info_init(); receives what it says; may be NULL
/// @retval HOTSTUFF_E_NULL              `genesis`, `trusted` or `qc` is NULL
/// @retval HOTSTUFF_E_DECODE            the bytes are no certificate
/// @retval HOTSTUFF_E_TOO_LARGE         no certificate is so large
/// @retval HOTSTUFF_E_NOT_FOUND         it is of another epoch than `trusted`
/// @retval HOTSTUFF_E_NO_QUORUM         those who have signed it are no quorum
/// @retval HOTSTUFF_E_BAD_SIGNATURE     a signature does not verify, or not on this chain
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  it has not one place for each validator of `trusted`, or
///                                      is of view 0 and not the genesis's, or `trusted` is empty,
///                                      or `info` was not initialised
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_verify_qc(
    genesis: *const hotstuff_hash,
    trusted: *const hotstuff_validator_set,
    qc: *const u8,
    len: usize,
    info: *mut hotstuff_qc_info,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL or a hash, and NULL or a living set.
        let trust = unsafe { trust(call, genesis, trusted) }?;
        // SAFETY: the header's rules for input bytes.
        let qc: QuorumCertificate = codec::decode(unsafe { call.bytes(qc, len) }?, QC_BYTES_MAX)?;
        let power = trust.verify_qc(&qc)?;
        // SAFETY: the header's rules: NULL, or initialised.
        unsafe { tell(info, &qc, power) }
    })
}

/// Checks that a block is committed: that the validators of `trusted` have made it final. All
/// blocks below it are then committed too. It needs no replica and no chain, and believes nothing
/// but that less than a third of the power of `trusted` is dishonest. Of a block that is carried
/// beside the proof, take the hash from hotstuff_block_decode() and hotstuff_block_hash(): it
/// covers height, view, parent, data and updates. [any]
///
/// @param genesis  the chain's genesis hash; see hotstuff_config_genesis_hash()
/// @param trusted  the validators of the block's epoch
/// @param block    the block's hash
/// @param proof    the canonical bytes, from anywhere; see hotstuff_block_tree_commit_proof()
/// @param len      how many; at most 16 MiB
/// @param info     initialised by hotstuff_qc_info_init(); receives what the proof's last
///                 certificate says, which is of this block or of one above it; may be NULL
/// @retval HOTSTUFF_E_NULL              `genesis`, `trusted`, `block` or `proof` is NULL
/// @retval HOTSTUFF_E_DECODE            the bytes are no proof
/// @retval HOTSTUFF_E_TOO_LARGE         no proof is so large
/// @retval HOTSTUFF_E_NOT_FOUND         it is of another epoch than `trusted`
/// @retval HOTSTUFF_E_NO_QUORUM         those who have signed it are no quorum
/// @retval HOTSTUFF_E_BAD_SIGNATURE     a signature does not verify, or not on this chain
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  it proves something else: another block, or nothing; or
///                                      `trusted` is empty, or `info` was not initialised
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_verify_commit_proof(
    genesis: *const hotstuff_hash,
    trusted: *const hotstuff_validator_set,
    block: *const hotstuff_hash,
    proof: *const u8,
    len: usize,
    info: *mut hotstuff_qc_info,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL or a hash, and NULL or a living set.
        let trust = unsafe { trust(call, genesis, trusted) }?;
        // SAFETY: the header's rules: NULL, or a hash.
        let block = BlockHash(unsafe { call.plain(block) }?.bytes);
        // SAFETY: the header's rules for input bytes.
        let proof = CommitProof::decode(unsafe { call.bytes(proof, len) }?)?;
        let power = trust.verify_commit(&block, &proof)?;
        // SAFETY: the header's rules: NULL, or initialised.
        unsafe { tell(info, &proof.certificate, power) }
    })
}

/// Checks who validates in the next epoch: that the validators of `trusted` have committed a block
/// that updates them. Call it in a loop, from the genesis validators or any others that you trust,
/// to follow the chain over as many epochs as you like, with no replica and no disk. [any]
///
/// @param genesis  the chain's genesis hash; see hotstuff_config_genesis_hash()
/// @param trusted  the validators of the epoch that ends; see hotstuff_validator_set_epoch()
/// @param proof    the canonical bytes, from anywhere; see hotstuff_block_tree_epoch_proof()
/// @param len      how many; at most 512 KiB
/// @param next     receives the validators of the next epoch: yours, free them with
///                 hotstuff_validator_set_free()
/// @retval HOTSTUFF_E_NULL              an argument is NULL
/// @retval HOTSTUFF_E_DECODE            the bytes are no proof
/// @retval HOTSTUFF_E_TOO_LARGE         no proof is so large
/// @retval HOTSTUFF_E_NOT_FOUND         it is of another epoch than `trusted`
/// @retval HOTSTUFF_E_NO_QUORUM         those who have signed it are no quorum
/// @retval HOTSTUFF_E_BAD_SIGNATURE     a signature does not verify, or not on this chain
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  it does not prove that the epoch has ended, or `trusted` is
///                                      empty
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_verify_epoch_proof(
    genesis: *const hotstuff_hash,
    trusted: *const hotstuff_validator_set,
    proof: *const u8,
    len: usize,
    next: *mut *mut hotstuff_validator_set,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let next = unsafe { call.out(next) }?;
        // SAFETY: the header's rules: NULL or a hash, and NULL or a living set.
        let trust = unsafe { trust(call, genesis, trusted) }?;
        // SAFETY: the header's rules for input bytes.
        let proof = EpochProof::decode(unsafe { call.bytes(proof, len) }?)?;
        let after = trust.advance(&proof)?;
        next.give(Mutex::new(Members::of_epoch(
            after.epoch,
            &after.validator_set,
        )));
        Ok(())
    })
}
