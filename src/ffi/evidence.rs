//! Evidence against validators, as C reads and verifies it.

use super::entry::{enter, failure, Failure};
use super::table::{self, Growing};
use super::validator_set::members;
use super::*;
use crate::evidence::{Evidence, NoEvidence};
use crate::proof::Unproven;
use crate::types::codec::DecodeError;
use crate::types::GenesisHash;

/// Evidence: two votes in one view, for different things.
pub const HOTSTUFF_EVIDENCE_DOUBLE_VOTE: u32 = 1;
/// Evidence: two blocks proposed in one view.
pub const HOTSTUFF_EVIDENCE_DOUBLE_PROPOSAL: u32 = 2;
/// Evidence: a time-out that hides a quorum certificate on which its signer had voted.
pub const HOTSTUFF_EVIDENCE_LYING_TIMEOUT: u32 = 3;

/// What a piece of evidence claims. Whether it is true says hotstuff_verify_evidence().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hotstuff_evidence_info {
    /// Set by hotstuff_evidence_info_init().
    pub struct_size: usize,
    /// One of the HOTSTUFF_EVIDENCE_ numbers.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// The epoch, whose validators judge it.
    pub epoch: u64,
    /// The view of the two votes or proposals; of a lying time-out, the view timed out.
    pub view: u64,
    /// The same; of a lying time-out, the view of the vote that proves the lie.
    pub vote_view: u64,
    /// The accused.
    pub validator: hotstuff_validator_address,
}

// SAFETY: repr(C), struct_size first, and zero is a value of each member.
unsafe impl Growing for hotstuff_evidence_info {
    const BYTES_MIN: usize = std::mem::size_of::<hotstuff_evidence_info>();
    const NAME: &'static str = "hotstuff_evidence_info";
}

impl From<&Evidence> for hotstuff_evidence_info {
    fn from(evidence: &Evidence) -> Self {
        let (view, vote_view) = evidence.views();
        hotstuff_evidence_info {
            struct_size: std::mem::size_of::<Self>(),
            kind: u32::from(evidence.kind().number()),
            reserved: 0,
            epoch: evidence.epoch().0,
            view: view.0,
            vote_view: vote_view.0,
            validator: evidence.validator.into(),
        }
    }
}

/// Zeroes a struct and notes its size. Call it before the struct is filled. [any]
///
/// @param info         the struct
/// @param struct_size  `sizeof *info`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_evidence_info_init(
    info: *mut hotstuff_evidence_info,
    struct_size: usize,
) {
    // SAFETY: the header's rules: NULL, or `struct_size` bytes.
    unsafe { table::init(info, struct_size) }
}

/// A piece of evidence that this replica keeps, in the order of epochs. The first one of each
/// validator, epoch and kind is kept for ever, at most 4096 in all. Other replicas may keep others:
/// each keeps what it has seen itself. [any], also in callbacks
///
/// @param replica  the replica, also before start, after stop, and when it has halted
/// @param index    from 0 on
/// @param out      receives the canonical bytes: yours, free them with hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL     `replica` or `out` is NULL
/// @retval HOTSTUFF_E_DONE     there are not so many
/// @retval HOTSTUFF_E_STORAGE  the database failed, or too many snapshots are alive
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_evidence_at(
    replica: *const hotstuff_replica,
    index: usize,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living replica.
        let snapshot = unsafe { call.handle(replica) }?.replica.snapshot()?;
        let evidence = snapshot.evidence_at(index)?.ok_or(HOTSTUFF_E_DONE)?;
        out.give(evidence.encode());
        Ok(())
    })
}

/// Reads what a piece of evidence claims, without verifying it. [any]
///
/// @param evidence  the bytes, from anywhere
/// @param len       how many
/// @param out       initialised by hotstuff_evidence_info_init(); receives the claim
/// @retval HOTSTUFF_E_NULL              `evidence` or `out` is NULL
/// @retval HOTSTUFF_E_DECODE            the bytes are no evidence
/// @retval HOTSTUFF_E_TOO_LARGE         no evidence is so large
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `out` was not initialised
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_evidence_read(
    evidence: *const u8,
    len: usize,
    out: *mut hotstuff_evidence_info,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules for input bytes.
        let evidence = decode(unsafe { call.bytes(evidence, len) }?)?;
        // SAFETY: the header's rules: NULL, or initialised.
        unsafe { table::write(out, &(&evidence).into()) }
    })
}

/// Checks that a piece of evidence convicts its accused: that the accused belongs to `trusted`,
/// and has signed, on this chain, two statements that no honest validator signs both of. It needs
/// no replica and no chain, and believes nothing. [any]
///
/// @param genesis   the chain's genesis hash; see hotstuff_config_genesis_hash()
/// @param trusted   the validators of the evidence's epoch; see hotstuff_evidence_read()
/// @param evidence  the bytes, from anywhere
/// @param len       how many
/// @param offender  receives who is convicted; may be NULL
/// @retval HOTSTUFF_E_NULL              `genesis`, `trusted` or `evidence` is NULL
/// @retval HOTSTUFF_E_DECODE            the bytes are no evidence
/// @retval HOTSTUFF_E_TOO_LARGE         no evidence is so large
/// @retval HOTSTUFF_E_NOT_FOUND         it is of another epoch than `trusted`, or the accused is
///                                      not in `trusted`
/// @retval HOTSTUFF_E_BAD_SIGNATURE     the accused has not signed both statements on this chain
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  an honest validator may sign both, or `trusted` is empty
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_verify_evidence(
    genesis: *const hotstuff_hash,
    trusted: *const hotstuff_validator_set,
    evidence: *const u8,
    len: usize,
    offender: *mut hotstuff_validator_address,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a hash.
        let genesis = GenesisHash(unsafe { call.plain(genesis) }?.bytes);
        // SAFETY: the header's rules: NULL, or a living set.
        let trust = unsafe { members(call, trusted) }?.trusted(genesis)?;
        // SAFETY: the header's rules for input bytes.
        let evidence = decode(unsafe { call.bytes(evidence, len) }?)?;
        if evidence.epoch() != trust.epoch {
            return Err(Unproven::OtherEpoch.into());
        }
        evidence.verify(&genesis, &trust.validator_set)?;
        // SAFETY: the header's rules: NULL, or a place for an address.
        if let Some(offender) = unsafe { offender.as_mut() } {
            *offender = evidence.validator.into();
        }
        Ok(())
    })
}

fn decode(bytes: &[u8]) -> Result<Evidence, Failure> {
    Evidence::decode(bytes).map_err(|error| {
        let status = match error {
            DecodeError::TooLarge => HOTSTUFF_E_TOO_LARGE,
            _ => HOTSTUFF_E_DECODE,
        };
        failure(status, error.to_string())
    })
}

impl From<NoEvidence> for Failure {
    fn from(error: NoEvidence) -> Self {
        let status = match error {
            NoEvidence::NotAValidator => HOTSTUFF_E_NOT_FOUND,
            NoEvidence::NoContradiction => HOTSTUFF_E_INVALID_ARGUMENT,
            NoEvidence::WrongSignature => HOTSTUFF_E_BAD_SIGNATURE,
        };
        failure(status, error.to_string())
    }
}
