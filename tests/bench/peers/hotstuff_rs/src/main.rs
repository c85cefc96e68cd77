//! `make bench-peers`: the published crate hotstuff_rs 0.4.0 and this library on the same work, in
//! one run, taking turns; so the ratios mean something on a machine that does other things too.
//!
//! - `memory`: n validators in one process, connected by queues, empty blocks (8 bytes: when it was
//!   made). Neither waits for a disk: hotstuff_rs has a map in memory; this library has its LMDB,
//!   without syncs. Latency is from making a block to its commit at replica 0.
//! - `sync`: a fresh listener fetches a chain of empty blocks from one replica.
//!
//! The arguments are the seconds of one measurement, and how many of each (5 and 3).

#[path = "../../../in_process.rs"]
mod ours;
#[path = "../../../report.rs"]
#[allow(dead_code)] // both serve the benches, too
mod report;
#[path = "../../../stats.rs"]
#[allow(dead_code)]
mod stats;
mod theirs;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{json, Value};

use ours::{median, Speed, SYNC_BLOCKS, VALIDATORS};
use report::{Outcome, Table};

/// Theirs and ours, round by round.
type Pairs = Vec<[Speed; 2]>;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut number = |default| numbers.next().map_or(default, |n| n.expect("a number"));
    let (seconds, rounds) = (Duration::from_secs(number(5)), number(3));
    let head = [
        "",
        "hotstuff_rs blocks/s",
        "p50 ms",
        "libhotstuff blocks/s",
        "p50 ms",
        "ratio",
        "",
    ];
    let mut outcome = Outcome {
        name: "peers",
        table: Table::new("hotstuff_rs 0.4.0 and this library, medians", &head),
        settings: json!({ "seconds": seconds.as_secs(), "rounds": rounds }),
        figures: json!([]),
        criteria: Vec::new(),
        numbers: BTreeMap::new(),
    };
    for n in VALIDATORS {
        println!("  memory, n = {n} ...");
        let measure = |_| [theirs::memory(n, seconds), ours::memory(n, seconds)];
        let pairs: Pairs = (0..rounds).map(measure).collect();
        add(&mut outcome, &format!("memory-{n}"), &pairs);
    }
    println!("  sync, {SYNC_BLOCKS} empty blocks ...");
    let measure = |_| [theirs::sync(), ours::sync()].map(without_latency);
    add(&mut outcome, "sync", &(0..rounds).map(measure).collect());
    outcome.print();
    println!("  written to {}", outcome.write().display());
}

fn without_latency(blocks_per_s: f64) -> Speed {
    Speed {
        blocks_per_s,
        latency_p50_ms: f64::NAN,
    }
}

/// A figure of the table; nothing where there is none.
fn figure(value: f64, decimals: usize) -> String {
    match value.is_finite() {
        true => format!("{value:.decimals$}"),
        false => "-".into(),
    }
}

/// One line of the table, and what it is called among the numbers to reach. The ratio is the median
/// of the rounds'.
fn add(outcome: &mut Outcome, work: &str, pairs: &Pairs) {
    let of =
        |which: usize, what: fn(&Speed) -> f64| median(pairs.iter().map(|pair| what(&pair[which])));
    let ratio = |what: fn(&Speed) -> f64| {
        median(pairs.iter().map(|[theirs, ours]| what(ours) / what(theirs)))
    };
    let (rate, latency): (fn(&Speed) -> f64, fn(&Speed) -> f64) =
        (|speed| speed.blocks_per_s, |speed| speed.latency_p50_ms);
    let mut row = vec![work.to_owned()];
    for which in [0, 1] {
        row.push(figure(of(which, rate), 0));
        row.push(figure(of(which, latency), 2));
    }
    row.push(figure(ratio(rate), 1));
    row.push(figure(ratio(latency), 2));
    outcome.table.row(&row);
    let speed =
        |which| json!({ "blocks_per_s": of(which, rate), "latency_p50_ms": of(which, latency) });
    if let Value::Array(figures) = &mut outcome.figures {
        figures.push(json!({
            "work": work,
            "who": ["hotstuff_rs", "libhotstuff"],
            "hotstuff_rs": speed(0),
            "libhotstuff": speed(1),
        }));
    }
    let names = [work.to_owned(), format!("{work}-latency")];
    let ratios = [ratio(rate), ratio(latency)];
    // Where one of them agreed on nothing, and where there is no latency, there is no ratio.
    let finite = names.into_iter().zip(ratios);
    let finite = finite.filter(|(_, ratio)| ratio.is_finite());
    outcome.numbers.extend(finite);
}
