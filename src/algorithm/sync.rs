//! Catching up: asking peers for blocks that certificates speak of. Voting never waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::messages::{Message, SyncMessage, SyncRequest, SyncResponse};
use crate::types::limits::BLOCKS_PER_RESPONSE_MAX;
use crate::types::{
    Block, BlockHash, BlockHeader, BlockHeight, CommitRule, GenesisHash, QuorumCertificate, Rank,
    Time, ValidatorAddress, ViewNumber,
};

use super::fetched::{is_update, weight, Fetched};
use super::step::current;
use super::{Algorithm, Event, To};

/// A peer that has failed is not asked for as long as that has cost, at least this part of the base
/// time-out, doubled with each failure in a row up to so many of them: whoever was cut off for long
/// is not to wait for long once it is over.
const BACK_OFF_DIVISOR: u32 = 16;
const BACK_OFF_MAX: u32 = 2;

/// Of peers that have failed, who has cost the least time since is asked first. What one has cost
/// is remembered to so many base time-outs more than what the cheapest has: a peer that was cut off
/// for long is not to wait for long behind one that gives a block at a time.
const COST_LEAD_MAX: u32 = 4;

/// Peers whose failures are remembered; of more, the one that may be asked again first is not.
const BACK_OFF_PEERS_MAX: usize = 2 * crate::types::limits::VALIDATORS_MAX;

/// What is certified and not known is asked for after this part of the base time-out.
const GRACE_DIVISOR: u32 = 16;

/// While an answer is being judged, the next range is asked for already, unless more than this is
/// unjudged. One answer more is all that can be on its way.
const UNJUDGED_BYTES_MAX: usize = 4 << 20;

/// This part of the greatest message is a fair answer, if it is cut short.
const FAIR_ANSWER_DIVISOR: usize = 4;

/// The pause after the app could not judge what was fetched.
const UNDECIDED_PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Sync {
    /// The highest certified block that is not known here.
    wanted: Option<(Rank, BlockHash)>,
    /// Since when something is wanted. Votes overtake large blocks: what is certified may be on its
    /// way, and is given a moment.
    wanted_since: Time,
    /// Who spoke of it, and so may have it.
    hint: Option<ValidatorAddress>,
    in_flight: Option<InFlight>,
    /// Where the last answer ended, if it did not hold what is wanted: the next question goes on
    /// from there, while that block is known, or being judged.
    cursor: Option<BlockHash>,
    fetched: Fetched,
    /// The highest certificate of an epoch that what was fetched leads to, and who sent it.
    kept: Option<(QuorumCertificate, ValidatorAddress)>,
    /// When a peer was last asked because it spoke of a later epoch.
    later_epoch_at: Option<Time>,
    back_off: BTreeMap<ValidatorAddress, BackOff>,
    /// Peers are asked in turn.
    turn: usize,
    /// No request before this time.
    not_before: Time,
    /// The last certificate or request; a peer is asked what is new when that is long ago, and at
    /// once if there was none.
    quiet_since: Option<Time>,
    /// A wanted block has been asked for, and its arrival is to be reported.
    is_catching_up: bool,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    peer: ValidatorAddress,
    request: SyncRequest,
    /// "What is new?", and not what follows on the last answer.
    is_poll: bool,
    /// A poll of whoever's turn it was: perhaps of a peer that is not there.
    is_blind: bool,
    since: Time,
    deadline: Time,
}

#[derive(Clone, Copy, Debug)]
struct BackOff {
    failures: u32,
    until: Time,
    /// The time that its requests have taken, all in vain or nearly so.
    cost: Duration,
}

impl Sync {
    /// Asks at once what is new.
    pub(super) fn new(now: Time) -> Sync {
        Sync {
            wanted: None,
            wanted_since: now,
            hint: None,
            in_flight: None,
            cursor: None,
            fetched: Fetched::default(),
            kept: None,
            later_epoch_at: None,
            back_off: BTreeMap::new(),
            turn: 0,
            not_before: now,
            quiet_since: None,
            is_catching_up: false,
        }
    }

    /// `from` speaks of a certified block: if none of higher rank is wanted, it is the next to ask.
    pub(super) fn want(&mut self, rank: Rank, hash: BlockHash, from: ValidatorAddress, now: Time) {
        if self.wanted.is_none() {
            self.wanted_since = now;
        }
        if self.wanted.is_none_or(|(wanted, _)| wanted <= rank) {
            self.wanted = Some((rank, hash));
            self.hint = Some(from);
            // Somebody has it. The answer to "what is new?", perhaps asked of a peer that is not
            // there, is awaited no longer.
            self.in_flight = self.in_flight.filter(|in_flight| !in_flight.is_poll);
        }
    }

    pub(super) fn wanted(&self) -> Option<BlockHash> {
        self.wanted.map(|(_, hash)| hash)
    }

    pub(super) fn target(&self) -> Option<BlockHeight> {
        self.fetched.last().map(|(_, block)| block.header.height)
    }

    pub(super) fn peer(&self) -> Option<ValidatorAddress> {
        self.in_flight.map(|in_flight| in_flight.peer)
    }

    /// The block is in the tree, whose committed head stands at `head`.
    pub(super) fn arrived(&mut self, hash: &BlockHash, head: Rank) {
        if self
            .wanted
            .is_some_and(|(rank, wanted)| wanted == *hash || rank <= head)
        {
            self.wanted = None;
            self.cursor = self.cursor.filter(|cursor| cursor == hash);
        }
    }

    /// A certificate has come: nobody need be asked what is new for a while.
    pub(super) fn saw_certificate(&mut self, now: Time) {
        self.quiet_since = self.quiet_since.map(|since| since.max(now));
    }

    /// `qc` is valid, and its epoch will begin with what is being fetched.
    pub(super) fn keep_for_later(&mut self, qc: &QuorumCertificate, from: ValidatorAddress) {
        let kept = self.kept.as_ref().map(|(kept, _)| kept.rank());
        if kept.is_none_or(|kept| kept < qc.rank()) {
            self.kept = Some((qc.clone(), from));
        }
    }

    /// An epoch has begun: its validators may be asked (before, there was perhaps nobody else), and
    /// what was kept may be of it.
    pub(super) fn begin_epoch(
        &mut self,
        now: Time,
    ) -> Option<(QuorumCertificate, ValidatorAddress)> {
        self.not_before = self.not_before.min(now);
        self.kept.take()
    }

    fn poll_at(&self, interval: Duration) -> Time {
        self.quiet_since
            .map_or(Time(0), |since| since.after(interval))
    }

    pub(super) fn next_fetched(&self) -> Option<(&BlockHash, &Block)> {
        self.fetched.first()
    }

    pub(super) fn take_fetched(&mut self) -> Option<(BlockHash, Block)> {
        self.fetched.take_first()
    }

    /// What follows cannot be judged, nor what is on its way to follow it: it is fetched again
    /// later.
    pub(super) fn give_up_fetched(&mut self, now: Time) {
        self.fetched = Fetched::default();
        self.cursor = None;
        self.in_flight = None;
        self.not_before = now.after(UNDECIDED_PAUSE);
    }

    /// Whether what was fetched above `first` shows it to be final.
    pub(super) fn makes_final(&self, first: &BlockHeader, rule: CommitRule) -> bool {
        let links = match rule {
            CommitRule::TwoChain => 2,
            CommitRule::ThreeChain => 3,
        };
        let above = self.fetched.iter().map(|(_, block)| &block.header);
        if above.clone().any(|header| header.epoch > first.epoch) {
            return true; // what ends an epoch is final, with all that is below
        }
        let mut views = vec![first.view];
        views.extend(above.map(|header| header.view));
        // The justify of each block certifies the one before in its own view: only the last one's
        // certificate is not among them.
        let certified = views.len().saturating_sub(1);
        let consecutive = |pair: &[ViewNumber]| pair[0].next() == pair[1];
        views[..certified]
            .windows(links)
            .any(|chain| chain.windows(2).all(consecutive))
    }

    /// The request in flight was in vain.
    fn fail(&mut self, peer: ValidatorAddress, now: Time, base_timeout: Duration) {
        let failures = self.failures(&peer);
        let cost = self.end_request(now);
        let pause = cost
            .max(base_timeout / BACK_OFF_DIVISOR)
            .saturating_mul(1 << failures.min(16))
            .min(cost.max(base_timeout.saturating_mul(BACK_OFF_MAX)));
        let back_off = BackOff {
            failures: failures + 1,
            until: now.after(pause),
            cost,
        };
        self.let_rest(peer, back_off);
    }

    /// The peer has given next to nothing, and that was right: it waits for its turn, as if it had
    /// failed. One that gives a block at a time would else be asked for ever.
    fn pass_over(&mut self, peer: ValidatorAddress, now: Time) {
        let back_off = BackOff {
            failures: self.failures(&peer),
            until: now,
            cost: self.end_request(now),
        };
        self.let_rest(peer, back_off);
    }

    fn failures(&self, peer: &ValidatorAddress) -> u32 {
        self.back_off.get(peer).map_or(0, |it| it.failures)
    }

    /// The request in flight is over; it has taken so long.
    fn end_request(&mut self, now: Time) -> Duration {
        let in_flight = self.in_flight.take();
        in_flight.map_or(Duration::ZERO, |in_flight| now.since(in_flight.since))
    }

    fn let_rest(&mut self, peer: ValidatorAddress, mut back_off: BackOff) {
        back_off.cost = back_off.cost.saturating_add(self.cost(&peer));
        if self.back_off.len() >= BACK_OFF_PEERS_MAX {
            let first = self.back_off.iter().min_by_key(|(_, it)| it.until);
            let first = first.map(|(peer, _)| *peer);
            first.map(|first| self.back_off.remove(&first));
        }
        self.back_off.insert(peer, back_off);
        self.hint = None;
    }

    fn cost(&self, peer: &ValidatorAddress) -> Duration {
        self.back_off.get(peer).map_or(Duration::ZERO, |it| it.cost)
    }

    fn is_ready(&self, peer: &ValidatorAddress, now: Time) -> bool {
        self.back_off
            .get(peer)
            .is_none_or(|back_off| back_off.until <= now)
    }
}

impl Algorithm {
    /// Asks a peer, if something is wanted and nothing is on its way; while what came is judged,
    /// for what follows it.
    pub(super) fn try_sync(&mut self) {
        let head = self.tree.head().rank;
        if let Some((rank, hash)) = self.sync.wanted {
            if rank <= head || self.tree.knows(&hash) {
                self.sync.wanted = None;
            }
        }
        if self.sync.in_flight.is_some() {
            return;
        }
        let is_done = self.sync.wanted.is_none() && !self.is_judging_what_came();
        if self.sync.is_catching_up && is_done {
            self.sync.is_catching_up = false;
            self.events.push(Event::SyncFinished {
                height: self.tree.head().height,
            });
        }
        if self.now < self.sync_due() {
            return;
        }
        let Some(asked) = self.next_range() else {
            return;
        };
        let hint = self.sync.hint;
        let Some(peer) = self.choose_peer() else {
            return;
        };
        let limit = self.config.sync.request_limit;
        let request = SyncRequest {
            highest_committed_block: asked,
            limit: limit.clamp(1, BLOCKS_PER_RESPONSE_MAX as u32),
            wanted: self.sync.wanted().filter(|hash| !self.is_unjudged(hash)),
        };
        let is_poll = request.wanted.is_none() && !self.is_judging_what_came();
        let deadline = self.now.after(self.config.sync.response_timeout);
        self.sync.in_flight = Some(InFlight {
            peer,
            request,
            is_poll,
            is_blind: is_poll && hint != Some(peer),
            since: self.now,
            deadline,
        });
        self.sync.quiet_since = Some(self.now);
        if request.wanted.is_some() && !self.sync.is_catching_up {
            self.sync.is_catching_up = true;
            self.events.push(Event::SyncStarted { peer });
        }
        self.send(To::Peer(peer), Message::Sync(SyncMessage::Request(request)));
    }

    /// The block after which to ask; `None` while enough is being judged.
    fn next_range(&self) -> Option<BlockHash> {
        let cursor = self.sync.cursor;
        let with_the_app = self.judging.fetched_in_question();
        let fetched = &self.sync.fetched;
        let Some((last, _)) = fetched.last().or(with_the_app) else {
            let cursor = cursor.filter(|hash| self.tree.knows(hash));
            return Some(cursor.unwrap_or(self.tree.head().hash));
        };
        let bytes = fetched.bytes() + with_the_app.map_or(0, |(_, block)| weight(block));
        // Beyond an update, nothing can be verified before it is committed.
        let is_one_epoch =
            !fetched.has_update() && !with_the_app.is_some_and(|(_, block)| is_update(block));
        cursor.filter(|cursor| cursor == last && is_one_epoch && bytes <= UNJUDGED_BYTES_MAX)
    }

    /// What was fetched and has no verdict yet, parents first.
    fn unjudged(&self) -> impl Iterator<Item = (&BlockHash, &Block)> {
        let with_the_app = self.judging.fetched_in_question().into_iter();
        with_the_app.chain(self.sync.fetched.iter())
    }

    fn is_unjudged(&self, hash: &BlockHash) -> bool {
        self.unjudged().any(|(unjudged, _)| unjudged == hash)
    }

    /// The peer that spoke of what is wanted, validator or not (the set may have changed), else the
    /// next validator whose turn it is.
    fn choose_peer(&mut self) -> Option<ValidatorAddress> {
        let me = self.config.me;
        let set = &current(&self.epochs).validator_set;
        let now = self.now;
        let is_other = |peer: &ValidatorAddress| Some(*peer) != me;
        // A peer that has failed waits for its turn: a silent liar would else be asked each time
        // that it speaks of what it withholds.
        let has_failed = |peer: &ValidatorAddress| self.sync.back_off.contains_key(peer);
        let hint = self
            .sync
            .hint
            .filter(|peer| is_other(peer) && !has_failed(peer));
        self.sync.hint = None;
        if hint.is_some() {
            return hint;
        }
        let others = (0..set.len())
            .map(|step| (self.sync.turn + step) % set.len())
            .map(|index| (index, set.members()[index].address))
            .filter(|(_, peer)| is_other(peer));
        let ready = others
            .clone()
            .filter(|(_, peer)| self.sync.is_ready(peer, now));
        let cheapest = ready.min_by_key(|(_, peer)| (has_failed(peer), self.sync.cost(peer)));
        if let Some((index, peer)) = cheapest {
            self.sync.turn = index + 1;
            return Some(peer);
        }
        // Everybody has failed lately, or there is nobody else.
        let until = others.map(|(_, peer)| self.sync.back_off[&peer].until);
        self.sync.not_before = until.min().unwrap_or(Time::NEVER);
        None
    }

    pub(super) fn sync_deadline(&self) -> Time {
        if let Some(in_flight) = self.sync.in_flight {
            return in_flight.deadline;
        }
        if self.is_judging_what_came() {
            return Time::NEVER; // the app is at work
        }
        self.sync_due()
    }

    /// When to ask, if nothing is on its way.
    fn sync_due(&self) -> Time {
        let due = match self.sync.wanted {
            Some(_) if self.sync.cursor.is_some() => Time(0),
            Some(_) => self
                .sync
                .wanted_since
                .after(self.base_timeout() / GRACE_DIVISOR),
            None => self.sync.poll_at(self.config.sync.interval),
        };
        due.max(self.sync.not_before)
    }

    fn is_judging_what_came(&self) -> bool {
        self.unjudged().next().is_some()
    }

    pub(super) fn on_sync_deadline(&mut self) {
        let Some(InFlight { peer, deadline, .. }) = self.sync.in_flight else {
            return;
        };
        if self.now >= deadline {
            self.fail_sync(peer, "no answer in time");
        }
    }

    /// Upon an answer that did not verify.
    pub(super) fn on_sync_failed(&mut self, peer: ValidatorAddress) {
        if self.sync.peer() == Some(peer) {
            self.fail_sync(peer, "the answer does not verify");
        }
    }

    /// Upon a peer's word, which nobody can verify here, of a later epoch: what is new is asked of
    /// it, at most once in a base time-out.
    pub(super) fn on_later_epoch(&mut self, peer: ValidatorAddress) {
        let again = self
            .sync
            .later_epoch_at
            .map(|at| at.after(self.base_timeout()));
        // A blind poll is awaited no longer: here is somebody who is there, and has more.
        let in_flight = self.sync.in_flight.filter(|it| !it.is_blind);
        let is_free = self.sync.wanted.is_none() && in_flight.is_none();
        if is_free && again.is_none_or(|again| again <= self.now) {
            self.sync.in_flight = None;
            self.sync.later_epoch_at = Some(self.now);
            self.sync.quiet_since = None;
            self.sync.hint = Some(peer);
        }
    }

    fn fail_sync(&mut self, peer: ValidatorAddress, why: &'static str) {
        self.sync.fail(peer, self.now, self.base_timeout());
        self.bound_cost(peer);
        self.events.push(Event::SyncFailed { peer, why });
    }

    /// See [`COST_LEAD_MAX`].
    fn bound_cost(&mut self, peer: ValidatorAddress) {
        let members = current(&self.epochs).validator_set.members().iter();
        let others = members.map(|it| it.address).filter(|other| *other != peer);
        let others = others.filter(|other| Some(*other) != self.config.me);
        let least = others.map(|other| self.sync.cost(&other)).min();
        let lead = self.base_timeout().saturating_mul(COST_LEAD_MAX);
        if let Some(back_off) = self.sync.back_off.get_mut(&peer) {
            back_off.cost = back_off
                .cost
                .min(least.unwrap_or_default().saturating_add(lead));
        }
    }

    /// Upon an answer: its certificates first. Its blocks are taken if they link up from what was
    /// asked for to a block that is certified: a quorum has then checked all that lies between, and
    /// their hashes cover it.
    pub(super) fn on_synced(&mut self, from: ValidatorAddress, response: SyncResponse) {
        let in_flight = self.sync.in_flight.filter(|it| it.peer == from);
        let Some(InFlight { request, .. }) = in_flight else {
            return; // nobody asked
        };
        for qc in &response.tail_qcs {
            self.on_qc(qc, from);
        }
        if response.highest_committed_block != request.highest_committed_block {
            return; // late, or sent twice: the answer to this question may still come
        }
        match self.check_answer(&request, response) {
            Ok(Some(blocks)) => self.take_answer(from, &request, blocks),
            Ok(None) => {} // late: it leads to what was wanted then, and only the asker can prove
            Err(why) => {
                // Perhaps it has no such block to go on from. (A silent peer says nothing of that:
                // what the others have given stands.)
                self.sync.cursor = None;
                self.fail_sync(from, why);
            }
        }
    }

    /// The blocks of an answer with their hashes; `None` if nothing here certifies the last.
    fn check_answer(
        &self,
        request: &SyncRequest,
        response: SyncResponse,
    ) -> Result<Option<VecDeque<(BlockHash, Block)>>, &'static str> {
        let SyncResponse {
            highest_committed_block,
            blocks,
            tail_qcs,
        } = response;
        if blocks.len() > request.limit as usize {
            return Err("it holds more blocks than were asked for");
        }
        if blocks.is_empty() && request.wanted.is_some() {
            return Err("it does not have the block either");
        }
        let hashed = linked(&self.config.genesis, highest_committed_block, blocks)
            .ok_or("its blocks do not link up")?;
        let is_certified = |hash: &BlockHash| {
            tail_qcs.iter().any(|qc| qc.block_hash == *hash)
                || self.highest_qc.block_hash == *hash
                || request.wanted == Some(*hash) // perhaps it has come by itself in the meantime
        };
        if hashed.back().is_some_and(|(hash, _)| !is_certified(hash)) {
            return match tail_qcs.is_empty() {
                true => Ok(None),
                false => Err("its last block is not certified"),
            };
        }
        let is_known = |hash: &BlockHash| {
            self.tree.knows(hash) || self.unjudged().last().is_some_and(|(last, _)| last == hash)
        };
        match hashed.iter().find(|block| self.is_new(block)) {
            Some((_, first)) if !is_known(&first.header.parent()) => {
                Err("its blocks do not continue the chain")
            }
            _ => Ok(Some(hashed)),
        }
    }

    fn is_new(&self, (hash, block): &(BlockHash, Block)) -> bool {
        block.header.height > self.tree.head().height && !self.tree.knows(hash)
    }

    /// Takes the blocks of an answer to be judged.
    fn take_answer(
        &mut self,
        from: ValidatorAddress,
        request: &SyncRequest,
        blocks: VecDeque<(BlockHash, Block)>,
    ) {
        let is_wanted = |(hash, _): &(BlockHash, Block)| request.wanted == Some(*hash);
        let is_found = blocks.iter().any(is_wanted);
        let is_full = self.is_full(&blocks, request);
        // What follows an update is judged by a set that only the update shows: it is asked for
        // together with it, unless it is committed by then.
        let end = blocks.back().filter(|(_, block)| !is_update(block));
        self.sync.cursor = end.map(|(hash, _)| *hash).filter(|_| !is_found);
        let fetched: VecDeque<_> = blocks.into_iter().filter(|it| self.is_new(it)).collect();
        if !fetched.is_empty() && !is_found {
            self.sync.quiet_since = None; // there may be more, although nobody speaks of it
        }
        self.sync.fetched.extend(fetched);
        if is_full || is_found || request.wanted.is_none() {
            self.sync.in_flight = None;
            self.sync.back_off.remove(&from);
            self.sync.hint = Some(from);
        } else {
            self.sync.pass_over(from, self.now);
        }
    }

    /// Whether an answer holds as many blocks as were asked for, or a fair part of a message.
    fn is_full(&self, blocks: &VecDeque<(BlockHash, Block)>, request: &SyncRequest) -> bool {
        let fair = self.config.parameters.message_bytes_max() / FAIR_ANSWER_DIVISOR;
        let bytes: usize = blocks.iter().map(|(_, block)| weight(block)).sum();
        blocks.len() >= request.limit as usize || bytes >= fair
    }
}

/// The blocks with their hashes, if each is the child of the one before and the first is `after`'s.
fn linked(
    genesis: &GenesisHash,
    after: BlockHash,
    blocks: Vec<Block>,
) -> Option<VecDeque<(BlockHash, Block)>> {
    let mut parent = after;
    let mut height = None;
    let mut linked = VecDeque::with_capacity(blocks.len());
    for block in blocks {
        let header = &block.header;
        let is_next = height.is_none_or(|below: BlockHeight| below.next() == header.height);
        if header.parent() != parent || !is_next {
            return None;
        }
        height = Some(header.height);
        parent = header.hash(genesis);
        linked.push_back((parent, block));
    }
    Some(linked)
}
