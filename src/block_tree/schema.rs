//! What is stored, under which keys and in which bytes.
//!
//! ```text
//!  table     key                            value
//!  --------  -----------------------------  ------------------------------------------------
//!  (main)    "meta"                         sealed Meta: format, genesis hash
//!            "voting.0", "voting.1"         sealed VotingCopy: counter, VotingRecord (twice)
//!            "highest_qc"                   sealed Certified<QuorumCertificate>
//!            "highest_tc"                   sealed Certified<TimeoutCertificate>; may be absent
//!            "committed"                    sealed Head: the end of the committed chain
//!  blocks    height, 0 Header, slot         HeaderRecord: committed?, hash, header
//!            height, 1 Data, slot           the block's data, as it is; absent if empty
//!            height, 2 Updates, slot        pending state updates (see updates.rs); absent if
//!                                           there are none, and once committed
//!  hashes    height (of a run's first)      a run: sorted (8 bytes of hash, height - first)
//!  state     the app's key                  the app's value, as it is
//!  sets      epoch                          sealed EpochRecord: validator set, Commit QC
//!  evidence  epoch, validator, kind         Evidence, as it travels: its signatures are its seal
//! ```
//!
//! Numbers in keys are big-endian, so that LMDB's order of bytes is the order of numbers. Records
//! are `types::codec`'s; a *sealed* one stands behind the SHA-256 of its key (of an epoch: its
//! name) and its bytes.
//!
//! A synced transaction costs two flushes and every page it touches, so the layout keeps the pages
//! of a step few and close together:
//! - The small records that each step changes share the main table: one page, for small sets.
//! - Blocks are keyed by height, and within a height by *slot* (0, 1, ... in order of arrival):
//!   what a step inserts and what it commits are neighbours, at the end of the table.
//! - Being committed is one byte of the header's record, changed in place.
//! - There is no table from hash to height that each commit would have to enter at a random place.
//!   Committed hashes are indexed in runs (see hashes.rs), the few others are found by scanning.

use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::algorithm::{CommittedHead, VotingRecord};
use crate::evidence::{EvidenceKind, Offence};
use crate::types::crypto::sha256;
use crate::types::{
    codec, BlockHash, BlockHeader, BlockHeight, Epoch, GenesisHash, Rank, ValidatorAddress,
    ViewNumber,
};

use super::StorageError;

/// Changes whenever an older version could not read what is written.
pub(super) const FORMAT_VERSION: u64 = 1;

pub(super) const META: &str = "meta";
pub(super) const VOTING: [&str; 2] = ["voting.0", "voting.1"];
pub(super) const HIGHEST_QC: &str = "highest_qc";
pub(super) const HIGHEST_TC: &str = "highest_tc";
pub(super) const COMMITTED: &str = "committed";

pub(super) const BLOCKS: &str = "blocks";
pub(super) const HASHES: &str = "hashes";
pub(super) const STATE: &str = "state";
pub(super) const SETS: &str = "sets";
pub(super) const EVIDENCE: &str = "evidence";
/// The named tables.
pub(super) const TABLES: [&str; 5] = [BLOCKS, HASHES, STATE, SETS, EVIDENCE];

/// Whose tree it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub format: u64,
    pub genesis: GenesisHash,
}

/// One copy of the voting record. The counter goes up by one with each change of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VotingCopy {
    pub counter: u64,
    pub record: VotingRecord,
}

/// A certificate, and the voting record's counter when it was written: a voting record with a
/// lower one is older than the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Certified<T> {
    pub counter: u64,
    pub certificate: T,
}

/// The end of the committed chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub hash: BlockHash,
    pub height: BlockHeight,
    pub epoch: Epoch,
    pub view: ViewNumber,
}

impl From<CommittedHead> for Head {
    fn from(head: CommittedHead) -> Head {
        let CommittedHead { hash, height, rank } = head;
        Head {
            hash,
            height,
            epoch: rank.epoch,
            view: rank.view,
        }
    }
}

impl From<Head> for CommittedHead {
    fn from(head: Head) -> CommittedHead {
        let rank = Rank {
            epoch: head.epoch,
            view: head.view,
        };
        CommittedHead {
            hash: head.hash,
            height: head.height,
            rank,
        }
    }
}

/// A block without its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeaderRecord {
    pub committed: bool,
    pub hash: BlockHash,
    pub header: BlockHeader,
}

impl HeaderRecord {
    /// Where `committed` stands in the record's bytes.
    pub const COMMITTED_AT: usize = 0;
    /// Where `hash` stands in the record's bytes.
    pub const HASH_AT: std::ops::Range<usize> = 1..33;
}

/// What is kept of a block under one height and slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Header = 0,
    Data = 1,
    Updates = 2,
}

/// Where a block stands among those of its height.
pub(super) type Slot = u16;

/// A key of the table `blocks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlockKey {
    pub height: BlockHeight,
    pub kind: Kind,
    pub slot: Slot,
}

impl BlockKey {
    pub const fn header(height: BlockHeight, slot: Slot) -> BlockKey {
        BlockKey {
            height,
            kind: Kind::Header,
            slot,
        }
    }

    /// The same block's record of another kind.
    pub const fn of(self, kind: Kind) -> BlockKey {
        BlockKey { kind, ..self }
    }

    pub fn bytes(self) -> [u8; 11] {
        let mut bytes = [0; 11];
        bytes[..8].copy_from_slice(&self.height.0.to_be_bytes());
        bytes[8] = self.kind as u8;
        bytes[9..].copy_from_slice(&self.slot.to_be_bytes());
        bytes
    }

    pub fn read(bytes: &[u8]) -> Result<BlockKey, StorageError> {
        let wrong = || StorageError::corrupt("key of a block", format!("{bytes:02x?}"));
        let bytes: &[u8; 11] = bytes.try_into().map_err(|_| wrong())?;
        let (height, rest) = bytes.split_first_chunk::<8>().expect("11 bytes");
        let kind = match rest[0] {
            0 => Kind::Header,
            1 => Kind::Data,
            2 => Kind::Updates,
            _ => return Err(wrong()),
        };
        let height = BlockHeight(u64::from_be_bytes(*height));
        Ok(BlockKey {
            height,
            kind,
            slot: Slot::from_be_bytes([rest[1], rest[2]]),
        })
    }
}

/// Bytes of a key of the table `evidence`.
const OFFENCE_BYTES: usize = 8 + 32 + 1;

/// The key under which evidence of `offence` is kept.
pub(super) fn offence_key(offence: &Offence) -> [u8; OFFENCE_BYTES] {
    let mut bytes = [0; OFFENCE_BYTES];
    bytes[..8].copy_from_slice(&offence.epoch.0.to_be_bytes());
    bytes[8..40].copy_from_slice(offence.validator.as_bytes());
    bytes[40] = offence.kind.number();
    bytes
}

/// What [`offence_key`] has made.
pub(super) fn read_offence(bytes: &[u8]) -> Result<Offence, StorageError> {
    let wrong = || StorageError::corrupt("key of evidence", format!("{bytes:02x?}"));
    let (epoch, rest) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (validator, rest) = rest.split_first_chunk::<32>().ok_or_else(wrong)?;
    let kind = match rest {
        [number] => EvidenceKind::of_number(*number).ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    Ok(Offence {
        epoch: Epoch(u64::from_be_bytes(*epoch)),
        validator: ValidatorAddress(*validator),
        kind,
    })
}

const SEAL_BYTES: usize = 32;

/// The record's bytes behind a checksum that binds them to their key.
pub(super) fn seal<T: Serialize>(key: &str, record: &T) -> Vec<u8> {
    let bytes = codec::encode(record);
    [checksum(key, &bytes).as_slice(), &bytes].concat()
}

/// What [`seal`] has sealed under `key`.
pub(super) fn unseal<T: Serialize + DeserializeOwned>(
    key: &str,
    bytes: &[u8],
) -> Result<T, StorageError> {
    let Some((sum, record)) = bytes.split_first_chunk::<SEAL_BYTES>() else {
        return Err(StorageError::corrupt(key, "it is cut off"));
    };
    if *sum != checksum(key, record) {
        return Err(StorageError::corrupt(key, "its checksum does not match"));
    }
    open_record(key, record)
}

fn checksum(key: &str, bytes: &[u8]) -> [u8; SEAL_BYTES] {
    sha256(&[key.as_bytes(), &[0], bytes])
}

/// Decodes a record; `name` says which in the error, and is written for that only.
pub(super) fn open_record<T: Serialize + DeserializeOwned>(
    name: impl Display,
    bytes: &[u8],
) -> Result<T, StorageError> {
    codec::decode(bytes, bytes.len()).map_err(|why| StorageError::corrupt(name.to_string(), why))
}
