//! The algorithm's state, and its one entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::evidence::{Offence, Signed};
use crate::messages::{Certificate, Message, ProgressMessage, TimeoutVote, Vote, Wake};
use crate::pacemaker::Pacemaker;
use crate::types::{
    BlockHash, BlockHeight, ChainParameters, Epoch, GenesisHash, Phase, QuorumCertificate, Rank,
    Statement, Time, TimeoutCertificate, ValidatorAddress, ValidatorSet, ViewNumber,
};

use super::collect::{Timeouts, Votes};
use super::leaders::Leaders;
use super::propose::{Ahead, Proposing};
use super::step::{current, Output, Then};
use super::sync::Sync;
use super::tree::Tree;
use super::vote::Judging;
use super::{
    CommittedHead, Durable, Effect, EpochRecord, Event, Input, PendingBlock, Step, StoredProposal,
    To, VotingRecord, Write,
};

/// To whom votes go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VoteTo {
    /// `All` up to [`VoteTo::ALL_VALIDATORS_MAX`] validators, `NextLeader` beyond.
    #[default]
    Auto,
    /// Everyone forms each QC: a dead next leader costs nothing extra.
    All,
    /// Linear: only the leader of the next view.
    NextLeader,
}

impl VoteTo {
    /// The greatest set in which `Auto` sends votes to all: a death costs a small set no second
    /// time-out. On two cores votes to the next leader gave 1.05, 1.17, 1.37 and 1.58 times the
    /// blocks/s with 4, 7, 10 and 16 replicas.
    pub const ALL_VALIDATORS_MAX: usize = 10;
}

/// How this replica catches up.
#[derive(Clone, Copy, Debug)]
pub struct SyncConfig {
    /// Blocks asked for in one request; at most `BLOCKS_PER_RESPONSE_MAX`.
    pub request_limit: u32,
    /// How long a peer has to answer.
    pub response_timeout: Duration,
    /// After so long without a valid certificate, a peer is asked what is new.
    pub interval: Duration,
}

impl Default for SyncConfig {
    fn default() -> Self {
        SyncConfig {
            request_limit: 256,
            response_timeout: Duration::from_secs(2),
            interval: Duration::from_secs(10),
        }
    }
}

/// The greatest sizes of what the core keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Blocks that await commit. Beyond it only empty ones are proposed and accepted; of those, and
    /// of certified ones that are fetched, no more than [`Limits::CERTIFIED_FACTOR`] times as many.
    pub pending_blocks_max: usize,
    /// Their data together, in bytes.
    pub pending_bytes_max: u64,
    /// Views ahead of the current one whose votes and proposals are kept.
    pub views_ahead_max: u64,
}

impl Limits {
    /// See [`Limits::pending_blocks_max`].
    pub const CERTIFIED_FACTOR: usize = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            pending_blocks_max: 1_024,
            pending_bytes_max: 256 << 20,
            views_ahead_max: 32,
        }
    }
}

/// What does not change while a replica runs.
#[derive(Clone)]
pub struct Config {
    /// The validator this replica speaks for; none for a listener.
    pub me: Option<ValidatorAddress>,
    pub genesis: GenesisHash,
    pub parameters: ChainParameters,
    pub pacemaker: Arc<dyn Pacemaker>,
    pub vote_to: VoteTo,
    pub sync: SyncConfig,
    pub limits: Limits,
}

/// Views behind the current one whose votes are still collected: a crashed leader's predecessor is
/// certified from the last votes that time-outs carry.
const VIEWS_BEHIND: u64 = 8;

/// Peers whose last answer is remembered; the oldest is forgotten beyond it.
const ANSWERED_PEERS_MAX: usize = 2 * crate::types::limits::VALIDATORS_MAX;

/// The algorithm of one replica: a pure state machine.
pub struct Algorithm {
    pub(super) config: Config,
    pub(super) now: Time,

    // On disk too: changed only together with a `Write` (memory-never-ahead).
    pub(super) record: VotingRecord,
    pub(super) highest_qc: QuorumCertificate,
    pub(super) highest_tc: Option<TimeoutCertificate>,
    pub(super) tree: Tree,
    /// A function of the committed chain.
    pub(super) leaders: Leaders,
    /// Never empty; the last one is of the current epoch.
    pub(super) epochs: Vec<EpochRecord>,
    /// Of which evidence is kept.
    pub(super) offences: BTreeSet<Offence>,

    // Lost in a crash.
    pub(super) epoch: Epoch,
    pub(super) view: ViewNumber,
    /// When the wait of this view runs out.
    pub(super) timer: Time,
    /// A proposal, vote or time-out of this view has been seen: it is not idle.
    pub(super) is_view_active: bool,
    /// The last view in which somebody had work.
    pub(super) woken: ViewNumber,
    /// My key has signed what I do not know of: nothing more is signed.
    pub(super) has_twin: bool,
    /// The host has work that the app has not been asked for.
    pub(super) is_notified: bool,
    pub(super) votes: Votes,
    pub(super) timeouts: Timeouts,
    pub(super) proposing: Proposing,
    pub(super) ahead: Option<Ahead>,
    pub(super) judging: Judging,
    pub(super) sync: Sync,
    pub(super) answered: BTreeMap<ValidatorAddress, Time>,

    // Of the step in hand.
    pub(super) writes: Vec<Write>,
    pub(super) outputs: Vec<Output>,
    pub(super) effects: Vec<Effect>,
    pub(super) events: Vec<Event>,
}

impl Algorithm {
    /// The state that `durable` implies, at the time `now`. The step says again what was being
    /// said: a vote, time-out or proposal of the view that it returns to, the same bytes.
    pub fn recover(config: Config, durable: Durable, now: Time) -> Step {
        let Rank { epoch, view } = durable.view();
        let Durable {
            voting_record,
            highest_qc,
            highest_tc,
            committed,
            pending,
            activity,
            epochs,
            offences,
        } = durable;
        let set = &current(&epochs).validator_set;
        let committed_view = committed.view_in(epoch);
        let mut algorithm = Algorithm {
            now,
            record: voting_record,
            highest_qc,
            highest_tc,
            tree: Tree::new(committed, pending),
            leaders: Leaders::new(activity, set, committed_view),
            epochs,
            offences,
            epoch,
            view,
            timer: Time::NEVER,
            is_view_active: false,
            woken: ViewNumber(0),
            has_twin: false,
            is_notified: true, // the host may have had work when it crashed
            votes: Votes::default(),
            timeouts: Timeouts::default(),
            proposing: Proposing::NotAsked,
            ahead: None,
            judging: Judging::default(),
            sync: Sync::new(now),
            answered: BTreeMap::new(),
            writes: Vec::new(),
            outputs: Vec::new(),
            effects: Vec::new(),
            events: Vec::new(),
            config,
        };
        algorithm.watch_own_on_disk();
        algorithm.say_again();
        algorithm.begin_view();
        algorithm.go_on();
        algorithm.into_step()
    }

    /// Takes in one input. Total: no I/O, no failure, no panic on foreign input.
    pub fn step(mut self, now: Time, input: Input) -> Step {
        self.now = self.now.max(now);
        match input {
            Input::TimerExpired => self.on_timer(),
            Input::Notify => self.on_notify(),
            Input::Progress { from, message } => match message.into_message() {
                ProgressMessage::Propose(propose) => self.on_propose(from, propose),
                ProgressMessage::Nudge(nudge) => self.on_nudge(from, &nudge),
                ProgressMessage::Vote(vote) => self.on_vote(&vote),
                ProgressMessage::TimeoutVote(timeout) => self.on_timeout_vote(from, timeout),
                ProgressMessage::AdvanceView(Certificate::Quorum(qc)) => self.on_qc(&qc, from),
                ProgressMessage::AdvanceView(Certificate::Timeout(tc)) => self.on_tc(&tc, from),
                ProgressMessage::Wake(wake) => self.on_wake(&wake),
            },
            Input::Synced { from, response } => self.on_synced(from, response.into_message()),
            Input::SyncFailed { peer } => self.on_sync_failed(peer),
            Input::LaterEpoch { peer } => self.on_later_epoch(peer),
            Input::BlockProposed {
                cur_view,
                prev_block,
                response,
            } => {
                self.on_block_proposed(cur_view, prev_block, response);
            }
            Input::BlockValidated { block, response } => self.on_block_validated(block, response),
        }
        self.go_on();
        self.into_step()
    }

    /// When to feed [`Input::TimerExpired`].
    pub fn deadline(&self) -> Time {
        self.timer
            .min(self.propose_deadline())
            .min(self.sync_deadline())
    }

    /// Where the replica is.
    pub fn view(&self) -> Rank {
        Rank {
            epoch: self.epoch,
            view: self.view,
        }
    }

    /// The end of the committed chain.
    pub fn committed(&self) -> CommittedHead {
        self.tree.head()
    }

    /// The highest certificate seen.
    pub fn highest_qc(&self) -> &QuorumCertificate {
        &self.highest_qc
    }

    /// Whether this replica votes: it is of the current epoch's validators, does not know that the
    /// epoch has ended, and has seen no twin.
    pub fn is_validator(&self) -> bool {
        let is_member = |me| self.validator_set().contains(&me);
        self.may_sign(self.epoch) && self.config.me.is_some_and(is_member)
    }

    /// Whether this replica has seen its own key sign elsewhere.
    pub fn has_twin(&self) -> bool {
        self.has_twin
    }

    /// The Commit QC of the current epoch is known, but not its block.
    pub(super) fn epoch_has_ended(&self) -> bool {
        self.highest_qc.rank().epoch > self.epoch
    }

    /// The door to every signature: of the current epoch, until its Commit QC is known, and never
    /// while somebody else may sign with the same key.
    pub(super) fn may_sign(&self, epoch: Epoch) -> bool {
        epoch == self.epoch && !self.epoch_has_ended() && !self.has_twin
    }

    /// The validators of the current epoch.
    pub fn validator_set(&self) -> &ValidatorSet {
        &current(&self.epochs).validator_set
    }

    /// What recovery would start from, were the step on disk: disk-equals-memory.
    pub fn durable(&self) -> Durable {
        Durable {
            voting_record: self.record.clone(),
            highest_qc: self.highest_qc.clone(),
            highest_tc: self.highest_tc.clone(),
            committed: self.tree.head(),
            pending: self.tree.pending(),
            activity: self.leaders.activity().clone(),
            epochs: self.epochs.clone(),
            offences: self.offences.clone(),
        }
    }

    pub(super) fn genesis(&self) -> GenesisHash {
        self.config.genesis
    }

    pub(super) fn me(&self) -> Option<ValidatorAddress> {
        self.config.me
    }

    /// What an input has made possible is done here, in one place: it is asked after every input
    /// whether to judge, to propose, or to fetch.
    fn go_on(&mut self) {
        self.judge();
        self.try_propose();
        self.ask_ahead();
        self.try_sync();
    }

    fn into_step(mut self) -> Step {
        Step {
            writes: std::mem::take(&mut self.writes),
            outputs: std::mem::take(&mut self.outputs),
            effects: std::mem::take(&mut self.effects),
            events: std::mem::take(&mut self.events),
            algorithm: self,
        }
    }

    pub(super) fn send(&mut self, to: To, message: Message) {
        self.outputs.push(Output::Send { to, message });
    }

    pub(super) fn send_progress(&mut self, to: To, message: ProgressMessage) {
        self.send(to, Message::Progress(message));
    }

    pub(super) fn sign(&mut self, statement: Statement, then: Then) {
        self.outputs.push(Output::Sign { statement, then });
    }

    /// Upon any valid certificate of a quorum, wherever it stood: raise the highest QC, commit what
    /// it makes final, fetch its block if it is unknown, and enter the view after it.
    pub(super) fn on_qc(&mut self, qc: &QuorumCertificate, from: ValidatorAddress) {
        self.watch_own_in_qc(qc);
        let rank = qc.rank();
        if rank.epoch > self.epoch && qc.epoch != self.epoch {
            self.sync.keep_for_later(qc, from); // from a range that leads to its epoch
            self.sync.want(rank, qc.block_hash, from, self.now);
            return;
        }
        if rank.epoch < self.epoch {
            return;
        }
        self.watch_qc(qc);
        // highest-qc-only-rises
        if rank > self.highest_qc.rank() {
            self.sync.saw_certificate(self.now);
            self.votes.hear_signers(qc);
            self.highest_qc = qc.clone();
            self.writes.push(Write::SetHighestQc(qc.clone()));
            self.events.push(Event::QcCollected {
                rank,
                block: qc.block_hash,
            });
        }
        if self.tree.knows(&qc.block_hash) {
            self.commit_by(qc);
        } else if rank > self.tree.head().rank {
            self.sync.want(rank, qc.block_hash, from, self.now);
        }
        if rank.epoch == self.epoch && rank.view >= self.view {
            self.enter_view(rank.view.next());
        }
    }

    /// Upon a valid certificate of time-outs: its QC first, then the view after it.
    pub(super) fn on_tc(&mut self, tc: &TimeoutCertificate, from: ValidatorAddress) {
        self.watch_own_in_tc(tc);
        self.on_qc(&tc.highest_qc, from);
        if tc.epoch != self.epoch || tc.view_num < self.view {
            return;
        }
        self.watch_tc(tc);
        self.sync.saw_certificate(self.now);
        self.highest_tc = Some(tc.clone());
        self.writes.push(Write::SetHighestTc(tc.clone()));
        self.enter_view(tc.view_num.next());
    }

    /// Upon a vote: count it. The block need not be known: a vote that overtakes its block is kept.
    pub(super) fn on_vote(&mut self, vote: &Vote) {
        let statement = &vote.statement;
        self.watch_own_vote(&vote.voter, *statement);
        if statement.epoch != self.epoch || !self.is_collected(statement.view_num) {
            return;
        }
        self.watch_vote(vote.voter, Signed::from(vote));
        if statement.view_num == self.view {
            self.see_activity();
        }
        let set = &current(&self.epochs).validator_set;
        if let Some(qc) = self.votes.add(set, vote) {
            if qc.phase == Phase::Commit {
                self.hand_over(&qc);
            }
            self.on_qc(&qc, vote.voter);
        }
    }

    /// Whether votes of `view` are kept.
    pub(super) fn is_collected(&self, view: ViewNumber) -> bool {
        let first = self.view.0.saturating_sub(VIEWS_BEHIND);
        let last = self.view.plus(self.config.limits.views_ahead_max);
        (first..=last.0).contains(&view.0)
    }

    /// Commits what `qc` makes final, with all its ancestors, in height order.
    pub(super) fn commit_by(&mut self, qc: &QuorumCertificate) {
        let rule = self.config.parameters.commit_rule;
        if qc.phase == Phase::Commit {
            self.change_epoch(qc);
        } else if let Some(block) = self.tree.made_final_by(qc, rule) {
            self.commit(block);
        }
    }

    /// Commits a pending block with all its ancestors, in height order.
    pub(super) fn commit(&mut self, block: BlockHash) {
        let (committed, dropped) = self.tree.commit(block);
        for PendingBlock { hash, header, .. } in committed {
            let (rank, height) = (header.rank(), header.height);
            self.writes.push(Write::CommitBlock { hash, height });
            self.events.push(Event::Committed {
                rank,
                height,
                block: hash,
            });
            let set = &current(&self.epochs).validator_set;
            self.leaders.commit(set, &header);
        }
        self.writes
            .extend(dropped.into_iter().map(|hash| Write::DropBlock { hash }));
    }

    /// Views are entered by certificates only, and never left backwards.
    pub(super) fn enter_view(&mut self, view: ViewNumber) {
        debug_assert!(view > self.view);
        self.view = view;
        self.votes
            .forget_below(ViewNumber(view.0.saturating_sub(VIEWS_BEHIND)));
        self.begin_view();
    }

    pub(super) fn begin_view(&mut self) {
        self.is_view_active = false;
        self.proposing = Proposing::NotAsked;
        self.forget_stale_ahead();
        let leader = self.leader();
        self.events.push(Event::ViewStarted {
            rank: self.view(),
            leader,
        });
        self.start_timer();
        self.wake_if_notified();
    }

    /// Whoever speaks of a view or an epoch that is over is told how it ended: once per base
    /// time-out.
    pub(super) fn answer_with_certificate(&mut self, peer: ValidatorAddress, epoch: Epoch) {
        let again = self
            .answered
            .get(&peer)
            .map(|last| last.after(self.base_timeout()));
        if Some(peer) == self.config.me || again.is_some_and(|again| self.now < again) {
            return;
        }
        if self.answered.len() >= ANSWERED_PEERS_MAX {
            let oldest = self
                .answered
                .iter()
                .min_by_key(|(_, last)| **last)
                .map(|(peer, _)| *peer);
            oldest.map(|oldest| self.answered.remove(&oldest));
        }
        self.answered.insert(peer, self.now);
        let end = self.end_of(epoch).map(Certificate::Quorum);
        if let Some(certificate) = end.or_else(|| self.highest_certificate()) {
            let message = ProgressMessage::AdvanceView(certificate);
            self.send_progress(To::Peer(peer), message);
        }
    }

    /// What led to the current view; nothing in the first.
    fn highest_certificate(&self) -> Option<Certificate> {
        match &self.highest_tc {
            Some(tc) if tc.rank() > self.highest_qc.rank() => {
                Some(Certificate::Timeout(tc.clone()))
            }
            _ if self.highest_qc.view_num.0 == 0 => None,
            _ => Some(Certificate::Quorum(self.highest_qc.clone())),
        }
    }

    pub(super) fn leader(&self) -> ValidatorAddress {
        self.leader_of(self.view)
    }

    pub(super) fn is_leader(&self) -> bool {
        self.config.me == Some(self.leader())
    }

    /// The receivers of my vote in the current view; nobody if I am the only one.
    pub(super) fn vote_receivers(&self) -> Option<To> {
        let all = match self.config.vote_to {
            VoteTo::All => true,
            VoteTo::NextLeader => false,
            VoteTo::Auto => self.validator_set().len() <= VoteTo::ALL_VALIDATORS_MAX,
        };
        if all {
            return Some(To::All);
        }
        let next = self.leader_of(self.view.next());
        (Some(next) != self.config.me).then_some(To::Peer(next))
    }

    /// After a crash: the vote, the proposal and the time-out of the current view once more.
    fn say_again(&mut self) {
        if !self.is_validator() {
            return;
        }
        if let Some(vote) = self.record.voted.filter(|vote| vote.rank() == self.view()) {
            let own = self
                .record
                .proposal
                .as_ref()
                .filter(|proposal| proposal.vote == vote);
            let then = match own.cloned() {
                Some(StoredProposal {
                    nudge: Some(justify),
                    timeout_certificate,
                    ..
                }) => Then::Nudge {
                    justify,
                    timeout_certificate,
                },
                Some(StoredProposal {
                    block,
                    timeout_certificate,
                    ..
                }) => Then::StoredProposal {
                    block,
                    timeout_certificate,
                },
                None => Then::Vote {
                    to: self.vote_receivers(),
                },
            };
            self.sign(Statement::Vote(vote), then);
        }
        if super::safety::has_timed_out(&self.record, self.view()) {
            self.time_out_highest();
        }
    }

    pub(super) fn on_timeout_vote(&mut self, from: ValidatorAddress, timeout: TimeoutVote) {
        self.watch_own_timeout(&timeout.validator, timeout.statement());
        self.watch_timeout(&timeout);
        self.on_qc(&timeout.highest_qc, from);
        if let Some(vote) = &timeout.last_vote {
            self.on_vote(vote);
        }
        let rank = Rank {
            epoch: timeout.epoch,
            view: timeout.view_num,
        };
        if rank < self.view() {
            self.answer_with_certificate(from, rank.epoch);
        } else if rank.epoch == self.epoch {
            self.collect_timeout(from, &timeout);
        }
    }

    pub(super) fn on_wake(&mut self, wake: &Wake) {
        let last = self.view.plus(self.config.limits.views_ahead_max);
        let first = self
            .view
            .0
            .saturating_sub(self.validator_set().len() as u64);
        if wake.epoch == self.epoch && (first..=last.0).contains(&wake.view_num.0) {
            self.be_woken(wake.view_num);
        }
    }

    /// A certified block that is not known here, if there is one.
    pub fn wanted_block(&self) -> Option<BlockHash> {
        self.sync.wanted()
    }

    /// The height of the last block that was fetched and is not judged yet.
    pub fn sync_target(&self) -> Option<BlockHeight> {
        self.sync.target()
    }

    /// The peer whose sync response is awaited; one from anybody else is unsolicited.
    pub fn sync_peer(&self) -> Option<ValidatorAddress> {
        self.sync.peer()
    }
}
