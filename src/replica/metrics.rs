//! Counters. Written by all threads, read by whoever asks; bounded, like everything that a peer can
//! make grow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::algorithm::verify::Refusal;
use crate::algorithm::Event;
use crate::messages::MessageKind;
use crate::types::codec::DecodeError;
use crate::types::{ValidatorAddress, ValidatorSet};

/// Lines of the table of rejected messages for peers that are no validators. What comes beyond them
/// is counted under the address that is all zeros. Validators always have theirs.
pub(super) const REJECTED_LINES_MAX: usize = 4_096;

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The bytes are no message.
    Decode(DecodeError),
    /// The message is not what it claims to be.
    Refused(Refusal),
    /// The network says that it comes from this replica.
    FromOneself,
    /// Its view is too far ahead to be kept.
    FarAhead,
    /// Its view is long past.
    LongPast,
    /// It has been passed on before.
    Duplicate,
    /// A vote for what has its quorum already.
    NotNeeded,
    /// Its signer has said something else in the same view.
    Equivocation,
    /// More of its kind, signer and view than anyone needs.
    TooMany,
    /// The peer's share of the queue is full.
    QueueFull,
    /// An answer that nobody has asked for.
    NotAsked,
    /// The peer's last request is not answered yet.
    RequestInFlight,
    /// The peer has sent so much that is invalid that nothing of it is read for a while.
    Muted,
    /// The disk could not be read.
    Storage,
}

impl Reason {
    /// Whether only a faulty peer sends such a message.
    pub(super) fn is_fault(self) -> bool {
        match self {
            Reason::Decode(_) | Reason::Equivocation => true,
            Reason::Refused(refusal) => refusal != Refusal::UnknownEpoch,
            _ => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Reason::Decode(error) => return error.fmt(f),
            Reason::Refused(refusal) => return refusal.fmt(f),
            Reason::FromOneself => "from oneself",
            Reason::FarAhead => "too far ahead",
            Reason::LongPast => "long past",
            Reason::Duplicate => "duplicate",
            Reason::NotNeeded => "not needed",
            Reason::Equivocation => "equivocation",
            Reason::TooMany => "too many variants",
            Reason::QueueFull => "queue full",
            Reason::NotAsked => "not asked for",
            Reason::RequestInFlight => "last request in flight",
            Reason::Muted => "muted",
            Reason::Storage => "storage",
        };
        f.write_str(text)
    }
}

fn kind_name(kind: Option<MessageKind>) -> &'static str {
    match kind {
        None => "bytes",
        Some(MessageKind::Propose) => "propose",
        Some(MessageKind::Nudge) => "nudge",
        Some(MessageKind::Vote) => "vote",
        Some(MessageKind::TimeoutVote) => "timeout_vote",
        Some(MessageKind::AdvanceView) => "advance_view",
        Some(MessageKind::Wake) => "wake",
        Some(MessageKind::SyncRequest) => "sync_request",
        Some(MessageKind::SyncResponse) => "sync_response",
    }
}

type Rejected = (ValidatorAddress, Option<MessageKind>, Reason);

/// Counts since the replica was opened.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) messages_in: Counter,
    pub(super) bytes_in: Counter,
    pub(super) messages_out: Counter,
    pub(super) bytes_out: Counter,
    pub(super) rejected: Counter,
    pub(super) events_dropped: Counter,
    pub(super) transactions: Counter,
    pub(super) app_failures: Counter,
    proposals: Counter,
    votes: Counter,
    view_timeouts: Counter,
    evidence_found: Counter,
    rejected_by: Mutex<Table>,
}

/// Rejected messages, line by line.
#[derive(Default)]
struct Table {
    lines: BTreeMap<Rejected, u64>,
    validators: BTreeSet<ValidatorAddress>,
    /// How many of the lines are not validators'.
    strangers: usize,
}

impl Table {
    fn count(&mut self, (peer, kind, reason): Rejected, count: u64) {
        let is_stranger = !self.validators.contains(&peer);
        let is_new = !self.lines.contains_key(&(peer, kind, reason));
        let is_full = is_stranger && is_new && self.strangers >= REJECTED_LINES_MAX;
        self.strangers += usize::from(is_stranger && is_new && !is_full);
        let peer = if is_full {
            ValidatorAddress::default()
        } else {
            peer
        };
        *self.lines.entry((peer, kind, reason)).or_default() += count;
    }
}

/// A number that only grows.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn new(validators: &ValidatorSet) -> Counters {
        let counters = Counters::default();
        counters.set_validators(validators);
        counters
    }

    /// The validators are others from now on. The lines of those who were are strangers' now.
    pub(super) fn set_validators(&self, validators: &ValidatorSet) {
        let addresses = validators.members().iter().map(|member| member.address);
        let mut table = self.table();
        table.validators = addresses.collect();
        table.strangers = 0;
        for (line, count) in std::mem::take(&mut table.lines) {
            table.count(line, count);
        }
    }

    /// Counts a message of `bytes` bytes that goes to `peers` peers.
    pub(super) fn sent(&self, bytes: usize, peers: u64) {
        self.messages_out.add(peers);
        self.bytes_out.add(bytes as u64 * peers);
    }

    /// Counts a message that came in.
    pub(super) fn received(&self, bytes: usize) {
        self.messages_in.add(1);
        self.bytes_in.add(bytes as u64);
    }

    /// Counts a dropped message, by peer, kind and reason.
    pub(super) fn reject(&self, peer: ValidatorAddress, kind: Option<MessageKind>, reason: Reason) {
        self.rejected.add(1);
        self.table().count((peer, kind, reason), 1);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.rejected_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what an event says was done.
    pub(super) fn count(&self, event: &Event) {
        match event {
            Event::Proposed { .. } => self.proposals.add(1),
            Event::Voted { .. } => self.votes.add(1),
            Event::ViewTimedOut { .. } => self.view_timeouts.add(1),
            Event::EvidenceFound(_) => self.evidence_found.add(1),
            _ => {}
        }
    }

    /// A copy for the host.
    pub(super) fn metrics(&self) -> super::Metrics {
        let table = self.table();
        let line = |(&(peer, kind, reason), &count): (&Rejected, &u64)| {
            (peer, format!("{}: {reason}", kind_name(kind)), count)
        };
        super::Metrics {
            proposals: self.proposals.value(),
            votes: self.votes.value(),
            view_timeouts: self.view_timeouts.value(),
            messages_in: self.messages_in.value(),
            messages_out: self.messages_out.value(),
            bytes_in: self.bytes_in.value(),
            bytes_out: self.bytes_out.value(),
            messages_rejected: self.rejected.value(),
            events_dropped: self.events_dropped.value(),
            transactions: self.transactions.value(),
            app_failures: self.app_failures.value(),
            evidence_found: self.evidence_found.value(),
            rejected_by: table.lines.iter().map(line).collect(),
            ..super::Metrics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Validator;

    #[test]
    fn strangers_cannot_crowd_out_a_validators_lines() {
        let validator = ValidatorAddress([7; 32]);
        let member = |address| Validator { address, power: 1 };
        let set = |address| ValidatorSet::new([member(address)]).unwrap();
        let counters = Counters::new(&set(validator));
        for i in 0..REJECTED_LINES_MAX + 10 {
            let mut address = [1; 32];
            address[..8].copy_from_slice(&i.to_le_bytes());
            counters.reject(ValidatorAddress(address), None, Reason::Muted);
        }
        counters.reject(validator, Some(MessageKind::Vote), Reason::Duplicate);
        let metrics = counters.metrics();
        assert_eq!(metrics.messages_rejected, REJECTED_LINES_MAX as u64 + 11);
        assert_eq!(metrics.rejected_by.len(), REJECTED_LINES_MAX + 2);
        assert!(metrics
            .rejected_by
            .contains(&(validator, "vote: duplicate".into(), 1)));
        assert!(metrics.rejected_by.contains(&(
            ValidatorAddress::default(),
            "bytes: muted".into(),
            10
        )));
        // Whoever is a validator no longer has its line among the strangers'.
        counters.set_validators(&set(ValidatorAddress([8; 32])));
        let metrics = counters.metrics();
        assert!(metrics.rejected_by.len() <= REJECTED_LINES_MAX + 2);
        let all: u64 = metrics.rejected_by.iter().map(|(_, _, count)| count).sum();
        assert_eq!(all, metrics.messages_rejected);
    }
}
