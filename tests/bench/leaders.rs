//! What it takes to say who leads a view, in a set of a thousand.

use std::hint::black_box;

use serde_json::json;

use hotstuff::pacemaker::{DefaultPacemaker, Pacemaker};
use hotstuff::types::{ValidatorSet, ViewNumber};

use crate::powers::set;
use crate::report::{Criterion, Outcome, Table};
use crate::stats::now_ns;
use crate::Pace;

const VALIDATORS: usize = 1_000;

/// The most that one leader may take, in nanoseconds.
const NS_MAX: f64 = 5_000.0;

/// Views asked for in one measurement, and measurements: the best of them counts, as the others
/// have measured whatever else the machine did.
const VIEWS: u64 = 20_000;
const ROUNDS: usize = 7;

pub fn run(pace: Pace) -> Outcome {
    println!("  leaders: one after the other, {VALIDATORS} validators ...");
    let mut table = Table::new(
        &format!("the leader of a view, {VALIDATORS} validators"),
        &["powers", "ns"],
    );
    let (mut figures, mut criteria) = (serde_json::Map::new(), Vec::new());
    for (name, powers) in profiles() {
        let ns = nanoseconds(&set(&powers));
        table.row(&[name.to_owned(), format!("{ns:.0}")]);
        figures.insert(name.to_owned(), json!(ns));
        criteria.push(Criterion {
            what: format!("leaders: {name}: {ns:.0} ns; below {NS_MAX:.0} ns"),
            held: ns < NS_MAX,
        });
    }
    Outcome {
        name: "leaders",
        table,
        settings: json!({ "validators": VALIDATORS, "views": VIEWS, "pace": pace }),
        figures: figures.into(),
        criteria,
        numbers: Default::default(),
    }
}

/// All equal; all but one equal, and that the last; each another one; and the greatest there are.
fn profiles() -> [(&'static str, Vec<u64>); 4] {
    let mut but_one = vec![7; VALIDATORS];
    but_one[VALIDATORS - 1] = 8;
    let mut greatest = vec![(u64::MAX >> 1) / VALIDATORS as u64; VALIDATORS - 1];
    greatest.push(1 << 63);
    [
        ("equal", vec![7; VALIDATORS]),
        ("all but one equal", but_one),
        ("all different", (1..=VALIDATORS as u64).collect()),
        ("one of 2^63", greatest),
    ]
}

fn nanoseconds(set: &ValidatorSet) -> f64 {
    let pacemaker = DefaultPacemaker::default();
    let round = |_| {
        let began = now_ns();
        for view in 0..VIEWS {
            black_box(pacemaker.view_leader(black_box(set), ViewNumber(view)));
        }
        (now_ns() - began) as f64 / VIEWS as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
