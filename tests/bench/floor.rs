//! The floor: the least work that a chained HotStuff can do on a machine.
//!
//! One process, one thread for each replica, a full mesh of plain TCP on loopback, leaders in turn.
//! Each replica checks the hash of a proposal, the leader's signature and each signature of the
//! quorum certificate one by one, commits the block to LMDB (synced; or, if so asked, to nothing),
//! and votes to the next leader, who checks the votes. Nothing else: no time-outs, no recovery, no
//! queues, no encryption, no app. It is correct only as long as nothing goes wrong.
//!
//! A block is committed when three views in a row are certified on top of one another, as in the
//! library. Latency runs from the leader's clock at the proposal to the second replica's at the
//! commit.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lmdb::Transaction;
use ring::signature::{UnparsedPublicKey, ED25519};
use serde::{Deserialize, Serialize};

use hotstuff::types::crypto::sha256;
use hotstuff::types::{KeyPair, Signature, StatementDigest, ValidatorAddress};

use crate::stats::{cpu_ns, now_ns, Histogram};

/// What the floor is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FloorSettings {
    pub replicas: usize,
    pub payload_bytes: usize,
    pub is_stored: bool,
    pub warm_up: Duration,
    pub duration: Duration,
    pub dir: std::path::PathBuf,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FloorResult {
    pub blocks_per_s: f64,
    pub latency: Histogram,
    pub cpu_us_per_block: f64,
}

/// Runs the floor. Its threads end with the process.
pub fn run(settings: &FloorSettings) -> FloorResult {
    let counted = Arc::new(Mutex::new(Histogram::default()));
    let keys: Vec<KeyPair> = (0..settings.replicas)
        .map(|index| KeyPair::from_seed(&[index as u8 + 1; 32]).expect("32 bytes"))
        .collect();
    let addresses: Vec<ValidatorAddress> = keys.iter().map(KeyPair::address).collect();
    for (me, (key, peers)) in keys.into_iter().zip(mesh(settings.replicas)).enumerate() {
        let replica = FloorReplica {
            me,
            key,
            addresses: addresses.clone(),
            peers,
            store: settings
                .is_stored
                .then(|| Store::open(&settings.dir.join(me.to_string()))),
            payload: vec![0x5a; settings.payload_bytes],
            proposed_at: BTreeMap::new(),
            votes: Vec::new(),
            led: 0,
            counted: Arc::clone(&counted),
        };
        thread::spawn(move || replica.run());
    }
    thread::sleep(settings.warm_up);
    let lock = || counted.lock().expect("no replica panics under the lock");
    *lock() = Histogram::default();
    let (began, cpu_began) = (now_ns(), cpu_ns(std::process::id()));
    thread::sleep(settings.duration);
    let latency = lock().clone();
    let (elapsed, cpu) = (now_ns() - began, cpu_ns(std::process::id()) - cpu_began);
    let blocks = latency.total() as f64;
    FloorResult {
        blocks_per_s: blocks / (elapsed as f64 / 1e9),
        latency,
        cpu_us_per_block: cpu as f64 / 1e3 / blocks,
    }
}

/// A connection between each two of `n`: row `i` holds the ends of replica `i`.
fn mesh(n: usize) -> Vec<Vec<Option<TcpStream>>> {
    let mut ends: Vec<Vec<Option<TcpStream>>> = Vec::new();
    ends.resize_with(n, || (0..n).map(|_| None).collect());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    let address = listener.local_addr().expect("it is bound");
    let pairs = (0..n).flat_map(|one| (0..one).map(move |other| (one, other)));
    for (one, other) in pairs {
        let dialed = TcpStream::connect(address).expect("someone listens");
        let (accepted, _) = listener.accept().expect("someone has dialed");
        for end in [&dialed, &accepted] {
            end.set_nodelay(true).expect("a TCP socket");
        }
        ends[one][other] = Some(dialed);
        ends[other][one] = Some(accepted);
    }
    ends
}

/// A block as it travels: who certified its parent, and the payload.
struct Proposal<'a> {
    view: u64,
    proposed_ns: u64,
    parent: [u8; 32],
    certificate: Vec<(usize, Signature)>,
    payload: &'a [u8],
}

impl Proposal<'_> {
    fn hash(&self) -> [u8; 32] {
        let payload = sha256(&[self.payload]);
        sha256(&[&self.view.to_le_bytes(), &self.parent, &payload])
    }
}

/// What is signed for a block, by its leader and by those who vote for it.
fn statement(view: u64, hash: &[u8; 32]) -> StatementDigest {
    StatementDigest(sha256(&[&view.to_le_bytes(), hash]))
}

const PROPOSAL: u8 = 0;
const VOTE: u8 = 1;

struct FloorReplica {
    me: usize,
    key: KeyPair,
    addresses: Vec<ValidatorAddress>,
    peers: Vec<Option<TcpStream>>,
    store: Option<Store>,
    payload: Vec<u8>,
    /// Views that are not committed yet, with their leaders' clocks.
    proposed_at: BTreeMap<u64, u64>,
    /// Votes for the block before the view that this replica leads next.
    votes: Vec<(usize, Signature)>,
    /// The last view it has proposed in.
    led: u64,
    counted: Arc<Mutex<Histogram>>,
}

impl FloorReplica {
    fn quorum(&self) -> usize {
        self.addresses.len() * 2 / 3 + 1
    }

    fn leader(&self, view: u64) -> usize {
        (view % self.addresses.len() as u64) as usize
    }

    fn run(mut self) {
        if self.leader(1) == self.me {
            self.propose(1, [0; 32], Vec::new());
        }
        let others: Vec<usize> = (0..self.peers.len())
            .filter(|peer| *peer != self.me)
            .collect();
        let mut inboxes: Vec<Inbox> = others.iter().map(|_| Inbox::default()).collect();
        let mut waits: Vec<libc::pollfd> = others
            .iter()
            .map(|peer| wait_on(self.peer(*peer)))
            .collect();
        loop {
            // SAFETY: `waits` is an array of as many entries as is said, alive during the call.
            unsafe { libc::poll(waits.as_mut_ptr(), waits.len() as libc::nfds_t, -1) };
            for (slot, peer) in others.iter().enumerate() {
                if waits[slot].revents != 0 {
                    inboxes[slot].fill(self.peer(*peer));
                    while let Some(message) = inboxes[slot].next() {
                        self.receive(*peer, &inboxes[slot].bytes[message]);
                    }
                }
            }
        }
    }

    fn peer(&self, peer: usize) -> &TcpStream {
        self.peers[peer]
            .as_ref()
            .expect("connected to all but oneself")
    }

    fn receive(&mut self, from: usize, message: &[u8]) {
        let mut rest = Reader(&message[1..]);
        let view = rest.number();
        if message[0] == VOTE {
            let hash = rest.array();
            return self.on_vote(view, hash, from, Signature(rest.array()));
        }
        let signature = Signature(rest.array());
        let (proposed_ns, parent) = (rest.number(), rest.array());
        let signers = rest.number();
        let certificate = (0..signers)
            .map(|_| (rest.number() as usize, Signature(rest.array())))
            .collect();
        let proposal = Proposal {
            view,
            proposed_ns,
            parent,
            certificate,
            payload: rest.0,
        };
        self.on_proposal(from, &proposal, signature);
    }

    fn on_proposal(&mut self, from: usize, proposal: &Proposal<'_>, signature: Signature) {
        let hash = proposal.hash();
        let signed = statement(proposal.view, &hash);
        self.check(from, &signed, &signature);
        let certified = statement(proposal.view - 1, &proposal.parent);
        for (voter, signature) in &proposal.certificate {
            self.check(*voter, &certified, signature);
        }
        self.vote(proposal, hash);
    }

    fn check(&self, signer: usize, signed: &StatementDigest, signature: &Signature) {
        let key = UnparsedPublicKey::new(&ED25519, &self.addresses[signer].0);
        let checked = key.verify(&signed.0, &signature.0);
        checked.expect("all of them are honest");
    }

    fn propose(&mut self, view: u64, parent: [u8; 32], certificate: Vec<(usize, Signature)>) {
        self.led = view;
        let mut payload = std::mem::take(&mut self.payload);
        if let Some(start) = payload.get_mut(..8) {
            start.copy_from_slice(&view.to_le_bytes());
        }
        let proposal = Proposal {
            view,
            proposed_ns: now_ns(),
            parent,
            certificate,
            payload: &payload,
        };
        let hash = proposal.hash();
        let signature = self.key.sign(&statement(view, &hash));
        let frame = encode(&proposal, &signature);
        for mut peer in self.peers.iter().flatten() {
            peer.write_all(&frame)
                .expect("the peer lives as long as this process");
        }
        self.vote(&proposal, hash);
        self.payload = payload;
    }

    /// Takes in a block that has been checked: commits what it makes final, stores it, votes.
    fn vote(&mut self, proposal: &Proposal<'_>, hash: [u8; 32]) {
        let view = proposal.view;
        self.proposed_at.insert(view, proposal.proposed_ns);
        if let Some(proposed_ns) = self.proposed_at.remove(&view.wrapping_sub(3)) {
            if self.me == 1 {
                let us = now_ns().saturating_sub(proposed_ns) / 1_000;
                self.counted.lock().expect("nobody panics").record(us);
            }
        }
        if let Some(store) = &self.store {
            store.commit(&hash, proposal.payload);
        }
        let signature = self.key.sign(&statement(view, &hash));
        let next = self.leader(view + 1);
        if next == self.me {
            return self.collect(view, hash, self.me, signature);
        }
        let body = [&[VOTE][..], &view.to_le_bytes(), &hash, &signature.0].concat();
        let frame = [&(body.len() as u32).to_le_bytes()[..], &body].concat();
        let mut peer = self.peer(next);
        peer.write_all(&frame)
            .expect("the peer lives as long as this process");
    }

    fn on_vote(&mut self, view: u64, hash: [u8; 32], from: usize, signature: Signature) {
        if view < self.led {
            return; // the quorum was there without it
        }
        self.check(from, &statement(view, &hash), &signature);
        self.collect(view, hash, from, signature);
    }

    fn collect(&mut self, view: u64, hash: [u8; 32], from: usize, signature: Signature) {
        if view < self.led {
            return;
        }
        self.votes.push((from, signature));
        if self.votes.len() == self.quorum() {
            let certificate = std::mem::take(&mut self.votes);
            self.propose(view + 1, hash, certificate);
        }
    }
}

fn encode(proposal: &Proposal<'_>, signature: &Signature) -> Vec<u8> {
    let mut frame = Vec::with_capacity(512 + proposal.payload.len());
    frame.extend([0; 4]);
    frame.push(PROPOSAL);
    frame.extend(proposal.view.to_le_bytes());
    frame.extend(signature.0);
    frame.extend(proposal.proposed_ns.to_le_bytes());
    frame.extend(proposal.parent);
    frame.extend((proposal.certificate.len() as u64).to_le_bytes());
    for (voter, signature) in &proposal.certificate {
        frame.extend((*voter as u64).to_le_bytes());
        frame.extend(signature.0);
    }
    frame.extend_from_slice(proposal.payload);
    let length = frame.len() as u32 - 4;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (array, rest) = self.0.split_first_chunk().expect("a whole message");
        self.0 = rest;
        *array
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

/// What has arrived from one peer.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    const LEAST_ROOM: usize = 64 << 10;

    fn fill(&mut self, mut peer: &TcpStream) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = self.end + Inbox::LEAST_ROOM;
        let size = room.max(self.frame_bytes().unwrap_or(0));
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
        let read = peer.read(&mut self.bytes[self.end..]);
        self.end += read.expect("the peer lives as long as this process");
    }

    /// The size of the first frame, once its beginning is there.
    fn frame_bytes(&self) -> Option<usize> {
        let length = self.bytes[self.start..self.end].first_chunk()?;
        Some(4 + u32::from_le_bytes(*length) as usize)
    }

    /// Where the next whole message is.
    fn next(&mut self) -> Option<Range<usize>> {
        let end = self.start + self.frame_bytes()?;
        if self.end < end {
            return None;
        }
        let start = std::mem::replace(&mut self.start, end);
        Some(start + 4..end)
    }
}

fn wait_on(peer: &TcpStream) -> libc::pollfd {
    libc::pollfd {
        fd: peer.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    }
}

/// The disk of one replica: the block, and four records such as a replica keeps.
struct Store {
    environment: lmdb::Environment,
    blocks: lmdb::Database,
    records: lmdb::Database,
}

impl Store {
    const RECORDS: [[u8; 1]; 4] = [[0], [1], [2], [3]];
    const RECORD_BYTES: usize = 300;

    fn open(dir: &Path) -> Store {
        std::fs::create_dir_all(dir).expect("a directory of one's own");
        let mut builder = lmdb::Environment::new();
        let environment = builder.set_max_dbs(2).set_map_size(64 << 30).open(dir);
        let environment = environment.expect("an empty directory");
        let create = |name| environment.create_db(Some(name), lmdb::DatabaseFlags::empty());
        let blocks = create("blocks").expect("a new database");
        let records = create("records").expect("a new database");
        Store {
            environment,
            blocks,
            records,
        }
    }

    fn commit(&self, hash: &[u8; 32], payload: &[u8]) {
        let none = lmdb::WriteFlags::empty();
        let mut transaction = self.environment.begin_rw_txn().expect("one writer");
        transaction
            .put(self.blocks, hash, &payload, none)
            .expect("room");
        for key in &Store::RECORDS {
            let record = [1_u8; Store::RECORD_BYTES];
            transaction
                .put(self.records, key, &record, none)
                .expect("room");
        }
        transaction.commit().expect("room on the disk");
    }
}
