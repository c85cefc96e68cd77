//! The replica (floor 5).
use std::sync::Arc;
use std::time::Duration;

use crate::algorithm::{Event, Limits, Signer, SyncConfig, VoteTo};
use crate::app::App;
use crate::block_tree::{OpenOptions, Snapshot, StorageError};
use crate::network::NetworkProvider;
use crate::pacemaker::Pacemaker;
use crate::types::*;

/// Everything a replica is told when it is opened.
#[derive(Clone)]
pub struct ReplicaConfig {
    pub genesis: Genesis,
    /// The validator it speaks for and who signs; none for a listener.
    pub signer: Option<(ValidatorAddress, Arc<dyn Signer>)>,
    pub storage: OpenOptions,
    pub pacemaker: Arc<dyn Pacemaker>,
    pub vote_to: VoteTo,
    pub sync: SyncConfig,
    pub limits: Limits,
}

/// Why a call failed.
#[derive(Debug)]
pub enum ReplicaError {
    Storage(StorageError),
    /// Out of order: started twice, or stopped.
    State(&'static str),
    /// Called from inside a callback of this replica, where it would wait for itself.
    Reentrant,
    TimedOut,
    /// Stopped, or never started.
    Closed,
    /// The replica stopped itself; the text says why and what to do.
    Halted(String),
    /// A bounded queue is full: try again later.
    WouldBlock,
    TooLarge,
    /// A thread could not be started.
    Thread(std::io::Error),
}

/// A committed block, as the host receives it.
#[derive(Clone, Debug)]
pub struct CommittedBlock {
    pub hash: BlockHash,
    pub block: Block,
}

/// Where a replica is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Info {
    pub epoch: Epoch,
    pub view: ViewNumber,
    pub committed_height: BlockHeight,
    pub highest_qc_view: ViewNumber,
    /// 0 when not syncing.
    pub sync_target_height: BlockHeight,
    pub is_validator: bool,
    pub is_halted: bool,
}

/// Counters since the replica was opened.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub current_view: u64,
    pub committed_height: u64,
    pub proposals: u64,
    pub votes: u64,
    pub view_timeouts: u64,
    pub messages_in: u64,
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Refused or dropped messages, all kinds and peers.
    pub messages_rejected: u64,
    pub events_dropped: u64,
    /// Disk transactions, and those of them that were synced.
    pub transactions: u64,
    /// Dropped messages by peer and reason, named.
    pub rejected_by: Vec<(ValidatorAddress, String, u64)>,
}

/// One replica: threads, disk and network around the algorithm. Dropping it stops it.
pub struct Replica {}

impl Replica {
    pub fn open(
        config: ReplicaConfig,
        app: Box<dyn App>,
        network: Arc<dyn NetworkProvider>,
    ) -> Result<Replica, ReplicaError> {
        let _ = (config, app, network);
        todo!()
    }
    /// `on_event` is called on one thread of its own, in order; set before start.
    pub fn set_events(
        &self,
        on_event: Box<dyn FnMut(ReplicaEvent) + Send>,
    ) -> Result<(), ReplicaError> {
        let _ = on_event;
        todo!()
    }
    pub fn start(&self) -> Result<(), ReplicaError> {
        todo!()
    }
    /// TimedOut if a callback did not return in time: call again. Idempotent.
    pub fn stop(&self, timeout: Duration) -> Result<(), ReplicaError> {
        let _ = timeout;
        todo!()
    }
    pub fn notify(&self) -> Result<(), ReplicaError> {
        todo!()
    }
    pub fn deliver(&self, from: ValidatorAddress, message: &[u8]) -> Result<(), ReplicaError> {
        let _ = (from, message);
        todo!()
    }
    pub fn snapshot(&self) -> Result<Snapshot, ReplicaError> {
        todo!()
    }
    /// The committed block at `after` + 1, as soon as there is one.
    pub fn next_committed(
        &self,
        after: BlockHeight,
        timeout: Duration,
    ) -> Result<CommittedBlock, ReplicaError> {
        let _ = (after, timeout);
        todo!()
    }
    /// Ok once stopped; Halted with the reason; TimedOut.
    pub fn wait(&self, timeout: Duration) -> Result<(), ReplicaError> {
        let _ = timeout;
        todo!()
    }
    pub fn info(&self) -> Info {
        todo!()
    }
    pub fn metrics(&self) -> Metrics {
        todo!()
    }
}

/// An event with the time it happened (Unix time, nanoseconds).
#[derive(Clone, Debug)]
pub struct ReplicaEvent {
    pub time_unix_ns: u64,
    pub kind: ReplicaEventKind,
}

/// What an event says.
#[derive(Clone, Debug)]
pub enum ReplicaEventKind {
    Algorithm(Event),
    /// The bounded queue of events overflowed: so many were lost.
    Dropped(u64),
    /// The replica has stopped itself.
    Fatal(String),
}
