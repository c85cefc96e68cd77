//! What the bench and its child processes say to one another: one line of JSON each way, on the
//! child's standard input and output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use hotstuff::types::CommitRule;

use crate::clients::{ClientsResult, ClientsSettings};
use crate::floor::{FloorResult, FloorSettings};
use crate::stats::Histogram;

/// The first line: what the process is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    Floor(FloorSettings),
    Replica(ReplicaSettings),
    Clients(ClientsSettings),
}

/// One replica of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplicaSettings {
    pub index: usize,
    /// Where each replica listens on loopback.
    pub ports: Vec<u16>,
    /// The first so many are validators, the others listeners.
    pub validators: usize,
    pub dir: PathBuf,
    pub chain: ChainSettings,
}

/// What all replicas of a cluster have in common.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ChainSettings {
    pub commit_rule: CommitRule,
    pub base_timeout_ms: u32,
    pub block_data_bytes_max: u64,
}

/// What the leaders put into their blocks.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub enum Work {
    /// Nothing: the app defers.
    #[default]
    None,
    /// A block of this size at once, in every view. It begins with the time of its proposal.
    Blocks { data_bytes: usize },
    /// Commands: as many as are due and fit into a block.
    Commands(Schedule),
    /// Commands: as many as clients have sent, and fit.
    Clients,
}

/// An open loop: command `k` is due at `start_ns + k / rate`, whatever happened to those before.
/// As the work of replicas it is offered to all of them, as a client of a replicated service does
/// it: so every process knows the schedule, and none has to be told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Schedule {
    pub start_ns: u64,
    /// `None`: there is always more than fits, and a command is due when it is proposed.
    pub per_second: Option<f64>,
    /// The schedule ends with so many.
    pub count: u64,
}

/// Bytes of a command: its number, the time it was due, and filler.
pub const COMMAND_BYTES: usize = 512;

impl Schedule {
    /// How many commands are due.
    pub fn due(&self, now_ns: u64) -> u64 {
        let Some(per_second) = self.per_second else {
            return self.count;
        };
        let elapsed = now_ns.saturating_sub(self.start_ns) as f64 / 1e9;
        let due = if now_ns < self.start_ns {
            0
        } else {
            (elapsed * per_second) as u64 + 1
        };
        due.min(self.count)
    }

    /// When command `number` is due.
    pub fn due_ns(&self, number: u64, now_ns: u64) -> u64 {
        match self.per_second {
            Some(per_second) => self.start_ns + (number as f64 / per_second * 1e9) as u64,
            None => now_ns,
        }
    }
}

/// What the bench asks of a replica.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Give the leaders this to do.
    Work(Work),
    /// Phases begin at these times: what happens before the first is not counted.
    Phases(Vec<u64>),
    /// What was counted?
    Report,
    /// Where is it?
    Place,
    /// Stop in order.
    Quit,
}

/// What a replica answers; each question has one answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    Done,
    /// It runs, and takes clients at this port.
    Ready {
        client_port: u16,
    },
    Place(Place),
    Report(Box<Report>),
    Floor(Box<FloorResult>),
    Clients(Box<ClientsResult>),
}

/// Where a replica is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Place {
    pub height: u64,
    pub view: u64,
    /// Commands committed, as counted by their numbers.
    pub commands: u64,
    pub peers_connected: usize,
}

/// What a replica has seen committed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub phases: Vec<PhaseReport>,
    pub place: Place,
    /// Commands that came out of turn: lost, or committed twice.
    pub out_of_turn: u64,
    /// The most commands that were due and not committed.
    pub backlog_max: u64,
    pub view_timeouts: u64,
    pub messages_rejected: u64,
    pub transactions: u64,
}

/// Within one phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Blocks whose commit was seen in the phase.
    pub blocks: u64,
    /// Commands whose commit was seen in the phase.
    pub commands: u64,
    /// Bytes of data whose commit was seen in the phase.
    pub bytes: u64,
    /// From the proposal of a block, or the due time of a command, in the phase, until its commit
    /// was seen.
    pub latency: Histogram,
}
