//! The algorithm (floor 3).
mod state;
mod step;
pub mod verify;

pub use state::{Algorithm, Config, Limits, SyncConfig, VoteTo};
pub use step::{
    CommittedHead, Dispatch, Durable, Effect, Event, Input, Outbox, PendingBlock, Persist,
    SignError, Signer, Step, StoredProposal, To, VotingRecord, Write,
};
