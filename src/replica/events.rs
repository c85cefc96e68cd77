//! What the operator is told: a bounded queue, and a thread that empties it into the host's
//! callback. Alice never waits for it: what does not fit is counted, and the count reported.
//!
//! ```text
//!   Alice --(one batch a step)--> [ at most EVENT_BATCHES_MAX ] --> hotstuff-events --> on_event
//! ```

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{bounded, Receiver, Sender, TrySendError};

use crate::algorithm::Event;

use super::shared::Shared;
use super::{clock, ReplicaEvent, ReplicaEventKind};

/// Steps whose events wait for the host.
pub(super) const EVENT_BATCHES_MAX: usize = 1_024;

/// The host's callback.
pub(super) type Handler = Box<dyn FnMut(ReplicaEvent) + Send>;

/// The events of one step.
pub(super) struct Batch {
    time_unix_ns: u64,
    /// How many were lost between the batch before and this one.
    lost_before: u64,
    events: Vec<Event>,
    warnings: Vec<String>,
}

/// The sending end. Without a callback it is closed from the beginning, and costs nothing.
#[derive(Default)]
pub(super) struct EventQueue {
    sender: Mutex<Option<Sender<Batch>>>,
    lost: AtomicU64,
}

impl EventQueue {
    /// Opens the queue for a callback.
    pub(super) fn open(&self) -> Receiver<Batch> {
        let (sender, receiver) = bounded(EVENT_BATCHES_MAX);
        *self.lock() = Some(sender);
        receiver
    }

    /// No more events: the thread ends when it has told the last one.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    /// Queues the events of one step, and says how many were lost.
    pub(super) fn report(&self, events: Vec<Event>, warnings: Vec<String>) -> u64 {
        let count = (events.len() + warnings.len()) as u64;
        if count == 0 {
            return 0;
        }
        let sender = self.lock();
        let Some(sender) = sender.as_ref() else {
            return 0;
        };
        let lost_before = self.lost.swap(0, Ordering::Relaxed);
        let time_unix_ns = clock::unix_ns();
        match sender.try_send(Batch {
            time_unix_ns,
            lost_before,
            events,
            warnings,
        }) {
            Ok(()) => 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(lost_before + count, Ordering::Relaxed);
                count
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Sender<Batch>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of the thread: every batch in order, then why the replica halted, if it did. That last
/// word needs no place in the queue, so it cannot be lost.
pub(super) fn run(shared: &Arc<Shared>, batches: &Receiver<Batch>, on_event: Handler) {
    let mut teller = Teller { on_event };
    for batch in batches {
        let time = batch.time_unix_ns;
        teller.tell_lost(time, batch.lost_before);
        for event in batch.events {
            teller.tell(time, ReplicaEventKind::Algorithm(event));
        }
        for warning in batch.warnings {
            teller.tell(time, ReplicaEventKind::Warning(warning));
        }
    }
    teller.tell_lost(
        clock::unix_ns(),
        shared.events.lost.swap(0, Ordering::Relaxed),
    );
    if let Some(halt) = shared.halt_reason() {
        teller.tell(
            halt.time_unix_ns,
            ReplicaEventKind::Fatal(halt.reason.clone()),
        );
    }
}

struct Teller {
    on_event: Handler,
}

impl Teller {
    fn tell_lost(&mut self, time_unix_ns: u64, lost: u64) {
        if lost > 0 {
            self.tell(time_unix_ns, ReplicaEventKind::Dropped(lost));
        }
    }

    /// A callback that panics loses this event, and gets the next one all the same.
    fn tell(&mut self, time_unix_ns: u64, kind: ReplicaEventKind) {
        let event = ReplicaEvent { time_unix_ns, kind };
        let _ = catch_unwind(AssertUnwindSafe(|| (self.on_event)(event)));
    }
}
