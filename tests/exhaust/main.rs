//! A bounded exhaustive search over the real core: four replicas of which one lies, a few views,
//! and every order and loss of messages. What a proof on paper says of the rules, this says of the
//! code.
//!
//! ```text
//!   Search (search.rs): states of the whole, breadth first, each visited once
//!     -> Locals (local.rs): states of one replica, each step of which is taken once, by the core
//! ```
//!
//! In every state: no two replicas have committed different blocks at one height, nobody has voted
//! twice in a view, nobody has voted in a view that it had timed out, and nobody takes its own word
//! for a twin's. A broken rule fails the run, with the shortest story that leads to it.
//!
//! `make exhaust`: a minute, under both commit rules on two cores; `SECONDS=s` for longer.
//!
//! Not done: changes of the validator set; votes and time-outs one by one: they are delivered as
//! the certificates that they make (the simulation and Twins do both); sync: a block comes by its
//! proposal only; more than two blocks of the liar in a view.

#[allow(dead_code)] // of what is shared with the simulation, each uses its part
#[path = "../simulation/disk.rs"]
mod disk;
#[allow(dead_code)]
#[path = "../simulation/keys.rs"]
mod keys;
mod local;
#[allow(dead_code)]
#[path = "../twins/node.rs"]
mod node;
#[allow(dead_code)]
#[path = "../simulation/rng.rs"]
mod rng;
mod search;
#[allow(dead_code)]
#[path = "../simulation/trace.rs"]
mod trace;

use std::time::{Duration, Instant};

use hotstuff::types::CommitRule;

use search::{Bounds, Defect, Found, Leaders, Search};

const RULES: [CommitRule; 2] = [CommitRule::ThreeChain, CommitRule::TwoChain];

/// About 100 bytes each.
const STATES_MAX: usize = 8_000_000;

fn bounds(rule: CommitRule, leaders: Leaders, views: u64, proposals: usize) -> Bounds {
    Bounds {
        rule,
        leaders,
        views,
        proposals,
        timeouts: (1, views),
        restarts: true,
        states_max: STATES_MAX,
        defect: None,
    }
}

fn print(bounds: &Bounds, found: &Found) {
    println!(
        "{:>10} {:>7} {:>5} {:>6} {:>9} {:>10} {:>7} {:>5} {:>8} {:>10} {:>6} {:>7.1} {:>10}",
        format!("{:?}", bounds.rule),
        format!("{:?}", bounds.leaders),
        bounds.views,
        bounds.proposals,
        found.states,
        found.merged,
        found.locals,
        found.depth,
        if found.is_complete { "all" } else { "bounded" },
        found.committing,
        found.height_max,
        found.took.as_secs_f64(),
        u8::from(found.violation.is_some()),
    );
    if let Some((rule, story)) = &found.violation {
        println!("{rule}, in {} steps", story.len());
        // What a seeded defect leads to is of no interest.
        let story = story.iter().filter(|_| bounds.defect.is_none());
        story.for_each(|step| println!("    {step}"));
    }
}

const HEAD: &str =
    "      rule leaders views blocks    states     merged  locals depth    bound committing \
                    height seconds violations";

/// Ever more views under one rule, for as long as there is time.
fn deepen(rule: CommitRule, budget: Duration) -> usize {
    let start = Instant::now();
    let mut violations = 0;
    for (leaders, views, proposals) in [
        (Leaders::Liar, 2, 2),
        (Leaders::Mixed, 2, 2),
        (Leaders::Liar, 3, 1),
        (Leaders::Liar, 3, 2),
        (Leaders::Mixed, 3, 1),
        (Leaders::Liar, 4, 1),
        (Leaders::Mixed, 3, 2),
        (Leaders::Liar, 4, 2),
    ] {
        let left = budget.saturating_sub(start.elapsed());
        if left.is_zero() {
            break;
        }
        let bounds = bounds(rule, leaders, views, proposals);
        // What is too large for its share leaves the rest to what is larger still, and reached by
        // other ways.
        let found = Search::new(bounds).run(left / 2);
        print(&bounds, &found);
        violations += usize::from(found.violation.is_some());
    }
    violations
}

/// `SECONDS=`: for so long. Without: a few seconds.
#[test]
fn budget() {
    let seconds = std::env::var("SECONDS")
        .ok()
        .filter(|text| !text.is_empty());
    let seconds = seconds.map_or(3, |text| text.parse().expect("SECONDS is a number"));
    println!("{HEAD}");
    let violations: usize = std::thread::scope(|scope| {
        let search = |rule| scope.spawn(move || deepen(rule, Duration::from_secs(seconds)));
        let searches = RULES.map(search);
        let joined = searches.map(|search| search.join().expect("a search does not panic"));
        joined.iter().sum()
    });
    assert!(violations == 0, "{violations} searches found a broken rule");
}

/// The oracle fires: each seeded defect is found as what it leads to, a fork. Where time-outs are
/// of no use to it, or those of one view are enough, there are no others: so the longer chains are
/// reached, too.
fn forks(rule: CommitRule, views: u64, timeouts: (u64, u64), defect: Defect) {
    let bounds = Bounds {
        defect: Some(defect),
        timeouts,
        proposals: if defect == Defect::HiddenQc { 1 } else { 2 },
        ..bounds(rule, Leaders::Liar, views, 2)
    };
    let found = Search::new(bounds).run(Duration::from_secs(100));
    println!("{HEAD}");
    print(&bounds, &found);
    let (what, _) = found
        .violation
        .unwrap_or_else(|| panic!("{defect:?}: no fork"));
    assert!(what.starts_with("agreement"), "{what}");
}

const NO_TIMEOUTS: (u64, u64) = (1, 0);

#[test]
fn votes_forgotten_in_a_crash_fork() {
    forks(CommitRule::TwoChain, 2, NO_TIMEOUTS, Defect::ForgottenVotes);
}

#[test]
fn a_quorum_that_is_none_forks() {
    forks(CommitRule::TwoChain, 2, NO_TIMEOUTS, Defect::SmallQuorum);
    forks(CommitRule::ThreeChain, 3, NO_TIMEOUTS, Defect::SmallQuorum);
}

#[test]
fn a_hidden_qc_forks() {
    forks(CommitRule::TwoChain, 4, (2, 2), Defect::HiddenQc);
    forks(CommitRule::ThreeChain, 6, (3, 3), Defect::HiddenQc);
}
