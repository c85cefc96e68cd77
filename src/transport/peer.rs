//! One peer, as all threads share it: its queues, its connection, its counters.
//!
//! Two locks, each held briefly. `outbox` guards the queues and is held for pushing and taking.
//! `wire` guards the connection; a sender only ever *tries* it: whoever holds it looks into the
//! outbox again after letting go, so nothing that was pushed meanwhile is left lying. Order: `wire`
//! before `outbox`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Instant;

use super::config::TcpConfig;
use super::counters::{Counters, PeerCounters};
use super::frame::Lane;
use super::outbox::{Dropped, Outbox};
use super::wire::{Flushed, Wire};
use crate::types::ValidatorAddress;

/// How often a sender looks whether others have queued more while it was sending.
const PUMPS_MAX: u32 = 16;

/// What is left after a pump for the poll loop to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing: all is sent, or an event will say when it goes on, or somebody else is at it.
    Settled,
    /// Go on sending.
    Enough,
    /// Close the connection.
    Failed,
}

pub struct Peer {
    pub address: ValidatorAddress,
    /// Where it listens, if we were told.
    pub host: Option<String>,
    /// `connect` was called, and `disconnect` not since.
    pub wanted: AtomicBool,
    /// `disconnect` was called: the connection there is must go.
    pub unwanted: AtomicBool,
    pub outbox: Mutex<Outbox>,
    pub wire: Mutex<Option<Wire>>,
    pub counters: Counters,
}

impl Peer {
    pub fn new(address: ValidatorAddress, host: Option<String>, config: &TcpConfig) -> Arc<Peer> {
        Arc::new(Peer {
            address,
            host,
            wanted: AtomicBool::new(false),
            unwanted: AtomicBool::new(false),
            outbox: Mutex::new(Outbox::new(config.urgent_queue_bytes, config.queue_bytes)),
            wire: Mutex::new(None),
            counters: Counters::default(),
        })
    }

    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().expect("no panic under this lock")
    }

    pub fn wire(&self) -> MutexGuard<'_, Option<Wire>> {
        self.wire.lock().expect("no panic under this lock")
    }

    pub fn is_connected(&self) -> bool {
        self.counters.connected.load(Relaxed) != 0
    }

    /// Queues a message and sends what can be sent.
    pub fn send(&self, message: &Arc<[u8]>) -> Pumped {
        let dropped = self.outbox().push(message);
        self.count_dropped(dropped);
        self.pump()
    }

    /// Keeps a small message for the connection that is being made.
    pub fn hold(&self, message: &Arc<[u8]>) -> Pumped {
        let dropped = self.outbox().hold(message, Instant::now());
        self.count_dropped(dropped);
        self.pump() // it may be up by now
    }

    /// The connection is up.
    pub fn open_outbox(&self, now: Instant) {
        let dropped = self.outbox().open(now);
        self.count_dropped(dropped);
    }

    /// Whether it is to be connected to.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// Counts a message that was not even queued.
    pub fn refuse(&self, length: usize) {
        self.count_dropped(match Lane::of(length) {
            Lane::Urgent => Dropped { urgent: 1, bulk: 0 },
            Lane::Bulk => Dropped { urgent: 0, bulk: 1 },
        });
    }

    fn count_dropped(&self, dropped: Dropped) {
        self.counters
            .dropped_urgent
            .fetch_add(dropped.urgent, Relaxed);
        self.counters.dropped_bulk.fetch_add(dropped.bulk, Relaxed);
    }

    /// Sends what waits, unless another thread is at it. Never waits for a lock for long.
    pub fn pump(&self) -> Pumped {
        for _ in 0..PUMPS_MAX {
            if self.outbox().is_empty() {
                return Pumped::Settled;
            }
            let Ok(mut wire) = self.wire.try_lock() else {
                return Pumped::Settled;
            };
            let Some(wire) = wire.as_mut().filter(|wire| wire.is_writable()) else {
                return Pumped::Settled;
            };
            match wire.flush(&self.outbox, &self.counters) {
                Ok(Flushed::All) => {}
                Ok(Flushed::Blocked) => return Pumped::Settled,
                Ok(Flushed::Enough) => return Pumped::Enough,
                Err(_) => {
                    wire.failed = true;
                    return Pumped::Failed;
                }
            }
        }
        Pumped::Enough
    }

    pub fn snapshot(&self) -> PeerCounters {
        let queued_bytes = self.outbox().bytes() as u64;
        PeerCounters {
            queued_bytes,
            ..self.counters.snapshot()
        }
    }
}

/// All peers by address. Read at every send, changed when validators come and go: readers take a
/// copy of one pointer.
#[derive(Default)]
pub struct Directory {
    peers: RwLock<Arc<Peers>>,
}

pub type Peers = BTreeMap<ValidatorAddress, Arc<Peer>>;

impl Directory {
    pub fn all(&self) -> Arc<Peers> {
        Arc::clone(&self.peers.read().expect("no panic under this lock"))
    }

    pub fn find(&self, address: &ValidatorAddress) -> Option<Arc<Peer>> {
        self.peers
            .read()
            .expect("no panic under this lock")
            .get(address)
            .cloned()
    }

    /// The peer of that address, made by `make` if it is new, and changed by `change` before
    /// anybody can find it over and remove it.
    pub fn find_or_add(
        &self,
        address: ValidatorAddress,
        make: impl FnOnce() -> Arc<Peer>,
        change: impl FnOnce(&Peer),
    ) -> Arc<Peer> {
        let mut peers = self.peers.write().expect("no panic under this lock");
        let peer = Arc::make_mut(&mut peers)
            .entry(address)
            .or_insert_with(make);
        change(peer);
        Arc::clone(peer)
    }

    /// Forgets the peer if `is_over` says so. `is_over` is asked while no one can add it.
    pub fn remove_if(
        &self,
        address: &ValidatorAddress,
        is_over: impl FnOnce(&Peer) -> bool,
    ) -> Option<Arc<Peer>> {
        let mut peers = self.peers.write().expect("no panic under this lock");
        if !peers.get(address).is_some_and(|peer| is_over(peer)) {
            return None;
        }
        Arc::make_mut(&mut peers).remove(address)
    }
}
