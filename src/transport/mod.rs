//! The TCP transport that comes with the library: [`TcpNetwork`], a
//! [`NetworkProvider`] like any other. It carries bytes between keys, and knows nothing of what
//! they mean.
//!
//! * **Who**: TLS 1.3 with raw public keys (RFC 7250). Each end proves an Ed25519 key: the one of
//!   its validator, or a transport key by which the others know it. Peers of the configuration and
//!   those `connect`ed to are let in; unknown keys only as far as `max_listeners` allows.
//! * **How many**: one connection per pair. The end with the smaller address dials; the other one
//!   does so only if it is not dialed within a second. Lost ones are dialed again with back-off and
//!   jitter, at most `reconnect_max` apart.
//! * **In what order**: within a lane as sent. Messages of at most 8 KiB (votes, time-outs) are
//!   *urgent* and overtake larger ones, which go as *bulk*, a fragment at a time. Nothing is
//!   promised to arrive; what arrives is whole, and from the key it says.
//! * **How much**: everything has a limit in [`TcpConfig`] or in `config.rs`. Towards a peer that
//!   does not read, its queue fills and its messages are dropped: of the urgent lane the oldest (a
//!   stale vote is useless), of the bulk lane the newest. From a peer that sends faster than
//!   `receive` is called, the socket is not read, and TCP slows the peer down.
//!
//! ```text
//!  any thread                                          the thread that calls receive
//!  send, broadcast                                     +--------------------------+
//!      |            outbox (a lock)                    | poll: accept, dial,      |
//!      |        +--------------------+                 | handshakes, timers, read |
//!      +------->| urgent  v v v v    |-- 64 KiB -+     +----+---------------------+
//!      |        | bulk    BBBBBB BBB |  window   |          |            ^ messages
//!      |        +--------------------+           v          v            |
//!      |                                +------------------------+  +----+----+
//!      +-- try_lock, flush ------------>| TLS | non-blocking     |  | decoder |
//!          (no hop to another thread)   |     | socket           |  | a lane  |
//!                                       +------------------------+  | each    |
//!                                          wire (a lock)      |     +---------+
//!                                                             +--------^
//!
//!  on the wire    | v | v | B(more) | v | B(more) | v | v | B | ping |  frames in TLS records
//!  one frame      | length, lane, more, ping: 4 bytes | payload, at most 16 KiB with header |
//! ```
//!
//! A message normally leaves on the thread that sends it. What the socket does not take is carried
//! on by whoever calls `receive` when the socket has room: without calls of `receive` nothing is
//! accepted, dialed, read or kept alive. There is no thread of its own, but for one that looks up a
//! host name and ends.
//!
//! # Limits known
//! What the kernel has accepted cannot be overtaken: its send buffer grows to about what the path
//! holds. A peer that stops calling `receive` for three heartbeats is disconnected.

mod config;
mod counters;
mod dial;
mod driver;
mod frame;
mod hub;
mod keys;
mod links;
mod outbox;
mod peer;
mod seat;
mod tls;
mod wire;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fmt, io};

use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};

pub use config::{TcpConfig, TcpError, FRAGMENT_BYTES_MAX, URGENT_BYTES_MAX};
pub use counters::{PeerCounters, TcpCounters};

use crate::network::NetworkProvider;
use crate::types::{KeyPair, ValidatorAddress};
use dial::Doorbell;
use driver::{Driver, LISTENER, WAKER};
use hub::Hub;
use keys::Keys;
use tls::{Known, Tls};

/// A TCP mesh under TLS 1.3: see the [module](self).
///
/// # Threads
/// As [`NetworkProvider`] says. A second thread that calls `receive` waits for the first.
pub struct TcpNetwork {
    hub: Hub,
    keys: Keys,
    driver: Mutex<Driver>,
    local_addr: Option<SocketAddr>,
}

impl TcpNetwork {
    /// Opens the network with the key it will prove. Binds the address to listen on, if there is
    /// one, and sends nothing yet: connections are made by `connect` and carried on by `receive`.
    /// A name to listen on is looked up here, which may take a while; peers' names are not.
    ///
    /// # Errors
    /// A [`TcpError`], whose text names the address or limit and what to do.
    pub fn open(mut config: TcpConfig, key: KeyPair) -> Result<TcpNetwork, TcpError> {
        let own = key.address();
        config.check(own)?;
        let keys = Keys::new(&config, own)?;
        for (peer, _) in &mut config.peers {
            *peer = keys.key_of(*peer);
        }
        let poll = Poll::new().map_err(TcpError::System)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(TcpError::System)?;
        let mut listener = config.listen.as_deref().map(bind).transpose()?;
        if let Some(listener) = &mut listener {
            let registered = poll
                .registry()
                .register(listener, LISTENER, Interest::READABLE);
            registered.map_err(TcpError::System)?;
        }
        let peers = config.peers.iter().map(|(peer, _)| *peer);
        let known = Arc::new(Known::new(peers, config.max_listeners > 0));
        let tls = Tls::new(&key, Arc::clone(&known));
        let tls = tls.map_err(|error| TcpError::Key(error.to_string()))?;
        let driver = Driver::new(poll, listener, config.heartbeat);
        let local_addr = driver.local_addr();
        let hub = Hub {
            own,
            tls,
            known,
            config,
            directory: peer::Directory::default(),
            doorbell: Arc::new(Doorbell::new(waker)),
            others: counters::Counters::default(),
        };
        Ok(TcpNetwork {
            hub,
            keys,
            driver: Mutex::new(driver),
            local_addr,
        })
    }

    /// Where it listens, with the port it was given; `None` if it does not listen.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// The key that it proves.
    pub fn address(&self) -> ValidatorAddress {
        self.hub.own
    }

    /// What was counted so far.
    ///
    /// # Threads
    /// Any. The numbers are read one after the other, while they go on.
    pub fn counters(&self) -> TcpCounters {
        let mut counters = self.hub.counters();
        for (peer, _) in &mut counters.peers {
            *peer = self.keys.peer_of(*peer);
        }
        counters
    }
}

fn bind(address: &str) -> Result<TcpListener, TcpError> {
    let candidates = address.to_socket_addrs().and_then(|found| {
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            Err(none())
        } else {
            Ok(found)
        }
    });
    let bound = candidates.and_then(|candidates| TcpListener::bind(candidates[0]));
    bound.map_err(|error| TcpError::Listen {
        address: address.to_owned(),
        error,
    })
}

impl NetworkProvider for TcpNetwork {
    /// Lets `peer` in from now on, and dials it if its address was configured.
    fn connect(&self, peer: ValidatorAddress) {
        self.hub.connect(self.keys.key_of(peer));
    }

    /// Closes the connection and dials no more. A configured peer may still connect by itself.
    fn disconnect(&self, peer: ValidatorAddress) {
        self.hub.disconnect(self.keys.key_of(peer));
    }

    /// While `peer` is being connected to, the last small messages are held for a moment. Other
    /// messages to a peer that is not connected are dropped and counted.
    fn send(&self, peer: ValidatorAddress, message: &[u8]) {
        self.hub.send(self.keys.key_of(peer), message);
    }

    /// To every peer that is connected now, listeners included, and as `send` to the others.
    fn broadcast(&self, message: &[u8]) {
        self.hub.broadcast(message);
    }

    fn receive(&self, timeout: Duration) -> Option<(ValidatorAddress, Vec<u8>)> {
        let mut driver = self.driver.lock().expect("no panic under this lock");
        let (key, message) = driver.receive(&self.hub, timeout)?;
        Some((self.keys.peer_of(key), message))
    }

    fn wake(&self) {
        self.hub.doorbell.wake();
    }
}

impl fmt::Debug for TcpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpNetwork")
            .field("address", &self.hub.own)
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}
