//! Random cases: each seed is a setup, a plan of faults and a history.

use crate::case::{expect_good, run, run_twice};
use crate::faults::{Counts, Kind};
use crate::setup::{Setup, LEADERS_FROM};

/// Seeds of `make test`; longer runs take new ones.
const SEEDS: u64 = 1_000;

#[test]
fn random_seeds() {
    for seed in 0..SEEDS {
        expect_good(&run_twice(Setup::random(seed)));
    }
}

/// Schedules of set changes in `make test`; `SCHEDULES=1000` runs more.
const SCHEDULES: u64 = 150;

/// No fork and no permanent stop while the validators change: added, removed, re-weighted, the
/// leader removed, all replaced; with as much power against the rules as each set may hold.
#[test]
fn set_change_schedules() {
    let schedules = std::env::var("SCHEDULES").ok();
    let schedules = schedules.map_or(SCHEDULES, |text| text.parse().expect("a number"));
    let mut counts = Counts::default();
    for seed in (LEADERS_FROM..).step_by(2).take(schedules as usize) {
        let outcome = run(Setup::random(seed), false);
        expect_good(&outcome);
        counts.merge(&outcome.counts);
    }
    println!("{schedules} schedules:\n{counts}");
    assert!(
        counts.of(Kind::SetChange) > schedules,
        "more than one a case"
    );
    for kind in [
        Kind::ValidatorAdded,
        Kind::ValidatorRemoved,
        Kind::PowerChanged,
        Kind::SetReplaced,
        Kind::LeaderRemoved,
        Kind::CrashInPhases,
        Kind::WrongEpoch,
    ] {
        assert!(counts.of(kind) > 0, "{kind:?} never came");
    }
}

/// Every seed that ever failed is replayed for ever.
#[test]
fn regressions() {
    let lines = include_str!("../../regressions.txt").lines();
    for line in lines {
        let seed = line.split('#').next().unwrap_or("").trim();
        if !seed.is_empty() {
            let seed = seed.parse().expect("a line is `seed  # story`");
            expect_good(&run_twice(Setup::random(seed)));
        }
    }
}
