//! The core's interface, on one screen.
//!
//! ```text
//!   (now, Input) --> Algorithm::step --> Step --persist--> (Algorithm, Outbox) --sign--> Dispatch
//!                                         |
//!                                         +--> effects: questions to the app (they do not speak)
//! ```
//!
//! A [`Step`] has swallowed the [`Algorithm`], and only the disk gives it back: nothing can be said
//! before it is stored (speak-after-persist), and no step can be taken on memory that is not on
//! disk (memory-never-ahead). Votes and time-outs leave a step as statements: before the disk has
//! them their signatures do not exist.

use std::collections::BTreeSet;
use std::fmt;

use crate::app::{ProposeBlockResponse, ValidateBlockResponse};
use crate::evidence::{Evidence, Offence};
use crate::messages::{
    Message, Nudge, ProgressMessage, Propose, SyncResponse, TimeoutVote, Vote, Wake,
};
use crate::types::{
    Block, BlockHash, BlockHeight, Epoch, GenesisHash, QuorumCertificate, Rank, Signature,
    StateUpdates, Statement, Time, TimeoutCertificate, ValidatorAddress, ValidatorSet, ViewNumber,
    VoteStatement,
};

use super::leaders::Activity;
use super::verify::Verified;
use super::Algorithm;

/// Something that happened.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // the large one is the usual one
pub enum Input {
    /// [`Algorithm::deadline`] has come.
    TimerExpired,
    /// The host has work for the app.
    Notify,
    /// A verified message from the network, or one's own.
    Progress {
        from: ValidatorAddress,
        message: Verified<ProgressMessage>,
    },
    /// A verified answer to a sync request.
    Synced {
        from: ValidatorAddress,
        response: Verified<SyncResponse>,
    },
    /// The peer answered a sync request with something that does not verify.
    SyncFailed { peer: ValidatorAddress },
    /// The peer speaks of an epoch whose validators are not known here. Unverified: a hint to sync.
    LaterEpoch { peer: ValidatorAddress },
    /// The app's answer to [`Effect::ProposeBlock`].
    BlockProposed {
        cur_view: ViewNumber,
        prev_block: BlockHash,
        response: ProposeBlockResponse,
    },
    /// The app's answer to [`Effect::ValidateBlock`].
    BlockValidated {
        block: BlockHash,
        response: ValidateBlockResponse,
    },
}

/// A change of what is on disk. A step's writes are one transaction, applied in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Voting record: the highest vote.
    CastVote(VoteStatement),
    /// Voting record: the highest view timed out.
    TimeOut(Rank),
    /// Voting record: the own proposal. Its block is inserted in the same step, or, if it is a
    /// nudge, was inserted before.
    StoreProposal(StoredProposal),
    SetHighestQc(QuorumCertificate),
    SetHighestTc(TimeoutCertificate),
    /// A block that the app found valid, with what it will change once it is committed.
    InsertBlock {
        hash: BlockHash,
        block: Block,
        state_updates: StateUpdates,
    },
    /// Appends the block, a child of the last one committed, and applies its updates.
    CommitBlock {
        hash: BlockHash,
        height: BlockHeight,
    },
    /// Forgets an uncommitted block.
    DropBlock {
        hash: BlockHash,
    },
    /// The block that the record's Commit QC names is committed (in the same step), and its
    /// validator set reigns. Kept for ever.
    ChangeEpoch(EpochRecord),
    /// The first piece of evidence of its offence. Kept for ever.
    KeepEvidence(Evidence),
}

/// The beginning of an epoch: who may vote in it, and the proof.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EpochRecord {
    pub epoch: Epoch,
    pub validator_set: ValidatorSet,
    /// The Commit QC of the block that updated the set, in the epoch before; none for epoch 0.
    pub commit_qc: Option<QuorumCertificate>,
}

impl EpochRecord {
    /// Epoch 0, which the genesis begins.
    pub const fn first(validator_set: ValidatorSet) -> EpochRecord {
        EpochRecord {
            epoch: Epoch(0),
            validator_set,
            commit_qc: None,
        }
    }
}

/// The last of the epochs, oldest first: the one that reigns.
pub(crate) fn current(epochs: &[EpochRecord]) -> &EpochRecord {
    epochs.last().expect("there is always an epoch")
}

/// What a leader needs to send its proposal again, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredProposal {
    pub block: BlockHash,
    /// The justify of a nudge of `block`; none if the proposal is the block itself.
    pub nudge: Option<QuorumCertificate>,
    pub vote: VoteStatement,
    pub timeout_certificate: Option<TimeoutCertificate>,
}

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Peer(ValidatorAddress),
    /// Every connected peer but oneself.
    All,
}

/// A question to the app. It goes out at once: it tells nobody anything.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Answered by [`Input::BlockProposed`].
    ProposeBlock {
        cur_view: ViewNumber,
        prev_block: BlockHash,
        /// When the view runs out, as things stand.
        until: Time,
    },
    /// Answered by [`Input::BlockValidated`].
    ValidateBlock {
        cur_view: ViewNumber,
        hash: BlockHash,
        block: Block,
        is_sync: bool,
    },
}

/// Something to say once the step is on disk.
#[derive(Clone, Debug)]
pub(super) enum Output {
    Send { to: To, message: Message },
    Sign { statement: Statement, then: Then },
}

/// What becomes of a signature.
#[derive(Clone, Debug)]
pub(super) enum Then {
    Vote {
        to: Option<To>,
    },
    Propose {
        block: Block,
        timeout_certificate: Option<TimeoutCertificate>,
    },
    StoredProposal {
        block: BlockHash,
        timeout_certificate: Option<TimeoutCertificate>,
    },
    Nudge {
        justify: QuorumCertificate,
        timeout_certificate: Option<TimeoutCertificate>,
    },
    TimeOut {
        highest_qc: QuorumCertificate,
        last_vote: Option<VoteStatement>,
    },
    Wake,
}

/// What an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    ViewStarted {
        rank: Rank,
        leader: ValidatorAddress,
    },
    Proposed {
        rank: Rank,
        height: BlockHeight,
        block: BlockHash,
    },
    Voted {
        rank: Rank,
        block: BlockHash,
    },
    QcCollected {
        rank: Rank,
        block: BlockHash,
    },
    Committed {
        rank: Rank,
        height: BlockHeight,
        block: BlockHash,
    },
    /// A validator-set update is committed: these validators vote from now on.
    EpochStarted(EpochRecord),
    ViewTimedOut {
        rank: Rank,
    },
    SyncStarted {
        peer: ValidatorAddress,
    },
    SyncFinished {
        height: BlockHeight,
    },
    SyncFailed {
        peer: ValidatorAddress,
        why: &'static str,
    },
    /// The block breaks a rule that its leader's key covers.
    BlockRefused {
        rank: Rank,
        block: BlockHash,
        leader: ValidatorAddress,
        why: &'static str,
    },
    /// The app calls a block invalid that a quorum has certified: this replica's app and the
    /// others' are not the same function. If it is committed, this replica must halt.
    Diverged {
        block: BlockHash,
        height: BlockHeight,
        is_committed: bool,
    },
    /// The app failed, or answered with what the limits forbid.
    AppFailed {
        why: &'static str,
    },
    /// A validator has contradicted itself. Told once for each validator, epoch and kind.
    EvidenceFound(Evidence),
    /// This replica's own key has signed a vote or a time-out that its voting record does not know:
    /// there is a twin, or the disk is an old one. Nothing more is signed until a restart.
    TwinSeen {
        rank: Rank,
    },
    /// Blocks await commit up to the limit: only empty blocks are proposed and accepted.
    TooManyPending {
        blocks: usize,
    },
}

/// The disk, as the core sees it: one transaction a step, durable when `persist` returns.
pub trait Persist {
    type Error: fmt::Debug;

    /// Applies `writes` in order, all or nothing, and makes them durable.
    ///
    /// # Errors
    /// Nothing may be assumed of the disk afterwards: the algorithm is gone, and the replica must
    /// recover from what is there.
    fn persist(&mut self, writes: &[Write]) -> Result<(), Self::Error>;
}

/// One or more inputs taken in, whose consequences are not yet on disk.
#[must_use = "a step that is not persisted is lost, and the algorithm with it"]
pub struct Step {
    pub(super) algorithm: Algorithm,
    pub(super) writes: Vec<Write>,
    pub(super) outputs: Vec<Output>,
    pub(super) effects: Vec<Effect>,
    pub(super) events: Vec<Event>,
}

impl Step {
    /// Makes the step durable, and gives back the algorithm and what it may now say.
    ///
    /// # Errors
    /// The disk's. The algorithm is lost: recover.
    pub fn persist<S: Persist>(self, store: &mut S) -> Result<(Algorithm, Outbox), S::Error> {
        if !self.writes.is_empty() {
            store.persist(&self.writes)?;
        }
        // What an earlier input of this step was to sign may be of an epoch that a later one ended.
        let algorithm = self.algorithm;
        let may_sign = |statement: &Statement| algorithm.may_sign(statement.epoch());
        let mut outputs = self.outputs;
        outputs.retain(|output| match output {
            Output::Sign { statement, .. } => may_sign(statement),
            Output::Send { .. } => true,
        });
        let outbox = Outbox {
            genesis: algorithm.genesis(),
            me: algorithm.me(),
            outputs,
            events: self.events,
        };
        Ok((algorithm, outbox))
    }

    /// Group commit: takes in one more input before the disk is troubled.
    pub fn then(self, now: Time, input: Input) -> Step {
        let Step {
            algorithm,
            writes,
            outputs,
            effects,
            events,
        } = self;
        let mut next = algorithm.step(now, input);
        next.writes = join(writes, next.writes);
        next.outputs = join(outputs, next.outputs);
        next.effects = join(effects, next.effects);
        next.events = join(events, next.events);
        next
    }

    /// Takes the questions for the app that have not been taken before.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What is not yet on disk.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Whether nobody waits for this step: it sends nothing and signs nothing.
    pub fn is_quiet(&self) -> bool {
        self.outputs.is_empty()
    }

    /// See [`Algorithm::deadline`].
    pub fn deadline(&self) -> Time {
        self.algorithm.deadline()
    }

    /// The algorithm as it will be once the step is on disk; for the clients' views of it.
    pub fn algorithm(&self) -> &Algorithm {
        &self.algorithm
    }
}

fn join<T>(mut first: Vec<T>, second: Vec<T>) -> Vec<T> {
    if first.is_empty() {
        return second;
    }
    first.extend(second);
    first
}

/// Why a statement was not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignError(pub String);

/// Holds the validator's key, or knows who does.
pub trait Signer: Send + Sync {
    /// Signs the digest of a statement.
    ///
    /// # Errors
    /// [`SignError`]: the view is lost, nothing else.
    fn sign(
        &self,
        statement: &Statement,
        digest: &crate::types::StatementDigest,
    ) -> Result<Signature, SignError>;
}

impl Signer for crate::types::KeyPair {
    fn sign(
        &self,
        _: &Statement,
        digest: &crate::types::StatementDigest,
    ) -> Result<Signature, SignError> {
        Ok(crate::types::KeyPair::sign(self, digest))
    }
}

/// What a step that is on disk may say. Made only by [`Step::persist`].
#[must_use = "what is not dispatched is never said"]
pub struct Outbox {
    genesis: GenesisHash,
    me: Option<ValidatorAddress>,
    outputs: Vec<Output>,
    events: Vec<Event>,
}

/// A persisted step, in words.
#[derive(Debug, Default)]
pub struct Dispatch {
    /// To send, in order.
    pub messages: Vec<(To, Message)>,
    /// One's own votes and time-outs: feed them back.
    pub inputs: Vec<Input>,
    /// To report, in order.
    pub events: Vec<Event>,
    /// Statements that the signer did not sign.
    pub unsigned: Vec<SignError>,
}

impl Outbox {
    /// Turns statements into messages. `stored_block` finds a block of one's own that was proposed
    /// before a crash.
    pub fn sign(
        self,
        signer: Option<&dyn Signer>,
        stored_block: &mut dyn FnMut(&BlockHash) -> Option<Block>,
    ) -> Dispatch {
        let mut dispatch = Dispatch {
            events: self.events,
            ..Dispatch::default()
        };
        let mut pen = Pen {
            genesis: self.genesis,
            me: self.me,
            signer,
        };
        for output in self.outputs {
            match output {
                Output::Send { to, message } => dispatch.messages.push((to, message)),
                Output::Sign { statement, then } => {
                    if let Err(error) = pen.write(statement, then, stored_block, &mut dispatch) {
                        dispatch.unsigned.push(error);
                    }
                }
            }
        }
        dispatch
    }
}

struct Pen<'a> {
    genesis: GenesisHash,
    me: Option<ValidatorAddress>,
    signer: Option<&'a dyn Signer>,
}

impl Pen<'_> {
    fn write(
        &mut self,
        statement: Statement,
        then: Then,
        stored_block: &mut dyn FnMut(&BlockHash) -> Option<Block>,
        dispatch: &mut Dispatch,
    ) -> Result<(), SignError> {
        let (Some(signer), Some(me)) = (self.signer, self.me) else {
            return Err(SignError("this replica has no key to sign with".into()));
        };
        let signature = signer.sign(&statement, &statement.digest(&self.genesis))?;
        let own = |message| Input::Progress {
            from: me,
            message: Verified::own(message),
        };
        match (statement, then) {
            (Statement::Vote(statement), then) => {
                let vote = Vote {
                    statement,
                    voter: me,
                    signature,
                };
                dispatch.inputs.push(own(ProgressMessage::Vote(vote)));
                match then {
                    Then::Vote { to: Some(to) } => {
                        dispatch
                            .messages
                            .push((to, progress(ProgressMessage::Vote(vote))));
                    }
                    Then::Vote { to: None } => {}
                    Then::Propose {
                        block,
                        timeout_certificate,
                    } => {
                        let propose = Propose {
                            block,
                            vote,
                            timeout_certificate,
                        };
                        let message = progress(ProgressMessage::Propose(propose));
                        dispatch.messages.push((To::All, message));
                    }
                    Then::StoredProposal {
                        block,
                        timeout_certificate,
                    } => {
                        if let Some(block) = stored_block(&block) {
                            let propose = Propose {
                                block,
                                vote,
                                timeout_certificate,
                            };
                            let message = progress(ProgressMessage::Propose(propose));
                            dispatch.messages.push((To::All, message));
                        }
                    }
                    Then::Nudge {
                        justify,
                        timeout_certificate,
                    } => {
                        let nudge = Nudge {
                            view_num: statement.view_num,
                            justify,
                            vote,
                            timeout_certificate,
                        };
                        let message = progress(ProgressMessage::Nudge(nudge));
                        dispatch.messages.push((To::All, message));
                    }
                    Then::TimeOut { .. } | Then::Wake => unreachable!("a vote is no time-out"),
                }
            }
            (
                Statement::Timeout(statement),
                Then::TimeOut {
                    highest_qc,
                    last_vote,
                },
            ) => {
                let last_vote = match last_vote {
                    None => None,
                    Some(vote) => {
                        // Ed25519 is deterministic: the same bytes as when the vote was cast.
                        let signed = Statement::Vote(vote);
                        let signature = signer.sign(&signed, &signed.digest(&self.genesis))?;
                        Some(Vote {
                            statement: vote,
                            voter: me,
                            signature,
                        })
                    }
                };
                let message = ProgressMessage::TimeoutVote(TimeoutVote {
                    epoch: statement.epoch,
                    view_num: statement.view_num,
                    highest_qc,
                    last_vote,
                    validator: me,
                    signature,
                });
                dispatch.inputs.push(own(message.clone()));
                dispatch.messages.push((To::All, progress(message)));
            }
            (Statement::Wake(statement), Then::Wake) => {
                let wake = Wake {
                    epoch: statement.epoch,
                    view_num: statement.view_num,
                    validator: me,
                    signature,
                };
                dispatch
                    .messages
                    .push((To::All, progress(ProgressMessage::Wake(wake))));
            }
            _ => unreachable!("each statement has its own continuation"),
        }
        Ok(())
    }
}

fn progress(message: ProgressMessage) -> Message {
    Message::Progress(message)
}

/// Epochs whose records stay in memory. Those before are on disk: whoever is further behind syncs.
pub const EPOCHS_KEPT: usize = 8;

/// Everything that survives a crash: what [`Algorithm::recover`] starts from. Bounded by the limits
/// on pending blocks and on validator sets; block data stays on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    pub voting_record: VotingRecord,
    /// A Commit QC whose block is not known yet is of the epoch after the current one.
    pub highest_qc: QuorumCertificate,
    pub highest_tc: Option<TimeoutCertificate>,
    /// The last committed block; the genesis hash at height 0.
    pub committed: CommittedHead,
    /// Valid blocks above the committed chain, each after its parent.
    pub pending: Vec<PendingBlock>,
    /// Of the committed blocks of the last epoch.
    pub activity: Activity,
    /// The last epochs, oldest first, up to [`EPOCHS_KEPT`]; the last one is the current one.
    pub epochs: Vec<EpochRecord>,
    /// Of which evidence is kept, up to `EVIDENCE_MAX`; the evidence itself stays on disk.
    pub offences: BTreeSet<Offence>,
}

impl Durable {
    /// What the genesis implies.
    pub fn new(genesis: GenesisHash, validator_set: ValidatorSet) -> Durable {
        Durable {
            voting_record: VotingRecord::default(),
            highest_qc: QuorumCertificate::genesis(genesis),
            highest_tc: None,
            committed: CommittedHead {
                hash: genesis.as_block_hash(),
                height: BlockHeight(0),
                rank: Rank::default(),
            },
            pending: Vec::new(),
            activity: Activity::new(validator_set.len()),
            epochs: vec![EpochRecord::first(validator_set)],
            offences: BTreeSet::new(),
        }
    }

    /// The epoch that reigns.
    pub fn epoch(&self) -> &EpochRecord {
        current(&self.epochs)
    }

    /// The view after the last certificate of the epoch. A Commit QC whose block is unknown ends
    /// the epoch only with that block.
    pub fn view(&self) -> Rank {
        let epoch = self.epoch().epoch;
        let timed_out = self.highest_tc.as_ref().map(TimeoutCertificate::rank);
        let certificates = timed_out.into_iter().chain([self.highest_qc.rank()]);
        let of_epoch = certificates.filter(|rank| rank.epoch == epoch);
        let last = of_epoch.map(|rank| rank.view).max().unwrap_or_default();
        let view = last.next();
        Rank { epoch, view }
    }
}

/// What this key has signed: the root of one-vote-per-view and no-vote-after-timeout.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct VotingRecord {
    pub voted: Option<VoteStatement>,
    pub timed_out: Option<(Epoch, ViewNumber)>,
    pub proposal: Option<StoredProposal>,
}

/// The end of the committed chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedHead {
    pub hash: BlockHash,
    pub height: BlockHeight,
    /// Where it was proposed; (0, 0) for the genesis.
    pub rank: Rank,
}

impl CommittedHead {
    /// The view it was proposed in; 0 if that was in another epoch than `epoch`.
    pub fn view_in(&self, epoch: Epoch) -> ViewNumber {
        match self.rank.epoch == epoch {
            true => self.rank.view,
            false => ViewNumber(0),
        }
    }
}

/// A valid block that is not committed, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingBlock {
    pub hash: BlockHash,
    pub header: crate::types::BlockHeader,
    pub data_bytes: u64,
}
