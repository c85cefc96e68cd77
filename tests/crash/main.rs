//! Real processes and real `kill -9`, on disks that lose what was not synced.
//!
//! ```text
//!   test --commands--> 4 x process { Replica, TCP, LMDB }   every message is told to the test
//!    |  <--all sent--       |                               before it is sent
//!    |                      v
//!    +--kill -9        shim in front of libc: an undo log of what was written since the last sync
//!    +--roll back, whole or by sectors; start again
//! ```
//!
//! `make crash KILLS=200 SEED=n` kills so often; `cargo test` does it a few times. [`writer`] kills
//! one process that writes a block tree, at each of its disk operations in turn.

mod app;
mod chance;
mod checker;
mod child;
mod cluster;
mod disk;
mod run;
mod wire;
mod writer;

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

use checker::Promise;
use run::{blackout, run, Plan};

/// Kills of `cargo test`.
const KILLS: u64 = 10;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    number("SEED").unwrap_or_else(|| now.expect("after 1970").as_nanos() as u64 % 1_000_000)
}

#[test]
fn four_processes_keep_their_promises_across_kills() {
    let plan = Plan {
        seed: seed(),
        kills: number("KILLS").unwrap_or(KILLS),
        is_synced: true,
    };
    println!("crash: KILLS={} SEED={}", plan.kills, plan.seed);
    let outcome = run(plan);
    for violation in &outcome.violations {
        println!("{violation}");
    }
    assert!(outcome.violations.is_empty(), "SEED={}", plan.seed);
    assert!(outcome.kills >= plan.kills && outcome.commands > 0);
    // A run whose faults did not happen shows nothing.
    assert!(outcome.losses > 0, "no kill has lost a write: {outcome:?}");
    let is_long = plan.kills >= 100;
    let all_kinds = [
        outcome.blackouts,
        outcome.kills_at_start,
        outcome.torn,
        outcome.epochs,
    ];
    assert!(
        !is_long || all_kinds.iter().all(|count| *count > 0),
        "{outcome:?}"
    );
}

/// The weaker mode says that it does not survive power loss: a blackout must show it, or the checks
/// see nothing.
#[test]
fn without_syncs_a_blackout_breaks_promises_and_with_them_none() {
    assert_eq!(blackout(true), [].into());
    let broken = blackout(false);
    let expected = [Promise::OneVote, Promise::OneChain, Promise::CommittedStays];
    assert!(
        expected.iter().all(|promise| broken.contains(promise)),
        "{broken:?}"
    );
}
