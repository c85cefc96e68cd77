//! What the poll loop keeps of each peer and each socket.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::Token;

use super::counters::Counters;
use super::peer::Peer;
use super::wire::{Wire, WireError};
use crate::types::ValidatorAddress;

/// What the poll loop alone knows of a peer.
pub struct Seat {
    pub peer: Arc<Peer>,
    pub link: Option<Link>,
    pub dialing: Option<Token>,
    pub dial_at: Option<Instant>,
    /// Attempts since the last connection that held.
    pub attempts: u32,
    pub found: VecDeque<SocketAddr>,
    pub looking_up: bool,
    pub inbox: VecDeque<Vec<u8>>,
    pub inbox_bytes: u64,
    pub readable: bool,
    pub writable: bool,
    /// The other end has closed or failed: read to the end.
    pub ended: bool,
    pub busy: bool,
}

/// A connection that is up.
pub struct Link {
    pub token: Token,
    pub dialed: bool,
    pub since: Instant,
    pub heard_bytes: u64,
    pub sent_bytes: u64,
    pub silent_heartbeats: u32,
}

impl Seat {
    pub fn new(peer: Arc<Peer>) -> Seat {
        Seat {
            peer,
            link: None,
            dialing: None,
            dial_at: None,
            attempts: 0,
            found: VecDeque::new(),
            looking_up: false,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            readable: false,
            writable: false,
            ended: false,
            busy: false,
        }
    }
}

/// What a socket is for.
pub enum Slot {
    Pending(Box<Pending>),
    Link(ValidatorAddress),
}

/// A connection whose keys are not proved yet.
pub struct Pending {
    pub wire: Wire,
    pub deadline: Instant,
    pub connected: bool,
    /// The peer that was dialed; `None`: accepted.
    pub dialing: Option<ValidatorAddress>,
    pub failed: Option<io::Error>,
}

impl Pending {
    /// Whether TCP has come to a result.
    pub fn is_connected(&mut self) -> bool {
        if !self.connected {
            let stream = self.wire.stream();
            self.failed = stream.take_error().unwrap_or_else(Some);
            self.connected = stream.peer_addr().is_ok();
        }
        self.connected || self.failed.is_some()
    }

    pub fn shake(
        &mut self,
        scratch: &mut [u8],
        counters: &Counters,
    ) -> Result<Option<ValidatorAddress>, WireError> {
        if self.failed.is_some() {
            return Err(WireError::Lost);
        }
        self.wire.shake(scratch, counters)
    }
}

/// Why a connection is given up.
pub enum Ending {
    Error(WireError),
    /// A wrong or unknown key, or no place.
    Refused,
    TimedOut,
    Silent,
    /// `disconnect`, or a better connection.
    Unneeded,
}
