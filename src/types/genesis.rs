//! What all replicas of a chain agree on before it starts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::crypto::sha256;
use super::limits::{BLOCK_DATA_BYTES_MAX, MESSAGE_OVERHEAD_BYTES};
use super::statement::TAG_GENESIS;
use super::{codec, ChainId, GenesisHash, ValidatorSet};

/// When a block is final. Fixed in the genesis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommitRule {
    /// Three certificates in consecutive views (HotStuff, PODC 2019, algorithm 3).
    #[default]
    ThreeChain,
    /// Two certificates in consecutive views (Jolteon, FC 2022).
    TwoChain,
}

/// Who leads. Fixed in the genesis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaderRule {
    /// All validators in turn.
    #[default]
    RoundRobin,
    /// Those in turn who have signed lately (after Carousel, FC 2022): a dead one costs no time.
    Active,
}

/// Settings that belong to the chain, not to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainParameters {
    pub commit_rule: CommitRule,
    pub leader_rule: LeaderRule,
    /// How long the leader of an idle view waits for work, in milliseconds.
    pub max_idle_ms: u32,
    /// The most data that a block may carry, in bytes; at most [`BLOCK_DATA_BYTES_MAX`].
    pub block_data_bytes_max: u64,
}

impl Default for ChainParameters {
    fn default() -> Self {
        ChainParameters {
            commit_rule: CommitRule::default(),
            leader_rule: LeaderRule::default(),
            max_idle_ms: 5_000,
            block_data_bytes_max: 1 << 20,
        }
    }
}

impl ChainParameters {
    /// The most bytes that any message of this chain has.
    pub fn message_bytes_max(&self) -> usize {
        let data = self.block_data_bytes_max.min(BLOCK_DATA_BYTES_MAX);
        usize::try_from(data + MESSAGE_OVERHEAD_BYTES).expect("far below 4 GiB")
    }
}

/// The beginning of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    pub chain_id: ChainId,
    pub validator_set: ValidatorSet,
    /// The first app state: key to value.
    pub app_state: BTreeMap<serde_bytes::ByteBuf, serde_bytes::ByteBuf>,
    pub parameters: ChainParameters,
}

impl Genesis {
    /// Covers every field. Operators compare it before they start a chain.
    pub fn hash(&self) -> GenesisHash {
        GenesisHash(sha256(&[&TAG_GENESIS, &codec::encode(self)]))
    }
}
