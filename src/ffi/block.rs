//! Blocks.

use std::ptr::NonNull;
use std::sync::OnceLock;

use super::entry::{enter, enter_quietly, enter_value, failure, Call, Failure};
use super::handle::{magic, take, Noun};
use super::*;
use crate::types::limits::{BLOCK_DATA_BYTES_MAX, MESSAGE_OVERHEAD_BYTES};
use crate::types::{codec, Block, BlockHash, GenesisHash};

/// A block. Immutable; all its functions are [any].
pub struct hotstuff_block {
    _private: [u8; 0],
}

impl Noun for hotstuff_block {
    const MAGIC: u32 = magic(b"BLOC");
    type Value = NamedBlock;
}

/// A block and its name, which is computed when it is asked for.
pub(super) struct NamedBlock {
    block: Held,
    hash: OnceLock<BlockHash>,
    genesis: GenesisHash,
}

enum Held {
    Owned(Block),
    /// Of a request: there until the callback returns, and so is this object.
    Lent(NonNull<Block>),
}

// SAFETY: a lent block is only read, and `lent` was promised that it is there.
unsafe impl Send for Held {}
// SAFETY: likewise.
unsafe impl Sync for Held {}

impl NamedBlock {
    /// A block whose name is known.
    pub(super) fn named(hash: BlockHash, block: Block) -> Self {
        let genesis = GenesisHash::default();
        NamedBlock {
            block: Held::Owned(block),
            hash: OnceLock::from(hash),
            genesis,
        }
    }

    /// A block of the chain that began with `genesis`.
    pub(super) fn of_chain(genesis: GenesisHash, block: Block) -> Self {
        NamedBlock {
            block: Held::Owned(block),
            hash: OnceLock::new(),
            genesis,
        }
    }

    /// A block lent to a callback.
    ///
    /// # Safety
    /// `block` must outlive the result.
    pub(super) unsafe fn lent(genesis: GenesisHash, block: &Block) -> Self {
        NamedBlock {
            block: Held::Lent(NonNull::from(block)),
            hash: OnceLock::new(),
            genesis,
        }
    }

    pub(super) fn block(&self) -> &Block {
        match &self.block {
            Held::Owned(block) => block,
            // SAFETY: `lent` was promised that the block outlives `self`.
            Held::Lent(block) => unsafe { block.as_ref() },
        }
    }

    fn hash(&self) -> BlockHash {
        *self.hash.get_or_init(|| self.block().hash(&self.genesis))
    }
}

const ZERO: hotstuff_hash = hotstuff_hash {
    bytes: [0; HOTSTUFF_HASH_LEN],
};

/// # Safety
/// NULL, or a living block; NULL, or a place for a hash.
unsafe fn hash_of(
    block: *const hotstuff_block,
    out: *mut hotstuff_hash,
    which: impl FnOnce(&NamedBlock) -> hotstuff_hash,
) {
    // SAFETY: the caller's contract.
    let hash = enter_value(ZERO, |call: &Call| {
        Ok(which(unsafe { call.handle(block) }?))
    });
    // SAFETY: the caller's contract.
    if let Some(out) = unsafe { out.as_mut() } {
        *out = hash;
    }
}

/// The hash of a block: its name. [any]
///
/// @param block  the block
/// @param out    receives the hash; zero for NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_block_hash(
    block: *const hotstuff_block,
    out: *mut hotstuff_hash,
) {
    // SAFETY: the header's rules: NULL, or a living block; NULL, or a place for a hash.
    unsafe { hash_of(block, out, |block| block.hash().into()) }
}

/// The hash of the block it builds on; the genesis hash for the first block. [any]
///
/// @param block  the block
/// @param out    receives the hash; zero for NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_block_parent_hash(
    block: *const hotstuff_block,
    out: *mut hotstuff_hash,
) {
    // SAFETY: the header's rules: NULL, or a living block; NULL, or a place for a hash.
    unsafe { hash_of(block, out, |block| block.block().header.parent().into()) }
}

/// The SHA-256 of its data. [any]
///
/// @param block  the block
/// @param out    receives the hash; zero for NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_block_data_hash(
    block: *const hotstuff_block,
    out: *mut hotstuff_hash,
) {
    // SAFETY: the header's rules: NULL, or a living block; NULL, or a place for a hash.
    unsafe {
        hash_of(block, out, |block| hotstuff_hash {
            bytes: block.block().header.data_hash.0,
        })
    }
}

/// Its distance from the genesis: 1 for the first block; 0 for NULL. [any]
///
/// @param block  the block
#[no_mangle]
pub unsafe extern "C" fn hotstuff_block_height(block: *const hotstuff_block) -> u64 {
    // SAFETY: the header's rules: NULL, or a living block.
    enter_value(0, |call| {
        Ok(unsafe { call.handle(block) }?.block().header.height.0)
    })
}

/// The epoch it was proposed in; 0 for NULL. [any]
///
/// @param block  the block
#[no_mangle]
pub unsafe extern "C" fn hotstuff_block_epoch(block: *const hotstuff_block) -> u64 {
    // SAFETY: the header's rules: NULL, or a living block.
    enter_value(0, |call| {
        Ok(unsafe { call.handle(block) }?.block().header.epoch.0)
    })
}

/// The view of its epoch that it was proposed in; 0 for NULL. [any]
///
/// @param block  the block
#[no_mangle]
pub unsafe extern "C" fn hotstuff_block_view(block: *const hotstuff_block) -> u64 {
    // SAFETY: the header's rules: NULL, or a living block.
    enter_value(0, |call| {
        Ok(unsafe { call.handle(block) }?.block().header.view.0)
    })
}

/// Its data, borrowed from it: what an app's propose_block made, or nothing if the library made the
/// block alone. [any]
///
/// @param block  the block
/// @param out    receives the bytes; none for NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_block_data(
    block: *const hotstuff_block,
    out: *mut hotstuff_bytes,
) {
    let bytes = enter_value(hotstuff_bytes::EMPTY, |call| {
        // SAFETY: the header's rules: NULL, or a living block.
        Ok(hotstuff_bytes::of(
            &unsafe { call.handle(block) }?.block().data,
        ))
    });
    // SAFETY: the header's rules: NULL, or a place for the bytes.
    if let Some(out) = unsafe { out.as_mut() } {
        *out = bytes;
    }
}

/// The block as canonical bytes, for hotstuff_block_decode(). [any]
///
/// @param block  the block
/// @param out    receives the bytes: yours, free them with hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL  `block` or `out` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_encode(
    block: *const hotstuff_block,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living block.
        out.give(codec::encode(unsafe { call.handle(block) }?.block()));
        Ok(())
    })
}

/// Reads what hotstuff_block_encode() wrote. It checks that the data is what the header names, and
/// nothing else: whether the block is committed, or even valid, the bytes alone cannot say. [any]
///
/// @param genesis  the chain's genesis hash, which is part of each block's name; see
///                 hotstuff_config_genesis_hash()
/// @param bytes    the bytes; copied
/// @param len      how many
/// @param out      receives the block: yours, free it with hotstuff_block_free()
/// @retval HOTSTUFF_E_NULL       an argument is NULL
/// @retval HOTSTUFF_E_DECODE     the bytes are no block, or no canonical one, or the data is not
///                               what the header names
/// @retval HOTSTUFF_E_TOO_LARGE  larger than any block
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_block_decode(
    genesis: *const hotstuff_hash,
    bytes: *const u8,
    len: usize,
    out: *mut *mut hotstuff_block,
) -> hotstuff_status {
    const BYTES_MAX: u64 = BLOCK_DATA_BYTES_MAX + MESSAGE_OVERHEAD_BYTES;
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a hash.
        let genesis = GenesisHash(unsafe { call.plain(genesis) }?.bytes);
        // SAFETY: the header's rules for input bytes.
        let bytes = unsafe { call.bytes(bytes, len) }?;
        let block: Block = codec::decode(bytes, BYTES_MAX as usize)?;
        if !block.data_matches() {
            let text = "the block's data is not what its header names";
            return Err(failure(HOTSTUFF_E_DECODE, text));
        }
        out.give(NamedBlock::of_chain(genesis, block));
        Ok(())
    })
}

impl From<codec::DecodeError> for Failure {
    fn from(error: codec::DecodeError) -> Self {
        let status = match error {
            codec::DecodeError::TooLarge => HOTSTUFF_E_TOO_LARGE,
            _ => HOTSTUFF_E_DECODE,
        };
        failure(status, error.to_string())
    }
}

/// Frees a block that you own. [any]
///
/// @param block  the block; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_block_free(block: *mut hotstuff_block) {
    // SAFETY: the header's rules: NULL, or a living block that the caller owns and gives up.
    enter_quietly(|| drop(unsafe { take(block) }));
}
