//! How fast a step is on disk, beside the least that LMDB can do: one synced transaction of five
//! puts into one table. Run with `cargo test --release --test storage -- --ignored --nocapture speed`.

use std::path::Path;
use std::time::{Duration, Instant};

use hotstuff::algorithm::{Persist, Write};
use hotstuff::block_tree::{BlockTree, Durability, OpenOptions};
use hotstuff::types::crypto::sha256;
use lmdb::Transaction;

use crate::chain::*;

/// Something that stores one block a step. What the core would do is done in `prepare`.
trait Store {
    fn prepare(&mut self, data: &[u8]);
    fn step(&mut self);
}

struct Floor {
    env: lmdb::Environment,
    db: lmdb::Database,
    steps: u64,
    data: Vec<u8>,
}

impl Floor {
    fn new(directory: &Path, durability: Durability) -> Floor {
        let flags = match durability {
            Durability::Synced => lmdb::EnvironmentFlags::empty(),
            Durability::ProcessCrash => lmdb::EnvironmentFlags::NO_SYNC,
        };
        std::fs::create_dir(directory).unwrap();
        let mut env = lmdb::Environment::new();
        let env = env
            .set_flags(flags)
            .set_map_size(1 << 40)
            .open(directory)
            .unwrap();
        let db = env.open_db(None).unwrap();
        Floor {
            env,
            db,
            steps: 0,
            data: Vec::new(),
        }
    }
}

impl Store for Floor {
    fn prepare(&mut self, data: &[u8]) {
        data.clone_into(&mut self.data);
    }

    fn step(&mut self) {
        self.steps += 1;
        let hash = sha256(&[&self.steps.to_le_bytes()]);
        let mut txn = self.env.begin_rw_txn().unwrap();
        txn.put(self.db, &hash, &self.data, lmdb::WriteFlags::empty())
            .unwrap();
        for key in 0..4_u8 {
            txn.put(self.db, &[key], &[1; 300], lmdb::WriteFlags::empty())
                .unwrap();
        }
        txn.commit().unwrap();
    }
}

struct Ours {
    tree: BlockTree,
    chain: Vec<Made>, // the pending blocks
    view: u64,
    writes: Vec<Write>,
}

impl Ours {
    fn new(directory: &Path, durability: Durability) -> Ours {
        let options = OpenOptions {
            create: true,
            durability,
            ..OpenOptions::new(directory)
        };
        let (tree, _) = BlockTree::open(&options, &genesis()).unwrap();
        Ours {
            tree,
            chain: Vec::new(),
            view: 0,
            writes: Vec::new(),
        }
    }
}

impl Store for Ours {
    fn prepare(&mut self, data: &[u8]) {
        self.view += 1;
        let made = match self.chain.last() {
            None => Made::first(self.view, data, vec![]),
            Some(parent) => parent.child(self.view, data, vec![]),
        };
        self.writes = vec![
            made.insert(),
            Write::SetHighestQc(made.block.header.justify.clone()),
            Write::CastVote(vote(made.hash, self.view)),
        ];
        self.chain.push(made);
        if self.chain.len() > 3 {
            self.writes.push(self.chain.remove(0).commit());
        }
    }

    fn step(&mut self) {
        self.tree.persist(&self.writes).unwrap();
    }
}

/// Bytes handed to the system's write calls.
fn written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find(|line| line.starts_with("wchar")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    bytes: u64,
}

impl Measured {
    fn run(&mut self, store: &mut dyn Store, data: &[u8], steps: usize) {
        let before = written();
        for _ in 0..steps {
            store.prepare(data);
            let start = Instant::now();
            store.step();
            self.times.push(start.elapsed());
        }
        self.bytes += written() - before;
    }

    fn mean(&self) -> f64 {
        self.times.iter().sum::<Duration>().as_secs_f64() * 1e6 / self.times.len() as f64
    }

    fn print(&mut self, name: &str) {
        self.times.sort();
        let count = self.times.len();
        println!(
            "  {name:<6} {:>8.0} tx/s  mean {:>8.1} us  p50 {:>6} us  p99 {:>6} us  {:>8} bytes/tx",
            1e6 / self.mean(),
            self.mean(),
            self.times[count / 2].as_micros(),
            self.times[count * 99 / 100].as_micros(),
            self.bytes / count as u64,
        );
    }
}

fn compare(durability: Durability, data_bytes: usize, before: usize, rounds: usize, per: usize) {
    let directory = tempfile::tempdir().unwrap();
    let data = vec![0x5a; data_bytes];
    let (floor, ours) = (
        directory.path().join("floor"),
        directory.path().join("ours"),
    );
    if before > 0 {
        let mut floor = Floor::new(&floor, Durability::ProcessCrash);
        let mut ours = Ours::new(&ours, Durability::ProcessCrash);
        for _ in 0..before {
            floor.prepare(&[]);
            floor.step();
            ours.prepare(&[]);
            ours.step();
        }
    }
    std::fs::create_dir_all(&floor).unwrap();
    let env = Floor::reopen(&floor, durability, before as u64);
    let tree = Ours::reopen(&ours, durability);
    let (mut floor, mut ours) = (env, tree);
    let (mut of_floor, mut of_ours) = (Measured::default(), Measured::default());
    for _ in 0..rounds {
        of_floor.run(&mut floor, &data, per);
        of_ours.run(&mut ours, &data, per);
    }
    println!("{durability:?}, {data_bytes} bytes of data, chain of {before} blocks:");
    of_floor.print("floor");
    of_ours.print("ours");
    println!("  time ratio {:.2}", of_ours.mean() / of_floor.mean());
}

impl Floor {
    fn reopen(directory: &Path, durability: Durability, steps: u64) -> Floor {
        let _ = std::fs::remove_dir(directory); // only if empty
        if !directory.exists() {
            return Floor::new(directory, durability);
        }
        let flags = match durability {
            Durability::Synced => lmdb::EnvironmentFlags::empty(),
            Durability::ProcessCrash => lmdb::EnvironmentFlags::NO_SYNC,
        };
        let mut env = lmdb::Environment::new();
        let env = env
            .set_flags(flags)
            .set_map_size(1 << 40)
            .open(directory)
            .unwrap();
        let db = env.open_db(None).unwrap();
        Floor {
            env,
            db,
            steps,
            data: Vec::new(),
        }
    }
}

impl Ours {
    /// Goes on from what is pending on disk.
    fn reopen(directory: &Path, durability: Durability) -> Ours {
        use hotstuff::app::BlockTreeSnapshot;
        let options = OpenOptions {
            create: true,
            durability,
            ..OpenOptions::new(directory)
        };
        let (tree, durable) = BlockTree::open(&options, &genesis()).unwrap();
        let snapshot = tree.reader().snapshot().unwrap();
        let chain: Vec<Made> = durable
            .pending
            .iter()
            .map(|pending| Made {
                hash: pending.hash,
                block: snapshot.block(&pending.hash).unwrap().unwrap(),
                state_updates: vec![],
            })
            .collect();
        let view = chain.last().map_or(0, Made::view);
        Ours {
            tree,
            chain,
            view,
            writes: Vec::new(),
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let rounds = std::env::var("ROUNDS").map_or(5, |text| text.parse().unwrap());
    compare(Durability::Synced, 0, 0, rounds, 200);
    compare(Durability::Synced, 0, 100_000, rounds, 200);
    compare(Durability::Synced, 256 << 10, 0, rounds, 50);
    compare(Durability::ProcessCrash, 0, 0, rounds, 2000);
    compare(Durability::ProcessCrash, 0, 100_000, rounds, 2000);
    compare(Durability::ProcessCrash, 256 << 10, 0, rounds, 200);
}
