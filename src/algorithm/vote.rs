//! Judging blocks, and voting for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::ValidateBlockResponse;
use crate::messages::Propose;
use crate::types::{
    check_state_updates, Block, BlockHash, BlockHeader, Phase, StateUpdates, Statement,
    ValidatorAddress, ViewNumber, VoteStatement,
};

use super::safety;
use super::step::Then;
use super::{Algorithm, Effect, Event, Limits, PendingBlock, Write};

/// Proposals that wait for their parents or for the app; of the lowest view is given up first.
const CANDIDATES_MAX: usize = 8;

/// Blocks remembered as diverged; beyond it the replica has other worries.
const DIVERGED_MAX: usize = 64;

/// Blocks on their way to a verdict.
#[derive(Debug, Default)]
pub(super) struct Judging {
    candidates: BTreeMap<ViewNumber, Candidate>,
    /// The one question that the app has not answered.
    pub(super) asked: Option<Question>,
    /// A justified nudge of the current view, as the vote for it, until its block is known.
    pub(super) nudged: Option<VoteStatement>,
    /// Certified blocks that the app calls invalid.
    diverged: BTreeSet<BlockHash>,
}

/// Where a block that the app is asked for is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) cur_view: ViewNumber,
    pub(super) prev_block: BlockHash,
}

/// What the app is being asked.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // the large one is the usual one
pub(super) enum Question {
    Propose(Place),
    Validate { candidate: Candidate, is_sync: bool },
}

/// A block that is not yet judged.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) hash: BlockHash,
    pub(super) block: Block,
    pub(super) leader: ValidatorAddress,
    /// Rule 3 held, with the certificates that came along.
    pub(super) is_justified: bool,
}

impl Judging {
    /// What was fetched and is with the app.
    pub(super) fn fetched_in_question(&self) -> Option<(&BlockHash, &Block)> {
        match &self.asked {
            Some(Question::Validate {
                candidate,
                is_sync: true,
            }) => Some((&candidate.hash, &candidate.block)),
            _ => None,
        }
    }

    /// Whether the app is being asked for a block in this place.
    pub(super) fn is_asked_for_block(&self, place: Place) -> bool {
        matches!(self.asked, Some(Question::Propose(asked)) if asked == place)
    }

    pub(super) fn has_diverged(&self, hash: &BlockHash) -> bool {
        self.diverged.contains(hash)
    }

    /// Proposals of an epoch that has ended are judged no more.
    pub(super) fn forget_epoch(&mut self) {
        self.candidates.clear();
        self.nudged = None;
    }
}

impl Algorithm {
    /// Upon a proposal: its certificates first, then the leader's vote, then the block, which is
    /// kept until its parent is known. One that comes too late to vote for is judged and kept too.
    pub(super) fn on_propose(&mut self, from: ValidatorAddress, propose: Propose) {
        let Propose {
            block,
            vote,
            timeout_certificate,
        } = propose;
        let header = &block.header;
        self.on_qc(&header.justify, from);
        if let Some(tc) = &timeout_certificate {
            self.on_tc(tc, from);
        }
        if !self.is_of_this_epoch(header.epoch, from) {
            return;
        }
        let is_leaders =
            vote.voter == self.leader_of(header.view) && vote.statement.phase == vote_phase(header);
        if !is_leaders {
            return;
        }
        let (hash, view) = (vote.statement.block_hash, header.view);
        let is_justified = safety::is_justified(header, timeout_certificate.as_ref());
        let was_current = view == self.view;
        if !self.watch_proposal(header, &vote) {
            self.on_vote(&vote);
        }
        if view > self.view {
            return; // nothing in it leads to its view: not the leader's fault, but not justified
        }
        if !was_current {
            self.answer_with_certificate(from, self.epoch);
        }
        if view == self.view {
            self.see_activity();
        }
        let candidate = Candidate {
            hash,
            block,
            leader: vote.voter,
            is_justified,
        };
        self.judging.candidates.entry(view).or_insert(candidate);
        if self.judging.candidates.len() > CANDIDATES_MAX {
            self.judging.candidates.pop_first();
        }
    }

    /// Judges what can be judged: a block whose parent is known. The latest proposal goes first;
    /// what was fetched comes when no proposal can be judged.
    pub(super) fn judge(&mut self) {
        while self.judge_one() {}
        self.judge_nudge();
    }

    /// True if something has changed that may let another block be judged.
    fn judge_one(&mut self) -> bool {
        let views: Vec<ViewNumber> = self.judging.candidates.keys().rev().copied().collect();
        views.into_iter().any(|view| self.judge_candidate(view)) || self.judge_fetched()
    }

    fn judge_candidate(&mut self, view: ViewNumber) -> bool {
        let Some(candidate) = self.judging.candidates.get(&view) else {
            return false;
        };
        let header = &candidate.block.header;
        let parent = header.parent();
        if !self.tree.knows(&candidate.hash) && !self.tree.knows(&parent) {
            // The parent is being fetched, unless the committed chain has left it behind.
            if header.justify.rank() <= self.tree.head().rank {
                self.judging.candidates.remove(&view);
            }
            return false;
        }
        if self.judging.asked.is_some()
            && !candidate.block.data.is_empty()
            && !self.tree.knows(&candidate.hash)
        {
            return false;
        }
        let candidate = self
            .judging
            .candidates
            .remove(&view)
            .expect("it was just there");
        if self.tree.knows(&candidate.hash) {
            let statement = vote_statement(candidate.hash, &candidate.block.header);
            self.try_vote(statement, candidate.is_justified);
            return false;
        }
        if let Err(why) = self.check_header(&candidate.block) {
            self.refuse(&candidate, why);
            return false;
        }
        self.judge_checked(candidate, false)
    }

    fn judge_fetched(&mut self) -> bool {
        self.enter_epoch_of_fetched();
        let Some((hash, block)) = self.sync.next_fetched() else {
            return false;
        };
        if self.tree.knows(hash) {
            self.sync.take_fetched();
            return true;
        }
        // An empty block needs no app, but its parent may still be with it.
        let needs_no_app = block.data.is_empty() && self.tree.knows(&block.header.parent());
        let is_free = self.judging.asked.is_none() || needs_no_app;
        if !is_free {
            return false;
        }
        let (hash, block) = self.sync.take_fetched().expect("it was just there");
        if self.check_header(&block).is_err() || self.judging.has_diverged(&hash) {
            self.sync.give_up_fetched(self.now);
            return false;
        }
        let leader = self.leader_of(block.header.view);
        let candidate = Candidate {
            hash,
            block,
            leader,
            is_justified: false,
        };
        let is_accepted = self.judge_checked(candidate, true);
        if !is_accepted && self.judging.asked.is_none() {
            self.sync.give_up_fetched(self.now); // no room: what follows has no parent
        }
        is_accepted
    }

    /// The Commit QC under a fetched block, verified with its range, begins the block's epoch.
    fn enter_epoch_of_fetched(&mut self) {
        let Some((_, block)) = self.sync.next_fetched() else {
            return;
        };
        let justify = block.header.justify.clone();
        let ends_epoch = justify.phase == Phase::Commit && justify.epoch == self.epoch;
        if ends_epoch && self.tree.knows(&justify.block_hash) {
            self.on_qc(&justify, self.leader());
        }
    }

    /// Rule 5, but for the app's verdict. What fails here, the leader's key has signed.
    fn check_header(&self, block: &Block) -> Result<(), &'static str> {
        let header = &block.header;
        let Some((height, rank)) = self.tree.place(&header.parent()) else {
            return Err("its parent is not known");
        };
        if header.height != height.next() {
            return Err("its height is not its parent's plus one");
        }
        if header.rank() <= rank {
            return Err("its view is not above its parent's");
        }
        if header.validator_set_updates.is_some() && block.data.is_empty() {
            return Err("it updates the validator set, and has no data");
        }
        self.check_epoch(header)?;
        if block.data.len() as u64 > self.config.parameters.block_data_bytes_max {
            return Err("its data exceeds the chain's block_data_bytes_max");
        }
        Ok(())
    }

    fn judge_checked(&mut self, candidate: Candidate, is_sync: bool) -> bool {
        let parent = candidate.block.header.parent();
        if !self.has_room(parent, candidate.block.data.len() as u64, is_sync) {
            self.events.push(Event::TooManyPending {
                blocks: self.tree.blocks(),
            });
            return false;
        }
        if candidate.block.data.is_empty() {
            // The library's own: no updates, the app is not asked.
            self.accept(candidate, StateUpdates::new());
            return true;
        }
        self.effects.push(Effect::ValidateBlock {
            cur_view: self.view,
            hash: candidate.hash,
            block: candidate.block.clone(),
            is_sync,
        });
        self.judging.asked = Some(Question::Validate { candidate, is_sync });
        false
    }

    /// Upon the app's verdict.
    pub(super) fn on_block_validated(&mut self, hash: BlockHash, response: ValidateBlockResponse) {
        let (candidate, is_sync) = match self.judging.asked.take() {
            Some(Question::Validate { candidate, is_sync }) if candidate.hash == hash => {
                (candidate, is_sync)
            }
            other => {
                self.judging.asked = other;
                return;
            }
        };
        match response {
            ValidateBlockResponse::Valid {
                state_updates,
                validator_set_updates,
            } => {
                let updates = state_updates.unwrap_or_default();
                let header = &candidate.block.header;
                let set_updates = validator_set_updates.filter(|updates| !updates.is_empty());
                if set_updates != header.validator_set_updates {
                    self.disagree(
                        candidate,
                        is_sync,
                        "its validator-set updates differ from the app's",
                    );
                } else if let Err(why) = check_state_updates(&updates) {
                    self.events.push(Event::AppFailed { why });
                    self.leave_undecided(is_sync);
                } else if header.epoch == self.epoch && self.tree.knows(&header.parent()) {
                    self.accept(candidate, updates);
                }
            }
            ValidateBlockResponse::Invalid => {
                self.disagree(candidate, is_sync, "the app calls it invalid");
            }
            ValidateBlockResponse::Undecided => self.leave_undecided(is_sync),
        }
    }

    /// The app cannot say: no vote, and nothing held against anybody. The block is fetched, and the
    /// app asked again, once a certificate for it is seen.
    fn leave_undecided(&mut self, is_sync: bool) {
        if is_sync {
            self.sync.give_up_fetched(self.now);
        }
    }

    /// The app says no. Of a certified block that means that the apps differ; of another one, that
    /// its leader is at fault.
    fn disagree(&mut self, candidate: Candidate, is_sync: bool, why: &'static str) {
        let hash = candidate.hash;
        if !is_sync && self.highest_qc.block_hash != hash && self.sync.wanted() != Some(hash) {
            self.refuse(&candidate, why);
            return;
        }
        let height = candidate.block.header.height;
        let rule = self.config.parameters.commit_rule;
        let is_committed = is_sync && self.sync.makes_final(&candidate.block.header, rule);
        if self.judging.diverged.len() < DIVERGED_MAX && self.judging.diverged.insert(hash) {
            self.events.push(Event::Diverged {
                block: hash,
                height,
                is_committed,
            });
        }
        self.sync.give_up_fetched(self.now);
    }

    /// What the leader's key covers is wrong: the view is lost, so it is timed out at once.
    fn refuse(&mut self, candidate: &Candidate, why: &'static str) {
        let Candidate {
            hash,
            block,
            leader,
            is_justified,
        } = candidate;
        let rank = block.header.rank();
        self.events.push(Event::BlockRefused {
            rank,
            block: *hash,
            leader: *leader,
            why,
        });
        let has_timed_out = safety::has_timed_out(&self.record, rank);
        if *is_justified && rank == self.view() && self.is_validator() && !has_timed_out {
            self.time_out(self.view);
        }
    }

    fn accept(&mut self, candidate: Candidate, state_updates: StateUpdates) {
        let Candidate {
            hash,
            block,
            is_justified,
            ..
        } = candidate;
        let statement = vote_statement(hash, &block.header);
        self.insert(hash, block, state_updates);
        self.try_vote(statement, is_justified);
    }

    /// Puts a valid block into the tree, and commits what that lets be seen as final.
    pub(super) fn insert(&mut self, hash: BlockHash, block: Block, state_updates: StateUpdates) {
        let header = block.header.clone();
        let data_bytes = block.data.len() as u64;
        self.tree.insert(PendingBlock {
            hash,
            header: header.clone(),
            data_bytes,
        });
        self.writes.push(Write::InsertBlock {
            hash,
            block,
            state_updates,
        });
        self.commit_by(&header.justify);
        if self.highest_qc.block_hash == hash {
            self.commit_by(&self.highest_qc.clone());
        }
        self.sync.arrived(&hash, self.tree.head().rank);
    }

    /// Whether a block with so much data may be added. Branches off the highest QC's go first: what
    /// is certified of them can be fetched again.
    ///
    /// While the highest QC's block is being fetched, `parent` is on the way to it. A certified
    /// block has more room: a quorum had room for it, and without it nothing here is ever
    /// committed, so the room would never come back. (Its data is on disk, not in memory.)
    pub(super) fn has_room(
        &mut self,
        parent: BlockHash,
        data_bytes: u64,
        is_certified: bool,
    ) -> bool {
        if self.is_within_limits(data_bytes, false) {
            return true;
        }
        let tip = self.highest_qc.block_hash;
        let tip = match self.tree.knows(&tip) {
            true => tip,
            false if is_certified => parent,
            false => return false,
        };
        let voted = self
            .record
            .voted
            .filter(|vote| vote.rank() > self.highest_qc.rank());
        let keep = voted.map_or(tip, |vote| vote.block_hash);
        let dropped = self.tree.drop_side_branches(tip, keep);
        self.writes
            .extend(dropped.into_iter().map(|hash| Write::DropBlock { hash }));
        self.tree.knows(&parent) && self.is_within_limits(data_bytes, is_certified)
    }

    pub(super) fn is_within_limits(&self, data_bytes: u64, is_certified: bool) -> bool {
        let limits = &self.config.limits;
        let is_empty = data_bytes == 0;
        let factor = |more: bool| if more { Limits::CERTIFIED_FACTOR } else { 1 };
        let blocks_max = limits
            .pending_blocks_max
            .saturating_mul(factor(is_empty || is_certified));
        let bytes_max = limits
            .pending_bytes_max
            .saturating_mul(factor(is_certified) as u64);
        self.tree.blocks() < blocks_max && (is_empty || self.tree.bytes() + data_bytes <= bytes_max)
    }

    /// Votes for a known block, or a nudge of it, if every rule allows it: on disk first, signed
    /// after.
    pub(super) fn try_vote(&mut self, statement: VoteStatement, is_justified: bool) {
        let may = statement.rank() == self.view()
            && is_justified
            && self.is_validator()
            && safety::may_vote(&self.record, statement.rank());
        if may {
            let to = self.vote_receivers();
            self.cast_vote(statement, Then::Vote { to });
        }
    }

    /// one-vote-per-view: the record is written in the same step, before the signature exists.
    pub(super) fn cast_vote(&mut self, statement: VoteStatement, then: Then) {
        self.record.voted = Some(statement);
        self.writes.push(Write::CastVote(statement));
        self.events.push(Event::Voted {
            rank: statement.rank(),
            block: statement.block_hash,
        });
        self.is_view_active = true;
        self.start_timer();
        self.sign(Statement::Vote(statement), then);
    }
}

/// The vote for a block.
pub(super) fn vote_statement(hash: BlockHash, header: &BlockHeader) -> VoteStatement {
    VoteStatement {
        epoch: header.epoch,
        view_num: header.view,
        justify_view: header.justify.rank().view,
        block_hash: hash,
        phase: vote_phase(header),
    }
}

fn vote_phase(header: &BlockHeader) -> Phase {
    match header.validator_set_updates {
        Some(_) => Phase::Prepare,
        None => Phase::Generic,
    }
}
