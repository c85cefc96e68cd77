//! What can be wrong with a data directory, each with what was expected and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::app::ReadError;
use crate::types::GenesisHash;

use super::schema::FORMAT_VERSION;

/// Why the block tree could not be opened, or failed later. Display names the path, what was
/// expected, and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no block tree at `path`, and the options do not ask to create one.
    NotFound { path: PathBuf },
    /// The directory holds other files, and no block tree.
    NotEmpty { path: PathBuf, found: String },
    /// The path leads to a file.
    NotADirectory { path: PathBuf },
    /// The operating system refuses the file.
    PermissionDenied { path: PathBuf },
    /// The directory is open already; `pid` is by whom, if that is known.
    Locked { path: PathBuf, pid: Option<u32> },
    /// The data file is somebody else's.
    Foreign { path: PathBuf, why: String },
    /// A block tree in a format that this version does not read.
    FormatVersion { path: PathBuf, found: u64 },
    /// The block tree of another chain.
    GenesisMismatch {
        path: PathBuf,
        expected: GenesisHash,
        found: GenesisHash,
    },
    /// The data file is cut off, or is not what was written.
    Damaged { path: PathBuf, why: String },
    /// What this key has signed is not known: it must not sign.
    VotingRecord { path: PathBuf, why: String },
    /// One record cannot be read.
    Corrupt {
        path: PathBuf,
        record: String,
        why: String,
    },
    /// A write does not fit what is stored: our own invariant is broken.
    Inconsistent { why: String },
    /// The options' map is smaller than what the data file needs.
    MapTooSmall {
        path: PathBuf,
        map_bytes: u64,
        needed_bytes: u64,
    },
    /// The address space has no room for the map.
    MapUnavailable {
        path: PathBuf,
        map_bytes: u64,
        source: io::Error,
    },
    /// The map is used up.
    MapFull { path: PathBuf, map_bytes: u64 },
    /// The disk, the quota or the allowed file size is used up.
    DiskFull { path: PathBuf },
    /// More snapshots are alive than may be ([`SNAPSHOTS_MAX`](super::SNAPSHOTS_MAX)).
    TooManySnapshots { max: u32 },
    /// An earlier write has failed: nothing more is written through this handle.
    Poisoned { why: String },
    /// The operating system failed.
    Io {
        path: PathBuf,
        doing: &'static str,
        source: io::Error,
    },
    /// The database failed in a way that has no remedy of its own.
    Database {
        path: PathBuf,
        doing: &'static str,
        why: String,
    },
}

impl StorageError {
    /// `source` happened while `doing` something to `path`.
    pub(super) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.raw_os_error() {
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => Self::PermissionDenied { path },
            Some(libc::ENOTDIR) => Self::NotADirectory { path },
            Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => Self::DiskFull { path },
            _ => Self::Io {
                path,
                doing,
                source,
            },
        }
    }

    /// `error` happened while `doing` something to the database at `path`.
    pub(super) fn lmdb(
        path: &Path,
        map_bytes: u64,
        doing: &'static str,
        error: lmdb::Error,
    ) -> Self {
        let owned = path.to_owned();
        match error {
            lmdb::Error::MapFull => Self::MapFull {
                path: owned,
                map_bytes,
            },
            lmdb::Error::ReadersFull => Self::TooManySnapshots {
                max: super::SNAPSHOTS_MAX,
            },
            lmdb::Error::Other(code) => Self::io(path, doing, io::Error::from_raw_os_error(code)),
            lmdb::Error::Corrupted | lmdb::Error::PageNotFound | lmdb::Error::Invalid => {
                Self::Damaged {
                    path: owned,
                    why: format!("{error}, while {doing}"),
                }
            }
            _ => Self::Database {
                path: owned,
                doing,
                why: error.to_string(),
            },
        }
    }

    /// `record` cannot be read because of `why`.
    pub(super) fn corrupt(record: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Corrupt {
            path: PathBuf::new(),
            record: record.into(),
            why: why.to_string(),
        }
    }

    /// Names the file in an error about a record, which does not know where it lies.
    pub(super) fn in_file(mut self, file: &Path) -> Self {
        if let Self::Corrupt { path, .. } = &mut self {
            file.clone_into(path);
        }
        self
    }
}

/// What to do about files that cannot be trusted.
const RESYNC: &str = "Do not put an older copy back: a validator would sign twice. Find out what \
     happened to the disk; then start with a new key, or as a listener, in a new directory";

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { path } => write!(
                f,
                "there is no block tree in {}. If this replica is new, ask for it to be created; \
                 if it is not, check the path and that its disk is mounted",
                path.display()
            ),
            Self::NotEmpty { path, found } => write!(
                f,
                "{} holds {found} but no block tree. Name an empty directory, or the one that \
                 this replica used before",
                path.display()
            ),
            Self::NotADirectory { path } => {
                write!(
                    f,
                    "{} is not a directory. The data directory is one",
                    path.display()
                )
            }
            Self::PermissionDenied { path } => write!(
                f,
                "the operating system does not let this process use {}. It must be readable and \
                 writable by the user that runs the replica",
                path.display()
            ),
            Self::Locked { path, pid } => {
                match pid {
                    Some(pid) if *pid == std::process::id() => {
                        write!(f, "{} is open already, in this process", path.display())?;
                    }
                    Some(pid) => write!(f, "{} is in use by process {pid}", path.display())?,
                    None => write!(f, "{} is in use by another process", path.display())?,
                }
                f.write_str(". Stop that replica first, or name another directory")
            }
            Self::Foreign { path, why } => write!(
                f,
                "{} is not a block tree: {why}. Name the directory that this replica used before, \
                 or an empty one",
                path.display()
            ),
            Self::FormatVersion { path, found } => write!(
                f,
                "{} is in format {found}, and this version reads format {FORMAT_VERSION}. Use the \
                 version of the library that wrote it",
                path.display()
            ),
            Self::GenesisMismatch {
                path,
                expected,
                found,
            } => write!(
                f,
                "{} belongs to the chain with genesis {found}, and the genesis given is \
                 {expected}. Compare chain id, validators, first state and chain parameters, or \
                 name another directory",
                path.display()
            ),
            Self::Damaged { path, why } => {
                write!(f, "{} is damaged: {why}. {RESYNC}", path.display())
            }
            Self::VotingRecord { path, why } => write!(
                f,
                "what this replica has signed cannot be told from {}: {why}. It does not start, \
                 because it could vote twice in one view. {RESYNC}",
                path.display()
            ),
            Self::Corrupt { path, record, why } => write!(
                f,
                "the record {record:?} in {} is damaged: {why}. {RESYNC}",
                path.display()
            ),
            Self::Inconsistent { why } => write!(
                f,
                "a write does not fit what is stored: {why}. This is a defect of the library: \
                 restart the replica, and report it"
            ),
            Self::MapTooSmall {
                path,
                map_bytes,
                needed_bytes,
            } => write!(
                f,
                "{} needs {needed_bytes} bytes, and storage.map_bytes is {map_bytes}. Set \
                 storage.map_bytes to several times what the file needs; it costs address space, \
                 not disk",
                path.display()
            ),
            Self::MapUnavailable {
                path,
                map_bytes,
                source,
            } => write!(
                f,
                "{} could not be mapped: no room for {map_bytes} bytes of address space \
                 ({source}). Lift the limit (ulimit -v), or lower storage.map_bytes",
                path.display()
            ),
            Self::MapFull { path, map_bytes } => write!(
                f,
                "{} has used up its map of {map_bytes} bytes. Raise storage.map_bytes and restart \
                 the replica: nothing is lost",
                path.display()
            ),
            Self::DiskFull { path } => write!(
                f,
                "there is no room left for {} (disk, quota or file size limit). Make room and \
                 restart the replica: nothing is lost",
                path.display()
            ),
            Self::TooManySnapshots { max } => {
                write!(f, "{max} snapshots are alive, which is the most. Free some")
            }
            Self::Poisoned { why } => write!(
                f,
                "nothing is written after a failed write; open the block tree again. The failure \
                 was: {why}"
            ),
            Self::Io {
                path,
                doing,
                source,
            } => {
                write!(
                    f,
                    "{doing} failed for {}: {source}. Check the disk, and the room on it",
                    path.display()
                )
            }
            Self::Database { path, doing, why } => {
                write!(
                    f,
                    "{doing} failed in {}: {why}. Restart the replica",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::MapUnavailable { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> ReadError {
        ReadError(error.to_string())
    }
}
