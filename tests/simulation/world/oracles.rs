//! Forged histories: each rule that the world itself looks after can fire.

use std::path::{Path, PathBuf};

use hotstuff::algorithm::{Persist, VoteTo, Write};
use hotstuff::messages::{Certificate, ProgressMessage, Vote};
use hotstuff::types::limits::VALIDATORS_MAX;
use hotstuff::types::{CommitRule, Phase, QuorumCertificate, Signature, ViewNumber, VoteStatement};

use super::*;
use crate::case::{heal_and_progress, run, same_history};
use crate::setup::MILLIS;

fn calm(seed: u64) -> Setup {
    Setup::calm(seed, &[1; 4], CommitRule::TwoChain, VoteTo::All)
}

/// A world that has gone on for a second.
fn world() -> World {
    let mut world = World::new(calm(1));
    world.run_until(1_000 * MILLIS);
    assert_eq!(broken(&world), [""; 0]);
    world
}

fn broken(world: &World) -> Vec<&'static str> {
    let violations = world.checker.violations().iter();
    violations.map(|violation| violation.rule).collect()
}

fn from_0_to_1(world: &mut World, message: ProgressMessage) {
    let message = Arc::new(Message::Progress(message));
    let (from, to) = (0, 1);
    world.deliver(Envelope { from, to, message });
}

#[test]
fn a_write_that_means_nothing() {
    let mut world = world();
    let hash = BlockHash([1; 32]);
    let written = world.replicas[0].disk.persist(&[Write::DropBlock { hash }]);
    written.expect("it is told to fail by nobody");
    world.written(0);
    assert_eq!(broken(&world), ["writes-mean-something"]);
}

#[test]
fn a_command_that_is_committed_twice() {
    let mut world = world();
    let committed = world.next_command;
    world
        .done
        .extend((committed..committed + 100).map(|command| (command, 1)));
    world.run_until(2_000 * MILLIS);
    assert_eq!(broken(&world), ["each-command-once"]);
}

#[test]
fn a_timer_that_stands_still() {
    let mut setup = calm(1);
    (setup.base_ms, setup.max_ms, setup.max_idle_ms) = (0, 0, 0);
    let mut world = World::new(setup);
    world.run_until(1_000 * MILLIS);
    assert_eq!(broken(&world), ["timers-move-on"]);
}

#[test]
fn more_pending_blocks_than_there_may_be() {
    let mut world = world();
    world.setup.limits.pending_blocks_max = 0; // the replicas have been told otherwise
    world.run_until(2_000 * MILLIS);
    assert_eq!(broken(&world), ["everything-is-bounded"]);
}

#[test]
fn a_world_that_talks_in_circles() {
    let mut world = world();
    world.happenings = HAPPENINGS_MAX;
    world.run_until(2_000 * MILLIS);
    assert_eq!(broken(&world), ["nobody-talks-in-circles"]);
}

#[test]
fn a_message_that_does_not_decode() {
    let mut world = world();
    world.setup.as_bytes = true;
    let mut qc = QuorumCertificate::genesis(world.genesis);
    qc.signatures = vec![None; VALIDATORS_MAX + 1];
    let message = ProgressMessage::AdvanceView(Certificate::Quorum(qc));
    from_0_to_1(&mut world, message);
    assert_eq!(broken(&world), ["codec"]);
}

#[test]
fn a_message_of_a_correct_replica_that_does_not_verify() {
    let mut world = world();
    let statement = VoteStatement {
        epoch: Epoch(0),
        view_num: ViewNumber(9),
        justify_view: ViewNumber(8),
        block_hash: BlockHash([1; 32]),
        phase: Phase::Generic,
    };
    let (voter, signature) = (address(0), Signature([7; 64]));
    let vote = Vote {
        statement,
        voter,
        signature,
    };
    from_0_to_1(&mut world, ProgressMessage::Vote(vote));
    assert_eq!(broken(&world), ["correct-messages-verify"]);
}

#[test]
fn an_app_that_is_asked_about_blocks_unheard_of() {
    let mut world = world();
    let members = (0..4).map(|index| Validator {
        address: address(index),
        power: 1,
    });
    let validator_set = ValidatorSet::new(members).expect("four validators");
    for replica in &mut world.replicas {
        replica.disk = SimDisk::new(world.genesis, validator_set.clone());
    }
    // More is wrong in this world, and sooner: it goes on all the same.
    for _ in 0..1_000 {
        let ((time, _), happening) = world.queue.pop_first().expect("timers are set");
        world.now = time;
        world.happen(happening);
    }
    assert!(broken(&world).contains(&"app-is-asked-on-known-blocks"));
}

/// Two of four dead, which no protocol outlives.
pub fn half_dead() -> World {
    let mut setup = calm(1);
    setup.faults = vec![
        (MILLIS, Fault::Die { replica: 2 }),
        (MILLIS, Fault::Die { replica: 3 }),
    ];
    let mut world = World::new(setup);
    world.run_until(2 * MILLIS);
    world
}

#[test]
fn a_cluster_that_never_recovers() {
    let mut world = half_dead();
    heal_and_progress(&mut world);
    assert_eq!(broken(&world), ["progress-after-healing"]);
}

#[test]
fn a_planned_fault_that_comes_to_nothing() {
    let mut setup = calm(1);
    let (replica, point, down) = (3, CrashPoint::BeforeWrite, MILLIS);
    setup.faults = vec![
        (0, Fault::Die { replica }),
        (
            MILLIS,
            Fault::Crash {
                replica,
                point,
                down,
            },
        ),
    ];
    setup.heal_at = 100 * MILLIS;
    let violation = run(setup, false).violation.unwrap_or_default();
    assert!(
        violation.starts_with("planned-faults-happen"),
        "{violation}"
    );
}

#[test]
fn two_histories_of_one_seed() {
    let mut setup = calm(1);
    setup.heal_at = 100 * MILLIS;
    let first = run(setup.clone(), false);
    let same = same_history(first.clone(), &run(setup.clone(), false));
    assert_eq!(same.violation, None);
    setup.habits.answer_max += 1; // a nanosecond
    let differing = same_history(first, &run(setup, false)).violation;
    assert!(differing.is_some_and(|violation| violation.starts_with("determinism")));
}

/// An oracle that cannot fire is a defect: each rule that is called broken anywhere is one that
/// some forged history breaks.
#[test]
fn each_rule_has_a_history_that_breaks_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation");
    let (mut rules, mut forged) = (Vec::new(), String::new());
    for path in sources(&folder) {
        let text = std::fs::read_to_string(&path).expect("source is UTF-8");
        if path.ends_with("oracles.rs") {
            forged.push_str(&text);
            continue;
        }
        // The unit tests of a file follow its code.
        let (code, tests) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        forged.push_str(tests);
        let calls = code.split("broken(").skip(1);
        let quoted = calls.filter_map(|rest| rest.trim_start().strip_prefix('"'));
        rules.extend(quoted.map(|rest| rest.split('"').next().unwrap_or("").to_owned()));
    }
    assert!(rules.len() > 30, "the walk found {rules:?}");
    rules.retain(|rule| !forged.contains(&format!("\"{rule}\"")));
    assert!(rules.is_empty(), "no history breaks {rules:?}");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the simulation") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
