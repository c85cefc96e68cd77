//! Evidence (floor 1): two statements of one key that no honest replica signs both of.
//!
//! It convicts alone: whoever knows the genesis hash and the validators of its epoch verifies it,
//! and needs neither the chain nor a replica. Forgery would need the validator's key.
//!
//! ```text
//!   DoubleVote       two votes in one view, for different things
//!   DoubleProposal   two blocks proposed in one view: two such votes, with the headers they name
//!   LyingTimeout     "my highest QC is of view q" in a time-out of view w, and a vote in a view
//!                    <= w on a QC above q
//! ```
//!
//! A vote and a time-out of one view are no contradiction, nor are two time-outs of one view: a
//! time-out is said again with what is then the highest QC. Who leads a view is the pacemaker's to
//! say, which a host may replace: of a double proposal the evidence shows that its signer has voted
//! for two blocks of one view, as only their leader does first.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::codec::{self, DecodeError};
use crate::types::crypto::Signature;
use crate::types::limits::EVIDENCE_BYTES_MAX;
use crate::types::{
    BlockHeader, Epoch, GenesisHash, Phase, Statement, StatementDigest, TimeoutStatement,
    ValidatorAddress, ValidatorSet, ViewNumber, VoteStatement,
};

/// A statement with its signature; whose, the evidence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<S> {
    pub statement: S,
    pub signature: Signature,
}

/// What one validator has signed and must not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub validator: ValidatorAddress,
    pub contradiction: Contradiction,
}

/// The two statements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contradiction {
    DoubleVote {
        first: Signed<VoteStatement>,
        second: Signed<VoteStatement>,
    },
    /// The signature under a header is that of the leader's own vote for its block.
    DoubleProposal {
        first: Box<Signed<BlockHeader>>,
        second: Box<Signed<BlockHeader>>,
    },
    LyingTimeout {
        timeout: Signed<TimeoutStatement>,
        vote: Signed<VoteStatement>,
    },
}

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvidenceKind {
    DoubleVote = 1,
    DoubleProposal = 2,
    LyingTimeout = 3,
}

impl EvidenceKind {
    /// The number that stands for it on disk and in `hotstuff.h`.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind that `number` stands for.
    pub const fn of_number(number: u8) -> Option<EvidenceKind> {
        match number {
            1 => Some(EvidenceKind::DoubleVote),
            2 => Some(EvidenceKind::DoubleProposal),
            3 => Some(EvidenceKind::LyingTimeout),
            _ => None,
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EvidenceKind::DoubleVote => "double vote",
            EvidenceKind::DoubleProposal => "double proposal",
            EvidenceKind::LyingTimeout => "lying time-out",
        })
    }
}

/// Who has done what in which epoch. Of each, the first piece of evidence is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offence {
    pub epoch: Epoch,
    pub validator: ValidatorAddress,
    pub kind: EvidenceKind,
}

/// Why something is no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEvidence {
    /// The accused is not in the validator set.
    NotAValidator,
    /// An honest validator may sign both statements.
    NoContradiction,
    /// The accused has not signed one of the statements, or not on this chain.
    WrongSignature,
}

impl fmt::Display for NoEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoEvidence::NotAValidator => "the accused is not in the validator set",
            NoEvidence::NoContradiction => "an honest validator may sign both statements",
            NoEvidence::WrongSignature => "the accused has not signed both statements",
        })
    }
}

impl std::error::Error for NoEvidence {}

impl Evidence {
    /// Reads evidence from anywhere.
    ///
    /// # Errors
    /// [`DecodeError`]. What is read is not verified.
    pub fn decode(bytes: &[u8]) -> Result<Evidence, DecodeError> {
        codec::decode(bytes, EVIDENCE_BYTES_MAX)
    }

    /// The canonical bytes: what [`Evidence::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Whether it convicts. `set` are the validators of [`Evidence::epoch`].
    ///
    /// # Errors
    /// [`NoEvidence`], whatever the bytes were.
    pub fn verify(&self, genesis: &GenesisHash, set: &ValidatorSet) -> Result<(), NoEvidence> {
        self.verify_by(genesis, set, |signer, digest, signature| {
            signature.verifies(signer, digest)
        })
    }

    /// The same, with another check of signatures; for simulations.
    ///
    /// # Errors
    /// [`NoEvidence`].
    pub fn verify_by(
        &self,
        genesis: &GenesisHash,
        set: &ValidatorSet,
        verifies: impl Fn(&ValidatorAddress, &StatementDigest, &Signature) -> bool,
    ) -> Result<(), NoEvidence> {
        if !set.contains(&self.validator) {
            return Err(NoEvidence::NotAValidator);
        }
        let signed = self.contradiction.statements(genesis);
        if !contradict(&signed[0].statement, &signed[1].statement) {
            return Err(NoEvidence::NoContradiction);
        }
        let is_signed = |it: &Signed<Statement>| {
            verifies(
                &self.validator,
                &it.statement.digest(genesis),
                &it.signature,
            )
        };
        if signed.iter().all(is_signed) {
            Ok(())
        } else {
            Err(NoEvidence::WrongSignature)
        }
    }

    /// The epoch whose validator set judges it.
    pub const fn epoch(&self) -> Epoch {
        match &self.contradiction {
            Contradiction::DoubleVote { first, .. } => first.statement.epoch,
            Contradiction::DoubleProposal { first, .. } => first.statement.epoch,
            Contradiction::LyingTimeout { timeout, .. } => timeout.statement.epoch,
        }
    }

    /// The view of the first statement, and of the second; they differ in a lying time-out only.
    pub const fn views(&self) -> (ViewNumber, ViewNumber) {
        match &self.contradiction {
            Contradiction::DoubleVote { first, second } => {
                (first.statement.view_num, second.statement.view_num)
            }
            Contradiction::DoubleProposal { first, second } => {
                (first.statement.view, second.statement.view)
            }
            Contradiction::LyingTimeout { timeout, vote } => {
                (timeout.statement.view_num, vote.statement.view_num)
            }
        }
    }

    /// Which rule was broken.
    pub const fn kind(&self) -> EvidenceKind {
        match &self.contradiction {
            Contradiction::DoubleVote { .. } => EvidenceKind::DoubleVote,
            Contradiction::DoubleProposal { .. } => EvidenceKind::DoubleProposal,
            Contradiction::LyingTimeout { .. } => EvidenceKind::LyingTimeout,
        }
    }

    /// Under which name it is kept.
    pub const fn offence(&self) -> Offence {
        Offence {
            epoch: self.epoch(),
            validator: self.validator,
            kind: self.kind(),
        }
    }
}

impl Contradiction {
    /// What was signed, as it was signed.
    fn statements(&self, genesis: &GenesisHash) -> [Signed<Statement>; 2] {
        let vote = |signed: &Signed<VoteStatement>| Signed {
            statement: Statement::Vote(signed.statement),
            signature: signed.signature,
        };
        let proposal = |signed: &Signed<BlockHeader>| Signed {
            statement: Statement::Vote(leaders_vote(&signed.statement, genesis)),
            signature: signed.signature,
        };
        match self {
            Contradiction::DoubleVote { first, second } => [vote(first), vote(second)],
            Contradiction::DoubleProposal { first, second } => [proposal(first), proposal(second)],
            Contradiction::LyingTimeout { timeout, vote: of } => [
                Signed {
                    statement: Statement::Timeout(timeout.statement),
                    signature: timeout.signature,
                },
                vote(of),
            ],
        }
    }
}

/// The vote that authenticates a proposal.
fn leaders_vote(header: &BlockHeader, genesis: &GenesisHash) -> VoteStatement {
    VoteStatement {
        epoch: header.epoch,
        view_num: header.view,
        justify_view: header.justify.rank().view,
        block_hash: header.hash(genesis),
        phase: match header.validator_set_updates {
            Some(_) => Phase::Prepare,
            None => Phase::Generic,
        },
    }
}

/// Whether no honest replica signs both.
fn contradict(first: &Statement, second: &Statement) -> bool {
    match (first, second) {
        (Statement::Vote(first), Statement::Vote(second)) => {
            first.rank() == second.rank() && first != second
        }
        (Statement::Timeout(timeout), Statement::Vote(vote)) => is_lie(timeout, vote),
        _ => false,
    }
}

/// Whether a time-out hides a QC that its signer had voted on. An honest highest QC only rises, and
/// after a time-out of `w` there is no vote in a view up to `w`.
pub(crate) fn is_lie(timeout: &TimeoutStatement, vote: &VoteStatement) -> bool {
    timeout.epoch == vote.epoch
        && vote.view_num <= timeout.view_num
        && vote.justify_view > timeout.qc_view
}
