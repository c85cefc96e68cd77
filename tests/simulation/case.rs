//! Running cases: one seed, once or twice, with its verdict.

use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::actors::Behaviour;
use crate::faults::{Counts, Kind};
use crate::progress::{bound, BLOCKS};
use crate::setup::{Setup, MILLIS};
use crate::world::World;

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    pub digest: u64,
    pub counts: Counts,
    /// Those who broke the rules, by what they are.
    pub actors: Vec<Behaviour>,
    /// The rule that was broken, and how.
    pub violation: Option<String>,
    pub views: u64,
    pub height: u64,
    /// How much of the time allowed for progress was needed, of a thousand.
    pub progress_per_mille: u64,
}

/// A whole case: faults, healing, progress.
pub fn run(setup: Setup, verbose: bool) -> Outcome {
    let seed = setup.seed;
    guarded(seed, || {
        let mut world = World::new(setup);
        world.verbose = verbose;
        world.run_until(world.setup.heal_at);
        let longest = u64::from(world.setup.max_ms + world.setup.max_idle_ms) * MILLIS;
        let patience = world.now + world.setup.heal_at + 2 * longest;
        world.run_while(patience, World::crashes_wait);
        heal_and_progress(&mut world);
        faults_came_to_pass(&mut world);
        outcome(&world)
    })
}

/// A panic in the algorithm is a verdict like any other: it names its seed.
pub fn guarded(seed: u64, case: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(case)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or(panic.downcast_ref::<&str>().map(ToString::to_string));
        let violation = Some(format!("panic: {}", text.unwrap_or_default()));
        let counts = Counts::default();
        Outcome {
            seed,
            digest: 0,
            counts,
            actors: vec![],
            violation,
            views: 0,
            height: 0,
            progress_per_mille: 0,
        }
    })
}

pub fn outcome(world: &World) -> Outcome {
    let violation = world.violation().map(|violation| {
        let ms = world.now as f64 / 1e6;
        format!("{} at {ms:.3} ms: {}", violation.rule, violation.text)
    });
    let behaviours = world.setup.behaviours.iter().copied();
    Outcome {
        seed: world.setup.seed,
        actors: behaviours.filter(|it| *it != Behaviour::Correct).collect(),
        digest: world.digest(),
        counts: world.counts.clone(),
        violation,
        views: world
            .survivors()
            .map(|replica| world.view(replica))
            .max()
            .unwrap_or(0),
        height: world.height_min(),
        progress_per_mille: world.progress_per_mille,
    }
}

/// progress-after-healing: every surviving replica commits [`BLOCKS`] more within the bound.
pub fn heal_and_progress(world: &mut World) {
    if world.violation().is_some() {
        return;
    }
    world.heal(world.setup.calm);
    // Those that restart now are to have timers before they are asked for them.
    world.run_until(world.now + 1);
    let standing = world.standing();
    let bound = bound(&world.setup, standing, BLOCKS);
    let highest = world
        .survivors()
        .map(|replica| world.height(replica))
        .max()
        .unwrap_or(0);
    let goal = highest + BLOCKS;
    let (start, base) = (world.now, u64::from(world.setup.base_ms) * MILLIS);
    world.set_load(base / 4);
    let is_late = |world: &World| world.height_min() < goal || world.changes_to_come() > 0;
    let late = world.run_while(start + bound, is_late);
    world.progress_per_mille = (world.now - start) * 1_000 / bound;
    if late && is_late(world) {
        let heights: Vec<u64> = world
            .survivors()
            .map(|replica| world.height(replica))
            .collect();
        let views: Vec<u64> = world
            .survivors()
            .map(|replica| world.view(replica))
            .collect();
        let text = format!(
            "heights {heights:?} in views {views:?}, not yet {goal}, {} changes to come, {} ms \
             after healing ({standing:?})",
            world.changes_to_come(),
            bound / 1_000_000
        );
        world.checker.broken("progress-after-healing", text);
    }
}

/// After so many proposals, a leader's mischief must have happened.
const PROPOSALS_MIN: usize = 8;

fn faults_came_to_pass(world: &mut World) {
    if world.violation().is_some() {
        return;
    }
    let mut planned: Vec<Kind> = world.setup.planned();
    // Most mischief is a leader's: it must have led a few times to have had its chance.
    let behaviours = world.setup.behaviours.iter();
    for (behaviour, proposals) in behaviours.zip(&world.proposals) {
        if *proposals >= PROPOSALS_MIN {
            planned.extend(behaviour.kind());
        }
    }
    // Of what is left to chance, so much must have been sent that it cannot have failed to come.
    let conditions = world.setup.conditions;
    if world.network.sent * conditions.loss_per_mille > 1_000_000 {
        planned.push(Kind::Lost);
    }
    if let Some(kind) = planned.into_iter().find(|kind| world.counts.of(*kind) == 0) {
        world
            .checker
            .broken("planned-faults-happen", format!("{kind:?} did not"));
    }
}

/// Runs a case twice; the two histories must be one.
pub fn run_twice(setup: Setup) -> Outcome {
    let first = run(setup.clone(), false);
    same_history(first, &run(setup, false))
}

/// The first of two runs of a seed; a violation if the second went otherwise.
pub fn same_history(mut first: Outcome, second: &Outcome) -> Outcome {
    if first.violation.is_none() && first.digest != second.digest {
        first.violation = Some("determinism: two runs of the seed differ".into());
    }
    first
}

/// Fails the test if the case broke a rule, and says how to see it again.
pub fn expect_good(outcome: &Outcome) {
    if let Some(violation) = &outcome.violation {
        panic!("{violation}\n\n    make sim SEED={}\n", outcome.seed);
    }
}
