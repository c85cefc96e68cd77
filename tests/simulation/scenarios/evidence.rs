//! Accountability: whoever contradicts itself is convicted by all that are correct. That nobody
//! else is, the checker sees to in every case.

use hotstuff::algorithm::VoteTo;
use hotstuff::evidence::EvidenceKind;

use super::directed::{for_all, four, run_to_view};
use crate::actors::Behaviour;
use crate::case::heal_and_progress;
use crate::faults::{Fault, Kind};
use crate::setup::MILLIS;
use crate::world::World;

/// Every replica of `who` keeps evidence against `offender`, of one of `kinds`, and against nobody
/// else.
fn expect_convicted(world: &mut World, who: &[usize], offender: usize, kinds: &[EvidenceKind]) {
    for replica in who {
        let convicted = world.convicted(*replica);
        let is_it = |(by, kind): &(usize, EvidenceKind)| *by == offender && kinds.contains(kind);
        let is_alone = convicted.iter().all(|(by, _)| *by == offender);
        if !is_alone || !convicted.iter().any(is_it) {
            let text = format!("{replica}: {convicted:?}, expected {kinds:?} of {offender}");
            return world.checker.broken("liars-are-convicted", text);
        }
    }
}

fn offender(world: &World) -> usize {
    (world.setup.seed % 4) as usize
}

#[test]
fn an_equivocator_is_convicted_by_everyone() {
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        setup.behaviours[(seed % 4) as usize] = Behaviour::Equivocator;
        setup
    };
    for_all(8, setup, |world| {
        run_to_view(world, 24);
        let (offender, all) = (offender(world), world.survivors().collect::<Vec<_>>());
        let kinds = [EvidenceKind::DoubleVote, EvidenceKind::DoubleProposal];
        expect_convicted(world, &all, offender, &kinds);
        // The one that was shown both proposals has both headers.
        if offender != 3 {
            expect_convicted(world, &[3], offender, &[EvidenceKind::DoubleProposal]);
        }
        heal_and_progress(world);
    });
}

#[test]
fn a_double_voter_is_convicted_by_everyone() {
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        setup.behaviours[(seed % 4) as usize] = Behaviour::DoubleVoter;
        setup
    };
    for_all(8, setup, |world| {
        run_to_view(world, 24);
        let (offender, all) = (offender(world), world.survivors().collect::<Vec<_>>());
        expect_convicted(world, &all, offender, &[EvidenceKind::DoubleVote]);
        heal_and_progress(world);
    });
}

/// It leads every fourth view and does not propose: its time-outs deny every QC.
#[test]
fn a_lying_time_out_is_convicted_by_everyone() {
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        setup.behaviours[(seed % 4) as usize] = Behaviour::Liar;
        setup
    };
    for_all(8, setup, |world| {
        run_to_view(world, 44);
        let (offender, all) = (offender(world), world.survivors().collect::<Vec<_>>());
        expect_convicted(world, &all, offender, &[EvidenceKind::LyingTimeout]);
        heal_and_progress(world);
    });
}

/// What is kept is kept over crashes, and not told again: the checker sees to that.
#[test]
fn evidence_outlives_the_whole_cluster() {
    let setup = |seed, rule, vote_to: VoteTo| {
        let mut setup = four(seed, rule, vote_to);
        setup.behaviours[(seed % 4) as usize] = Behaviour::DoubleVoter;
        setup.faults = (1..5)
            .map(|at| (at * 2_000 * MILLIS, Fault::CrashAll { down: 100 * MILLIS }))
            .collect();
        setup.heal_at = 10_000 * MILLIS;
        setup
    };
    for_all(8, setup, |world| {
        let first = world.setup.faults[0].0;
        world.run_until(first - 1);
        let all: Vec<usize> = world.survivors().collect();
        let before: Vec<_> = all
            .iter()
            .map(|replica| world.convicted(*replica))
            .collect();
        assert!(before.iter().all(|convicted| convicted.len() == 1));
        world.run_until(world.setup.heal_at);
        let after: Vec<_> = all
            .iter()
            .map(|replica| world.convicted(*replica))
            .collect();
        assert_eq!(before, after);
        assert_eq!(world.counts.of(Kind::WholeCluster), 4);
        heal_and_progress(world);
    });
}

#[cfg(test)]
mod tests {
    //! The oracle fires.

    use hotstuff::types::CommitRule;

    use super::*;

    #[test]
    fn a_liar_that_nobody_has_convicted() {
        let mut world = World::new(four(1, CommitRule::TwoChain, VoteTo::All));
        run_to_view(&mut world, 5);
        expect_convicted(&mut world, &[0], 1, &[EvidenceKind::DoubleVote]);
        let violation = world.violation().expect("nobody is convicted");
        assert_eq!(violation.rule, "liars-are-convicted");
    }
}
