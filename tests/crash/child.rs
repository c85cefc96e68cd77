//! One replica in a process of its own: TCP, LMDB, the log of commands. It tells the test all that
//! it sends before it sends it, over the socket that is its standard input, and ends with it.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, process, thread};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use hotstuff::algorithm::{Limits, SyncConfig, VoteTo};
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::block_tree::{Durability, OpenOptions};
use hotstuff::network::NetworkProvider;
use hotstuff::pacemaker::DefaultPacemaker;
use hotstuff::replica::{Replica, ReplicaConfig, ReplicaError, ReplicaEvent, ReplicaEventKind};
use hotstuff::transport::{TcpConfig, TcpNetwork};
use hotstuff::types::{
    BlockHeight, ChainId, ChainParameters, Genesis, KeyPair, Validator, ValidatorAddress,
    ValidatorSet,
};

use crate::app::{commands_in, Log, Pool};
use crate::wire::{self, Commands, Said, LAST_MAX};

/// How the test hands the settings over.
const SETTINGS: &str = "CRASH_TEST_SETTINGS";

pub const REPLICAS: usize = 4;

/// One replica of the cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    pub index: usize,
    /// Where each replica listens on loopback.
    pub ports: Vec<u16>,
    pub directory: PathBuf,
    pub is_synced: bool,
    /// Commits up to here are known to the test.
    pub known_height: u64,
}

/// The command that runs a replica.
pub fn command(settings: &Settings) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program has a path"));
    command.args([
        "--exact",
        "child::replica",
        "--nocapture",
        "--test-threads=1",
    ]);
    let settings = serde_json::to_string(settings).expect("plain data");
    command.env(SETTINGS, settings);
    command
}

/// The life of a replica's process; nothing in the test's own.
#[test]
fn replica() {
    if let Ok(settings) = env::var(SETTINGS) {
        run(&serde_json::from_str(&settings).expect("the test wrote it"));
    }
}

fn run(settings: &Settings) {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let stream = UnixStream::from(stdin.expect("the test has put a socket there"));
    let mut orders = stream.try_clone().expect("a descriptor");
    let report = Report(Arc::new(Mutex::new(stream)));
    let pool = Pool::default();
    let replica = match open(settings, &pool, &report) {
        Ok(replica) => Arc::new(replica),
        Err(error) => return report.say(&Said::Refused(error.to_string())),
    };
    report.say(&opened(&replica));
    replica.start().expect("it was not started before");
    spawn_reader(settings.known_height, &replica, &pool, &report);
    while let Some(Commands(commands)) = wire::read(&mut orders) {
        pool.add(commands);
        if replica.notify().is_err() {
            break;
        }
    }
    process::exit(1); // the test is gone, or the replica has stopped itself
}

/// The way to the test.
#[derive(Clone)]
struct Report(Arc<Mutex<UnixStream>>);

impl Report {
    fn say<T: Serialize>(&self, what: &T) {
        self.say_and(what, || ());
    }

    /// In this order, and in the same one for all threads.
    fn say_and<T: Serialize>(&self, what: &T, then: impl FnOnce()) {
        let mut stream = self.0.lock().expect("nobody panics under the lock");
        if wire::write(&mut *stream, what)
            .and_then(|()| stream.flush())
            .is_err()
        {
            process::exit(1); // the test is gone
        }
        then();
    }
}

/// Tells what is sent before it is sent.
struct Recorder {
    network: TcpNetwork,
    report: Report,
}

impl NetworkProvider for Recorder {
    fn connect(&self, peer: ValidatorAddress) {
        self.network.connect(peer);
    }

    fn disconnect(&self, peer: ValidatorAddress) {
        self.network.disconnect(peer);
    }

    fn send(&self, peer: ValidatorAddress, message: &[u8]) {
        let said = Said::Sent(ByteBuf::from(message));
        self.report
            .say_and(&said, || self.network.send(peer, message));
    }

    fn broadcast(&self, message: &[u8]) {
        let said = Said::Sent(ByteBuf::from(message));
        self.report
            .say_and(&said, || self.network.broadcast(message));
    }

    fn receive(&self, timeout: Duration) -> Option<(ValidatorAddress, Vec<u8>)> {
        self.network.receive(timeout)
    }

    fn wake(&self) {
        self.network.wake();
    }
}

fn open(settings: &Settings, pool: &Pool, report: &Report) -> Result<Replica, ReplicaError> {
    let key = key(settings.index);
    let network = TcpNetwork::open(tcp_config(settings), key.duplicate());
    let recorder = Recorder {
        network: network.unwrap_or_else(|error| panic!("{error}")),
        report: report.clone(),
    };
    let app = Log { pool: pool.clone() };
    let replica = Replica::open(config(settings, key), Box::new(app), Arc::new(recorder))?;
    let report = report.clone();
    replica.set_events(Box::new(move |event: ReplicaEvent| match event.kind {
        ReplicaEventKind::Warning(why) | ReplicaEventKind::Fatal(why) => {
            report.say(&Said::Warned(why));
        }
        _ => (),
    }))?;
    Ok(replica)
}

fn opened(replica: &Replica) -> Said {
    let snapshot = replica.snapshot().expect("it was just opened");
    let height = replica.info().committed_height.0;
    let from = height.saturating_sub(LAST_MAX) + 1;
    let hash = |height| {
        snapshot
            .hash_at(BlockHeight(height))
            .expect("it is readable")
    };
    let last = (from..=height).map(|height| hash(height).expect("it is committed"));
    Said::Opened {
        height,
        last: last.collect(),
    }
}

/// Reads what is committed, as a host does that answers its clients.
fn spawn_reader(known_height: u64, replica: &Arc<Replica>, pool: &Pool, report: &Report) {
    let (replica, pool, report) = (Arc::clone(replica), pool.clone(), report.clone());
    let mut at = BlockHeight(known_height.min(replica.info().committed_height.0));
    thread::spawn(move || loop {
        match replica.next_committed(at, Duration::from_secs(60)) {
            Ok(committed) => {
                at = at.next();
                let commands = commands_in(&committed.block.data).expect("it was validated");
                pool.remove(&commands);
                report.say(&Said::Committed {
                    height: at.0,
                    hash: committed.hash,
                    commands,
                });
            }
            Err(ReplicaError::TimedOut) => (),
            Err(error) => return report.say(&Said::Warned(error.to_string())),
        }
    });
}

pub fn key(index: usize) -> KeyPair {
    KeyPair::from_seed(&[index as u8 + 1; 32]).expect("a seed has 32 bytes")
}

pub fn genesis() -> Genesis {
    let members = (0..REPLICAS).map(|index| Validator {
        address: key(index).address(),
        power: 1,
    });
    Genesis {
        chain_id: ChainId(200),
        validator_set: ValidatorSet::new(members).expect("different keys of power 1"),
        app_state: Default::default(),
        parameters: ChainParameters {
            max_idle_ms: 1_000,
            block_data_bytes_max: 64 << 10,
            ..ChainParameters::default()
        },
    }
}

pub fn options(directory: &Path, is_synced: bool) -> OpenOptions {
    OpenOptions {
        create: true,
        map_bytes: 16 << 30,
        durability: match is_synced {
            true => Durability::Synced,
            false => Durability::ProcessCrash,
        },
        ..OpenOptions::new(directory)
    }
}

fn config(settings: &Settings, key: KeyPair) -> ReplicaConfig {
    ReplicaConfig {
        genesis: genesis(),
        signer: Some((key.address(), Arc::new(key))),
        storage: options(&settings.directory, settings.is_synced),
        pacemaker: Arc::new(DefaultPacemaker {
            base_ms: 200,
            max_ms: 5_000,
        }),
        vote_to: VoteTo::All,
        sync: SyncConfig {
            interval: Duration::from_secs(1),
            ..SyncConfig::default()
        },
        limits: Limits::default(),
    }
}

fn tcp_config(settings: &Settings) -> TcpConfig {
    let at = |index: usize| format!("127.0.0.1:{}", settings.ports[index]);
    let others = (0..REPLICAS).filter(|index| *index != settings.index);
    TcpConfig {
        listen: Some(at(settings.index)),
        peers: others
            .map(|index| (key(index).address(), at(index)))
            .collect(),
        reconnect_max: Duration::from_millis(200),
        ..TcpConfig::default()
    }
}
