//! The block tree on LMDB (floor 4): what a replica remembers, and what its app's state is.
//!
//! Alice holds the one [`BlockTree`], and writes each step in one transaction. Everyone else reads
//! [`Snapshot`]s, which are consistent, never wait for Alice, and never make her wait.
//!
//! ```text
//!   Alice --persist(writes)--> BlockTree --one transaction, synced--> data.mdb
//!                                                                       |
//!   App, SyncServer, host <---- Snapshot <---- BlockTreeReader <--------+
//!                        (read transaction + pending updates of one branch)
//! ```
//!
//! A data directory belongs to one replica of one chain, and to one process at a time:
//!
//! ```text
//!   hotstuff.lock    held while the block tree, a reader or a snapshot lives
//!   hotstuff.chain   the genesis hash; written when creation is complete
//!   data.mdb         everything (see schema.rs)
//!   lock.mdb         LMDB's table of readers; made anew at each opening
//! ```

mod directory;
mod error;
mod hashes;
mod open;
mod proofs;
mod read_only;
mod schema;
mod snapshot;
mod tables;
mod updates;
mod write;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use lmdb::Environment;

use crate::algorithm::{CommittedHead, VotingRecord};
use crate::types::GenesisHash;

pub use error::StorageError;
pub use snapshot::{Snapshot, Unwritten};

use tables::Tables;

/// Address space for the map, if nobody says otherwise: 1 TiB, of which only what is used costs
/// anything. It cannot grow at run time, because snapshots point into it.
pub const MAP_BYTES_DEFAULT: u64 = 1 << 40;

/// Snapshots that may be alive at once.
pub const SNAPSHOTS_MAX: u32 = 1_024;

/// How much a crash may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Every step is synced to the disk before anything is said: survives power loss.
    #[default]
    Synced,
    /// Steps reach the operating system only: survives the death of the process, `kill -9`
    /// included, not of the machine. After power loss or a kernel crash the data file may be
    /// older than what was said, or a mixture of old and new that cannot be read; a validator must
    /// then not start again with the same key.
    ProcessCrash,
}

/// How to open a block tree.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The directory; only its last component is created.
    pub data_dir: PathBuf,
    /// Create the directory and the chain's files if there are none.
    pub create: bool,
    /// Bytes of address space for the map; sparse. See [`MAP_BYTES_DEFAULT`].
    pub map_bytes: u64,
    pub durability: Durability,
}

impl OpenOptions {
    /// The defaults for `data_dir`: it must exist, and what is written is synced.
    pub fn new(data_dir: impl Into<PathBuf>) -> OpenOptions {
        OpenOptions {
            data_dir: data_dir.into(),
            create: false,
            map_bytes: MAP_BYTES_DEFAULT,
            durability: Durability::default(),
        }
    }
}

/// Alice's handle: the one writer.
///
/// The directory stays locked until this, every reader and every snapshot is dropped.
#[derive(Debug)]
pub struct BlockTree {
    shared: Arc<Shared>,
    /// What the last transaction left on disk, so that the next need not read it.
    on_disk: OnDisk,
    /// Why nothing may be written any more.
    poisoned: Option<String>,
    warnings: Vec<String>,
    buffer: Vec<u8>,
    file_bytes: u64,
}

/// Small records that every step changes.
#[derive(Clone, Debug)]
struct OnDisk {
    voting_record: VotingRecord,
    counter: u64,
    head: CommittedHead,
}

/// What the writer and the readers have in common.
struct Shared {
    // The order of the fields is the order in which they are dropped: the lock goes last.
    env: Environment,
    tables: Tables,
    genesis: GenesisHash,
    path: PathBuf,
    map_bytes: u64,
    durability: Durability,
    data_file: File,
    _hold: directory::Hold,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Turns the database's errors into ours.
    fn fail(&self, doing: &'static str, error: lmdb::Error) -> StorageError {
        StorageError::lmdb(&self.path, self.map_bytes, doing, error)
    }
}

impl BlockTree {
    /// A handle for readers on other threads; cheap to clone.
    pub fn reader(&self) -> BlockTreeReader {
        BlockTreeReader {
            shared: Arc::clone(&self.shared),
        }
    }

    /// What was repaired at opening, for the operator to know.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Takes snapshots, on any thread. Of a replica's own block tree, or of one that was opened only to
/// be read.
#[derive(Clone, Debug)]
pub struct BlockTreeReader {
    shared: Arc<Shared>,
}
