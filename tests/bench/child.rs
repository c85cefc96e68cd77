//! A child process of the bench: the floor, one replica, or clients. It obeys its standard input,
//! and ends, its files with it, when that is closed: so nothing outlives the bench.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io, process, thread};

use hotstuff::algorithm::{Limits, SyncConfig, VoteTo};
use hotstuff::block_tree::{Durability, OpenOptions};
use hotstuff::network::NetworkProvider;
use hotstuff::pacemaker::DefaultPacemaker;
use hotstuff::replica::{CommittedBlock, Replica, ReplicaConfig, ReplicaError};
use hotstuff::transport::{TcpConfig, TcpNetwork};
use hotstuff::types::{
    BlockHeight, ChainId, ChainParameters, Genesis, KeyPair, Validator, ValidatorAddress,
    ValidatorSet,
};

use crate::app::{commands_in, proposed_ns, BenchApp, Desk, Number, SCHEDULE};
use crate::clients::{self, Door};
use crate::floor;
use crate::protocol::{Answer, Ask, Place, ReplicaSettings, Report, Role, Work};
use crate::stats::now_ns;

/// The life of a child.
pub fn run() {
    match read_line() {
        Some(Role::Floor(settings)) => {
            let dir = settings.dir.clone();
            thread::spawn(move || exit_with_parent(&dir));
            answer(&Answer::Floor(Box::new(floor::run(&settings))));
        }
        Some(Role::Replica(settings)) => run_replica(&settings),
        Some(Role::Clients(settings)) => {
            let result = clients::run(&settings);
            answer(&Answer::Clients(Box::new(result)));
        }
        None => (),
    }
}

fn exit_with_parent(dir: &Path) {
    while read_line::<Ask>().is_some() {}
    clean_up(dir);
    process::exit(1);
}

/// Removes the folder of the whole cluster: whoever was killed cannot remove its own files.
fn clean_up(dir: &Path) {
    if let Some(all) = dir.parent() {
        let _ = fs::remove_dir_all(all); // the others are at it, too
    }
}

fn read_line<T: serde::de::DeserializeOwned>() -> Option<T> {
    let mut line = String::new();
    let bytes = io::stdin().lock().read_line(&mut line).ok()?;
    (bytes > 0).then(|| serde_json::from_str(&line).expect("the bench speaks this protocol"))
}

fn answer(answer: &Answer) {
    let line = serde_json::to_string(answer).expect("plain data");
    let mut out = io::stdout().lock();
    // A dead parent is seen at the input.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn run_replica(settings: &ReplicaSettings) {
    let seat = Seat::open(settings);
    let replica = Arc::clone(&seat.replica);
    let client_port = seat.door.open(move || drop(replica.notify())); // it may have ended
    answer(&Answer::Ready { client_port });
    while let Some(ask) = read_line() {
        if matches!(ask, Ask::Quit) {
            let _ = seat.replica.stop(Duration::from_secs(5));
            return answer(&Answer::Done);
        }
        answer(&seat.on(ask));
    }
    clean_up(&settings.dir);
    process::exit(1);
}

/// A running replica, and what has been seen of it.
struct Seat {
    replica: Arc<Replica>,
    network: Arc<TcpNetwork>,
    desk: Arc<Desk>,
    door: Arc<Door>,
    seen: Arc<Mutex<Seen>>,
}

impl Seat {
    fn open(settings: &ReplicaSettings) -> Seat {
        let key = key(settings.index);
        let network = TcpNetwork::open(tcp_config(settings), key.duplicate());
        let network = Arc::new(network.unwrap_or_else(|error| panic!("{error}")));
        let desk = Arc::new(Desk::default());
        let door = Arc::new(Door::default());
        let app = BenchApp {
            desk: Arc::clone(&desk),
            door: Arc::clone(&door),
            block_data_bytes_max: settings.chain.block_data_bytes_max as usize,
        };
        let provider: Arc<dyn NetworkProvider> = Arc::clone(&network) as _;
        let replica = Replica::open(config(settings, key), Box::new(app), provider);
        let replica = Arc::new(replica.expect("a directory of its own"));
        replica.start().expect("it was not started before");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let seat = Seat {
            replica,
            network,
            desk,
            door,
            seen,
        };
        seat.spawn_reader();
        seat.spawn_waker();
        seat
    }

    /// Reads what is committed, as a host does that answers its clients.
    fn spawn_reader(&self) {
        let (replica, seen) = (Arc::clone(&self.replica), Arc::clone(&self.seen));
        let (desk, door) = (Arc::clone(&self.desk), Arc::clone(&self.door));
        let mut at = replica.info().committed_height;
        thread::spawn(move || loop {
            match replica.next_committed(at, Duration::from_secs(60)) {
                Ok(committed) => {
                    at = at.next();
                    lock(&seen).count(&committed, at, &desk.work());
                    if door.answer(&committed.block.data) {
                        let _ = replica.notify(); // it may have ended
                    }
                }
                Err(ReplicaError::TimedOut) => (),
                Err(ReplicaError::Closed) => return,
                Err(error) => panic!("{error:?}"),
            }
        });
    }

    /// Wakes the chain when a command becomes due that the app has waited for.
    fn spawn_waker(&self) {
        let (replica, desk) = (Arc::clone(&self.replica), Arc::clone(&self.desk));
        thread::spawn(move || loop {
            let is_scheduled = matches!(desk.work(), Work::Commands(_));
            thread::sleep(if is_scheduled { TICK } else { IDLE_TICK });
            if desk.is_overdue() && replica.notify().is_err() {
                return;
            }
        });
    }

    fn on(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Work(work) => {
                self.desk.set_work(work);
                if !matches!(work, Work::None) {
                    self.replica.notify().expect("it runs");
                }
                Answer::Done
            }
            Ask::Phases(begin) => {
                lock(&self.seen).set_phases(begin);
                Answer::Done
            }
            Ask::Report => Answer::Report(Box::new(self.report())),
            Ask::Place => Answer::Place(self.place()),
            Ask::Quit => Answer::Done,
        }
    }

    fn place(&self) -> Place {
        let seen = lock(&self.seen);
        Place {
            height: seen.height,
            view: self.replica.info().view.0,
            commands: seen.next.values().sum(),
            peers_connected: self.network.counters().total.connected as usize,
        }
    }

    fn report(&self) -> Report {
        let metrics = self.replica.metrics();
        let place = self.place();
        let report = lock(&self.seen).report.clone();
        Report {
            place,
            view_timeouts: metrics.view_timeouts,
            messages_rejected: metrics.messages_rejected,
            transactions: metrics.transactions,
            ..report
        }
    }
}

/// How often it is looked whether a command is due.
const TICK: Duration = Duration::from_millis(1);
/// The same, while there is no schedule.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// What the reader has seen committed.
#[derive(Default)]
struct Seen {
    /// When the phases begin.
    phases: Vec<u64>,
    height: u64,
    /// The turn that comes next at each source, once one was seen: a restarted replica begins in
    /// the middle.
    next: BTreeMap<u8, u64>,
    report: Report,
}

impl Seen {
    /// Phases that do not continue those of before begin with nothing.
    fn set_phases(&mut self, begin: Vec<u64>) {
        if !begin.starts_with(&self.phases) {
            self.report.phases.clear();
        }
        let phases = &mut self.report.phases;
        phases.resize_with(begin.len(), Default::default);
        self.phases = begin;
    }

    fn count(&mut self, committed: &CommittedBlock, height: BlockHeight, work: &Work) {
        let now = now_ns();
        let data = &committed.block.data;
        self.height = height.0;
        match commands_in(data) {
            Some(commands) => {
                let count = self.count_commands(commands, now);
                self.note_backlog(work, now);
                self.count_block(now, count, data.len());
            }
            None => {
                if let Some(proposed_ns) = proposed_ns(data) {
                    self.count_latency(proposed_ns, now);
                }
                self.count_block(now, 0, data.len());
            }
        }
    }

    fn count_commands(&mut self, commands: impl Iterator<Item = (Number, u64)>, now: u64) -> u64 {
        let mut count = 0;
        for (number, due_ns) in commands {
            let next = self.next.entry(number.source).or_insert(number.turn);
            self.report.out_of_turn += u64::from(*next != number.turn);
            *next = number.turn + 1;
            self.count_latency(due_ns, now);
            count += 1;
        }
        count
    }

    fn note_backlog(&mut self, work: &Work, now: u64) {
        if let (Work::Commands(schedule), Some(next)) = (work, self.next.get(&SCHEDULE)) {
            if schedule.per_second.is_some() {
                let backlog = schedule.due(now).saturating_sub(*next);
                self.report.backlog_max = self.report.backlog_max.max(backlog);
            }
        }
    }

    fn count_block(&mut self, now: u64, commands: u64, bytes: usize) {
        if let Some(phase) = self.phase(now) {
            let phase = &mut self.report.phases[phase];
            phase.blocks += 1;
            phase.commands += commands;
            phase.bytes += bytes as u64;
        }
    }

    fn count_latency(&mut self, began_ns: u64, now: u64) {
        if let Some(phase) = self.phase(began_ns) {
            let us = now.saturating_sub(began_ns) / 1_000;
            self.report.phases[phase].latency.record(us);
        }
    }

    fn phase(&self, at_ns: u64) -> Option<usize> {
        self.phases.iter().rposition(|begin| *begin <= at_ns)
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().expect("nobody panics under the lock")
}

fn key(index: usize) -> KeyPair {
    KeyPair::from_seed(&[index as u8 + 1; 32]).expect("a seed has 32 bytes")
}

fn address(index: usize) -> ValidatorAddress {
    key(index).address()
}

fn genesis(settings: &ReplicaSettings) -> Genesis {
    let members = (0..settings.validators).map(|index| Validator {
        address: address(index),
        power: 1,
    });
    Genesis {
        chain_id: ChainId(7),
        validator_set: ValidatorSet::new(members).expect("different keys of power 1"),
        app_state: Default::default(),
        parameters: ChainParameters {
            block_data_bytes_max: settings.chain.block_data_bytes_max,
            commit_rule: settings.chain.commit_rule,
            ..ChainParameters::default()
        },
    }
}

fn config(settings: &ReplicaSettings, key: KeyPair) -> ReplicaConfig {
    let base_ms = settings.chain.base_timeout_ms;
    ReplicaConfig {
        genesis: genesis(settings),
        signer: Some((key.address(), Arc::new(key))),
        storage: OpenOptions {
            data_dir: settings.dir.clone(),
            create: true,
            map_bytes: 64 << 30,
            durability: Durability::Synced,
        },
        pacemaker: Arc::new(DefaultPacemaker {
            base_ms,
            ..DefaultPacemaker::default()
        }),
        vote_to: VoteTo::Auto,
        sync: SyncConfig::default(),
        limits: Limits::default(),
    }
}

fn tcp_config(settings: &ReplicaSettings) -> TcpConfig {
    let at = |index: usize| format!("127.0.0.1:{}", settings.ports[index]);
    let others = (0..settings.ports.len()).filter(|index| *index != settings.index);
    let message_bytes_max = genesis(settings).parameters.message_bytes_max();
    TcpConfig {
        listen: Some(at(settings.index)),
        peers: others.map(|index| (address(index), at(index))).collect(),
        max_listeners: 1,
        message_bytes_max,
        queue_bytes: 4 * message_bytes_max as u64,
        ..TcpConfig::default()
    }
}
