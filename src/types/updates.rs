//! What a block changes: the app's state, and the validator set.

use serde::{Deserialize, Serialize};

use super::limits::*;
use super::ValidatorAddress;

/// Sets or deletes one key of the app's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateUpdate {
    Set {
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
    },
    Delete {
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
    },
}

impl StateUpdate {
    /// The key it changes.
    pub fn key(&self) -> &[u8] {
        match self {
            StateUpdate::Set { key, .. } | StateUpdate::Delete { key } => key,
        }
    }

    /// The value after it: `None` once deleted.
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            StateUpdate::Set { value, .. } => Some(value),
            StateUpdate::Delete { .. } => None,
        }
    }
}

/// State updates in the order they are made: of two for one key the later stands.
pub type StateUpdates = Vec<StateUpdate>;

/// Gives a validator a power; 0 removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorSetUpdate {
    pub validator: ValidatorAddress,
    pub power: u64,
}

/// Validator-set updates of one block, each address at most once.
pub type ValidatorSetUpdates = Vec<ValidatorSetUpdate>;

/// Whether `updates` are within the limits, else which one is not, in words.
///
/// # Errors
/// The limit that is exceeded.
pub fn check_state_updates(updates: &[StateUpdate]) -> Result<(), &'static str> {
    if updates.len() > STATE_UPDATES_MAX {
        return Err("more state updates than one block may make");
    }
    let mut bytes = 0_usize;
    for update in updates {
        let value_bytes = update.value().map_or(0, <[u8]>::len);
        if update.key().is_empty() || update.key().len() > STATE_KEY_BYTES_MAX {
            return Err("a state key must have 1 to 500 bytes");
        }
        if value_bytes > STATE_VALUE_BYTES_MAX {
            return Err("a state value may have at most 16 MiB");
        }
        bytes += update.key().len() + value_bytes;
    }
    if bytes > STATE_UPDATES_BYTES_MAX {
        return Err("the state updates of one block may have at most 256 MiB");
    }
    Ok(())
}
