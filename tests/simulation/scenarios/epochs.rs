//! Directed changes of the validator set: each is one promise of the phased mode.

use hotstuff::algorithm::VoteTo;
use hotstuff::types::{CommitRule, Phase};

use super::directed::{for_all, four, POINTS_IN_A_STEP};
use crate::case::heal_and_progress;
use crate::changes::Change;
use crate::faults::{CrashPoint, Fault, Kind, Moment};
use crate::network::Cut;
use crate::rng::Rng;
use crate::setup::{Setup, MILLIS, SECONDS};
use crate::world::World;

/// Four validators and four spares, who change so at these times (ms).
fn changing(
    seed: u64,
    rule: CommitRule,
    vote_to: VoteTo,
    changes: &[(u64, &[(usize, u64)])],
) -> Setup {
    let mut setup = four(seed, rule, vote_to);
    setup.spares = 4;
    setup.machines = vec![setup.machines[0]; 8];
    setup.behaviours = vec![setup.behaviours[0]; 8];
    let change = |(at, updates): &(u64, &[(usize, u64)])| Change {
        at: at * MILLIS,
        updates: updates.to_vec(),
    };
    setup.changes = changes.iter().map(change).collect();
    setup.heal_at = 6 * SECONDS;
    setup
}

/// All changes are made, and the chain goes on.
fn expect_changes(world: &mut World) {
    world.run_until(world.setup.heal_at);
    heal_and_progress(world);
    let changes = world.setup.changes.len() as u64;
    if world.violation().is_none() {
        assert_eq!(world.counts.of(Kind::SetChange), changes);
    }
}

const REPLACE: &[(usize, u64)] = &[
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 1),
    (5, 1),
    (6, 1),
    (7, 1),
];
const PUT_BACK: &[(usize, u64)] = &[
    (0, 1),
    (1, 1),
    (2, 1),
    (3, 1),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
];

#[test]
fn a_set_is_replaced_and_put_back_again_and_again() {
    let setup = |seed, rule, vote_to| {
        let changes: Vec<(u64, &[(usize, u64)])> = (0..12)
            .map(|i| (500 + 100 * i, if i % 2 == 0 { REPLACE } else { PUT_BACK }))
            .collect();
        changing(seed, rule, vote_to, &changes)
    };
    for_all(4, setup, expect_changes);
}

#[test]
fn one_is_added_another_removed_and_one_gets_more_power() {
    let setup = |seed, rule, vote_to| {
        let leaver = (seed % 4) as usize;
        let stays = (leaver + 1) % 4;
        let changes: [(u64, &[(usize, u64)]); 3] = [
            (300, &[(4, 1)]),
            (500, &[(leaver, 0)]),
            (700, &[(stays, 2)]),
        ];
        changing(seed, rule, vote_to, &changes)
    };
    for_all(8, setup, expect_changes);
}

/// With one of four dead, phases in consecutive views come only where its view does not.
#[test]
fn one_of_four_is_dead_in_the_old_set_and_one_in_the_new() {
    let setup = |seed: u64, rule, vote_to| {
        let mut setup = changing(seed, rule, vote_to, &[(600, REPLACE)]);
        let (old, new) = ((seed % 4) as usize, 4 + (seed / 4 % 4) as usize);
        setup.faults = vec![
            (0, Fault::Die { replica: old }),
            (0, Fault::Die { replica: new }),
        ];
        setup
    };
    for_all(8, setup, expect_changes);
}

/// A crash at each point, of each replica, around the phases of a change.
#[test]
fn crash_points_across_the_phases() {
    let points = [
        CrashPoint::BeforeWrite,
        CrashPoint::AfterWrite,
        CrashPoint::WhileSending,
    ];
    let setup = |seed: u64, rule, vote_to| {
        let mut setup = changing(seed, rule, vote_to, &[(400, &[(4, 1)]), (700, REPLACE)]);
        // The new set of the second change: 4 has been there, 5 to 7 come.
        let mut rng = Rng::new(seed);
        for replica in 0..4 {
            let point = *rng.pick(&points);
            let at = (400 + rng.below(400)) * MILLIS;
            let down = rng.below(400) * MILLIS;
            let fault = Fault::Crash {
                replica,
                point,
                down,
            };
            setup.faults.push((at, fault));
        }
        setup.faults.sort_by_key(|(at, _)| *at);
        setup
    };
    for_all(8, setup, expect_changes);
}

/// One old validator hears nothing while the set changes under it. It must not freeze: whoever has
/// moved on tells it the end of its epoch, and it fetches the rest as a listener.
#[test]
fn whoever_missed_the_commit_qc_is_told() {
    let setup = |seed: u64, rule, vote_to| {
        let changes: [(u64, &[(usize, u64)]); 2] = [(500, &[(3, 0), (4, 1)]), (900, &[(5, 1)])];
        let mut setup = changing(seed, rule, vote_to, &changes);
        let links = (0..8).filter(|peer| *peer != 3);
        let links = links.flat_map(|peer| [(peer, 3), (3, peer)]).collect();
        let fault = Fault::Partition {
            links,
            how: Cut::Lost,
            nanos: 5 * SECONDS,
        };
        setup.faults = vec![(400 * MILLIS, fault)];
        setup
    };
    for_all(8, setup, expect_changes);
}

/// The old set is cut off from the new one while it hands over: the new one learns of its reign
/// only afterwards, from holders that tell it again.
#[test]
fn the_hand_over_is_repeated_until_the_new_set_has_it() {
    let setup = |seed: u64, rule, vote_to| {
        let mut setup = changing(seed, rule, vote_to, &[(500, REPLACE)]);
        let links = (0..4).flat_map(|old| (4..8).map(move |new| (old, new)));
        let fault = Fault::Partition {
            links: links.collect(),
            how: Cut::Lost,
            nanos: 4 * SECONDS,
        };
        setup.faults = vec![(400 * MILLIS, fault)];
        setup
    };
    for_all(8, setup, expect_changes);
}

/// Of each vote of a change, of each nudge and of the change itself, every crash point.
#[test]
fn every_crash_point_of_every_phase() {
    let moments = [
        Moment::VotesIn(Phase::Prepare),
        Moment::VotesIn(Phase::Precommit),
        Moment::VotesIn(Phase::Commit),
        Moment::Nudges,
        Moment::ChangesEpoch,
    ];
    let setup = |seed, rule, vote_to| {
        let powers: [&[(usize, u64)]; 2] = [&[(1, 2)], &[(1, 1)]];
        let changes: Vec<(u64, &[(usize, u64)])> = (0..12)
            .map(|i| (500 + 100 * i, powers[i as usize % 2]))
            .collect();
        let mut setup = changing(seed, rule, vote_to, &changes);
        setup.heal_at = 4 * SECONDS;
        setup
    };
    for moment in moments {
        for point in POINTS_IN_A_STEP {
            for_all(1, setup, |world| {
                let is_two_chain = world.setup.commit_rule == CommitRule::TwoChain;
                if moment == Moment::VotesIn(Phase::Precommit) && is_two_chain {
                    return; // it has no such phase
                }
                // Not everybody comes to nudge in so short a time.
                (0..4).for_each(|replica| world.crash_in(replica, point, moment, 50 * MILLIS));
                expect_changes(world);
                assert!(world.counts.of(point.kind()) > 0, "{moment:?}");
            });
        }
    }
}
