//! What four replicas cost when there is nothing to do.

use std::thread;
use std::time::Duration;

use serde_json::json;

use hotstuff::types::CommitRule;

use crate::cluster::Cluster;
use crate::protocol::{ChainSettings, Work};
use crate::report::{Criterion, Outcome, Table};
use crate::stats::now_ns;
use crate::{Pace, REPLICAS};

/// The most of one core that all replicas together may use.
const PERCENT_MAX: f64 = 2.0;

/// From the end of the work until the measurement: the last blocks are committed.
const SETTLE: Duration = Duration::from_secs(2);

const CHAIN: ChainSettings = ChainSettings {
    commit_rule: CommitRule::ThreeChain,
    base_timeout_ms: 1_000,
    block_data_bytes_max: 1 << 20,
};

/// Some work, so that there is a chain; then none.
pub fn run(pace: Pace) -> Outcome {
    println!("  idle: four replicas, some work, then none ...");
    let mut cluster = Cluster::start(REPLICAS, CHAIN);
    cluster.work(Work::Blocks { data_bytes: 8 });
    thread::sleep(Duration::from_millis(500));
    cluster.work(Work::None);
    thread::sleep(SETTLE);
    let heights = |cluster: &mut Cluster| {
        cluster
            .places()
            .iter()
            .map(|place| place.height)
            .max()
            .unwrap_or(0)
    };
    let height_began = heights(&mut cluster);
    let (began, cpu_began) = (now_ns(), cluster.cpu_ns());
    thread::sleep(pace.idle);
    let (elapsed, cpu) = (now_ns() - began, cluster.cpu_ns() - cpu_began);
    let blocks = heights(&mut cluster) - height_began;
    cluster.stop();
    let percent = cpu as f64 / elapsed as f64 * 100.0;
    outcome(percent, height_began, blocks, pace)
}

fn outcome(percent: f64, height: u64, blocks: u64, pace: Pace) -> Outcome {
    let title = format!("{REPLICAS} idle replicas, {:.0} s", pace.idle.as_secs_f64());
    let mut table = Table::new(&title, &["", "percent of one core", "blocks meanwhile"]);
    table.row(&[
        "all together".to_owned(),
        format!("{percent:.2}"),
        blocks.to_string(),
    ]);
    let worked = Criterion {
        what: format!("idle: there was a chain before ({height} blocks)"),
        held: height > 0,
    };
    let quiet = Criterion {
        what: format!("idle: {percent:.2} % of one core; below {PERCENT_MAX} %"),
        held: percent < PERCENT_MAX,
    };
    Outcome {
        name: "idle",
        table,
        settings: json!({ "replicas": REPLICAS, "chain": CHAIN, "pace": pace }),
        figures: json!({ "percent_of_one_core": percent, "blocks_meanwhile": blocks }),
        criteria: vec![worked, quiet],
        numbers: [("idle".to_owned(), percent)].into(),
    }
}
