//! Writing: one step, one transaction, on disk when `persist` returns.
//!
//! Small records that a step changes several times (group commit) are written once, at its end.
//! What does not fit what is stored is an error and not a panic, so that the transaction is
//! aborted and the replica says why it stops.

use lmdb::{RwTransaction, Transaction, WriteFlags};

use crate::algorithm::{CommittedHead, EpochRecord, Persist, Write};
use crate::evidence::Evidence;
use crate::types::{
    check_state_updates, codec, Block, BlockHash, BlockHeight, Phase, QuorumCertificate,
    StateUpdates, TimeoutCertificate, ValidatorSetUpdates,
};

use super::schema::*;
use super::tables::{epoch_name, Reads};
use super::updates::{self, Updates};
use super::{directory, hashes, BlockTree, Durability, OnDisk, Shared, StorageError};

impl Persist for BlockTree {
    type Error = StorageError;

    fn persist(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        if let Some(why) = &self.poisoned {
            return Err(StorageError::Poisoned { why: why.clone() });
        }
        if writes.is_empty() {
            return Ok(());
        }
        self.write(writes).map_err(|error| {
            let error = error.in_file(&self.shared.path);
            self.poisoned = Some(error.to_string());
            error
        })
    }
}

impl BlockTree {
    fn write(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        let shared = &*self.shared;
        let txn = shared
            .env
            .begin_rw_txn()
            .map_err(|error| shared.fail("writing", error))?;
        let mut step = Step {
            shared,
            txn,
            on_disk: &mut self.on_disk,
            buffer: &mut self.buffer,
            changed: Changed::default(),
            growth: Growth::default(),
        };
        for write in writes {
            step.apply(write)?;
        }
        step.finish()?;
        let Step { txn, growth, .. } = step;
        growth.extend_file(shared, &mut self.file_bytes)?;
        txn.commit().map_err(|error| match error {
            // LMDB gives this for a write that was cut short, which is how disks fill up.
            lmdb::Error::Other(libc::EIO) if !directory::has_room(shared, growth.bytes) => {
                shared.fail("committing", lmdb::Error::Other(libc::ENOSPC))
            }
            error => shared.fail("committing", error),
        })
    }
}

/// A transaction that is being made.
struct Step<'a> {
    shared: &'a Shared,
    txn: RwTransaction<'a>,
    on_disk: &'a mut OnDisk,
    buffer: &'a mut Vec<u8>,
    changed: Changed<'a>,
    growth: Growth,
}

/// What is still to be written, or to be checked, at the end.
#[derive(Default)]
struct Changed<'a> {
    voting_record: bool,
    head: bool,
    highest_qc: Option<&'a QuorumCertificate>,
    highest_tc: Option<&'a TimeoutCertificate>,
    committed: Vec<BlockHeight>,
    dropped: Vec<(BlockHeight, BlockHash)>,
    /// What the head, just committed, changes in the validator set.
    updates: Option<ValidatorSetUpdates>,
}

type Done = Result<(), StorageError>;

impl<'a> Step<'a> {
    fn apply(&mut self, write: &'a Write) -> Done {
        if !matches!(write, Write::ChangeEpoch(_) | Write::DropBlock { .. }) {
            self.check_epoch()?;
        }
        match write {
            Write::CastVote(vote) => self.voting_record().voted = Some(*vote),
            Write::TimeOut(rank) => self.voting_record().timed_out = Some((rank.epoch, rank.view)),
            Write::StoreProposal(proposal) => {
                self.voting_record().proposal = Some(proposal.clone());
            }
            Write::SetHighestQc(qc) => self.changed.highest_qc = Some(qc),
            Write::SetHighestTc(tc) => self.changed.highest_tc = Some(tc),
            Write::InsertBlock {
                hash,
                block,
                state_updates,
            } => {
                self.insert(hash, block, state_updates)?;
            }
            Write::CommitBlock { hash, height } => self.commit(hash, *height)?,
            Write::DropBlock { hash } => self.drop(hash)?,
            Write::ChangeEpoch(record) => self.change_epoch(record)?,
            Write::KeepEvidence(evidence) => self.keep_evidence(evidence)?,
        }
        Ok(())
    }

    fn voting_record(&mut self) -> &mut crate::algorithm::VotingRecord {
        self.changed.voting_record = true;
        &mut self.on_disk.voting_record
    }

    fn insert(&mut self, hash: &BlockHash, block: &Block, state_updates: &StateUpdates) -> Done {
        check_state_updates(state_updates).map_err(|why| unfit(format!("block {hash}: {why}")))?;
        let height = block.header.height;
        let parent = block.header.parent();
        let siblings = self.reads().headers_at(height)?;
        if siblings.iter().any(|sibling| sibling.hash() == *hash) {
            return Err(unfit(format!("block {hash} is inserted twice")));
        }
        let slot =
            match siblings.last() {
                None => 0,
                Some(last) => last.key.slot.checked_add(1).ok_or_else(|| {
                    unfit(format!("there are too many blocks at height {height}"))
                })?,
            };
        let head = self.on_disk.head;
        let is_child_of_head = height == head.height.next() && parent == head.hash;
        if !is_child_of_head {
            let below = height.previous();
            if below <= head.height || self.reads().find(below, &parent)?.is_none() {
                return Err(unfit(format!(
                    "block {hash} is inserted before its parent {parent}"
                )));
            }
        }
        let key = BlockKey::header(height, slot);
        let record = HeaderRecord {
            committed: false,
            hash: *hash,
            header: block.header.clone(),
        };
        codec::encode_into(&record, self.buffer);
        self.put_buffer(key)?;
        if !block.data.is_empty() {
            self.put_block(key.of(Kind::Data), &block.data)?;
        }
        if !state_updates.is_empty() {
            updates::encode(state_updates, self.buffer);
            self.put_buffer(key.of(Kind::Updates))?;
        }
        Ok(())
    }

    fn commit(&mut self, hash: &BlockHash, height: BlockHeight) -> Done {
        let head = self.on_disk.head;
        if height != head.height.next() {
            let why = format!(
                "block {hash} is to be committed at {height}, after {}",
                head.height
            );
            return Err(unfit(why));
        }
        let reads = self.reads();
        let Some(found) = reads.find(height, hash)? else {
            return Err(unfit(format!(
                "block {hash} is to be committed, and is not stored"
            )));
        };
        let header = found.record()?.header;
        if header.parent() != head.hash {
            return Err(unfit(format!(
                "block {hash} is to be committed beside the chain"
            )));
        }
        let key = found.key;
        let mut record = found.bytes.to_vec();
        record[HeaderRecord::COMMITTED_AT] = 1;
        self.put_block(key, &record)?;
        self.apply_updates(key)?;
        self.on_disk.head = CommittedHead {
            hash: *hash,
            height,
            rank: header.rank(),
        };
        self.changed.head = true;
        self.changed.committed.push(height);
        self.changed.updates = header.validator_set_updates;
        let run_bytes = hashes::extend(&mut self.txn, self.shared, height)?;
        self.growth.put(run_bytes);
        Ok(())
    }

    /// Begins the epoch that the block just committed asks for.
    fn change_epoch(&mut self, record: &EpochRecord) -> Done {
        let EpochRecord {
            epoch,
            validator_set,
            commit_qc,
        } = record;
        let Some(updates) = self.changed.updates.take() else {
            return Err(unfit(format!(
                "epoch {epoch} begins without a committed block that updates the validators"
            )));
        };
        let CommittedHead { hash, rank, .. } = self.on_disk.head;
        let last = self.reads().last_record()?;
        if *epoch != last.epoch.next() || rank.epoch != last.epoch {
            return Err(unfit(format!(
                "epoch {epoch} begins with block {hash} of epoch {}, after epoch {}",
                rank.epoch, last.epoch
            )));
        }
        if last.validator_set.updated(&updates).as_ref() != Ok(validator_set) {
            let why = format!("epoch {epoch} begins with other validators than block {hash} asks");
            return Err(unfit(why));
        }
        let proves = |qc: &QuorumCertificate| {
            qc.phase == Phase::Commit && qc.epoch == rank.epoch && qc.block_hash == hash
        };
        if !commit_qc.as_ref().is_some_and(proves) {
            let why = format!("epoch {epoch} begins without the Commit QC of block {hash}");
            return Err(unfit(why));
        }
        let value = seal(&epoch_name(*epoch), record);
        self.growth.put(value.len());
        let (sets, key) = (self.shared.tables.sets, epoch.0.to_be_bytes());
        self.txn
            .put(sets, &key, &value, WriteFlags::empty())
            .map_err(|error| self.shared.fail("writing an epoch", error))
    }

    fn drop(&mut self, hash: &BlockHash) -> Done {
        let height = self.on_disk.head.height;
        // A step that commits may drop what stood beside it afterwards.
        let from = self
            .changed
            .committed
            .first()
            .map_or(height, |first| first.previous());
        let pending = self.reads().headers_above(from)?;
        let Some(found) = pending.into_iter().find(|found| found.hash() == *hash) else {
            return Err(unfit(format!(
                "block {hash} is to be dropped, and is not stored"
            )));
        };
        if found.is_committed() {
            return Err(unfit(format!(
                "block {hash} is to be dropped, and is committed"
            )));
        }
        let key = found.key;
        for kind in [Kind::Header, Kind::Data, Kind::Updates] {
            self.delete_block(key.of(kind))?;
        }
        self.changed.dropped.push((key.height, *hash));
        Ok(())
    }

    fn keep_evidence(&mut self, evidence: &Evidence) -> Done {
        let key = offence_key(&evidence.offence());
        let bytes = evidence.encode();
        self.growth.put(bytes.len());
        let table = self.shared.tables.evidence.expect("a writer has made it");
        let flags = WriteFlags::NO_OVERWRITE;
        self.txn
            .put(table, &key, &bytes, flags)
            .map_err(|error| match error {
                lmdb::Error::KeyExist => unfit("there is evidence of this offence already".into()),
                error => self.shared.fail("writing evidence", error),
            })
    }

    /// Checks that nothing dangles, and writes the small records.
    fn finish(&mut self) -> Done {
        self.check_epoch()?;
        self.check_siblings()?;
        self.check_orphans()?;
        if self.changed.voting_record {
            let counter = self.on_disk.counter.checked_add(1);
            self.on_disk.counter = counter.ok_or_else(|| unfit("2^64 votes".into()))?;
            let record = self.on_disk.voting_record.clone();
            let copy = VotingCopy {
                counter: self.on_disk.counter,
                record,
            };
            for key in VOTING {
                self.put_sealed(key, &copy)?;
            }
        }
        if let Some(qc) = self.changed.highest_qc {
            self.put_certificate(HIGHEST_QC, qc)?;
        }
        if let Some(tc) = self.changed.highest_tc {
            self.put_certificate(HIGHEST_TC, tc)?;
        }
        if self.changed.head {
            self.put_sealed(COMMITTED, &Head::from(self.on_disk.head))?;
        }
        Ok(())
    }

    /// A block that updates the validators is followed by its epoch, and before that by nothing but
    /// the end of the blocks beside it.
    fn check_epoch(&self) -> Done {
        if self.changed.updates.is_some() {
            let CommittedHead { hash, .. } = self.on_disk.head;
            let why = format!("block {hash} updates the validators, and its epoch does not begin");
            return Err(unfit(why));
        }
        Ok(())
    }

    /// What stood beside a committed block must be gone when the step ends.
    fn check_siblings(&self) -> Done {
        for height in &self.changed.committed {
            let mut headers = self.reads().headers_at(*height)?.into_iter();
            if let Some(sibling) = headers.find(|found| !found.is_committed()) {
                let why = format!("block {} is beside the committed chain", sibling.hash());
                return Err(unfit(why));
            }
        }
        Ok(())
    }

    /// What stood on a dropped block must be gone when the step ends.
    fn check_orphans(&self) -> Done {
        for (height, hash) in &self.changed.dropped {
            for child in self.reads().headers_at(height.next())? {
                if child.record()?.header.parent() == *hash {
                    return Err(unfit(format!("block {} has lost its parent", child.hash())));
                }
            }
        }
        Ok(())
    }

    /// Applies the pending updates of a block, which are then no longer pending.
    fn apply_updates(&mut self, key: BlockKey) -> Done {
        let key = key.of(Kind::Updates);
        let mut buffer = std::mem::take(self.buffer);
        let Some(bytes) = self.reads().record(key)? else {
            return Ok(());
        };
        buffer.clear();
        buffer.extend_from_slice(bytes); // what lies in the map may move with the first write
        let updates = Updates::read(&buffer)?;
        for index in 0..updates.len() {
            let (key, value) = updates.entry(index)?;
            self.update_state(key, value)?;
        }
        *self.buffer = buffer;
        self.delete_block(key)
    }

    fn update_state(&mut self, key: &[u8], value: Option<&[u8]>) -> Done {
        let state = self.shared.tables.state;
        self.growth.put(value.map_or(0, <[u8]>::len));
        let result = match value {
            Some(value) => self.txn.put(state, &key, &value, WriteFlags::empty()),
            None => match self.txn.del(state, &key, None) {
                Err(lmdb::Error::NotFound) => Ok(()),
                result => result,
            },
        };
        result.map_err(|error| self.shared.fail("writing the app's state", error))
    }

    fn reads(&self) -> Reads<'_, RwTransaction<'a>> {
        Reads::new(&self.txn, self.shared)
    }

    fn put_buffer(&mut self, key: BlockKey) -> Done {
        let buffer = std::mem::take(self.buffer);
        let result = self.put_block(key, &buffer);
        *self.buffer = buffer;
        result
    }

    fn put_block(&mut self, key: BlockKey, value: &[u8]) -> Done {
        self.growth.put(value.len());
        self.txn
            .put(
                self.shared.tables.blocks,
                &key.bytes(),
                &value,
                WriteFlags::empty(),
            )
            .map_err(|error| self.shared.fail("writing a block", error))
    }

    fn delete_block(&mut self, key: BlockKey) -> Done {
        self.growth.put(0);
        match self.txn.del(self.shared.tables.blocks, &key.bytes(), None) {
            Ok(()) | Err(lmdb::Error::NotFound) => Ok(()),
            Err(error) => Err(self.shared.fail("deleting a block", error)),
        }
    }

    fn put_certificate<T: serde::Serialize>(&mut self, key: &str, certificate: T) -> Done {
        let counter = self.on_disk.counter;
        self.put_sealed(
            key,
            &Certified {
                counter,
                certificate,
            },
        )
    }

    fn put_sealed<T: serde::Serialize>(&mut self, key: &str, record: &T) -> Done {
        let value = seal(key, record);
        self.growth.put(value.len());
        self.txn
            .put(self.shared.tables.main, &key, &value, WriteFlags::empty())
            .map_err(|error| self.shared.fail("writing", error))
    }
}

fn unfit(why: String) -> StorageError {
    StorageError::Inconsistent { why }
}

/// An upper bound of the pages that a transaction may number.
///
/// LMDB numbers a page when it is allocated, and does not write it if it is freed before the
/// commit. If such pages are the last ones, the file is shorter than its meta page says, which is
/// also how a cut-off file looks. So the file is made longer first, sparsely, and the length can be
/// relied on at opening.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    puts: u64,
    bytes: u64,
}

/// The file grows by multiples of this: the length must be synced once for each.
const FILE_STEP_BYTES: u64 = 64 << 20;
/// Pages that one put or delete may touch: a path in a tree of depth six.
const PATH_PAGES: u64 = 6;

impl Growth {
    fn put(&mut self, bytes: usize) {
        self.puts += 1;
        self.bytes += bytes as u64;
    }

    fn extend_file(self, shared: &Shared, file_bytes: &mut u64) -> Done {
        let fail = |error| shared.fail("reading the size", error);
        let page_bytes = u64::from(shared.env.stat().map_err(fail)?.page_size());
        let used = (shared.env.info().map_err(fail)?.last_pgno() as u64 + 1) * page_bytes;
        // No more pages of trees can be copied than there are; new ones come with new bytes.
        let copied = (self.puts * PATH_PAGES * page_bytes).min(used);
        let added = 4 * self.bytes + self.puts * 64 + (1 << 20);
        let needed = (used + copied + added).min(shared.map_bytes);
        if needed <= *file_bytes {
            return Ok(());
        }
        let length = needed.next_multiple_of(FILE_STEP_BYTES);
        let fail = |error| StorageError::io(&shared.path, "making the data file longer", error);
        shared.data_file.set_len(length).map_err(fail)?;
        if shared.durability == Durability::Synced {
            shared.data_file.sync_all().map_err(fail)?;
        }
        *file_bytes = length;
        Ok(())
    }
}
