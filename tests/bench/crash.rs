//! One of four replicas is killed under load, and comes back.
//!
//! Commands are offered in an open loop, at half of what the same cluster takes when it is
//! saturated. A command is due by the schedule, and waits from then on, whether or not anybody was
//! there to take it; it is done when it has been seen committed. Every command is offered to all
//! replicas, and the next leader that has room proposes it. The queue is bounded: a command that
//! finds [`QUEUE_TIMEOUTS`] base time-outs' worth of others before it counts as lost.
//!
//! # The choice of the base time-out and of the block size
//! While one replica is dead, each rotation of four views has one that ends by time-out, and what
//! becomes due meanwhile has to go into the three blocks of the others. If a share `x` of what the
//! three can carry is offered, these blocks take `x / (1 - x)` base time-outs together: so a block
//! has room for more than half of what a base time-out brings at saturation, and the time-out is
//! about twice what the largest block takes.
//!
//! # What to expect
//! The dead leader's first view lasts its whole time-out, the later ones a quarter of it, since it
//! has not been heard. A command that just misses the first block of a rotation is committed, under
//! the rule of three certificates in a row, after the last block of the next one: it waits
//! `(1 + x) / (1 - x)` of such waits, under the rule of two `1 / (1 - x)`. At `x` = 1/2 these are 3
//! and 2: with whole waits there would be no margin.

use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use hotstuff::types::CommitRule;

use crate::cluster::Cluster;
use crate::protocol::{Ask, ChainSettings, Report, Schedule, Votes, Work, COMMAND_BYTES};
use crate::report::{ms, Criterion, Outcome, Table};
use crate::saturated::measure_phase;
use crate::stats::{now_ns, sleep_until, Histogram};
use crate::{Pace, REPLICAS};

const CHAIN: ChainSettings = ChainSettings {
    vote_to: Votes::All,
    commit_rule: CommitRule::ThreeChain,
    base_timeout_ms: 300,
    block_data_bytes_max: 8 << 20,
};

const BASE_TIMEOUT: Duration = Duration::from_millis(CHAIN.base_timeout_ms as u64);

/// The longest that a command may wait, in base time-outs.
const WAIT_TIMEOUTS_MAX: f64 = 3.0;

/// The most commands that may wait, in base time-outs' worth of them.
const QUEUE_TIMEOUTS: f64 = 4.0;

/// The most by which the commits of a phase may fall behind what was offered in it, in base
/// time-outs' worth of commands: a phase may end in the middle of a rotation.
const BEHIND_TIMEOUTS_MAX: f64 = 2.0;

/// The replica that dies.
const VICTIM: usize = 3;

/// Blocks behind the others that count as caught up.
const CAUGHT_UP_BLOCKS: u64 = 4;

/// A phase is announced to all replicas so long before it begins.
const NOTICE: Duration = Duration::from_millis(200);

const PHASES: [&str; 4] = ["before", "one dead", "catching up", "after"];

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
struct Line {
    phase: &'static str,
    seconds: f64,
    offered_per_s: f64,
    committed_per_s: f64,
    latency_p50_us: u64,
    latency_p99_us: u64,
    latency_max_us: u64,
}

/// What was seen of the whole run.
struct Seen {
    saturation_per_s: f64,
    offered: u64,
    /// When each phase began; the last is the end.
    begins: Vec<u64>,
    /// Of the survivors.
    reports: Vec<Report>,
    /// Of the restarted replica.
    victim: Report,
    all_in_time: bool,
}

pub fn run(pace: Pace) -> Outcome {
    let saturation_per_s = saturation(pace);
    println!("  crash: {saturation_per_s:.0} commands/s saturate it; half of that is offered ...");
    let seen = kill_and_restart(saturation_per_s, pace);
    outcome(&seen, pace)
}

/// Commands per second, when there are always more than fit.
fn saturation(pace: Pace) -> f64 {
    println!("  crash: the saturation, with the same settings ...");
    let mut cluster = Cluster::start(REPLICAS, CHAIN);
    let schedule = Schedule {
        start_ns: now_ns(),
        per_second: None,
        count: u64::MAX >> 1,
    };
    cluster.work(Work::Commands(schedule));
    let measured = measure_phase(&mut cluster, pace);
    cluster.stop();
    let commands: u64 = measured.phases.iter().map(|phase| phase.commands).sum();
    commands as f64 / REPLICAS as f64 / measured.seconds
}

fn kill_and_restart(saturation_per_s: f64, pace: Pace) -> Seen {
    let mut cluster = Cluster::start(REPLICAS, CHAIN);
    let start_ns = in_a_moment();
    let rate = Some(saturation_per_s / 2.0);
    let mut schedule = Schedule {
        start_ns,
        per_second: rate,
        count: u64::MAX >> 1,
    };
    cluster.work(Work::Commands(schedule));
    let mut begins = vec![start_ns + pace.warm_up.as_nanos() as u64];

    cluster.ask_all(&Ask::Phases(begins.clone()));
    sleep_until(begins[0]);
    thread::sleep(pace.crash_phase);
    begin_phase(&mut cluster, &mut begins);
    println!("  crash: replica {VICTIM} is killed ...");
    cluster.kill(VICTIM);
    thread::sleep(pace.crash_phase);
    begin_phase(&mut cluster, &mut begins);
    println!("  crash: it is started again ...");
    cluster.restart(VICTIM);
    cluster.ask(VICTIM, &Ask::Work(Work::Commands(schedule)));
    let caught_up = cluster.wait_for(Duration::from_secs(30), |places| {
        let most = places.iter().map(|place| place.height).max().unwrap_or(0);
        places[VICTIM].height + CAUGHT_UP_BLOCKS >= most
    });
    begin_phase(&mut cluster, &mut begins);
    println!(
        "  crash: it has {}caught up ...",
        if caught_up { "" } else { "NOT " }
    );
    thread::sleep(pace.crash_phase);

    let end = in_a_moment();
    schedule.count = schedule.due(end);
    cluster.work(Work::Commands(schedule));
    begins.push(end);
    sleep_until(end);
    let longest = BASE_TIMEOUT.mul_f64(WAIT_TIMEOUTS_MAX) + Duration::from_secs(5);
    let is_done = |places: &[crate::protocol::Place]| {
        places.iter().all(|place| place.commands >= schedule.count)
    };
    let all_in_time = cluster.wait_for(longest, is_done) && caught_up;
    let mut reports = cluster.reports();
    cluster.stop();
    let victim = reports.remove(VICTIM);
    let offered = schedule.count;
    Seen {
        saturation_per_s,
        offered,
        begins,
        reports,
        victim,
        all_in_time,
    }
}

fn in_a_moment() -> u64 {
    now_ns() + NOTICE.as_nanos() as u64
}

/// Announces the next phase, and waits until it begins.
fn begin_phase(cluster: &mut Cluster, begins: &mut Vec<u64>) {
    begins.push(in_a_moment());
    cluster.ask_all(&Ask::Phases(begins.clone()));
    sleep_until(begins[begins.len() - 1]);
}

fn outcome(seen: &Seen, pace: Pace) -> Outcome {
    let lines: Vec<Line> = (0..PHASES.len()).map(|phase| line(seen, phase)).collect();
    Outcome {
        name: "crash",
        table: table(seen, &lines),
        settings: json!({
            "replicas": REPLICAS,
            "chain": CHAIN,
            "command_bytes": COMMAND_BYTES,
            "offered_per_s": seen.saturation_per_s / 2.0,
            "queue_max": queue_max(seen),
            "durability": "synced",
            "pace": pace,
        }),
        figures: json!({
            "saturation_per_s": seen.saturation_per_s,
            "offered": seen.offered,
            "backlog_max": backlog_max(seen),
            "phases": lines,
        }),
        criteria: criteria(seen, &lines),
    }
}

fn line(seen: &Seen, phase: usize) -> Line {
    let seconds = (seen.begins[phase + 1] - seen.begins[phase]) as f64 / 1e9;
    let mut latency = Histogram::default();
    let mut committed = 0;
    for report in &seen.reports {
        if let Some(seen) = report.phases.get(phase) {
            latency.add(&seen.latency);
            committed += seen.commands;
        }
    }
    Line {
        phase: PHASES[phase],
        seconds,
        offered_per_s: seen.saturation_per_s / 2.0,
        committed_per_s: committed as f64 / seen.reports.len() as f64 / seconds,
        latency_p50_us: latency.quantile_us(0.5),
        latency_p99_us: latency.quantile_us(0.99),
        latency_max_us: latency.max_us(),
    }
}

fn in_timeouts(us: u64) -> f64 {
    us as f64 / BASE_TIMEOUT.as_micros() as f64
}

fn queue_max(seen: &Seen) -> u64 {
    let per_timeout = seen.saturation_per_s / 2.0 * BASE_TIMEOUT.as_secs_f64();
    (per_timeout * QUEUE_TIMEOUTS) as u64
}

fn backlog_max(seen: &Seen) -> u64 {
    seen.reports
        .iter()
        .map(|report| report.backlog_max)
        .max()
        .unwrap_or(0)
}

fn criteria(seen: &Seen, lines: &[Line]) -> Vec<Criterion> {
    let offered = seen.offered;
    let all = || seen.reports.iter().chain([&seen.victim]);
    let are_all_there = all().all(|report| report.place.commands == offered);
    let out_of_turn: u64 = all().map(|report| report.out_of_turn).sum();
    let once = Criterion {
        what: format!("crash: all {offered} commands committed, each once, on all replicas"),
        held: seen.all_in_time && are_all_there && out_of_turn == 0,
    };
    let queue = Criterion {
        what: format!(
            "crash: at most {} commands waited; the queue has {}",
            backlog_max(seen),
            queue_max(seen)
        ),
        held: backlog_max(seen) <= queue_max(seen),
    };
    let behind = |line: &Line| {
        let share = 1.0 - line.committed_per_s / line.offered_per_s;
        share * line.seconds / BASE_TIMEOUT.as_secs_f64()
    };
    let behind = lines.iter().map(behind).fold(0.0, f64::max);
    let rate = Criterion {
        what: format!(
            "crash: at the end of a phase at most {behind:.2} base time-outs' worth was behind; at \
             most {BEHIND_TIMEOUTS_MAX}"
        ),
        held: behind <= BEHIND_TIMEOUTS_MAX,
    };
    let longest = lines
        .iter()
        .map(|line| line.latency_max_us)
        .max()
        .unwrap_or(0);
    let wait = Criterion {
        what: format!(
            "crash: the longest wait was {:.2} base time-outs; at most {WAIT_TIMEOUTS_MAX}",
            in_timeouts(longest)
        ),
        held: in_timeouts(longest) <= WAIT_TIMEOUTS_MAX,
    };
    vec![once, queue, rate, wait]
}

fn table(seen: &Seen, lines: &[Line]) -> Table {
    let title = format!(
        "one of {REPLICAS} killed; {COMMAND_BYTES}-byte commands at half of {:.0}/s; \
         base time-out {} ms",
        seen.saturation_per_s,
        BASE_TIMEOUT.as_millis()
    );
    let mut head = vec![""];
    head.extend(PHASES);
    let mut table = Table::new(&title, &head);
    let mut row = |what: &str, cell: &dyn Fn(&Line) -> String| {
        let cells: Vec<String> = [what.to_owned()]
            .into_iter()
            .chain(lines.iter().map(cell))
            .collect();
        table.row(&cells);
    };
    row("seconds", &|line| format!("{:.1}", line.seconds));
    row("offered/s", &|line| format!("{:.0}", line.offered_per_s));
    row("committed/s", &|line| {
        format!("{:.0}", line.committed_per_s)
    });
    row("p50 ms", &|line| ms(line.latency_p50_us));
    row("p99 ms", &|line| ms(line.latency_p99_us));
    row("max ms", &|line| ms(line.latency_max_us));
    row("p50 in base time-outs", &|line| {
        format!("{:.2}", in_timeouts(line.latency_p50_us))
    });
    row("p99 in base time-outs", &|line| {
        format!("{:.2}", in_timeouts(line.latency_p99_us))
    });
    row("max in base time-outs", &|line| {
        format!("{:.2}", in_timeouts(line.latency_max_us))
    });
    table.notes.push(
        "Latency: from the time a command was due until a survivor has seen its commit.".into(),
    );
    table
}
