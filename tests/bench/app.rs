//! The app that is replicated: it makes blocks as it is told, and checks that commands come in
//! turn. Which one is next is part of its state, so that no branch carries a command twice.
//!
//! All commands of a block come from one source: the schedule that all replicas know, or the
//! clients of one of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hotstuff::app::{
    App, BlockTreeSnapshot, ProposeBlockRequest, ProposeBlockResponse, ReadError,
    ValidateBlockRequest, ValidateBlockResponse,
};
use hotstuff::types::{StateUpdate, StateUpdates};

use crate::clients::Door;
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
    pub desk: Arc<Desk>,
    pub door: Arc<Door>,
    /// Bytes of data that fit into a block.
    pub block_data_bytes_max: usize,
}

/// The source of the commands of a schedule.
pub const SCHEDULE: u8 = u8::MAX;

/// What a command is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub source: u8,
    /// From 0 on, without a gap.
    pub turn: u64,
}

impl App for BenchApp {
    fn propose_block(&mut self, request: ProposeBlockRequest<'_>) -> ProposeBlockResponse {
        match self.desk.work() {
            Work::None => ProposeBlockResponse::Defer,
            Work::Blocks { data_bytes } => {
                let mut data = vec![0x5a; data_bytes.max(8)];
                data[..8].copy_from_slice(&now_ns().to_le_bytes());
                block(data, None)
            }
            Work::Commands(schedule) => match next_turn(request.block_tree, SCHEDULE) {
                Ok(next) => self.propose_due(&schedule, next),
                Err(_) => ProposeBlockResponse::Failed,
            },
            Work::Clients => match next_turn(request.block_tree, self.door.source()) {
                Ok(next) => self.propose_clients(next),
                Err(_) => ProposeBlockResponse::Failed,
            },
        }
    }

    fn validate_block(&mut self, request: ValidateBlockRequest<'_>) -> ValidateBlockResponse {
        let data = &request.proposed_block.data;
        let Some(mut commands) = commands_in(data).map(Iterator::peekable) else {
            return valid(None);
        };
        let source = commands.peek().map_or(SCHEDULE, |(first, _)| first.source);
        let Ok(mut turn) = next_turn(request.block_tree, source) else {
            return ValidateBlockResponse::Undecided;
        };
        for (number, _) in commands {
            if number != (Number { source, turn }) {
                return ValidateBlockResponse::Invalid;
            }
            turn += 1;
        }
        valid(Some(set_next(source, turn)))
    }
}

impl BenchApp {
    fn fits(&self) -> usize {
        self.block_data_bytes_max / COMMAND_BYTES
    }

    fn propose_clients(&self, next: u64) -> ProposeBlockResponse {
        let data = self.door.commands(next, self.fits());
        let count = (data.len() / COMMAND_BYTES) as u64;
        if count == 0 {
            return ProposeBlockResponse::Defer;
        }
        block(data, Some(set_next(self.door.source(), next + count)))
    }

    fn propose_due(&self, schedule: &Schedule, next: u64) -> ProposeBlockResponse {
        let now = now_ns();
        let fits = self.fits() as u64;
        let count = schedule.due(now).saturating_sub(next).min(fits);
        if count == 0 {
            self.desk.waits_for.store(next + 1, Ordering::Relaxed);
            return ProposeBlockResponse::Defer;
        }
        let mut data = vec![0x5a; count as usize * COMMAND_BYTES];
        let source = SCHEDULE;
        for (turn, command) in (next..).zip(data.chunks_exact_mut(COMMAND_BYTES)) {
            set_number(command, Number { source, turn });
            set_due(command, schedule.due_ns(turn, now));
        }
        block(data, Some(set_next(source, next + count)))
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

/// The key of the next turn of a source.
fn next_key(source: u8) -> Vec<u8> {
    vec![b'n', source]
}

fn next_turn(tree: &dyn BlockTreeSnapshot, source: u8) -> Result<u64, ReadError> {
    let value = tree.state(&next_key(source))?;
    Ok(value.and_then(|value| number(&value)).unwrap_or(0))
}

fn set_next(source: u8, next: u64) -> StateUpdates {
    vec![StateUpdate::Set {
        key: next_key(source),
        value: next.to_le_bytes().to_vec(),
    }]
}

/// Set in the number of each command. In a block without commands the time stands there, which
/// has no such bit before the year 2262.
const COMMAND_MARK: u64 = 1 << 63;

/// Where the source stands in the number.
const SOURCE_SHIFT: u32 = 48;

pub fn set_number(command: &mut [u8], number: Number) {
    let source = u64::from(number.source) << SOURCE_SHIFT;
    let number = COMMAND_MARK | source | number.turn;
    command[..8].copy_from_slice(&number.to_le_bytes());
}

pub fn set_due(command: &mut [u8], due_ns: u64) {
    command[8..16].copy_from_slice(&due_ns.to_le_bytes());
}

/// The number and the due time of each command in a block; `None` for a block that holds none.
pub fn commands_in(data: &[u8]) -> Option<impl Iterator<Item = (Number, u64)> + '_> {
    let commands = data.chunks_exact(COMMAND_BYTES).map(|command| {
        let at = |from: usize| number(&command[from..]).expect("a whole command");
        let number = Number {
            source: (at(0) >> SOURCE_SHIFT) as u8,
            turn: at(0) & ((1 << SOURCE_SHIFT) - 1),
        };
        (number, at(8))
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
