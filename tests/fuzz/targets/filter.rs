//! A running replica whose filter is fed with anything: it goes on. The input is a sequence of
//! messages, each with its sender and its length.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hotstuff::algorithm::{Limits, SyncConfig, VoteTo};
use hotstuff::app::{
    App, ProposeBlockRequest, ProposeBlockResponse, ValidateBlockRequest, ValidateBlockResponse,
};
use hotstuff::block_tree::{Durability, OpenOptions};
use hotstuff::network::NetworkProvider;
use hotstuff::pacemaker::DefaultPacemaker;
use hotstuff::replica::{Replica, ReplicaConfig, ReplicaError};
use hotstuff::types::ValidatorAddress;
use tempfile::TempDir;

use super::world::{genesis, keys, ME};
use super::Bytes;

/// Nobody hears it, and it hears nobody but through `deliver`.
struct Silence(
    crossbeam_channel::Receiver<()>,
    crossbeam_channel::Sender<()>,
);

impl NetworkProvider for Silence {
    fn connect(&self, _: ValidatorAddress) {}
    fn disconnect(&self, _: ValidatorAddress) {}
    fn send(&self, _: ValidatorAddress, _: &[u8]) {}
    fn broadcast(&self, _: &[u8]) {}

    fn receive(&self, timeout: Duration) -> Option<(ValidatorAddress, Vec<u8>)> {
        let _ = self.0.recv_timeout(timeout); // a wake, or nothing
        None
    }

    fn wake(&self) {
        let _ = self.1.try_send(()); // one that waits is enough
    }
}

struct Anything;

impl App for Anything {
    fn propose_block(&mut self, _: ProposeBlockRequest<'_>) -> ProposeBlockResponse {
        ProposeBlockResponse::Defer
    }

    fn validate_block(&mut self, _: ValidateBlockRequest<'_>) -> ValidateBlockResponse {
        ValidateBlockResponse::Valid {
            state_updates: None,
            validator_set_updates: None,
        }
    }
}

/// The replica of this process.
pub fn replica() -> &'static Replica {
    static REPLICA: OnceLock<(Replica, TempDir)> = OnceLock::new();
    let (replica, _) = REPLICA.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (wake, woken) = crossbeam_channel::bounded(1);
        let network = Arc::new(Silence(woken, wake));
        let config = ReplicaConfig {
            genesis: genesis(),
            signer: Some((keys()[ME].address(), Arc::new(keys()[ME].duplicate()))),
            storage: OpenOptions {
                create: true,
                map_bytes: 1 << 30,
                durability: Durability::ProcessCrash,
                ..OpenOptions::new(directory.path())
            },
            pacemaker: Arc::new(DefaultPacemaker::default()),
            vote_to: VoteTo::All,
            sync: SyncConfig::default(),
            limits: Limits::default(),
        };
        let replica = Replica::open(config, Box::new(Anything), network).expect("a new directory");
        replica.start().expect("it was not started before");
        (replica, directory)
    });
    replica
}

/// Another one each time: who sends nonsense is soon muted.
fn stranger() -> ValidatorAddress {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes();
    ValidatorAddress(std::array::from_fn(|at| number[at % 8]))
}

pub fn filter(bytes: &[u8]) {
    let replica = replica();
    let mut bytes = Bytes(bytes);
    while !bytes.is_empty() {
        let from = match usize::from(bytes.byte() % 8) {
            validator @ 0..=3 => keys()[validator].address(),
            _ => stranger(),
        };
        let length = usize::from(bytes.number());
        let message = bytes.take(length);
        loop {
            match replica.deliver(from, message) {
                Ok(()) => break,
                Err(ReplicaError::WouldBlock) => std::thread::yield_now(), // it is being read
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(
        !replica.info().is_halted,
        "{:?}",
        replica.wait(Duration::ZERO)
    );
}
