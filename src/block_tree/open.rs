//! Opening: from a directory to a block tree, or to the reason why not.
//!
//! In this order: the directory, its lock, the length of the data file, LMDB, the format, the
//! genesis, the voting record, everything else. Creation ends with a file that says so, and is
//! taken up again if it did not get there.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use lmdb::{
    Cursor, DatabaseFlags, Environment, EnvironmentFlags, RoTransaction, RwTransaction,
    Transaction, WriteFlags,
};

use crate::algorithm::{Activity, CommittedHead, Durable, EpochRecord, PendingBlock, VotingRecord};
use crate::types::limits::STATE_KEY_BYTES_MAX;
use crate::types::{
    BlockHeight, Genesis, GenesisHash, QuorumCertificate, Rank, TimeoutCertificate,
};

use super::directory::{self, Hold, Lock, Survey};
use super::read_only::forget_the_dead;
use super::schema::*;
use super::tables::{epoch_name, Reads, Tables};
use super::{BlockTree, Durability, OnDisk, OpenOptions, Shared, StorageError, SNAPSHOTS_MAX};

impl BlockTree {
    /// Opens or creates the tree of `genesis`; what is durable in it is where Alice recovers.
    ///
    /// # Errors
    /// [`StorageError`], whose text says what to do. But for lock files, nothing is changed in a
    /// directory that is refused.
    pub fn open(
        options: &OpenOptions,
        genesis: &Genesis,
    ) -> Result<(BlockTree, Durable), StorageError> {
        let file = directory::data_file(&options.data_dir);
        open(options, genesis).map_err(|error| error.in_file(&file))
    }

    /// Writes the voting record again if a copy of it was damaged.
    fn repair(&mut self) -> Result<(), StorageError> {
        if self.warnings.is_empty() {
            return Ok(());
        }
        let fail = |error| self.shared.fail("repairing the voting record", error);
        let mut txn = self.shared.env.begin_rw_txn().map_err(fail)?;
        let OnDisk {
            counter,
            voting_record: record,
            ..
        } = self.on_disk.clone();
        let copy = VotingCopy { counter, record };
        for key in VOTING {
            let main = self.shared.tables.main;
            txn.put(main, &key, &seal(key, &copy), WriteFlags::empty())
                .map_err(fail)?;
        }
        txn.commit().map_err(fail)
    }
}

fn open(options: &OpenOptions, genesis: &Genesis) -> Result<(BlockTree, Durable), StorageError> {
    let path = options.data_dir.as_path();
    directory::prepare(path, options.create)?;
    let lock = Lock::take(path)?;
    let survey = directory::survey(path)?;
    if survey == Survey::New && !options.create {
        return Err(StorageError::NotFound {
            path: path.to_owned(),
        });
    }
    let shared = connect(options, genesis.hash(), lock)?;
    if survey == Survey::New {
        create(&shared, genesis)?;
    }
    let (mut tree, durable) = recover(shared)?;
    tree.repair()?;
    Ok((tree, durable))
}

/// What an empty tree needs, and a few blocks.
const MAP_BYTES_MIN: u64 = 1 << 20;

/// Maps the data file, and makes its tables if it has none.
fn connect(
    options: &OpenOptions,
    genesis: GenesisHash,
    lock: Lock,
) -> Result<Shared, StorageError> {
    let path = directory::data_file(&options.data_dir);
    let OpenOptions {
        map_bytes,
        durability,
        ..
    } = *options;
    let used_bytes = directory::used_bytes(&path)?;
    let needed_bytes = used_bytes.max(MAP_BYTES_MIN);
    if map_bytes < needed_bytes {
        return Err(StorageError::MapTooSmall {
            path,
            map_bytes,
            needed_bytes,
        });
    }
    let env = map(&options.data_dir, &path, map_bytes, durability)?;
    let fail = |error| StorageError::lmdb(&path, map_bytes, "opening the tables", error);
    if used_bytes == 0 {
        // LMDB writes further pages before it syncs the first two: after a power failure, an
        // interrupted creation could then not be told from somebody else's file.
        env.sync(true).map_err(fail)?;
    }
    let tables = open_tables(&env, &path, true, fail)?;
    let data_file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(|error| StorageError::io(&path, "opening the data file", error))?;
    Ok(Shared {
        env,
        tables,
        genesis,
        path,
        map_bytes,
        durability,
        data_file,
        _hold: Hold::Writing(lock),
    })
}

fn map(
    data_dir: &Path,
    path: &Path,
    map_bytes: u64,
    durability: Durability,
) -> Result<Environment, StorageError> {
    let unavailable = |source| {
        let path = path.to_owned();
        StorageError::MapUnavailable {
            path,
            map_bytes,
            source,
        }
    };
    let size = usize::try_from(map_bytes)
        .map_err(|_| unavailable(io::Error::from(io::ErrorKind::OutOfMemory)))?;
    // LMDB clears the table of readers for whoever opens the directory first; beside a process that
    // only reads, the dead are cleared below: what a killed process was reading holds no pages.
    //
    // NO_TLS: snapshots move between threads. Read-ahead stays on: what is read cold is mostly the
    // data of blocks, which is long. NO_SYNC leaves the order of writes to the system and so keeps
    // them over the death of the process only; with WRITE_MAP a stray pointer of the host could
    // write to the file, and a full disk would end the process.
    let flags = EnvironmentFlags::NO_TLS
        | match durability {
            Durability::Synced => EnvironmentFlags::empty(),
            Durability::ProcessCrash => EnvironmentFlags::NO_SYNC,
        };
    let result = Environment::new()
        .set_flags(flags)
        .set_map_size(size)
        .set_max_readers(SNAPSHOTS_MAX)
        .set_max_dbs(TABLES.len() as u32)
        .open_with_permissions(data_dir, 0o600);
    let env = result.map_err(|error| match error {
        lmdb::Error::Other(libc::ENOMEM) => unavailable(io::Error::from_raw_os_error(libc::ENOMEM)),
        error => StorageError::lmdb(path, map_bytes, "opening the database", error),
    })?;
    forget_the_dead(&env);
    Ok(env)
}

/// Opens the tables. A writer makes those that are missing, if the file holds nothing else.
pub(super) fn open_tables(
    env: &Environment,
    path: &Path,
    is_writer: bool,
    fail: impl Fn(lmdb::Error) -> StorageError,
) -> Result<Tables, StorageError> {
    let main = env.open_db(None).map_err(&fail)?;
    refuse_foreign(env, main, path, &fail)?;
    let open = |name| match env.open_db(Some(name)) {
        Err(lmdb::Error::NotFound) if is_writer => {
            env.create_db(Some(name), DatabaseFlags::empty())
        }
        result => result,
    };
    let evidence = match open(EVIDENCE) {
        Err(lmdb::Error::NotFound) => None,
        result => Some(result.map_err(&fail)?),
    };
    Ok(Tables {
        main,
        blocks: open(BLOCKS).map_err(&fail)?,
        hashes: open(HASHES).map_err(&fail)?,
        state: open(STATE).map_err(&fail)?,
        sets: open(SETS).map_err(&fail)?,
        evidence,
    })
}

/// Another program's LMDB file has other names in its main table.
fn refuse_foreign(
    env: &Environment,
    main: lmdb::Database,
    path: &Path,
    fail: impl Fn(lmdb::Error) -> StorageError,
) -> Result<(), StorageError> {
    let txn = env.begin_ro_txn().map_err(&fail)?;
    let mut cursor = txn.open_ro_cursor(main).map_err(&fail)?;
    let ours: Vec<&str> = [META, HIGHEST_QC, HIGHEST_TC, COMMITTED]
        .into_iter()
        .chain(VOTING)
        .chain(TABLES)
        .collect();
    for item in cursor.iter_start() {
        let (key, _) = item.map_err(&fail)?;
        if !ours.iter().any(|name| name.as_bytes() == key) {
            let why = format!("its main table holds {:?}", String::from_utf8_lossy(key));
            return Err(StorageError::Foreign {
                path: path.to_owned(),
                why,
            });
        }
    }
    Ok(())
}

/// Writes the first records, unless an interrupted creation has got so far.
fn create(shared: &Shared, genesis: &Genesis) -> Result<(), StorageError> {
    let fail = |error| shared.fail("creating the block tree", error);
    let mut txn = shared.env.begin_rw_txn().map_err(fail)?;
    if Reads::new(&txn, shared)
        .get(shared.tables.main, META.as_bytes())?
        .is_none()
    {
        write_genesis(&mut txn, shared, genesis)?;
        txn.commit().map_err(fail)?;
        shared.env.sync(true).map_err(fail)?;
    } else {
        txn.abort();
        check_meta(shared)?;
    }
    let directory = shared.path.parent().expect("a file in the data directory");
    directory::finish(directory, &shared.genesis)
}

fn write_genesis(
    txn: &mut RwTransaction<'_>,
    shared: &Shared,
    genesis: &Genesis,
) -> Result<(), StorageError> {
    let fail = |error| shared.fail("writing the genesis", error);
    let Tables {
        main, state, sets, ..
    } = shared.tables;
    let flags = WriteFlags::empty();
    txn.clear_db(state).map_err(fail)?;
    for (key, value) in &genesis.app_state {
        if key.is_empty() || key.len() > STATE_KEY_BYTES_MAX {
            let why = format!("a key of the genesis's app state has {} bytes", key.len());
            return Err(StorageError::Inconsistent { why });
        }
        txn.put(state, key, value, flags).map_err(fail)?;
    }
    let first = EpochRecord::first(genesis.validator_set.clone());
    let sealed = seal(&epoch_name(first.epoch), &first);
    txn.put(sets, &first.epoch.0.to_be_bytes(), &sealed, flags)
        .map_err(fail)?;
    let head = CommittedHead {
        hash: shared.genesis.as_block_hash(),
        height: BlockHeight(0),
        rank: Rank::default(),
    };
    let certificate = QuorumCertificate::genesis(shared.genesis);
    let voting = VotingCopy {
        counter: 0,
        record: VotingRecord::default(),
    };
    let records = [
        (
            META,
            seal(
                META,
                &Meta {
                    format: FORMAT_VERSION,
                    genesis: shared.genesis,
                },
            ),
        ),
        (VOTING[0], seal(VOTING[0], &voting)),
        (VOTING[1], seal(VOTING[1], &voting)),
        (
            HIGHEST_QC,
            seal(
                HIGHEST_QC,
                &Certified {
                    counter: 0,
                    certificate,
                },
            ),
        ),
        (COMMITTED, seal(COMMITTED, &Head::from(head))),
    ];
    for (key, record) in records {
        txn.put(main, &key, &record, flags).map_err(fail)?;
    }
    Ok(())
}

/// Reads everything that survives a crash.
fn recover(shared: Shared) -> Result<(BlockTree, Durable), StorageError> {
    check_meta(&shared)?;
    let file_bytes = shared
        .data_file
        .metadata()
        .map_err(|error| StorageError::io(&shared.path, "reading the data file's length", error))?
        .len();
    let txn = shared
        .env
        .begin_ro_txn()
        .map_err(|error| shared.fail("reading", error))?;
    let reads = Reads::new(&txn, &shared);
    let mut warnings = Vec::new();
    let voting = voting_record(&reads, &shared.path, &mut warnings)?;
    let highest_qc: Certified<QuorumCertificate> = reads.sealed(HIGHEST_QC)?;
    let highest_tc: Option<Certified<TimeoutCertificate>> =
        match reads.get(shared.tables.main, HIGHEST_TC.as_bytes())? {
            Some(_) => Some(reads.sealed(HIGHEST_TC)?),
            None => None,
        };
    let certified = highest_tc
        .as_ref()
        .map_or(0, |tc| tc.counter)
        .max(highest_qc.counter);
    if voting.counter < certified {
        let why = format!(
            "it is older than the certificates beside it (change {} of {certified})",
            voting.counter
        );
        return Err(StorageError::VotingRecord {
            path: shared.path.clone(),
            why,
        });
    }
    let head = reads.head()?;
    let epochs = epochs(&reads, &head)?;
    let durable = Durable {
        voting_record: voting.record.clone(),
        highest_qc: highest_qc.certificate,
        highest_tc: highest_tc.map(|tc| tc.certificate),
        committed: head,
        pending: pending(&reads, &shared.genesis, &head)?,
        activity: activity(&reads, &head, epochs.last().expect("checked"))?,
        epochs,
        offences: reads.offences()?,
    };
    txn.abort();
    let tree = BlockTree {
        shared: Arc::new(shared),
        on_disk: OnDisk {
            voting_record: voting.record,
            counter: voting.counter,
            head,
        },
        poisoned: None,
        warnings,
        buffer: Vec::new(),
        file_bytes,
    };
    Ok((tree, durable))
}

fn check_meta(shared: &Shared) -> Result<(), StorageError> {
    let txn = shared
        .env
        .begin_ro_txn()
        .map_err(|error| shared.fail("reading", error))?;
    let meta: Meta = Reads::new(&txn, shared).sealed(META)?;
    let path = shared.path.clone();
    if meta.format != FORMAT_VERSION {
        return Err(StorageError::FormatVersion {
            path,
            found: meta.format,
        });
    }
    if meta.genesis != shared.genesis {
        let (expected, found) = (shared.genesis, meta.genesis);
        return Err(StorageError::GenesisMismatch {
            path,
            expected,
            found,
        });
    }
    Ok(())
}

/// The voting record, if its copies leave no doubt about it.
pub(super) fn voting_record(
    reads: &Reads<'_, RoTransaction<'_>>,
    path: &Path,
    warnings: &mut Vec<String>,
) -> Result<VotingCopy, StorageError> {
    let refuse = |why: String| {
        Err(StorageError::VotingRecord {
            path: path.to_owned(),
            why,
        })
    };
    let [first, second] = VOTING.map(|key| reads.sealed::<VotingCopy>(key));
    match (first, second) {
        (Ok(first), Ok(second)) if first == second => Ok(first),
        (Ok(first), Ok(second)) => {
            let counters = format!("{} and {}", first.counter, second.counter);
            refuse(format!(
                "its two copies are whole and differ (changes {counters})"
            ))
        }
        (Ok(whole), Err(damage)) | (Err(damage), Ok(whole)) => {
            let why = plainly(damage)?;
            let repaired = "the other one is whole, and both are written again. Check the disk";
            warnings.push(format!(
                "one of two copies of the voting record: {why}; {repaired}"
            ));
            Ok(whole)
        }
        (Err(first), Err(second)) => {
            let (first, second) = (plainly(first)?, plainly(second)?);
            refuse(format!("both copies are damaged ({first}; {second})"))
        }
    }
}

/// A damaged record in words; any other error stays one.
fn plainly(error: StorageError) -> Result<String, StorageError> {
    match error {
        StorageError::Corrupt { record, why, .. } => Ok(format!("{record}: {why}")),
        error => Err(error),
    }
}

/// The last epochs. The last of all is the committed chain's, or its end has just begun it.
fn epochs(
    reads: &Reads<'_, RoTransaction<'_>>,
    head: &CommittedHead,
) -> Result<Vec<EpochRecord>, StorageError> {
    let epochs = reads.last_epochs()?;
    let current = match reads.find(head.height, &head.hash)? {
        Some(found) if found.record()?.header.validator_set_updates.is_some() => {
            head.rank.epoch.next()
        }
        _ => head.rank.epoch,
    };
    if epochs.last().map(|last| last.epoch) == Some(current) {
        Ok(epochs)
    } else {
        let why = "the committed chain ends in it, and the records of the epochs elsewhere";
        Err(StorageError::corrupt(epoch_name(current), why))
    }
}

/// Who signs, by the last committed blocks of the epoch.
fn activity(
    reads: &Reads<'_, RoTransaction<'_>>,
    head: &CommittedHead,
    current: &EpochRecord,
) -> Result<Activity, StorageError> {
    let mut activity = Activity::new(current.validator_set.len());
    let first = activity.begins_at(head.view_in(current.epoch));
    let mut headers = Vec::new();
    let mut height = head.height;
    while height.0 > 0 {
        let Some(found) = reads.committed_at(height)? else {
            let name = format!("committed block at height {}", height.0);
            return Err(StorageError::corrupt(name, "it is missing"));
        };
        let header = found.record()?.header;
        if header.epoch != current.epoch || header.view < first {
            break;
        }
        headers.push(header);
        height = height.previous();
    }
    headers
        .iter()
        .rev()
        .for_each(|header| activity.commit(header));
    Ok(activity)
}

/// The blocks above the committed chain, each after its parent: the order of their keys.
fn pending(
    reads: &Reads<'_, RoTransaction<'_>>,
    genesis: &GenesisHash,
    head: &CommittedHead,
) -> Result<Vec<PendingBlock>, StorageError> {
    let mut pending: Vec<PendingBlock> = Vec::new();
    for found in reads.headers_above(head.height)? {
        let HeaderRecord {
            committed,
            hash,
            header,
        } = found.record()?;
        let data_bytes = reads.data(found.key)?.len() as u64;
        let name = format!("pending block {hash} at height {}", found.key.height);
        let corrupt = |why| Err(StorageError::corrupt(&name, why));
        if committed || header.height != found.key.height {
            return corrupt("it is filed at a wrong height");
        }
        if header.hash(genesis) != hash {
            return corrupt("it does not hash to its name");
        }
        let parent = header.parent();
        let is_above_head = header.height == head.height.next() && parent == head.hash;
        let is_above = |block: &PendingBlock| {
            block.hash == parent && block.header.height.next() == header.height
        };
        if !is_above_head && !pending.iter().any(is_above) {
            return corrupt("its parent is missing");
        }
        pending.push(PendingBlock {
            hash,
            header,
            data_bytes,
        });
    }
    Ok(pending)
}
