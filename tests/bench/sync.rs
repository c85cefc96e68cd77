//! How fast a fresh replica catches up, over TCP, onto a synced disk.

use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use hotstuff::types::CommitRule;

use crate::cluster::Cluster;
use crate::protocol::{Answer, Ask, ChainSettings, Work};
use crate::report::{Criterion, Outcome, Table};
use crate::saturated::size;
use crate::{Pace, REPLICAS};

const BYTES: [usize; 2] = [0, 64 << 10];

const CHAIN: ChainSettings = ChainSettings {
    commit_rule: CommitRule::ThreeChain,
    base_timeout_ms: 1_000,
    block_data_bytes_max: 1 << 20,
};

/// Until the fresh replica has everything.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

/// From the end of the work until the chain is quiet.
const SETTLE: Duration = Duration::from_secs(1);

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(1);

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
struct Line {
    data_bytes: usize,
    blocks: u64,
    /// From the first block that its host saw to the last.
    blocks_per_s: f64,
    megabytes_per_s: f64,
    /// From its start to the first block: connecting, and asking.
    first_block_ms: u64,
    is_complete: bool,
}

pub fn run(pace: Pace) -> Outcome {
    let lines: Vec<Line> = BYTES.iter().map(|bytes| measure(*bytes, pace)).collect();
    let mut table = Table::new(
        &format!("a fresh replica catches up with {REPLICAS}, over TCP, synced LMDB"),
        &["", "blocks", "blocks/s", "MB/s", "first block ms"],
    );
    for line in &lines {
        table.row(&[
            size(line.data_bytes),
            line.blocks.to_string(),
            format!("{:.0}", line.blocks_per_s),
            format!("{:.1}", line.megabytes_per_s),
            line.first_block_ms.to_string(),
        ]);
    }
    Outcome {
        name: "sync",
        table,
        settings: json!({ "replicas": REPLICAS, "chain": CHAIN, "pace": pace }),
        criteria: lines.iter().map(Line::criterion).collect(),
        figures: json!(lines),
        numbers: Default::default(),
    }
}

fn measure(data_bytes: usize, pace: Pace) -> Line {
    println!("  sync: a chain of {} blocks is made ...", size(data_bytes));
    let mut cluster = Cluster::start(REPLICAS, CHAIN);
    cluster.work(Work::Blocks { data_bytes });
    thread::sleep(2 * pace.cluster);
    cluster.work(Work::None);
    thread::sleep(SETTLE);
    let places = cluster.places();
    let blocks = places.iter().map(|place| place.height).max().unwrap_or(0);
    println!("  sync: a fresh replica fetches {blocks} ...");
    let began = Instant::now();
    let fresh = cluster.add_listener();
    let (first_height, first) = wait_for(&mut cluster, fresh, 1);
    let (height, last) = wait_for(&mut cluster, fresh, blocks);
    cluster.stop();
    let blocks_per_s = (height - first_height) as f64 / (last - first).as_secs_f64();
    Line {
        data_bytes,
        blocks,
        blocks_per_s,
        megabytes_per_s: blocks_per_s * data_bytes as f64 / 1e6,
        first_block_ms: (first - began).as_millis() as u64,
        is_complete: height >= blocks,
    }
}

/// Waits until the host of `replica` has seen the block at `height`; says where it is, and when.
fn wait_for(cluster: &mut Cluster, replica: usize, height: u64) -> (u64, Instant) {
    let deadline = Instant::now() + CATCH_UP_MAX;
    loop {
        let place = match cluster.ask(replica, &Ask::Place) {
            Answer::Place(place) => place,
            other => panic!("a replica answered {other:?}"),
        };
        let now = Instant::now();
        if place.height >= height || now > deadline {
            return (place.height, now);
        }
        thread::sleep(LOOK);
    }
}

impl Line {
    fn criterion(&self) -> Criterion {
        Criterion {
            what: format!(
                "sync: {}: it has all {} blocks",
                size(self.data_bytes),
                self.blocks
            ),
            held: self.is_complete && self.blocks > 0,
        }
    }
}
