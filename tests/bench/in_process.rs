//! Replicas in one process, connected by queues: no disk is waited for (LMDB, without syncs), and
//! no bytes go through the kernel. So the predecessor is measured, too.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use hotstuff::algorithm::{Limits, Signer, SyncConfig, VoteTo};
use hotstuff::app::{
    App, ProposeBlockRequest, ProposeBlockResponse, ValidateBlockRequest, ValidateBlockResponse,
};
use hotstuff::block_tree::{Durability, OpenOptions};
use hotstuff::network::NetworkProvider;
use hotstuff::pacemaker::DefaultPacemaker;
use hotstuff::replica::{Replica, ReplicaConfig};
use hotstuff::types::{
    BlockHeight, ChainId, ChainParameters, Genesis, KeyPair, Validator, ValidatorAddress,
    ValidatorSet,
};
use serde::Serialize;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);

/// Validators in `memory`.
pub const VALIDATORS: [usize; 2] = [4, 16];

/// Validators that have made the chain of `sync`, and its blocks.
pub const SYNC_VALIDATORS: usize = 4;
pub const SYNC_BLOCKS: u64 = 3_000;

/// How fast blocks are agreed on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Speed {
    pub blocks_per_s: f64,
    pub latency_p50_ms: f64,
}

/// Empty blocks: they say when they were made, and nothing else.
pub fn memory(validators: usize, seconds: Duration) -> Speed {
    let cluster = Cluster::new(validators);
    let replicas = cluster.start_all(None);
    std::thread::sleep(Duration::from_secs(1));
    let first = &replicas[0];
    let (mut at, until) = (first.info().committed_height, Instant::now() + seconds);
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let committed = first.next_committed(at, LONG).expect("the chain grows");
        let made = u64::from_le_bytes(committed.block.data[..8].try_into().expect("8 bytes"));
        latencies.push((now_ns() - made) as f64 / 1e6);
        at = at.next();
    }
    let blocks_per_s = latencies.len() as f64 / seconds.as_secs_f64();
    stop(&replicas);
    Speed {
        blocks_per_s,
        latency_p50_ms: median(latencies.into_iter()),
    }
}

/// Blocks per second of a fresh listener that fetches empty blocks from one replica.
pub fn sync() -> f64 {
    let cluster = Cluster::new(SYNC_VALIDATORS);
    let replicas = cluster.start_all(Some(SYNC_BLOCKS));
    for replica in &replicas {
        let last = BlockHeight(SYNC_BLOCKS - 10);
        replica.next_committed(last, LONG).expect("it gets there");
    }
    stop(&replicas);
    drop(replicas);
    let hub = Arc::<Hub>::default();
    let server = cluster.start(0, &hub, Some(0));
    let fresh = cluster.start(SYNC_VALIDATORS, &hub, Some(0));
    let rate = rate_of(SYNC_BLOCKS - 10, || fresh.info().committed_height.0);
    stop(&[server, fresh]);
    rate
}

/// The middle one.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Nanoseconds since the first call.
pub fn now_ns() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The rate at which `height` rises from its first rise to `target`.
pub fn rate_of(target: u64, height: impl Fn() -> u64) -> f64 {
    let mut began: Option<(Instant, u64)> = None;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let at = height();
        assert!(
            Instant::now() < deadline,
            "it came to {at} of {target} in a minute"
        );
        match began {
            None if at > 0 => began = Some((Instant::now(), at)),
            Some((since, first)) if at >= target => {
                return (at - first) as f64 / since.elapsed().as_secs_f64();
            }
            _ => std::thread::sleep(Duration::from_micros(500)),
        }
    }
}

fn stop(replicas: &[Arc<Replica>]) {
    for replica in replicas {
        replica.stop(LONG).expect("it stops");
    }
}

struct Cluster {
    /// The last one is no validator.
    keys: Vec<KeyPair>,
    genesis: Genesis,
    directory: TempDir,
}

impl Cluster {
    fn new(validators: usize) -> Cluster {
        let key = |index| KeyPair::from_seed(&[index as u8; 32]).expect("32 bytes");
        let keys: Vec<KeyPair> = (1..=validators + 1).map(key).collect();
        let member = |key: &KeyPair| Validator {
            address: key.address(),
            power: 1,
        };
        let members = keys[..validators].iter().map(member);
        Cluster {
            genesis: Genesis {
                chain_id: ChainId(1),
                validator_set: ValidatorSet::new(members).expect("a few equal ones"),
                app_state: BTreeMap::new(),
                parameters: ChainParameters::default(),
            },
            keys,
            directory: TempDir::new().expect("a directory of our own"),
        }
    }

    /// All validators, and the height up to which they have work; without one they always have.
    fn start_all(&self, until: Option<u64>) -> Vec<Arc<Replica>> {
        let hub = Arc::<Hub>::default();
        let validators = 0..self.keys.len() - 1;
        validators
            .map(|index| self.start(index, &hub, until))
            .collect()
    }

    fn start(&self, index: usize, hub: &Arc<Hub>, until: Option<u64>) -> Arc<Replica> {
        let key = &self.keys[index];
        let signer: Arc<dyn Signer> = Arc::new(key.duplicate());
        let config = ReplicaConfig {
            genesis: self.genesis.clone(),
            signer: Some((key.address(), signer)),
            storage: OpenOptions {
                data_dir: self.directory.path().join(index.to_string()),
                create: true,
                map_bytes: 4 << 30,
                durability: Durability::ProcessCrash,
            },
            pacemaker: Arc::new(DefaultPacemaker {
                base_ms: 2_000,
                max_ms: 60_000,
            }),
            vote_to: VoteTo::Auto,
            sync: SyncConfig::default(),
            limits: Limits::default(),
        };
        let desk = Arc::<Mutex<Weak<Replica>>>::default();
        let app = Box::new(Empty {
            until,
            replica: desk.clone(),
        });
        let port = hub.port(key.address());
        let replica = Replica::open(config, app, port);
        let replica = Arc::new(replica.unwrap_or_else(|error| panic!("{error}")));
        *desk.lock().unwrap() = Arc::downgrade(&replica);
        replica.start().expect("it was not started before");
        replica.notify().expect("it runs");
        replica
    }
}

/// Its blocks say when they were made, and nothing else.
struct Empty {
    until: Option<u64>,
    replica: Arc<Mutex<Weak<Replica>>>,
}

impl App for Empty {
    fn propose_block(&mut self, request: ProposeBlockRequest<'_>) -> ProposeBlockResponse {
        let height = request.block_tree.committed_height();
        let height = height.expect("the disk is there").0;
        if self.until.is_some_and(|until| height >= until) {
            return ProposeBlockResponse::Defer;
        }
        let replica = self.replica.lock().unwrap().clone();
        replica.upgrade().map(|replica| replica.notify());
        ProposeBlockResponse::Block {
            data: now_ns().to_le_bytes().to_vec(),
            state_updates: None,
            validator_set_updates: None,
        }
    }

    fn validate_block(&mut self, _: ValidateBlockRequest<'_>) -> ValidateBlockResponse {
        ValidateBlockResponse::Valid {
            state_updates: None,
            validator_set_updates: None,
        }
    }
}

/// A network of queues.
#[derive(Default)]
struct Hub(Mutex<BTreeMap<ValidatorAddress, Arc<Port>>>);

struct Port {
    me: ValidatorAddress,
    hub: Arc<Hub>,
    state: Mutex<PortState>,
    arrived: Condvar,
}

#[derive(Default)]
struct PortState {
    queue: VecDeque<(ValidatorAddress, Vec<u8>)>,
    is_woken: bool,
}

impl Hub {
    fn port(self: &Arc<Hub>, me: ValidatorAddress) -> Arc<Port> {
        let port = Arc::new(Port {
            me,
            hub: self.clone(),
            state: Mutex::default(),
            arrived: Condvar::new(),
        });
        self.0.lock().unwrap().insert(me, port.clone());
        port
    }
}

impl Port {
    fn arrive(&self, from: ValidatorAddress, message: &[u8]) {
        let envelope = (from, message.to_vec());
        self.state.lock().unwrap().queue.push_back(envelope);
        self.arrived.notify_one();
    }
}

impl NetworkProvider for Port {
    fn connect(&self, _: ValidatorAddress) {}

    fn disconnect(&self, _: ValidatorAddress) {}

    fn send(&self, peer: ValidatorAddress, message: &[u8]) {
        let port = self.hub.0.lock().unwrap().get(&peer).cloned();
        if let Some(port) = port {
            port.arrive(self.me, message);
        }
    }

    fn broadcast(&self, message: &[u8]) {
        let ports: Vec<_> = self.hub.0.lock().unwrap().values().cloned().collect();
        let others = ports.iter().filter(|port| port.me != self.me);
        others.for_each(|port| port.arrive(self.me, message));
    }

    fn receive(&self, timeout: Duration) -> Option<(ValidatorAddress, Vec<u8>)> {
        let state = self.state.lock().unwrap();
        let is_idle = |state: &mut PortState| state.queue.is_empty() && !state.is_woken;
        let waited = self.arrived.wait_timeout_while(state, timeout, is_idle);
        let mut state = waited.unwrap().0;
        state.is_woken = false;
        state.queue.pop_front()
    }

    fn wake(&self) {
        self.state.lock().unwrap().is_woken = true;
        self.arrived.notify_one();
    }
}
