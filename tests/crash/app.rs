//! The app that is killed: a log of numbered commands, each of which it takes once. Some of them
//! change the power of a validator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use hotstuff::app::{
    App, BlockTreeSnapshot, ProposeBlockRequest, ProposeBlockResponse, ReadError,
    ValidateBlockRequest, ValidateBlockResponse,
};
use hotstuff::types::crypto::sha256;
use hotstuff::types::{StateUpdate, ValidatorAddress, ValidatorSetUpdate, ValidatorSetUpdates};

use crate::child::{self, REPLICAS};

/// Commands in one block.
const BLOCK_COMMANDS_MAX: usize = 64;

/// The state's key of the digest over all blocks of commands so far.
pub const DIGEST: &[u8] = b"digest";

/// Commands that clients have sent here, and that are not yet committed.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<BTreeSet<u64>>>);

impl Pool {
    pub fn add(&self, commands: impl IntoIterator<Item = u64>) {
        self.lock().extend(commands);
    }

    pub fn remove(&self, commands: &[u64]) {
        let mut pool = self.lock();
        commands.iter().for_each(|command| _ = pool.remove(command));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().expect("nobody panics under the lock")
    }
}

/// The replica's app.
pub struct Log {
    pub pool: Pool,
}

impl App for Log {
    fn propose_block(&mut self, request: ProposeBlockRequest<'_>) -> ProposeBlockResponse {
        let waiting: Vec<u64> = self.pool.lock().iter().copied().collect();
        let is_new = |command: &u64| is_new(request.block_tree, *command).unwrap_or(false);
        let commands = waiting.into_iter().filter(is_new).take(BLOCK_COMMANDS_MAX);
        let data: Vec<u8> = commands.flat_map(u64::to_be_bytes).collect();
        if data.is_empty() {
            return ProposeBlockResponse::Defer;
        }
        let validator_set_updates = powers(&data);
        match updates(request.block_tree, &data) {
            Ok(updates) => ProposeBlockResponse::Block {
                data,
                state_updates: updates,
                validator_set_updates,
            },
            Err(_) => ProposeBlockResponse::Failed,
        }
    }

    fn validate_block(&mut self, request: ValidateBlockRequest<'_>) -> ValidateBlockResponse {
        match updates(request.block_tree, &request.proposed_block.data) {
            Ok(Some(updates)) => ValidateBlockResponse::Valid {
                state_updates: Some(updates),
                validator_set_updates: powers(&request.proposed_block.data),
            },
            Ok(None) => ValidateBlockResponse::Invalid,
            Err(_) => ValidateBlockResponse::Undecided,
        }
    }
}

/// The commands in a block's data; `None` if it is none of this app's.
pub fn commands_in(data: &[u8]) -> Option<Vec<u64>> {
    let words = data.chunks(8).map(<[u8; 8]>::try_from);
    words
        .map(|word| word.ok().map(u64::from_be_bytes))
        .collect()
}

/// What a block does to the validator set: now and then a command gives one of them another power.
/// All of them stay validators.
fn powers(data: &[u8]) -> Option<ValidatorSetUpdates> {
    let changing = commands_in(data)?
        .into_iter()
        .filter(|command| command % 60 == 59);
    let update = |command: u64| {
        let validator = child::key((command / 60) as usize % REPLICAS).address();
        let power = 1 + command / 240 % 3;
        (validator, power)
    };
    let updates: BTreeMap<ValidatorAddress, u64> = changing.map(update).collect();
    let updates = updates.into_iter();
    let updates = updates.map(|(validator, power)| ValidatorSetUpdate { validator, power });
    let updates: ValidatorSetUpdates = updates.collect();
    (!updates.is_empty()).then_some(updates)
}

/// The digest after a block of commands.
pub fn digest(before: &[u8], data: &[u8]) -> Vec<u8> {
    sha256(&[before, data]).to_vec()
}

fn is_new(state: &dyn BlockTreeSnapshot, command: u64) -> Result<bool, ReadError> {
    Ok(state.state(&command.to_be_bytes())?.is_none())
}

/// What a block changes; `None` if it may not.
fn updates(
    state: &dyn BlockTreeSnapshot,
    data: &[u8],
) -> Result<Option<Vec<StateUpdate>>, ReadError> {
    let Some(commands) = commands_in(data) else {
        return Ok(None);
    };
    let mut updates = Vec::new();
    for pair in commands.windows(2) {
        if pair[0] >= pair[1] {
            return Ok(None);
        }
    }
    for command in commands {
        if !is_new(state, command)? {
            return Ok(None);
        }
        let (key, value) = (command.to_be_bytes().to_vec(), b"taken".to_vec());
        updates.push(StateUpdate::Set { key, value });
    }
    let before = state.state(DIGEST)?.unwrap_or_default();
    updates.push(StateUpdate::Set {
        key: DIGEST.to_vec(),
        value: digest(&before, data),
    });
    Ok(Some(updates))
}
