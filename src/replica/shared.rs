//! What the threads of one replica share, and how they begin and end.
//!
//! ```text
//!   stop() / halt()      stopping = true, wake Alice, the filter and all waiters
//!   Alice ends           her sender to the app goes:    the app's thread ends
//!   the filter ends      its sender to the sync server: the sync server ends
//!   the last of the four leaves: the queue of events closes: the events' thread ends
//! ```
//!
//! No thread waits for another one, so any of them may be the one that begins it.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::Sender;

use crate::algorithm::{EpochRecord, EPOCHS_KEPT};
use crate::block_tree::BlockTreeReader;
use crate::network::NetworkProvider;
use crate::types::{BlockHash, Epoch, Rank, ValidatorAddress, ValidatorSet};

use super::alice::ToAlice;
use super::clock::{self, Clock};
use super::events::EventQueue;
use super::inbox::Inbox;
use super::metrics::Counters;
use super::signals;
use super::waiters::Waiters;
use super::Info;

/// Everything that more than one thread of a replica touches.
pub(super) struct Shared {
    pub(super) clock: Clock,
    /// The validator it speaks for; none for a listener.
    pub(super) me: Option<ValidatorAddress>,
    /// The most bytes of any message of this chain.
    pub(super) message_bytes_max: usize,
    pub(super) network: Arc<dyn NetworkProvider>,
    pub(super) reader: BlockTreeReader,
    pub(super) counters: Counters,
    pub(super) events: EventQueue,
    pub(super) inbox: Inbox,
    pub(super) waiters: Waiters,
    pub(super) published: Published,
    pub(super) alice: Sender<ToAlice>,
    notified: AtomicBool,
    stopping: AtomicBool,
    halted: OnceLock<Halt>,
    /// Threads that are still there; those but the events' one.
    threads: AtomicUsize,
    workers: AtomicUsize,
}

/// Why the replica stopped itself.
pub(super) struct Halt {
    pub(super) time_unix_ns: u64,
    pub(super) reason: String,
}

/// Answers to one question that pass: the late one to an earlier question after the same block must
/// not take the place of the one to come.
const ANSWERS_MAX: u8 = 2;

/// What Alice lets others know, after each step that is on disk.
#[derive(Default)]
pub(super) struct Published {
    committed: AtomicU64,
    asked: Mutex<Option<(ValidatorAddress, BlockHash, u8)>>,
    place: Mutex<(Info, Place)>,
    /// The number of the last epoch, and the records of the last [`EPOCHS_KEPT`].
    epoch: AtomicU64,
    epochs: Mutex<VecDeque<EpochRecord>>,
}

/// Where Alice is, for the filter's window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: Rank,
    pub(super) highest_qc: Rank,
}

impl Published {
    /// Replaces what is known. True if more is committed: the caller wakes those who wait for it.
    pub(super) fn publish(&self, info: Info, place: Place) -> bool {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = (info, place);
        let height = info.committed_height.0;
        self.committed.swap(height, Ordering::SeqCst) != height
    }

    pub(super) fn info(&self) -> Info {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn place(&self) -> Place {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }

    /// An epoch has begun. Published before anything of it is said, so that no answer comes sooner.
    pub(super) fn begin_epoch(&self, record: EpochRecord) {
        let epoch = record.epoch.0;
        let mut epochs = self.epochs();
        if epochs.len() == EPOCHS_KEPT {
            epochs.pop_front();
        }
        epochs.push_back(record);
        self.epoch.store(epoch, Ordering::SeqCst);
    }

    /// The epochs after `known` that are still kept, oldest first; one atomic load if there are
    /// none.
    pub(super) fn epochs_after(&self, known: Epoch) -> Vec<EpochRecord> {
        if self.epoch.load(Ordering::SeqCst) <= known.0 {
            return Vec::new();
        }
        let epochs = self.epochs();
        let new = epochs.iter().filter(|record| record.epoch > known);
        new.cloned().collect()
    }

    fn epochs(&self) -> MutexGuard<'_, VecDeque<EpochRecord>> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one question whose answer is awaited: whom, and after which block. Published before it
    /// is sent.
    pub(super) fn asked(&self, peer: ValidatorAddress, after: BlockHash) {
        let asked = Some((peer, after, ANSWERS_MAX));
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    /// Whether an answer of `peer` after this block is awaited; then one less is.
    pub(super) fn take_asked(&self, peer: ValidatorAddress, after: BlockHash) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *asked {
            Some((asked, block, answers)) if (*asked, *block) == (peer, after) && *answers > 0 => {
                *answers -= 1;
                true
            }
            _ => false,
        }
    }
}

impl Shared {
    pub(super) fn new(
        me: Option<ValidatorAddress>,
        validators: &ValidatorSet,
        message_bytes_max: usize,
        network: Arc<dyn NetworkProvider>,
        reader: BlockTreeReader,
        alice: Sender<ToAlice>,
    ) -> Shared {
        Shared {
            clock: Clock::start(),
            me,
            message_bytes_max,
            network,
            reader,
            counters: Counters::new(validators),
            events: EventQueue::default(),
            inbox: Inbox::new(message_bytes_max),
            waiters: Waiters::default(),
            published: Published::default(),
            alice,
            notified: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            halted: OnceLock::new(),
            threads: AtomicUsize::new(0),
            workers: AtomicUsize::new(0),
        }
    }

    /// Sticky and cheap: of many calls before Alice looks, one reaches her.
    pub(super) fn notify(&self) {
        if !self.notified.swap(true, Ordering::SeqCst) {
            let _ = self.alice.try_send(ToAlice::Notified);
        }
    }

    /// Alice has seen it; from now on a notification is a new one.
    pub(super) fn clear_notified(&self) {
        self.notified.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Makes the filter look around.
    pub(super) fn wake_filter(&self) {
        self.inbox.wake();
        self.network.wake();
    }

    /// Asks all threads to end. Returns at once.
    pub(super) fn request_stop(&self) {
        if !self.stopping.swap(true, Ordering::SeqCst) {
            let _ = self.alice.try_send(ToAlice::Stop); // she looks at the flag, too
            self.wake_filter();
        }
        self.waiters.wake();
    }

    /// Stops for good, and keeps the first reason.
    pub(super) fn halt(&self, reason: String) {
        let _ = self.halted.set(Halt {
            time_unix_ns: clock::unix_ns(),
            reason,
        });
        self.events.close(); // the reason is told now, not when the last callback has returned
        self.request_stop();
    }

    pub(super) fn halt_reason(&self) -> Option<&Halt> {
        self.halted.get()
    }

    /// Whether all threads have gone, or there never were any.
    pub(super) fn is_quiet(&self) -> bool {
        self.threads.load(Ordering::SeqCst) == 0
    }

    /// Whether the caller is one of this replica's threads: in a callback, that is.
    pub(super) fn is_own_thread(&self) -> bool {
        OWNER.get() == self.name()
    }

    fn name(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}

thread_local! {
    /// The address of the replica that this thread belongs to.
    static OWNER: Cell<usize> = const { Cell::new(0) };
}

/// Which of the threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Worker,
    Events,
}

/// Starts a thread of the replica. If `body` fails or panics, the replica halts and says why.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    name: &'static str,
    role: Role,
    body: impl FnOnce(&Arc<Shared>) -> Result<(), String> + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let presence = Presence::enter(shared, role);
    let main = move || {
        let shared = &presence.shared;
        OWNER.set(shared.name());
        match catch_unwind(AssertUnwindSafe(|| body(shared))) {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => shared.halt(reason),
            Err(panic) => shared.halt(format!(
                "the thread {name} panicked: {}. This is a defect: report it, and restart the \
                 replica, which goes on from what is on disk",
                panic_text(&*panic)
            )),
        }
    };
    signals::with_all_blocked(|| Builder::new().name(name.to_owned()).spawn(main))
}

/// A thread is there. Dropped when all that it owned is gone.
struct Presence {
    shared: Arc<Shared>,
    role: Role,
}

impl Presence {
    fn enter(shared: &Arc<Shared>, role: Role) -> Presence {
        shared.threads.fetch_add(1, Ordering::SeqCst);
        if role == Role::Worker {
            shared.workers.fetch_add(1, Ordering::SeqCst);
        }
        Presence {
            shared: shared.clone(),
            role,
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let is_worker = self.role == Role::Worker;
        if is_worker && self.shared.workers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.events.close();
        }
        self.shared.threads.fetch_sub(1, Ordering::SeqCst);
        self.shared.waiters.wake();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_does_not_take_the_place_of_the_one_to_come() {
        let (published, peer) = (Published::default(), ValidatorAddress([1; 32]));
        let [before, after] = [1, 2].map(|byte| BlockHash([byte; 32]));
        published.asked(peer, before);
        published.asked(peer, after);
        assert!(!published.take_asked(peer, before), "late");
        let other = ValidatorAddress([2; 32]);
        assert!(!published.take_asked(other, after), "nobody asked it");
        for _ in 0..ANSWERS_MAX {
            assert!(published.take_asked(peer, after));
        }
        assert!(!published.take_asked(peer, after), "enough");
        published.asked(peer, after);
        assert!(published.take_asked(peer, after), "asked again");
    }
}
