//! Votes and time-outs on their way to certificates. Lost in a crash, and bounded: votes by a
//! window of views, time-outs by one per validator.

use std::collections::BTreeMap;

use crate::evidence::Signed;
use crate::messages::{TimeoutVote, Vote};
use crate::types::{
    BlockHeader, Epoch, QuorumCertificate, Signature, TimeoutCertificate, TimeoutStatement,
    ValidatorAddress, ValidatorSet, ViewNumber, VoteStatement,
};

/// Votes by view. The first vote of a validator in a view is counted, no other; it is remembered
/// with its signature, also beyond the quorum: a second one makes evidence of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Votes {
    views: BTreeMap<ViewNumber, ViewVotes>,
    /// The last view in which a vote of the validator was seen, by itself or in a certificate.
    heard: BTreeMap<usize, ViewNumber>,
}

#[derive(Clone, Debug, Default)]
struct ViewVotes {
    ballots: BTreeMap<usize, Signed<VoteStatement>>,
    certified: Option<VoteStatement>,
    /// The leader, and the first that it has proposed.
    proposal: Option<(ValidatorAddress, Box<Signed<BlockHeader>>)>,
}

impl Votes {
    /// Counts a vote, whose signature is verified. A QC when it completes the first quorum of its
    /// view: votes count together only if their whole statements are equal.
    pub(super) fn add(&mut self, set: &ValidatorSet, vote: &Vote) -> Option<QuorumCertificate> {
        let index = set.index_of(&vote.voter)?;
        self.hear(index, vote.statement.view_num);
        let view = self.views.entry(vote.statement.view_num).or_default();
        if view.ballots.contains_key(&index) {
            return None;
        }
        view.ballots.insert(index, Signed::from(vote));
        if view.certified.is_some() {
            return None;
        }
        let mut power = 0;
        let mut signatures = vec![None; set.len()];
        for (index, ballot) in &view.ballots {
            if ballot.statement == vote.statement {
                power += set.members()[*index].power;
                signatures[*index] = Some(ballot.signature);
            }
        }
        if !set.is_quorum(power) {
            return None;
        }
        view.certified = Some(vote.statement);
        Some(QuorumCertificate::new(vote.statement, signatures))
    }

    /// Whether the votes that a QC is made of are remembered, or those of one like it.
    pub(super) fn has_noted(&self, qc: &QuorumCertificate) -> bool {
        let view = self.views.get(&qc.view_num);
        view.and_then(|view| view.certified) == Some(qc.statement())
    }

    /// Remembers the votes that a QC is made of.
    pub(super) fn note(&mut self, qc: &QuorumCertificate) {
        let view = self.views.entry(qc.view_num).or_default();
        let statement = qc.statement();
        view.certified = Some(statement);
        for (index, slot) in qc.signatures.iter().enumerate() {
            if let Some(signature) = *slot {
                view.ballots.entry(index).or_insert(Signed {
                    statement,
                    signature,
                });
            }
        }
    }

    /// What the validator in slot `index` has voted for in `view`, as far as it is remembered.
    pub(super) fn ballot(&self, index: usize, view: ViewNumber) -> Option<Signed<VoteStatement>> {
        self.views.get(&view)?.ballots.get(&index).copied()
    }

    /// All that the validator in slot `index` has voted for up to `view`, the latest first.
    pub(super) fn ballots(
        &self,
        index: usize,
        view: ViewNumber,
    ) -> impl Iterator<Item = Signed<VoteStatement>> + '_ {
        let views = self.views.range(..=view).rev();
        views.filter_map(move |(_, view)| view.ballots.get(&index).copied())
    }

    /// The first proposal of the view by its leader, who signed it; `header` if there was none.
    pub(super) fn first_proposal(
        &mut self,
        header: &BlockHeader,
        leader: ValidatorAddress,
        signature: Signature,
    ) -> &Signed<BlockHeader> {
        let view = self.views.entry(header.view).or_default();
        // Who leads a view may be seen otherwise after a commit: two leaders do not contradict.
        view.proposal.take_if(|(by, _)| *by != leader);
        let first = || Signed {
            statement: header.clone(),
            signature,
        };
        let (_, first) = view
            .proposal
            .get_or_insert_with(|| (leader, Box::new(first())));
        first
    }

    /// Whether `validator` has voted in `first` or later, as far as is known here.
    pub(super) fn has_heard(
        &self,
        set: &ValidatorSet,
        validator: &ValidatorAddress,
        first: ViewNumber,
    ) -> bool {
        let heard = set
            .index_of(validator)
            .and_then(|index| self.heard.get(&index));
        heard.is_some_and(|last| *last >= first)
    }

    /// Takes note of who has signed `qc`.
    pub(super) fn hear_signers(&mut self, qc: &QuorumCertificate) {
        let signed = qc
            .signatures
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_some());
        signed.for_each(|(index, _)| self.hear(index, qc.view_num));
    }

    fn hear(&mut self, index: usize, view: ViewNumber) {
        let last = self.heard.entry(index).or_insert(view);
        *last = view.max(*last);
    }

    /// Forgets the votes of views below `first`.
    pub(super) fn forget_below(&mut self, first: ViewNumber) {
        self.views = self.views.split_off(&first);
    }
}

/// The highest time-out of each validator. One is enough: whoever has moved on to a later view
/// holds the certificate that leads there, and answers with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeouts {
    highest: BTreeMap<usize, Timeout>,
    /// The QCs that the time-outs name, each once.
    certificates: BTreeMap<ViewNumber, QuorumCertificate>,
}

#[derive(Clone, Copy, Debug)]
struct Timeout {
    view: ViewNumber,
    qc_view: ViewNumber,
    signature: Signature,
}

impl Timeouts {
    /// Takes in a verified time-out. Of two for one view the one with the greater QC stands.
    pub(super) fn add(&mut self, set: &ValidatorSet, timeout: &TimeoutVote) {
        let Some(index) = set.index_of(&timeout.validator) else {
            return;
        };
        let qc_view = timeout.highest_qc.rank().view;
        let new = Timeout {
            view: timeout.view_num,
            qc_view,
            signature: timeout.signature,
        };
        if let Some(old) = self.highest.get(&index) {
            if (old.view, old.qc_view) >= (new.view, new.qc_view) {
                return;
            }
        }
        self.highest.insert(index, new);
        self.certificates
            .entry(qc_view)
            .or_insert_with(|| timeout.highest_qc.clone());
        let named = |view: &ViewNumber| self.highest.values().any(|t| t.qc_view == *view);
        let unused: Vec<_> = self
            .certificates
            .keys()
            .filter(|v| !named(v))
            .copied()
            .collect();
        unused
            .iter()
            .for_each(|view| drop(self.certificates.remove(view)));
    }

    /// The highest time-out of the validator in slot `index`, of `epoch`.
    pub(super) fn highest(&self, index: usize, epoch: Epoch) -> Option<Signed<TimeoutStatement>> {
        self.highest.get(&index).map(|timeout| Signed {
            statement: TimeoutStatement {
                epoch,
                view_num: timeout.view,
                qc_view: timeout.qc_view,
            },
            signature: timeout.signature,
        })
    }

    /// The greatest view such that blocking power has timed out in it or later.
    pub(super) fn blocking_view(&self, set: &ValidatorSet) -> Option<ViewNumber> {
        let mut views: Vec<(ViewNumber, u64)> = self
            .highest
            .iter()
            .map(|(index, timeout)| (timeout.view, set.members()[*index].power))
            .collect();
        views.sort_unstable_by(|a, b| b.cmp(a));
        let mut power = 0;
        views.into_iter().find_map(|(view, more)| {
            power += more;
            set.is_blocking(power).then_some(view)
        })
    }

    /// The certificate of `view`, once a quorum has timed it out.
    pub(super) fn certificate(
        &self,
        set: &ValidatorSet,
        epoch: Epoch,
        view: ViewNumber,
    ) -> Option<TimeoutCertificate> {
        let mut signatures = vec![None; set.len()];
        let mut power = 0;
        let mut greatest = ViewNumber(0);
        for (index, timeout) in self
            .highest
            .iter()
            .filter(|(_, timeout)| timeout.view == view)
        {
            signatures[*index] = Some((timeout.qc_view, timeout.signature));
            power += set.members()[*index].power;
            greatest = greatest.max(timeout.qc_view);
        }
        if !set.is_quorum(power) {
            return None;
        }
        let highest_qc = self.certificates.get(&greatest)?.clone();
        Some(TimeoutCertificate {
            epoch,
            view_num: view,
            highest_qc,
            signatures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BlockHeight, DataHash, Epoch, GenesisHash};

    #[test]
    fn two_leaders_of_a_view_do_not_contradict() {
        let header = |number: u8| BlockHeader {
            height: BlockHeight(1),
            epoch: Epoch(0),
            view: ViewNumber(1),
            justify: QuorumCertificate::genesis(GenesisHash([0; 32])),
            data_hash: DataHash([number; 32]),
            validator_set_updates: None,
        };
        let mut votes = Votes::default();
        let mut first = |by: u8, number: u8| {
            let (leader, signature) = (ValidatorAddress([by; 32]), Signature([by; 64]));
            let first = votes.first_proposal(&header(number), leader, signature);
            (first.statement.data_hash.0[0], first.signature.0[0])
        };
        assert_eq!(first(1, 1), (1, 1));
        assert_eq!(first(1, 2), (1, 1));
        assert_eq!(first(2, 3), (3, 2), "as seen after a commit");
        assert_eq!(first(2, 4), (3, 2));
    }
}
