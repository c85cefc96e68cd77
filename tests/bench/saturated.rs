//! How fast replicas agree when every leader has a block at once, beside the floor.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use hotstuff::types::CommitRule;

use crate::cluster::{run_floor, Cluster};
use crate::floor::FloorResult;
use crate::protocol::{Ask, ChainSettings, PhaseReport, Report, Work};
use crate::report::{ms, Criterion, Outcome, Table};
use crate::stats::{now_ns, sleep_until, Histogram};
use crate::Pace;

/// The least share of the floor's blocks per second, with four replicas.
const FLOOR_SHARE_MIN: f64 = 0.5;

/// Replicas and bytes of a block: what is measured by default, and what else.
const SHORT: [(usize, usize); 4] = [(4, 0), (4, 256 << 10), (4, 1 << 20), (16, 0)];
const MATRIX_REPLICAS: [usize; 4] = [4, 7, 16, 31];
const MATRIX_BYTES: [usize; 5] = [0, 4 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Of more replicas than these the floor has no disk: many replicas on the one disk of a machine
/// would measure that disk.
const FLOOR_STORED_MAX: usize = 4;

/// The same time for each: all of them run on one machine.
const BASE_TIMEOUT_MS_PER_REPLICA: u32 = 250;

fn chain(replicas: usize) -> ChainSettings {
    ChainSettings {
        commit_rule: CommitRule::ThreeChain,
        base_timeout_ms: BASE_TIMEOUT_MS_PER_REPLICA * replicas as u32,
        block_data_bytes_max: 1 << 20,
    }
}

/// What was measured of one size.
#[derive(Clone, Debug, Serialize)]
struct Cell {
    replicas: usize,
    data_bytes: usize,
    floor_is_stored: bool,
    floor: Line,
    cluster: Line,
    to_floor: Ratios,
    /// Synced transactions of each replica.
    syncs_per_block: f64,
    view_timeouts: u64,
    /// Of a replica, on average.
    resident_mb: f64,
    private_mb: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Line {
    blocks_per_s: f64,
    megabytes_per_s: f64,
    latency_p50_us: u64,
    latency_p99_us: u64,
    /// Of all replicas.
    cpu_us_per_block: f64,
}

/// Shares of the floor's.
#[derive(Clone, Copy, Debug, Serialize)]
struct Ratios {
    blocks_per_s: f64,
    latency_p50: f64,
    latency_p99: f64,
    cpu_per_block: f64,
}

pub fn run(pace: Pace) -> Outcome {
    let mut sizes = SHORT.to_vec();
    if pace.is_matrix {
        let with = |replicas| MATRIX_BYTES.map(|bytes| (replicas, bytes));
        sizes = MATRIX_REPLICAS.into_iter().flat_map(with).collect();
    }
    let cells: Vec<Cell> = sizes.iter().map(|size| measure(*size, pace)).collect();
    let criteria = cells.iter().filter_map(criterion).collect();
    let mut numbers: BTreeMap<String, f64> = cells
        .iter()
        .map(|cell| {
            let name = format!("cluster-{}-{}", cell.replicas, cell.data_bytes);
            (name, cell.to_floor.blocks_per_s)
        })
        .collect();
    numbers.insert("cpu-4-0".into(), cells[0].to_floor.cpu_per_block);
    Outcome {
        name: if pace.is_matrix { "matrix" } else { "cluster" },
        table: table(&cells),
        settings: json!({
            "chain": chain(4),
            "base_timeout_ms_per_replica": BASE_TIMEOUT_MS_PER_REPLICA,
            "durability": "synced",
            "pace": pace,
        }),
        figures: json!(cells),
        criteria,
        numbers,
    }
}

fn criterion(cell: &Cell) -> Option<Criterion> {
    let share = cell.to_floor.blocks_per_s;
    let what = format!(
        "cluster: n = 4, {}: {share:.2} of the floor's blocks/s; at least {FLOOR_SHARE_MIN}",
        size(cell.data_bytes)
    );
    let held = share >= FLOOR_SHARE_MIN;
    (cell.replicas == 4).then_some(Criterion { what, held })
}

/// Floor, cluster, floor.
fn measure((replicas, data_bytes): (usize, usize), pace: Pace) -> Cell {
    println!("  cluster: n = {replicas}, {} ...", size(data_bytes));
    let is_stored = replicas <= FLOOR_STORED_MAX;
    let floor = || run_floor(replicas, data_bytes, is_stored, pace.warm_up, pace.floor);
    let before = floor();
    let mut cluster = Cluster::start(replicas, chain(replicas));
    cluster.work(Work::Blocks { data_bytes });
    let measured = measure_phase(&mut cluster, pace.warm_up, pace.cluster);
    let memory = cluster.memory();
    cluster.stop();
    let floor = floor_line(data_bytes, [before, floor()]);
    let mean_mb = |bytes: u64| bytes as f64 / replicas as f64 / 1e6;
    let blocks = measured.mean(|phase| phase.blocks);
    let line = line(&measured);
    Cell {
        replicas,
        data_bytes,
        floor_is_stored: is_stored,
        to_floor: ratios(&line, &floor),
        floor,
        cluster: line,
        syncs_per_block: measured.transactions as f64 / replicas as f64 / blocks,
        view_timeouts: measured.view_timeouts,
        resident_mb: mean_mb(memory.iter().map(|memory| memory.resident).sum()),
        private_mb: mean_mb(memory.iter().map(|memory| memory.private).sum()),
    }
}

fn line(measured: &Measured) -> Line {
    let latency = measured.latency();
    let blocks = measured.mean(|phase| phase.blocks);
    Line {
        blocks_per_s: blocks / measured.seconds,
        megabytes_per_s: measured.mean(|phase| phase.bytes) / measured.seconds / 1e6,
        latency_p50_us: latency.quantile_us(0.5),
        latency_p99_us: latency.quantile_us(0.99),
        cpu_us_per_block: measured.cpu_us / blocks,
    }
}

/// The mean of the runs before and after.
fn floor_line(data_bytes: usize, runs: [FloorResult; 2]) -> Line {
    let mean = |of: fn(&FloorResult) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    let mut latency = Histogram::default();
    runs.iter().for_each(|run| latency.add(&run.latency));
    let blocks_per_s = mean(|run| run.blocks_per_s);
    Line {
        blocks_per_s,
        megabytes_per_s: blocks_per_s * data_bytes as f64 / 1e6,
        latency_p50_us: latency.quantile_us(0.5),
        latency_p99_us: latency.quantile_us(0.99),
        cpu_us_per_block: mean(|run| run.cpu_us_per_block),
    }
}

fn ratios(line: &Line, floor: &Line) -> Ratios {
    Ratios {
        blocks_per_s: line.blocks_per_s / floor.blocks_per_s,
        latency_p50: line.latency_p50_us as f64 / floor.latency_p50_us as f64,
        latency_p99: line.latency_p99_us as f64 / floor.latency_p99_us as f64,
        cpu_per_block: line.cpu_us_per_block / floor.cpu_us_per_block,
    }
}

/// One phase of a cluster at work.
pub struct Measured {
    pub seconds: f64,
    /// As each replica saw it.
    pub phases: Vec<PhaseReport>,
    /// Of all replicas.
    pub cpu_us: f64,
    /// Of all replicas.
    pub transactions: u64,
    /// Of all replicas.
    pub view_timeouts: u64,
}

impl Measured {
    /// What a replica saw, on average.
    pub fn mean(&self, count: fn(&PhaseReport) -> u64) -> f64 {
        self.phases.iter().map(count).sum::<u64>() as f64 / self.phases.len() as f64
    }

    /// What all of them saw.
    pub fn latency(&self) -> Histogram {
        let mut all = Histogram::default();
        self.phases.iter().for_each(|phase| all.add(&phase.latency));
        all
    }
}

/// Lets the cluster warm up, and measures one phase.
pub fn measure_phase(cluster: &mut Cluster, warm_up: Duration, duration: Duration) -> Measured {
    let begin = now_ns() + warm_up.as_nanos() as u64;
    let end = begin + duration.as_nanos() as u64;
    cluster.ask_all(&Ask::Phases(vec![begin, end]));
    sleep_until(begin);
    let (before, cpu_began) = (cluster.reports(), cluster.cpu_ns());
    sleep_until(end);
    let (after, cpu_ended) = (cluster.reports(), cluster.cpu_ns());
    let grown = |count: fn(&Report) -> u64| {
        let sum = |reports: &[Report]| reports.iter().map(count).sum::<u64>();
        sum(&after) - sum(&before)
    };
    Measured {
        seconds: (end - begin) as f64 / 1e9,
        cpu_us: (cpu_ended - cpu_began) as f64 / 1e3,
        transactions: grown(|report| report.transactions),
        view_timeouts: grown(|report| report.view_timeouts),
        phases: after
            .into_iter()
            .filter_map(|report| report.phases.into_iter().next())
            .collect(),
    }
}

/// A block's size in words.
pub fn size(data_bytes: usize) -> String {
    match data_bytes {
        0 => "empty".into(),
        bytes if bytes < 1 << 20 => format!("{} KiB", bytes >> 10),
        bytes => format!("{} MiB", bytes >> 20),
    }
}

fn table(cells: &[Cell]) -> Table {
    let head = [
        "TCP on loopback, synced LMDB",
        "blocks/s",
        "MB/s",
        "p50 ms",
        "p99 ms",
        "CPU us/block",
        "syncs/block",
        "RSS MB",
        "private MB",
        "time-outs",
    ];
    let mut table = Table::new("Processes that always have a block", &head);
    for cell in cells {
        let disk = if cell.floor_is_stored {
            ""
        } else {
            ", no disk"
        };
        let mut row = vec![format!("n = {}, {}", cell.replicas, size(cell.data_bytes))];
        row.extend(cell.cluster.texts());
        row.push(format!("{:.2}", cell.syncs_per_block));
        row.push(format!("{:.0}", cell.resident_mb));
        row.push(format!("{:.0}", cell.private_mb));
        row.push(cell.view_timeouts.to_string());
        table.row(&row);
        let mut row = vec![format!("  the floor{disk}")];
        row.extend(cell.floor.texts());
        table.row(&row);
        let to_floor = cell.to_floor;
        table.row(&[
            "  of the floor".to_owned(),
            format!("{:.2}", to_floor.blocks_per_s),
            String::new(),
            format!("{:.2}x", to_floor.latency_p50),
            format!("{:.2}x", to_floor.latency_p99),
            format!("{:.2}x", to_floor.cpu_per_block),
        ]);
    }
    table.notes = [
        "Latency: from the proposal on the leader's clock to the commit as each host sees it.",
        "CPU: of all replicas. Memory: of one; private is without the pages of the database.",
        "The floor: threads of one process, no TLS, no app, no time-outs; seen by one replica.",
    ]
    .map(str::to_owned)
    .into();
    table
}

impl Line {
    fn texts(&self) -> [String; 5] {
        [
            format!("{:.0}", self.blocks_per_s),
            format!("{:.1}", self.megabytes_per_s),
            ms(self.latency_p50_us),
            ms(self.latency_p99_us),
            format!("{:.0}", self.cpu_us_per_block),
        ]
    }
}
