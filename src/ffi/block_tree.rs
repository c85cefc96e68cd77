//! Snapshots of the block tree, owned and lent.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::block::NamedBlock;
use super::entry::{enter, enter_quietly, failure, Call, Failure};
use super::handle::{magic, take, Noun};
use super::validator_set::Members;
use super::*;
use crate::app::{BlockTreeSnapshot, ReadError};
use crate::block_tree::Snapshot;
use crate::types::{codec, BlockHash, BlockHeight, Epoch};

/// A consistent view of the chain and of the app's state. It does not change while you hold it.
///
/// It comes in two kinds. hotstuff_replica_snapshot() gives one that you own: the state as of the
/// last committed block. It pins pages of the database, so free it soon; it may outlive the
/// replica. A callback of the app gets one that it borrows: the state as of the parent of the block
/// in question, committed or not.
pub struct hotstuff_block_tree {
    _private: [u8; 0],
}

impl Noun for hotstuff_block_tree {
    const MAGIC: u32 = magic(b"TREE");
    type Value = Tree;
}

/// Goes through committed blocks, lowest first.
pub struct hotstuff_block_iter {
    _private: [u8; 0],
}

impl Noun for hotstuff_block_iter {
    const MAGIC: u32 = magic(b"ITER");
    type Value = Mutex<Walk>;
}

pub(super) struct Tree {
    /// Shared with its iterators, which may therefore outlive it; a read transaction is used by one
    /// at a time. Of what is lent it is made when somebody looks: most callbacks cost nothing.
    source: OnceLock<Arc<Mutex<Source>>>,
    lent: Option<Lent>,
}

pub(super) enum Source {
    Owned(Box<Snapshot>),
    Lent(Lent),
    Ended,
}

/// Of a request: there until [`Tree::end`].
#[derive(Clone, Copy)]
pub(super) struct Lent(NonNull<dyn BlockTreeSnapshot>);

// SAFETY: a snapshot may be used on any thread, one at a time; a lent one too, while its callback
// runs: by the header's rules it is the host that passes it on. Both are behind the mutex.
unsafe impl Send for Source {}
// SAFETY: likewise: it is copied into the mutex, and used nowhere else.
unsafe impl Send for Lent {}
// SAFETY: likewise.
unsafe impl Sync for Lent {}

pub(super) struct Walk {
    tree: Tree,
    next: BlockHeight,
}

impl Tree {
    pub(super) fn owned(snapshot: Snapshot) -> Self {
        let source = Source::Owned(Box::new(snapshot));
        Tree::of(Arc::new(Mutex::new(source)))
    }

    fn of(source: Arc<Mutex<Source>>) -> Self {
        Tree {
            source: OnceLock::from(source),
            lent: None,
        }
    }

    /// A snapshot lent to a callback.
    ///
    /// # Safety
    /// [`Tree::end`] must be called before `snapshot` ends.
    pub(super) unsafe fn lent(snapshot: &dyn BlockTreeSnapshot) -> Self {
        let snapshot: NonNull<dyn BlockTreeSnapshot + '_> = NonNull::from(snapshot);
        // SAFETY: only the lifetime changes, and the caller has promised to end it in time.
        let snapshot = unsafe {
            std::mem::transmute::<
                NonNull<dyn BlockTreeSnapshot + '_>,
                NonNull<dyn BlockTreeSnapshot + 'static>,
            >(snapshot)
        };
        Tree {
            source: OnceLock::new(),
            lent: Some(Lent(snapshot)),
        }
    }

    pub(super) fn source(&self) -> &Arc<Mutex<Source>> {
        self.source.get_or_init(|| {
            let source = self.lent.map_or(Source::Ended, Source::Lent);
            Arc::new(Mutex::new(source))
        })
    }

    /// The same, for an iterator.
    fn share(&self) -> Tree {
        Tree::of(Arc::clone(self.source()))
    }

    /// The callback returns: whoever kept an iterator finds nothing behind it.
    pub(super) fn end(&self) {
        if let Some(source) = self.source.get() {
            *source.lock().unwrap_or_else(PoisonError::into_inner) = Source::Ended;
        }
    }

    fn read<V>(
        &self,
        read: impl FnOnce(&dyn BlockTreeSnapshot) -> Result<V, Failure>,
    ) -> Result<V, Failure> {
        let source = self.source().lock();
        let source = source.unwrap_or_else(PoisonError::into_inner);
        match &*source {
            Source::Owned(snapshot) => read(&**snapshot),
            // SAFETY: `lent` was promised that `end` comes first, and `end` waits for this lock.
            Source::Lent(Lent(snapshot)) => read(unsafe { snapshot.as_ref() }),
            Source::Ended => {
                let text = "the block tree was lent to a callback that has returned";
                Err(failure(HOTSTUFF_E_STATE, text))
            }
        }
    }

    fn block_at(&self, height: BlockHeight) -> Result<Option<NamedBlock>, Failure> {
        self.read(|tree| {
            let Some(hash) = tree.hash_at(height)? else {
                return Ok(None);
            };
            Ok(tree
                .block(&hash)?
                .map(|block| NamedBlock::named(hash, block)))
        })
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        logger::log(HOTSTUFF_LOG_ERROR, "block_tree", &error.0);
        failure(HOTSTUFF_E_STORAGE, error.0)
    }
}

/// # Safety
/// NULL, or a living tree.
unsafe fn read<V>(
    call: &Call,
    tree: *const hotstuff_block_tree,
    read: impl FnOnce(&dyn BlockTreeSnapshot) -> Result<V, Failure>,
) -> Result<V, Failure> {
    // SAFETY: the caller's contract.
    unsafe { call.handle(tree) }?.read(read)
}

/// The value of a key in the app's state. [any]
///
/// @param tree     the snapshot
/// @param key      the key
/// @param key_len  its length in bytes
/// @param out      receives the value: yours, free it with hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL       an argument is NULL
/// @retval HOTSTUFF_E_NOT_FOUND  the state has no such key
/// @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_state(
    tree: *const hotstuff_block_tree,
    key: *const u8,
    key_len: usize,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules for input bytes.
        let key = unsafe { call.bytes(key, key_len) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        let value = unsafe { read(call, tree, |tree| Ok(tree.state(key)?)) }?;
        out.give(value.ok_or(HOTSTUFF_E_NOT_FOUND)?);
        Ok(())
    })
}

/// A block by its hash, committed or not. [any]
///
/// @param tree  the snapshot
/// @param hash  the block's hash
/// @param out   receives the block: yours, free it with hotstuff_block_free()
/// @retval HOTSTUFF_E_NULL       an argument is NULL
/// @retval HOTSTUFF_E_NOT_FOUND  no such block is stored here
/// @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_block(
    tree: *const hotstuff_block_tree,
    hash: *const hotstuff_hash,
    out: *mut *mut hotstuff_block,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a hash.
        let hash = BlockHash(unsafe { call.plain(hash) }?.bytes);
        // SAFETY: the header's rules: NULL, or a living tree.
        let block = unsafe { read(call, tree, |tree| Ok(tree.block(&hash)?)) }?;
        out.give(NamedBlock::named(hash, block.ok_or(HOTSTUFF_E_NOT_FOUND)?));
        Ok(())
    })
}

/// The committed block at a height. [any]
///
/// @param tree    the snapshot
/// @param height  from 1 to hotstuff_block_tree_committed_height()
/// @param out     receives the block: yours, free it with hotstuff_block_free()
/// @retval HOTSTUFF_E_NULL       `tree` or `out` is NULL
/// @retval HOTSTUFF_E_NOT_FOUND  no block is committed at that height; the genesis, at 0, is no
///                               block
/// @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_block_at(
    tree: *const hotstuff_block_tree,
    height: u64,
    out: *mut *mut hotstuff_block,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        let block = unsafe { call.handle(tree) }?.block_at(BlockHeight(height))?;
        out.give(block.ok_or(HOTSTUFF_E_NOT_FOUND)?);
        Ok(())
    })
}

/// The height of the last committed block; 0 while there is none. [any]
///
/// @param tree  the snapshot
/// @param out   receives the height
/// @retval HOTSTUFF_E_NULL     `tree` or `out` is NULL
/// @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE    the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_committed_height(
    tree: *const hotstuff_block_tree,
    out: *mut u64,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a number.
        let out = unsafe { call.place(out) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        out.write(unsafe { read(call, tree, |tree| Ok(tree.committed_height()?)) }?.0);
        Ok(())
    })
}

/// The highest quorum certificate that is known, as canonical bytes. [any]
///
/// @param tree  the snapshot
/// @param out   receives the bytes: yours, free them with hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL     `tree` or `out` is NULL
/// @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE    the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_highest_qc(
    tree: *const hotstuff_block_tree,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        out.give(codec::encode(&unsafe {
            read(call, tree, |tree| Ok(tree.highest_qc()?))
        }?));
        Ok(())
    })
}

/// The validators of the current epoch; in a callback, of the epoch of the block in question. [any]
///
/// @param tree  the snapshot
/// @param out   receives the set: yours, free it with hotstuff_validator_set_free()
/// @retval HOTSTUFF_E_NULL     `tree` or `out` is NULL
/// @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE    the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_validators(
    tree: *const hotstuff_block_tree,
    out: *mut *mut hotstuff_validator_set,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        let now = |tree: &dyn BlockTreeSnapshot| Ok((tree.epoch()?, tree.validator_set()?));
        // SAFETY: the header's rules: NULL, or a living tree.
        let (epoch, set) = unsafe { read(call, tree, now) }?;
        out.give(Mutex::new(Members::of_epoch(epoch, &set)));
        Ok(())
    })
}

/// The validators of an epoch, past ones included. [any]
///
/// @param tree   the snapshot
/// @param epoch  from 0, the genesis's, to the current one
/// @param out    receives the set: yours, free it with hotstuff_validator_set_free()
/// @retval HOTSTUFF_E_NULL       `tree` or `out` is NULL
/// @retval HOTSTUFF_E_NOT_FOUND  that epoch has not begun
/// @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_validators_of(
    tree: *const hotstuff_block_tree,
    epoch: u64,
    out: *mut *mut hotstuff_validator_set,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        let set = unsafe { read(call, tree, |tree| Ok(tree.validator_set_of(Epoch(epoch))?)) }?;
        let set = set.ok_or(HOTSTUFF_E_NOT_FOUND)?;
        out.give(Mutex::new(Members::of_epoch(Epoch(epoch), &set)));
        Ok(())
    })
}

/// The certificate that began an epoch, as canonical bytes: signed by the validators of the epoch
/// before, it proves that the block which updates them is committed. [any]
///
/// @param tree   the snapshot
/// @param epoch  from 1 to the current one
/// @param out    receives the bytes: yours, free them with hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL       `tree` or `out` is NULL
/// @retval HOTSTUFF_E_NOT_FOUND  that epoch has not begun, or is the genesis's
/// @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_commit_qc_of(
    tree: *const hotstuff_block_tree,
    epoch: u64,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        let qc = unsafe { read(call, tree, |tree| Ok(tree.commit_qc_of(Epoch(epoch))?)) }?;
        out.give(codec::encode(&qc.ok_or(HOTSTUFF_E_NOT_FOUND)?));
        Ok(())
    })
}

/// The proof that a block is committed, for whoever knows the validators of its epoch and nothing
/// else: see hotstuff_verify_commit_proof(). [any]
///
/// @param tree  the snapshot
/// @param hash  the block's hash
/// @param out   receives the canonical bytes: yours, free them with hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL       an argument is NULL
/// @retval HOTSTUFF_E_NOT_FOUND  no such block is committed here, or its certificates are not here
///                               yet: ask again after the next commit
/// @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_commit_proof(
    tree: *const hotstuff_block_tree,
    hash: *const hotstuff_hash,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a hash.
        let hash = BlockHash(unsafe { call.plain(hash) }?.bytes);
        // SAFETY: the header's rules: NULL, or a living tree.
        let proof = unsafe { read(call, tree, |tree| Ok(tree.commit_proof(&hash)?)) }?;
        out.give(codec::encode(&proof.ok_or(HOTSTUFF_E_NOT_FOUND)?));
        Ok(())
    })
}

/// The proof of who validates after an epoch, for whoever knows the validators of that epoch and
/// nothing else: see hotstuff_verify_epoch_proof(). Such proofs are kept for ever. [any]
///
/// @param tree   the snapshot
/// @param epoch  from 0, the genesis's, to the one before the current
/// @param out    receives the canonical bytes: yours, free them with hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL       `tree` or `out` is NULL
/// @retval HOTSTUFF_E_NOT_FOUND  that epoch has not ended
/// @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_epoch_proof(
    tree: *const hotstuff_block_tree,
    epoch: u64,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        let proof = unsafe { read(call, tree, |tree| Ok(tree.epoch_proof(Epoch(epoch))?)) }?;
        out.give(codec::encode(&proof.ok_or(HOTSTUFF_E_NOT_FOUND)?));
        Ok(())
    })
}

/// Committed blocks from a height upward. The iterator holds the snapshot: it may outlive
/// hotstuff_block_tree_free(), and the pages stay pinned until it is freed. [any]
///
/// @param tree    the snapshot
/// @param height  where to begin; 0 and 1 both mean the first block
/// @param out     receives the iterator: yours, free it with hotstuff_block_iter_free()
/// @retval HOTSTUFF_E_NULL  `tree` or `out` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_tree_iter(
    tree: *const hotstuff_block_tree,
    height: u64,
    out: *mut *mut hotstuff_block_iter,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living tree.
        let tree = unsafe { call.handle(tree) }?.share();
        out.give(Mutex::new(Walk {
            tree,
            next: BlockHeight(height.max(1)),
        }));
        Ok(())
    })
}

/// The next block. [serial]
///
/// @param iter  the iterator
/// @param out   receives the block: yours, free it with hotstuff_block_free()
/// @retval HOTSTUFF_E_NULL     `iter` or `out` is NULL
/// @retval HOTSTUFF_E_DONE     there are no more
/// @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
/// @retval HOTSTUFF_E_STATE    the tree was lent to a callback that has returned
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_iter_next(
    iter: *mut hotstuff_block_iter,
    out: *mut *mut hotstuff_block,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living iterator.
        let walk = unsafe { call.handle(iter.cast_const()) }?;
        let mut walk = walk.lock().unwrap_or_else(PoisonError::into_inner);
        let block = walk.tree.block_at(walk.next)?.ok_or(HOTSTUFF_E_DONE)?;
        walk.next = walk.next.next();
        out.give(block);
        Ok(())
    })
}

/// Frees an iterator. [any]
///
/// @param iter  the iterator; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_block_iter_free(iter: *mut hotstuff_block_iter) {
    // SAFETY: the header's rules: NULL, or a living iterator that the caller gives up.
    enter_quietly(|| drop(unsafe { take(iter) }));
}

/// Frees a snapshot that you own. [any]
///
/// @param tree  the snapshot; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_block_tree_free(tree: *mut hotstuff_block_tree) {
    // SAFETY: the header's rules: NULL, or a living tree that the caller owns and gives up.
    enter_quietly(|| drop(unsafe { take(tree) }));
}
