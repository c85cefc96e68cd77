//! The words (floor 0): numbers, blocks, certificates, validator sets, updates, keys and codec.

pub mod codec;
pub mod crypto;
pub mod limits;

mod block;
mod genesis;
mod numbers;
mod quorum_certificate;
mod statement;
mod time;
mod timeout_certificate;
mod updates;
mod validator_set;

pub use block::{Block, BlockHeader, Data};
pub use crypto::{KeyError, KeyPair, Signature};
pub use genesis::{ChainParameters, CommitRule, Genesis, LeaderRule};
pub use numbers::*;
pub use quorum_certificate::{Phase, QuorumCertificate, VoteStatement};
pub use statement::{Statement, WakeStatement};
pub use time::Time;
pub use timeout_certificate::{TimeoutCertificate, TimeoutStatement};
pub use updates::*;
pub use validator_set::{Validator, ValidatorSet, ValidatorSetError};
