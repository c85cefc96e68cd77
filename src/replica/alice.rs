//! Alice, the thread that runs the algorithm. Her whole loop:
//!
//! ```text
//!   next input, or TimerExpired at the deadline
//!     --> step            the questions for the app go out at once
//!     --> gather          while nobody waits for it, the step takes in what comes next
//!     --> persist         one transaction; a failure ends the replica
//!     --> sign, send      speak-after-persist; own votes are the next inputs
//!     --> publish         for info, the filter's window, and those who wait for commits; a new
//!                         epoch's validators before anything is sent to them
//! ```
//!
//! Group commit: a step that speaks is persisted at once. A quiet one that has something to write
//! is held for a moment, for the input that makes it speak: the certificate that ends a view, the
//! proposal that came with it and the vote for it are one transaction. The moment is measured in
//! transactions of the disk at hand.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError};

use crate::algorithm::{
    Algorithm, Dispatch, Effect, EpochRecord, Event, Input, SignError, Signer, Step, To, Write,
};
use crate::app::BlockTreeSnapshot;
use crate::block_tree::{BlockTree, BlockTreeReader, Unwritten};
use crate::messages::{Message, ProgressMessage, SyncMessage, Vote};
use crate::pacemaker::Pacemaker;
use crate::types::{codec, Block, BlockHash, StateUpdate, Time};

use super::app_thread::{no_answer, Question};
use super::connections::Connections;
use super::peers::Ticket;
use super::shared::{Place, Shared};
use super::Info;

/// How long a quiet step may wait for the input that makes it speak: so many transactions of the
/// disk at hand (of the votes that the next leader waits for, and of its own proposal, each beside
/// those of the others) and the way of a message, at most [`GROUP_COMMIT_WAIT_MAX`]. One that is
/// persisted a little too soon is paid for twice: the next step waits for its sync.
const GROUP_COMMIT_WAIT_TRANSACTIONS: u32 = 4;
const GROUP_COMMIT_WAIT_MESSAGE: Duration = Duration::from_millis(1);
pub(super) const GROUP_COMMIT_WAIT_MAX: Duration = Duration::from_millis(20);
/// Own votes on their way to the filter.
pub(super) const OWN_VOTES_MAX: usize = 64;
/// Inputs that one transaction takes in.
pub(super) const GROUP_INPUTS_MAX: usize = 64;
/// Bytes of blocks and updates that one transaction takes in before it is closed.
pub(super) const GROUP_BYTES_MAX: usize = 1 << 20;

/// Inputs that are taken although the deadline has passed: after a slow disk, what ends the view
/// may have come in time. Then the timer expires, however much there is to do.
pub(super) const LATE_INPUTS_MAX: usize = 64;

/// What comes to Alice.
pub(super) enum ToAlice {
    Input {
        /// Boxed: her queue has places for all validators that there may ever be.
        input: Box<Input>,
        /// The peer's place in the queue, free again when Alice has taken the input.
        ticket: Option<Ticket>,
    },
    /// Look whether the host has called `notify`.
    Notified,
    /// Look whether the replica stops.
    Stop,
}

/// The thread's state, but for the algorithm, which travels through the steps.
pub(super) struct Alice {
    pub(super) shared: Arc<Shared>,
    pub(super) tree: BlockTree,
    pub(super) reader: BlockTreeReader,
    pub(super) signer: Option<Arc<dyn Signer>>,
    pub(super) pacemaker: Arc<dyn Pacemaker>,
    pub(super) inputs: Receiver<ToAlice>,
    pub(super) app: Sender<Question>,
    /// Own votes, and answers that need no app: before anything else.
    pub(super) own: VecDeque<Input>,
    /// Own votes, for the filter, which would else check their signatures in certificates.
    pub(super) own_votes: Sender<Vote>,
    /// Inputs taken in a row after the deadline.
    pub(super) late: usize,
    /// What a transaction takes, lately.
    pub(super) transaction_time: Duration,
    pub(super) connections: Connections,
    pub(super) buffer: Vec<u8>,
}

impl Alice {
    /// Until the replica stops, or must: then the reason.
    pub(super) fn run(mut self, recovered: Step) -> Result<(), String> {
        let mut step = self.gather(recovered);
        loop {
            let algorithm = self.settle(step)?;
            let Some(next) = self.next_step(algorithm) else {
                return Ok(());
            };
            step = self.gather(next);
        }
    }

    /// Waits for something to happen. `None` when the replica stops.
    fn next_step(&mut self, algorithm: Algorithm) -> Option<Step> {
        let deadline = algorithm.deadline();
        while !self.shared.is_stopping() {
            if self.late < LATE_INPUTS_MAX {
                if let Some(input) = self.next_input(deadline) {
                    let now = self.shared.clock.now();
                    self.late = if now < deadline { 0 } else { self.late + 1 };
                    return Some(algorithm.step(now, input));
                }
            }
            let now = self.shared.clock.now();
            if deadline <= now {
                self.late = 0;
                return Some(algorithm.step(now, Input::TimerExpired));
            }
        }
        None
    }

    /// Group commit: lets `step` grow until it speaks, is large enough, or has waited enough.
    fn gather(&mut self, mut step: Step) -> Step {
        let began = self.shared.clock.now();
        let mut written = Written::default();
        for _ in 0..GROUP_INPUTS_MAX {
            self.ask_app(&mut step);
            let is_full = written.bytes(&step) >= GROUP_BYTES_MAX;
            let is_done = !step.is_quiet() || step.writes().is_empty() || is_full;
            if is_done && self.own.is_empty() {
                return step;
            }
            let until = began.after(self.group_commit_wait()).min(step.deadline());
            let Some(input) = self.next_input(until) else {
                return step;
            };
            step = step.then(self.shared.clock.now(), input);
        }
        self.ask_app(&mut step);
        step
    }

    fn group_commit_wait(&self) -> Duration {
        let disk = self.transaction_time * GROUP_COMMIT_WAIT_TRANSACTIONS;
        (disk + GROUP_COMMIT_WAIT_MESSAGE).min(GROUP_COMMIT_WAIT_MAX)
    }

    /// The next input that comes before `until`, or that is there already.
    fn next_input(&mut self, until: Time) -> Option<Input> {
        if let Some(input) = self.own.pop_front() {
            return Some(input);
        }
        let taken = match self.inputs.try_recv() {
            Ok(taken) => taken,
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => self.await_input(until)?,
        };
        match taken {
            ToAlice::Input { input, ticket } => {
                drop(ticket);
                Some(*input)
            }
            ToAlice::Notified => {
                self.shared.clear_notified();
                Some(Input::Notify)
            }
            ToAlice::Stop => None,
        }
    }

    fn await_input(&self, until: Time) -> Option<ToAlice> {
        if until <= self.shared.clock.now() {
            return None;
        }
        let received = match self.shared.clock.instant(until) {
            Some(instant) => self.inputs.recv_deadline(instant),
            None => self
                .inputs
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
        };
        received.ok()
    }

    /// Sends the step's questions to the app, with the state as of each parent.
    fn ask_app(&mut self, step: &mut Step) {
        for effect in step.take_effects() {
            if let Err(effect) = self.ask(effect, step.writes()) {
                self.shared.counters.app_failures.add(1);
                self.own.push_back(no_answer(effect));
            }
        }
    }

    #[allow(clippy::result_large_err)] // the question comes back
    fn ask(&self, effect: Effect, writes: &[Write]) -> Result<(), Effect> {
        let parent = match &effect {
            Effect::ProposeBlock { prev_block, .. } => *prev_block,
            Effect::ValidateBlock { block, .. } => block.header.parent(),
        };
        let unwritten: Vec<Unwritten<'_>> = writes.iter().filter_map(unwritten).collect();
        match self.reader.snapshot_at(&parent, &unwritten) {
            Ok(Some(mut snapshot)) => {
                if let Some(begun) = writes.iter().rev().find_map(begun) {
                    snapshot = snapshot.in_epoch(begun.clone());
                }
                self.app
                    .try_send(Question { effect, snapshot })
                    .map_err(|refused| match refused {
                        TrySendError::Full(question) | TrySendError::Disconnected(question) => {
                            question.effect
                        }
                    })
            }
            Ok(None) | Err(_) => Err(effect),
        }
    }

    /// Makes the step durable, and says what it says.
    fn settle(&mut self, step: Step) -> Result<Algorithm, String> {
        if let Some(why) = self.pacemaker.failure() {
            return Err(why);
        }
        let is_written = !step.writes().is_empty();
        let began = self.shared.clock.now();
        let persisted = step.persist(&mut self.tree);
        let (algorithm, outbox) =
            persisted.map_err(|error| format!("the block tree could not be written: {error}"))?;
        if is_written {
            self.note_transaction(self.shared.clock.now().since(began));
        }

        let reader = &self.reader;
        let mut stored = |hash: &BlockHash| stored_block(reader, hash);
        let dispatch = outbox.sign(self.signer.as_deref(), &mut stored);
        let Dispatch {
            messages,
            inputs,
            events,
            unsigned,
        } = dispatch;
        for vote in inputs.iter().filter_map(own_vote) {
            let _ = self.own_votes.try_send(*vote); // without it, a signature is checked
        }
        events.iter().for_each(|event| self.follow(event));
        let others = others(&algorithm);
        messages
            .iter()
            .for_each(|(to, message)| self.send(*to, message, others));
        self.own.extend(inputs);
        self.publish(&algorithm);
        self.report(events, unsigned)?;
        Ok(algorithm)
    }

    /// A new epoch has other validators: the filter is to know them before they are heard.
    fn follow(&mut self, event: &Event) {
        if let Event::EpochStarted(record) = event {
            let network = &*self.shared.network;
            self.connections.begin_epoch(record, network);
            self.shared.published.begin_epoch(record.clone());
            self.shared.wake_filter();
        }
    }

    fn note_transaction(&mut self, took: Duration) {
        self.shared.counters.transactions.add(1);
        self.transaction_time = (self.transaction_time * 7 + took) / 8; // a running mean
    }

    fn send(&mut self, to: To, message: &Message, others: u64) {
        let me = self.shared.me;
        if let (To::Peer(peer), Message::Sync(SyncMessage::Request(request))) = (to, message) {
            let after = request.highest_committed_block;
            self.shared.published.asked(peer, after);
        }
        codec::encode_into(message, &mut self.buffer);
        match to {
            To::Peer(peer) if me == Some(peer) => {}
            To::Peer(peer) => {
                self.shared.network.send(peer, &self.buffer);
                self.shared.counters.sent(self.buffer.len(), 1);
            }
            To::All => {
                self.shared.network.broadcast(&self.buffer);
                self.shared.counters.sent(self.buffer.len(), others);
            }
        }
    }

    fn publish(&mut self, algorithm: &Algorithm) {
        let at = algorithm.view();
        let highest_qc = algorithm.highest_qc().rank();
        let me = self.shared.me;
        let info = Info {
            epoch: at.epoch,
            view: at.view,
            committed_height: algorithm.committed().height,
            highest_qc_view: highest_qc.view,
            sync_target_height: algorithm.sync_target().unwrap_or_default(),
            is_validator: me.is_some_and(|me| algorithm.validator_set().contains(&me)),
            is_silenced: algorithm.has_twin(),
            is_halted: false,
        };
        let place = Place { at, highest_qc };
        self.connections.settle(place, &*self.shared.network);
        if self.shared.published.publish(info, place) {
            self.shared.waiters.wake();
        }
    }

    /// Counts and reports. An event that leaves no way to go on is an error.
    fn report(&self, events: Vec<Event>, unsigned: Vec<SignError>) -> Result<(), String> {
        events
            .iter()
            .for_each(|event| self.shared.counters.count(event));
        let fatal = events.iter().find_map(fatal);
        let warning = |SignError(why)| format!("the signer did not sign: {why}");
        let warnings = unsigned.into_iter().map(warning).collect();
        let lost = self.shared.events.report(events, warnings);
        self.shared.counters.events_dropped.add(lost);
        fatal.map_or(Ok(()), Err)
    }
}

fn own_vote(input: &Input) -> Option<&Vote> {
    match input {
        Input::Progress { message, .. } => match message.message() {
            ProgressMessage::Vote(vote) => Some(vote),
            _ => None,
        },
        _ => None,
    }
}

/// The validators of the epoch but oneself.
fn others(algorithm: &Algorithm) -> u64 {
    let own = u64::from(algorithm.is_validator());
    algorithm.validator_set().len() as u64 - own
}

/// Why a replica must halt after `event`.
fn fatal(event: &Event) -> Option<String> {
    match event {
        Event::Diverged {
            block,
            height,
            is_committed: true,
        } => Some(format!(
            "the app calls the committed block {block} at height {height} invalid: this replica's \
             app and the others' are not the same function. Compare their versions; then start \
             the right one in a new directory, with a new key or as a listener"
        )),
        _ => None,
    }
}

fn unwritten(write: &Write) -> Option<Unwritten<'_>> {
    match write {
        Write::InsertBlock {
            hash,
            block,
            state_updates,
        } => Some(Unwritten {
            hash: *hash,
            parent: block.header.parent(),
            block,
            state_updates,
        }),
        _ => None,
    }
}

fn begun(write: &Write) -> Option<&EpochRecord> {
    match write {
        Write::ChangeEpoch(record) => Some(record),
        _ => None,
    }
}

/// A block of one's own that was proposed before a crash.
fn stored_block(reader: &BlockTreeReader, hash: &BlockHash) -> Option<Block> {
    reader.snapshot().ok()?.block(hash).ok()?
}

/// The bytes of a growing step, each write counted once.
#[derive(Default)]
struct Written {
    counted: usize,
    bytes: usize,
}

impl Written {
    fn bytes(&mut self, step: &Step) -> usize {
        let new = &step.writes()[self.counted..];
        self.bytes += new.iter().map(write_bytes).sum::<usize>();
        self.counted = step.writes().len();
        self.bytes
    }
}

fn write_bytes(write: &Write) -> usize {
    match write {
        Write::InsertBlock {
            block,
            state_updates,
            ..
        } => {
            let update =
                |update: &StateUpdate| update.key().len() + update.value().map_or(0, <[u8]>::len);
            block.data.len() + state_updates.iter().map(update).sum::<usize>()
        }
        _ => 0,
    }
}
