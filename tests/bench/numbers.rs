//! The numbers to reach, and what was measured of them. Nothing fails when one is not reached: they
//! are what the work aims at, while the benches' criteria are what must hold.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::report::{folder, Outcome, Table};

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost};

struct Number {
    /// As the benches call it.
    name: &'static str,
    what: &'static str,
    bound: Bound,
    /// Who measures it.
    target: &'static str,
}

const fn number(
    name: &'static str,
    what: &'static str,
    bound: Bound,
    target: &'static str,
) -> Number {
    Number {
        name,
        what,
        bound,
        target,
    }
}

/// The floor of n = 4 has its disk, that of n = 16 has none.
const NUMBERS: [Number; 21] = [
    number(
        "cluster-4-0",
        "n = 4, empty: blocks/s, of the floor",
        AtLeast(0.85),
        "bench",
    ),
    number(
        "cluster-4-262144",
        "n = 4, 256 KiB: blocks/s, of the floor",
        AtLeast(0.8),
        "bench",
    ),
    number(
        "cluster-4-1048576",
        "n = 4, 1 MiB: blocks/s, of the floor",
        AtLeast(0.8),
        "bench",
    ),
    number(
        "cluster-16-0",
        "n = 16, empty: blocks/s, of the floor without a disk",
        AtLeast(1.5),
        "bench",
    ),
    number(
        "cpu-4-0",
        "n = 4, empty: CPU per block, of the floor",
        AtMost(1.0 / 0.85),
        "bench",
    ),
    number(
        "memory-4",
        "memory, n = 4: blocks/s, of hotstuff_rs",
        AtLeast(6.0),
        "bench-peers",
    ),
    number(
        "memory-4-latency",
        "memory, n = 4: commit latency, of hotstuff_rs",
        AtMost(0.25),
        "bench-peers",
    ),
    number(
        "memory-16",
        "memory, n = 16: blocks/s, of hotstuff_rs",
        AtLeast(12.0),
        "bench-peers",
    ),
    number(
        "memory-16-latency",
        "memory, n = 16: commit latency, of hotstuff_rs",
        AtMost(0.25),
        "bench-peers",
    ),
    number(
        "sync",
        "sync, empty: blocks/s, of hotstuff_rs",
        AtLeast(12.0),
        "bench-peers",
    ),
    number("load-max", "load: commands/s", AtLeast(100_000.0), "bench"),
    number(
        "load-60000-p50",
        "load, 60,000/s: p50, ms",
        AtMost(15.0),
        "bench",
    ),
    number(
        "load-60000-p99",
        "load, 60,000/s: p99, ms",
        AtMost(50.0),
        "bench",
    ),
    number(
        "load-one-p50",
        "one outstanding: p50, in commits of the floor",
        AtMost(3.0),
        "bench",
    ),
    number(
        "load-1000-p50",
        "1,000/s: p50, in commits of the floor",
        AtMost(3.0),
        "bench",
    ),
    number(
        "dead-throughput",
        "one of four dead: commands/s, of before",
        AtLeast(0.9),
        "bench",
    ),
    number(
        "dead-p50",
        "one of four dead: p50, of before",
        AtMost(2.0),
        "bench",
    ),
    number(
        "death-wait",
        "the death: longest wait, in base time-outs",
        AtMost(2.0),
        "bench",
    ),
    number("idle", "four idle: percent of a core", AtMost(1.0), "bench"),
    number(
        "private-mb",
        "ten million commands: private MB of a replica",
        AtMost(200.0),
        "bench-growth",
    ),
    number(
        "private-growth",
        "ten million commands: private memory, of that after a tenth",
        AtMost(1.1),
        "bench-growth",
    ),
];

/// A measured number, and when, if that was not in this run.
struct Measured {
    value: f64,
    date: Option<String>,
}

/// What is to be reached, beside what `outcomes` and the files of earlier runs say.
pub fn table(outcomes: &[Outcome]) -> Table {
    let measured = measured(outcomes);
    let head = ["", "to reach", "measured", "", ""];
    let mut table = Table::new("The numbers to reach", &head);
    for number in &NUMBERS {
        let (sign, bound) = match number.bound {
            AtLeast(bound) => (">=", bound),
            AtMost(bound) => ("<=", bound),
        };
        let mut row = vec![number.what.to_owned(), format!("{sign} {}", short(bound))];
        match measured.get(number.name) {
            Some(found) => {
                row.extend([short(found.value), number.verdict(found.value).to_owned()]);
                row.extend(found.date.clone());
            }
            None => row.extend(["-".into(), format!("not measured: make {}", number.target)]),
        }
        table.row(&row);
    }
    table
}

impl Number {
    fn verdict(&self, value: f64) -> &'static str {
        let is_reached = match self.bound {
            AtLeast(least) => value >= least,
            AtMost(most) => value <= most,
        };
        if is_reached {
            "reached"
        } else {
            "NOT REACHED"
        }
    }
}

fn short(value: f64) -> String {
    if !value.is_finite() {
        "-".into()
    } else if value >= 1_000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// By name; this run's before those of earlier ones, and of these the latest.
fn measured(outcomes: &[Outcome]) -> BTreeMap<String, Measured> {
    let mut all = BTreeMap::<String, Measured>::new();
    for file in fs::read_dir(folder()).into_iter().flatten().flatten() {
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let date = json["date"].as_str().map(str::to_owned);
        for (name, value) in json["numbers"].as_object().into_iter().flatten() {
            let is_later = |old: &Measured| date > old.date;
            if all.get(name).is_none_or(is_later) {
                let (value, date) = (value.as_f64().unwrap_or(f64::NAN), date.clone());
                all.insert(name.clone(), Measured { value, date });
            }
        }
    }
    for outcome in outcomes {
        let now = |(name, value): (&String, &f64)| {
            let (value, date) = (*value, None);
            (name.clone(), Measured { value, date })
        };
        all.extend(outcome.numbers.iter().map(now));
    }
    all
}
