//! The memory of replicas while they commit many commands.

use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use hotstuff::types::CommitRule;

use crate::cluster::Cluster;
use crate::protocol::{ChainSettings, Schedule, Work, COMMAND_BYTES};
use crate::report::{Criterion, Outcome, Table};
use crate::stats::now_ns;
use crate::{Pace, REPLICAS};

const CHAIN: ChainSettings = ChainSettings {
    commit_rule: CommitRule::ThreeChain,
    base_timeout_ms: 1_000,
    block_data_bytes_max: 1 << 20,
};

/// How often memory is looked at, over the whole run.
const SAMPLES: u64 = 10;

/// What the numbers to reach are about.
const COMMANDS_TO_REACH: u64 = 10_000_000;

/// Private memory at the end, of that after the first tenth: it goes up and down by some blocks.
const GROWTH_MAX: f64 = 1.3;

/// The slowest that is believed to be at work.
const COMMANDS_PER_S_MIN: u64 = 2_000;

const LOOK: Duration = Duration::from_millis(50);

/// One line of the table: the largest of the replicas.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    commands: u64,
    resident_mb: f64,
    private_mb: f64,
}

pub fn run(pace: Pace) -> Outcome {
    println!("  growth: {} commands ...", pace.commands);
    let mut cluster = Cluster::start(REPLICAS, CHAIN);
    let began = now_ns();
    cluster.work(Work::Commands(Schedule {
        start_ns: began,
        per_second: None,
        count: pace.commands,
    }));
    let tenths = (1..=SAMPLES).map(|tenth| pace.commands / SAMPLES * tenth);
    let samples: Vec<Sample> = tenths
        .map(|commands| sample(&mut cluster, commands))
        .collect();
    let seconds = (now_ns() - began) as f64 / 1e9;
    cluster.stop();
    outcome(&samples, seconds, pace)
}

/// Waits until so many commands are committed everywhere.
fn sample(cluster: &mut Cluster, commands: u64) -> Sample {
    let deadline = now_ns() + (10 + commands / COMMANDS_PER_S_MIN) * 1_000_000_000;
    loop {
        let least = cluster.places().iter().map(|place| place.commands).min();
        if least >= Some(commands) {
            break;
        }
        assert!(
            now_ns() < deadline,
            "it is at {least:?} commands of {commands}"
        );
        thread::sleep(LOOK);
    }
    let memory = cluster.memory();
    let resident = memory.iter().map(|memory| memory.resident).max();
    let private = memory.iter().map(|memory| memory.private).max();
    Sample {
        commands,
        resident_mb: resident.unwrap_or(0) as f64 / 1e6,
        private_mb: private.unwrap_or(0) as f64 / 1e6,
    }
}

fn outcome(samples: &[Sample], seconds: f64, pace: Pace) -> Outcome {
    let title = format!(
        "memory of a replica, {} commands of {COMMAND_BYTES} bytes in {seconds:.0} s",
        pace.commands
    );
    let mut table = Table::new(&title, &["commands", "RSS MB", "private MB"]);
    for sample in samples {
        table.row(&[
            sample.commands.to_string(),
            format!("{:.0}", sample.resident_mb),
            format!("{:.1}", sample.private_mb),
        ]);
    }
    let note = "The largest replica. Private: without the pages of the database, which the kernel \
                takes back.";
    table.notes.push(note.into());
    let (first, last) = (samples[0].private_mb, samples[samples.len() - 1].private_mb);
    let growth = last / first;
    let mut numbers = std::collections::BTreeMap::new();
    if pace.commands >= COMMANDS_TO_REACH {
        numbers.insert("private-mb".to_owned(), last);
        numbers.insert("private-growth".to_owned(), growth);
    }
    Outcome {
        name: "growth",
        table,
        settings: json!({ "replicas": REPLICAS, "chain": CHAIN, "pace": pace }),
        figures: json!({ "seconds": seconds, "samples": samples }),
        criteria: vec![Criterion {
            what: format!(
                "growth: private memory is {growth:.2} of what it was after a tenth; at most \
                 {GROWTH_MAX}"
            ),
            held: growth <= GROWTH_MAX,
        }],
        numbers,
    }
}
