//! What the TCP transport is told before it opens, its limits, and what can be wrong with them.

use std::time::Duration;
use std::{fmt, io};

use crate::types::ValidatorAddress;

/// Messages up to this many bytes travel in the urgent lane, larger ones in the bulk lane. Part of
/// the wire format: a peer that puts a larger message into the urgent lane is cut off.
pub const URGENT_BYTES_MAX: usize = 8 << 10;

/// Payload bytes of one frame. With its header a full frame is exactly one TLS record. Part of the
/// wire format.
pub const FRAGMENT_BYTES_MAX: usize = (16 << 10) - super::frame::HEADER_BYTES;

/// Plaintext handed to TLS ahead of the socket: what an urgent message may have to wait for inside
/// this process.
pub const WINDOW_BYTES_MAX: usize = 64 << 10;

/// Bytes a sender's own thread encrypts and writes in one call; `receive` carries on from there.
pub const FLUSH_BYTES_MAX: usize = 512 << 10;

/// Accepted connections that have not yet proved a key. One more pushes out the oldest.
pub const HANDSHAKES_MAX: usize = 128;

/// Small messages kept for a peer that is being connected to; one more pushes out the oldest.
pub const HELD_MESSAGES_MAX: usize = 8;

/// How long they are kept: what is older is stale, or was said again.
pub const HELD_FOR: Duration = Duration::from_secs(2);

/// Decoded messages of one peer that wait for `receive`; above it the peer's socket is not read.
pub const INBOX_MESSAGES_MAX: usize = 4096;

/// What a queued message costs beyond its bytes, so that empty ones are bounded too.
pub const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// Heartbeats without a byte from a peer, after which the connection counts as dead.
pub const SILENT_HEARTBEATS_MAX: u32 = 3;

/// A connection that held this long was a success: the next reconnect starts from the shortest
/// delay again.
pub const STABLE_AFTER: Duration = Duration::from_secs(2);

/// How long the end with the larger address waits for the other one to dial before it dials
/// itself (the other end may not know it, or not where to find it).
pub const DIAL_FALLBACK_AFTER: Duration = Duration::from_secs(1);

/// How a [`TcpNetwork`](super::TcpNetwork) is set up. Start from `TcpConfig::default()`, which
/// listens nowhere and knows nobody.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// Where to listen, as `host:port`: `"0.0.0.0:9000"`, `"[::1]:0"`; port 0 picks a free one.
    /// `None`: dial only.
    pub listen: Option<String>,
    /// Where peers listen, as `host:port`, and the keys they must prove. They may connect to this
    /// replica at any time; it dials one only after `connect`.
    pub peers: Vec<(ValidatorAddress, String)>,
    /// Peers that prove another key than their validator's, and which. Default: none.
    pub peer_keys: Vec<(ValidatorAddress, ValidatorAddress)>,
    /// How many connections of unknown keys are let in: replicas that follow the chain without
    /// being validators. Default 0: unknown keys are refused.
    pub max_listeners: u32,
    /// The longest message either way, in bytes. Default 8 MiB. A peer that sends a longer one is
    /// cut off; a longer one to send is dropped and counted.
    pub message_bytes_max: usize,
    /// Large messages (more than 8 KiB) that wait to be sent to one peer, in bytes. Default
    /// 16 MiB; at least `message_bytes_max` and a little. Full: the new message is dropped, since
    /// half a block already on its way is worth more than one that has not begun.
    pub queue_bytes: u64,
    /// Small messages (up to 8 KiB: votes, time-outs) that wait to be sent to one peer, in bytes.
    /// Default 1 MiB; at least 64 KiB. Full: the oldest is dropped, since an old vote is useless.
    pub urgent_queue_bytes: u64,
    /// Decoded messages of one peer that wait for `receive`, in bytes. Default 1 MiB. Full: the
    /// peer's socket is not read until there is room, and TCP slows the peer down. One message
    /// may go beyond it.
    pub inbox_bytes: u64,
    /// From the TCP connection to the proof of both keys. Default 5 s.
    pub handshake_timeout: Duration,
    /// After this long without sending, a connection sends four bytes of sign of life; after
    /// three times as long without a byte from the peer it is closed. Default 5 s.
    pub heartbeat: Duration,
    /// The first delay before dialing again. Default 50 ms; doubles with each failure. The actual
    /// delay is between half of it and all of it.
    pub reconnect_base: Duration,
    /// The longest delay before dialing again. Default 1 s: a validator that comes back is reached
    /// within it.
    pub reconnect_max: Duration,
}

impl Default for TcpConfig {
    fn default() -> TcpConfig {
        TcpConfig {
            listen: None,
            peers: Vec::new(),
            peer_keys: Vec::new(),
            max_listeners: 0,
            message_bytes_max: 8 << 20,
            queue_bytes: 16 << 20,
            urgent_queue_bytes: 1 << 20,
            inbox_bytes: 1 << 20,
            handshake_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(5),
            reconnect_base: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(1),
        }
    }
}

impl TcpConfig {
    /// Whether the limits fit one another and the addresses look like addresses.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn check(&self, own: ValidatorAddress) -> Result<(), TcpError> {
        let limit = |name, value: u64, least: u64, most: u64| match value {
            _ if value >= least && value <= most => Ok(()),
            _ => Err(TcpError::Limit {
                name,
                value,
                least,
                most,
            }),
        };
        let longest = self.message_bytes_max as u64;
        let milliseconds = |duration: Duration| duration.as_millis() as u64;
        limit(
            "message_bytes_max",
            longest,
            URGENT_BYTES_MAX as u64,
            1 << 30,
        )?;
        limit(
            "queue_bytes",
            self.queue_bytes,
            longest + MESSAGE_OVERHEAD_BYTES as u64,
            1 << 40,
        )?;
        limit(
            "urgent_queue_bytes",
            self.urgent_queue_bytes,
            64 << 10,
            1 << 40,
        )?;
        limit("inbox_bytes", self.inbox_bytes, 1, 1 << 40)?;
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        limit(
            "handshake_timeout (ms)",
            milliseconds(self.handshake_timeout),
            1,
            DAY_MS,
        )?;
        limit("heartbeat (ms)", milliseconds(self.heartbeat), 1, DAY_MS)?;
        limit(
            "reconnect_base (ms)",
            milliseconds(self.reconnect_base),
            1,
            DAY_MS,
        )?;
        let base_ms = milliseconds(self.reconnect_base);
        limit(
            "reconnect_max (ms)",
            milliseconds(self.reconnect_max),
            base_ms,
            DAY_MS,
        )?;
        for (index, (peer, address)) in self.peers.iter().enumerate() {
            if *peer == own {
                return Err(TcpError::PeerIsSelf {
                    address: address.clone(),
                });
            }
            if self.peers[..index].iter().any(|(other, _)| other == peer) {
                return Err(TcpError::PeerTwice { peer: *peer });
            }
            if !looks_like_host_and_port(address) {
                return Err(TcpError::PeerAddress {
                    peer: *peer,
                    address: address.clone(),
                });
            }
        }
        Ok(())
    }
}

fn looks_like_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Why a TCP network could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum TcpError {
    /// The address to listen on cannot be had.
    Listen { address: String, error: io::Error },
    /// A peer's address is not `host:port`.
    PeerAddress {
        peer: ValidatorAddress,
        address: String,
    },
    /// A peer is named twice.
    PeerTwice { peer: ValidatorAddress },
    /// A peer has the key this replica opens with.
    PeerIsSelf { address: String },
    /// A peer has two transport keys, or one that another peer or this end proves.
    KeyTwice { peer: ValidatorAddress },
    /// A limit is out of its range.
    Limit {
        name: &'static str,
        value: u64,
        least: u64,
        most: u64,
    },
    /// The operating system gave no poll or waker.
    System(io::Error),
    /// TLS does not take the key.
    Key(String),
}

impl fmt::Display for TcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TcpError::Listen { address, error } => {
                write!(f, "cannot listen on \"{address}\": {error}; ")?;
                f.write_str(match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another process listens there: stop it, or choose another port \
                         (port 0 picks a free one)"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need a privilege: choose a higher one"
                    }
                    _ => "expected host:port of this machine, such as \"0.0.0.0:9000\"",
                })
            }
            TcpError::PeerAddress { peer, address } => write!(
                f,
                "the address \"{address}\" of peer {peer} is not host:port; expected something \
                 like \"replica1.example.org:9000\" or \"[2001:db8::1]:9000\", with a port from 1 \
                 to 65535"
            ),
            TcpError::PeerTwice { peer } => {
                write!(f, "peer {peer} is named twice; give each peer one address")
            }
            TcpError::PeerIsSelf { address } => write!(
                f,
                "the peer at \"{address}\" has this replica's own key; leave it out, or give each \
                 replica a key of its own"
            ),
            TcpError::KeyTwice { peer } => write!(
                f,
                "the transport key of peer {peer} is not its alone; give each peer one key that \
                 nobody else has"
            ),
            TcpError::Limit {
                name,
                value,
                least,
                most,
            } => {
                write!(f, "{name} is {value}; expected {least} to {most}")
            }
            TcpError::System(error) => write!(
                f,
                "the operating system gave no event queue: {error}; raise the limit on open files \
                 (ulimit -n)"
            ),
            TcpError::Key(reason) => {
                write!(
                    f,
                    "TLS does not take the key: {reason}; expected an Ed25519 key"
                )
            }
        }
    }
}

impl std::error::Error for TcpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TcpError::Listen { error, .. } | TcpError::System(error) => Some(error),
            _ => None,
        }
    }
}
