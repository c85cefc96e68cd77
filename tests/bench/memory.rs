//! Replicas in one process, without disk and network: what `make bench-peers` compares with others.

use serde_json::json;

use crate::in_process::{memory, VALIDATORS};
use crate::report::{Criterion, Outcome, Table};
use crate::Pace;

pub fn run(pace: Pace) -> Outcome {
    let head = ["", "blocks/s", "p50 ms"];
    let mut table = Table::new(
        "replicas in one process, queues between them, no sync",
        &head,
    );
    let (mut figures, mut criteria) = (Vec::new(), Vec::new());
    for replicas in VALIDATORS {
        println!("  memory: n = {replicas} ...");
        let speed = memory(replicas, pace.cluster);
        table.row(&[
            format!("n = {replicas}, empty"),
            format!("{:.0}", speed.blocks_per_s),
            format!("{:.2}", speed.latency_p50_ms),
        ]);
        figures.push(json!({ "replicas": replicas, "speed": speed }));
        criteria.push(Criterion {
            what: format!("memory: n = {replicas}: it has agreed on blocks"),
            held: speed.blocks_per_s > 0.0,
        });
    }
    Outcome {
        name: "memory",
        table,
        settings: json!({ "durability": "process crash", "pace": pace }),
        figures: figures.into(),
        criteria,
        numbers: Default::default(),
    }
}
