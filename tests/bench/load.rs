//! Clients that send commands of 512 bytes, at more and more a second, until the replicas keep up
//! no longer; and a client that sends one after the other. Every command goes to all replicas, and
//! whoever leads next proposes it.
//!
//! The app is the bench's own (`app.rs`, `clients.rs`): `kv` of the examples lets a connection have
//! 16 commands under way, and its lines and sessions cost more than all that is measured here.
//! Clients and replicas share the machine.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use hotstuff::types::CommitRule;

use crate::clients::ClientsSettings;
use crate::cluster::{run_floor, Cluster};
use crate::protocol::{ChainSettings, Work, COMMAND_BYTES};
use crate::report::{ms, Criterion, Outcome, Table};
use crate::stats::{now_ns, sleep_until};
use crate::{Pace, REPLICAS};

/// Commands a second: they rise until [`MISSES_MAX`] in a row were not carried.
const RATES: [u32; 12] = [
    1_000, 5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 120_000, 150_000, 200_000,
    250_000,
];

/// One may be the machine's, which did something else just then.
const MISSES_MAX: usize = 2;

/// The share of the offered rate that counts as carried.
const CARRIED: f64 = 0.97;

const CHAIN: ChainSettings = ChainSettings {
    commit_rule: CommitRule::ThreeChain,
    base_timeout_ms: 1_000,
    block_data_bytes_max: 1 << 20,
};

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
struct Step {
    /// `None`: one outstanding.
    offered_per_s: Option<u32>,
    answered_per_s: f64,
    latency_p50_us: u64,
    latency_p99_us: u64,
    latency_max_us: u64,
    /// Of all replicas, without the clients.
    cpu_us_per_command: f64,
    unanswered: u64,
}

impl Step {
    fn is_carried(&self) -> bool {
        let offered = self.offered_per_s.unwrap_or(0);
        self.unanswered == 0 && self.answered_per_s >= CARRIED * f64::from(offered)
    }
}

pub fn run(pace: Pace) -> Outcome {
    println!("  load: the floor's commit, and one command outstanding ...");
    let floor = run_floor(REPLICAS, 0, true, pace.warm_up, pace.floor);
    let mut cluster = Cluster::start(REPLICAS, CHAIN);
    cluster.work(Work::Clients);
    let mut steps = vec![measure(&mut cluster, None, pace)];
    for rate in RATES {
        println!("  load: {rate} commands/s ...");
        steps.push(measure(&mut cluster, Some(rate), pace));
        let last = &steps[steps.len().saturating_sub(MISSES_MAX)..];
        if !last.iter().any(Step::is_carried) {
            break;
        }
    }
    let out_of_turn: u64 = cluster
        .reports()
        .iter()
        .map(|report| report.out_of_turn)
        .sum();
    cluster.stop();
    let floor_p50_us = floor.latency.quantile_us(0.5);
    Outcome {
        name: "load",
        table: table(&steps, floor_p50_us),
        settings: json!({
            "replicas": REPLICAS,
            "chain": CHAIN,
            "command_bytes": COMMAND_BYTES,
            "durability": "synced",
            "app": "the bench's own",
            "pace": pace,
        }),
        criteria: criteria(&steps, out_of_turn),
        numbers: numbers(&steps, floor_p50_us),
        figures: json!({ "floor_latency_p50_us": floor_p50_us, "steps": steps }),
    }
}

fn measure(cluster: &mut Cluster, rate: Option<u32>, pace: Pace) -> Step {
    let begin = now_ns() + pace.warm_up.as_nanos() as u64;
    let clients = cluster.start_clients(ClientsSettings {
        ports: Vec::new(), // the cluster knows them
        first_source: 0,   // this, too
        per_second: rate.map(f64::from),
        warm_up: pace.warm_up,
        duration: pace.load_step,
    });
    sleep_until(begin);
    let cpu_began = cluster.cpu_ns();
    sleep_until(begin + pace.load_step.as_nanos() as u64);
    let cpu_us = (cluster.cpu_ns() - cpu_began) as f64 / 1e3;
    let seen = clients.result();
    Step {
        offered_per_s: rate,
        answered_per_s: seen.answered as f64 / pace.load_step.as_secs_f64(),
        latency_p50_us: seen.latency.quantile_us(0.5),
        latency_p99_us: seen.latency.quantile_us(0.99),
        latency_max_us: seen.latency.max_us(),
        cpu_us_per_command: cpu_us / seen.answered as f64,
        unanswered: seen.unanswered,
    }
}

fn criteria(steps: &[Step], out_of_turn: u64) -> Vec<Criterion> {
    vec![
        Criterion {
            what: format!("load: {out_of_turn} commands were lost in the chain or committed twice"),
            held: out_of_turn == 0,
        },
        Criterion {
            what: format!(
                "load: one outstanding, and {} rates were carried",
                carried(steps).count() - 1
            ),
            held: steps[0].is_carried() && carried(steps).count() > 1,
        },
    ]
}

fn carried(steps: &[Step]) -> impl Iterator<Item = &Step> {
    steps.iter().filter(|step| step.is_carried())
}

fn numbers(steps: &[Step], floor_p50_us: u64) -> BTreeMap<String, f64> {
    let most = steps
        .iter()
        .map(|step| step.answered_per_s)
        .fold(0.0, f64::max);
    let in_floors = |step: &Step| step.latency_p50_us as f64 / floor_p50_us as f64;
    let mut numbers = BTreeMap::from([
        ("load-max".to_owned(), most),
        ("load-one-p50".to_owned(), in_floors(&steps[0])),
        // Where the steps ended before that.
        ("load-60000-p50".to_owned(), f64::INFINITY),
        ("load-60000-p99".to_owned(), f64::INFINITY),
    ]);
    for step in steps {
        match step.offered_per_s {
            Some(1_000) => drop(numbers.insert("load-1000-p50".into(), in_floors(step))),
            Some(60_000) => {
                numbers.insert("load-60000-p50".into(), step.latency_p50_us as f64 / 1e3);
                numbers.insert("load-60000-p99".into(), step.latency_p99_us as f64 / 1e3);
            }
            _ => (),
        }
    }
    numbers
}

fn table(steps: &[Step], floor_p50_us: u64) -> Table {
    let title = format!(
        "{REPLICAS} replicas, clients that send commands of {COMMAND_BYTES} bytes; \
         the app is the bench's own"
    );
    let head = [
        "offered/s",
        "answered/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "CPU us/command",
        "unanswered",
    ];
    let mut table = Table::new(&title, &head);
    for step in steps {
        let offered = step.offered_per_s.map(|rate| rate.to_string());
        table.row(&[
            offered.unwrap_or("one at a time".into()),
            format!("{:.0}", step.answered_per_s),
            ms(step.latency_p50_us),
            ms(step.latency_p99_us),
            ms(step.latency_max_us),
            format!("{:.1}", step.cpu_us_per_command),
            step.unanswered.to_string(),
        ]);
    }
    table.notes = vec![
        "Latency: from the time a command was due until its client has the answer.".into(),
        "A client sends each command to all replicas; one of them, always the same, answers."
            .into(),
        format!(
            "The floor's commit, in the same run: p50 {} ms.",
            ms(floor_p50_us)
        ),
        "CPU: of all replicas, without the clients.".into(),
    ];
    table
}
