//! Random cases: each seed is a setup, a plan of faults and a history.

use crate::case::{expect_good, run_twice};
use crate::setup::Setup;

/// Seeds of `make test`; longer runs take new ones.
const SEEDS: u64 = 1_000;

#[test]
fn random_seeds() {
    for seed in 0..SEEDS {
        expect_good(&run_twice(Setup::random(seed)));
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
