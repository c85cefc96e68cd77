//! One valid message per kind, signer and view: what has been said in the views around the current
//! one, for the filter. Pure; bounded by the window and by the validator set, since only what has
//! verified is remembered.
//!
//! ```text
//!   judge (before the signatures)  -> drop it, or: New | Second (another one of its signer is
//!   here) verify
//!   record (after them)
//! ```
//!
//! - A vote, a wake: one per signer and view; no vote for what has its quorum. The one that a
//!   validator has brought itself is kept aside, unchecked, and passed on if it says something else
//!   in that view: both together are evidence.
//! - A proposal, a nudge: the leader's vote names the block, but anybody can strip or exchange the
//!   TC on the way. So the first that comes from the leader itself passes whatever others have
//!   passed on, and of theirs [`RELAYED_MAX`] variants do.
//! - A time-out changes while its view lasts (it carries the highest QC of the moment), and is said
//!   again: [`VARIANTS_MAX`] per signer and view, the same bytes again after [`REPEAT_INTERVAL`].
//!   Out of the window it only tells who is behind: one in [`REPEAT_INTERVAL`]. So does a proposal
//!   or a nudge of an epoch that has ended, and one far ahead: its certificate may be all that a
//!   listener hears that it is behind.
//! - A certificate is judged whatever its view; the same bytes again after [`REPEAT_INTERVAL`].
//!
//! What has verified and contradicts what its signer has said before is an equivocation: the first
//! of each kind, signer and view is passed on, as evidence.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::algorithm::EPOCHS_KEPT;
use crate::messages::{
    Certificate, MessageKind, Nudge, ProgressMessage, Propose, TimeoutVote, Vote, Wake,
};
use crate::types::crypto::sha256;
use crate::types::{
    Epoch, Rank, Time, TimeoutCertificate, ValidatorAddress, ValidatorSet, VoteStatement,
};

use super::metrics::Reason;
use super::shared::Place;

/// Views behind the current one whose votes and proposals are still of use.
pub(super) const VIEWS_BEHIND_MAX: u64 = 16;
/// Variants of one proposal that pass when others than its leader bring them.
pub(super) const RELAYED_MAX: usize = 2;
/// Time-outs of one signer and view that pass, direct and relayed ones counted apart.
pub(super) const VARIANTS_MAX: usize = 8;
/// Certificates whose bytes are remembered.
pub(super) const CERTIFICATES_MAX: usize = 256;
/// The same bytes pass again after so long: the network may have lost the answer to the first.
pub(super) const REPEAT_INTERVAL: Duration = Duration::from_millis(100);

/// What has been passed on.
pub(super) struct Window {
    views_ahead_max: u64,
    /// Whose votes make a quorum, by epoch.
    validator_sets: BTreeMap<Epoch, ValidatorSet>,
    views: BTreeMap<Rank, Said>,
    /// What only tells who is behind, from outside of the window: when the last one passed.
    outside: BTreeMap<(ValidatorAddress, Route), Time>,
    certificates: VecDeque<(Digest, Time)>,
    pruned_at: Rank,
}

/// Whether the signer itself has brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Route {
    Direct,
    Relayed,
}

type Digest = [u8; 32];

/// What has been said in one view.
#[derive(Default)]
struct Said {
    votes: BTreeMap<ValidatorAddress, VoteStatement>,
    /// Not needed, and so unchecked; the last of each validator, as it brought it itself.
    spare: BTreeMap<ValidatorAddress, Vote>,
    proposals: BTreeMap<(ValidatorAddress, MessageKind), Proposed>,
    wakes: BTreeMap<ValidatorAddress, ()>,
    timeouts: BTreeMap<(ValidatorAddress, Route), Variants>,
    /// Equivocations that have been passed on.
    seconds: BTreeSet<(ValidatorAddress, MessageKind)>,
}

/// A leader's proposal, in the variants that have passed.
struct Proposed {
    vote: VoteStatement,
    direct: Option<Option<TimeoutCertificate>>,
    relayed: Vec<Option<TimeoutCertificate>>,
}

#[derive(Default)]
struct Variants {
    seen: Vec<Digest>,
    passed_at: Time,
}

/// What is to be done with a message that may pass if it verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    New,
    /// If it verifies, its signer has contradicted itself.
    Second,
    /// A certificate that says nothing new: pass it rarely.
    Old,
}

impl Window {
    pub(super) fn new(views_ahead_max: u64) -> Window {
        Window {
            views_ahead_max,
            validator_sets: BTreeMap::new(),
            views: BTreeMap::new(),
            outside: BTreeMap::new(),
            certificates: VecDeque::new(),
            pruned_at: Rank::default(),
        }
    }

    /// Learns the validators of an epoch, and forgets those of all but the last [`EPOCHS_KEPT`].
    pub(super) fn learn(&mut self, epoch: Epoch, validator_set: ValidatorSet) {
        self.validator_sets.insert(epoch, validator_set);
        while self.validator_sets.len() > EPOCHS_KEPT {
            self.validator_sets.pop_first();
        }
        self.outside.clear(); // bounded by the validators of the epochs kept
    }

    /// Whether `message` may still be of use, before anything is known of its signatures.
    pub(super) fn judge(
        &mut self,
        now: Time,
        place: Place,
        from: &ValidatorAddress,
        message: &ProgressMessage,
        bytes: &[u8],
    ) -> Result<Novelty, Reason> {
        self.prune(place.at);
        match message {
            ProgressMessage::Vote(vote) => {
                let judged = self.judge_vote(place.at, vote);
                if judged == Err(Reason::NotNeeded) && *from == vote.voter {
                    self.view(vote.rank()).spare.insert(vote.voter, *vote);
                }
                judged
            }
            ProgressMessage::Wake(wake) => self.judge_wake(place.at, wake),
            ProgressMessage::Propose(Propose {
                vote,
                timeout_certificate,
                ..
            })
            | ProgressMessage::Nudge(Nudge {
                vote,
                timeout_certificate,
                ..
            }) => {
                if let Err(reason) = self.inside(place.at, vote.rank()) {
                    return self.judge_leaders(now, place.at, from, vote, reason);
                }
                let said = self
                    .views
                    .get(&vote.rank())
                    .and_then(|s| s.proposals.get(&(vote.voter, message.kind())));
                said.map_or(Ok(Novelty::New), |said| {
                    said.judge(from, vote, timeout_certificate)
                })
            }
            ProgressMessage::TimeoutVote(timeout) => {
                self.judge_timeout(now, place.at, from, timeout, bytes)
            }
            ProgressMessage::AdvanceView(certificate) => {
                self.judge_certificate(now, place, certificate, bytes)
            }
        }
    }

    /// Whether an equivocation, which has verified, is the first of its kind, signer and view.
    pub(super) fn is_first_second(&mut self, message: &ProgressMessage) -> bool {
        let (ProgressMessage::Vote(vote)
        | ProgressMessage::Propose(Propose { vote, .. })
        | ProgressMessage::Nudge(Nudge { vote, .. })) = message
        else {
            return false;
        };
        let seconds = &mut self.view(vote.rank()).seconds;
        seconds.insert((vote.voter, message.kind()))
    }

    /// The vote that was not needed, and that `message`, which has verified, contradicts.
    pub(super) fn contradicted(&mut self, message: &ProgressMessage) -> Option<Vote> {
        let (ProgressMessage::Vote(vote)
        | ProgressMessage::Propose(Propose { vote, .. })
        | ProgressMessage::Nudge(Nudge { vote, .. })) = message
        else {
            return None;
        };
        let spare = self.views.get_mut(&vote.rank())?.spare.remove(&vote.voter);
        spare.filter(|spare| spare.statement != vote.statement)
    }

    /// Remembers a message that has verified and is on its way to Alice.
    pub(super) fn record(
        &mut self,
        now: Time,
        at: Rank,
        from: &ValidatorAddress,
        message: &ProgressMessage,
        bytes: &[u8],
    ) {
        match message {
            ProgressMessage::Propose(Propose { vote, .. })
            | ProgressMessage::Nudge(Nudge { vote, .. })
                if self.inside(at, vote.rank()).is_err() =>
            {
                let key = (vote.voter, route(from, &vote.voter));
                self.outside.insert(key, now);
            }
            ProgressMessage::Vote(vote) => self.record_vote(vote),
            ProgressMessage::Wake(wake) => {
                self.view(wake_rank(wake)).wakes.insert(wake.validator, ());
            }
            ProgressMessage::Propose(Propose {
                vote,
                timeout_certificate,
                ..
            })
            | ProgressMessage::Nudge(Nudge {
                vote,
                timeout_certificate,
                ..
            }) => {
                let key = (vote.voter, message.kind());
                let said = self.view(vote.rank()).proposals.entry(key);
                said.or_insert_with(|| Proposed::new(vote))
                    .record(from, vote, timeout_certificate);
                if message.kind() == MessageKind::Propose {
                    self.record_vote(vote); // the leader's own counts like any other
                }
            }
            ProgressMessage::TimeoutVote(timeout) => {
                let key = (timeout.validator, route(from, &timeout.validator));
                if self.inside(at, timeout_rank(timeout)).is_ok() {
                    let variants = self.view(timeout_rank(timeout)).timeouts.entry(key);
                    variants.or_default().record(now, bytes);
                } else {
                    self.outside.insert(key, now);
                }
            }
            ProgressMessage::AdvanceView(_) => self.record_certificate(now, bytes),
        }
    }

    fn judge_vote(&self, at: Rank, vote: &Vote) -> Result<Novelty, Reason> {
        self.inside(at, vote.rank())?;
        match self
            .views
            .get(&vote.rank())
            .and_then(|said| said.votes.get(&vote.voter))
        {
            None if self.is_spare(vote, &[]) => Err(Reason::NotNeeded),
            None => Ok(Novelty::New),
            Some(statement) if *statement == vote.statement => Err(Reason::Duplicate),
            Some(_) => Ok(Novelty::Second),
        }
    }

    /// Whether `vote` will be of use after `before`, which wait as well.
    pub(super) fn is_needed_after(&self, at: Rank, vote: &Vote, before: &[Vote]) -> bool {
        self.judge_vote(at, vote) == Ok(Novelty::New)
            && before.iter().all(|other| other.voter != vote.voter)
            && !self.is_spare(vote, before)
    }

    /// Whether Alice has been given a quorum of votes like this one, of a validator, or will have
    /// been with `more`, of other validators: one more changes nothing.
    fn is_spare(&self, vote: &Vote, more: &[Vote]) -> bool {
        let statement = &vote.statement;
        let set = self.validator_sets.get(&statement.epoch);
        let Some(set) = set.filter(|set| set.contains(&vote.voter)) else {
            return false;
        };
        let said = self.views.get(&statement.rank());
        let said = said.into_iter().flat_map(|said| &said.votes);
        let more = more.iter().map(|vote| (&vote.voter, &vote.statement));
        let power_of = |voter| set.index_of(voter).map_or(0, |at| set.members()[at].power);
        let voters = said.chain(more).filter(|(_, said)| *said == statement);
        set.is_quorum(voters.map(|(voter, _)| power_of(voter)).sum())
    }

    /// Remembers a vote that is on its way to Alice, or that is one's own.
    pub(super) fn record_vote(&mut self, vote: &Vote) {
        let votes = &mut self.view(vote.rank()).votes;
        votes.entry(vote.voter).or_insert(vote.statement);
    }

    fn judge_wake(&self, at: Rank, wake: &Wake) -> Result<Novelty, Reason> {
        self.inside(at, wake_rank(wake))?;
        let said = self.views.get(&wake_rank(wake));
        let is_known = said.is_some_and(|said| said.wakes.contains_key(&wake.validator));
        if is_known {
            Err(Reason::Duplicate)
        } else {
            Ok(Novelty::New)
        }
    }

    fn judge_timeout(
        &self,
        now: Time,
        at: Rank,
        from: &ValidatorAddress,
        timeout: &TimeoutVote,
        bytes: &[u8],
    ) -> Result<Novelty, Reason> {
        let rank = timeout_rank(timeout);
        let key = (timeout.validator, route(from, &timeout.validator));
        if let Err(reason) = self.inside(at, rank) {
            return self.judge_sign(now, from, &timeout.validator, reason);
        }
        let variants = self
            .views
            .get(&rank)
            .and_then(|said| said.timeouts.get(&key));
        variants.map_or(Ok(Novelty::New), |variants| variants.judge(now, bytes))
    }

    /// What a leader says out of the window, for `reason`.
    fn judge_leaders(
        &self,
        now: Time,
        at: Rank,
        from: &ValidatorAddress,
        vote: &Vote,
        reason: Reason,
    ) -> Result<Novelty, Reason> {
        if vote.rank().epoch == at.epoch && reason == Reason::LongPast {
            return Err(reason); // late, or sent twice: that is no sign of anything
        }
        self.judge_sign(now, from, &vote.voter, reason)
    }

    /// What is of use only as a sign that `signer` is behind, or that oneself is, passes rarely;
    /// else it is dropped for `reason`.
    fn judge_sign(
        &self,
        now: Time,
        from: &ValidatorAddress,
        signer: &ValidatorAddress,
        reason: Reason,
    ) -> Result<Novelty, Reason> {
        let last = self.outside.get(&(*signer, route(from, signer)));
        if last.is_some_and(|last| now.since(*last) < REPEAT_INTERVAL) {
            Err(reason)
        } else {
            Ok(Novelty::New)
        }
    }

    fn judge_certificate(
        &self,
        now: Time,
        place: Place,
        certificate: &Certificate,
        bytes: &[u8],
    ) -> Result<Novelty, Reason> {
        let is_news = match certificate {
            Certificate::Quorum(qc) => qc.rank() > place.highest_qc,
            Certificate::Timeout(tc) => tc.rank() >= place.at,
        };
        let digest = sha256(&[bytes]);
        let repeats = |(known, passed_at): &(Digest, Time)| {
            *known == digest && (!is_news || now.since(*passed_at) < REPEAT_INTERVAL)
        };
        if self.certificates.iter().any(repeats) {
            return Err(Reason::Duplicate);
        }
        Ok(if is_news { Novelty::New } else { Novelty::Old })
    }

    fn record_certificate(&mut self, now: Time, bytes: &[u8]) {
        if self.certificates.len() == CERTIFICATES_MAX {
            self.certificates.pop_front();
        }
        self.certificates.push_back((sha256(&[bytes]), now));
    }

    /// Whether `rank` is in the window of views around `at`.
    fn inside(&self, at: Rank, rank: Rank) -> Result<(), Reason> {
        let is_past = rank.epoch < at.epoch
            || (rank.epoch == at.epoch && rank.view.plus(VIEWS_BEHIND_MAX) < at.view);
        let is_ahead = (rank.epoch == at.epoch && rank.view > at.view.plus(self.views_ahead_max))
            || (rank.epoch > at.epoch && rank.view.0 > self.views_ahead_max)
            || rank.epoch > at.epoch.next();
        match (is_past, is_ahead) {
            (true, _) => Err(Reason::LongPast),
            (_, true) => Err(Reason::FarAhead),
            _ => Ok(()),
        }
    }

    fn view(&mut self, rank: Rank) -> &mut Said {
        self.views.entry(rank).or_default()
    }

    /// Forgets the views that have left the window.
    fn prune(&mut self, at: Rank) {
        if at == self.pruned_at {
            return;
        }
        self.pruned_at = at;
        while let Some(first) = self.views.first_entry() {
            let rank = *first.key();
            let is_past = rank.epoch < at.epoch
                || (rank.epoch == at.epoch && rank.view.plus(VIEWS_BEHIND_MAX) < at.view);
            if !is_past {
                return;
            }
            first.remove();
        }
    }
}

impl Proposed {
    fn new(vote: &Vote) -> Proposed {
        Proposed {
            vote: vote.statement,
            direct: None,
            relayed: Vec::new(),
        }
    }

    fn judge(
        &self,
        from: &ValidatorAddress,
        vote: &Vote,
        tc: &Option<TimeoutCertificate>,
    ) -> Result<Novelty, Reason> {
        if self.vote != vote.statement {
            return Ok(Novelty::Second);
        }
        if self.direct.as_ref() == Some(tc) || self.relayed.contains(tc) {
            return Err(Reason::Duplicate);
        }
        let has_room = match route(from, &vote.voter) {
            Route::Direct => self.direct.is_none(),
            Route::Relayed => self.relayed.len() < RELAYED_MAX,
        };
        if has_room {
            Ok(Novelty::New)
        } else {
            Err(Reason::TooMany)
        }
    }

    fn record(&mut self, from: &ValidatorAddress, vote: &Vote, tc: &Option<TimeoutCertificate>) {
        match route(from, &vote.voter) {
            Route::Direct => self.direct = Some(tc.clone()),
            Route::Relayed => self.relayed.push(tc.clone()),
        }
    }
}

impl Variants {
    fn judge(&self, now: Time, bytes: &[u8]) -> Result<Novelty, Reason> {
        if now.since(self.passed_at) >= REPEAT_INTERVAL {
            return Ok(Novelty::New);
        }
        if self.seen.contains(&sha256(&[bytes])) {
            return Err(Reason::Duplicate);
        }
        if self.seen.len() < VARIANTS_MAX {
            Ok(Novelty::New)
        } else {
            Err(Reason::TooMany)
        }
    }

    fn record(&mut self, now: Time, bytes: &[u8]) {
        let digest = sha256(&[bytes]);
        if !self.seen.contains(&digest) {
            if self.seen.len() == VARIANTS_MAX {
                self.seen.remove(0);
            }
            self.seen.push(digest);
        }
        self.passed_at = now;
    }
}

fn route(from: &ValidatorAddress, signer: &ValidatorAddress) -> Route {
    if from == signer {
        Route::Direct
    } else {
        Route::Relayed
    }
}

const fn timeout_rank(timeout: &TimeoutVote) -> Rank {
    Rank {
        epoch: timeout.epoch,
        view: timeout.view_num,
    }
}

const fn wake_rank(wake: &Wake) -> Rank {
    Rank {
        epoch: wake.epoch,
        view: wake.view_num,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        codec, BlockHash, GenesisHash, Phase, QuorumCertificate, Signature, Validator, ViewNumber,
    };

    const LEADER: ValidatorAddress = ValidatorAddress([1; 32]);
    const OTHER: ValidatorAddress = ValidatorAddress([2; 32]);

    /// Of four validators.
    fn window() -> Window {
        let mut window = Window::new(32);
        window.learn(Epoch(0), equals(4));
        window
    }

    fn equals(n: u8) -> ValidatorSet {
        let member = |i| Validator {
            address: ValidatorAddress([i; 32]),
            power: 1,
        };
        ValidatorSet::new((1..=n).map(member)).expect("at least one")
    }

    #[test]
    fn a_vote_beyond_the_quorum_is_not_needed() {
        let mut window = window();
        let by = |i, block| Vote {
            voter: ValidatorAddress([i; 32]),
            ..vote(10, block)
        };
        (1..=3).for_each(|i| window.record_vote(&by(i, 1)));
        assert_eq!(
            window.judge_vote(at(10).at, &by(4, 1)),
            Err(Reason::NotNeeded)
        );
        assert_eq!(window.judge_vote(at(10).at, &by(4, 2)), Ok(Novelty::New));
    }

    #[test]
    fn a_vote_that_was_not_needed_is_kept_against_its_voter() {
        let by = |i, block| Vote {
            voter: ValidatorAddress([i; 32]),
            ..vote(10, block)
        };
        let [first, second] = [1, 2].map(|block| by(4, block));
        let message = ProgressMessage::Vote;
        // What others bring in its name may not be its own.
        for (from, kept) in [(first.voter, Some(first)), (OTHER, None)] {
            let mut window = window();
            (1..=3).for_each(|i| window.record_vote(&by(i, 1)));
            let mut bring = |vote| pass(&mut window, Time(0), at(10), from, &message(vote));
            assert_eq!(bring(first), Err(Reason::NotNeeded));
            assert_eq!(bring(second), Ok(Novelty::New));
            assert_eq!(window.contradicted(&message(second)), kept);
            assert_eq!(window.contradicted(&message(second)), None, "once");
        }
    }

    #[test]
    fn a_quorum_is_that_of_the_votes_epoch() {
        let mut window = window();
        window.learn(Epoch(1), equals(7));
        let by = |i, epoch| {
            let mut vote = vote(10, 1);
            vote.voter = ValidatorAddress([i; 32]);
            vote.statement.epoch = Epoch(epoch);
            vote
        };
        for epoch in [0, 1] {
            (1..=3).for_each(|i| window.record_vote(&by(i, epoch)));
        }
        let judge = |epoch| window.judge_vote(at(10).at, &by(4, epoch));
        assert_eq!(judge(0), Err(Reason::NotNeeded));
        assert_eq!(judge(1), Ok(Novelty::New));
    }

    #[test]
    fn of_an_epoch_that_has_ended_time_outs_and_proposals_pass_rarely() {
        let mut window = window();
        let place = Place {
            at: Rank {
                epoch: Epoch(1),
                view: ViewNumber(1),
            },
            ..at(1)
        };
        let later = Time(0).after(REPEAT_INTERVAL);
        let mut judge = |now, m| pass(&mut window, now, place, LEADER, &m);
        assert_eq!(judge(Time(0), timeout(900, 0)), Ok(Novelty::New));
        assert_eq!(judge(Time(1), nudge(900, 1, None)), Err(Reason::LongPast));
        assert_eq!(judge(later, nudge(900, 1, None)), Ok(Novelty::New));
        assert_eq!(judge(later, timeout(901, 0)), Err(Reason::LongPast));
        let vote = ProgressMessage::Vote(vote(900, 1));
        assert_eq!(judge(later, vote), Err(Reason::LongPast));
        assert!(window.views.is_empty());
    }

    #[test]
    fn a_proposal_far_ahead_passes_rarely_and_is_not_remembered() {
        let mut window = window();
        let later = Time(0).after(REPEAT_INTERVAL);
        let mut judge =
            |now, from, view| pass(&mut window, now, at(10), from, &nudge(view, 1, None));
        assert_eq!(judge(Time(0), LEADER, 43), Ok(Novelty::New));
        assert_eq!(judge(Time(1), LEADER, 44), Err(Reason::FarAhead));
        assert_eq!(judge(Time(1), OTHER, 44), Ok(Novelty::New), "counted apart");
        assert_eq!(judge(later, LEADER, 900), Ok(Novelty::New));
        assert!(window.views.is_empty());
    }

    fn at(view: u64) -> Place {
        let at = Rank {
            epoch: Epoch(0),
            view: ViewNumber(view),
        };
        let highest_qc = Rank {
            epoch: Epoch(0),
            view: ViewNumber(view.saturating_sub(1)),
        };
        Place { at, highest_qc }
    }

    fn vote(view: u64, block: u8) -> Vote {
        let statement = VoteStatement {
            epoch: Epoch(0),
            view_num: ViewNumber(view),
            justify_view: ViewNumber(view - 1),
            block_hash: BlockHash([block; 32]),
            phase: Phase::Generic,
        };
        Vote {
            statement,
            voter: LEADER,
            signature: Signature([0; 64]),
        }
    }

    fn genesis_qc() -> QuorumCertificate {
        QuorumCertificate::genesis(GenesisHash::default())
    }

    fn nudge(view: u64, block: u8, tc: Option<u64>) -> ProgressMessage {
        let timeout_certificate = tc.map(|view| TimeoutCertificate {
            epoch: Epoch(0),
            view_num: ViewNumber(view),
            highest_qc: genesis_qc(),
            signatures: vec![],
        });
        let (justify, vote) = (genesis_qc(), vote(view, block));
        ProgressMessage::Nudge(Nudge {
            view_num: ViewNumber(view),
            justify,
            vote,
            timeout_certificate,
        })
    }

    fn pass(
        window: &mut Window,
        now: Time,
        place: Place,
        from: ValidatorAddress,
        message: &ProgressMessage,
    ) -> Result<Novelty, Reason> {
        let bytes = codec::encode(message);
        let novelty = window.judge(now, place, &from, message, &bytes)?;
        if novelty != Novelty::Second {
            window.record(now, place.at, &from, message, &bytes);
        }
        Ok(novelty)
    }

    #[test]
    fn one_vote_per_signer_and_view() {
        let mut window = window();
        let message = |view, block| ProgressMessage::Vote(vote(view, block));
        let mut judge = |m| pass(&mut window, Time(0), at(10), OTHER, &m);
        assert_eq!(judge(message(10, 1)), Ok(Novelty::New));
        assert_eq!(judge(message(10, 1)), Err(Reason::Duplicate));
        assert_eq!(judge(message(10, 2)), Ok(Novelty::Second));
        assert_eq!(judge(message(42, 1)), Ok(Novelty::New));
        assert_eq!(judge(message(43, 1)), Err(Reason::FarAhead));
    }

    #[test]
    fn past_views_are_forgotten() {
        let mut window = window();
        let old = ProgressMessage::Vote(vote(10, 1));
        assert_eq!(
            pass(&mut window, Time(0), at(26), LEADER, &old),
            Ok(Novelty::New)
        );
        assert_eq!(
            pass(&mut window, Time(0), at(27), LEADER, &old),
            Err(Reason::LongPast)
        );
        assert!(window.views.is_empty());
    }

    #[test]
    fn relayed_variants_cannot_shut_out_the_leaders_own() {
        let mut window = window();
        let mut judge = |from, tc| pass(&mut window, Time(0), at(10), from, &nudge(10, 1, tc));
        assert_eq!(judge(OTHER, None), Ok(Novelty::New), "stripped of its TC");
        assert_eq!(
            judge(OTHER, Some(7)),
            Ok(Novelty::New),
            "with a TC of another view"
        );
        assert_eq!(judge(OTHER, Some(8)), Err(Reason::TooMany));
        assert_eq!(judge(LEADER, Some(9)), Ok(Novelty::New), "the leader's own");
        assert_eq!(judge(LEADER, Some(9)), Err(Reason::Duplicate));
        assert_eq!(judge(LEADER, Some(8)), Err(Reason::TooMany));
    }

    fn timeout(view: u64, variant: u8) -> ProgressMessage {
        ProgressMessage::TimeoutVote(TimeoutVote {
            epoch: Epoch(0),
            view_num: ViewNumber(view),
            highest_qc: genesis_qc(),
            last_vote: None,
            validator: LEADER,
            signature: Signature([variant; 64]),
        })
    }

    #[test]
    fn a_time_out_is_passed_again_after_a_while() {
        let mut window = window();
        let later = Time(0).after(REPEAT_INTERVAL);
        let mut judge = |now, m| pass(&mut window, now, at(10), LEADER, &m);
        assert_eq!(judge(Time(0), timeout(10, 0)), Ok(Novelty::New));
        assert_eq!(judge(Time(1), timeout(10, 0)), Err(Reason::Duplicate));
        for variant in 1..VARIANTS_MAX as u8 {
            assert_eq!(judge(Time(1), timeout(10, variant)), Ok(Novelty::New));
        }
        assert_eq!(judge(Time(1), timeout(10, 99)), Err(Reason::TooMany));
        assert_eq!(
            judge(later.after(REPEAT_INTERVAL), timeout(10, 0)),
            Ok(Novelty::New)
        );
    }

    #[test]
    fn time_outs_out_of_the_window_pass_rarely() {
        let mut window = window();
        let mut judge = |now, from, m| pass(&mut window, now, at(100), from, &m);
        assert_eq!(judge(Time(0), LEADER, timeout(1, 0)), Ok(Novelty::New));
        assert_eq!(judge(Time(1), LEADER, timeout(2, 0)), Err(Reason::LongPast));
        assert_eq!(
            judge(Time(1), OTHER, timeout(2, 0)),
            Ok(Novelty::New),
            "counted apart"
        );
        assert_eq!(
            judge(Time(0).after(REPEAT_INTERVAL), LEADER, timeout(900, 0)),
            Ok(Novelty::New)
        );
    }

    #[test]
    fn certificates_pass_whatever_their_view() {
        let mut window = window();
        let qc = |view| {
            let qc = QuorumCertificate {
                view_num: ViewNumber(view),
                ..genesis_qc()
            };
            ProgressMessage::AdvanceView(Certificate::Quorum(qc))
        };
        let mut judge = |now, m| pass(&mut window, now, at(100), OTHER, &m);
        assert_eq!(judge(Time(0), qc(100_000)), Ok(Novelty::New));
        assert_eq!(judge(Time(1), qc(100_000)), Err(Reason::Duplicate));
        let later = Time(0).after(REPEAT_INTERVAL);
        assert_eq!(
            judge(later, qc(100_000)),
            Ok(Novelty::New),
            "it may have been of no use then"
        );
        assert_eq!(judge(Time(0), qc(3)), Ok(Novelty::Old));
        assert_eq!(judge(later, qc(3)), Err(Reason::Duplicate));
        let tc = |view| {
            ProgressMessage::AdvanceView(Certificate::Timeout(TimeoutCertificate {
                epoch: Epoch(0),
                view_num: ViewNumber(view),
                highest_qc: genesis_qc(),
                signatures: vec![],
            }))
        };
        assert_eq!(judge(Time(0), tc(100_000)), Ok(Novelty::New));
        assert_eq!(judge(Time(0), tc(99)), Ok(Novelty::Old));
    }
}
