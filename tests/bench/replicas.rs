//! `cargo bench --bench replicas`: speed beside the floor of this machine, under load, with faults,
//! and what it costs. `--help` says more.
//!
//! ```text
//!   replicas --+-- --child: the floor (threads in one process)
//!              +-- --child: replica 0 --+
//!              +-- --child: replica 1 --+-- TCP on loopback, each on an LMDB of its own
//!              +-- ...                --+
//!              +-- --child: clients of all replicas
//! ```
//!
//! All replicas run the library as it ships: TLS, synced LMDB, an app on its thread, a host that
//! reads what is committed. The time of a proposal stands in its block, so latency is taken from
//! one clock, the machine's. CPU time is all that the processes use, the app and the reading host
//! included.

mod app;
mod child;
mod clients;
mod cluster;
mod fault;
mod floor;
mod growth;
mod idle;
#[allow(dead_code)] // it serves the comparison with peers, too
mod in_process;
mod leaders;
mod load;
mod memory;
mod numbers;
#[path = "../paper/powers.rs"]
mod powers;
mod protocol;
mod report;
mod saturated;
mod stats;
mod sync;

use std::process::ExitCode;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::fault::Case;
use crate::report::Outcome;

/// Replicas of a cluster, where nothing else is said.
pub const REPLICAS: usize = 4;

/// How much is done, and how long everything takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pace {
    #[serde(serialize_with = "as_seconds")]
    pub warm_up: Duration,
    #[serde(serialize_with = "as_seconds")]
    pub floor: Duration,
    #[serde(serialize_with = "as_seconds")]
    pub cluster: Duration,
    #[serde(serialize_with = "as_seconds")]
    pub load_step: Duration,
    #[serde(serialize_with = "as_seconds")]
    pub idle: Duration,
    #[serde(serialize_with = "as_seconds")]
    pub fault_phase: Duration,
    /// Whether `cluster` is to measure every size.
    pub is_matrix: bool,
    /// Commands of `growth`.
    pub commands: u64,
}

fn as_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

const NORMAL: Pace = Pace {
    warm_up: Duration::from_millis(1_000),
    floor: Duration::from_secs(3),
    cluster: Duration::from_secs(5),
    load_step: Duration::from_secs(4),
    idle: Duration::from_secs(10),
    fault_phase: Duration::from_secs(8),
    is_matrix: false,
    commands: 500_000,
};

const QUICK: Pace = Pace {
    warm_up: Duration::from_millis(500),
    floor: Duration::from_secs(1),
    cluster: Duration::from_secs(2),
    load_step: Duration::from_secs(2),
    idle: Duration::from_secs(5),
    fault_phase: Duration::from_secs(4),
    is_matrix: false,
    commands: 100_000,
};

impl Pace {
    /// Each measurement takes this long.
    fn with_seconds(self, seconds: f64) -> Pace {
        let all = Duration::from_secs_f64(seconds);
        Pace {
            floor: all,
            cluster: all,
            load_step: all,
            idle: all,
            fault_phase: all,
            ..self
        }
    }
}

/// Runs what it is the name of.
type Bench = fn(Pace) -> Outcome;

const BENCHES: [(&str, Bench); 9] = [
    ("cluster", saturated::run),
    ("load", load::run),
    ("memory", memory::run),
    ("sync", sync::run),
    ("fault", |pace| fault::run(ONE_OF_FOUR, pace)),
    ("fault-3-of-10", |pace| fault::run(THREE_OF_TEN, pace)),
    ("growth", growth::run),
    ("idle", idle::run),
    ("leaders", leaders::run),
];

const ONE_OF_FOUR: Case = Case {
    name: "fault",
    replicas: 4,
    dead: 1,
    block_data_bytes_max: 8 << 20,
    wait_timeouts_max: Some(3.0),
};

const THREE_OF_TEN: Case = Case {
    name: "fault-3-of-10",
    replicas: 10,
    dead: 3,
    block_data_bytes_max: 2 << 20, // a block goes to nine others, on the same machine
    wait_timeouts_max: None,
};

const HELP: &str = "\
cargo bench --bench replicas -- [OPTIONS] [floor REPLICAS BYTES SECONDS]

  cluster        replicas that always have a block, of several sizes, beside the floor
  load           clients that send commands, from 1,000 a second to saturation; and one at a time
  memory         replicas in one process, without disk and network
  sync           a fresh replica catches up
  fault          one of four is killed under load, and comes back
  fault-3-of-10  three of ten are killed under load, and come back
  growth         memory, while many commands are committed
  idle           what four replicas cost when there is nothing to do
  leaders        what it takes to say who leads, in a set of a thousand

  --quick         a few seconds each: to see that it works, not to quote
  --only NAME     one of the above; may be repeated
  --seconds S     of each measurement
  --matrix        cluster: 4, 7, 16 and 31 replicas, empty blocks to blocks of 1 MiB
  --commands N    growth: so many (they take 2 KB of disk each, until the end)
  floor N BYTES S only the floor of N replicas, with blocks of BYTES, for S seconds, synced

Tables are printed, and written as JSON to target/bench. The exit code is 0 if every criterion held.
The data directories are made below TMPDIR: it decides which disk is measured.";

/// What the command line asks for.
enum Request {
    Help,
    Child,
    Floor {
        replicas: usize,
        payload_bytes: usize,
        seconds: f64,
    },
    Benches {
        names: Vec<&'static str>,
        pace: Pace,
    },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match parse(&arguments) {
        Ok(Request::Help) => println!("{HELP}"),
        Ok(Request::Child) => child::run(),
        Ok(Request::Floor {
            replicas,
            payload_bytes,
            seconds,
        }) => print_floor(replicas, payload_bytes, seconds),
        Ok(Request::Benches { names, pace }) => return run_all(&names, pace),
        Err(wrong) => {
            eprintln!("{wrong}\n\n{HELP}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn parse(arguments: &[String]) -> Result<Request, String> {
    let mut names = Vec::new();
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let mut pace = if is_quick { QUICK } else { NORMAL };
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--bench" => (), // cargo says so
            "--help" | "-h" => return Ok(Request::Help),
            cluster::CHILD => return Ok(Request::Child),
            "--quick" => (), // seen above
            "--only" => names.push(bench_name(rest.next().unwrap_or(""))?),
            "--seconds" => pace = pace.with_seconds(number(rest.next(), argument)?),
            "--matrix" => pace.is_matrix = true,
            "--commands" => pace.commands = number(rest.next(), argument)?,
            "floor" => {
                return Ok(Request::Floor {
                    replicas: number(rest.next(), "floor: replicas")?,
                    payload_bytes: number(rest.next(), "floor: bytes")?,
                    seconds: number(rest.next(), "floor: seconds")?,
                });
            }
            other => return Err(format!("{other}: what is that?")),
        }
    }
    if names.is_empty() {
        names.extend(BENCHES.map(|(name, _)| name));
    }
    Ok(Request::Benches { names, pace })
}

fn number<T: std::str::FromStr>(text: Option<&str>, of: &str) -> Result<T, String> {
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or(format!("{of}: how many?"))
}

fn bench_name(name: &str) -> Result<&'static str, String> {
    let found = BENCHES.iter().find(|(known, _)| *known == name);
    found
        .map(|(known, _)| *known)
        .ok_or(format!("there is no bench named \"{name}\""))
}

fn print_floor(replicas: usize, payload_bytes: usize, seconds: f64) {
    let duration = Duration::from_secs_f64(seconds);
    let result = cluster::run_floor(replicas, payload_bytes, true, NORMAL.warm_up, duration);
    println!(
        "the floor, n = {replicas}, {payload_bytes} bytes: {:.0} blocks/s, p50 {} ms, p99 {} ms, \
         {:.0} us CPU a block",
        result.blocks_per_s,
        report::ms(result.latency.quantile_us(0.5)),
        report::ms(result.latency.quantile_us(0.99)),
        result.cpu_us_per_block
    );
}

fn run_all(names: &[&str], pace: Pace) -> ExitCode {
    stats::self_check();
    report::self_check();
    let (mut all_held, mut outcomes) = (true, Vec::new());
    for (_, bench) in BENCHES.iter().filter(|(name, _)| names.contains(name)) {
        let outcome = bench(pace);
        outcome.print();
        println!("  written to {}", outcome.write().display());
        all_held &= outcome.held();
        outcomes.push(outcome);
    }
    println!("\n{}", numbers::table(&outcomes).text());
    println!(
        "\n{}",
        if all_held {
            "Every criterion held."
        } else {
            "A criterion FAILED: see above."
        }
    );
    if all_held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
