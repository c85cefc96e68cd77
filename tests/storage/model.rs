//! disk-equals-memory: random writes go into the block tree and into a model of a few maps; after
//! each crash both must hold the same.

use std::collections::BTreeMap;

use hotstuff::algorithm::{
    Activity, CommittedHead, Durable, EpochRecord, PendingBlock, Persist, StoredProposal, Write,
    EPOCHS_KEPT,
};
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::block_tree::{BlockTree, BlockTreeReader, OpenOptions, StorageError, Unwritten};
use hotstuff::evidence::{Evidence, Offence};
use hotstuff::types::*;

use crate::chain::*;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// What must be on disk.
#[derive(Clone)]
struct Model {
    durable: Durable,
    blocks: BTreeMap<BlockHash, Made>,
    chain: Vec<BlockHash>,
    evidence: BTreeMap<Offence, Evidence>,
    /// All of them, from 0 on.
    epochs: Vec<EpochRecord>,
    state: State,
    view: u64,
}

fn change(state: &mut State, updates: &[StateUpdate]) {
    for update in updates {
        match update.value() {
            Some(value) => state.insert(update.key().to_vec(), value.to_vec()),
            None => state.remove(update.key()),
        };
    }
}

impl Model {
    fn new() -> Model {
        let genesis = genesis();
        let durable = Durable::new(genesis.hash(), genesis.validator_set.clone());
        let state = genesis.app_state.into_iter();
        Model {
            epochs: durable.epochs.clone(),
            durable,
            blocks: BTreeMap::new(),
            chain: Vec::new(),
            evidence: BTreeMap::new(),
            state: state
                .map(|(key, value)| (key.into_vec(), value.into_vec()))
                .collect(),
            view: 0,
        }
    }

    fn apply(&mut self, write: &Write) {
        let durable = &mut self.durable;
        match write {
            Write::CastVote(vote) => durable.voting_record.voted = Some(*vote),
            Write::TimeOut(rank) => {
                durable.voting_record.timed_out = Some((rank.epoch, rank.view));
            }
            Write::StoreProposal(proposal) => {
                durable.voting_record.proposal = Some(proposal.clone());
            }
            Write::SetHighestQc(qc) => durable.highest_qc = qc.clone(),
            Write::SetHighestTc(tc) => durable.highest_tc = Some(tc.clone()),
            Write::InsertBlock {
                hash,
                block,
                state_updates,
            } => {
                let (header, data_bytes) = (block.header.clone(), block.data.len() as u64);
                durable.pending.push(PendingBlock {
                    hash: *hash,
                    header,
                    data_bytes,
                });
                durable.pending.sort_by_key(|pending| pending.header.height);
                let (block, state_updates) = (block.clone(), state_updates.clone());
                self.blocks.insert(
                    *hash,
                    Made {
                        hash: *hash,
                        block,
                        state_updates,
                    },
                );
            }
            Write::CommitBlock { hash, height } => {
                let made = &self.blocks[hash];
                change(&mut self.state, &made.state_updates);
                let rank = made.block.header.rank();
                durable.committed = CommittedHead {
                    hash: *hash,
                    height: *height,
                    rank,
                };
                durable.activity.commit(&made.block.header);
                durable.pending.retain(|pending| pending.hash != *hash);
                self.chain.push(*hash);
            }
            Write::DropBlock { hash } => {
                durable.pending.retain(|pending| pending.hash != *hash);
                self.blocks.remove(hash);
            }
            Write::ChangeEpoch(record) => {
                self.epochs.push(record.clone());
                let oldest = self.epochs.len().saturating_sub(EPOCHS_KEPT);
                durable.epochs = self.epochs[oldest..].to_vec();
                durable.activity = Activity::new(record.validator_set.len());
            }
            Write::KeepEvidence(found) => {
                durable.offences.insert(found.offence());
                self.evidence.insert(found.offence(), found.clone());
            }
        }
    }

    fn any_pending(&self, chance: &mut Chance) -> Option<&Made> {
        let pending = &self.durable.pending;
        match pending.len() {
            0 => None,
            count => Some(&self.blocks[&pending[chance.below(count)].hash]),
        }
    }

    /// The state as of a pending block.
    fn state_at(&self, hash: &BlockHash) -> State {
        if *hash == self.durable.committed.hash {
            return self.state.clone();
        }
        let made = &self.blocks[hash];
        let mut state = self.state_at(&made.block.header.parent());
        change(&mut state, &made.state_updates);
        state
    }

    /// Writes that fit what is there.
    fn writes(&mut self, chance: &mut Chance) -> Vec<Write> {
        self.view += 1;
        let view = self.view;
        match chance.below(11) {
            0..=4 => {
                let made = self.child(chance);
                let vote = vote(made.hash, view);
                let mut writes = vec![made.insert(), Write::CastVote(vote)];
                if chance.one_in(3) {
                    writes.push(Write::SetHighestQc(made.certificate()));
                }
                if chance.one_in(4) {
                    let timeout_certificate = chance
                        .one_in(2)
                        .then(|| timeout_certificate(view - 1, made.certificate()));
                    writes.push(Write::StoreProposal(StoredProposal {
                        block: made.hash,
                        nudge: None,
                        vote,
                        timeout_certificate,
                    }));
                }
                writes
            }
            5 => vec![Write::TimeOut(Rank {
                epoch: Epoch(0),
                view: ViewNumber(view),
            })],
            6 => {
                let qc = self.durable.highest_qc.clone();
                vec![Write::SetHighestTc(timeout_certificate(view, qc))]
            }
            7 => self.drop(chance),
            8 => {
                let found = evidence(chance.below(3) as u8, view / 50, chance.below(3));
                let is_known = self.evidence.contains_key(&found.offence());
                let keep = (!is_known).then_some(Write::KeepEvidence(found));
                keep.into_iter().collect()
            }
            _ => self.commit(chance),
        }
    }

    fn child(&self, chance: &mut Chance) -> Made {
        let data = vec![self.view as u8; [0, 1, 100, 5_000, 20_000, 50_000][chance.below(6)]];
        let updates = (0..chance.below(6)).map(|_| {
            let key = vec![b'a' + chance.below(4) as u8; [1, 1, 1, 400][chance.below(4)]];
            let bytes = [0, 1, 9, 3_000][chance.below(4)];
            match chance.one_in(3) {
                true => StateUpdate::Delete { key },
                false => StateUpdate::Set {
                    key,
                    value: vec![self.view as u8; bytes],
                },
            }
        });
        let updates = updates.collect();
        // Before a block that updates the validators is committed, it has no child.
        let parent = self.any_pending(chance).filter(|parent| {
            let header = &parent.block.header;
            parent.height().0 < self.top() && header.validator_set_updates.is_none()
        });
        let head = self.blocks.get(&self.durable.committed.hash);
        let made = match parent.or(head) {
            Some(parent) => parent.child(self.view, &data, updates),
            None => Made::first(self.view, &data, updates),
        };
        if chance.one_in(4) {
            made.updating(&[(2 + chance.below(7) as u8, chance.below(3) as u64)])
        } else {
            made
        }
    }

    fn top(&self) -> u64 {
        self.durable.committed.height.0 + 6
    }

    /// A block and all above it, from the top or from the bottom.
    fn drop(&self, chance: &mut Chance) -> Vec<Write> {
        let Some(made) = self.any_pending(chance) else {
            return Vec::new();
        };
        let mut gone = self.above(&made.hash);
        if chance.one_in(2) {
            gone.reverse();
        }
        gone.into_iter()
            .map(|hash| Write::DropBlock { hash })
            .collect()
    }

    /// A block and all that stand on it.
    fn above(&self, hash: &BlockHash) -> Vec<BlockHash> {
        let mut found = vec![*hash];
        for pending in &self.durable.pending {
            if found.contains(&pending.header.parent()) {
                found.push(pending.hash);
            }
        }
        found
    }

    /// A child of the head, without its siblings and what stands on them, dropped before or after.
    fn commit(&self, chance: &mut Chance) -> Vec<Write> {
        let head = self.durable.committed;
        let children: Vec<BlockHash> = self
            .durable
            .pending
            .iter()
            .filter(|pending| pending.header.parent() == head.hash)
            .map(|pending| pending.hash)
            .collect();
        if children.is_empty() {
            return Vec::new();
        }
        let chosen = children[chance.below(children.len())];
        let commit = Write::CommitBlock {
            hash: chosen,
            height: head.height.next(),
        };
        let siblings = children.iter().filter(|child| **child != chosen);
        let gone = siblings.flat_map(|sibling| self.above(sibling));
        let mut writes: Vec<Write> = gone.map(|hash| Write::DropBlock { hash }).collect();
        let at = if chance.one_in(2) { 0 } else { writes.len() };
        writes.insert(at, commit);
        let made = &self.blocks[&chosen];
        if made.block.header.validator_set_updates.is_some() {
            let last = self.epochs.last().expect("there is epoch 0");
            let begin = Write::ChangeEpoch(made.epoch(&last.validator_set));
            // Before or after what stood beside the block goes.
            let at = if chance.one_in(2) {
                at + 1
            } else {
                writes.len()
            };
            writes.insert(at, begin);
        }
        writes
    }

    /// Compares all that can be read.
    fn check(&self, reader: &BlockTreeReader) {
        let snapshot = reader.snapshot().unwrap();
        assert_eq!(
            snapshot.committed_height().unwrap(),
            self.durable.committed.height
        );
        assert_eq!(snapshot.highest_qc().unwrap(), self.durable.highest_qc);
        for (index, found) in self.evidence.values().enumerate() {
            assert_eq!(snapshot.evidence_at(index).unwrap().as_ref(), Some(found));
        }
        assert_eq!(snapshot.evidence_at(self.evidence.len()).unwrap(), None);
        for record in &self.epochs {
            let read = snapshot.epoch_record(record.epoch).unwrap();
            assert_eq!(read.as_ref(), Some(record));
        }
        let last = self.epochs.last().expect("there is epoch 0");
        assert_eq!(snapshot.validator_set().unwrap(), last.validator_set);
        assert_eq!(snapshot.epoch_record(last.epoch.next()).unwrap(), None);
        for (index, hash) in self.chain.iter().enumerate() {
            let height = BlockHeight(index as u64 + 1);
            assert_eq!(snapshot.hash_at(height).unwrap(), Some(*hash));
            assert_eq!(
                snapshot.block(hash).unwrap().as_ref(),
                Some(&self.blocks[hash].block)
            );
        }
        assert_eq!(
            snapshot
                .hash_at(self.durable.committed.height.next())
                .unwrap(),
            None
        );
        check_state(&snapshot, &self.state);
        for pending in &self.durable.pending {
            let snapshot = reader.snapshot_at(&pending.hash, &[]).unwrap().unwrap();
            check_state(&snapshot, &self.state_at(&pending.hash));
        }
    }

    /// The state on a block that is in no transaction yet.
    fn check_unwritten(&self, chance: &mut Chance, reader: &BlockTreeReader) {
        let mut later = self.clone();
        later.view += 1_000; // no block of these views is on disk
        let parent = later.child(chance);
        let child = parent.child(
            parent.view() + 1,
            b"",
            vec![set("a", "on top"), delete("b")],
        );
        let unwritten = [&parent, &child].map(|made| Unwritten {
            hash: made.hash,
            parent: made.block.header.parent(),
            block: &made.block,
            state_updates: &made.state_updates,
        });
        let mut state = self.state_at(&parent.block.header.parent());
        change(&mut state, &parent.state_updates);
        change(&mut state, &child.state_updates);
        let snapshot = reader
            .snapshot_at(&child.hash, &unwritten)
            .unwrap()
            .unwrap();
        check_state(&snapshot, &state);
        assert!(reader
            .snapshot_at(&child.hash, &unwritten[1..])
            .unwrap()
            .is_none());
    }
}

fn check_state(snapshot: &dyn BlockTreeSnapshot, state: &State) {
    for letter in [b'a', b'b', b'c', b'd', b'z', b'?'] {
        for length in [1, 400] {
            let key = vec![letter; length];
            assert_eq!(snapshot.state(&key).unwrap().as_ref(), state.get(&key));
        }
    }
}

/// A tree and its model, and how often the tree had to be opened again.
struct Run {
    chance: Chance,
    directory: tempfile::TempDir,
    /// Of every other seed so small that it is used up.
    map_bytes: u64,
    model: Model,
    crashes: u64,
    full_maps: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        Run {
            chance: Chance(seed),
            directory: tempfile::tempdir().unwrap(),
            map_bytes: if seed % 2 == 0 { 1 << 20 } else { 1 << 30 },
            model: Model::new(),
            crashes: 0,
            full_maps: 0,
        }
    }

    /// Opens the tree, which must be as the model says.
    fn open(&self) -> BlockTree {
        let options = OpenOptions {
            map_bytes: self.map_bytes,
            ..options(self.directory.path())
        };
        let (tree, durable) = BlockTree::open(&options, &genesis()).unwrap();
        assert_eq!(durable, self.model.durable);
        assert!(tree.warnings().is_empty());
        tree
    }

    /// Some writes that fit, and the model after them.
    fn next(&mut self) -> (Vec<Write>, Model) {
        let mut next = self.model.clone();
        let mut writes = Vec::new();
        for _ in 0..=self.chance.below(3) {
            let more = next.writes(&mut self.chance);
            more.iter().for_each(|write| next.apply(write));
            writes.extend(more);
        }
        (writes, next)
    }

    /// One step: it is there as a whole, or not at all.
    fn step(&mut self, mut tree: BlockTree) -> BlockTree {
        let (writes, next) = self.next();
        if self.chance.one_in(12) {
            // A crash before the transaction.
            drop(tree);
            self.crashes += 1;
            return self.open();
        }
        match tree.persist(&writes) {
            Ok(()) => self.model = next,
            Err(StorageError::MapFull { .. }) => {
                drop(tree);
                drop(self.open());
                self.full_maps += 1;
                self.map_bytes += 1 << 19;
                tree = self.open();
            }
            Err(error) => panic!("{error}"),
        }
        if self.chance.one_in(4) {
            self.model.check(&tree.reader());
            self.model.check_unwritten(&mut self.chance, &tree.reader());
        }
        tree
    }
}

#[test]
fn what_is_on_disk_is_what_was_written() {
    let (mut full_maps, mut last_epoch) = (0, 0);
    for seed in 0..40 {
        println!("seed {seed}");
        let mut run = Run::new(seed);
        let mut tree = run.open();
        for _ in 0..120 {
            tree = run.step(tree);
        }
        drop(tree);
        let tree = run.open();
        run.model.check(&tree.reader());
        assert!(
            run.crashes > 0 && !run.model.chain.is_empty(),
            "it tests nothing"
        );
        full_maps += run.full_maps;
        last_epoch = last_epoch.max(run.model.epochs.len() - 1);
    }
    assert!(full_maps > 0, "no map was full");
    assert!(last_epoch > EPOCHS_KEPT, "no epoch grew old");
}
