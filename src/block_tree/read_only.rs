//! Looking into a data directory, also beside the replica that runs in it.
//!
//! Nothing is written but LMDB's table of readers, `lock.mdb`: the directory is not locked, so a
//! replica may run, start or stop meanwhile. A snapshot that is taken this way pins pages of the
//! replica's file as one of its own does; whoever looks is expected to look quickly. What a
//! killed process was reading is let go when the directory is next opened, in either way.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use lmdb::{Environment, EnvironmentFlags, Transaction};

use crate::algorithm::VotingRecord;
use crate::app::ReadError;
use crate::types::{Block, BlockHash, GenesisHash};

use super::directory::{self, Hold, Presence};
use super::open::{open_tables, voting_record};
use super::schema::*;
use super::tables::Reads;
use super::{BlockTreeReader, Durability, Shared, Snapshot, StorageError, SNAPSHOTS_MAX};

impl BlockTreeReader {
    /// Opens the tree in `data_dir` to be read, and to nothing else.
    ///
    /// # Errors
    /// [`StorageError`]: what [`BlockTree::open`](super::BlockTree::open) says of a directory that
    /// is not there or not whole; [`StorageError::Locked`] if this process has it open already.
    pub fn open_read_only(data_dir: &Path) -> Result<BlockTreeReader, StorageError> {
        let file = directory::data_file(data_dir);
        open(data_dir, &file).map_err(|error| error.in_file(&file))
    }
}

impl Snapshot {
    /// The name of the chain.
    pub fn genesis(&self) -> GenesisHash {
        self.shared().genesis
    }

    /// What this replica has signed last, and how often that has changed.
    ///
    /// # Errors
    /// The database's; a record of which no copy is whole, or whose copies differ.
    pub fn voting_record(&self) -> Result<(VotingRecord, u64), ReadError> {
        self.read(|reads| {
            let copy = voting_record(&reads, &self.shared().path, &mut Vec::new())?;
            Ok((copy.record, copy.counter))
        })
    }

    /// The block with this number, from 0 on, of those that await commit, in the order of heights.
    ///
    /// # Errors
    /// [`ReadError`], the database's or for a damaged record.
    pub fn pending_at(&self, index: usize) -> Result<Option<(BlockHash, Block)>, ReadError> {
        self.read(|reads| {
            let pending = reads.headers_above(reads.head()?.height)?;
            let found = pending.get(index);
            found
                .map(|found| Ok((found.hash(), reads.block(*found)?)))
                .transpose()
        })
    }
}

fn open(data_dir: &Path, path: &Path) -> Result<BlockTreeReader, StorageError> {
    directory::prepare(data_dir, false)?;
    let presence = Presence::register(data_dir)?;
    directory::check_whole(data_dir)?;
    let env = map(data_dir, path)?;
    let fail = |error| StorageError::lmdb(path, 0, "opening the tables", error);
    let tables = open_tables(&env, path, false, fail)?;
    let data_file =
        File::open(path).map_err(|error| StorageError::io(path, "opening the data file", error))?;
    let mut shared = Shared {
        env,
        tables,
        genesis: GenesisHash::default(),
        path: path.to_owned(),
        map_bytes: 0,
        durability: Durability::default(),
        data_file,
        _hold: Hold::Reading(presence),
    };
    shared.genesis = genesis(&shared)?;
    Ok(BlockTreeReader {
        shared: Arc::new(shared),
    })
}

/// The map is as large as the replica's own.
fn map(data_dir: &Path, path: &Path) -> Result<Environment, StorageError> {
    let env = Environment::new()
        .set_flags(EnvironmentFlags::NO_TLS | EnvironmentFlags::READ_ONLY)
        .set_max_readers(SNAPSHOTS_MAX)
        .set_max_dbs(TABLES.len() as u32)
        .open_with_permissions(data_dir, 0o600)
        .map_err(|error| StorageError::lmdb(path, 0, "opening the database", error))?;
    forget_the_dead(&env);
    Ok(env)
}

fn genesis(shared: &Shared) -> Result<GenesisHash, StorageError> {
    let txn = shared
        .env
        .begin_ro_txn()
        .map_err(|error| shared.fail("reading", error))?;
    let meta: Meta = Reads::new(&txn, shared).sealed(META)?;
    txn.abort();
    if meta.format != FORMAT_VERSION {
        return Err(StorageError::FormatVersion {
            path: shared.path.clone(),
            found: meta.format,
        });
    }
    Ok(meta.genesis)
}

extern "C" {
    /// Of the bundled LMDB (lmdb.h): clears the entries of dead processes from the readers' table.
    fn mdb_reader_check(env: *mut c_void, dead: *mut c_int) -> c_int;
}

/// What processes that were killed were reading holds no pages any more.
pub(super) fn forget_the_dead(env: &Environment) {
    let mut dead = 0;
    // SAFETY: a living environment, and a place for a number. It may be called at any time; that it
    // fails only means that the pages stay pinned.
    let _ = unsafe { mdb_reader_check(env.env().cast(), &raw mut dead) };
}
