//! Messages of the next epoch that come before its validators are known here, as raw bytes. They
//! cannot be judged yet, so anybody may have made them up: each peer has a few places, and all
//! peers together a few bytes. When those are full, whoever holds the most loses its oldest.

use std::collections::{BTreeMap, VecDeque};

use crate::types::ValidatorAddress;

/// Messages of one peer: a view or two of the new epoch.
pub(super) const EARLY_PER_PEER_MAX: usize = 16;
/// Messages of all peers.
pub(super) const EARLY_MESSAGES_MAX: usize = 4_096;
/// Bytes of all peers: so many messages of the greatest size.
const EARLY_SIZES_MAX: usize = 32;

/// What is held.
pub(super) struct Early {
    bytes_max: usize,
    messages: usize,
    bytes: usize,
    shares: BTreeMap<ValidatorAddress, Share>,
}

/// What is held of one peer, oldest first.
#[derive(Default)]
struct Share {
    queue: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Early {
    pub(super) fn new(message_bytes_max: usize) -> Early {
        Early {
            bytes_max: message_bytes_max.saturating_mul(EARLY_SIZES_MAX),
            messages: 0,
            bytes: 0,
            shares: BTreeMap::new(),
        }
    }

    /// Holds `message`, once. What gets no place is lost, as on a bad network.
    pub(super) fn hold(&mut self, from: ValidatorAddress, message: &[u8]) {
        let share = self.shares.entry(from).or_default();
        if share.queue.iter().any(|held| held == message) {
            return;
        }
        share.queue.push_back(message.to_vec());
        share.bytes += message.len();
        let has_too_many = share.queue.len() > EARLY_PER_PEER_MAX;
        self.messages += 1;
        self.bytes += message.len();
        if has_too_many {
            self.drop_oldest(from);
        }
        while self.messages > EARLY_MESSAGES_MAX || self.bytes > self.bytes_max {
            let most = self.shares.iter().max_by_key(|(_, share)| share.bytes);
            let Some((&greedy, _)) = most else { return };
            self.drop_oldest(greedy);
        }
    }

    /// Everything, each peer's messages in the order they came; nothing is held any more.
    pub(super) fn take(&mut self) -> Vec<(ValidatorAddress, Vec<u8>)> {
        (self.messages, self.bytes) = (0, 0);
        let shares = std::mem::take(&mut self.shares).into_iter();
        let messages = |(from, share): (_, Share)| share.queue.into_iter().map(move |m| (from, m));
        shares.flat_map(messages).collect()
    }

    fn drop_oldest(&mut self, from: ValidatorAddress) {
        let Some(share) = self.shares.get_mut(&from) else {
            return;
        };
        if let Some(oldest) = share.queue.pop_front() {
            share.bytes -= oldest.len();
            self.bytes -= oldest.len();
            self.messages -= 1;
        }
        if share.queue.is_empty() {
            self.shares.remove(&from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(i: usize) -> ValidatorAddress {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&i.to_le_bytes());
        ValidatorAddress(bytes)
    }

    #[test]
    fn a_peer_has_so_many_places_and_its_oldest_goes() {
        let mut early = Early::new(1_000);
        for i in 0..=EARLY_PER_PEER_MAX {
            early.hold(peer(1), &[i as u8]);
            early.hold(peer(1), &[i as u8]); // the same again takes no place
        }
        early.hold(peer(2), b"other");
        let taken = early.take();
        assert_eq!(taken.len(), EARLY_PER_PEER_MAX + 1);
        assert_eq!(taken[0], (peer(1), vec![1]));
        assert_eq!(taken[EARLY_PER_PEER_MAX], (peer(2), b"other".to_vec()));
        assert!(early.take().is_empty());
        assert_eq!((early.messages, early.bytes), (0, 0));
    }

    #[test]
    fn whoever_holds_the_most_pays() {
        let mut early = Early::new(100);
        early.hold(peer(1), b"a vote");
        for i in 0..2 * EARLY_SIZES_MAX {
            early.hold(peer(2 + i % 4), &[i as u8; 100]);
        }
        assert!(early.bytes <= 100 * EARLY_SIZES_MAX);
        let taken = early.take();
        assert!(taken.contains(&(peer(1), b"a vote".to_vec())));
    }

    #[test]
    fn a_crowd_has_so_many_places() {
        let mut early = Early::new(1_000);
        for i in 0..EARLY_MESSAGES_MAX + 50 {
            early.hold(peer(i), b"x");
        }
        assert_eq!(early.take().len(), EARLY_MESSAGES_MAX);
    }
}
