//! One of four replicas, or three of ten, are killed under load, and come back.
//!
//! First the saturation is measured, with all and without the dead. Then, in another cluster,
//! commands are offered in an open loop, at half of the lower of the two. A command is due by the
//! schedule, and waits from then on, whether or not anybody was there to take it; it is done when
//! it has been seen committed. Every command is offered to all replicas, and the next leader that
//! has room proposes it. The queue is bounded: a command that finds [`QUEUE_TIMEOUTS`] base
//! time-outs' worth of others before it counts as lost.
//!
//! # The choice of the base time-out and of the block size
//! Until the dead one leads no more (the rule `active`), each rotation of four views has one that
//! ends by time-out, and what becomes due meanwhile has to go into the three blocks of the others.
//! If a share `x` of what the three can carry is offered, these blocks take `x / (1 - x)` base
//! time-outs together: so a block has room for more than half of what a base time-out brings at
//! saturation, and the time-out is about twice what the largest block takes.
//!
//! # What to expect
//! The dead leader's first view lasts its whole time-out, the later ones a quarter of it, since it
//! has not been heard. A command that just misses the first block of a rotation is committed, under
//! the rule of three certificates in a row, after the last block of the next one: it waits
//! `(1 + x) / (1 - x)` of such waits, under the rule of two `1 / (1 - x)`. At `x` = 1/2 these are 3
//! and 2: with whole waits there would be no margin.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use hotstuff::types::CommitRule;

use crate::cluster::Cluster;
use crate::protocol::{Ask, ChainSettings, Place, Report, Schedule, Work, COMMAND_BYTES};
use crate::report::{ms, Criterion, Outcome, Table};
use crate::saturated::measure_phase;
use crate::stats::{now_ns, sleep_until, Histogram};
use crate::Pace;

/// Who dies.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub replicas: usize,
    /// So many, the last ones: at most a third.
    pub dead: usize,
    pub block_data_bytes_max: u64,
    /// The longest that a command may wait, in base time-outs. With more than one dead this, and
    /// the queue, depend on who leads after whom: waits are backed off from the second dead leader
    /// in a row on.
    pub wait_timeouts_max: Option<f64>,
}

const BASE_TIMEOUT: Duration = Duration::from_millis(300);

/// The most commands that may wait, in base time-outs' worth of them.
const QUEUE_TIMEOUTS: f64 = 4.0;

/// The most by which the commits of a phase may fall behind what was offered in it, in base
/// time-outs' worth of commands: a phase may end in the middle of a rotation.
const BEHIND_TIMEOUTS_MAX: f64 = 2.0;

/// Blocks behind the others that count as caught up.
const CAUGHT_UP_BLOCKS: u64 = 4;

/// A phase is announced to all replicas so long before it begins.
const NOTICE: Duration = Duration::from_millis(200);

/// The last commands are committed within this time.
const LAST_COMMIT_MAX: Duration = Duration::from_secs(20);

/// Rotations until everybody knows who is dead, and the longest that they may take.
const DEATH_ROTATIONS: u64 = 10;
const DEATH_MAX: Duration = Duration::from_secs(30);

/// `death` is the first ten rotations of `dead`.
const PHASES: [&str; 5] = ["before", "death", "dead", "catching up", "after"];
const BEFORE: usize = 0;
const DEATH: usize = 1;
const DEAD: usize = 2;

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

/// Commands per second when there are always more than fit.
#[derive(Clone, Copy, Serialize)]
struct Saturation {
    all: f64,
    /// After ten rotations without the dead.
    dead: f64,
    goes_on: bool,
}

/// What was seen of the whole run.
struct Seen {
    case: Case,
    saturation: Saturation,
    offered: u64,
    /// When each phase began; the last is the end.
    begins: Vec<u64>,
    survivors: Vec<Report>,
    victims: Vec<Report>,
    goes_on: bool,
    all_in_time: bool,
}

impl Saturation {
    /// Commands a second of the open loop.
    fn offered(&self) -> f64 {
        self.all.min(self.dead) / 2.0
    }
}

impl Case {
    fn chain(&self) -> ChainSettings {
        ChainSettings {
            commit_rule: CommitRule::ThreeChain,
            base_timeout_ms: BASE_TIMEOUT.as_millis() as u32,
            block_data_bytes_max: self.block_data_bytes_max,
        }
    }

    fn victims(&self) -> std::ops::Range<usize> {
        self.replicas - self.dead..self.replicas
    }
}

pub fn run(case: Case, pace: Pace) -> Outcome {
    let saturation = saturation(case, pace);
    println!(
        "  {}: {:.0} commands/s saturate it, {:.0} without the dead; half of that is offered ...",
        case.name, saturation.all, saturation.dead
    );
    let seen = kill_and_restart(case, saturation, pace);
    outcome(&seen, pace)
}

fn saturation(case: Case, pace: Pace) -> Saturation {
    println!(
        "  {}: the saturation, with the same settings ...",
        case.name
    );
    let mut cluster = Cluster::start(case.replicas, case.chain());
    let schedule = Schedule {
        start_ns: now_ns(),
        per_second: None,
        count: u64::MAX >> 1,
    };
    cluster.work(Work::Commands(schedule));
    let measure = |cluster: &mut Cluster| {
        let measured = measure_phase(cluster, pace.warm_up, pace.fault_phase);
        measured.mean(|phase| phase.commands) / measured.seconds
    };
    let all = measure(&mut cluster);
    case.victims().for_each(|victim| cluster.kill(victim));
    let goes_on = await_rotations(&mut cluster, case.replicas);
    let dead = measure(&mut cluster);
    cluster.stop();
    Saturation { all, dead, goes_on }
}

/// Waits until the replicas are ten rotations further; whether they came there.
fn await_rotations(cluster: &mut Cluster, replicas: usize) -> bool {
    let view_of = |places: &[Place]| places.iter().map(|place| place.view).max().unwrap_or(0);
    let until = view_of(&cluster.places()) + DEATH_ROTATIONS * replicas as u64;
    cluster.wait_for(DEATH_MAX, |places| view_of(places) >= until)
}

fn kill_and_restart(case: Case, saturation: Saturation, pace: Pace) -> Seen {
    let mut cluster = Cluster::start(case.replicas, case.chain());
    let start_ns = in_a_moment();
    let mut schedule = Schedule {
        start_ns,
        per_second: Some(saturation.offered()),
        count: u64::MAX >> 1,
    };
    cluster.work(Work::Commands(schedule));
    let mut begins = vec![start_ns + pace.warm_up.as_nanos() as u64];

    cluster.ask_all(&Ask::Phases(begins.clone()));
    sleep_until(begins[0]);
    thread::sleep(pace.fault_phase);
    begin_phase(&mut cluster, &mut begins);
    println!(
        "  {}: {} of {} are killed ...",
        case.name, case.dead, case.replicas
    );
    case.victims().for_each(|victim| cluster.kill(victim));
    let goes_on = await_rotations(&mut cluster, case.replicas) && saturation.goes_on;
    begin_phase(&mut cluster, &mut begins);
    thread::sleep(pace.fault_phase);
    begin_phase(&mut cluster, &mut begins);
    println!("  {}: they are started again ...", case.name);
    for victim in case.victims() {
        cluster.restart(victim);
        cluster.ask(victim, &Ask::Work(Work::Commands(schedule)));
    }
    let caught_up = cluster.wait_for(Duration::from_secs(30), |places| {
        let most = places.iter().map(|place| place.height).max().unwrap_or(0);
        places
            .iter()
            .all(|place| place.height + CAUGHT_UP_BLOCKS >= most)
    });
    begin_phase(&mut cluster, &mut begins);
    let not = if caught_up { "" } else { "NOT " };
    println!("  {}: they have {not}caught up ...", case.name);
    thread::sleep(pace.fault_phase);

    let end = in_a_moment();
    schedule.count = schedule.due(end);
    cluster.work(Work::Commands(schedule));
    begins.push(end);
    sleep_until(end);
    let offered = schedule.count;
    let is_done = |places: &[Place]| places.iter().all(|place| place.commands >= offered);
    let all_in_time = cluster.wait_for(LAST_COMMIT_MAX, is_done) && caught_up;
    let mut survivors = cluster.reports();
    cluster.stop();
    let victims = survivors.split_off(case.victims().start);
    Seen {
        case,
        saturation,
        offered,
        begins,
        survivors,
        victims,
        goes_on,
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
        name: seen.case.name,
        table: table(seen, &lines),
        settings: json!({
            "replicas": seen.case.replicas,
            "dead": seen.case.dead,
            "chain": seen.case.chain(),
            "command_bytes": COMMAND_BYTES,
            "queue_max": queue_max(seen),
            "durability": "synced",
            "pace": pace,
        }),
        figures: json!({
            "saturation_per_s": seen.saturation,
            "offered": seen.offered,
            "backlog_max": backlog_max(seen),
            "phases": lines,
        }),
        criteria: criteria(seen, &lines),
        numbers: numbers(seen, &lines),
    }
}

fn line(seen: &Seen, phase: usize) -> Line {
    let seconds = (seen.begins[phase + 1] - seen.begins[phase]) as f64 / 1e9;
    let mut latency = Histogram::default();
    let mut committed = 0;
    for report in &seen.survivors {
        if let Some(seen) = report.phases.get(phase) {
            latency.add(&seen.latency);
            committed += seen.commands;
        }
    }
    Line {
        phase: PHASES[phase],
        seconds,
        offered_per_s: seen.saturation.offered(),
        committed_per_s: committed as f64 / seen.survivors.len() as f64 / seconds,
        latency_p50_us: latency.quantile_us(0.5),
        latency_p99_us: latency.quantile_us(0.99),
        latency_max_us: latency.max_us(),
    }
}

fn in_timeouts(us: u64) -> f64 {
    us as f64 / BASE_TIMEOUT.as_micros() as f64
}

fn queue_max(seen: &Seen) -> u64 {
    let per_timeout = seen.saturation.offered() * BASE_TIMEOUT.as_secs_f64();
    (per_timeout * QUEUE_TIMEOUTS) as u64
}

fn backlog_max(seen: &Seen) -> u64 {
    seen.survivors
        .iter()
        .map(|report| report.backlog_max)
        .max()
        .unwrap_or(0)
}

fn criteria(seen: &Seen, lines: &[Line]) -> Vec<Criterion> {
    let (name, offered) = (seen.case.name, seen.offered);
    let all = || seen.survivors.iter().chain(&seen.victims);
    let are_all_there = all().all(|report| report.place.commands == offered);
    let out_of_turn: u64 = all().map(|report| report.out_of_turn).sum();
    let once = Criterion {
        what: format!("{name}: all {offered} commands committed, each once, on all replicas"),
        held: seen.all_in_time && are_all_there && out_of_turn == 0,
    };
    let goes_on = Criterion {
        what: format!("{name}: {DEATH_ROTATIONS} rotations took less than {DEATH_MAX:?}"),
        held: seen.goes_on,
    };
    let queue = Criterion {
        what: format!(
            "{name}: at most {} commands waited; the queue has {}",
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
            "{name}: at the end of a phase at most {behind:.2} base time-outs' worth was behind; \
             at most {BEHIND_TIMEOUTS_MAX}"
        ),
        held: behind <= BEHIND_TIMEOUTS_MAX,
    };
    let longest = lines.iter().map(|line| in_timeouts(line.latency_max_us));
    let longest = longest.fold(0.0, f64::max);
    let Some(most) = seen.case.wait_timeouts_max else {
        return vec![once, goes_on];
    };
    let wait = Criterion {
        what: format!("{name}: the longest wait was {longest:.2} base time-outs; at most {most}"),
        held: longest <= most,
    };
    vec![once, goes_on, queue, rate, wait]
}

fn numbers(seen: &Seen, lines: &[Line]) -> BTreeMap<String, f64> {
    if seen.case.dead > 1 {
        return BTreeMap::new(); // the numbers to reach are those of one of four
    }
    let p50 = |phase: usize| lines[phase].latency_p50_us as f64;
    [
        (
            "dead-throughput",
            seen.saturation.dead / seen.saturation.all,
        ),
        ("dead-p50", p50(DEAD) / p50(BEFORE)),
        ("death-wait", in_timeouts(lines[DEATH].latency_max_us)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn table(seen: &Seen, lines: &[Line]) -> Table {
    let title = format!(
        "{} of {} killed; {COMMAND_BYTES}-byte commands, {:.0}/s; base time-out {} ms",
        seen.case.dead,
        seen.case.replicas,
        seen.saturation.offered(),
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
    table.notes = vec![
        format!(
            "Saturated: {:.0} commands/s before, {:.0} without the dead after {DEATH_ROTATIONS} \
             rotations.",
            seen.saturation.all, seen.saturation.dead
        ),
        format!("death: the first {DEATH_ROTATIONS} rotations of it."),
        "Latency: from the time a command was due until a survivor has seen its commit.".into(),
    ];
    table
}
