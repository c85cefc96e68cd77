//! How fast a step is on disk, beside the least that LMDB can do: one transaction of five puts into
//! one table. A few steps of each by default, to see that the measurement works; to measure:
//! `STORAGE_ROUNDS=20 cargo test --release --test storage -- --nocapture speed`

use std::path::Path;
use std::time::{Duration, Instant};

use hotstuff::algorithm::{Persist, Write};
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::block_tree::{BlockTree, Durability, OpenOptions};
use hotstuff::types::crypto::sha256;
use hotstuff::types::*;
use lmdb::Transaction;

use crate::chain::*;

/// A kind of chain.
#[derive(Clone, Copy, Debug)]
struct Load {
    durability: Durability,
    data_bytes: usize,
    /// State updates of a block, each of 100 bytes.
    updates: usize,
    /// Blocks that are there before the measurement.
    before: usize,
}

/// Something that stores one block a step. What the core would do is done in `prepare`.
trait Store {
    fn prepare(&mut self, load: Load);
    fn step(&mut self);
}

struct Floor {
    env: lmdb::Environment,
    db: lmdb::Database,
    steps: u64,
    data: Vec<u8>,
}

impl Floor {
    fn open(directory: &Path, durability: Durability, steps: u64) -> Floor {
        let flags = match durability {
            Durability::Synced => lmdb::EnvironmentFlags::empty(),
            Durability::ProcessCrash => lmdb::EnvironmentFlags::NO_SYNC,
        };
        std::fs::create_dir_all(directory).unwrap();
        let mut builder = lmdb::Environment::new();
        let builder = builder.set_flags(flags).set_map_size(1 << 40);
        let env = builder.open(directory).unwrap();
        let db = env.open_db(None).unwrap();
        Floor {
            env,
            db,
            steps,
            data: Vec::new(),
        }
    }
}

impl Store for Floor {
    fn prepare(&mut self, load: Load) {
        self.data = vec![0x5a; load.data_bytes];
    }

    fn step(&mut self) {
        self.steps += 1;
        let hash = sha256(&[&self.steps.to_le_bytes()]);
        let mut txn = self.env.begin_rw_txn().unwrap();
        let flags = lmdb::WriteFlags::empty();
        txn.put(self.db, &hash, &self.data, flags).unwrap();
        for key in 0..4_u8 {
            txn.put(self.db, &[key], &[1; 300], flags).unwrap();
        }
        txn.commit().unwrap();
    }
}

/// The hot step: a block is inserted, the highest QC raised, a vote cast, a block committed.
struct Ours {
    tree: BlockTree,
    pending: Vec<Made>,
    view: u64,
    writes: Vec<Write>,
}

impl Ours {
    /// Goes on from what is pending on disk.
    fn open(directory: &Path, durability: Durability) -> Ours {
        let options = OpenOptions {
            create: true,
            durability,
            ..OpenOptions::new(directory)
        };
        let (tree, durable) = BlockTree::open(&options, &genesis()).unwrap();
        let snapshot = tree.reader().snapshot().unwrap();
        let made = |hash| {
            let block = snapshot.block(&hash).unwrap().unwrap();
            Made {
                hash,
                block,
                state_updates: vec![],
            }
        };
        let pending: Vec<Made> = durable
            .pending
            .iter()
            .map(|block| made(block.hash))
            .collect();
        let view = pending.last().map_or(0, Made::view);
        Ours {
            tree,
            pending,
            view,
            writes: Vec::new(),
        }
    }
}

impl Store for Ours {
    fn prepare(&mut self, load: Load) {
        self.view += 1;
        let data = vec![0x5a; load.data_bytes];
        let update = |number: usize| {
            let key = sha256(&[&self.view.to_le_bytes(), &number.to_le_bytes()]).to_vec();
            StateUpdate::Set {
                key,
                value: vec![1; 68],
            }
        };
        let updates = (0..load.updates).map(update).collect();
        let made = match self.pending.last() {
            None => Made::first(self.view, &data, updates),
            Some(parent) => parent.child(self.view, &data, updates),
        };
        self.writes = vec![
            made.insert(),
            Write::SetHighestQc(made.block.header.justify.clone()),
            Write::CastVote(vote(made.hash, self.view)),
        ];
        self.pending.push(made);
        if self.pending.len() > 3 {
            self.writes.push(self.pending.remove(0).commit());
        }
    }

    fn step(&mut self) {
        self.tree.persist(&self.writes).unwrap();
    }
}

/// Bytes handed to the system's write calls by this process.
fn written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.map_or(0, |number| number.parse().unwrap())
}

#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    bytes: u64,
}

impl Measured {
    fn run(&mut self, store: &mut dyn Store, load: Load, steps: usize) {
        let before = written();
        for _ in 0..steps {
            store.prepare(load);
            let start = Instant::now();
            store.step();
            self.times.push(start.elapsed());
        }
        self.bytes += written() - before;
    }

    fn mean_us(&self) -> f64 {
        self.times.iter().sum::<Duration>().as_secs_f64() * 1e6 / self.times.len() as f64
    }

    fn print(&mut self, name: &str) {
        self.times.sort();
        let count = self.times.len();
        println!(
            "  {name:<6} {:>7.0} tx/s  mean {:>7.1} us  p50 {:>6} us  p99 {:>6} us  {:>7} bytes/tx",
            1e6 / self.mean_us(),
            self.mean_us(),
            self.times[count / 2].as_micros(),
            self.times[count * 99 / 100].as_micros(),
            self.bytes / count as u64,
        );
    }
}

/// Takes turns, so that both meet the same disk.
fn compare(load: Load, rounds: usize, steps: usize) {
    let directory = tempfile::tempdir().unwrap();
    let (floor, ours) = (
        directory.path().join("floor"),
        directory.path().join("ours"),
    );
    let mut of_floor = Floor::open(&floor, Durability::ProcessCrash, 0);
    let mut of_ours = Ours::open(&ours, Durability::ProcessCrash);
    for _ in 0..load.before {
        let empty = Load {
            data_bytes: 0,
            updates: 0,
            ..load
        };
        of_floor.prepare(empty);
        of_floor.step();
        of_ours.prepare(empty);
        of_ours.step();
    }
    drop((of_floor, of_ours));
    let mut of_floor = Floor::open(&floor, load.durability, load.before as u64);
    let mut of_ours = Ours::open(&ours, load.durability);
    let (mut floor, mut ours) = (Measured::default(), Measured::default());
    for _ in 0..rounds {
        floor.run(&mut of_floor, load, steps);
        ours.run(&mut of_ours, load, steps);
    }
    println!("{load:?}");
    floor.print("floor");
    ours.print("ours");
    let ratio = ours.mean_us() / floor.mean_us();
    let p50 = |measured: &Measured| measured.times[measured.times.len() / 2].as_secs_f64();
    println!(
        "  ratio of the means {ratio:.2}, of p50 {:.2}",
        p50(&ours) / p50(&floor)
    );
}

#[test]
fn speed() {
    let rounds = std::env::var("STORAGE_ROUNDS")
        .ok()
        .map(|text| text.parse::<usize>().unwrap());
    let (steps, chain) = if rounds.is_some() {
        (50, 100_000)
    } else {
        (2, 10)
    };
    let rounds = rounds.unwrap_or(1);
    for durability in [Durability::Synced, Durability::ProcessCrash] {
        let empty = Load {
            durability,
            data_bytes: 0,
            updates: 0,
            before: 0,
        };
        compare(empty, rounds, steps);
        compare(
            Load {
                before: chain,
                ..empty
            },
            rounds,
            steps,
        );
        compare(
            Load {
                data_bytes: 256 << 10,
                ..empty
            },
            rounds,
            steps,
        );
        compare(
            Load {
                data_bytes: 256 << 10,
                updates: 1_000,
                ..empty
            },
            rounds,
            steps,
        );
    }
}

/// What it costs to ask for the state on a branch, and to read from it.
#[test]
fn speed_of_snapshots() {
    let rounds = std::env::var("STORAGE_ROUNDS").map_or(10, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut ours = Ours::open(directory.path(), Durability::ProcessCrash);
    for _ in 0..300 {
        let durability = Durability::ProcessCrash;
        ours.prepare(Load {
            durability,
            data_bytes: 1_000,
            updates: 1_000,
            before: 0,
        });
        ours.step();
    }
    let reader = ours.tree.reader();
    let tip = ours.pending.last().unwrap().hash;
    let per = |start: Instant, count: u32| start.elapsed() / count;

    let start = Instant::now();
    for _ in 0..rounds * 100 {
        reader.snapshot_at(&tip, &[]).unwrap().unwrap();
    }
    println!(
        "snapshot_at over 3 pending blocks: {:?}",
        per(start, rounds * 100)
    );
    let snapshot = reader.snapshot_at(&tip, &[]).unwrap().unwrap();
    let start = Instant::now();
    for number in 0..rounds * 100 {
        snapshot.state(&sha256(&[&number.to_le_bytes()])).unwrap();
    }
    println!(
        "state of a key, through 3 layers of 1,000: {:?}",
        per(start, rounds * 100)
    );
    let start = Instant::now();
    for _ in 0..rounds {
        for made in &ours.pending {
            snapshot.block(&made.hash).unwrap().unwrap();
        }
    }
    println!(
        "a pending block by its hash: {:?}",
        per(start, rounds * ours.pending.len() as u32)
    );
}
