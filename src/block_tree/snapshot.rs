//! Reading: the chain at one moment, and the app's state as of one block of it.
//!
//! A snapshot is one read transaction, and for each pending block between the committed state and
//! the block asked for one layer of updates, the newest first. A layer that is on disk is searched
//! where it lies; only the updates of blocks that are in no transaction yet are copied, once.

use std::mem;
use std::sync::Arc;

use lmdb::{RoTransaction, Transaction};

use crate::algorithm::EpochRecord;
use crate::app::{BlockTreeSnapshot, ReadError};
use crate::evidence::Evidence;
use crate::proof::{CommitProof, EpochProof};
use crate::types::{
    Block, BlockHash, BlockHeight, Epoch, QuorumCertificate, StateUpdates, ValidatorSet,
};

use super::proofs;
use super::schema::{BlockKey, Kind};
use super::tables::{Found, Reads};
use super::updates::{self, Updates};
use super::{BlockTreeReader, Shared, StorageError};

/// A valid block that is in no transaction yet, for [`BlockTreeReader::snapshot_at`].
#[derive(Clone, Copy, Debug)]
pub struct Unwritten<'a> {
    pub hash: BlockHash,
    pub parent: BlockHash,
    pub block: &'a Block,
    pub state_updates: &'a StateUpdates,
}

impl BlockTreeReader {
    /// The committed state, and every block on disk.
    ///
    /// # Errors
    /// [`StorageError::TooManySnapshots`], or the database's.
    pub fn snapshot(&self) -> Result<Snapshot, StorageError> {
        Ok(Snapshot {
            read: OwnedRead::begin(&self.shared)?,
            layers: Vec::new(),
            unwritten: Vec::new(),
            begun: None,
        })
    }

    /// The state as of `block`: the committed state under the pending updates between it and
    /// `block`, on disk or in `unwritten`. `None` if that state is not to be had (unknown block, or
    /// the chain has committed past it or beside it).
    ///
    /// # Errors
    /// [`StorageError::TooManySnapshots`], or the database's.
    pub fn snapshot_at(
        &self,
        block: &BlockHash,
        unwritten: &[Unwritten<'_>],
    ) -> Result<Option<Snapshot>, StorageError> {
        let mut snapshot = self.snapshot()?;
        let layers = layers(&snapshot.read.reads(), block, unwritten)
            .map_err(|error| error.in_file(&self.shared.path))?;
        Ok(layers.map(|layers| {
            snapshot.layers = layers;
            snapshot.unwritten = unwritten
                .iter()
                .map(|unwritten| (unwritten.hash, unwritten.block.clone()))
                .collect();
            snapshot
        }))
    }
}

/// The updates between the committed state and `block`, newest first.
fn layers(
    reads: &Reads<'_, RoTransaction<'static>>,
    block: &BlockHash,
    unwritten: &[Unwritten<'_>],
) -> Result<Option<Vec<Layer>>, StorageError> {
    let head = reads.head()?;
    let mut layers = Vec::new();
    let mut next = *block;
    let mut height = None; // of `next`, as soon as it is known
    while next != head.hash {
        let (parent, at) = match unwritten.iter().find(|unwritten| unwritten.hash == next) {
            Some(unwritten) => {
                if !unwritten.state_updates.is_empty() {
                    layers.push(Layer::copy(unwritten.state_updates));
                }
                (unwritten.parent, unwritten.block.header.height)
            }
            None => {
                let Some(found) = pending(reads, head.height, height, &next)? else {
                    return Ok(None);
                };
                let key = found.key.of(Kind::Updates);
                if reads.record(key)?.is_some() {
                    layers.push(Layer::Stored(key));
                }
                (found.record()?.header.parent(), found.key.height)
            }
        };
        // Heights go down by one, so the walk ends, whatever it is given.
        if at <= head.height || height.is_some_and(|expected| expected != at) {
            return Ok(None);
        }
        (next, height) = (parent, Some(at.previous()));
    }
    let meets = height.is_none_or(|height| height == head.height);
    Ok(meets.then_some(layers))
}

/// The pending block `hash`, at `height` if that is known.
fn pending<'txn, T: Transaction>(
    reads: &Reads<'txn, T>,
    committed: BlockHeight,
    height: Option<BlockHeight>,
    hash: &BlockHash,
) -> Result<Option<Found<'txn>>, StorageError> {
    match height {
        Some(height) if height <= committed => Ok(None),
        Some(height) => reads.find(height, hash),
        None => {
            let pending = reads.headers_above(committed)?;
            Ok(pending.into_iter().find(|found| found.hash() == *hash))
        }
    }
}

/// The pending updates of one block.
#[derive(Debug)]
enum Layer {
    /// In the table `blocks`, under this key.
    Stored(BlockKey),
    /// In the bytes that will be stored.
    Copied(Vec<u8>),
}

impl Layer {
    fn copy(state_updates: &StateUpdates) -> Layer {
        let mut bytes = Vec::new();
        updates::encode(state_updates, &mut bytes);
        Layer::Copied(bytes)
    }
}

/// An owned read transaction and an overlay. Send: it may be freed on another thread. It pins pages
/// of the database: free it soon.
///
/// While it lives, pages that later steps replace cannot be used again, and the file grows instead.
#[derive(Debug)]
pub struct Snapshot {
    read: OwnedRead,
    /// Newest first.
    layers: Vec<Layer>,
    /// Blocks that are in no transaction yet; their data is shared.
    unwritten: Vec<(BlockHash, Block)>,
    /// An epoch that is in no transaction yet.
    begun: Option<EpochRecord>,
}

impl BlockTreeSnapshot for Snapshot {
    fn state(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.state_bytes(key)?.map(<[u8]>::to_vec))
    }

    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, ReadError> {
        if let Some((_, block)) = self
            .unwritten
            .iter()
            .find(|(unwritten, _)| unwritten == hash)
        {
            return Ok(Some(block.clone()));
        }
        self.read(|reads| {
            let found = reads.locate(hash)?;
            found.map(|found| reads.block(found)).transpose()
        })
    }

    fn hash_at(&self, height: BlockHeight) -> Result<Option<BlockHash>, ReadError> {
        if height == BlockHeight(0) {
            return Ok(Some(self.read.shared.genesis.as_block_hash()));
        }
        self.read(|reads| Ok(reads.committed_at(height)?.map(|found| found.hash())))
    }

    fn committed_height(&self) -> Result<BlockHeight, ReadError> {
        self.read(|reads| Ok(reads.head()?.height))
    }

    fn highest_qc(&self) -> Result<QuorumCertificate, ReadError> {
        self.read(|reads| reads.highest_qc())
    }

    fn epoch(&self) -> Result<Epoch, ReadError> {
        match &self.begun {
            Some(begun) => Ok(begun.epoch),
            None => self.read(|reads| reads.last_epoch()),
        }
    }

    fn validator_set(&self) -> Result<ValidatorSet, ReadError> {
        match &self.begun {
            Some(begun) => Ok(begun.validator_set.clone()),
            None => self.read(|reads| Ok(reads.last_record()?.validator_set)),
        }
    }

    fn validator_set_of(&self, epoch: Epoch) -> Result<Option<ValidatorSet>, ReadError> {
        Ok(self.epoch_record(epoch)?.map(|record| record.validator_set))
    }

    fn commit_qc_of(&self, epoch: Epoch) -> Result<Option<QuorumCertificate>, ReadError> {
        Ok(self
            .epoch_record(epoch)?
            .and_then(|record| record.commit_qc))
    }

    fn commit_proof(&self, hash: &BlockHash) -> Result<Option<CommitProof>, ReadError> {
        self.read(|reads| proofs::commit_proof(reads, hash))
    }

    fn epoch_proof(&self, epoch: Epoch) -> Result<Option<EpochProof>, ReadError> {
        self.read(|reads| proofs::epoch_proof(reads, epoch))
    }
}

impl Snapshot {
    /// The snapshot is of the epoch `begun`, which is in no transaction yet.
    #[must_use]
    pub fn in_epoch(mut self, begun: EpochRecord) -> Snapshot {
        self.begun = Some(begun);
        self
    }

    /// The validators of `epoch`, and the Commit QC that began it. `None` if it has not begun.
    ///
    /// # Errors
    /// [`ReadError`], the database's or for a damaged record.
    pub fn epoch_record(&self, epoch: Epoch) -> Result<Option<EpochRecord>, ReadError> {
        match &self.begun {
            Some(begun) if begun.epoch == epoch => Ok(Some(begun.clone())),
            _ => self.read(|reads| reads.epoch_record(epoch)),
        }
    }

    /// The value of `key`, where it lies: for callers that need not keep it.
    ///
    /// # Errors
    /// [`ReadError`], the database's or for a damaged record.
    pub fn state_bytes(&self, key: &[u8]) -> Result<Option<&[u8]>, ReadError> {
        self.read(|reads| {
            for layer in &self.layers {
                let bytes = match layer {
                    Layer::Copied(bytes) => bytes,
                    Layer::Stored(at) => reads.record(*at)?.unwrap_or_default(),
                };
                if let Some(value) = Updates::read(bytes)?.find(key)? {
                    return Ok(value);
                }
            }
            match key.is_empty() {
                true => Ok(None), // LMDB knows no empty key
                false => reads.get(reads.tables().state, key),
            }
        })
    }

    /// The block at `height`, which is committed.
    ///
    /// # Errors
    /// The database's; [`StorageError::Corrupt`] if it is missing or damaged.
    pub fn committed(&self, height: BlockHeight) -> Result<(BlockHash, Block), StorageError> {
        let read = |reads: Reads<'_, RoTransaction<'static>>| {
            let found = reads.committed_at(height)?.ok_or_else(|| missing(height))?;
            Ok((found.hash(), reads.block(found)?))
        };
        read(self.read.reads()).map_err(|error: StorageError| self.in_file(error))
    }

    /// The piece of evidence with this number, from 0 on, in the order of epochs. It is no part of
    /// the agreed state: every replica keeps what it has seen itself.
    ///
    /// # Errors
    /// [`ReadError`], the database's or for a damaged record.
    pub fn evidence_at(&self, index: usize) -> Result<Option<Evidence>, ReadError> {
        self.read(|reads| reads.evidence_at(index))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.read.shared
    }

    pub(super) fn read<'a, T>(
        &'a self,
        read: impl FnOnce(Reads<'a, RoTransaction<'static>>) -> Result<T, StorageError>,
    ) -> Result<T, ReadError> {
        read(self.read.reads()).map_err(|error| self.in_file(error).into())
    }

    fn in_file(&self, error: StorageError) -> StorageError {
        error.in_file(&self.read.shared.path)
    }
}

/// For the sync server.
impl Snapshot {
    /// What follows `after` (a block's hash, or the genesis hash) on the branch to `wanted` if that
    /// block is stored, else to the block of the highest QC that is stored: blocks lowest first, at
    /// most `limit` and about `bytes_max` encoded bytes (at least one block if there is any), and
    /// the QCs that certify the last. `None` if `after` is neither on the committed chain nor on
    /// that branch.
    ///
    /// The QCs are empty if the last block is `wanted` and nothing stored certifies it. If nothing
    /// follows, there are no blocks, and the highest QC.
    ///
    /// # Errors
    /// The database's, or a damaged record.
    #[allow(clippy::type_complexity)]
    pub fn blocks_after(
        &self,
        after: &BlockHash,
        wanted: Option<&BlockHash>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Option<(Vec<Block>, Vec<QuorumCertificate>)>, ReadError> {
        let genesis = self.read.shared.genesis.as_block_hash();
        self.read(|reads| {
            Branch::new(reads, genesis)?.blocks_after(after, wanted, limit, bytes_max)
        })
    }
}

/// A walk along the committed chain and then along pending blocks.
struct Branch<'txn> {
    reads: Reads<'txn, RoTransaction<'static>>,
    genesis: BlockHash,
    committed: BlockHeight,
    highest_qc: QuorumCertificate,
}

impl<'txn> Branch<'txn> {
    fn new(
        reads: Reads<'txn, RoTransaction<'static>>,
        genesis: BlockHash,
    ) -> Result<Self, StorageError> {
        let committed = reads.head()?.height;
        Ok(Branch {
            reads,
            genesis,
            committed,
            highest_qc: reads.highest_qc()?,
        })
    }

    #[allow(clippy::type_complexity)]
    fn blocks_after(
        self,
        after: &BlockHash,
        wanted: Option<&BlockHash>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Option<(Vec<Block>, Vec<QuorumCertificate>)>, StorageError> {
        let pending = self.pending_towards(wanted)?;
        let Some(after) = self.height_on_branch(after, &pending)? else {
            return Ok(None);
        };
        let top = BlockHeight(self.committed.0 + pending.len() as u64);
        let mut blocks: Vec<Block> = Vec::new();
        let mut bytes = 0;
        let mut last = None;
        let mut height = after;
        while height < top && blocks.len() < limit {
            height = height.next();
            let found = self.at(height, &pending)?;
            let size = found.bytes.len() + self.reads.data(found.key)?.len();
            if !blocks.is_empty() && bytes + size > bytes_max {
                height = height.previous();
                break;
            }
            bytes += size;
            blocks.push(self.reads.block(found)?);
            last = Some(found);
        }
        let tail = match last {
            None => Some(self.highest_qc),
            Some(last) => {
                let next = if height < top {
                    Some(self.at(height.next(), &pending)?)
                } else {
                    None
                };
                self.certificate_of(last, next)?
            }
        };
        Ok(Some((blocks, tail.into_iter().collect())))
    }

    /// Where `hash` stands on the committed chain, or on the pending branch above it: whoever has
    /// committed further than this replica asks after a block that is still pending here.
    fn height_on_branch(
        &self,
        hash: &BlockHash,
        pending: &[Found<'_>],
    ) -> Result<Option<BlockHeight>, StorageError> {
        if *hash == self.genesis {
            return Ok(Some(BlockHeight(0)));
        }
        let is_on_branch = |found: &Found<'_>| {
            found.is_committed() || pending.iter().any(|block| block.hash() == *hash)
        };
        let found = self.reads.locate(hash)?.filter(is_on_branch);
        Ok(found.map(|found| found.key.height))
    }

    /// The pending blocks up to the one to lead to, lowest first.
    fn pending_towards(
        &self,
        wanted: Option<&BlockHash>,
    ) -> Result<Vec<Found<'txn>>, StorageError> {
        let pending = self.reads.headers_above(self.committed)?;
        let find = |hash: &BlockHash| pending.iter().rev().find(|found| found.hash() == *hash);
        let mut target = wanted
            .and_then(find)
            .or_else(|| find(&self.highest_qc.block_hash));
        if target.is_none() {
            target = self.best_certified(&pending)?.and_then(|hash| find(&hash));
        }
        let mut branch = Vec::new();
        while let Some(found) = target {
            branch.push(*found);
            let parent = found.record()?.header.parent();
            let below = found.key.height.previous();
            target = pending
                .iter()
                .find(|at| at.key.height == below && at.hash() == parent);
        }
        branch.reverse();
        Ok(branch)
    }

    /// The block that the best certificate among `pending` certifies.
    fn best_certified(&self, pending: &[Found<'txn>]) -> Result<Option<BlockHash>, StorageError> {
        let mut best = None;
        for found in pending {
            let justify = found.record()?.header.justify;
            let rank = Some((justify.rank(), justify.block_hash));
            if rank > best {
                best = rank;
            }
        }
        Ok(best.map(|(_, hash)| hash))
    }

    fn at(
        &self,
        height: BlockHeight,
        pending: &[Found<'txn>],
    ) -> Result<Found<'txn>, StorageError> {
        if height > self.committed {
            return Ok(pending[(height.0 - self.committed.0 - 1) as usize]);
        }
        let found = self.reads.committed_at(height)?;
        found.ok_or_else(|| missing(height))
    }

    /// A certificate of `block`; `next` follows it on the branch.
    fn certificate_of(
        &self,
        block: Found<'txn>,
        next: Option<Found<'txn>>,
    ) -> Result<Option<QuorumCertificate>, StorageError> {
        let hash = &block.hash();
        let header = block.record()?.header;
        if block.is_committed() && header.validator_set_updates.is_some() {
            let begun = self.reads.epoch_record(header.epoch.next())?;
            return Ok(begun.and_then(|begun| begun.commit_qc));
        }
        if self.highest_qc.block_hash == *hash {
            return Ok(Some(self.highest_qc.clone()));
        }
        let children = match next {
            Some(next) => vec![next],
            None => self.reads.headers_at(header.height.next())?,
        };
        for child in children {
            let justify = child.record()?.header.justify;
            if justify.block_hash == *hash {
                return Ok(Some(justify));
            }
        }
        Ok(None)
    }
}

fn missing(height: BlockHeight) -> StorageError {
    StorageError::corrupt(
        format!("committed block at height {height}"),
        "it is missing",
    )
}

/// A read transaction that keeps its environment alive.
struct OwnedRead {
    // Fields are dropped in this order: the transaction ends before its environment may.
    txn: RoTransaction<'static>,
    shared: Arc<Shared>,
}

// SAFETY: lmdb.h, MDB_NOTLS: "a read-only transaction may be used by different threads, as long as
// it is used by one at a time". `open.rs` opens the environment with NO_TLS, and OwnedRead is not
// Sync.
unsafe impl Send for OwnedRead {}

impl OwnedRead {
    fn begin(shared: &Arc<Shared>) -> Result<OwnedRead, StorageError> {
        let txn = shared
            .env
            .begin_ro_txn()
            .map_err(|error| shared.fail("reading", error))?;
        // SAFETY: the lifetime of an RoTransaction stands for that of its environment, which the
        // Arc beside it keeps alive and in place; the transaction is dropped first, and is never
        // moved out.
        let txn: RoTransaction<'static> = unsafe { mem::transmute::<RoTransaction<'_>, _>(txn) };
        Ok(OwnedRead {
            txn,
            shared: Arc::clone(shared),
        })
    }

    fn reads(&self) -> Reads<'_, RoTransaction<'static>> {
        Reads::new(&self.txn, &self.shared)
    }
}

impl std::fmt::Debug for OwnedRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shared.fmt(f)
    }
}
