//! The sentences (floor 1): what replicas say to one another.
//!
//! All messages are self-certifying. The peer that the network reports is a return address and the
//! key of rate limits, never evidence.

use serde::{Deserialize, Serialize};

use crate::types::limits::{BLOCKS_PER_RESPONSE_MAX, TAIL_QCS_MAX};
use crate::types::{
    codec, Block, BlockHash, Epoch, QuorumCertificate, Rank, Signature, Statement,
    TimeoutCertificate, TimeoutStatement, ValidatorAddress, ViewNumber, VoteStatement,
    WakeStatement,
};

/// Anything one replica sends to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // the large one is the usual one
pub enum Message {
    Progress(ProgressMessage),
    Sync(SyncMessage),
}

/// Drives the chain. Goes to Alice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgressMessage {
    Propose(Propose),
    Nudge(Nudge),
    Vote(Vote),
    TimeoutVote(TimeoutVote),
    AdvanceView(Certificate),
    Wake(Wake),
}

/// A block for the view it names. The leader's own vote authenticates it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propose {
    pub block: Block,
    pub vote: Vote,
    /// Why the view before has no QC.
    pub timeout_certificate: Option<TimeoutCertificate>,
}

/// One more phase on an existing block, which updates the validator set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nudge {
    pub view_num: ViewNumber,
    pub justify: QuorumCertificate,
    pub vote: Vote,
    pub timeout_certificate: Option<TimeoutCertificate>,
}

/// A validator's vote for what its statement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    pub statement: VoteStatement,
    pub voter: ValidatorAddress,
    pub signature: Signature,
}

/// "My view has run out": with the highest QC, and the last vote, so that everyone can assemble the
/// QC that a crashed leader has taken with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutVote {
    pub epoch: Epoch,
    pub view_num: ViewNumber,
    pub highest_qc: QuorumCertificate,
    pub last_vote: Option<Vote>,
    pub validator: ValidatorAddress,
    pub signature: Signature,
}

impl TimeoutVote {
    /// What its signature says.
    pub const fn statement(&self) -> TimeoutStatement {
        TimeoutStatement {
            epoch: self.epoch,
            view_num: self.view_num,
            qc_view: self.highest_qc.rank().view,
        }
    }
}

/// Why a view can be left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Certificate {
    Quorum(QuorumCertificate),
    Timeout(TimeoutCertificate),
}

/// "My host has work": the leader of an idle view proposes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    pub epoch: Epoch,
    pub view_num: ViewNumber,
    pub validator: ValidatorAddress,
    pub signature: Signature,
}

impl Wake {
    /// What its signature says.
    pub const fn statement(&self) -> WakeStatement {
        WakeStatement {
            epoch: self.epoch,
            view_num: self.view_num,
        }
    }
}

/// Catching up. Requests go to the sync server, responses to Alice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncMessage {
    Request(SyncRequest),
    Response(SyncResponse),
}

/// "Send me what follows."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// The last block of the asker's committed chain; the genesis hash if it has none.
    pub highest_committed_block: BlockHash,
    /// The most blocks to send.
    pub limit: u32,
    /// A block that the asker holds a certificate for but not the block: the answer leads there if
    /// the server knows it, else to the block of the server's highest QC.
    pub wanted: Option<BlockHash>,
}

/// The blocks that follow the asked hash on one branch, lowest first, and what certifies the last.
/// Without blocks: the server's highest QC alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncResponse {
    /// The hash that was asked for: an answer to another question is seen at once.
    pub highest_committed_block: BlockHash,
    #[serde(deserialize_with = "codec::bounded::<_, _, BLOCKS_PER_RESPONSE_MAX>")]
    pub blocks: Vec<Block>,
    #[serde(deserialize_with = "codec::bounded::<_, _, TAIL_QCS_MAX>")]
    pub tail_qcs: Vec<QuorumCertificate>,
}

/// Names of the kinds of messages, for counters and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageKind {
    Propose,
    Nudge,
    Vote,
    TimeoutVote,
    AdvanceView,
    Wake,
    SyncRequest,
    SyncResponse,
}

impl Message {
    /// Which kind it is.
    pub const fn kind(&self) -> MessageKind {
        match self {
            Message::Progress(progress) => progress.kind(),
            Message::Sync(SyncMessage::Request(_)) => MessageKind::SyncRequest,
            Message::Sync(SyncMessage::Response(_)) => MessageKind::SyncResponse,
        }
    }
}

impl ProgressMessage {
    /// The epoch that it is of: whose validators must have signed it.
    pub const fn epoch(&self) -> Epoch {
        match self {
            ProgressMessage::Propose(Propose { vote, .. })
            | ProgressMessage::Nudge(Nudge { vote, .. })
            | ProgressMessage::Vote(vote) => vote.statement.epoch,
            ProgressMessage::TimeoutVote(timeout) => timeout.epoch,
            ProgressMessage::AdvanceView(Certificate::Quorum(qc)) => qc.epoch,
            ProgressMessage::AdvanceView(Certificate::Timeout(tc)) => tc.epoch,
            ProgressMessage::Wake(wake) => wake.epoch,
        }
    }

    /// Which kind it is.
    pub const fn kind(&self) -> MessageKind {
        match self {
            ProgressMessage::Propose(_) => MessageKind::Propose,
            ProgressMessage::Nudge(_) => MessageKind::Nudge,
            ProgressMessage::Vote(_) => MessageKind::Vote,
            ProgressMessage::TimeoutVote(_) => MessageKind::TimeoutVote,
            ProgressMessage::AdvanceView(_) => MessageKind::AdvanceView,
            ProgressMessage::Wake(_) => MessageKind::Wake,
        }
    }
}

impl Vote {
    /// The statement, as what was signed.
    pub const fn signed(&self) -> Statement {
        Statement::Vote(self.statement)
    }

    /// Where it stands.
    pub const fn rank(&self) -> Rank {
        self.statement.rank()
    }
}
