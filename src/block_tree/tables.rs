//! Reading records, in any transaction: the writer's own or a snapshot's.

use std::collections::BTreeSet;

use lmdb::{Cursor, Database, Transaction};

use crate::algorithm::{CommittedHead, EpochRecord, EPOCHS_KEPT};
use crate::evidence::{Evidence, Offence};
use crate::types::{Block, BlockHash, BlockHeight, Data, Epoch, QuorumCertificate};

use super::schema::*;
use super::{Shared, StorageError};

/// The handles of the tables; see the schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    pub main: Database,
    pub blocks: Database,
    pub hashes: Database,
    pub state: Database,
    pub sets: Database,
    /// None where nobody may write, and the file is older than this table.
    pub evidence: Option<Database>,
}

/// A header's record where it lies in the map.
#[derive(Clone, Copy)]
pub(super) struct Found<'txn> {
    pub key: BlockKey,
    pub bytes: &'txn [u8],
}

impl<'txn> Found<'txn> {
    fn new(key: BlockKey, bytes: &'txn [u8]) -> Result<Self, StorageError> {
        if bytes.len() < HeaderRecord::HASH_AT.end {
            let name = format!("header at height {}", key.height);
            return Err(StorageError::corrupt(name, "it is cut off"));
        }
        Ok(Found { key, bytes })
    }

    pub fn is_committed(&self) -> bool {
        self.bytes[HeaderRecord::COMMITTED_AT] != 0
    }

    pub fn hash(&self) -> BlockHash {
        BlockHash(
            self.bytes[HeaderRecord::HASH_AT]
                .try_into()
                .expect("32 bytes"),
        )
    }

    pub fn record(&self) -> Result<HeaderRecord, StorageError> {
        let name = format_args!("header at height {}", self.key.height);
        open_record(name, self.bytes)
    }
}

type Read<T> = Result<T, StorageError>;

/// Reads of one transaction.
pub(super) struct Reads<'txn, T: Transaction> {
    txn: &'txn T,
    shared: &'txn Shared,
}

impl<T: Transaction> Clone for Reads<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Transaction> Copy for Reads<'_, T> {}

impl<'txn, T: Transaction> Reads<'txn, T> {
    pub fn new(txn: &'txn T, shared: &'txn Shared) -> Self {
        Reads { txn, shared }
    }

    pub fn tables(&self) -> &'txn Tables {
        &self.shared.tables
    }

    fn fail(&self, error: lmdb::Error) -> StorageError {
        self.shared.fail("reading", error)
    }

    pub fn get(&self, table: Database, key: &[u8]) -> Read<Option<&'txn [u8]>> {
        match self.txn.get(table, &key) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(lmdb::Error::NotFound) => Ok(None),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// A sealed record of the main table that must be there.
    pub fn sealed<R>(&self, key: &str) -> Read<R>
    where
        R: serde::Serialize + serde::de::DeserializeOwned,
    {
        let bytes = self.get(self.shared.tables.main, key.as_bytes())?;
        unseal(
            key,
            bytes.ok_or_else(|| StorageError::corrupt(key, "it is missing"))?,
        )
    }

    pub fn head(&self) -> Read<CommittedHead> {
        Ok(self.sealed::<Head>(COMMITTED)?.into())
    }

    pub fn highest_qc(&self) -> Read<QuorumCertificate> {
        Ok(self.sealed::<Certified<_>>(HIGHEST_QC)?.certificate)
    }

    /// The headers stored at `height`, in the order they came.
    pub fn headers_at(&self, height: BlockHeight) -> Read<Vec<Found<'txn>>> {
        let mut found = Vec::new();
        let mut cursor = self
            .txn
            .open_ro_cursor(self.shared.tables.blocks)
            .map_err(|error| self.fail(error))?;
        for item in cursor.iter_from(BlockKey::header(height, 0).bytes()) {
            let (key, bytes) = item.map_err(|error| self.fail(error))?;
            let key = BlockKey::read(key)?;
            if key.height != height || key.kind != Kind::Header {
                break;
            }
            found.push(Found::new(key, bytes)?);
        }
        Ok(found)
    }

    /// All headers stored above `height`, lowest first.
    pub fn headers_above(&self, height: BlockHeight) -> Read<Vec<Found<'txn>>> {
        let mut found = Vec::new();
        let mut cursor = self
            .txn
            .open_ro_cursor(self.shared.tables.blocks)
            .map_err(|error| self.fail(error))?;
        for item in cursor.iter_from(BlockKey::header(height.next(), 0).bytes()) {
            let (key, bytes) = item.map_err(|error| self.fail(error))?;
            let key = BlockKey::read(key)?;
            if key.kind == Kind::Header {
                found.push(Found::new(key, bytes)?);
            }
        }
        Ok(found)
    }

    /// The block `hash` at `height`.
    pub fn find(&self, height: BlockHeight, hash: &BlockHash) -> Read<Option<Found<'txn>>> {
        Ok(self
            .headers_at(height)?
            .into_iter()
            .find(|found| found.hash() == *hash))
    }

    /// The committed block at `height`.
    pub fn committed_at(&self, height: BlockHeight) -> Read<Option<Found<'txn>>> {
        Ok(self
            .headers_at(height)?
            .into_iter()
            .find(Found::is_committed))
    }

    /// The block `hash` at any height.
    pub fn locate(&self, hash: &BlockHash) -> Read<Option<Found<'txn>>> {
        let head = self.head()?;
        let indexed = super::hashes::indexed_to(head.height);
        let recent = self.headers_above(indexed)?;
        if let Some(found) = recent.into_iter().rev().find(|found| found.hash() == *hash) {
            return Ok(Some(found));
        }
        super::hashes::locate(self, hash, indexed)
    }

    pub fn data(&self, key: BlockKey) -> Read<&'txn [u8]> {
        Ok(self.record(key.of(Kind::Data))?.unwrap_or_default())
    }

    /// A record of the table `blocks`.
    pub fn record(&self, key: BlockKey) -> Read<Option<&'txn [u8]>> {
        self.get(self.shared.tables.blocks, &key.bytes())
    }

    pub fn block(&self, found: Found<'txn>) -> Read<Block> {
        let header = found.record()?.header;
        Ok(Block {
            header,
            data: Data::new(self.data(found.key)?),
        })
    }

    /// Of which evidence is kept.
    pub fn offences(&self) -> Read<BTreeSet<Offence>> {
        let Some(evidence) = self.shared.tables.evidence else {
            return Ok(BTreeSet::new());
        };
        let cursor = self.txn.open_ro_cursor(evidence);
        let mut cursor = cursor.map_err(|error| self.fail(error))?;
        let offence = |item: Result<(&[u8], &[u8]), lmdb::Error>| {
            let (key, _) = item.map_err(|error| self.fail(error))?;
            read_offence(key)
        };
        cursor.iter_start().map(offence).collect()
    }

    /// The piece of evidence with this number, in the order of epochs.
    pub fn evidence_at(&self, index: usize) -> Read<Option<Evidence>> {
        let Some(evidence) = self.shared.tables.evidence else {
            return Ok(None);
        };
        let cursor = self.txn.open_ro_cursor(evidence);
        let mut cursor = cursor.map_err(|error| self.fail(error))?;
        let Some(item) = cursor.iter_start().nth(index) else {
            return Ok(None);
        };
        let (_, bytes) = item.map_err(|error| self.fail(error))?;
        open_record(format_args!("evidence {index}"), bytes).map(Some)
    }

    /// The last epochs, oldest first, up to [`EPOCHS_KEPT`].
    pub fn last_epochs(&self) -> Read<Vec<EpochRecord>> {
        let last = self.last_epoch()?;
        let first = (last.0 + 1).saturating_sub(EPOCHS_KEPT as u64);
        (first..=last.0)
            .map(|epoch| self.known_epoch(Epoch(epoch)))
            .collect()
    }

    /// The record of the epoch that has begun last.
    pub fn last_record(&self) -> Read<EpochRecord> {
        self.known_epoch(self.last_epoch()?)
    }

    /// The record of `epoch`, if that has begun.
    pub fn epoch_record(&self, epoch: Epoch) -> Read<Option<EpochRecord>> {
        let key = epoch.0.to_be_bytes();
        let bytes = self.get(self.shared.tables.sets, &key)?;
        bytes
            .map(|bytes| unseal(&epoch_name(epoch), bytes))
            .transpose()
    }

    fn known_epoch(&self, epoch: Epoch) -> Read<EpochRecord> {
        let missing = || StorageError::corrupt(epoch_name(epoch), "it is missing");
        self.epoch_record(epoch)?.ok_or_else(missing)
    }

    /// Epochs are numbered from 0 without a gap, so their count says which is the last.
    pub fn last_epoch(&self) -> Read<Epoch> {
        let stat = self.txn.stat(self.shared.tables.sets);
        let count = stat.map_err(|error| self.fail(error))?.entries() as u64;
        Ok(Epoch(count.saturating_sub(1)))
    }
}

/// What the record of an epoch is sealed with, and called in errors.
pub(super) fn epoch_name(epoch: Epoch) -> String {
    format!("epoch {epoch}")
}
