//! What the poll loop and all callers share, and what can be told to it from any thread.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::config::TcpConfig;
use super::counters::{Counters, TcpCounters};
use super::dial::Doorbell;
use super::frame::Lane;
use super::peer::{Directory, Peer, Pumped};
use super::tls::{Known, Tls};
use crate::types::ValidatorAddress;

pub struct Hub {
    pub own: ValidatorAddress,
    pub config: TcpConfig,
    pub tls: Tls,
    pub known: Arc<Known>,
    pub directory: Directory,
    pub doorbell: Arc<Doorbell>,
    /// Counts of connections that never belonged to a peer, and of peers that are forgotten.
    pub others: Counters,
}

impl Hub {
    pub fn is_configured(&self, address: &ValidatorAddress) -> bool {
        self.config.peers.iter().any(|(peer, _)| peer == address)
    }

    /// The peer of that address, new if need be.
    pub fn peer(&self, address: ValidatorAddress, change: impl FnOnce(&Peer)) -> Arc<Peer> {
        let host = || {
            let found = self.config.peers.iter().find(|(peer, _)| *peer == address);
            found.map(|(_, host)| host.clone())
        };
        self.directory
            .find_or_add(address, || Peer::new(address, host(), &self.config), change)
    }

    pub fn connect(&self, address: ValidatorAddress) {
        if address == self.own {
            return;
        }
        self.known.insert(address);
        self.peer(address, |peer| peer.wanted.store(true, Relaxed));
        self.doorbell.call();
    }

    pub fn disconnect(&self, address: ValidatorAddress) {
        let Some(peer) = self.directory.find(&address) else {
            return;
        };
        if !self.is_configured(&address) {
            self.known.remove(&address);
        }
        peer.wanted.store(false, Relaxed);
        peer.unwanted.store(true, Relaxed);
        peer.outbox().close();
        self.doorbell.call();
    }

    pub fn send(&self, address: ValidatorAddress, message: &[u8]) {
        let Some(peer) = self.directory.find(&address) else {
            return Counters::count(match Lane::of(message.len()) {
                Lane::Urgent => &self.others.dropped_urgent,
                Lane::Bulk => &self.others.dropped_bulk,
            });
        };
        if message.len() > self.config.message_bytes_max {
            return peer.refuse(message.len());
        }
        if peer.is_connected() {
            self.settle(peer.send(&Arc::from(message)));
        } else if peer.is_wanted() {
            self.settle(peer.hold(&Arc::from(message)));
        } else {
            peer.refuse(message.len());
        }
    }

    pub fn broadcast(&self, message: &[u8]) {
        let peers = self.directory.all();
        let is_too_long = message.len() > self.config.message_bytes_max;
        let message: Arc<[u8]> = Arc::from(message);
        for peer in peers.values() {
            match peer.is_connected() {
                true if is_too_long => peer.refuse(message.len()),
                true => self.settle(peer.send(&message)),
                false if is_too_long || !peer.is_wanted() => {}
                false => self.settle(peer.hold(&message)),
            }
        }
    }

    fn settle(&self, pumped: Pumped) {
        if pumped != Pumped::Settled {
            self.doorbell.call();
        }
    }

    pub fn counters(&self) -> TcpCounters {
        let all = self.directory.all();
        let peers: Vec<_> = all
            .values()
            .map(|peer| (peer.address, peer.snapshot()))
            .collect();
        let mut total = self.others.snapshot();
        peers.iter().for_each(|(_, counters)| total.add(counters));
        TcpCounters { total, peers }
    }
}
