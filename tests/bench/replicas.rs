//! `cargo bench --bench replicas`: speed beside the floor of this machine, the cost of being idle,
//! and what a crash does. `--help` says more.
//!
//! ```text
//!   replicas --+-- --child: the floor (threads in one process)
//!              +-- --child: replica 0 --+
//!              +-- --child: replica 1 --+-- TCP on loopback, each on an LMDB of its own
//!              +-- ...                --+
//! ```
//!
//! All replicas run the library as it ships: TLS, synced LMDB, an app on its thread, a host that
//! reads what is committed. The time of a proposal stands in its block, so latency is taken from
//! one clock, the machine's. CPU time is all that the processes use, the app and the reading host
//! included.

mod app;
mod child;
mod cluster;
mod crash;
mod floor;
mod idle;
mod leaders;
#[path = "../paper/powers.rs"]
mod powers;
mod protocol;
mod report;
mod saturated;
mod stats;

use std::process::ExitCode;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::report::Outcome;

/// Replicas of each cluster.
pub const REPLICAS: usize = 4;

/// How long everything takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pace {
    #[serde(serialize_with = "as_seconds")]
    pub warm_up: Duration,
    #[serde(serialize_with = "as_seconds")]
    pub floor: Duration,
    #[serde(serialize_with = "as_seconds")]
    pub cluster: Duration,
    #[serde(serialize_with = "as_seconds")]
    pub idle: Duration,
    #[serde(serialize_with = "as_seconds")]
    pub crash_phase: Duration,
}

fn as_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

const NORMAL: Pace = Pace {
    warm_up: Duration::from_millis(1_000),
    floor: Duration::from_secs(3),
    cluster: Duration::from_secs(5),
    idle: Duration::from_secs(10),
    crash_phase: Duration::from_secs(10),
};

const QUICK: Pace = Pace {
    warm_up: Duration::from_millis(500),
    floor: Duration::from_secs(1),
    cluster: Duration::from_secs(2),
    idle: Duration::from_secs(5),
    crash_phase: Duration::from_secs(4),
};

/// Runs what it is the name of.
type Bench = fn(&'static str, Pace) -> Outcome;

const BENCHES: [(&str, Bench); 5] = [
    ("empty", |name, pace| saturated::run(name, 8, pace)),
    ("large", |name, pace| saturated::run(name, 256 << 10, pace)),
    ("idle", |_, pace| idle::run(pace)),
    ("crash", |_, pace| crash::run(pace)),
    ("leaders", |_, pace| leaders::run(pace)),
];

const HELP: &str = "\
cargo bench --bench replicas -- [--quick] [--only NAME] [floor BYTES SECONDS]

  empty   four replicas, empty blocks, beside the floor
  large   four replicas, blocks of 256 KiB, beside the floor
  idle    what four replicas cost when there is nothing to do
  crash   one of four is killed under load, and comes back
  leaders what it takes to say who leads, in a set of a thousand

  --quick         a few seconds each: to see that it works, not to quote
  --only NAME     one of the above; may be repeated
  floor BYTES S   only the floor, with blocks of BYTES, for S seconds

Tables are printed, and written as JSON to target/bench. The exit code is 0 if every criterion held.
The data directories are made below TMPDIR: it decides which disk is measured.";

/// What the command line asks for.
enum Request {
    Help,
    Child,
    Floor {
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
            payload_bytes,
            seconds,
        }) => print_floor(payload_bytes, seconds),
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
    let mut pace = NORMAL;
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--bench" => (), // cargo says so
            "--help" | "-h" => return Ok(Request::Help),
            cluster::CHILD => return Ok(Request::Child),
            "--quick" => pace = QUICK,
            "--only" => names.push(bench_name(rest.next().unwrap_or(""))?),
            "floor" => {
                let mut number = |what| {
                    let number = rest.next().and_then(|text| text.parse::<f64>().ok());
                    number.ok_or(format!("floor: how many {what}?"))
                };
                let payload_bytes = number("bytes")? as usize;
                return Ok(Request::Floor {
                    payload_bytes,
                    seconds: number("seconds")?,
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

fn bench_name(name: &str) -> Result<&'static str, String> {
    let found = BENCHES.iter().find(|(known, _)| *known == name);
    found
        .map(|(known, _)| *known)
        .ok_or(format!("there is no bench named \"{name}\""))
}

fn print_floor(payload_bytes: usize, seconds: f64) {
    let duration = Duration::from_secs_f64(seconds);
    let result = cluster::run_floor(payload_bytes, NORMAL.warm_up, duration);
    println!(
        "the floor, {payload_bytes} bytes: {:.0} blocks/s, p50 {} ms, p99 {} ms, \
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
    let mut all_held = true;
    for (name, bench) in BENCHES.iter().filter(|(name, _)| names.contains(name)) {
        let outcome = bench(name, pace);
        outcome.print();
        println!("  written to {}", outcome.write().display());
        all_held &= outcome.held();
    }
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
