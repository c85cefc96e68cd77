//! The algorithm (floor 3).
mod collect;
mod propose;
mod safety;
mod state;
mod step;
mod sync;
mod tree;
pub mod verify;
mod view;
mod vote;

pub use state::{Algorithm, Config, Limits, SyncConfig, VoteTo};
pub use step::{
    CommittedHead, Dispatch, Durable, Effect, Event, Input, Outbox, PendingBlock, Persist,
    SignError, Signer, Step, StoredProposal, To, VotingRecord, Write,
};
