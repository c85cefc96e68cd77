//! The app that is replicated: it makes blocks as it is told, and checks that commands come in
//! turn. Which one of each source is next is part of its state, so that no branch carries a command
//! twice. Sources are the schedule that all replicas know, and clients.

use std::collections::btree_map::{BTreeMap, Entry};
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
            Work::Clients => self
                .propose_clients(request.block_tree)
                .unwrap_or(ProposeBlockResponse::Failed),
        }
    }

    fn validate_block(&mut self, request: ValidateBlockRequest<'_>) -> ValidateBlockResponse {
        match updates(&request.proposed_block.data, request.block_tree) {
            Ok(Some(state_updates)) => ValidateBlockResponse::Valid {
                state_updates: Some(state_updates),
                validator_set_updates: None,
            },
            Ok(None) => ValidateBlockResponse::Invalid,
            Err(_) => ValidateBlockResponse::Undecided,
        }
    }
}

impl BenchApp {
    fn fits(&self) -> usize {
        self.block_data_bytes_max / COMMAND_BYTES
    }

    fn propose_clients(
        &self,
        tree: &dyn BlockTreeSnapshot,
    ) -> Result<ProposeBlockResponse, ReadError> {
        let data = self.door.commands(&mut Turns::of(tree), self.fits())?;
        if data.is_empty() {
            return Ok(ProposeBlockResponse::Defer);
        }
        Ok(match updates(&data, tree)? {
            Some(state_updates) => block(data, Some(state_updates)),
            None => ProposeBlockResponse::Failed,
        })
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
        block(data, Some(vec![set_next(source, next + count)]))
    }
}

fn block(data: Vec<u8>, state_updates: Option<StateUpdates>) -> ProposeBlockResponse {
    ProposeBlockResponse::Block {
        data,
        state_updates,
        validator_set_updates: None,
    }
}

/// What a block's commands make of the next turns; `None` if one of them is out of turn.
fn updates(data: &[u8], tree: &dyn BlockTreeSnapshot) -> Result<Option<StateUpdates>, ReadError> {
    let mut turns = Turns::of(tree);
    for (number, _) in commands_in(data).into_iter().flatten() {
        let next = turns.next(number.source)?;
        if *next != number.turn {
            return Ok(None);
        }
        *next += 1;
    }
    let all = turns.next.into_iter();
    let updates = all.map(|(source, next)| set_next(source, next));
    Ok(Some(updates.collect()))
}

/// The next turn of each source that a block has commands of.
pub struct Turns<'a> {
    tree: &'a dyn BlockTreeSnapshot,
    next: BTreeMap<u8, u64>,
}

impl Turns<'_> {
    fn of(tree: &dyn BlockTreeSnapshot) -> Turns<'_> {
        let next = BTreeMap::new();
        Turns { tree, next }
    }

    pub fn next(&mut self, source: u8) -> Result<&mut u64, ReadError> {
        Ok(match self.next.entry(source) {
            Entry::Occupied(next) => next.into_mut(),
            Entry::Vacant(unread) => unread.insert(next_turn(self.tree, source)?),
        })
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

fn set_next(source: u8, next: u64) -> StateUpdate {
    StateUpdate::Set {
        key: next_key(source),
        value: next.to_le_bytes().to_vec(),
    }
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
