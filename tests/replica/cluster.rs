//! Replicas in one process, on real block trees, over a network of queues.

#![allow(dead_code)] // each test binary uses its part

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use hotstuff::algorithm::{Limits, SyncConfig, VoteTo};
use hotstuff::app::{
    App, BlockTreeSnapshot, ProposeBlockRequest, ProposeBlockResponse, ValidateBlockRequest,
    ValidateBlockResponse,
};
use hotstuff::block_tree::{Durability, OpenOptions};
use hotstuff::network::NetworkProvider;
use hotstuff::pacemaker::DefaultPacemaker;
use hotstuff::replica::{CommittedBlock, Replica, ReplicaConfig, ReplicaError};
use hotstuff::types::{
    BlockHeight, ChainId, ChainParameters, Genesis, KeyPair, StateUpdate, Validator,
    ValidatorAddress, ValidatorSet, ValidatorSetUpdate, ValidatorSetUpdates,
};
use tempfile::TempDir;

/// Longer than anything here takes: what is not there by then is missing.
pub const SOON: Duration = Duration::from_secs(60);

/// Messages that wait for one replica. More are dropped, as a network would.
const PORT_MESSAGES_MAX: usize = 100_000;

/// The network: one port per replica.
#[derive(Default)]
pub struct Hub {
    ports: Mutex<BTreeMap<ValidatorAddress, Arc<Port>>>,
    /// How long a message is on its way.
    pub delay: Mutex<Duration>,
    /// Nothing comes to it or goes from it.
    cut_off: Mutex<Option<ValidatorAddress>>,
}

impl Hub {
    pub fn port(self: &Arc<Self>, address: ValidatorAddress) -> Arc<Port> {
        let port = Arc::new(Port {
            address,
            hub: self.clone(),
            state: Mutex::default(),
            arrived: Condvar::new(),
        });
        self.ports.lock().unwrap().insert(address, port.clone());
        port
    }

    /// The port that is there.
    pub fn at(&self, address: &ValidatorAddress) -> Arc<Port> {
        self.ports.lock().unwrap()[address].clone()
    }

    /// Cuts off one replica, or none.
    pub fn cut_off(&self, address: Option<ValidatorAddress>) {
        *self.cut_off.lock().unwrap() = address;
    }

    pub fn close(&self, address: &ValidatorAddress) {
        self.ports.lock().unwrap().remove(address);
    }

    /// Puts bytes into the port of `to`, as if `from` had sent them.
    pub fn inject(&self, from: ValidatorAddress, to: &ValidatorAddress, message: &[u8]) {
        let port = self.ports.lock().unwrap().get(to).cloned();
        if let Some(port) = port {
            port.arrive(from, message);
        }
    }
}

/// One replica's end of the network.
pub struct Port {
    address: ValidatorAddress,
    hub: Arc<Hub>,
    state: Mutex<PortState>,
    arrived: Condvar,
}

#[derive(Default)]
struct PortState {
    /// With the time when each arrives.
    queue: VecDeque<(Instant, ValidatorAddress, Vec<u8>)>,
    is_woken: bool,
    connected: Vec<ValidatorAddress>,
    disconnected: Vec<ValidatorAddress>,
}

impl Port {
    fn arrive(&self, from: ValidatorAddress, message: &[u8]) {
        let cut_off = *self.hub.cut_off.lock().unwrap();
        if cut_off == Some(from) || cut_off == Some(self.address) {
            return;
        }
        let arrival = Instant::now() + *self.hub.delay.lock().unwrap();
        let mut state = self.state.lock().unwrap();
        if state.queue.len() < PORT_MESSAGES_MAX {
            state.queue.push_back((arrival, from, message.to_vec()));
            self.arrived.notify_one();
        }
    }

    pub fn connected(&self) -> Vec<ValidatorAddress> {
        self.state.lock().unwrap().connected.clone()
    }

    pub fn disconnected(&self) -> Vec<ValidatorAddress> {
        self.state.lock().unwrap().disconnected.clone()
    }

    pub fn waiting(&self) -> usize {
        self.state.lock().unwrap().queue.len()
    }
}

impl NetworkProvider for Port {
    fn connect(&self, peer: ValidatorAddress) {
        self.state.lock().unwrap().connected.push(peer);
    }

    fn disconnect(&self, peer: ValidatorAddress) {
        self.state.lock().unwrap().disconnected.push(peer);
    }

    fn send(&self, peer: ValidatorAddress, message: &[u8]) {
        self.hub.inject(self.address, &peer, message);
    }

    fn broadcast(&self, message: &[u8]) {
        let ports: Vec<_> = self.hub.ports.lock().unwrap().values().cloned().collect();
        let others = ports.iter().filter(|port| port.address != self.address);
        others.for_each(|port| port.arrive(self.address, message));
    }

    fn receive(&self, timeout: Duration) -> Option<(ValidatorAddress, Vec<u8>)> {
        let until = Instant::now() + timeout;
        let mut state = self.state.lock().unwrap();
        loop {
            let first = state.queue.front().map(|(arrival, ..)| *arrival);
            let now = Instant::now();
            let next = first.unwrap_or(until).min(until);
            if state.is_woken || next <= now {
                state.is_woken = false;
                let has_come = first.is_some_and(|arrival| arrival <= now);
                let (_, from, message) = has_come.then(|| state.queue.pop_front()).flatten()?;
                return Some((from, message));
            }
            state = self.arrived.wait_timeout(state, next - now).unwrap().0;
        }
    }

    fn wake(&self) {
        self.state.lock().unwrap().is_woken = true;
        self.arrived.notify_one();
    }
}

/// A counter: each block says what comes next, and the state is where it stands. How it behaves is
/// set from outside.
#[derive(Clone, Default)]
pub struct Counter {
    /// It proposes until the count is there: a block that is lost with its view is made again.
    pub until: Arc<AtomicU64>,
    /// Bytes of each block besides the number.
    pub padding: usize,
    pub calls: Arc<AtomicU64>,
    pub panics: Arc<AtomicBool>,
    /// While true, every call waits.
    pub gate: Arc<Gate>,
    /// Whom to tell that there is more work.
    pub replica: Arc<Mutex<Weak<Replica>>>,
    /// What else a call does.
    pub hook: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Which counted block updates the validators, and how.
    pub updates: Arc<BTreeMap<u64, ValidatorSetUpdates>>,
}

/// Holds back whoever comes to it while it is closed.
#[derive(Default)]
pub struct Gate {
    is_closed: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicU64,
}

impl Gate {
    pub fn close(&self) {
        *self.is_closed.lock().unwrap() = true;
    }

    pub fn open(&self) {
        *self.is_closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    pub fn pass(&self) {
        let is_closed = self.is_closed.lock().unwrap();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(self.opened.wait_while(is_closed, |is_closed| *is_closed));
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }
}

pub const COUNT: &[u8] = b"count";

pub fn count(snapshot: &dyn BlockTreeSnapshot) -> u64 {
    let bytes = snapshot.state(COUNT).expect("the disk is there");
    bytes.map_or(0, |bytes| {
        u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
    })
}

fn set_count(count: u64) -> Option<Vec<StateUpdate>> {
    let value = count.to_le_bytes().to_vec();
    Some(vec![StateUpdate::Set {
        key: COUNT.to_vec(),
        value,
    }])
}

impl Counter {
    fn enter(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.gate.pass();
        if let Some(hook) = &self.hook {
            hook();
        }
        assert!(
            !self.panics.load(Ordering::SeqCst),
            "this app panics, because the test says so"
        );
    }
}

impl App for Counter {
    fn propose_block(&mut self, request: ProposeBlockRequest<'_>) -> ProposeBlockResponse {
        self.enter();
        let next = count(request.block_tree) + 1;
        let until = self.until.load(Ordering::SeqCst);
        if next > until {
            return ProposeBlockResponse::Defer;
        }
        if next < until {
            let replica = self.replica.lock().unwrap().clone();
            replica.upgrade().map(|replica| replica.notify());
        }
        let mut data = next.to_le_bytes().to_vec();
        data.resize(8 + self.padding, 0);
        let validator_set_updates = self.updates.get(&next).cloned();
        let state_updates = set_count(next);
        ProposeBlockResponse::Block {
            data,
            state_updates,
            validator_set_updates,
        }
    }

    fn validate_block(&mut self, request: ValidateBlockRequest<'_>) -> ValidateBlockResponse {
        self.enter();
        let next = count(request.block_tree) + 1;
        let data: &[u8] = &request.proposed_block.data;
        if data.len() < 8 || data[..8] != next.to_le_bytes() {
            return ValidateBlockResponse::Invalid;
        }
        let validator_set_updates = self.updates.get(&next).cloned();
        let state_updates = set_count(next);
        ValidateBlockResponse::Valid {
            state_updates,
            validator_set_updates,
        }
    }
}

/// A chain of `n` equal validators, and where its replicas live.
pub struct Cluster {
    pub keys: Vec<KeyPair>,
    pub genesis: Genesis,
    pub hub: Arc<Hub>,
    /// What the count will be when all work is done.
    pub given: AtomicU64,
    pub apps: Vec<Counter>,
    pub replicas: Vec<Option<Arc<Replica>>>,
    pub base_ms: u32,
    pub map_bytes: u64,
    pub durability: Durability,
    pub sync: SyncConfig,
    directories: Vec<TempDir>,
}

impl Cluster {
    pub fn new(n: usize) -> Cluster {
        let keys: Vec<_> = (1..=n)
            .map(|i| KeyPair::from_seed(&[i as u8; 32]).unwrap())
            .collect();
        let member = |key: &KeyPair| Validator {
            address: key.address(),
            power: 1,
        };
        Cluster {
            genesis: Genesis {
                chain_id: ChainId(7),
                validator_set: ValidatorSet::new(keys.iter().map(member)).unwrap(),
                app_state: BTreeMap::new(),
                parameters: ChainParameters {
                    max_idle_ms: 600_000, // who waits for it waits too long
                    block_data_bytes_max: 64 << 10,
                    ..ChainParameters::default()
                },
            },
            hub: Arc::default(),
            given: AtomicU64::new(0),
            apps: (0..n).map(|_| Counter::default()).collect(),
            replicas: vec![None; n],
            base_ms: 500,
            map_bytes: 64 << 20,
            durability: Durability::ProcessCrash,
            sync: SyncConfig::default(),
            directories: (0..n).map(|_| TempDir::new().unwrap()).collect(),
            keys,
        }
    }

    /// Replicas, of which the first `validators` begin the chain. The counted block `at` gives each
    /// replica named its power.
    pub fn with_updates(
        n: usize,
        validators: usize,
        updates: &[(u64, &[(usize, u64)])],
    ) -> Cluster {
        let mut cluster = Cluster::new(n);
        let members = cluster.genesis.validator_set.members().to_vec();
        let first: Vec<_> = (0..validators).map(|i| cluster.address(i)).collect();
        let is_first = |member: &Validator| first.contains(&member.address);
        cluster.genesis.validator_set =
            ValidatorSet::new(members.into_iter().filter(is_first)).unwrap();
        let update = |&(i, power): &(usize, u64)| ValidatorSetUpdate {
            validator: cluster.address(i),
            power,
        };
        let updates = updates
            .iter()
            .map(|(at, powers)| (*at, powers.iter().map(update).collect()));
        let updates = Arc::new(updates.collect::<BTreeMap<_, _>>());
        for app in &mut cluster.apps {
            app.updates = updates.clone();
        }
        cluster
    }

    pub fn address(&self, i: usize) -> ValidatorAddress {
        self.keys[i].address()
    }

    pub fn config(&self, i: usize) -> ReplicaConfig {
        let signer: Arc<dyn hotstuff::algorithm::Signer> = Arc::new(self.keys[i].duplicate());
        ReplicaConfig {
            genesis: self.genesis.clone(),
            signer: Some((self.address(i), signer)),
            storage: OpenOptions {
                data_dir: self.directories[i].path().join("chain"),
                create: true,
                map_bytes: self.map_bytes,
                durability: self.durability,
            },
            pacemaker: Arc::new(DefaultPacemaker {
                base_ms: self.base_ms,
                max_ms: 10_000,
            }),
            vote_to: VoteTo::Auto,
            sync: self.sync,
            limits: Limits::default(),
        }
    }

    /// Opens replica `i`, without starting it.
    pub fn open(&mut self, i: usize) -> Arc<Replica> {
        let port = self.hub.port(self.address(i));
        let app = Box::new(self.apps[i].clone());
        let replica = Replica::open(self.config(i), app, port);
        let replica = Arc::new(replica.unwrap_or_else(|error| panic!("replica {i}: {error}")));
        *self.apps[i].replica.lock().unwrap() = Arc::downgrade(&replica);
        self.replicas[i] = Some(replica.clone());
        replica
    }

    pub fn start(&mut self, i: usize) -> Arc<Replica> {
        let replica = self.open(i);
        replica.start().unwrap();
        replica
    }

    pub fn start_all(mut self) -> Cluster {
        (0..self.keys.len()).for_each(|i| drop(self.start(i)));
        self
    }

    /// Stops replica `i` and frees its directory.
    pub fn stop(&mut self, i: usize) {
        self.hub.close(&self.address(i));
        let replica = self.replicas[i].take().expect("it runs");
        replica.stop(SOON).unwrap();
        assert_eq!(
            Arc::strong_count(&replica),
            1,
            "its directory is still locked"
        );
    }

    /// Takes everything from replica `i`, which does not run.
    pub fn wipe(&mut self, i: usize) {
        self.directories[i] = TempDir::new().unwrap();
    }

    pub fn replica(&self, i: usize) -> &Arc<Replica> {
        self.replicas[i].as_ref().expect("it runs")
    }

    pub fn running(&self) -> impl Iterator<Item = &Arc<Replica>> {
        self.replicas.iter().flatten()
    }

    /// Gives replica `i` so many blocks more to make than all have been given, and tells it.
    pub fn give_work(&self, i: usize, blocks: u64) {
        let until = self.given.fetch_add(blocks, Ordering::SeqCst) + blocks;
        self.apps[i].until.store(until, Ordering::SeqCst);
        self.replica(i).notify().unwrap();
    }

    /// Waits until all running replicas have committed `total` counted blocks.
    pub fn await_count(&self, total: u64) {
        for replica in self.running() {
            await_count(replica, total);
        }
    }

    /// Every running replica has the same blocks, up to the least height of all.
    pub fn check_agreement(&self) -> u64 {
        let snapshots: Vec<_> = self.running().map(|r| r.snapshot().unwrap()).collect();
        let height = |snapshot: &dyn BlockTreeSnapshot| snapshot.committed_height().unwrap().0;
        let least = snapshots.iter().map(|s| height(s)).min().expect("one runs");
        for height in 1..=least {
            let hash = |s: &dyn BlockTreeSnapshot| s.hash_at(BlockHeight(height)).unwrap().unwrap();
            let first = hash(&snapshots[0]);
            assert!(
                snapshots.iter().all(|s| hash(s) == first),
                "they differ at {height}"
            );
        }
        least
    }

    pub fn rejected(&self, i: usize, peer: ValidatorAddress) -> BTreeMap<String, u64> {
        let metrics = self.replica(i).metrics();
        let of_peer = metrics
            .rejected_by
            .into_iter()
            .filter(|(from, _, _)| *from == peer);
        of_peer.map(|(_, what, count)| (what, count)).collect()
    }
}

/// The replica's committed blocks from `height` on, for ever.
pub fn blocks(replica: &Replica, from: u64) -> impl Iterator<Item = CommittedBlock> + '_ {
    (from..).map(|after| {
        let block = replica.next_committed(BlockHeight(after), SOON);
        block.unwrap_or_else(|error| panic!("after height {after}: {error}; {:?}", replica.info()))
    })
}

/// Waits until the replica's committed state has counted to `total`. A block that was lost with its
/// view may leave an idle chain behind: like any host, it then says again that there is work.
pub fn await_count(replica: &Replica, total: u64) {
    let began = Instant::now();
    let mut height = replica.info().committed_height;
    while count(&replica.snapshot().unwrap()) < total {
        match replica.next_committed(height, SOON / 12) {
            Ok(_) => height = height.next(),
            Err(ReplicaError::TimedOut) if began.elapsed() < SOON => {
                println!(
                    "{:?} waits for {total}: said again that there is work",
                    replica.info()
                );
                replica.notify().unwrap();
            }
            Err(error) => panic!("{error}; {:?} {:?}", replica.info(), replica.metrics()),
        }
    }
}

/// Waits until `is_so`; for what nothing announces.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < SOON, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
