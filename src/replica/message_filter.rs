//! The message filter: everything from the network passes here, or nowhere.
//!
//! ```text
//!   NetworkProvider.receive --+
//!                             +--> decode --> window --> verify --+--> Alice
//!   Replica::deliver ---------+       |                           +--> sync server
//!                                     +--> early: until the next epoch begins
//! ```
//!
//! Each message pays with its own peer's account: a place in Alice's queue, a turn at the sync
//! server, a share of the patience with nonsense. The filter never waits for Alice, and drops
//! rather than blocks; what it drops it counts, by peer, kind and reason.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::algorithm::verify::{Refusal, Verified, Verifier};
use crate::algorithm::Input;
use crate::messages::{
    Message, MessageKind, Nudge, ProgressMessage, Propose, SyncMessage, SyncRequest, SyncResponse,
    Vote,
};
use crate::types::{codec, Epoch, Time, TimeoutCertificate, ValidatorAddress};

use super::alice::ToAlice;
use super::early::Early;
use super::metrics::Reason;
use super::peers::{Peers, Ticket};
use super::shared::Shared;
use super::sync_server::Job;
use super::window::{Novelty, Window};

/// How long one `receive` may wait. It is woken for everything that matters; this only bounds what
/// a network without `wake` costs at the stop.
pub(super) const RECEIVE_WAIT: Duration = Duration::from_secs(1);
/// A `receive` that returns nothing before this time, and often, has nothing to wait on.
const RECEIVE_TOO_SOON: Duration = Duration::from_millis(100);
/// So many in a row, and the filter waits by itself: a closed network must not make it spin.
const RECEIVE_TOO_SOON_MAX: u32 = 8;

/// Votes that are checked together, when so many wait. It is for what is in the machine's buffers
/// already: nothing is waited for.
const VOTES_TOGETHER_MAX: usize = 64;
/// No vote is longer.
const VOTE_BYTES_MAX: usize = 256;

/// The thread's state.
pub(super) struct MessageFilter {
    pub(super) shared: Arc<Shared>,
    pub(super) verifier: Verifier,
    /// The last epoch whose validators the verifier knows.
    pub(super) epoch: Epoch,
    pub(super) early: Early,
    pub(super) peers: Peers,
    pub(super) window: Window,
    pub(super) sync_server: Sender<Job>,
    /// Votes that this replica has just signed.
    pub(super) own_votes: Receiver<Vote>,
}

impl MessageFilter {
    /// Until the replica stops.
    pub(super) fn run(mut self) {
        let mut too_soon = 0;
        while !self.shared.is_stopping() {
            self.follow_epochs();
            if let Some((from, bytes)) = self.shared.inbox.pop() {
                too_soon = 0;
                self.take_with_votes(from, bytes);
            }
            let wait = if self.shared.inbox.is_empty() {
                RECEIVE_WAIT
            } else {
                Duration::ZERO
            };
            let began = self.shared.clock.now();
            if let Some((from, bytes)) = self.shared.network.receive(wait) {
                too_soon = 0;
                self.take_with_votes(from, bytes);
            } else if self.shared.clock.now().since(began) >= RECEIVE_TOO_SOON {
                too_soon = 0;
            } else if self.shared.inbox.is_empty() {
                too_soon += 1;
                if too_soon > RECEIVE_TOO_SOON_MAX {
                    self.shared.inbox.wait(RECEIVE_WAIT);
                }
            }
        }
    }

    /// Learns the epochs that have begun, and judges what has come too early for them.
    fn follow_epochs(&mut self) {
        let new = self.shared.published.epochs_after(self.epoch);
        let Some(last) = new.last() else {
            return;
        };
        self.epoch = last.epoch;
        self.peers.set_validators(&last.validator_set);
        self.shared.counters.set_validators(&last.validator_set);
        for record in new {
            self.verifier
                .learn(record.epoch, record.validator_set.clone());
            self.window.learn(record.epoch, record.validator_set);
        }
        for (from, bytes) in self.early.take() {
            self.judge(from, &bytes);
        }
    }

    /// Takes a message. If it is a vote, those that have come with it are checked with it.
    fn take_with_votes(&mut self, from: ValidatorAddress, bytes: Vec<u8>) {
        let mut messages = vec![(from, bytes)];
        let mut votes = Vec::new();
        while let Some(vote) = messages.last().and_then(|it| self.vote_of_use(it, &votes)) {
            votes.push(vote);
            if votes.len() == VOTES_TOGETHER_MAX {
                break;
            }
            let inbox = self.shared.inbox.pop();
            let next = inbox.or_else(|| self.shared.network.receive(Duration::ZERO));
            messages.extend(next);
            if messages.len() == votes.len() {
                break; // no more have come
            }
        }
        if votes.len() > 1 {
            self.verifier.check_together(&votes);
        }
        for (from, bytes) in messages {
            self.take(from, &bytes);
        }
    }

    /// The vote that the message is, from its voter, if it will be checked after `before`.
    fn vote_of_use(
        &mut self,
        (from, bytes): &(ValidatorAddress, Vec<u8>),
        before: &[Vote],
    ) -> Option<Vote> {
        if bytes.len() > VOTE_BYTES_MAX
            || self.peers.account(from).is_muted(self.shared.clock.now())
        {
            return None;
        }
        let Ok(Message::Progress(ProgressMessage::Vote(vote))) =
            codec::decode::<Message>(bytes, VOTE_BYTES_MAX)
        else {
            return None;
        };
        let place = self.shared.published.place();
        let is_of_use = vote.voter == *from
            && vote.statement.epoch == self.epoch
            && self.window.is_needed_after(place.at, &vote, before);
        is_of_use.then_some(vote)
    }

    /// Counts one message, and judges it.
    fn take(&mut self, from: ValidatorAddress, bytes: &[u8]) {
        self.shared.counters.received(bytes.len());
        self.judge(from, bytes);
    }

    /// Judges one message, and counts it if it is dropped.
    fn judge(&mut self, from: ValidatorAddress, bytes: &[u8]) {
        if let Err((kind, reason)) = self.admit(from, bytes) {
            self.shared.counters.reject(from, kind, reason);
            if reason.is_fault() {
                let now = self.shared.clock.now();
                self.peers.account(&from).blame(now);
            }
        }
    }

    fn admit(
        &mut self,
        from: ValidatorAddress,
        bytes: &[u8],
    ) -> Result<(), (Option<MessageKind>, Reason)> {
        if self.peers.account(&from).is_muted(self.shared.clock.now()) {
            return Err((None, Reason::Muted));
        }
        let message = codec::decode::<Message>(bytes, self.shared.message_bytes_max)
            .map_err(|error| (None, Reason::Decode(error)))?;
        if self.shared.me == Some(from) && !is_own_word(&message, &from) {
            return Err((None, Reason::FromOneself));
        }
        let kind = message.kind();
        let admitted = match message {
            Message::Progress(progress) => self.progress(from, progress, bytes),
            Message::Sync(SyncMessage::Request(request)) => self.sync_request(from, request),
            Message::Sync(SyncMessage::Response(response)) => {
                self.sync_response(from, response, bytes.len())
            }
        };
        admitted.map_err(|reason| (Some(kind), reason))
    }

    fn progress(
        &mut self,
        from: ValidatorAddress,
        message: ProgressMessage,
        bytes: &[u8],
    ) -> Result<(), Reason> {
        self.follow_epochs();
        if message.epoch() > self.epoch {
            return self.of_later_epoch(from, &message, bytes);
        }
        self.take_own_votes();
        let now = self.shared.clock.now();
        let place = self.shared.published.place();
        let novelty = self.window.judge(now, place, &from, &message, bytes)?;
        if novelty == Novelty::Old && !self.peers.account(&from).may_pass_old_certificate(now) {
            return Err(Reason::LongPast);
        }
        let ticket = self.ticket(&from, bytes.len())?;
        check_timeout_certificate(&message)?;
        let message = self.verifier.progress(message).map_err(Reason::Refused)?;
        if novelty == Novelty::Second {
            if self.window.is_first_second(message.message()) {
                self.pass(Input::Progress { from, message }, ticket)?;
            }
            return Err(Reason::Equivocation);
        }
        self.window
            .record(now, place.at, &from, message.message(), bytes);
        let contradicted = self.window.contradicted(message.message());
        self.pass(Input::Progress { from, message }, ticket)?;
        contradicted.map_or(Ok(()), |vote| self.pass_contradicted(vote))
    }

    /// Passes a vote that was not needed, and not checked, before its voter said something else.
    fn pass_contradicted(&mut self, vote: Vote) -> Result<(), Reason> {
        let from = vote.voter;
        let Ok(message) = self.verifier.progress(ProgressMessage::Vote(vote)) else {
            return Ok(()); // it was worth nothing
        };
        let ticket = self.ticket(&from, 0)?;
        self.pass(Input::Progress { from, message }, ticket)?;
        Err(Reason::Equivocation)
    }

    /// Its validators are not known. But it may carry what ends the epoch here, and whoever sends
    /// it has what is missing here, or lies.
    fn of_later_epoch(
        &mut self,
        from: ValidatorAddress,
        message: &ProgressMessage,
        bytes: &[u8],
    ) -> Result<(), Reason> {
        let now = self.shared.clock.now();
        if let Some(end) = self.epoch_end(now, &from, message) {
            self.pass_epoch_end(from, end)?;
        } else if self.peers.account(&from).may_hint(now) {
            let ticket = self.ticket(&from, 0)?;
            self.pass(Input::LaterEpoch { peer: from }, ticket)?;
        }
        if message.epoch() > self.epoch.next() {
            return Err(Reason::Refused(Refusal::UnknownEpoch));
        }
        self.early.hold(from, bytes);
        Ok(())
    }

    /// The Commit QC of this epoch that the message carries. Looked for rarely: anybody may make up
    /// what costs signatures to refuse.
    fn epoch_end(
        &mut self,
        now: Time,
        from: &ValidatorAddress,
        message: &ProgressMessage,
    ) -> Option<Verified<ProgressMessage>> {
        let may_carry = matches!(
            message.kind(),
            MessageKind::Propose | MessageKind::TimeoutVote | MessageKind::AdvanceView
        );
        let is_tried = may_carry && self.peers.account(from).may_end_epoch(now);
        is_tried.then(|| self.verifier.epoch_end(message)).flatten()
    }

    /// Passes the Commit QC of this epoch, unless Alice has been given it before.
    fn pass_epoch_end(
        &mut self,
        from: ValidatorAddress,
        message: Verified<ProgressMessage>,
    ) -> Result<(), Reason> {
        let now = self.shared.clock.now();
        let place = self.shared.published.place();
        let (certificate, bytes) = (message.message(), codec::encode(message.message()));
        let novelty = self.window.judge(now, place, &from, certificate, &bytes);
        if novelty != Ok(Novelty::New) {
            return Ok(());
        }
        let ticket = self.ticket(&from, bytes.len())?;
        self.window
            .record(now, place.at, &from, certificate, &bytes);
        self.pass(Input::Progress { from, message }, ticket)
    }

    /// One's own signatures come back in certificates: they need no check.
    fn take_own_votes(&mut self) {
        while let Ok(vote) = self.own_votes.try_recv() {
            self.verifier.trust(&vote);
            self.window.record_vote(&vote);
        }
    }

    fn sync_request(&mut self, from: ValidatorAddress, request: SyncRequest) -> Result<(), Reason> {
        let turn = self
            .peers
            .account(&from)
            .sync_turn()
            .ok_or(Reason::RequestInFlight)?;
        let job = Job {
            peer: from,
            request,
            turn,
        };
        self.sync_server
            .try_send(job)
            .map_err(|_| Reason::QueueFull)
    }

    fn sync_response(
        &mut self,
        from: ValidatorAddress,
        response: SyncResponse,
        bytes: usize,
    ) -> Result<(), Reason> {
        if !self
            .shared
            .published
            .take_asked(from, response.highest_committed_block)
        {
            return Err(Reason::NotAsked);
        }
        let ticket = self.ticket(&from, bytes)?;
        match self.verifier.sync_response(response) {
            Ok(response) => self.pass(Input::Synced { from, response }, ticket),
            Err(refusal) => {
                self.pass(Input::SyncFailed { peer: from }, ticket)?;
                Err(Reason::Refused(refusal))
            }
        }
    }

    fn ticket(&mut self, from: &ValidatorAddress, bytes: usize) -> Result<Ticket, Reason> {
        self.peers.ticket(from, bytes).ok_or(Reason::QueueFull)
    }

    /// The queue holds all tickets that the validators can have; it is full only if a crowd of
    /// listeners floods it together.
    fn pass(&self, input: Input, ticket: Ticket) -> Result<(), Reason> {
        let (input, ticket) = (Box::new(input), Some(ticket));
        self.shared
            .alice
            .try_send(ToAlice::Input { input, ticket })
            .map_err(|_| Reason::QueueFull)
    }
}

/// Whether it is a vote or a time-out of `me`. If it verifies, it is an echo, or a twin's.
fn is_own_word(message: &Message, me: &ValidatorAddress) -> bool {
    match message {
        Message::Progress(ProgressMessage::Vote(vote)) => vote.voter == *me,
        Message::Progress(ProgressMessage::TimeoutVote(timeout)) => timeout.validator == *me,
        _ => false,
    }
}

/// The TC of a proposal is for the view before, or else whoever sent it has put it there.
fn check_timeout_certificate(message: &ProgressMessage) -> Result<(), Reason> {
    let (vote, tc) = match message {
        ProgressMessage::Propose(Propose {
            vote,
            timeout_certificate: Some(tc),
            ..
        })
        | ProgressMessage::Nudge(Nudge {
            vote,
            timeout_certificate: Some(tc),
            ..
        }) => (vote, tc),
        _ => return Ok(()),
    };
    let TimeoutCertificate {
        epoch, view_num, ..
    } = tc;
    let is_right = *epoch == vote.statement.epoch && view_num.next() == vote.statement.view_num;
    if is_right {
        Ok(())
    } else {
        Err(Reason::Refused(Refusal::Inconsistent))
    }
}
