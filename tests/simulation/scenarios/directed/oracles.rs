//! Forged histories: each promise that a directed case asks for can be broken.

use super::*;
use crate::world::oracles::half_dead;

/// A good world in view 24.
fn world() -> World {
    let mut world = World::new(four(1, CommitRule::TwoChain, VoteTo::All));
    run_to_view(&mut world, 24);
    assert_eq!(world.violation(), None);
    world
}

fn broken(world: &World) -> Option<&'static str> {
    world.violation().map(|violation| violation.rule)
}

#[test]
fn a_rotation_without_a_commit() {
    let mut world = world();
    expect_a_commit_in_each_rotation(&mut world, 4);
    assert_eq!(broken(&world), None);
    world
        .commits
        .retain(|commit| !(8..12).contains(&commit.view));
    expect_a_commit_in_each_rotation(&mut world, 4);
    assert_eq!(broken(&world), Some("a-commit-in-each-rotation"));
}

#[test]
fn a_view_without_a_commit() {
    let mut world = world();
    expect_commits_in(&mut world, 4..20);
    assert_eq!(broken(&world), None);
    world.commits.retain(|commit| commit.view != 12);
    expect_commits_in(&mut world, 4..20);
    assert_eq!(broken(&world), Some("who-does-not-sign-leads-no-more"));
}

#[test]
fn views_that_do_not_pass() {
    let mut world = half_dead();
    run_to_view(&mut world, 24);
    assert_eq!(broken(&world), Some("views-pass"));
}

#[test]
fn a_victim_that_falls_behind() {
    let mut world = four(1, CommitRule::TwoChain, VoteTo::All);
    world.faults = vec![(0, Fault::Die { replica: 3 })];
    let mut world = World::new(world);
    run_to_view(&mut world, 44);
    expect_no_straggler(&mut world, 3, 0);
    assert_eq!(broken(&world), Some("the-victim-keeps-up"));
}

#[test]
fn work_that_is_never_committed() {
    let mut world = half_dead();
    world.command(0);
    drain(&mut world);
    assert_eq!(broken(&world), Some("an-idle-chain-commits-everything"));
}

#[test]
fn a_chain_that_is_not_quiet() {
    let mut world = world();
    expect_quiet(&mut world); // under load
    assert_eq!(broken(&world), Some("idle-chains-are-quiet"));
}

#[test]
fn a_chain_that_does_not_wake_up() {
    let mut world = half_dead();
    wakes_up(&mut world);
    assert_eq!(broken(&world), Some("an-idle-chain-wakes-up"));
}

#[test]
fn a_crash_that_never_comes() {
    let mut world = half_dead();
    crash_all_in(&mut world, 1, CrashPoint::BeforeWrite, Moment::Commits);
    assert_eq!(broken(&world), Some("the-crash-comes"));
}
