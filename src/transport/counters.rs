//! What the transport counts: atomics while it runs, plain numbers in a snapshot.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::types::ValidatorAddress;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Numbers of one peer, or of all. They only rise, but for `connected` and
        /// `queued_bytes`, which say how things stand.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PeerCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl PeerCounters {
            /// Adds each number of `other`.
            pub fn add(&mut self, other: &PeerCounters) {
                $(self.$name += other.$name;)*
            }
        }

        /// [`PeerCounters`] in the making.
        #[derive(Default)]
        pub(super) struct Counters {
            $(pub $name: AtomicU64,)*
        }

        impl Counters {
            pub fn snapshot(&self) -> PeerCounters {
                PeerCounters { $($name: self.$name.load(Relaxed),)* }
            }

            /// Adds the numbers of a peer that is forgotten.
            pub fn absorb(&self, other: &PeerCounters) {
                $(self.$name.fetch_add(other.$name, Relaxed);)*
            }
        }
    };
}

counters! {
    /// Connections that are up and authenticated at both ends.
    connected,
    /// Bytes of messages that wait in the queues to be sent.
    queued_bytes,
    /// Bytes read from sockets, TLS included.
    bytes_in,
    /// Bytes written to sockets, TLS included.
    bytes_out,
    /// Complete messages received.
    messages_in,
    /// Messages handed to TLS to the last byte.
    messages_out,
    /// Small messages dropped: the peer was not connected, or the queue was full.
    dropped_urgent,
    /// Large messages dropped: the peer was not connected, or the queue was full, or the message
    /// was longer than `message_bytes_max`.
    dropped_bulk,
    /// Connections that came up.
    connects,
    /// Connections that went down after they were up.
    disconnects,
    /// Attempts to dial that did not reach the peer: refused, no route, no such host, time-out.
    unreachable,
    /// Connections whose other end had the wrong key, an unknown key, or no place left.
    refused,
    /// Connections that ended before both keys were proved, for any other reason.
    handshake_failures,
    /// Connections cut off because the peer broke the frame format, the length limit, or TLS.
    violations,
    /// Connections closed because nothing was heard for three heartbeats.
    silent,
}

impl Counters {
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}

/// All numbers of a [`TcpNetwork`](super::TcpNetwork) at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpCounters {
    /// All peers, those no longer known included, and the strangers that never became one.
    pub total: PeerCounters,
    /// Each peer that is known now: configured, connected to as a validator, or listening.
    pub peers: Vec<(ValidatorAddress, PeerCounters)>,
}

impl TcpCounters {
    /// The numbers of `peer`; all zero when it is not known.
    pub fn peer(&self, peer: ValidatorAddress) -> PeerCounters {
        let found = self.peers.iter().find(|(address, _)| *address == peer);
        found.map(|(_, counters)| *counters).unwrap_or_default()
    }
}
