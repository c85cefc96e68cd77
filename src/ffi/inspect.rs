//! Looking into a data directory.

use std::path::Path;
use std::sync::PoisonError;

use super::block::NamedBlock;
use super::block_tree::{Source, Tree};
use super::entry::{enter, enter_described, failure, Call, Failure};
use super::table::{self, Growing};
use super::*;
use crate::algorithm::VotingRecord;
use crate::block_tree::{BlockTreeReader, Snapshot};
use crate::types::codec;

/// What a replica has signed last: what its next start will not contradict. Numbers are 0, and
/// hashes zero, where the replica has not done such a thing yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hotstuff_voting_record {
    /// Set by hotstuff_voting_record_init().
    pub struct_size: usize,
    /// How often the record has changed.
    pub changes: u64,
    /// The epoch of its last vote.
    pub voted_epoch: u64,
    /// The view of its last vote; views begin at 1.
    pub voted_view: u64,
    /// The epoch of its last time-out.
    pub timed_out_epoch: u64,
    /// The view of its last time-out.
    pub timed_out_view: u64,
    /// The epoch of its last proposal.
    pub proposed_epoch: u64,
    /// The view of its last proposal.
    pub proposed_view: u64,
    /// What it voted for.
    pub voted_block: hotstuff_hash,
    /// What it proposed.
    pub proposed_block: hotstuff_hash,
    /// The phase of its last vote: 0 generic, 1 prepare, 2 precommit, 3 commit.
    pub voted_phase: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), struct_size first, and zero is a value of each member.
unsafe impl Growing for hotstuff_voting_record {
    const BYTES_MIN: usize = std::mem::size_of::<hotstuff_voting_record>();
    const NAME: &'static str = "hotstuff_voting_record";
}

/// The record as C sees it.
fn voting_record((record, changes): (VotingRecord, u64)) -> hotstuff_voting_record {
    let zero = hotstuff_hash {
        bytes: [0; HOTSTUFF_HASH_LEN],
    };
    let mut out = hotstuff_voting_record {
        struct_size: std::mem::size_of::<hotstuff_voting_record>(),
        changes,
        voted_epoch: 0,
        voted_view: 0,
        timed_out_epoch: 0,
        timed_out_view: 0,
        proposed_epoch: 0,
        proposed_view: 0,
        voted_block: zero,
        proposed_block: zero,
        voted_phase: 0,
        reserved: 0,
    };
    if let Some(vote) = record.voted {
        (out.voted_epoch, out.voted_view) = (vote.epoch.0, vote.view_num.0);
        out.voted_block = vote.block_hash.into();
        out.voted_phase = u32::from(vote.phase.number());
    }
    if let Some((epoch, view)) = record.timed_out {
        (out.timed_out_epoch, out.timed_out_view) = (epoch.0, view.0);
    }
    if let Some(proposal) = record.proposal {
        (out.proposed_epoch, out.proposed_view) = (proposal.vote.epoch.0, proposal.vote.view_num.0);
        out.proposed_block = proposal.block.into();
    }
    out
}

/// Zeroes a struct and notes its size. Call it before the struct is filled. [any]
///
/// @param record       the struct
/// @param struct_size  `sizeof *record`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_voting_record_init(
    record: *mut hotstuff_voting_record,
    struct_size: usize,
) {
    // SAFETY: the header's rules: NULL, or `struct_size` bytes.
    unsafe { table::init(record, struct_size) }
}

/// Reads from a snapshot that the host owns.
///
/// # Safety
/// NULL, or a living tree.
unsafe fn read_owned<V>(
    call: &Call,
    tree: *const hotstuff_block_tree,
    read: impl FnOnce(&Snapshot) -> Result<V, Failure>,
) -> Result<V, Failure> {
    // SAFETY: the caller's contract.
    let tree = unsafe { call.handle(tree) }?;
    let source = tree.source().lock().unwrap_or_else(PoisonError::into_inner);
    match &*source {
        Source::Owned(snapshot) => read(snapshot),
        _ => Err(failure(HOTSTUFF_E_STATE, "the block tree is lent")),
    }
}

/// A snapshot of a data directory, for tools: of a replica that is stopped, or that runs in another
/// process, which is not held up. Only the table of its readers, `lock.mdb`, is written. As any
/// snapshot it pins pages: of a replica that runs, free it soon; if this process is killed before,
/// they stay pinned until the directory is opened again. The directory must be local. [any]
///
/// @param path  path of the directory, UTF-8
/// @param out   receives the snapshot: yours, free it with hotstuff_block_tree_free()
/// @param err   receives a described error, yours; may be NULL
/// @retval HOTSTUFF_E_NULL              `path` or `out` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `path` is not UTF-8
/// @retval HOTSTUFF_E_NOT_FOUND         there is no chain in the directory
/// @retval HOTSTUFF_E_LOCKED            this process has the directory open already, by a replica
///                                      or by this function
/// @retval HOTSTUFF_E_UNSUPPORTED       it has a format that this library is too old to know
/// @retval HOTSTUFF_E_CORRUPT           what is in it is damaged, or not a replica's
/// @retval HOTSTUFF_E_STORAGE           the database failed, or too many snapshots are alive
/// @retval HOTSTUFF_E_IO                the operating system refuses the directory
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_open_read_only(
    path: *const std::ffi::c_char,
    out: *mut *mut hotstuff_block_tree,
    err: *mut *mut hotstuff_error,
) -> hotstuff_status {
    let body = |call: &Call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules for strings.
        let path = unsafe { call.text(path, "the path of the data directory") }?;
        let snapshot = BlockTreeReader::open_read_only(Path::new(path))?.snapshot()?;
        out.give(Tree::owned(snapshot));
        Ok(())
    };
    // SAFETY: the header's rules: NULL, or a place for a pointer.
    unsafe { enter_described(err, body) }
}

/// The name of the chain: the hash of its genesis. [any]
///
/// @param tree  the snapshot, which you own
/// @param out   receives the hash
/// @retval HOTSTUFF_E_NULL   `tree` or `out` is NULL
/// @retval HOTSTUFF_E_STATE  the tree was lent to a callback
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_genesis_hash(
    tree: *const hotstuff_block_tree,
    out: *mut hotstuff_hash,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a hash.
        let out = unsafe { call.place(out) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        let genesis = unsafe { read_owned(call, tree, |tree| Ok(tree.genesis())) }?;
        out.write(genesis.as_block_hash().into());
        Ok(())
    })
}

/// A block that awaits commit, in the order of heights. [any]
///
/// @param tree   the snapshot, which you own
/// @param index  from 0 on
/// @param out    receives the block: yours, free it with hotstuff_block_free()
/// @retval HOTSTUFF_E_NULL     `tree` or `out` is NULL
/// @retval HOTSTUFF_E_DONE     there are not so many
/// @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE    the tree was lent to a callback
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_pending_at(
    tree: *const hotstuff_block_tree,
    index: usize,
    out: *mut *mut hotstuff_block,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        let found = unsafe { read_owned(call, tree, |tree| Ok(tree.pending_at(index)?)) }?;
        let (hash, block) = found.ok_or(HOTSTUFF_E_DONE)?;
        out.give(NamedBlock::named(hash, block));
        Ok(())
    })
}

/// A piece of evidence that the replica keeps, in the order of epochs: see
/// hotstuff_replica_evidence_at(). [any]
///
/// @param tree   the snapshot, which you own
/// @param index  from 0 on
/// @param out    receives the canonical bytes: yours, free them with hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL     `tree` or `out` is NULL
/// @retval HOTSTUFF_E_DONE     there are not so many
/// @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE    the tree was lent to a callback
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_evidence_at(
    tree: *const hotstuff_block_tree,
    index: usize,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        let found = unsafe { read_owned(call, tree, |tree| Ok(tree.evidence_at(index)?)) }?;
        out.give(codec::encode(&found.ok_or(HOTSTUFF_E_DONE)?));
        Ok(())
    })
}

/// What the replica has signed last. [any]
///
/// @param tree  the snapshot, which you own
/// @param out   initialised by hotstuff_voting_record_init(); receives the record
/// @retval HOTSTUFF_E_NULL              `tree` or `out` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `out` was not initialised
/// @retval HOTSTUFF_E_STORAGE           the database failed, or the record is damaged; the logger
///                                      has the text
/// @retval HOTSTUFF_E_STATE             the tree was lent to a callback
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_voting_record(
    tree: *const hotstuff_block_tree,
    out: *mut hotstuff_voting_record,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living tree.
        let record = unsafe { read_owned(call, tree, |tree| Ok(tree.voting_record()?)) }?;
        // SAFETY: the header's rules: NULL, or an initialised struct.
        unsafe { table::write(out, &voting_record(record)) }
    })
}

/// The quorum certificate on which a block builds, as canonical bytes; of the first block, that of
/// the genesis. [any]
///
/// @param block  the block
/// @param out    receives the bytes: yours, free them with hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL  `block` or `out` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_justify(
    block: *const hotstuff_block,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living block.
        let block = unsafe { call.handle(block) }?;
        out.give(codec::encode(&block.block().header.justify));
        Ok(())
    })
}
