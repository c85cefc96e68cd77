//! A simulated app: a chain of digests over the commands of its blocks.
//!
//! A block's data names the digest of the state it was made on, so an app that is asked about a
//! block on the wrong state calls it invalid, and the checkers hear of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hotstuff::app::{ProposeBlockResponse, ValidateBlockResponse};
use hotstuff::types::{Block, StateUpdate, StateUpdates, ValidatorSetUpdates};

use crate::disk::State;
use crate::rng::{mix, Rng};

/// How the app misbehaves, within what an honest app may do.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// How long an answer takes, at most, in nanoseconds.
    pub answer_max: u64,
    /// Of a thousand answers, so many take ten times as long.
    pub slow_per_mille: u64,
    /// Of a thousand answers, so many are `Failed` or `Undecided`.
    pub fails_per_mille: u64,
}

/// The app of one replica, and the host that feeds it.
pub struct SimApp {
    /// Commands that the host wants committed.
    pub pool: BTreeSet<u64>,
    habits: Habits,
    rng: Rng,
    /// It answers one question after the other.
    busy_until: u64,
    /// What the commands from [`CHANGE`] on do.
    changes: Arc<[ValidatorSetUpdates]>,
}

/// The command of the first change of the validator set; those of the others follow it.
pub const CHANGE: u64 = 1 << 63;

const DIGEST: &[u8] = b"digest";
const COUNT: &[u8] = b"count";
/// Changes of the validator set that were made.
const CHANGES: &[u8] = b"changes";
const COMMANDS_PER_BLOCK: usize = 4;

impl SimApp {
    pub fn new(habits: Habits, rng: Rng, changes: Arc<[ValidatorSetUpdates]>) -> Self {
        SimApp {
            pool: BTreeSet::new(),
            habits,
            rng,
            busy_until: 0,
            changes,
        }
    }

    pub fn calm_down(&mut self) {
        self.habits.slow_per_mille = 0;
        self.habits.fails_per_mille = 0;
        self.busy_until = 0;
    }

    pub fn restart(&mut self) {
        self.busy_until = 0;
    }

    /// When the answer to a question asked now comes.
    pub fn answers_at(&mut self, now: u64) -> (u64, bool) {
        let slow = self.rng.chance(self.habits.slow_per_mille);
        let takes = self.rng.within(1_000, self.habits.answer_max.max(1_000));
        let takes = if slow { takes * 10 } else { takes };
        self.busy_until = self.busy_until.max(now) + takes;
        (self.busy_until, slow)
    }

    pub fn fails(&mut self) -> bool {
        self.rng.chance(self.habits.fails_per_mille)
    }

    /// A block on `state`, whose uncommitted ancestors are `branch`; nothing if there is no work.
    pub fn propose(&mut self, state: &State, branch: &[Block]) -> ProposeBlockResponse {
        let under_way: BTreeSet<u64> = branch.iter().flat_map(|b| commands(&b.data)).collect();
        let mut fresh: Vec<u64> = self.pool.difference(&under_way).copied().collect();
        let change = CHANGE + number(state, CHANGES);
        if fresh.contains(&change) {
            fresh = vec![change]; // alone in its block
        }
        fresh.retain(|command| *command < CHANGE || *command == change);
        fresh.truncate(COMMANDS_PER_BLOCK);
        if fresh.is_empty() {
            return ProposeBlockResponse::Defer;
        }
        let data = encode(digest(state), &fresh);
        let state_updates = Some(updates(state, &data));
        let change = self.change(state, &fresh);
        let Ok(validator_set_updates) = change else {
            return ProposeBlockResponse::Failed;
        };
        ProposeBlockResponse::Block {
            data,
            state_updates,
            validator_set_updates,
        }
    }

    /// Judges `data` by making it again.
    pub fn validate(&self, state: &State, data: &[u8]) -> ValidateBlockResponse {
        let well_formed = data.len() >= 16 && data.len() % 8 == 0;
        if !well_formed || data[..8] != digest(state).to_le_bytes() {
            return ValidateBlockResponse::Invalid;
        }
        let Ok(validator_set_updates) = self.change(state, &commands(data)) else {
            return ValidateBlockResponse::Invalid;
        };
        let state_updates = Some(updates(state, data));
        ValidateBlockResponse::Valid {
            state_updates,
            validator_set_updates,
        }
    }

    /// What these commands do to the validator set: the next change comes alone, or none does.
    fn change(
        &self,
        state: &State,
        commands: &[u64],
    ) -> Result<Option<ValidatorSetUpdates>, OutOfTurn> {
        let next = number(state, CHANGES);
        match commands {
            [command] if *command >= CHANGE && *command - CHANGE == next => {
                let updates = self.changes.get(next as usize).cloned();
                updates.map(Some).ok_or(OutOfTurn)
            }
            commands if commands.iter().all(|command| *command < CHANGE) => Ok(None),
            _ => Err(OutOfTurn),
        }
    }
}

/// A change of the validator set that is not the next one.
struct OutOfTurn;

/// The commands in a block's data.
pub fn commands(data: &[u8]) -> Vec<u64> {
    let words = data
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("8")));
    words.skip(1).collect()
}

/// Data with `commands`, on a state with this digest.
pub fn encode(digest: u64, commands: &[u64]) -> Vec<u8> {
    let words = std::iter::once(&digest).chain(commands);
    words.flat_map(|word| word.to_le_bytes()).collect()
}

/// What the state has come to: the whole history of commands in one number.
pub fn digest(state: &State) -> u64 {
    number(state, DIGEST)
}

fn number(state: &State, key: &[u8]) -> u64 {
    state.get(key).map_or(0, |value| {
        u64::from_le_bytes(value[..].try_into().expect("8 bytes"))
    })
}

fn updates(state: &State, data: &[u8]) -> StateUpdates {
    let mut digest = digest(state);
    let mut slots: BTreeMap<Vec<u8>, Option<u64>> = BTreeMap::new();
    let commands = commands(data);
    for command in &commands {
        digest = mix(digest ^ mix(*command));
        let slot = vec![b's', (command % 8) as u8];
        slots.insert(slot, (command % 5 != 0).then_some(*command));
    }
    let set = |key: &[u8], value: u64| StateUpdate::Set {
        key: key.to_vec(),
        value: value.to_le_bytes().to_vec(),
    };
    let count = number(state, COUNT) + commands.len() as u64;
    let mut updates = vec![set(DIGEST, digest), set(COUNT, count)];
    let changes = commands
        .iter()
        .filter(|command| **command >= CHANGE)
        .count() as u64;
    if changes > 0 {
        updates.push(set(CHANGES, number(state, CHANGES) + changes));
    }
    updates.extend(slots.into_iter().map(|(key, value)| match value {
        Some(value) => set(&key, value),
        None => StateUpdate::Delete { key },
    }));
    updates
}

/// All of a state in one number, for comparison between replicas.
pub fn fingerprint(state: &State) -> u64 {
    state
        .iter()
        .flat_map(|(key, value)| key.iter().chain(value))
        .fold(7, |sum, byte| mix(sum ^ u64::from(*byte)))
}
