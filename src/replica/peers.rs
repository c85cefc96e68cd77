//! What each peer may take of this replica, for the filter: places in Alice's queue, one sync
//! request, and so much nonsense a second. A peer that takes more pays alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::types::limits::VALIDATORS_MAX;
use crate::types::{Time, ValidatorAddress, ValidatorSet};

/// Listeners with an account of their own; those beyond the maximum share one. Validators always
/// have one.
pub(super) const LISTENERS_MAX: usize = 2_048;
/// Messages of one validator on their way to Alice, or of all listeners together; fewer where there
/// are many validators.
pub(super) const IN_FLIGHT_MAX: usize = 256;
/// Places of all shares in Alice's queue, however many validators there will be.
pub(super) const IN_FLIGHT_TOTAL: usize = 8 * (VALIDATORS_MAX + 1);
/// Bytes of one share: so many messages of the greatest size.
const IN_FLIGHT_SIZES: usize = 4;
/// Invalid messages a peer may send in one [`INVALID_WINDOW`]; then it is not heard until the end.
pub(super) const INVALID_MAX: u32 = 64;
const INVALID_WINDOW: Duration = Duration::from_secs(1);
/// Old certificates, and signs of later epochs, are looked at so rarely for one peer: they only
/// matter to who is behind.
const RARE_INTERVAL: Duration = Duration::from_millis(100);

/// One peer's account.
#[derive(Default)]
pub(super) struct Peer {
    quota: Arc<Quota>,
    sync_busy: Arc<AtomicBool>,
    invalid: u32,
    window_began: Time,
    old_certificate: Option<Time>,
    hint: Option<Time>,
    epoch_end: Option<Time>,
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
    pub(super) fn new(validators: &ValidatorSet, message_bytes_max: usize) -> Peers {
        let mut peers = Peers {
            messages_max: 0,
            bytes_max: message_bytes_max.saturating_mul(IN_FLIGHT_SIZES),
            accounts: HashMap::new(),
            validators: 0,
            others: Peer::default(),
        };
        peers.set_validators(validators);
        peers
    }

    /// The validators are others from now on. Who was one and is not shares the listeners' places;
    /// what is on its way keeps the place it has. Too many who were, and all listeners begin anew.
    pub(super) fn set_validators(&mut self, validators: &ValidatorSet) {
        for (address, peer) in &mut self.accounts {
            let shares = Arc::ptr_eq(&peer.quota, &self.others.quota);
            match (validators.contains(address), shares) {
                (true, true) => peer.quota = Arc::default(),
                (false, false) => peer.quota = self.others.quota.clone(),
                _ => {}
            }
        }
        for member in validators.members() {
            self.accounts.entry(member.address).or_default();
        }
        if self.accounts.len() > validators.len() + LISTENERS_MAX {
            self.accounts
                .retain(|address, _| validators.contains(address));
        }
        self.messages_max = in_flight_max(validators.len());
        self.validators = validators.len();
    }

    /// The account that pays for what `address` sends.
    pub(super) fn account(&mut self, address: &ValidatorAddress) -> &mut Peer {
        let is_full = self.accounts.len() >= self.validators + LISTENERS_MAX;
        if is_full && !self.accounts.contains_key(address) {
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
    (IN_FLIGHT_TOTAL / (validators + 1)).min(IN_FLIGHT_MAX)
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
        is_rare(&mut self.old_certificate, now)
    }

    /// Whether a message of a later epoch may pass as a sign of it; then no other may for a while.
    pub(super) fn may_hint(&mut self, now: Time) -> bool {
        is_rare(&mut self.hint, now)
    }

    /// Whether a message of a later epoch may be searched for the end of this one.
    pub(super) fn may_end_epoch(&mut self, now: Time) -> bool {
        is_rare(&mut self.epoch_end, now)
    }

    /// The right to have one sync request answered; `None` while the last one is.
    pub(super) fn sync_turn(&self) -> Option<SyncTurn> {
        let is_free = !self.sync_busy.swap(true, Ordering::AcqRel);
        is_free.then(|| SyncTurn {
            busy: self.sync_busy.clone(),
        })
    }
}

fn is_rare(last: &mut Option<Time>, now: Time) -> bool {
    let is_rare = last.is_none_or(|last| now.since(last) >= RARE_INTERVAL);
    if is_rare {
        *last = Some(now);
    }
    is_rare
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
    use crate::types::Validator;

    fn address(i: usize) -> ValidatorAddress {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&i.to_le_bytes());
        ValidatorAddress(bytes)
    }

    #[test]
    fn a_full_share_costs_its_own_peer_only() {
        let mut peers = Peers::new(&set(1..=2), 1_000);
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

    fn set(numbers: impl IntoIterator<Item = usize>) -> ValidatorSet {
        let member = |i| Validator {
            address: address(i),
            power: 1,
        };
        ValidatorSet::new(numbers.into_iter().map(member)).unwrap()
    }

    #[test]
    fn validators_come_and_go() {
        let mut peers = Peers::new(&set([1, 2]), 1_000);
        let listeners: Vec<_> = std::iter::from_fn(|| peers.ticket(&address(3), 1)).collect();
        assert!(peers.ticket(&address(4), 1).is_none(), "one share for all");
        peers.set_validators(&set([2, 3]));
        assert!(peers.ticket(&address(3), 1).is_some(), "a share of its own");
        assert!(peers.ticket(&address(1), 1).is_none(), "a listener");
        drop(listeners);
        assert!(peers.ticket(&address(1), 1).is_some());
        peers.set_validators(&set(0..VALIDATORS_MAX));
        let places = (VALIDATORS_MAX + 1) * peers.messages_max;
        assert!(peers.messages_max > 0 && places <= IN_FLIGHT_TOTAL);
    }

    #[test]
    fn strangers_are_tracked_up_to_a_maximum() {
        let mut peers = Peers::new(&set(0..1), 1_000);
        for i in 1..LISTENERS_MAX + 100 {
            peers.account(&address(i));
        }
        assert_eq!(peers.accounts.len(), LISTENERS_MAX + 1);
        assert!(peers.accounts.contains_key(&address(0)));
    }

    #[test]
    fn past_validators_are_tracked_up_to_a_maximum() {
        let mut peers = Peers::new(&set(0..1), 1_000);
        let first = |epoch: usize| epoch * VALIDATORS_MAX / 2;
        for epoch in 1..=2 * LISTENERS_MAX / VALIDATORS_MAX + 4 {
            peers.set_validators(&set(first(epoch)..first(epoch + 1)));
            let most = VALIDATORS_MAX / 2 + LISTENERS_MAX;
            assert!(peers.accounts.len() <= most);
        }
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
