//! The data directory: whose it is, whether it is free, and whether its data file is whole.
//!
//! Nothing here maps the file. A page that is missing from a mapped file ends the process with
//! SIGBUS, so its length is compared first with what its meta pages promise. For that comparison
//! to be exact, the writer keeps the file as long as the pages it has ever numbered, although LMDB
//! leaves a hole for a page that was freed before it was written (see `write.rs`).

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::types::GenesisHash;

use super::{Shared, StorageError};

pub(super) const DATA_FILE: &str = "data.mdb";
const READERS_FILE: &str = "lock.mdb";
const LOCK_FILE: &str = "hotstuff.lock";
const CHAIN_FILE: &str = "hotstuff.chain";

/// What a file system puts into its root by itself.
const LOST_AND_FOUND: &str = "lost+found";

/// The directories that this process has open, by device and inode. `flock` is by process on some
/// network file systems, and would let one process in twice.
static OPEN: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// That this process has a directory open: LMDB may have no file open twice in one process.
#[derive(Debug)]
pub(super) struct Presence {
    id: (u64, u64),
}

impl Presence {
    /// For `directory`, which exists.
    pub fn register(directory: &Path) -> Result<Presence, StorageError> {
        let metadata = fs::metadata(directory)
            .map_err(|error| StorageError::io(directory, "reading the directory", error))?;
        let id = (metadata.dev(), metadata.ino());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if open.insert(id) {
            return Ok(Presence { id });
        }
        Err(StorageError::Locked {
            path: directory.to_owned(),
            pid: Some(std::process::id()),
        })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        OPEN.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

/// How a directory is held open.
#[derive(Debug)]
pub(super) enum Hold {
    /// Nobody else has it.
    Writing(#[allow(dead_code)] Lock),
    /// A replica may have it, in another process.
    Reading(#[allow(dead_code)] Presence),
}

/// Keeps everyone else out of a directory.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    _presence: Presence, // goes last
}

impl Lock {
    /// Locks `directory`, which exists.
    pub fn take(directory: &Path) -> Result<Lock, StorageError> {
        let path = directory.join(LOCK_FILE);
        let fail = |source| StorageError::io(&path, "opening the lock file", source);
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        let locked = |pid| StorageError::Locked {
            path: directory.to_owned(),
            pid,
        };
        let presence = Presence::register(directory)?;
        // SAFETY: flock takes a descriptor, which `file` keeps open during the call, and a flag.
        let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        if result != 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EWOULDBLOCK) => Err(locked(read_pid(&mut file))),
                _ => Err(fail(error)),
            };
        }
        // The number only serves the error message of whoever comes next.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Lock {
            file,
            _presence: presence,
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would not do while a child that the host is just starting has it, too.
        // SAFETY: flock takes a descriptor, which `file` keeps open during the call, and a flag.
        unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_UN) };
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// What a directory is before its data file is opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Survey {
    /// A block tree was completely created here once.
    Complete,
    /// Nothing, or a creation that was interrupted: nobody has relied on it.
    New,
}

/// Makes sure that there is a directory, and that it may be opened at all.
pub(super) fn prepare(directory: &Path, create: bool) -> Result<(), StorageError> {
    let not_found = || StorageError::NotFound {
        path: directory.to_owned(),
    };
    match fs::metadata(directory) {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(StorageError::NotADirectory {
                path: directory.to_owned(),
            })
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => make(directory)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_found()),
        Err(error) => return Err(StorageError::io(directory, "reading the directory", error)),
    }
    // Without leave to create, a directory that is not ours is left without a trace.
    if !create && !exists(directory, CHAIN_FILE)? && !exists(directory, DATA_FILE)? {
        refuse_strangers(directory)?;
        return Err(not_found());
    }
    Ok(())
}

/// Makes the last component only: a missing parent is more likely an unmounted disk.
fn make(directory: &Path) -> Result<(), StorageError> {
    let fail = |source| StorageError::io(directory, "creating the directory", source);
    DirBuilder::new()
        .mode(0o700)
        .create(directory)
        .map_err(fail)?;
    match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Says whether a locked directory holds a block tree, and refuses what is neither that nor new.
pub(super) fn survey(directory: &Path) -> Result<Survey, StorageError> {
    let data = directory.join(DATA_FILE);
    let state = inspect(&data);
    if exists(directory, CHAIN_FILE)? {
        // In a directory of ours, what is not ours any more is damage.
        return match state.map_err(foreign_is_damaged)? {
            DataFile::Whole { .. } => Ok(Survey::Complete),
            DataFile::Missing => {
                let why = format!("{DATA_FILE} is missing, and this replica has run before");
                Err(StorageError::Damaged {
                    path: directory.to_owned(),
                    why,
                })
            }
            DataFile::Unfinished => {
                let why = "it is empty, and this replica has run before".to_owned();
                Err(StorageError::Damaged { path: data, why })
            }
        };
    }
    match state? {
        DataFile::Whole { .. } => {}
        DataFile::Missing => refuse_strangers(directory)?,
        DataFile::Unfinished => fs::remove_file(&data)
            .map_err(|error| StorageError::io(&data, "removing an unfinished file", error))?,
    }
    Ok(Survey::New)
}

/// Tries that a data file gets to be as long as its meta pages say: a replica that is writing may
/// change both while they are compared.
const LOOKS_MAX: usize = 10;

/// That a complete block tree lies in `directory`, which a replica may be writing.
pub(super) fn check_whole(directory: &Path) -> Result<(), StorageError> {
    let data = directory.join(DATA_FILE);
    let mut seen = inspect(&data);
    for _ in 1..LOOKS_MAX {
        if !matches!(seen, Err(StorageError::Damaged { .. })) {
            break;
        }
        seen = inspect(&data);
    }
    match seen? {
        DataFile::Whole { .. } if exists(directory, CHAIN_FILE)? => Ok(()),
        _ => Err(StorageError::NotFound {
            path: directory.to_owned(),
        }),
    }
}

fn foreign_is_damaged(error: StorageError) -> StorageError {
    match error {
        StorageError::Foreign { path, why } => StorageError::Damaged { path, why },
        error => error,
    }
}

/// A directory without a block tree must be empty but for what an interrupted creation leaves.
fn refuse_strangers(directory: &Path) -> Result<(), StorageError> {
    let fail = |error| StorageError::io(directory, "reading the directory", error);
    for entry in fs::read_dir(directory).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let name = name.to_string_lossy();
        let unfinished = format!("{CHAIN_FILE}.new");
        if ![LOCK_FILE, READERS_FILE, LOST_AND_FOUND, &unfinished].contains(&&*name) {
            let found = format!("{name:?}");
            return Err(StorageError::NotEmpty {
                path: directory.to_owned(),
                found,
            });
        }
    }
    Ok(())
}

/// Notes that creation is complete: from now on, a missing record is damage.
pub(super) fn finish(directory: &Path, genesis: &GenesisHash) -> Result<(), StorageError> {
    let path = directory.join(CHAIN_FILE);
    let fail = |error| StorageError::io(&path, "writing the chain's name", error);
    let new = directory.join(format!("{CHAIN_FILE}.new"));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(fail)?;
    writeln!(file, "{genesis}").map_err(fail)?;
    file.sync_all().map_err(fail)?;
    fs::rename(&new, &path).map_err(fail)?;
    sync_directory(directory)
}

/// Makes the names in a directory durable.
fn sync_directory(directory: &Path) -> Result<(), StorageError> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|error| StorageError::io(directory, "syncing the directory", error))
}

fn exists(directory: &Path, name: &str) -> Result<bool, StorageError> {
    let path = directory.join(name);
    path.try_exists()
        .map_err(|error| StorageError::io(&path, "looking for the file", error))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataFile {
    Missing,
    /// Nothing, or LMDB's first two pages in part: creation was interrupted.
    Unfinished,
    /// As long as its meta pages say; the pages in use have so many bytes.
    Whole {
        used_bytes: u64,
    },
}

/// The bytes of the data file's pages in use; 0 if there is no file yet.
pub(super) fn used_bytes(path: &Path) -> Result<u64, StorageError> {
    match inspect(path)? {
        DataFile::Missing | DataFile::Unfinished => Ok(0),
        DataFile::Whole { used_bytes } => Ok(used_bytes),
    }
}

/// The least that LMDB calls a page.
const PAGE_BYTES_MIN: u64 = 512;
const PAGE_BYTES_MAX: u64 = 32_768;
/// The part of a meta page that is read.
const META_BYTES: usize = 152;
const MAGIC: u32 = 0xBEEF_C0DE;
const DATA_VERSION: u32 = 1;

/// One of LMDB's two meta pages (`MDB_meta` behind the 16 bytes of a page header, native-endian).
#[derive(Clone, Copy, Debug)]
struct MetaPage {
    page_bytes: u64,
    last_page: u64,
    transaction: u64,
}

impl MetaPage {
    fn read(bytes: &[u8]) -> Result<MetaPage, String> {
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let long = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        if word(16) != MAGIC {
            return Err("it does not begin as an LMDB file does".into());
        }
        if word(20) != DATA_VERSION {
            return Err(format!("it is an LMDB file of version {}", word(20)));
        }
        let page_bytes = u64::from(word(40));
        if !page_bytes.is_power_of_two() || !(PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes)
        {
            return Err(format!("its pages are said to have {page_bytes} bytes"));
        }
        Ok(MetaPage {
            page_bytes,
            last_page: long(136),
            transaction: long(144),
        })
    }
}

/// Looks at LMDB's meta pages without LMDB.
fn inspect(path: &Path) -> Result<DataFile, StorageError> {
    let fail = |error| StorageError::io(path, "reading the data file", error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DataFile::Missing),
        Err(error) => return Err(fail(error)),
    };
    let length = file.metadata().map_err(fail)?.len();
    let damaged = |why: String| StorageError::Damaged {
        path: path.to_owned(),
        why,
    };
    let foreign = |why| StorageError::Foreign {
        path: path.to_owned(),
        why,
    };
    let mut first = [0; META_BYTES];
    if length < first.len() as u64 {
        return if length == 0 {
            Ok(DataFile::Unfinished)
        } else {
            Err(foreign("it is too short".into()))
        };
    }
    file.read_exact_at(&mut first, 0).map_err(fail)?;
    if is_unfinished(&file, length).map_err(fail)? {
        return Ok(DataFile::Unfinished);
    }
    let first = MetaPage::read(&first).map_err(foreign)?;
    if length < 2 * first.page_bytes {
        return Err(damaged(format!("it is cut off after {length} bytes")));
    }
    let mut second = [0; META_BYTES];
    file.read_exact_at(&mut second, first.page_bytes)
        .map_err(fail)?;
    let second = MetaPage::read(&second).map_err(|why| damaged(format!("{why} (second page)")))?;
    if second.page_bytes != first.page_bytes {
        return Err(damaged("its first two pages do not fit together".into()));
    }
    let newest = if second.transaction > first.transaction {
        second
    } else {
        first
    };
    let expected = newest
        .last_page
        .saturating_add(1)
        .saturating_mul(newest.page_bytes);
    if length < expected {
        return Err(damaged(format!("it has {length} bytes of {expected}")));
    }
    Ok(DataFile::Whole {
        used_bytes: expected,
    })
}

/// Whether nothing was ever committed: LMDB's first write, of both meta pages, or what a power
/// failure has left of it. They are synced before anything else is written.
fn is_unfinished(mut file: &File, length: u64) -> io::Result<bool> {
    if length > 2 * PAGE_BYTES_MAX {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    let page_sizes = (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).filter(|bytes| bytes.is_power_of_two());
    for at in [0].into_iter().chain(page_sizes) {
        let Some(page) = bytes.get_mut(at as usize..at as usize + META_BYTES) else {
            break;
        };
        let is_first = |meta: MetaPage| meta.transaction == 0 && [0, meta.page_bytes].contains(&at);
        if MetaPage::read(page).is_ok_and(is_first) {
            page.fill(0);
        }
    }
    Ok(bytes.iter().all(|byte| *byte == 0))
}

/// Whether the file system could take `bytes`, and a little for the trees; true if it does not say.
pub(super) fn has_room(shared: &Shared, bytes: u64) -> bool {
    // SAFETY: all-zero bytes are a valid statvfs, a struct of numbers.
    let mut numbers: libc::statvfs = unsafe { mem::zeroed() };
    // SAFETY: fstatvfs takes a descriptor, which `data_file` keeps open, and fills in the struct.
    let result = unsafe { libc::fstatvfs(shared.data_file.as_raw_fd(), &mut numbers) };
    let available = u128::from(numbers.f_bavail) * u128::from(numbers.f_frsize);
    result != 0 || available > u128::from(bytes) + (1 << 20)
}

/// The data file of `directory`.
pub(super) fn data_file(directory: &Path) -> PathBuf {
    directory.join(DATA_FILE)
}

#[cfg(test)]
mod tests {
    use super::Lock;

    /// Between fork and exec a child of the host has every descriptor.
    #[test]
    fn a_descriptor_that_a_child_has_does_not_hold_the_lock() {
        let directory = tempfile::tempdir().expect("a directory");
        let lock = Lock::take(directory.path()).expect("nobody else is here");
        let _of_the_child = lock.file.try_clone().expect("a descriptor");
        drop(lock);
        drop(Lock::take(directory.path()).expect("it is let go"));
    }
}
