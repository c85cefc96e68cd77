//! Who leads: the pacemaker's choice among all validators, or among those who sign.
//!
//! A dead validator that leads every n-th view costs every rotation a time-out. By
//! [`LeaderRule::Active`] it soon leads no more: views are counted in terms, and those lead in a
//! term who have signed a certificate in the blocks of the term before the last one. (The idea is
//! Carousel's, Cohen et al., FC 2022: reputation from committed certificates only. Terms are ours:
//! a leader depends on blocks that are long final, not on the chain under the proposal, so it is
//! known before the block that it builds on is.)
//!
//! ```text
//!   term         k - 2           |        k - 1           |         k
//!   views  ... certificates here |  ... a commit here ... |  decide who leads here
//! ```
//!
//! * **Agreement.** Whoever has committed a block of term k - 1 knows all committed blocks of term
//!   k - 2. Who has not is behind, and does not vote for what it has no parent of; it takes all for
//!   leaders, as the rule below has it. To disagree about a leader costs views, and nothing else:
//!   no vote depends on it but by who may be voted for.
//! * **Liveness.** If nothing was committed for a term's length, all lead, as by
//!   [`LeaderRule::RoundRobin`]: what that rule promises holds from then on. So the bound grows by
//!   the views of one term.
//! * **Way back.** A validator that signs may still never be among the first quorum of votes, of
//!   which certificates are made. Therefore in one of [`RETURN_EVERY`] terms one of those who do
//!   not sign leads too, by turns: a leader puts its own vote into the certificate it builds, and
//!   so is active again. One at a time: of several dead ones in a row, each would double the wait.

use std::collections::BTreeMap;

use crate::types::{BlockHeader, LeaderRule, ValidatorAddress, ValidatorSet, ViewNumber};

use super::Algorithm;

/// A term is two rotations long, and no longer than so many views.
const TERM_VIEWS_MAX: u64 = 64;
/// In one of so many terms one who does not sign leads too.
const RETURN_EVERY: u64 = 16;

/// Who has signed a certificate in the committed blocks of the last three terms of the epoch that
/// have any. It is a function of the committed chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    validators: usize,
    /// By term; a place per validator.
    signers: BTreeMap<u64, Vec<bool>>,
}

impl Activity {
    /// An epoch of so many validators begins.
    pub fn new(validators: usize) -> Activity {
        Activity {
            validators,
            signers: BTreeMap::new(),
        }
    }

    /// A block of the epoch is committed.
    pub fn commit(&mut self, header: &BlockHeader) {
        let term = self.term(header.view);
        let signers = self.signers.entry(term);
        let signers = signers.or_insert_with(|| vec![false; self.validators]);
        // What began the epoch is certified by the validators before.
        if header.justify.epoch == header.epoch {
            for (signs, slot) in signers.iter_mut().zip(&header.justify.signatures) {
                *signs |= slot.is_some();
            }
        }
        self.signers.retain(|kept, _| kept + 2 >= term);
    }

    /// The first view whose committed blocks still count when the last one is of `view`.
    pub fn begins_at(&self, view: ViewNumber) -> ViewNumber {
        ViewNumber(self.term(view).saturating_sub(2) * self.term_views())
    }

    fn term_views(&self) -> u64 {
        (2 * self.validators as u64).clamp(1, TERM_VIEWS_MAX)
    }

    fn term(&self, view: ViewNumber) -> u64 {
        view.0 / self.term_views()
    }

    /// Who leads in `term` instead of all, as far as the blocks committed by now tell.
    fn active(&self, all: &ValidatorSet, term: u64) -> Option<ValidatorSet> {
        let signers = self.signers.get(&term.checked_sub(2)?)?;
        let members = all.members().iter().zip(signers);
        let (active, others): (Vec<_>, Vec<_>) = members.partition(|(_, signs)| **signs);
        let power: u64 = active.iter().map(|(member, _)| member.power).sum();
        if others.is_empty() || !all.is_quorum(power) {
            return None;
        }
        let turn = (term / RETURN_EVERY) as usize % others.len();
        let returns = (term % RETURN_EVERY == 0).then(|| others[turn]);
        let leaders = active.into_iter().chain(returns);
        ValidatorSet::new(leaders.map(|(member, _)| *member)).ok()
    }
}

/// The sets that lead in the term of the last committed block and in the one after it.
#[derive(Debug)]
pub(super) struct Leaders {
    activity: Activity,
    term: u64,
    sets: [Option<ValidatorSet>; 2],
}

impl Leaders {
    pub(super) fn new(activity: Activity, all: &ValidatorSet, committed: ViewNumber) -> Leaders {
        let term = activity.term(committed);
        let sets = [term, term + 1].map(|term| activity.active(all, term));
        Leaders {
            activity,
            term,
            sets,
        }
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(super) fn commit(&mut self, all: &ValidatorSet, header: &BlockHeader) {
        self.activity.commit(header);
        if self.activity.term(header.view) != self.term {
            *self = Leaders::new(self.activity.clone(), all, header.view);
        }
    }

    /// Who leads in `view` instead of all.
    fn of(&self, view: ViewNumber, committed: ViewNumber) -> Option<&ValidatorSet> {
        let term = self.activity.term(view);
        let is_recent = view.0.saturating_sub(committed.0) <= self.activity.term_views();
        if !is_recent {
            return None;
        }
        let since = usize::try_from(term.checked_sub(self.term)?).ok()?;
        self.sets.get(since)?.as_ref()
    }
}

impl Algorithm {
    /// The leader of `view`, as far as is known here now.
    pub(super) fn leader_of(&self, view: ViewNumber) -> ValidatorAddress {
        let active = match self.config.parameters.leader_rule {
            LeaderRule::RoundRobin => None,
            LeaderRule::Active => self.leaders.of(view, self.committed_view()),
        };
        let set = active.unwrap_or_else(|| self.validator_set());
        self.config.pacemaker.view_leader(set, view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Validator;

    #[test]
    fn of_two_who_do_not_sign_one_returns_at_a_time() {
        let validators = (0..7).map(|number| Validator {
            address: ValidatorAddress([number; 32]),
            power: 1,
        });
        let all = ValidatorSet::new(validators).expect("seven of them");
        let leaders = |term| {
            let signs = [true, true, true, true, true, false, false];
            let activity = Activity {
                validators: 7,
                signers: BTreeMap::from([(term - 2, signs.into())]),
            };
            let set = activity.active(&all, term).expect("a quorum signs");
            let numbers: Vec<u8> = set.members().iter().map(|it| it.address.0[0]).collect();
            numbers
        };
        assert_eq!(leaders(RETURN_EVERY - 1), [0, 1, 2, 3, 4]);
        assert_eq!(leaders(RETURN_EVERY), [0, 1, 2, 3, 4, 6]);
        assert_eq!(leaders(2 * RETURN_EVERY), [0, 1, 2, 3, 4, 5]);
    }
}
