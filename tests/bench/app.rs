//! The app that is replicated: it makes blocks as it is told, and checks that commands come in
//! turn. The next command is part of its state, so that no branch carries a command twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

use hotstuff::app::{
    App, BlockTreeSnapshot, ProposeBlockRequest, ProposeBlockResponse, ReadError,
    ValidateBlockRequest, ValidateBlockResponse,
};
use hotstuff::types::{StateUpdate, StateUpdates};

use crate::protocol::{Schedule, Work, COMMAND_BYTES};
use crate::stats::now_ns;

/// Where the app is told its work, and says what it waits for.
#[derive(Default)]
pub struct Desk {
    work: Mutex<Work>,
    /// The number of the command that the app waits for, plus one; 0 when it does not wait.
    waits_for: AtomicU64,
}

impl Desk {
    pub fn work(&self) -> Work {
        *self.work.lock().expect("nobody panics under the lock")
    }

    pub fn set_work(&self, work: Work) {
        *self.work.lock().expect("nobody panics under the lock") = work;
    }

    /// Whether the app has to be woken, because what it waits for is due. Says so once.
    pub fn is_overdue(&self) -> bool {
        let Work::Commands(schedule) = self.work() else {
            return false;
        };
        let waits_for = self.waits_for.load(Ordering::Relaxed);
        let is_due = waits_for != 0 && schedule.due(now_ns()) >= waits_for;
        if is_due {
            self.waits_for.store(0, Ordering::Relaxed);
        }
        is_due
    }
}

/// The app.
pub struct BenchApp {
    pub desk: std::sync::Arc<Desk>,
    /// Bytes of data that fit into a block.
    pub block_data_bytes_max: usize,
}

/// The key of the next command's number.
const NEXT: &[u8] = b"next";

impl App for BenchApp {
    fn propose_block(&mut self, request: ProposeBlockRequest<'_>) -> ProposeBlockResponse {
        match self.desk.work() {
            Work::None => ProposeBlockResponse::Defer,
            Work::Blocks { data_bytes } => {
                let mut data = vec![0x5a; data_bytes.max(8)];
                data[..8].copy_from_slice(&now_ns().to_le_bytes());
                block(data, None)
            }
            Work::Commands(schedule) => match next_command(request.block_tree) {
                Ok(next) => self.propose_commands(&schedule, next),
                Err(_) => ProposeBlockResponse::Failed,
            },
        }
    }

    fn validate_block(&mut self, request: ValidateBlockRequest<'_>) -> ValidateBlockResponse {
        let data = &request.proposed_block.data;
        let Some(numbers) = commands_in(data) else {
            return valid(None);
        };
        let Ok(mut next) = next_command(request.block_tree) else {
            return ValidateBlockResponse::Undecided;
        };
        for (number, _) in numbers {
            if number != next {
                return ValidateBlockResponse::Invalid;
            }
            next += 1;
        }
        valid(Some(set_next(next)))
    }
}

impl BenchApp {
    fn propose_commands(&self, schedule: &Schedule, next: u64) -> ProposeBlockResponse {
        let now = now_ns();
        let fits = (self.block_data_bytes_max / COMMAND_BYTES) as u64;
        let count = schedule.due(now).saturating_sub(next).min(fits);
        if count == 0 {
            self.desk.waits_for.store(next + 1, Ordering::Relaxed);
            return ProposeBlockResponse::Defer;
        }
        let mut data = vec![0x5a; count as usize * COMMAND_BYTES];
        for (number, command) in (next..).zip(data.chunks_exact_mut(COMMAND_BYTES)) {
            command[..8].copy_from_slice(&(number | COMMAND_MARK).to_le_bytes());
            command[8..16].copy_from_slice(&schedule.due_ns(number, now).to_le_bytes());
        }
        block(data, Some(set_next(next + count)))
    }
}

fn block(data: Vec<u8>, state_updates: Option<StateUpdates>) -> ProposeBlockResponse {
    ProposeBlockResponse::Block {
        data,
        state_updates,
        validator_set_updates: None,
    }
}

fn valid(state_updates: Option<StateUpdates>) -> ValidateBlockResponse {
    ValidateBlockResponse::Valid {
        state_updates,
        validator_set_updates: None,
    }
}

fn next_command(tree: &dyn BlockTreeSnapshot) -> Result<u64, ReadError> {
    let value = tree.state(NEXT)?;
    Ok(value.and_then(|value| number(&value)).unwrap_or(0))
}

fn set_next(next: u64) -> StateUpdates {
    vec![StateUpdate::Set {
        key: NEXT.to_vec(),
        value: next.to_le_bytes().to_vec(),
    }]
}

/// Set in the number of each command. In a block without commands the time stands there, which
/// has no such bit before the year 2262.
const COMMAND_MARK: u64 = 1 << 63;

/// The number and the due time of each command in a block; `None` for a block that holds none.
pub fn commands_in(data: &[u8]) -> Option<impl Iterator<Item = (u64, u64)> + '_> {
    let commands = data.chunks_exact(COMMAND_BYTES).map(|command| {
        let at = |from: usize| number(&command[from..]).expect("a whole command");
        (at(0) & !COMMAND_MARK, at(8))
    });
    number(data)
        .is_some_and(|first| first & COMMAND_MARK != 0)
        .then_some(commands)
}

/// When a block without commands was proposed; `None` for the library's own empty block.
pub fn proposed_ns(data: &[u8]) -> Option<u64> {
    number(data)
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
