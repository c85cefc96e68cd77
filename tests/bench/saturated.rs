//! How fast four replicas agree when every leader has a block at once, beside the floor.

use serde::Serialize;
use serde_json::json;

use hotstuff::types::CommitRule;

use crate::cluster::{run_floor, Cluster};
use crate::floor::FloorResult;
use crate::protocol::{Ask, ChainSettings, PhaseReport, Report, Votes, Work};
use crate::report::{ms, Criterion, Outcome, Table};
use crate::stats::{now_ns, sleep_until, Histogram};
use crate::{Pace, REPLICAS};

/// The least share of the floor's blocks per second.
const FLOOR_SHARE_MIN: f64 = 0.5;

const CHAIN: ChainSettings = ChainSettings {
    vote_to: Votes::All,
    commit_rule: CommitRule::ThreeChain,
    base_timeout_ms: 1_000,
    block_data_bytes_max: 1 << 20,
};

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
struct Line {
    what: String,
    data_bytes: usize,
    blocks_per_s: f64,
    megabytes_per_s: f64,
    latency_p50_us: u64,
    latency_p99_us: u64,
    cpu_us_per_block: f64,
    /// Synced transactions of each replica.
    syncs_per_block: f64,
    /// Share of the floor's blocks per second; multiples of its latency and CPU time.
    to_floor: Option<Ratios>,
    view_timeouts: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Ratios {
    blocks_per_s: f64,
    latency_p50: f64,
    latency_p99: f64,
    cpu_per_block: f64,
}

/// Blocks of one size: floor, both ways to vote, floor.
pub fn run(name: &'static str, data_bytes: usize, pace: Pace) -> Outcome {
    let floor = || {
        println!("  {name}: the floor ...");
        run_floor(data_bytes_of_floor(data_bytes), pace.warm_up, pace.floor)
    };
    let before = floor();
    let mut lines: Vec<Line> = [Votes::All, Votes::NextLeader]
        .into_iter()
        .map(|vote_to| measure(name, vote_to, data_bytes, pace))
        .collect();
    let floor = floor_line(data_bytes, [before, floor()]);
    for line in &mut lines {
        line.to_floor = Some(ratios(line, &floor));
    }
    let share = lines[0].to_floor.map_or(0.0, |ratios| ratios.blocks_per_s);
    let criterion = Criterion {
        what: format!(
            "{name}: {share:.2} of the floor's blocks/s, votes to all; at least {FLOOR_SHARE_MIN}"
        ),
        held: share >= FLOOR_SHARE_MIN,
    };
    lines.insert(0, floor);
    Outcome {
        name,
        table: table(data_bytes, &lines),
        settings: json!({
            "replicas": REPLICAS,
            "data_bytes": data_bytes,
            "chain": CHAIN,
            "durability": "synced",
            "pace": pace,
        }),
        figures: json!(lines),
        criteria: vec![criterion],
    }
}

/// The floor's blocks carry nothing where ours carry only the time.
fn data_bytes_of_floor(data_bytes: usize) -> usize {
    if data_bytes <= 8 {
        0
    } else {
        data_bytes
    }
}

fn measure(name: &str, vote_to: Votes, data_bytes: usize, pace: Pace) -> Line {
    println!("  {name}: four replicas, votes to {} ...", votes(vote_to));
    let mut cluster = Cluster::start(REPLICAS, ChainSettings { vote_to, ..CHAIN });
    cluster.work(Work::Blocks { data_bytes });
    let measured = measure_phase(&mut cluster, pace);
    cluster.stop();
    let latency = merged(&measured.phases);
    let mean = |count: fn(&PhaseReport) -> u64| {
        measured.phases.iter().map(count).sum::<u64>() as f64 / REPLICAS as f64
    };
    let blocks = mean(|phase| phase.blocks);
    let blocks_per_s = blocks / measured.seconds;
    Line {
        what: format!("votes to {}", votes(vote_to)),
        data_bytes,
        blocks_per_s,
        megabytes_per_s: mean(|phase| phase.bytes) / measured.seconds / 1e6,
        latency_p50_us: latency.quantile_us(0.5),
        latency_p99_us: latency.quantile_us(0.99),
        cpu_us_per_block: measured.cpu_us / blocks,
        syncs_per_block: measured.transactions as f64 / REPLICAS as f64 / blocks,
        to_floor: None,
        view_timeouts: measured.view_timeouts,
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

/// Lets the cluster warm up, and measures one phase.
pub fn measure_phase(cluster: &mut Cluster, pace: Pace) -> Measured {
    let begin = now_ns() + pace.warm_up.as_nanos() as u64;
    let end = begin + pace.cluster.as_nanos() as u64;
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

/// The latencies that all replicas saw.
pub fn merged(phases: &[PhaseReport]) -> Histogram {
    let mut all = Histogram::default();
    phases.iter().for_each(|phase| all.add(&phase.latency));
    all
}

fn votes(vote_to: Votes) -> &'static str {
    match vote_to {
        Votes::All => "all",
        Votes::NextLeader => "the next leader",
    }
}

/// The mean of the runs before and after.
fn floor_line(data_bytes: usize, runs: [FloorResult; 2]) -> Line {
    let mean = |of: fn(&FloorResult) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    let mut latency = Histogram::default();
    runs.iter().for_each(|run| latency.add(&run.latency));
    let blocks_per_s = mean(|run| run.blocks_per_s);
    Line {
        what: format!(
            "the floor ({:.0} and {:.0})",
            runs[0].blocks_per_s, runs[1].blocks_per_s
        ),
        data_bytes: data_bytes_of_floor(data_bytes),
        blocks_per_s,
        megabytes_per_s: blocks_per_s * data_bytes_of_floor(data_bytes) as f64 / 1e6,
        latency_p50_us: latency.quantile_us(0.5),
        latency_p99_us: latency.quantile_us(0.99),
        cpu_us_per_block: mean(|run| run.cpu_us_per_block),
        syncs_per_block: 1.0,
        to_floor: None,
        view_timeouts: 0,
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

fn table(data_bytes: usize, lines: &[Line]) -> Table {
    let size = if data_bytes <= 8 {
        "empty blocks".into()
    } else {
        format!("{} KiB blocks", data_bytes >> 10)
    };
    let title = format!("{REPLICAS} replicas, TCP on loopback, synced LMDB, {size}");
    let head = [
        "",
        "blocks/s",
        "MB/s",
        "p50 ms",
        "p99 ms",
        "CPU us/block",
        "syncs/block",
        "time-outs",
    ];
    let mut table = Table::new(&title, &head);
    for line in lines {
        table.row(&[
            line.what.clone(),
            format!("{:.0}", line.blocks_per_s),
            format!("{:.1}", line.megabytes_per_s),
            ms(line.latency_p50_us),
            ms(line.latency_p99_us),
            format!("{:.0}", line.cpu_us_per_block),
            format!("{:.2}", line.syncs_per_block),
            line.view_timeouts.to_string(),
        ]);
        if let Some(to_floor) = line.to_floor {
            table.row(&[
                "  of the floor".to_owned(),
                format!("{:.2}", to_floor.blocks_per_s),
                String::new(),
                format!("{:.2}x", to_floor.latency_p50),
                format!("{:.2}x", to_floor.latency_p99),
                format!("{:.2}x", to_floor.cpu_per_block),
            ]);
        }
    }
    table.notes.push(
        "Latency: from the proposal on the leader's clock to the commit as each host sees it."
            .into(),
    );
    table.notes.push(
        "The floor: threads of one process, no TLS, no app, no time-outs; seen by one replica."
            .into(),
    );
    table
}
