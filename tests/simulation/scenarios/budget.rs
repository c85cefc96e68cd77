//! New seeds for as long as one likes, or one seed with its story.
//!
//! - `SEED=n`: replays the random case of that seed, and tells everything.
//! - `SECONDS=s`: runs new seeds on all cores, and prints what came of them.
//! - `CASES=n`: runs at most so many seeds, and no more after the first that breaks a rule.
//! - neither: a few seconds, so that this test, too, always runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::case::{expect_good, run, Outcome};
use crate::faults::{Counts, Kind};
use crate::setup::{Setup, LEADERS_FROM};

#[test]
fn budget() {
    if let Some(seed) = number("SEED") {
        let setup = Setup::random(seed);
        println!("{setup:#?}");
        let outcome = run(setup, true);
        println!(
            "views {}, height {}, faults:\n{}",
            outcome.views, outcome.height, outcome.counts
        );
        return expect_good(&outcome);
    }
    let (seconds, cases) = (number("SECONDS"), number("CASES"));
    // Each budgeted run is to see new seeds; the short one is the same every time.
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let fresh = seconds.map_or(0, |_| since_1970.as_millis() as u64 * 1_000);
    let first = number("FROM").unwrap_or(LEADERS_FROM + fresh);
    let seconds = seconds.unwrap_or(if cases.is_some() { u64::MAX } else { 2 });
    let failures = explore(first, Duration::from_secs(seconds), cases);
    assert!(failures == 0, "{failures} seeds broke a rule");
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

/// So many cases must have met every kind of fault.
const CASES_FOR_ALL_KINDS: u64 = 2_000;

#[derive(Default)]
struct Sum {
    cases: u64,
    views: u64,
    failures: u64,
    progress: Vec<(u64, u64)>,
    counts: Counts,
    actors: BTreeMap<String, u64>,
    /// Those of four replicas, by which the speed is judged.
    of_four: Speed,
}

#[derive(Default)]
struct Speed {
    cases: u64,
    views: u64,
    took: Duration,
}

impl Speed {
    fn add(&mut self, outcome: &Outcome, took: Duration) {
        self.cases += 1;
        self.views += outcome.views;
        self.took += took;
    }

    fn print(&self) {
        println!(
            "of 4 replicas: {} cases, {:.1} cases/s/core, {:.1} views each",
            self.cases,
            self.cases as f64 / self.took.as_secs_f64(),
            self.views as f64 / self.cases as f64,
        );
    }
}

/// Runs seeds from `first` on, and prints the sum and each failure.
fn explore(first: u64, budget: Duration, cases: Option<u64>) -> u64 {
    let start = Instant::now();
    let is_enough = |sum: &Sum| cases.is_some_and(|cases| sum.cases >= cases || sum.failures > 0);
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Sum::default());
    let cores = number("JOBS").unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
    });
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while start.elapsed() < budget && !is_enough(&sum.lock().expect("nobody panics")) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let setup = Setup::random(seed);
                    let (replicas, began) = (setup.replicas(), Instant::now());
                    let outcome = run(setup, false);
                    let took = began.elapsed();
                    let mut sum = sum.lock().expect("nobody panics with it");
                    account(&mut sum, &outcome);
                    if replicas == 4 {
                        sum.of_four.add(&outcome, took);
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner().expect("nobody panics with it");
    let core_seconds = start.elapsed().as_secs_f64() * cores as f64;
    println!(
        "{} cases from seed {first}, {:.1} cases/s/core, {:.0} views/s/core, {} violations",
        sum.cases,
        sum.cases as f64 / core_seconds,
        sum.views as f64 / core_seconds,
        sum.failures,
    );
    sum.of_four.print();
    let progress = &mut sum.progress;
    progress.sort_unstable();
    let at = |per_cent: usize| {
        progress
            .get(progress.len() * per_cent / 100)
            .map_or(0, |(progress, _)| *progress)
    };
    println!(
        "progress after healing, of a thousand parts of the time allowed: \
         median {}, 90 % {}, 99 % {}, worst {:?}",
        at(50),
        at(90),
        at(99),
        progress.last().unwrap_or(&(0, 0)),
    );
    println!("set changes done: {}", sum.counts.of(Kind::SetChange));
    println!("Byzantine actors played: {:?}", sum.actors);
    println!("faults injected:\n{}", sum.counts);
    let missing = Kind::ALL.iter().filter(|kind| sum.counts.of(**kind) == 0);
    let missing: Vec<&Kind> = missing.collect();
    if sum.cases >= CASES_FOR_ALL_KINDS && !missing.is_empty() {
        println!("never injected: {missing:?}");
        sum.failures += 1;
    }
    sum.failures
}

fn account(sum: &mut Sum, outcome: &Outcome) {
    sum.cases += 1;
    sum.views += outcome.views;
    sum.progress
        .push((outcome.progress_per_mille, outcome.seed));
    sum.counts.merge(&outcome.counts);
    for actor in &outcome.actors {
        let name = format!("{actor:?}");
        let name = name.split(' ').next().unwrap_or_default();
        *sum.actors.entry(name.into()).or_default() += 1;
    }
    if let Some(violation) = &outcome.violation {
        sum.failures += 1;
        println!(
            "seed {}: {violation}\n    make sim SEED={}",
            outcome.seed, outcome.seed
        );
    }
}
