//! A simulated disk: the writes of a step, applied to memory that a crash does not take.
//!
//! It is written from the meaning of each `Write`, not from the block tree, so that what a replica
//! remembers, what LMDB keeps and what stands here are three opinions. It can be told to fail.

use std::collections::{BTreeMap, BTreeSet};

use hotstuff::algorithm::{
    Activity, CommittedHead, Durable, EpochRecord, PendingBlock, Persist, VotingRecord, Write,
    EPOCHS_KEPT,
};
use hotstuff::evidence::{Evidence, Offence};
use hotstuff::types::{
    Block, BlockHash, BlockHeight, GenesisHash, QuorumCertificate, Rank, StateUpdate, StateUpdates,
    TimeoutCertificate, ValidatorSet, ViewNumber,
};

pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// How the next transaction fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing is written.
    Before,
    /// All is written, but nobody is told so.
    After,
}

/// The transaction was not acknowledged.
#[derive(Debug)]
pub struct DiskFailed;

/// Why the state as of a block is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoState {
    /// The block is not stored, or an ancestor is not.
    Unknown,
    /// The chain has committed past it, or beside it.
    Passed,
}

#[derive(Clone, Debug)]
struct Stored {
    block: Block,
    state_updates: StateUpdates,
}

/// What one replica has on disk.
pub struct SimDisk {
    genesis: GenesisHash,
    epochs: Vec<EpochRecord>,
    record: VotingRecord,
    pub highest_qc: QuorumCertificate,
    highest_tc: Option<TimeoutCertificate>,
    blocks: BTreeMap<BlockHash, Stored>,
    /// Committed, lowest first; the genesis stands for height 0.
    chain: Vec<BlockHash>,
    /// In the order of their coming.
    pending: Vec<BlockHash>,
    evidence: BTreeMap<Offence, Evidence>,
    pub state: State,
    pub fails_next: Option<Failure>,
    /// Writes since they were last taken: what the checkers judge.
    journal: Vec<Write>,
    /// The first write that means nothing on this disk.
    nonsense: Option<String>,
}

impl Persist for SimDisk {
    type Error = DiskFailed;

    fn persist(&mut self, writes: &[Write]) -> Result<(), DiskFailed> {
        let failure = self.fails_next.take();
        if failure == Some(Failure::Before) {
            return Err(DiskFailed);
        }
        for write in writes {
            if let Err(why) = self.apply(write) {
                self.nonsense.get_or_insert(format!("{why}: {write:?}"));
            }
        }
        if let Some(orphan) = self.orphan() {
            self.nonsense
                .get_or_insert(format!("{orphan} is pending without its parent"));
        }
        self.journal.extend_from_slice(writes);
        if failure == Some(Failure::After) {
            Err(DiskFailed)
        } else {
            Ok(())
        }
    }
}

impl SimDisk {
    pub fn new(genesis: GenesisHash, validator_set: ValidatorSet) -> Self {
        SimDisk {
            genesis,
            epochs: vec![EpochRecord::first(validator_set)],
            record: VotingRecord::default(),
            highest_qc: QuorumCertificate::genesis(genesis),
            highest_tc: None,
            blocks: BTreeMap::new(),
            chain: vec![genesis.as_block_hash()],
            pending: Vec::new(),
            evidence: BTreeMap::new(),
            state: State::new(),
            fails_next: None,
            journal: Vec::new(),
            nonsense: None,
        }
    }

    fn apply(&mut self, write: &Write) -> Result<(), &'static str> {
        match write {
            Write::CastVote(vote) => self.record.voted = Some(*vote),
            Write::TimeOut(rank) => self.record.timed_out = Some((rank.epoch, rank.view)),
            Write::StoreProposal(proposal) => {
                if !self.blocks.contains_key(&proposal.block) {
                    return Err("a proposal whose block is not stored");
                }
                self.record.proposal = Some(proposal.clone());
            }
            Write::SetHighestQc(qc) => self.highest_qc = qc.clone(),
            Write::SetHighestTc(tc) => self.highest_tc = Some(tc.clone()),
            Write::InsertBlock {
                hash,
                block,
                state_updates,
            } => {
                return self.insert(*hash, block, state_updates);
            }
            Write::CommitBlock { hash, height } => return self.commit(hash, *height),
            Write::DropBlock { hash } => {
                let known = self.pending.len();
                self.pending.retain(|pending| pending != hash);
                if self.pending.len() == known {
                    return Err("a block dropped that is not pending");
                }
                self.blocks.remove(hash);
            }
            Write::KeepEvidence(evidence) => {
                let before = self.evidence.insert(evidence.offence(), evidence.clone());
                if before.is_some() {
                    return Err("evidence of an offence that is known");
                }
            }
            Write::ChangeEpoch(record) => return self.change_epoch(record),
        }
        Ok(())
    }

    fn insert(
        &mut self,
        hash: BlockHash,
        block: &Block,
        state_updates: &StateUpdates,
    ) -> Result<(), &'static str> {
        if block.hash(&self.genesis) != hash || !block.data_matches() {
            return Err("a block under another name");
        }
        if self.blocks.contains_key(&hash) {
            return Err("a block stored twice");
        }
        let parent = block.header.parent();
        if parent != self.head() && !self.pending.contains(&parent) {
            return Err("a block whose parent is neither pending nor the committed head");
        }
        self.pending.push(hash);
        let state_updates = state_updates.clone();
        self.blocks.insert(
            hash,
            Stored {
                block: block.clone(),
                state_updates,
            },
        );
        Ok(())
    }

    fn commit(&mut self, hash: &BlockHash, height: BlockHeight) -> Result<(), &'static str> {
        let stored = self
            .blocks
            .get(hash)
            .ok_or("a commit of an unknown block")?;
        if stored.block.header.parent() != self.head() {
            return Err("a commit beside the committed chain");
        }
        if height.0 != self.chain.len() as u64 || stored.block.header.height != height {
            return Err("a commit at the wrong height");
        }
        let updates = stored.state_updates.clone();
        apply_updates(&mut self.state, &updates);
        self.pending.retain(|pending| pending != hash);
        self.chain.push(*hash);
        Ok(())
    }

    fn change_epoch(&mut self, record: &EpochRecord) -> Result<(), &'static str> {
        let last = self.epochs.last().expect("there is always an epoch");
        if record.epoch.0 != last.epoch.0 + 1 {
            return Err("an epoch that does not follow");
        }
        let commit_qc = record.commit_qc.as_ref();
        if commit_qc.is_none_or(|qc| qc.block_hash != self.head() || qc.epoch != last.epoch) {
            return Err("an epoch that the last committed block does not begin");
        }
        self.epochs.push(record.clone());
        Ok(())
    }

    fn orphan(&self) -> Option<BlockHash> {
        let mut known = BTreeSet::from([self.head()]);
        for hash in &self.pending {
            if !known.contains(&self.blocks[hash].block.header.parent()) {
                return Some(*hash);
            }
            known.insert(*hash);
        }
        None
    }

    /// What recovery starts from.
    pub fn durable(&self) -> Durable {
        let pending = |hash: &BlockHash| {
            let block = &self.blocks[hash].block;
            let data_bytes = block.data.len() as u64;
            PendingBlock {
                hash: *hash,
                header: block.header.clone(),
                data_bytes,
            }
        };
        let head = self.head();
        let rank = self
            .blocks
            .get(&head)
            .map_or(Rank::default(), |b| b.block.header.rank());
        Durable {
            voting_record: self.record.clone(),
            highest_qc: self.highest_qc.clone(),
            highest_tc: self.highest_tc.clone(),
            committed: CommittedHead {
                hash: head,
                height: BlockHeight(self.height()),
                rank,
            },
            pending: self.pending.iter().map(pending).collect(),
            activity: self.activity(),
            epochs: self.epochs[self.epochs.len().saturating_sub(EPOCHS_KEPT)..].to_vec(),
            offences: self.evidence.keys().copied().collect(),
        }
    }

    fn activity(&self) -> Activity {
        let EpochRecord {
            epoch,
            validator_set,
            ..
        } = self.epoch();
        let mut activity = Activity::new(validator_set.len());
        let headers = self.chain[1..].iter().rev();
        let headers = headers.map(|hash| &self.blocks[hash].block.header);
        let of_epoch: Vec<_> = headers
            .take_while(|header| header.epoch == *epoch)
            .collect();
        let last = of_epoch.first().map_or(ViewNumber(0), |last| last.view);
        let first = activity.begins_at(last);
        let recent = of_epoch.iter().rev().filter(|header| header.view >= first);
        recent.for_each(|header| activity.commit(header));
        activity
    }

    pub fn head(&self) -> BlockHash {
        *self.chain.last().expect("the genesis is never taken away")
    }

    pub fn height(&self) -> u64 {
        self.chain.len() as u64 - 1
    }

    /// Of the highest block, committed or not.
    pub fn height_stored(&self) -> u64 {
        let pending = self.pending.iter();
        let heights = pending.map(|hash| self.blocks[hash].block.header.height.0);
        heights.max().unwrap_or(0).max(self.height())
    }

    /// The view of the last block committed, if that was in the current epoch.
    pub fn committed_view(&self) -> u64 {
        let head = self.blocks.get(&self.head());
        let head = head.filter(|stored| stored.block.header.epoch == self.epoch().epoch);
        head.map_or(0, |stored| stored.block.header.view.0)
    }

    pub fn block(&self, hash: &BlockHash) -> Option<&Block> {
        self.blocks.get(hash).map(|stored| &stored.block)
    }

    pub fn take_journal(&mut self) -> Vec<Write> {
        std::mem::take(&mut self.journal)
    }

    pub fn take_nonsense(&mut self) -> Option<String> {
        self.nonsense.take()
    }

    /// The app's state as of `tip`, and the blocks between the committed head and it, lowest first;
    /// `unwritten` are the writes of the step in hand.
    pub fn state_at(
        &self,
        tip: &BlockHash,
        unwritten: &[Write],
    ) -> Result<(State, Vec<Block>), NoState> {
        let head = unwritten
            .iter()
            .fold(self.head(), |head, write| match write {
                Write::CommitBlock { hash, .. } => *hash,
                _ => head,
            });
        let mut branch = Vec::new();
        let mut at = *tip;
        let mut meets_head = at == head;
        while at != self.head() {
            if self.chain.contains(&at) {
                return Err(NoState::Passed);
            }
            let stored = self.stored(&at, unwritten).ok_or(NoState::Unknown)?;
            at = stored.block.header.parent();
            meets_head |= at == head;
            branch.push(stored);
        }
        if !meets_head {
            return Err(NoState::Passed); // by the step in hand
        }
        branch.reverse();
        let mut state = self.state.clone();
        branch
            .iter()
            .for_each(|stored| apply_updates(&mut state, &stored.state_updates));
        Ok((
            state,
            branch.into_iter().map(|stored| stored.block).collect(),
        ))
    }

    fn stored(&self, hash: &BlockHash, unwritten: &[Write]) -> Option<Stored> {
        self.blocks.get(hash).cloned().or_else(|| {
            unwritten.iter().find_map(|write| match write {
                Write::InsertBlock {
                    hash: inserted,
                    block,
                    state_updates,
                } if inserted == hash => Some(Stored {
                    block: block.clone(),
                    state_updates: state_updates.clone(),
                }),
                _ => None,
            })
        })
    }

    /// What a sync server answers: the blocks that follow `after` on the branch to `wanted`, else
    /// to the block of the highest QC, and the certificate of the last. `None` if no branch here
    /// leads from `after` to either. The asker may have committed further than this replica.
    pub fn blocks_after(
        &self,
        after: &BlockHash,
        wanted: Option<&BlockHash>,
        limit: usize,
    ) -> Option<(Vec<Block>, Vec<QuorumCertificate>)> {
        let (highest, head) = (self.highest_qc.block_hash, self.head());
        // The block of the highest QC may be missing here: then the committed chain is all there
        // is.
        let targets = wanted.into_iter().chain([&highest, &head]);
        let branch = targets
            .flat_map(|target| self.branch(after, target))
            .next()?;
        let sent = branch.len().min(limit);
        let blocks: Vec<Block> = branch[..sent]
            .iter()
            .map(|hash| self.blocks[hash].block.clone())
            .collect();
        let tail = match (branch.get(sent), branch.get(sent.wrapping_sub(1))) {
            (Some(next), _) => Some(self.blocks[next].block.header.justify.clone()),
            (None, Some(last)) => self.certificate_of(last),
            (None, None) => Some(self.highest_qc.clone()),
        };
        Some((blocks, tail.into_iter().collect()))
    }

    /// The hashes above `after` on the branch to `target`, lowest first.
    fn branch(&self, after: &BlockHash, target: &BlockHash) -> Option<Vec<BlockHash>> {
        let mut branch = Vec::new();
        let mut at = *target;
        while at != *after {
            branch.push(at);
            at = self.blocks.get(&at)?.block.header.parent();
        }
        branch.reverse();
        Some(branch)
    }

    fn certificate_of(&self, hash: &BlockHash) -> Option<QuorumCertificate> {
        if self.highest_qc.block_hash == *hash {
            return Some(self.highest_qc.clone());
        }
        let child = self
            .blocks
            .values()
            .find(|stored| stored.block.header.parent() == *hash);
        if let Some(child) = child {
            return Some(child.block.header.justify.clone());
        }
        let ends = self
            .epochs
            .iter()
            .filter_map(|epoch| epoch.commit_qc.as_ref());
        ends.rev().find(|end| end.block_hash == *hash).cloned()
    }

    pub fn epochs(&self) -> &[EpochRecord] {
        &self.epochs
    }

    pub fn epoch(&self) -> &EpochRecord {
        self.epochs.last().expect("there is always an epoch")
    }
}

fn apply_updates(state: &mut State, updates: &[StateUpdate]) {
    for update in updates {
        match update {
            StateUpdate::Set { key, value } => {
                state.insert(key.clone(), value.clone());
            }
            StateUpdate::Delete { key } => {
                state.remove(key);
            }
        }
    }
}
