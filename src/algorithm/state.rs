//! The algorithm's state, and its one entry.
use std::sync::Arc;
use std::time::Duration;

use crate::pacemaker::Pacemaker;
use crate::types::*;

use super::{Durable, Input, Step};

/// To whom votes go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VoteTo {
    /// `All` up to 20 validators, `NextLeader` beyond.
    #[default]
    Auto,
    /// Everyone forms each QC: a dead next leader costs nothing extra.
    All,
    /// Linear: only the leader of the next view.
    NextLeader,
}

/// How this replica catches up.
#[derive(Clone, Copy, Debug)]
pub struct SyncConfig {
    /// Blocks asked for in one request; at most `BLOCKS_PER_RESPONSE_MAX`.
    pub request_limit: u32,
    /// How long a peer has to answer.
    pub response_timeout: Duration,
    /// After so long without a valid certificate, a peer is asked what is new.
    pub interval: Duration,
}

impl Default for SyncConfig {
    fn default() -> Self {
        SyncConfig {
            request_limit: 256,
            response_timeout: Duration::from_secs(2),
            interval: Duration::from_secs(10),
        }
    }
}

/// The greatest sizes of what the core keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Blocks that await commit.
    pub pending_blocks_max: usize,
    /// Their data together, in bytes.
    pub pending_bytes_max: u64,
    /// Views ahead of the current one whose votes and proposals are kept.
    pub views_ahead_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { pending_blocks_max: 1_024, pending_bytes_max: 256 << 20, views_ahead_max: 32 }
    }
}

/// What does not change while a replica runs.
#[derive(Clone)]
pub struct Config {
    /// The validator this replica speaks for; none for a listener.
    pub me: Option<ValidatorAddress>,
    pub genesis: GenesisHash,
    pub parameters: ChainParameters,
    pub pacemaker: Arc<dyn Pacemaker>,
    pub vote_to: VoteTo,
    pub sync: SyncConfig,
    pub limits: Limits,
}

/// The algorithm of one replica: a pure state machine.
pub struct Algorithm {
    config: Config,
}

impl Algorithm {
    /// The state that `durable` implies, at the time `now`. The step says again what was being said.
    pub fn recover(config: Config, durable: Durable, now: Time) -> Step {
        let _ = (config, durable, now);
        todo!()
    }

    /// Takes in one input. Total: no I/O, no failure, no panic on foreign input.
    pub fn step(self, now: Time, input: Input) -> Step {
        let _ = (now, input);
        todo!()
    }

    /// When to feed [`Input::TimerExpired`].
    pub fn deadline(&self) -> Time {
        todo!()
    }

    pub(super) fn genesis(&self) -> GenesisHash {
        self.config.genesis
    }

    pub(super) fn me(&self) -> Option<ValidatorAddress> {
        self.config.me
    }

    /// Where the replica is.
    pub fn view(&self) -> Rank {
        todo!()
    }

    /// The end of the committed chain.
    pub fn committed(&self) -> super::CommittedHead {
        todo!()
    }

    /// What recovery would start from, were the step on disk: disk-equals-memory.
    pub fn durable(&self) -> Durable {
        todo!()
    }
}
