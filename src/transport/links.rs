//! Who is connected to whom, and when: accepting, dialing, and the one connection per pair that
//! survives. The other half of the [`Driver`].
//!
//! Upon `connect(peer)`, and whenever its connection ends: the end with the smaller address dials
//! at once (later with back-off); the one with the larger address waits a second for the other to
//! do so, and then dials too.
//! Upon a second connection with the same key: the one dialed by the smaller address survives; of
//! two dialed by the same end, the newer, because the peer has restarted.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::Token;

use super::config::{DIAL_FALLBACK_AFTER, HANDSHAKES_MAX, SILENT_HEARTBEATS_MAX, STABLE_AFTER};
use super::counters::Counters;
use super::dial;
use super::driver::Driver;
use super::hub::Hub;
use super::peer::Peer;
use super::seat::{Ending, Link, Pending, Seat, Slot};
use super::wire::{Wire, WireError};
use crate::types::ValidatorAddress;

/// After an accept that failed for want of descriptors or memory.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// While another name is being looked up.
const LOOK_UP_AGAIN_AFTER: Duration = Duration::from_millis(100);

impl Driver {
    pub fn accept(&mut self, hub: &Hub, now: Instant) {
        while let Some(listener) = &self.listener {
            match listener.accept() {
                Ok((stream, _)) => {
                    if self.begin(hub, stream, None, now).is_err() {
                        Counters::count(&hub.others.handshake_failures);
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        // Those who wait in the backlog cause no further event.
                        self.accept_again_at = Some(now + ACCEPT_AGAIN_AFTER);
                        return self.set_timer(now + ACCEPT_AGAIN_AFTER);
                    }
                },
            }
        }
    }

    /// Starts TLS on a connection, accepted or dialed.
    fn begin(
        &mut self,
        hub: &Hub,
        mut stream: TcpStream,
        dialing: Option<ValidatorAddress>,
        now: Instant,
    ) -> Result<Token, Box<dyn std::error::Error>> {
        let tls = dialing.map_or_else(|| hub.tls.accept(), |expected| hub.tls.dial(expected))?;
        stream.set_nodelay(true)?;
        let token = self.register(&mut stream)?;
        let wire = Wire::new(stream, tls, dialing.is_some(), hub.config.message_bytes_max);
        if dialing.is_none() {
            self.make_room_for_handshake(hub, now);
        }
        let deadline = now + hub.config.handshake_timeout;
        let connected = dialing.is_none();
        let pending = Pending {
            wire,
            deadline,
            connected,
            dialing,
            failed: None,
        };
        self.slots.insert(token, Slot::Pending(Box::new(pending)));
        self.set_timer(deadline);
        Ok(token)
    }

    fn make_room_for_handshake(&mut self, hub: &Hub, now: Instant) {
        let is_accepted =
            |slot: &Slot| matches!(slot, Slot::Pending(pending) if pending.dialing.is_none());
        let mut accepted = self.slots.iter().filter(|(_, slot)| is_accepted(slot));
        let Some((&oldest, _)) = accepted.next() else {
            return;
        };
        if accepted.count() + 1 >= HANDSHAKES_MAX {
            self.fail(hub, oldest, Ending::TimedOut, now);
        }
    }

    fn dial(&mut self, hub: &Hub, address: ValidatorAddress, now: Instant) {
        let seat = self.seats.get_mut(&address).expect("its timer was set");
        seat.dial_at = None;
        let host = seat
            .peer
            .host
            .as_deref()
            .expect("who is dialed has an address");
        if let Ok(numeric) = host.parse() {
            seat.found = VecDeque::from([numeric]);
        }
        let Some(target) = seat.found.pop_front() else {
            if self.looking_up {
                seat.dial_at = Some(now + LOOK_UP_AGAIN_AFTER);
                return self.set_timer(now + LOOK_UP_AGAIN_AFTER);
            }
            match dial::look_up(&hub.doorbell, address, host) {
                Ok(()) => (self.looking_up, seat.looking_up) = (true, true),
                Err(_) => self.count_unreachable(hub, address, now),
            }
            return;
        };
        let stream = match TcpStream::connect(target) {
            Ok(stream) => stream,
            Err(_) => return self.count_unreachable(hub, address, now),
        };
        match self.begin(hub, stream, Some(address), now) {
            Ok(token) => self.seats.get_mut(&address).expect("as above").dialing = Some(token),
            Err(_) => self.count_unreachable(hub, address, now),
        }
    }

    fn count_unreachable(&mut self, hub: &Hub, address: ValidatorAddress, now: Instant) {
        let seat = self.seats.get_mut(&address).expect("the caller has it");
        Counters::count(&seat.peer.counters.unreachable);
        seat.attempts = seat.attempts.saturating_add(1);
        self.schedule_dial(hub, address, now, false);
    }

    fn schedule_dial(&mut self, hub: &Hub, address: ValidatorAddress, now: Instant, first: bool) {
        let seat = self.seats.get_mut(&address).expect("the caller has it");
        let is_idle = seat.link.is_none()
            && seat.dialing.is_none()
            && seat.dial_at.is_none()
            && !seat.looking_up;
        if !seat.peer.wanted.load(Relaxed) || seat.peer.host.is_none() || !is_idle {
            return;
        }
        let (base, longest) = (hub.config.reconnect_base, hub.config.reconnect_max);
        let mut delay = dial::delay(base, longest, seat.attempts, self.jitter.draw());
        if first {
            delay = Duration::ZERO;
        }
        if hub.own > address {
            delay = delay.max(DIAL_FALLBACK_AFTER);
        }
        seat.dial_at = Some(now + delay);
        self.set_timer(now + delay);
    }

    /// A connection has proved `key`: give it its place, or none.
    pub fn establish(&mut self, hub: &Hub, token: Token, key: ValidatorAddress, now: Instant) {
        let Some(Slot::Pending(pending)) = self.slots.get(&token) else {
            return;
        };
        let dialed = pending.dialing.is_some();
        let is_preferred = |dialed: bool| dialed == (hub.own < key);
        if let Some(link) = self.seats.get(&key).and_then(|seat| seat.link.as_ref()) {
            if is_preferred(link.dialed) && !is_preferred(dialed) {
                return self.fail(hub, token, Ending::Unneeded, now);
            }
            self.close(hub, key, Ending::Unneeded, now);
        }
        let is_listener = |key: &ValidatorAddress| !hub.known.contains(key);
        if is_listener(&key) {
            let linked = self.seats.iter().filter(|(_, seat)| seat.link.is_some());
            let listeners = linked.filter(|(address, _)| is_listener(address)).count();
            if key == hub.own || listeners >= hub.config.max_listeners as usize {
                return self.fail(hub, token, Ending::Refused, now);
            }
        }
        let Some(Slot::Pending(pending)) = self.slots.insert(token, Slot::Link(key)) else {
            unreachable!("it was pending above")
        };
        let peer = hub.peer(key, |_| ());
        let seat = self
            .seats
            .entry(key)
            .or_insert_with(|| Seat::new(Arc::clone(&peer)));
        let counters = &peer.counters;
        seat.link = Some(Link {
            token,
            dialed,
            since: now,
            heard_bytes: counters.bytes_in.load(Relaxed),
            sent_bytes: counters.bytes_out.load(Relaxed),
            silent_heartbeats: 0,
        });
        seat.dial_at = None;
        // The events of the handshake may have told of more than was read and written then.
        (seat.readable, seat.writable, seat.ended) = (true, true, true);
        let other_attempt = seat.dialing.take().filter(|dialing| *dialing != token);
        Counters::count(&counters.connects);
        *peer.wire() = Some(pending.wire);
        peer.open_outbox(now);
        counters.connected.store(1, Relaxed);
        if let Some(other) = other_attempt {
            self.slots.remove(&other);
        }
        self.make_busy(key);
    }

    /// Gives up a connection whose keys are not proved.
    pub fn fail(&mut self, hub: &Hub, token: Token, ending: Ending, now: Instant) {
        let Some(Slot::Pending(pending)) = self.slots.remove(&token) else {
            return;
        };
        let seat = pending
            .dialing
            .and_then(|address| self.seats.get_mut(&address));
        let counters = seat
            .as_ref()
            .map_or(&hub.others, |seat| &seat.peer.counters);
        match ending {
            Ending::Unneeded => {}
            _ if !pending.connected => Counters::count(&counters.unreachable),
            Ending::Refused => Counters::count(&counters.refused),
            Ending::Error(WireError::Tls(error)) if is_refusal(&error) => {
                Counters::count(&counters.refused);
            }
            _ => Counters::count(&counters.handshake_failures),
        }
        if let (Some(seat), Some(address)) = (seat, pending.dialing) {
            seat.dialing = None;
            seat.attempts = seat.attempts.saturating_add(1);
            self.schedule_dial(hub, address, now, false);
        }
    }

    /// Closes a connection that was up, and sees to the next one.
    pub fn close(&mut self, hub: &Hub, address: ValidatorAddress, ending: Ending, now: Instant) {
        let Some(seat) = self.seats.get_mut(&address) else {
            return;
        };
        let Some(link) = seat.link.take() else { return };
        self.slots.remove(&link.token);
        let peer = Arc::clone(&seat.peer);
        peer.counters.connected.store(0, Relaxed);
        peer.outbox().close();
        let wire = peer.wire().take();
        if let (Ending::Unneeded, Some(mut wire)) = (&ending, wire) {
            wire.say_goodbye();
        }
        (seat.readable, seat.writable, seat.ended) = (false, false, false);
        Counters::count(&peer.counters.disconnects);
        let is_violation = matches!(ending, Ending::Error(WireError::Frame | WireError::Tls(_)));
        if is_violation {
            Counters::count(&peer.counters.violations);
        }
        if matches!(ending, Ending::Silent) {
            Counters::count(&peer.counters.silent);
        }
        let held = now.duration_since(link.since) >= STABLE_AFTER && !is_violation;
        seat.attempts = if held {
            0
        } else {
            seat.attempts.saturating_add(1)
        };
        self.schedule_dial(hub, address, now, false);
        self.forget_if_over(hub, address);
    }

    /// A stranger who is gone leaves nothing behind but its counts.
    fn forget_if_over(&mut self, hub: &Hub, address: ValidatorAddress) {
        if self
            .seats
            .get(&address)
            .is_some_and(|seat| seat.link.is_some())
        {
            return;
        }
        let is_over = |peer: &Peer| {
            !peer.wanted.load(Relaxed) && !hub.is_configured(&address) && !peer.is_connected()
        };
        if let Some(peer) = hub.directory.remove_if(&address, is_over) {
            hub.others.absorb(&peer.snapshot());
            if let Some(token) = self.seats.remove(&address).and_then(|seat| seat.dialing) {
                self.slots.remove(&token);
            }
        }
    }

    /// Does what other threads have asked for.
    pub fn reconcile(&mut self, hub: &Hub, now: Instant) {
        for (address, found) in hub.doorbell.take_looked_up() {
            self.looking_up = false;
            let Some(seat) = self.seats.get_mut(&address) else {
                continue;
            };
            seat.looking_up = false;
            match found {
                _ if seat.link.is_some() => {}
                Ok(found) if !found.is_empty() => {
                    seat.found = found.into();
                    seat.dial_at = Some(now);
                    self.set_timer(now);
                }
                _ => self.count_unreachable(hub, address, now),
            }
        }
        for (address, peer) in hub.directory.all().iter() {
            let seat = self
                .seats
                .entry(*address)
                .or_insert_with(|| Seat::new(Arc::clone(peer)));
            if peer.unwanted.swap(false, Relaxed) {
                seat.dial_at = None;
                if let Some(token) = seat.dialing.take() {
                    self.slots.remove(&token);
                }
                self.close(hub, *address, Ending::Unneeded, now);
            }
            self.forget_if_over(hub, *address);
            if self.seats.contains_key(address) {
                self.schedule_dial(hub, *address, now, true);
                self.make_busy(*address);
            }
        }
    }

    pub fn run_timers(&mut self, hub: &Hub, now: Instant) {
        if self.accept_again_at.is_some_and(|at| now >= at) {
            self.accept_again_at = None;
            self.accept(hub, now);
        }
        if now >= self.heartbeat_at {
            self.heartbeat_at = now + hub.config.heartbeat;
            self.beat(hub, now);
        }
        let late = self
            .slots
            .iter()
            .filter(|(_, slot)| matches!(slot, Slot::Pending(pending) if now >= pending.deadline));
        for token in late.map(|(token, _)| *token).collect::<Vec<_>>() {
            self.fail(hub, token, Ending::TimedOut, now);
        }
        let due = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.dial_at.is_some_and(|at| now >= at));
        for address in due.map(|(address, _)| *address).collect::<Vec<_>>() {
            self.dial(hub, address, now);
        }
        let deadlines = self.slots.values().filter_map(|slot| match slot {
            Slot::Pending(pending) => Some(pending.deadline),
            Slot::Link(_) => None,
        });
        let dials = self.seats.values().filter_map(|seat| seat.dial_at);
        let others = dials.chain(self.accept_again_at).chain([self.heartbeat_at]);
        self.timer_at = deadlines
            .chain(others)
            .min()
            .expect("there is always a heartbeat");
    }

    /// Signs of life: one to each peer that was sent nothing since the last, and the end of each
    /// connection on which nothing was heard for too long.
    fn beat(&mut self, hub: &Hub, now: Instant) {
        let mut silent = Vec::new();
        let mut quiet = Vec::new();
        for (address, seat) in &mut self.seats {
            let Some(link) = &mut seat.link else { continue };
            let sent_bytes = seat.peer.counters.bytes_out.load(Relaxed);
            if std::mem::replace(&mut link.sent_bytes, sent_bytes) == sent_bytes {
                seat.peer.outbox().ping();
                quiet.push(*address);
            }
            let heard_bytes = seat.peer.counters.bytes_in.load(Relaxed);
            let heard = std::mem::replace(&mut link.heard_bytes, heard_bytes) != heard_bytes;
            // Unread bytes are our fault, not the peer's.
            link.silent_heartbeats = if heard || seat.readable {
                0
            } else {
                link.silent_heartbeats + 1
            };
            if link.silent_heartbeats >= SILENT_HEARTBEATS_MAX {
                silent.push(*address);
            }
        }
        quiet
            .into_iter()
            .for_each(|address| self.make_busy(address));
        for address in silent {
            self.close(hub, address, Ending::Silent, now);
        }
    }
}

fn is_refusal(error: &rustls::Error) -> bool {
    use rustls::{AlertDescription, Error};
    matches!(
        error,
        Error::InvalidCertificate(_)
            | Error::AlertReceived(
                AlertDescription::BadCertificate
                    | AlertDescription::CertificateUnknown
                    | AlertDescription::AccessDenied
                    | AlertDescription::UnknownCA
            )
    )
}
