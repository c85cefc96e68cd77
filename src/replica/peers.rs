//! What each peer may take of this replica, for the filter: places in Alice's queue, one sync
//! request, and so much nonsense a second. A peer that takes more pays alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::types::{Time, ValidatorAddress};

/// Listeners with an account of their own; those beyond the maximum share one. Validators always
/// have one.
pub(super) const LISTENERS_MAX: usize = 2_048;
/// Messages of one validator on their way to Alice, or of all listeners together; fewer where there
/// are many validators.
pub(super) const IN_FLIGHT_MAX: usize = 256;
const IN_FLIGHT_MIN: usize = 16;
/// All places of Alice's queue, unless there are so many validators that their least shares make
/// it more.
const IN_FLIGHT_TOTAL: usize = 8_192;
/// Bytes of one share: so many messages of the greatest size.
const IN_FLIGHT_SIZES: usize = 4;
/// Invalid messages a peer may send in one [`INVALID_WINDOW`]; then it is not heard until the end.
pub(super) const INVALID_MAX: u32 = 64;
const INVALID_WINDOW: Duration = Duration::from_secs(1);
/// Old certificates are passed so rarely for one peer: they only matter to who is far behind.
const OLD_CERTIFICATE_INTERVAL: Duration = Duration::from_millis(100);

/// One peer's account.
#[derive(Default)]
pub(super) struct Peer {
    quota: Arc<Quota>,
    sync_busy: Arc<AtomicBool>,
    invalid: u32,
    window_began: Time,
    old_certificate: Option<Time>,
}

/// All accounts.
pub(super) struct Peers {
    messages_max: usize,
    bytes_max: usize,
    accounts: HashMap<ValidatorAddress, Peer>,
    validators: usize,
    /// For peers without an account of their own. All listeners have its share of the queue.
    others: Peer,
}

impl Peers {
    pub(super) fn new(validators: &[ValidatorAddress], message_bytes_max: usize) -> Peers {
        let account = |address: &ValidatorAddress| (*address, Peer::default());
        Peers {
            messages_max: in_flight_max(validators.len()),
            bytes_max: message_bytes_max.saturating_mul(IN_FLIGHT_SIZES),
            accounts: validators.iter().map(account).collect(),
            validators: validators.len(),
            others: Peer::default(),
        }
    }

    /// The account that pays for what `address` sends.
    pub(super) fn account(&mut self, address: &ValidatorAddress) -> &mut Peer {
        let is_known = self.accounts.contains_key(address);
        if !is_known && self.accounts.len() >= self.validators + LISTENERS_MAX {
            return &mut self.others;
        }
        let share = &self.others.quota;
        let listener = || Peer {
            quota: share.clone(),
            ..Peer::default()
        };
        self.accounts.entry(*address).or_insert_with(listener)
    }

    /// A place for a message of `bytes` bytes, if the peer's share has one left.
    pub(super) fn ticket(&mut self, address: &ValidatorAddress, bytes: usize) -> Option<Ticket> {
        let (messages_max, bytes_max) = (self.messages_max, self.bytes_max);
        let quota = &self.account(address).quota;
        // Only the filter's thread takes places, so nothing comes between the look and the taking.
        let fits = quota.messages.load(Ordering::Relaxed) < messages_max
            && quota.bytes.load(Ordering::Relaxed) + bytes <= bytes_max;
        fits.then(|| Ticket::take(quota, bytes))
    }
}

/// Places of one share in Alice's queue.
fn in_flight_max(validators: usize) -> usize {
    (IN_FLIGHT_TOTAL / (validators + 1)).clamp(IN_FLIGHT_MIN, IN_FLIGHT_MAX)
}

/// Places of all shares in Alice's queue.
pub(super) fn in_flight_total(validators: usize) -> usize {
    (validators + 1) * in_flight_max(validators)
}

impl Peer {
    /// Notes that the peer has sent something that no correct peer sends.
    pub(super) fn blame(&mut self, now: Time) {
        if now.since(self.window_began) >= INVALID_WINDOW {
            self.window_began = now;
            self.invalid = 0;
        }
        self.invalid += 1;
    }

    /// Whether nothing of the peer is read for now.
    pub(super) fn is_muted(&self, now: Time) -> bool {
        self.invalid >= INVALID_MAX && now.since(self.window_began) < INVALID_WINDOW
    }

    /// Whether an old certificate may pass now; then no other may for a while.
    pub(super) fn may_pass_old_certificate(&mut self, now: Time) -> bool {
        let waited = |last: Time| now.since(last) >= OLD_CERTIFICATE_INTERVAL;
        let may = self.old_certificate.is_none_or(waited);
        if may {
            self.old_certificate = Some(now);
        }
        may
    }

    /// The right to have one sync request answered; `None` while the last one is.
    pub(super) fn sync_turn(&self) -> Option<SyncTurn> {
        let is_free = !self.sync_busy.swap(true, Ordering::AcqRel);
        is_free.then(|| SyncTurn {
            busy: self.sync_busy.clone(),
        })
    }
}

#[derive(Default)]
struct Quota {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// A taken place. Whoever takes the message out of the queue drops it, and the place is free.
pub(super) struct Ticket {
    quota: Arc<Quota>,
    bytes: usize,
}

impl Ticket {
    fn take(quota: &Arc<Quota>, bytes: usize) -> Ticket {
        quota.messages.fetch_add(1, Ordering::Relaxed);
        quota.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ticket {
            quota: quota.clone(),
            bytes,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.quota.messages.fetch_sub(1, Ordering::Relaxed);
        self.quota.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A sync request in flight; dropped when it is answered.
pub(super) struct SyncTurn {
    busy: Arc<AtomicBool>,
}

impl Drop for SyncTurn {
    fn drop(&mut self) {
        self.busy.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(i: usize) -> ValidatorAddress {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&i.to_le_bytes());
        ValidatorAddress(bytes)
    }

    #[test]
    fn a_full_share_costs_its_own_peer_only() {
        let mut peers = Peers::new(&[address(1), address(2)], 1_000);
        let taken: Vec<_> = std::iter::from_fn(|| peers.ticket(&address(1), 1)).collect();
        assert_eq!(taken.len(), IN_FLIGHT_MAX);
        assert!(peers.ticket(&address(2), 1).is_some());
        drop(taken);
        assert!(peers.ticket(&address(1), 1).is_some());
        assert!(
            peers.ticket(&address(1), 4_001).is_none(),
            "more bytes than the share"
        );
    }

    #[test]
    fn strangers_are_tracked_up_to_a_maximum() {
        let mut peers = Peers::new(&[address(0)], 1_000);
        for i in 1..LISTENERS_MAX + 100 {
            peers.account(&address(i));
        }
        assert_eq!(peers.accounts.len(), LISTENERS_MAX + 1);
        assert!(peers.accounts.contains_key(&address(0)));
    }

    #[test]
    fn too_much_nonsense_mutes_for_a_while() {
        let mut peer = Peer::default();
        let now = Time(5_000_000_000);
        for _ in 0..INVALID_MAX {
            assert!(!peer.is_muted(now));
            peer.blame(now);
        }
        assert!(peer.is_muted(now));
        assert!(!peer.is_muted(now.after(INVALID_WINDOW)));
    }

    #[test]
    fn one_sync_request_at_a_time() {
        let peer = Peer::default();
        let turn = peer.sync_turn();
        assert!(turn.is_some());
        assert!(peer.sync_turn().is_none());
        drop(turn);
        assert!(peer.sync_turn().is_some());
    }
}
