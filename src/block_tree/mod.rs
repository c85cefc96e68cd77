//! The block tree on LMDB (floor 4).
use std::fmt;
use std::path::PathBuf;

use crate::algorithm::{Durable, Persist, Write};
use crate::app::{BlockTreeSnapshot, ReadError};
use crate::types::*;

/// How much a crash may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Every step is synced to the disk before anything is said: survives power loss.
    #[default]
    Synced,
    /// Steps reach the operating system only: survives the death of the process, not of the machine.
    ProcessCrash,
}

/// How to open a block tree.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    pub data_dir: PathBuf,
    /// Create the directory and the chain's files if there are none.
    pub create: bool,
    /// Bytes of address space for the map; sparse.
    pub map_bytes: u64,
    pub durability: Durability,
}

/// Why the block tree could not be opened, or failed later. Display names the path, what was
/// expected, and what to do.
#[derive(Debug)]
pub enum StorageError {
    // the helper fills this in: NotFound, Locked, GenesisMismatch, Foreign, Corrupt, MapFull, DiskFull, Io, Lmdb ...
    Todo,
}

impl fmt::Display for StorageError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

/// Alice's handle: the one writer.
pub struct BlockTree {}

impl BlockTree {
    /// Opens or creates the tree of `genesis`; what is durable in it is where Alice recovers.
    pub fn open(
        options: &OpenOptions,
        genesis: &Genesis,
    ) -> Result<(BlockTree, Durable), StorageError> {
        let _ = (options, genesis);
        todo!()
    }

    /// A handle for readers on other threads; cheap to clone.
    pub fn reader(&self) -> BlockTreeReader {
        todo!()
    }
}

impl Persist for BlockTree {
    type Error = StorageError;

    fn persist(&mut self, _writes: &[Write]) -> Result<(), StorageError> {
        todo!()
    }
}

/// Takes snapshots, on any thread.
#[derive(Clone)]
pub struct BlockTreeReader {}

/// A valid block that is in no transaction yet, for [`BlockTreeReader::snapshot_at`].
pub struct Unwritten<'a> {
    pub hash: BlockHash,
    pub parent: BlockHash,
    pub block: &'a Block,
    pub state_updates: &'a StateUpdates,
}

impl BlockTreeReader {
    /// The committed state, and every block on disk.
    pub fn snapshot(&self) -> Result<Snapshot, StorageError> {
        todo!()
    }

    /// The state as of `block`: the committed state under the pending updates between it and
    /// `block`, on disk or in `unwritten`. `None` if that state is not to be had (unknown block, or
    /// the chain has committed past it or beside it).
    pub fn snapshot_at(
        &self,
        block: &BlockHash,
        unwritten: &[Unwritten<'_>],
    ) -> Result<Option<Snapshot>, StorageError> {
        let _ = (block, unwritten);
        todo!()
    }
}

/// An owned read transaction and an overlay. Send: it may be freed on another thread. It pins pages of the database:
/// free it soon.
pub struct Snapshot {}

impl BlockTreeSnapshot for Snapshot {
    fn state(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        todo!()
    }
    fn block(&self, _hash: &BlockHash) -> Result<Option<Block>, ReadError> {
        todo!()
    }
    fn hash_at(&self, _height: BlockHeight) -> Result<Option<BlockHash>, ReadError> {
        todo!()
    }
    fn committed_height(&self) -> Result<BlockHeight, ReadError> {
        todo!()
    }
    fn highest_qc(&self) -> Result<QuorumCertificate, ReadError> {
        todo!()
    }
    fn validator_set(&self) -> Result<ValidatorSet, ReadError> {
        todo!()
    }
}

/// For the sync server.
impl Snapshot {
    /// What follows `after` (a committed block's hash, or the genesis hash) on the branch to `wanted` if that block is
    /// stored, else to the block of the highest QC that is stored: blocks lowest first, at most `limit` and about
    /// `bytes_max` encoded bytes (at least one block if there is any), and the QCs that certify the last.
    /// `None` if `after` is not on the committed chain here.
    pub fn blocks_after(
        &self,
        after: &BlockHash,
        wanted: Option<&BlockHash>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Option<(Vec<Block>, Vec<QuorumCertificate>)>, ReadError> {
        let _ = (after, wanted, limit, bytes_max);
        todo!()
    }
}
