//! Host threads that wait for something to become true: a commit, the stop, a halt.
//!
//! The one who makes it true pays one atomic load when nobody waits.

use std::sync::atomic::{fence, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::clock;

/// A condition variable over atomics.
#[derive(Default)]
pub(super) struct Waiters {
    waiting: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Waiters {
    /// Waits until `ready` says something, at most for `timeout`.
    pub(super) fn wait<T>(
        &self,
        timeout: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        if let Some(value) = ready() {
            return Some(value);
        }
        let deadline = clock::deadline(timeout);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted before it looks: either `wake` sees the count, or this sees the change.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let found = loop {
            if let Some(value) = ready() {
                break Some(value);
            }
            let Some(left) = left(deadline) else {
                break None;
            };
            guard = match left {
                Some(left) => {
                    let waited = self.changed.wait_timeout(guard, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(guard)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(guard);
        found
    }

    /// Makes all waiting threads look again. Call it after the change.
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
        }
    }
}

/// What is left of a wait: `None` when it is over, `Some(None)` when it has no end.
fn left(deadline: Option<Instant>) -> Option<Option<Duration>> {
    match deadline {
        None => Some(None),
        Some(end) => end
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
            .map(Some),
    }
}
