//! Messages that the host pushes in, for networks without a `receive` of their own.
//!
//! Bounded per peer and in all: a peer that floods fills its own share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::types::ValidatorAddress;

/// Messages of one peer that wait for the filter.
pub(super) const INBOX_PER_PEER_MAX: usize = 256;
/// Messages of all peers that wait for the filter.
pub(super) const INBOX_MESSAGES_MAX: usize = 8_192;
/// Their bytes, of one peer: so many messages of the greatest size.
const PEER_SIZES_MAX: usize = 2;
/// Their bytes, of all peers: so many messages of the greatest size.
const SIZES_MAX: usize = 64;

/// The queue.
pub(super) struct Inbox {
    message_bytes_max: usize,
    len: AtomicUsize,
    state: Mutex<State>,
    pushed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(ValidatorAddress, Vec<u8>)>,
    bytes: usize,
    /// Messages and bytes of each peer that has any.
    shares: BTreeMap<ValidatorAddress, (usize, usize)>,
    is_woken: bool,
}

impl Inbox {
    pub(super) fn new(message_bytes_max: usize) -> Inbox {
        let len = AtomicUsize::new(0);
        Inbox {
            message_bytes_max,
            len,
            state: Mutex::default(),
            pushed: Condvar::new(),
        }
    }

    /// Copies `message` into the queue, unless the peer's share or the whole of it is full.
    pub(super) fn push(&self, from: ValidatorAddress, message: &[u8]) -> bool {
        let mut state = self.lock();
        let (messages, bytes) = state.shares.get(&from).copied().unwrap_or_default();
        let share_bytes_max = self.message_bytes_max.saturating_mul(PEER_SIZES_MAX);
        let bytes_max = self.message_bytes_max.saturating_mul(SIZES_MAX);
        let fits = messages < INBOX_PER_PEER_MAX
            && bytes + message.len() <= share_bytes_max
            && state.queue.len() < INBOX_MESSAGES_MAX
            && state.bytes + message.len() <= bytes_max;
        if fits {
            state
                .shares
                .insert(from, (messages + 1, bytes + message.len()));
            state.bytes += message.len();
            state.queue.push_back((from, message.to_vec()));
            self.len.store(state.queue.len(), Ordering::SeqCst);
            drop(state);
            self.pushed.notify_one();
        }
        fits
    }

    /// The oldest message. One atomic load when there is none.
    pub(super) fn pop(&self) -> Option<(ValidatorAddress, Vec<u8>)> {
        if self.is_empty() {
            return None;
        }
        let mut state = self.lock();
        let (from, message) = state.queue.pop_front()?;
        self.len.store(state.queue.len(), Ordering::SeqCst);
        state.bytes -= message.len();
        let (messages, bytes) = state.shares.remove(&from).unwrap_or_default();
        if messages > 1 {
            state
                .shares
                .insert(from, (messages - 1, bytes - message.len()));
        }
        Some((from, message))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::SeqCst) == 0
    }

    /// Waits for a message or a wake, at most for `timeout`.
    pub(super) fn wait(&self, timeout: Duration) {
        let mut state = self.lock();
        if state.queue.is_empty() && !state.is_woken {
            let waited = self.pushed.wait_timeout(state, timeout);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_woken = false;
    }

    /// Ends a wait; if nobody waits, the next one.
    pub(super) fn wake(&self) {
        self.lock().is_woken = true;
        self.pushed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_fills_its_own_share() {
        let inbox = Inbox::new(1_000);
        let flooder = ValidatorAddress([1; 32]);
        let other = ValidatorAddress([2; 32]);
        for _ in 0..INBOX_PER_PEER_MAX {
            assert!(inbox.push(flooder, b"x"));
        }
        assert!(!inbox.push(flooder, b"x"), "one more than its share");
        assert!(inbox.push(other, b"y"));
        assert_eq!(inbox.pop(), Some((flooder, b"x".to_vec())));
        assert!(inbox.push(flooder, b"x"), "a place was freed");
    }

    #[test]
    fn large_messages_are_counted_by_bytes() {
        let inbox = Inbox::new(10);
        let peer = ValidatorAddress([1; 32]);
        assert!(inbox.push(peer, &[0; 10]));
        assert!(inbox.push(peer, &[0; 10]));
        assert!(!inbox.push(peer, &[0; 1]));
        while inbox.pop().is_some() {}
        assert!(inbox.push(peer, &[0; 10]));
        assert!(inbox.lock().shares.len() == 1);
    }
}
