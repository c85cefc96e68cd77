//! A small chain to write: genesis, blocks and certificates with made-up signatures. The block tree
//! verifies none; that is the algorithm's work.

use std::path::Path;

use hotstuff::algorithm::{Durable, EpochRecord, Write};
use hotstuff::block_tree::{BlockTree, Durability, OpenOptions};
use hotstuff::evidence::{Contradiction, Evidence, Signed};
use hotstuff::types::*;
use serde_bytes::ByteBuf;

/// Four validators, and a state of two keys.
pub fn genesis() -> Genesis {
    let member = |number: u8| Validator {
        address: ValidatorAddress([number; 32]),
        power: 1,
    };
    let app_state = [("a", "genesis a"), ("z", "genesis z")];
    let bytes = |text: &str| ByteBuf::from(text.as_bytes());
    Genesis {
        chain_id: ChainId(7),
        validator_set: ValidatorSet::new((1..=4).map(member)).unwrap(),
        app_state: app_state
            .map(|(key, value)| (bytes(key), bytes(value)))
            .into(),
        parameters: ChainParameters {
            leader_rule: LeaderRule::RoundRobin,
            ..ChainParameters::default()
        },
    }
}

pub fn genesis_hash() -> BlockHash {
    genesis().hash().as_block_hash()
}

/// Small map, no syncs: what these tests kill is at most the process.
pub fn options(directory: &Path) -> OpenOptions {
    OpenOptions {
        create: true,
        map_bytes: 1 << 30,
        durability: Durability::ProcessCrash,
        ..OpenOptions::new(directory)
    }
}

pub fn open(directory: &Path) -> (BlockTree, Durable) {
    BlockTree::open(&options(directory), &genesis()).unwrap()
}

/// A certificate of `block` in `view` of epoch 0, with three of four signatures: every few views
/// somebody else has not signed.
pub fn certificate(block: BlockHash, view: u64) -> QuorumCertificate {
    certificate_in(Epoch(0), block, view)
}

fn certificate_in(epoch: Epoch, block: BlockHash, view: u64) -> QuorumCertificate {
    let absent = (view / 8 % 4) as u8;
    let signature = |i: u8| (i != absent).then_some(Signature([i ^ view as u8; 64]));
    QuorumCertificate {
        epoch,
        view_num: ViewNumber(view),
        justify_view: ViewNumber(view.saturating_sub(1)),
        block_hash: block,
        phase: Phase::Generic,
        signatures: (0..4).map(signature).collect(),
    }
}

pub fn timeout_certificate(view: u64, highest_qc: QuorumCertificate) -> TimeoutCertificate {
    let slot = Some((highest_qc.view_num, Signature([9; 64])));
    TimeoutCertificate {
        epoch: Epoch(0),
        view_num: ViewNumber(view),
        highest_qc,
        signatures: vec![slot, slot, None, slot],
    }
}

pub fn vote(block: BlockHash, view: u64) -> VoteStatement {
    certificate(block, view).statement()
}

/// Evidence against a validator in `epoch`, of any of the three kinds.
pub fn evidence(validator: u8, epoch: u64, kind: usize) -> Evidence {
    let made = Made::first(1, b"", vec![]);
    let signature = Signature([validator; 64]);
    let epoch = Epoch(epoch);
    let statement = VoteStatement {
        epoch,
        ..vote(made.hash, 1)
    };
    let first = Signed {
        statement,
        signature,
    };
    let header = Signed {
        statement: BlockHeader {
            epoch,
            ..made.block.header
        },
        signature,
    };
    let timeout = Signed {
        statement: TimeoutStatement {
            epoch,
            view_num: ViewNumber(3),
            qc_view: ViewNumber(2),
        },
        signature,
    };
    Evidence {
        validator: ValidatorAddress([validator; 32]),
        contradiction: match kind % 3 {
            0 => Contradiction::DoubleVote {
                first,
                second: first,
            },
            1 => Contradiction::DoubleProposal {
                first: Box::new(header.clone()),
                second: Box::new(header),
            },
            _ => Contradiction::LyingTimeout {
                timeout,
                vote: first,
            },
        },
    }
}

/// A block with its name and what it changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    pub hash: BlockHash,
    pub block: Block,
    pub state_updates: StateUpdates,
}

impl Made {
    /// The child of `justify`'s block, proposed in `view`.
    pub fn new(
        justify: QuorumCertificate,
        height: u64,
        view: u64,
        data: &[u8],
        state_updates: StateUpdates,
    ) -> Made {
        let data = Data::new(data);
        let header = BlockHeader {
            height: BlockHeight(height),
            epoch: justify.rank().epoch,
            view: ViewNumber(view),
            justify,
            data_hash: data.hash(),
            validator_set_updates: None,
        };
        let block = Block { header, data };
        Made {
            hash: block.hash(&genesis().hash()),
            block,
            state_updates,
        }
    }

    /// The first block of a branch.
    pub fn first(view: u64, data: &[u8], state_updates: StateUpdates) -> Made {
        let justify = QuorumCertificate::genesis(genesis().hash());
        Made::new(justify, 1, view, data, state_updates)
    }

    /// A block on top of this one.
    pub fn child(&self, view: u64, data: &[u8], state_updates: StateUpdates) -> Made {
        let justify = match self.block.header.validator_set_updates {
            Some(_) => self.commit_qc(),
            None => self.certificate(),
        };
        Made::new(justify, self.height().0 + 1, view, data, state_updates)
    }

    /// The same block, with these powers for the validators so numbered.
    pub fn updating(mut self, powers: &[(u8, u64)]) -> Made {
        let update = |&(number, power): &(u8, u64)| ValidatorSetUpdate {
            validator: ValidatorAddress([number; 32]),
            power,
        };
        let header = &mut self.block.header;
        header.validator_set_updates = Some(powers.iter().map(update).collect());
        self.hash = self.block.hash(&genesis().hash());
        self
    }

    /// The proof that this block, which updates the validators, is committed.
    pub fn commit_qc(&self) -> QuorumCertificate {
        QuorumCertificate {
            phase: Phase::Commit,
            ..certificate_in(self.block.header.epoch, self.hash, self.view() + 2)
        }
    }

    /// The epoch that begins with this block, after that of `before`.
    pub fn epoch(&self, before: &ValidatorSet) -> EpochRecord {
        let updates = self.block.header.validator_set_updates.as_ref();
        EpochRecord {
            epoch: self.block.header.epoch.next(),
            validator_set: before.updated(updates.unwrap()).unwrap(),
            commit_qc: Some(self.commit_qc()),
        }
    }

    pub fn height(&self) -> BlockHeight {
        self.block.header.height
    }

    pub fn view(&self) -> u64 {
        self.block.header.view.0
    }

    pub fn insert(&self) -> Write {
        Write::InsertBlock {
            hash: self.hash,
            block: self.block.clone(),
            state_updates: self.state_updates.clone(),
        }
    }

    pub fn commit(&self) -> Write {
        Write::CommitBlock {
            hash: self.hash,
            height: self.height(),
        }
    }

    pub fn drop(&self) -> Write {
        Write::DropBlock { hash: self.hash }
    }

    pub fn certificate(&self) -> QuorumCertificate {
        certificate_in(self.block.header.epoch, self.hash, self.view())
    }
}

pub fn set(key: &str, value: &str) -> StateUpdate {
    StateUpdate::Set {
        key: key.into(),
        value: value.into(),
    }
}

pub fn delete(key: &str) -> StateUpdate {
    StateUpdate::Delete { key: key.into() }
}
