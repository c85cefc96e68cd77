//! How soon a healed cluster commits, in the words of the specification (`src/algorithm/mod.rs`):
//! within 3 current time-outs plus 10 message delays, from views that are far apart.

mod oracles;

use hotstuff::algorithm::VoteTo;
use hotstuff::types::CommitRule;

use super::directed::{for_all, four};
use crate::faults::Fault;
use crate::network::Cut;
use crate::rng::Rng;
use crate::setup::{Setup, MICROS, MILLIS, SECONDS};
use crate::world::World;

/// Far more than any of these cases takes.
const FOR_EVER: u64 = 3_600 * SECONDS;

/// Replica `alone` is cut off from the beginning, and from `silence` on nobody hears anybody.
fn cut_off(seed: u64, rule: CommitRule, vote_to: VoteTo, silence: u64) -> Setup {
    let mut setup = four(seed, rule, vote_to);
    setup.habits.answer_max = MICROS;
    let alone = (seed % 4) as usize;
    let all = (0..4).flat_map(|from| (0..4).map(move |to| (from, to)));
    let all: Vec<(usize, usize)> = all.filter(|(from, to)| from != to).collect();
    let its = all.iter().copied();
    let its = its
        .filter(|(from, to)| *from == alone || *to == alone)
        .collect();
    let cut = |links| Fault::Partition {
        links,
        how: Cut::Lost,
        nanos: FOR_EVER,
    };
    setup.faults = vec![(0, cut(its)), (silence, cut(all))];
    setup
}

/// After healing, every replica commits something new within the bound.
fn heal_and_measure(world: &mut World) {
    let (calm, wait) = (world.setup.calm, world.timeout_max());
    let bound = 3 * wait + 10 * calm.delay_max;
    let before: Vec<u64> = (0..4).map(|replica| world.height(replica)).collect();
    let start = world.now;
    world.heal(calm);
    let waits = |world: &World| (0..4).any(|replica| world.height(replica) <= before[replica]);
    let late = world.run_while(start + bound, waits);
    if late && waits(world) {
        let heights: Vec<u64> = (0..4).map(|replica| world.height(replica)).collect();
        let (ms, wait) = (bound / MILLIS, wait / MILLIS);
        let text = format!("{before:?}, and {heights:?} {ms} ms after healing, the wait is {wait}");
        world.checker.broken("commits-after-healing", text);
    }
}

/// Three go on for a thousand views while the fourth stands in its first.
#[test]
fn from_views_a_thousand_apart() {
    let setup = |seed, rule, vote_to| cut_off(seed, rule, vote_to, FOR_EVER);
    for_all(4, setup, |world| {
        let alone = (world.setup.seed % 4) as usize;
        let others = |world: &World| (0..4).filter(|r| *r != alone).map(|r| world.view(r)).min();
        let behind = |world: &World| others(world).is_some_and(|view| view < 1_000);
        assert!(
            !world.run_while(FOR_EVER / 2, behind),
            "a thousand views pass"
        );
        assert!(world.view(alone) < 10);
        heal_and_measure(world);
    });
}

/// Nobody hears anybody for a while, and waits double.
#[test]
fn from_silence() {
    let setup = |seed, rule, vote_to| {
        let silence = Rng::new(seed).below(4_000) * MILLIS;
        cut_off(seed, rule, vote_to, silence)
    };
    for_all(16, setup, |world| {
        let until = world.setup.faults[1].0 + Rng::new(world.setup.seed).below(20) * SECONDS;
        world.run_until(until);
        heal_and_measure(world);
    });
}
