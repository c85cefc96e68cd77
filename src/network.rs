//! The network, as a replica sees it (floor 2): bytes out, bytes in, and the key of the validator
//! at the other end. Whoever brings a transport implements [`NetworkProvider`]; the TCP transport
//! that comes with the library is one like any other.

use std::time::Duration;

use crate::types::ValidatorAddress;

/// A transport between replicas.
///
/// # Threads
/// `send`, `broadcast`, `connect`, `disconnect` and `wake` may be called from several threads at
/// once, also while `receive` waits. `receive` is called from one thread only.
pub trait NetworkProvider: Send + Sync {
    /// `peer` is a validator from now on: keep a connection to it.
    fn connect(&self, peer: ValidatorAddress);

    /// `peer` is a validator no longer, and the epoch without it is well under way. It may still
    /// follow the chain, as a listener.
    fn disconnect(&self, peer: ValidatorAddress);

    /// Queues `message` for `peer`. Never blocks; may drop it, the protocol sends again.
    fn send(&self, peer: ValidatorAddress, message: &[u8]);

    /// Queues `message` for every connected peer but oneself. Never blocks; may drop it.
    fn broadcast(&self, message: &[u8]);

    /// The next message, and the authenticated key of the peer that sent it; `None` when `timeout`
    /// has passed or [`wake`](NetworkProvider::wake) was called.
    fn receive(&self, timeout: Duration) -> Option<(ValidatorAddress, Vec<u8>)>;

    /// Makes a waiting `receive` return; if none waits, the next one returns at once.
    fn wake(&self);
}
