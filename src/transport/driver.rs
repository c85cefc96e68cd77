//! The poll loop, driven by `receive`: events to connections, connections to messages, messages to
//! the caller. Who connects and when is decided in [`links`](super::links).

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use super::config::INBOX_MESSAGES_MAX;
use super::counters::Counters;
use super::dial::Jitter;
use super::hub::Hub;
use super::peer::Pumped;
use super::seat::{Ending, Seat, Slot};
use super::wire::{Flushed, Found, WireError};
use crate::types::ValidatorAddress;

pub const LISTENER: Token = Token(0);
pub const WAKER: Token = Token(1);
const FIRST_CONNECTION: usize = 2;

/// One read from a socket, and with it how long one peer is served before the next.
const SCRATCH_BYTES: usize = 64 << 10;

/// Messages handed out between two looks at the sockets.
const MESSAGES_PER_POLL_MAX: u32 = 32;

const EVENTS_MAX: usize = 256;

pub struct Driver {
    pub poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    pub listener: Option<TcpListener>,
    /// Every socket by its token; tokens are never used again, so a late event finds nobody.
    pub slots: BTreeMap<Token, Slot>,
    next_token: usize,
    pub seats: BTreeMap<ValidatorAddress, Seat>,
    /// Peers to serve without waiting for an event.
    busy: VecDeque<ValidatorAddress>,
    /// Peers with messages for the caller.
    ready: VecDeque<ValidatorAddress>,
    handed_out: u32,
    /// No timer is due before.
    pub timer_at: Instant,
    pub heartbeat_at: Instant,
    pub accept_again_at: Option<Instant>,
    pub looking_up: bool,
    pub jitter: Jitter,
}

impl Driver {
    pub fn new(poll: Poll, listener: Option<TcpListener>, heartbeat: Duration) -> Driver {
        let heartbeat_at = Instant::now() + heartbeat;
        Driver {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            scratch: vec![0; SCRATCH_BYTES],
            listener,
            slots: BTreeMap::new(),
            next_token: FIRST_CONNECTION,
            seats: BTreeMap::new(),
            busy: VecDeque::new(),
            ready: VecDeque::new(),
            handed_out: 0,
            timer_at: heartbeat_at,
            heartbeat_at,
            accept_again_at: None,
            looking_up: false,
            jitter: Jitter::default(),
        }
    }

    pub fn receive(&mut self, hub: &Hub, timeout: Duration) -> Option<(ValidatorAddress, Vec<u8>)> {
        let mut deadline = None; // the clock is read only if there is something to wait for
        loop {
            if hub.doorbell.take_wake() {
                return None;
            }
            if self.handed_out < MESSAGES_PER_POLL_MAX {
                if let Some(message) = self.take_message() {
                    self.handed_out += 1;
                    return Some(message);
                }
            }
            let now = Instant::now();
            let until = *deadline.get_or_insert_with(|| now.checked_add(timeout));
            self.poll(now, until);
            self.handed_out = 0;
            let now = Instant::now();
            self.look_around(hub, now);
            for _ in 0..self.busy.len() {
                let Some(address) = self.busy.pop_front() else {
                    break;
                };
                self.serve(hub, address, now);
            }
            if self.ready.is_empty() && until.is_some_and(|until| now >= until) {
                // Whoever waits for nothing must still see a wake that came meanwhile.
                hub.doorbell.take_wake();
                return None;
            }
        }
    }

    fn poll(&mut self, now: Instant, until: Option<Instant>) {
        let wake_at = until.map_or(self.timer_at, |until| until.min(self.timer_at));
        let idle = self.busy.is_empty() && self.ready.is_empty();
        let wait = if idle {
            wake_at.saturating_duration_since(now)
        } else {
            Duration::ZERO
        };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => self.events.clear(),
            Err(error) => panic!("the event queue is ours and open: {error}"),
        }
    }

    /// Events, requests of other threads, timers: in this order, so that a peer that was heard is
    /// not found silent.
    fn look_around(&mut self, hub: &Hub, now: Instant) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        events
            .iter()
            .for_each(|event| self.handle_event(hub, event, now));
        self.events = events;
        if hub.doorbell.take_call() {
            self.reconcile(hub, now);
        }
        if now >= self.timer_at {
            self.run_timers(hub, now);
        }
    }

    fn handle_event(&mut self, hub: &Hub, event: &Event, now: Instant) {
        match event.token() {
            LISTENER => return self.accept(hub, now),
            WAKER => return,
            _ => {}
        }
        match self.slots.get(&event.token()) {
            Some(Slot::Pending(_)) => self.shake(hub, event.token(), now),
            Some(Slot::Link(address)) => {
                let address = *address;
                let seat = self.seats.get_mut(&address).expect("a link has a seat");
                seat.ended |= event.is_read_closed() || event.is_error();
                seat.readable |= event.is_readable() || seat.ended;
                seat.writable |= event.is_writable();
                self.make_busy(address);
            }
            None => {}
        }
    }

    pub fn make_busy(&mut self, address: ValidatorAddress) {
        if let Some(seat) = self.seats.get_mut(&address).filter(|seat| !seat.busy) {
            seat.busy = true;
            self.busy.push_back(address);
        }
    }

    /// Reads from and writes to one peer, once; puts it back in the row if there is more to do.
    fn serve(&mut self, hub: &Hub, address: ValidatorAddress, now: Instant) {
        let Some(seat) = self.seats.get_mut(&address) else {
            return;
        };
        seat.busy = false;
        let peer = seat.peer.clone();
        let was_empty = seat.inbox.is_empty();
        let outcome = match peer.wire().as_mut() {
            None => return,
            Some(wire) if wire.failed => Err(WireError::Lost),
            Some(wire) => (|| {
                let full = seat.inbox_bytes >= hub.config.inbox_bytes
                    || seat.inbox.len() >= INBOX_MESSAGES_MAX;
                if seat.readable && !full {
                    let Seat {
                        inbox, inbox_bytes, ..
                    } = seat;
                    let found = wire.read(&mut self.scratch, &peer.counters, &mut |message| {
                        *inbox_bytes += message.len() as u64;
                        inbox.push_back(message);
                    })?;
                    seat.ended &= found != Found::Nothing;
                    seat.readable = found == Found::Part || seat.ended;
                }
                if std::mem::take(&mut seat.writable) {
                    wire.unblock();
                }
                if wire.is_writable() && wire.has_tls_output() {
                    let flushed = wire.flush(&peer.outbox, &peer.counters)?;
                    seat.writable = flushed == Flushed::Enough;
                }
                Ok(())
            })(),
        };
        if was_empty && !seat.inbox.is_empty() {
            self.ready.push_back(address);
        }
        let again = seat.readable || seat.writable;
        if let Err(error) = outcome {
            return self.close(hub, address, Ending::Error(error), now);
        }
        // Others may have queued something while the wire was held here.
        match peer.pump() {
            Pumped::Settled if !again => {}
            Pumped::Settled => self.make_busy(address),
            Pumped::Enough => {
                self.seats.get_mut(&address).expect("it was here").writable = true;
                self.make_busy(address);
            }
            Pumped::Failed => self.close(hub, address, Ending::Error(WireError::Lost), now),
        }
    }

    /// The next message, from each peer in turn.
    fn take_message(&mut self) -> Option<(ValidatorAddress, Vec<u8>)> {
        while let Some(address) = self.ready.pop_front() {
            let Some(seat) = self.seats.get_mut(&address) else {
                continue;
            };
            let Some(message) = seat.inbox.pop_front() else {
                continue;
            };
            seat.inbox_bytes -= message.len() as u64;
            if !seat.inbox.is_empty() {
                self.ready.push_back(address);
            }
            Counters::count(&seat.peer.counters.messages_in);
            return Some((address, message));
        }
        None
    }

    pub fn shake(&mut self, hub: &Hub, token: Token, now: Instant) {
        let Some(Slot::Pending(pending)) = self.slots.get_mut(&token) else {
            return;
        };
        if !pending.is_connected() {
            return;
        }
        let seat = pending.dialing.and_then(|address| self.seats.get(&address));
        let counters = seat.map_or(&hub.others, |seat| &seat.peer.counters);
        match pending.shake(&mut self.scratch, counters) {
            Ok(None) => {}
            Ok(Some(key)) => self.establish(hub, token, key, now),
            Err(error) => self.fail(hub, token, Ending::Error(error), now),
        }
    }

    pub fn register(&mut self, socket: &mut mio::net::TcpStream) -> std::io::Result<Token> {
        let token = Token(self.next_token);
        self.next_token += 1;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(socket, token, both)?;
        Ok(token)
    }

    /// A timer is due at `at`.
    pub fn set_timer(&mut self, at: Instant) {
        self.timer_at = self.timer_at.min(at);
    }

    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }
}
