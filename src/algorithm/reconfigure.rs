//! The phased mode: a block that updates the validator set is nudged to its commit, and the new set
//! takes over.

use crate::messages::{Certificate, Nudge, ProgressMessage};
use crate::types::limits::VALIDATOR_SET_UPDATES_MAX;
use crate::types::{
    BlockHeader, Epoch, Phase, QuorumCertificate, ValidatorAddress, ValidatorSet,
    ValidatorSetUpdates, ViewNumber, VoteStatement,
};

use super::collect::{Timeouts, Votes};
use super::leaders::{Activity, Leaders};
use super::propose::Proposing;
use super::safety;
use super::step::{current, Then};
use super::{Algorithm, EpochRecord, Event, StoredProposal, To, Write, EPOCHS_KEPT};

impl Algorithm {
    /// Proposes one more phase for the block of the highest QC, instead of a block.
    pub(super) fn nudge(&mut self) {
        let justify = self.highest_qc.clone();
        let rule = self.config.parameters.commit_rule;
        let phase = safety::nudge_phase(&justify, self.view, rule);
        let Some(phase) = phase else {
            return; // a phase that this chain's rule does not have
        };
        let statement = VoteStatement {
            epoch: self.epoch,
            view_num: self.view,
            justify_view: justify.rank().view,
            block_hash: justify.block_hash,
            phase,
        };
        let timeout_certificate = self.needed_tc();
        self.store_proposal(StoredProposal {
            block: justify.block_hash,
            nudge: Some(justify.clone()),
            vote: statement,
            timeout_certificate: timeout_certificate.clone(),
        });
        self.cast_vote(
            statement,
            Then::Nudge {
                justify,
                timeout_certificate,
            },
        );
    }

    /// Upon a nudge: its certificates first, then the leader's vote, then, once its block is known,
    /// the vote for it. A wrong phase is dropped: the justify is not covered by the leader's key.
    pub(super) fn on_nudge(&mut self, from: ValidatorAddress, nudge: &Nudge) {
        self.on_qc(&nudge.justify, from);
        let tc = nudge.timeout_certificate.as_ref();
        if let Some(tc) = tc {
            self.on_tc(tc, from);
        }
        let statement = nudge.vote.statement;
        if !self.is_of_this_epoch(statement.epoch, from) {
            return;
        }
        let view = statement.view_num;
        let rule = self.config.parameters.commit_rule;
        let phase = safety::nudge_phase(&nudge.justify, view, rule);
        if nudge.vote.voter != self.leader_of(view) || phase != Some(statement.phase) {
            return;
        }
        let is_justified = safety::justifies(&nudge.justify, tc, self.epoch, view);
        let was_current = view == self.view;
        self.on_vote(&nudge.vote);
        if view > self.view || statement.epoch != self.epoch {
            return;
        }
        if !was_current {
            self.answer_with_certificate(from, self.epoch);
        }
        if view == self.view && is_justified {
            self.see_activity();
            self.judging.nudged = Some(statement);
        }
    }

    /// Votes for the nudge of the current view, once its block is known.
    pub(super) fn judge_nudge(&mut self) {
        let nudged = self.judging.nudged.take();
        let Some(statement) = nudged.filter(|vote| vote.rank() == self.view()) else {
            return;
        };
        if self.tree.knows(&statement.block_hash) {
            self.try_vote(statement, true);
        } else {
            self.judging.nudged = Some(statement);
        }
    }

    /// Whether a proposal is of the current epoch. One of an older epoch is answered with that
    /// epoch's end.
    pub(super) fn is_of_this_epoch(&mut self, epoch: Epoch, from: ValidatorAddress) -> bool {
        if epoch < self.epoch {
            self.answer_with_certificate(from, epoch);
        }
        epoch == self.epoch
    }

    /// What the updates of a block make of the current set.
    ///
    /// # Errors
    /// Why they make the block invalid.
    pub(super) fn updated_set(
        &self,
        updates: &ValidatorSetUpdates,
    ) -> Result<ValidatorSet, &'static str> {
        if updates.is_empty() {
            return Err("its list of validator-set updates is empty");
        }
        if updates.len() > VALIDATOR_SET_UPDATES_MAX {
            return Err("it makes more validator-set updates than a block may");
        }
        let updated = self.validator_set().updated(updates);
        updated.map_err(|_| "its validator-set updates make no validator set")
    }

    /// Whether a block may stand where it does between the epochs, and its updates make a set.
    pub(super) fn check_epoch(&self, header: &BlockHeader) -> Result<(), &'static str> {
        let justify = &header.justify;
        if header.epoch != self.epoch || justify.rank().epoch != self.epoch {
            return Err("it is not of its justify's epoch");
        }
        // What began the epoch is certified for the new set by its Commit QC only.
        let first = &current(&self.epochs).commit_qc;
        let is_first = first
            .as_ref()
            .is_some_and(|first| first.block_hash == justify.block_hash);
        if !safety::justifies_block(justify.phase) || is_first != (justify.phase == Phase::Commit) {
            return Err("its justify is of a phase that justifies no block");
        }
        match &header.validator_set_updates {
            Some(updates) => self.updated_set(updates).map(drop),
            None => Ok(()),
        }
    }

    /// Upon a Commit QC of a known block: in one durable step the block and its ancestors are
    /// committed, and the new set reigns, from its view 1 on.
    pub(super) fn change_epoch(&mut self, qc: &QuorumCertificate) {
        let header = self.tree.header(&qc.block_hash);
        let updates = header.and_then(|header| header.validator_set_updates.clone());
        let Some(updates) = updates.filter(|_| qc.epoch == self.epoch) else {
            return; // that epoch has ended already
        };
        let validator_set = self
            .updated_set(&updates)
            .expect("checked before it was stored");
        self.commit(qc.block_hash);
        let record = EpochRecord {
            epoch: self.epoch.next(),
            validator_set,
            commit_qc: Some(qc.clone()),
        };
        self.writes.push(Write::ChangeEpoch(record.clone()));
        self.events.push(Event::EpochStarted(record.clone()));
        self.epoch = record.epoch;
        self.epochs.push(record);
        if self.epochs.len() > EPOCHS_KEPT {
            self.epochs.remove(0);
        }
        self.forget_the_epoch_before();
        self.begin_view();
        if let Some((qc, from)) = self.sync.begin_epoch(self.now) {
            self.on_qc(&qc, from);
        }
    }

    /// Views are numbered from 1 again: nothing that is kept by view may outlive its epoch.
    fn forget_the_epoch_before(&mut self) {
        self.view = ViewNumber(1);
        self.woken = ViewNumber(0);
        self.votes = Votes::default();
        self.timeouts = Timeouts::default();
        let set = &current(&self.epochs).validator_set;
        self.leaders = Leaders::new(Activity::new(set.len()), set, ViewNumber(0));
        self.proposing = Proposing::NotAsked;
        self.judging.forget_epoch();
        self.answered.clear();
    }

    /// The Commit QC that ended `epoch`, if it has ended and is remembered.
    pub(super) fn end_of(&self, epoch: Epoch) -> Option<QuorumCertificate> {
        let next = self.epochs.iter().find(|next| next.epoch == epoch.next());
        next.and_then(|next| next.commit_qc.clone())
    }

    /// Tells everybody that the epoch has ended: the old set, the new one and the listeners.
    pub(super) fn hand_over(&mut self, commit_qc: &QuorumCertificate) {
        let certificate = Certificate::Quorum(commit_qc.clone());
        self.send_progress(To::All, ProgressMessage::AdvanceView(certificate));
    }

    /// Upon each time-out, until a QC of the new epoch is seen: whoever has missed the Commit QC
    /// learns it from anyone who has not. No further phase is needed.
    pub(super) fn hand_over_again(&mut self) {
        if self.highest_qc.phase == Phase::Commit {
            self.hand_over(&self.highest_qc.clone());
        }
    }
}
