//! hotstuff_rs 0.4.0, as its own tests set it up.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hotstuff_rs::app::{
    App, ProduceBlockRequest, ProduceBlockResponse, ValidateBlockRequest, ValidateBlockResponse,
};
use hotstuff_rs::block_tree::pluggables::{KVGet, KVStore, WriteBatch};
use hotstuff_rs::networking::messages::Message;
use hotstuff_rs::networking::network::Network;
use hotstuff_rs::replica::{Configuration, Replica, ReplicaSpec};
use hotstuff_rs::types::crypto_primitives::{CryptoHasher, Digest, SigningKey, VerifyingKey};
use hotstuff_rs::types::data_types::{
    BlockHeight, BufferSize, ChainID, CryptoHash, Data, Datum, EpochLength, Power,
};
use hotstuff_rs::types::update_sets::{AppStateUpdates, ValidatorSetUpdates};
use hotstuff_rs::types::validator_set::{ValidatorSet, ValidatorSetState};
use rand_core::OsRng;

use crate::ours::{median, now_ns, rate_of, Speed, SYNC_BLOCKS, SYNC_VALIDATORS};

pub fn memory(validators: usize, seconds: Duration) -> Speed {
    let cluster = Cluster::new(validators);
    let replicas = cluster.start_all();
    let first = &replicas[0];
    let deadline = Instant::now() + WARM_UP_MAX;
    while committed(first) == 0 && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
    std::thread::sleep(Duration::from_secs(1));
    let (mut at, until) = (committed(first), Instant::now() + seconds);
    let mut latencies = Vec::new();
    while Instant::now() < until {
        std::thread::sleep(LOOK);
        let (last, now) = (committed(first), now_ns());
        while at < last {
            at += 1;
            latencies.push((now - made_ns(first, at)) as f64 / 1e6);
        }
    }
    Speed {
        blocks_per_s: latencies.len() as f64 / seconds.as_secs_f64(),
        latency_p50_ms: median(latencies.into_iter()),
    }
}

/// Blocks per second.
pub fn sync() -> f64 {
    let cluster = Cluster::new(SYNC_VALIDATORS);
    let replicas = cluster.start_all();
    while committed(&replicas[0]) < SYNC_BLOCKS {
        std::thread::sleep(LOOK);
    }
    drop(replicas);
    let fresh = SigningKey::generate(&mut OsRng);
    let server = cluster.keys[0].clone();
    let mut ports = ports(&[server.clone(), fresh.clone()]).into_iter();
    let mut port = || ports.next().expect("two");
    let _server = cluster.start(&server, cluster.stores[0].clone(), port());
    let store = cluster.fresh_store();
    let fresh = cluster.start(&fresh, store, port());
    rate_of(SYNC_BLOCKS - 10, || committed(&fresh))
}

/// With many validators the first commit takes long, and may not come on a machine that is busy.
const WARM_UP_MAX: Duration = Duration::from_secs(30);

/// How often it is looked what is committed. Its events would tell, but each replica with a handler
/// spins a thread for them.
const LOOK: Duration = Duration::from_micros(200);

fn committed(replica: &Replica<MemDb>) -> u64 {
    let snapshot = replica.block_tree_camera().snapshot();
    let highest = snapshot.highest_committed_block().expect("in memory");
    let height = highest.map(|hash| snapshot.block_height(&hash).expect("in memory"));
    // Its heights begin with 0.
    height.flatten().map_or(0, |height| height.int() + 1)
}

/// When block `number`, from 1 on, was made.
fn made_ns(replica: &Replica<MemDb>, number: u64) -> u64 {
    let snapshot = replica.block_tree_camera().snapshot();
    let height = BlockHeight::new(number - 1);
    let hash = snapshot.block_at_height(height).expect("in memory");
    // `block_data` would give a block without its data: a fault of 0.4.0.
    let datum = snapshot.block_datum(&hash.expect("it is committed"), 0);
    let datum = datum.expect("it is committed");
    u64::from_le_bytes(datum.bytes()[..8].try_into().expect("8 bytes"))
}

struct Cluster {
    keys: Vec<SigningKey>,
    stores: Vec<MemDb>,
}

impl Cluster {
    fn new(validators: usize) -> Cluster {
        let keys = (0..validators).map(|_| SigningKey::generate(&mut OsRng));
        let mut cluster = Cluster {
            keys: keys.collect(),
            stores: Vec::new(),
        };
        cluster.stores = (0..validators).map(|_| cluster.fresh_store()).collect();
        cluster
    }

    fn fresh_store(&self) -> MemDb {
        let mut updates = ValidatorSetUpdates::new();
        for key in &self.keys {
            updates.insert(key.verifying_key(), Power::new(1));
        }
        let mut set = ValidatorSet::new();
        set.apply_updates(&updates);
        let state = ValidatorSetState::new(set.clone(), set, None, true);
        let store = MemDb::default();
        Replica::initialize(store.clone(), AppStateUpdates::new(), state);
        store
    }

    fn start_all(&self) -> Vec<Replica<MemDb>> {
        let seats = self.keys.iter().zip(&self.stores).zip(ports(&self.keys));
        let replica = |((key, store), port): ((_, &MemDb), _)| self.start(key, store.clone(), port);
        seats.map(replica).collect()
    }

    fn start(&self, key: &SigningKey, store: MemDb, port: Port) -> Replica<MemDb> {
        let configuration = Configuration::builder()
            .me(key.clone())
            .chain_id(ChainID::new(0))
            .block_sync_request_limit(100)
            .block_sync_server_advertise_time(Duration::from_millis(100))
            .block_sync_response_timeout(Duration::from_secs(3))
            .block_sync_blacklist_expiry_time(Duration::from_secs(10))
            .block_sync_trigger_min_view_difference(2)
            .block_sync_trigger_timeout(Duration::from_secs(60))
            .progress_msg_buffer_capacity(BufferSize::new(1 << 20))
            .epoch_length(EpochLength::new(50))
            .max_view_time(Duration::from_millis(2_000))
            .log_events(false)
            .build();
        ReplicaSpec::builder()
            .app(Empty)
            .network(port)
            .kv_store(store)
            .configuration(configuration)
            .build()
            .start()
    }
}

/// Its blocks say when they were made, and nothing else.
struct Empty;

impl App<MemDb> for Empty {
    fn produce_block(&mut self, _: ProduceBlockRequest<MemDb>) -> ProduceBlockResponse {
        let bytes = now_ns().to_le_bytes().to_vec();
        ProduceBlockResponse {
            data_hash: CryptoHash::new(CryptoHasher::digest(&bytes).into()),
            data: Data::new(vec![Datum::new(bytes)]),
            app_state_updates: None,
            validator_set_updates: None,
        }
    }

    fn validate_block(&mut self, request: ValidateBlockRequest<MemDb>) -> ValidateBlockResponse {
        let block = request.proposed_block();
        let hash = CryptoHasher::digest(block.data.vec()[0].bytes());
        if block.data_hash == CryptoHash::new(hash.into()) {
            ValidateBlockResponse::Valid {
                app_state_updates: None,
                validator_set_updates: None,
            }
        } else {
            ValidateBlockResponse::Invalid
        }
    }

    /// What comes by sync comes without its data (see `made_ns`), so there is nothing to check.
    fn validate_block_for_sync(&mut self, _: ValidateBlockRequest<MemDb>) -> ValidateBlockResponse {
        ValidateBlockResponse::Valid {
            app_state_updates: None,
            validator_set_updates: None,
        }
    }
}

type Envelope = (VerifyingKey, Message);

/// One end of a network of queues.
#[derive(Clone)]
struct Port {
    me: VerifyingKey,
    peers: HashMap<[u8; 32], Sender<Envelope>>,
    inbox: Arc<Mutex<Receiver<Envelope>>>,
}

fn ports(keys: &[SigningKey]) -> Vec<Port> {
    let address = |key: &SigningKey| key.verifying_key().to_bytes();
    let (mut peers, mut inboxes) = (HashMap::new(), Vec::new());
    for key in keys {
        let (sender, receiver) = channel();
        peers.insert(address(key), sender);
        inboxes.push(receiver);
    }
    let port = |(key, inbox): (&SigningKey, _)| Port {
        me: key.verifying_key(),
        peers: peers.clone(),
        inbox: Arc::new(Mutex::new(inbox)),
    };
    keys.iter().zip(inboxes).map(port).collect()
}

impl Network for Port {
    fn init_validator_set(&mut self, _: ValidatorSet) {}

    fn update_validator_set(&mut self, _: ValidatorSetUpdates) {}

    fn send(&mut self, peer: VerifyingKey, message: Message) {
        if let Some(peer) = self.peers.get(&peer.to_bytes()) {
            let _ = peer.send((self.me, message));
        }
    }

    fn broadcast(&mut self, message: Message) {
        for peer in self.peers.values() {
            let _ = peer.send((self.me, message.clone()));
        }
    }

    /// Waits a little: who asks asks again at once, and would burn a core.
    fn recv(&mut self) -> Option<Envelope> {
        let inbox = self.inbox.lock().unwrap();
        match inbox.recv_timeout(Duration::from_millis(1)) {
            Ok(envelope) => Some(envelope),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the network outlives its replicas"),
        }
    }
}

/// A map in memory.
#[derive(Clone, Default)]
struct MemDb(Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>);

struct MemSnapshot<'a>(MutexGuard<'a, HashMap<Vec<u8>, Vec<u8>>>);

struct MemBatch {
    insertions: HashMap<Vec<u8>, Vec<u8>>,
    deletions: HashSet<Vec<u8>>,
}

impl KVStore for MemDb {
    type WriteBatch = MemBatch;
    type Snapshot<'a> = MemSnapshot<'a>;

    fn write(&mut self, batch: MemBatch) {
        let mut map = self.0.lock().unwrap();
        map.extend(batch.insertions);
        for key in batch.deletions {
            map.remove(&key);
        }
    }

    fn clear(&mut self) {
        self.0.lock().unwrap().clear();
    }

    fn snapshot<'b>(&'b self) -> MemSnapshot<'b> {
        MemSnapshot(self.0.lock().unwrap())
    }
}

impl KVGet for MemDb {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(key).cloned()
    }
}

impl KVGet for MemSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }
}

impl WriteBatch for MemBatch {
    fn new() -> Self {
        MemBatch {
            insertions: HashMap::new(),
            deletions: HashSet::new(),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        self.deletions.remove(key);
        self.insertions.insert(key.to_vec(), value.to_vec());
    }

    fn delete(&mut self, key: &[u8]) {
        self.insertions.remove(key);
        self.deletions.insert(key.to_vec());
    }
}
