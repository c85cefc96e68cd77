//! Accountability: what verified messages prove against their signers, and what this replica's own
//! signature proves against its voting record.
//!
//! Each message is watched, then taken in: nothing here changes how it is counted. What is
//! remembered for it is what is collected anyway (see `collect.rs`), so it is bounded as that is.

use crate::evidence::{is_lie, Contradiction, Evidence, Signed};
use crate::messages::{TimeoutVote, Vote};
use crate::types::limits::EVIDENCE_MAX;
use crate::types::{
    BlockHeader, Epoch, QuorumCertificate, Rank, TimeoutCertificate, TimeoutStatement, Validator,
    ValidatorAddress, VoteStatement,
};

use super::{safety, Algorithm, Event, Write};

impl Algorithm {
    /// Upon a vote of a view that is collected: does it contradict its voter's first one, or its
    /// voter's highest time-out?
    pub(super) fn watch_vote(&mut self, voter: ValidatorAddress, vote: Signed<VoteStatement>) {
        let Some(index) = self.validator_set().index_of(&voter) else {
            return;
        };
        let first = self.votes.ballot(index, vote.statement.view_num);
        if let Some(first) = first.filter(|first| first.statement != vote.statement) {
            let second = vote;
            self.keep(voter, Contradiction::DoubleVote { first, second });
        }
        let timeout = self.timeouts.highest(index, self.epoch);
        if let Some(timeout) = timeout.filter(|it| is_lie(&it.statement, &vote.statement)) {
            self.keep(voter, Contradiction::LyingTimeout { timeout, vote });
        }
    }

    /// Upon a proposal by the leader of its view: is it another one than the first? Then its vote
    /// has no more to tell.
    pub(super) fn watch_proposal(&mut self, header: &BlockHeader, vote: &Vote) -> bool {
        self.watch_own_vote(&vote.voter, vote.statement);
        if !self.is_collected(header.view) {
            return false;
        }
        let first = self
            .votes
            .first_proposal(header, vote.voter, vote.signature);
        if first.statement == *header {
            return false;
        }
        let second = Signed {
            statement: header.clone(),
            signature: vote.signature,
        };
        let contradiction = Contradiction::DoubleProposal {
            first: Box::new(first.clone()),
            second: Box::new(second),
        };
        self.keep(vote.voter, contradiction);
        true
    }

    /// Upon a time-out: does it hide a QC that its signer has voted on?
    pub(super) fn watch_timeout(&mut self, timeout: &TimeoutVote) {
        let of_message = Signed {
            statement: timeout.statement(),
            signature: timeout.signature,
        };
        let last_vote = timeout.last_vote.as_ref().map(Signed::from);
        if timeout.epoch == self.epoch {
            self.watch_timed_out(timeout.validator, of_message, last_vote);
        }
    }

    fn watch_timed_out(
        &mut self,
        validator: ValidatorAddress,
        timeout: Signed<TimeoutStatement>,
        last_vote: Option<Signed<VoteStatement>>,
    ) {
        let Some(index) = self.validator_set().index_of(&validator) else {
            return;
        };
        let ballots = self.votes.ballots(index, timeout.statement.view_num);
        let lie = last_vote
            .into_iter()
            .chain(ballots)
            .find(|vote| is_lie(&timeout.statement, &vote.statement));
        if let Some(vote) = lie {
            self.keep(validator, Contradiction::LyingTimeout { timeout, vote });
        }
    }

    /// Upon a QC: its votes are votes. Two QCs in one view name all who have signed both (Sheng et
    /// al., BFT Protocol Forensics, CCS 2021).
    pub(super) fn watch_qc(&mut self, qc: &QuorumCertificate) {
        let is_collected = qc.epoch == self.epoch && self.is_collected(qc.view_num);
        if !is_collected || self.votes.has_noted(qc) {
            return;
        }
        let statement = qc.statement();
        for (voter, signature) in self.signers(&qc.signatures) {
            let vote = Signed {
                statement,
                signature,
            };
            self.watch_vote(voter, vote);
        }
        self.votes.note(qc);
    }

    /// Upon a TC of the current epoch: its time-outs are time-outs.
    pub(super) fn watch_tc(&mut self, tc: &TimeoutCertificate) {
        for (validator, (qc_view, signature)) in self.signers(&tc.signatures) {
            let statement = tc.statement(qc_view);
            let timeout = Signed {
                statement,
                signature,
            };
            self.watch_timed_out(validator, timeout, None);
        }
    }

    /// The validators whose slots are full, with what is in them.
    fn signers<T: Copy>(&self, slots: &[Option<T>]) -> Vec<(ValidatorAddress, T)> {
        let members = self.validator_set().members().iter();
        let full =
            |(member, slot): (&Validator, &Option<T>)| slot.map(|signed| (member.address, signed));
        members.zip(slots).filter_map(full).collect()
    }

    /// Keeps the first piece of evidence for each validator, epoch and kind, and reports it once.
    fn keep(&mut self, validator: ValidatorAddress, contradiction: Contradiction) {
        let evidence = Evidence {
            validator,
            contradiction,
        };
        if self.offences.len() < EVIDENCE_MAX && self.offences.insert(evidence.offence()) {
            self.writes.push(Write::KeepEvidence(evidence.clone()));
            self.events.push(Event::EvidenceFound(evidence));
        }
    }

    /// My own vote, wherever it stood. One above the record, or another one at it, was cast by a
    /// twin, or by me, and the disk is an old one. Older ones are ignored: replaying my past must
    /// not stop me.
    pub(super) fn watch_own_vote(&mut self, voter: &ValidatorAddress, vote: VoteStatement) {
        if self.config.me != Some(*voter) {
            return;
        }
        let at = self.record.voted.map(|voted| voted.rank());
        if at < Some(vote.rank()) {
            self.record.voted = Some(vote); // never to be contradicted, also after a restart
            self.writes.push(Write::CastVote(vote));
            self.see_twin(vote.rank());
        } else if at == Some(vote.rank()) && self.record.voted != Some(vote) {
            self.see_twin(vote.rank());
        }
    }

    /// My own time-out: the same. At the record it is another one if it names a QC that I have not
    /// seen; a lower one I may have said earlier.
    pub(super) fn watch_own_timeout(
        &mut self,
        validator: &ValidatorAddress,
        timeout: TimeoutStatement,
    ) {
        if self.config.me != Some(*validator) {
            return;
        }
        let TimeoutStatement {
            epoch,
            view_num: view,
            qc_view,
        } = timeout;
        let rank = Rank { epoch, view };
        let qc_rank = Rank {
            epoch,
            view: qc_view,
        };
        if !safety::has_timed_out(&self.record, rank) {
            self.record.timed_out = Some((epoch, view));
            self.writes.push(Write::TimeOut(rank));
            self.see_twin(rank);
        } else if self.record.timed_out == Some((epoch, view)) && qc_rank > self.highest_qc.rank() {
            self.see_twin(rank);
        }
    }

    /// My own signatures in certificates: in what comes, and at recovery in what is on disk.
    pub(super) fn watch_own_in_qc(&mut self, qc: &QuorumCertificate) {
        if let Some((me, _)) = self.own_slot(qc.epoch, &qc.signatures) {
            self.watch_own_vote(&me, qc.statement());
        }
    }

    /// See [`Algorithm::watch_own_in_qc`].
    pub(super) fn watch_own_in_tc(&mut self, tc: &TimeoutCertificate) {
        if let Some((me, (qc_view, _))) = self.own_slot(tc.epoch, &tc.signatures) {
            self.watch_own_timeout(&me, tc.statement(qc_view));
        }
    }

    /// At recovery: a record below one's own signatures in the highest certificates is not whole.
    pub(super) fn watch_own_on_disk(&mut self) {
        self.watch_own_in_qc(&self.highest_qc.clone());
        if let Some(tc) = self.highest_tc.clone() {
            self.watch_own_in_tc(&tc);
        }
    }

    fn own_slot<T: Copy>(
        &self,
        epoch: Epoch,
        slots: &[Option<T>],
    ) -> Option<(ValidatorAddress, T)> {
        let me = self.config.me?;
        let record = self.epochs.iter().find(|record| record.epoch == epoch)?;
        let slot = slots.get(record.validator_set.index_of(&me)?)?;
        slot.map(|signed| (me, signed))
    }

    /// From now on this replica only listens: what it does not know of, it could contradict.
    fn see_twin(&mut self, rank: Rank) {
        if !self.has_twin {
            self.has_twin = true;
            self.events.push(Event::TwinSeen { rank });
        }
    }
}

impl From<&Vote> for Signed<VoteStatement> {
    fn from(vote: &Vote) -> Self {
        Signed {
            statement: vote.statement,
            signature: vote.signature,
        }
    }
}
