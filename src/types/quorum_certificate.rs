//! Phases, votes as statements, and the certificate that a quorum of them makes.

use serde::{Deserialize, Serialize};

use super::limits::VALIDATORS_MAX;
use super::{codec, BlockHash, Epoch, GenesisHash, Rank, Signature, ViewNumber};

/// Generic for a block in the pipelined mode; the others count a validator-set update to its
/// commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    Generic,
    Prepare,
    Precommit,
    Commit,
}

impl Phase {
    /// The number that stands for it in signed statements and in `hotstuff.h`.
    pub const fn number(self) -> u8 {
        match self {
            Phase::Generic => 0,
            Phase::Prepare => 1,
            Phase::Precommit => 2,
            Phase::Commit => 3,
        }
    }
}

/// What a vote says. Votes count together only if all five fields are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VoteStatement {
    pub epoch: Epoch,
    pub view_num: ViewNumber,
    /// The view of the justify's rank: what the voter had seen.
    pub justify_view: ViewNumber,
    pub block_hash: BlockHash,
    pub phase: Phase,
}

impl VoteStatement {
    /// Where the vote stands: one-vote-per-view counts by it.
    pub const fn rank(&self) -> Rank {
        Rank {
            epoch: self.epoch,
            view: self.view_num,
        }
    }
}

/// A quorum of votes for one statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumCertificate {
    pub epoch: Epoch,
    pub view_num: ViewNumber,
    pub justify_view: ViewNumber,
    pub block_hash: BlockHash,
    pub phase: Phase,
    /// One slot per validator, in the order of the validator set of `epoch`.
    #[serde(deserialize_with = "codec::bounded::<_, _, VALIDATORS_MAX>")]
    pub signatures: Vec<Option<Signature>>,
}

impl QuorumCertificate {
    /// The certificate that every chain begins with: no signatures, valid by equality only.
    pub const fn genesis(genesis: GenesisHash) -> Self {
        QuorumCertificate {
            epoch: Epoch(0),
            view_num: ViewNumber(0),
            justify_view: ViewNumber(0),
            block_hash: genesis.as_block_hash(),
            phase: Phase::Generic,
            signatures: Vec::new(),
        }
    }

    /// The certificate that `signatures` of `statement` make: one slot per validator.
    pub const fn new(statement: VoteStatement, signatures: Vec<Option<Signature>>) -> Self {
        QuorumCertificate {
            epoch: statement.epoch,
            view_num: statement.view_num,
            justify_view: statement.justify_view,
            block_hash: statement.block_hash,
            phase: statement.phase,
            signatures,
        }
    }

    /// What its signatures say.
    pub const fn statement(&self) -> VoteStatement {
        VoteStatement {
            epoch: self.epoch,
            view_num: self.view_num,
            justify_view: self.justify_view,
            block_hash: self.block_hash,
            phase: self.phase,
        }
    }

    /// (epoch, view), except that a Commit QC ends its epoch: it has (epoch + 1, 0).
    pub const fn rank(&self) -> Rank {
        match self.phase {
            Phase::Commit => Rank {
                epoch: self.epoch.next(),
                view: ViewNumber(0),
            },
            _ => Rank {
                epoch: self.epoch,
                view: self.view_num,
            },
        }
    }
}
