//! Leading a view: ask the app, propose once, and keep quiet when there is nothing to say.

use crate::app::ProposeBlockResponse;
use crate::messages::{Certificate, ProgressMessage};
use crate::types::{
    check_state_updates, Block, BlockHash, BlockHeader, Data, DataHash, StateUpdates, Time,
    TimeoutCertificate, ValidatorSetUpdates, ViewNumber,
};

use super::safety;
use super::step::Then;
use super::vote::{vote_statement, Place, Question};
use super::{Algorithm, Effect, Event, StoredProposal, To, Write};

/// What the leader of a view has done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proposing {
    NotAsked,
    Asked,
    /// The app had no work in an idle view: an empty block follows at this time.
    Deferred {
        until: Time,
    },
    Done,
}

/// What the app puts into a block.
#[derive(Debug)]
struct Content {
    data: Data,
    data_hash: DataHash,
    state_updates: StateUpdates,
    validator_set_updates: Option<ValidatorSetUpdates>,
}

/// What the app has answered; no content if it has no work, and why the answer is of no use.
type Answer = Result<Option<Content>, &'static str>;

/// The app's answer for the next view, which I lead, on the block that I have just voted for: it
/// is asked while the votes come in.
#[derive(Debug)]
pub(super) struct Ahead {
    place: Place,
    answer: Answer,
}

impl Algorithm {
    /// Proposes once in the view that I lead, as soon as I hold what justifies it and know the
    /// block to build on, or to nudge. Nothing waits for a fixed delay.
    pub(super) fn try_propose(&mut self) {
        let is_open = !matches!(self.proposing, Proposing::Asked | Proposing::Done);
        if !is_open || !self.is_validator() || !self.is_leader() {
            return;
        }
        if !safety::may_vote(&self.record, self.view()) {
            self.proposing = Proposing::Done; // proposed before a crash, or timed out
            return;
        }
        if !self.tree.knows(&self.highest_qc.block_hash) {
            return; // it is being fetched
        }
        if !safety::justifies_block(self.highest_qc.phase) {
            self.nudge();
            return;
        }
        match self.proposing {
            Proposing::Deferred { until } if !self.is_notified => {
                if !self.is_idle() || self.now >= until {
                    self.propose_empty();
                }
            }
            _ => {
                if self.others_have_room() && self.has_room(self.highest_qc.block_hash, 1, false) {
                    self.ask_app();
                } else {
                    self.propose_empty();
                }
            }
        }
    }

    pub(super) fn propose_deadline(&self) -> Time {
        match self.proposing {
            // Whoever has become silent in the meantime proposes no more: the time would not move.
            Proposing::Deferred { until }
                if self.is_validator() && self.tree.knows(&self.highest_qc.block_hash) =>
            {
                until
            }
            _ => Time::NEVER,
        }
    }

    /// Whether the others have room for one more block with data, as far as can be told from here:
    /// each view since the highest QC may have left them a block on top of it, which they keep,
    /// since it may yet be certified.
    fn others_have_room(&self) -> bool {
        let (tip, rank) = (self.highest_qc.block_hash, self.highest_qc.rank());
        let tip = self.tree.place(&tip).map_or(0, |(height, _)| height.0);
        let await_commit = tip.saturating_sub(self.tree.head().height.0);
        let left = self.view.0.saturating_sub(rank.view.next().0);
        await_commit + left < self.config.limits.pending_blocks_max as u64
    }

    /// Asks for the block of this view, unless that was done ahead.
    fn ask_app(&mut self) {
        let place = self.place();
        if let Some(answer) = self.take_ahead() {
            self.use_answer(answer);
        } else if self.judging.asked.is_none() {
            self.ask_for_block(place);
            self.proposing = Proposing::Asked;
        } else if self.judging.is_asked_for_block(place) {
            self.proposing = Proposing::Asked;
        } // else it is asked when the app is free
    }

    /// Asks for the block of the next view, if I lead it, while votes for the one below come in.
    pub(super) fn ask_ahead(&mut self) {
        let Some(place) = self.place_ahead() else {
            return;
        };
        let is_due = self.judging.asked.is_none()
            && self.ahead.is_none()
            && self.config.me == Some(self.leader_of(place.cur_view))
            && self.is_validator()
            && !safety::has_timed_out(&self.record, self.view())
            && self.is_within_limits(1, false);
        if is_due {
            self.ask_for_block(place);
        }
    }

    /// Where a block of this view stands.
    fn place(&self) -> Place {
        Place {
            cur_view: self.view,
            prev_block: self.highest_qc.block_hash,
        }
    }

    /// Where a block of the next view stands, if the votes for the one that I have just voted for
    /// come in. A block that updates the validator set is nudged before it has a child.
    fn place_ahead(&self) -> Option<Place> {
        let voted = self.record.voted?;
        let is_parent = voted.rank() == self.view() && safety::justifies_block(voted.phase);
        is_parent.then(|| Place {
            cur_view: self.view.next(),
            prev_block: voted.block_hash,
        })
    }

    fn ask_for_block(&mut self, place: Place) {
        self.judging.asked = Some(Question::Propose(place));
        self.is_notified = false;
        self.effects.push(Effect::ProposeBlock {
            cur_view: place.cur_view,
            prev_block: place.prev_block,
            until: self.timer,
        });
    }

    /// Upon the app's answer. One that comes after the view, or after a higher certificate, is not
    /// used; its work is asked for again.
    pub(super) fn on_block_proposed(
        &mut self,
        cur_view: ViewNumber,
        prev_block: BlockHash,
        response: ProposeBlockResponse,
    ) {
        let place = Place {
            cur_view,
            prev_block,
        };
        if !self.judging.is_asked_for_block(place) {
            return;
        }
        self.judging.asked = None;
        let answer = self.check_proposal(response);
        let is_current = cur_view == self.view && self.proposing == Proposing::Asked;
        let is_usable = is_current
            && place == self.place()
            && self.is_validator()
            && safety::may_vote(&self.record, self.view());
        if is_usable {
            self.use_answer(answer);
            return;
        }
        if is_current {
            self.proposing = Proposing::NotAsked;
        }
        self.ahead = Some(Ahead { place, answer });
        self.forget_stale_ahead();
    }

    /// Keeps what was asked for ahead only for its place. Work that has none is asked for again.
    pub(super) fn forget_stale_ahead(&mut self) {
        let Some(Ahead { place, answer }) = &self.ahead else {
            return;
        };
        let is_to_come = self.place_ahead() == Some(*place);
        let is_here =
            self.place() == *place && self.proposing == Proposing::NotAsked && self.is_leader();
        if !is_to_come && !is_here {
            self.is_notified |= matches!(answer, Ok(Some(_)));
            self.ahead = None;
        }
    }

    /// What the app has answered ahead for this view. "No work" is asked again if some has come.
    fn take_ahead(&mut self) -> Option<Answer> {
        self.forget_stale_ahead();
        let here = self.place();
        let Ahead { answer, .. } = self.ahead.take_if(|ahead| ahead.place == here)?;
        let has_work_come = self.is_notified && matches!(answer, Ok(None));
        (!has_work_come).then_some(answer)
    }

    /// Proposes in the current view, on the highest QC.
    fn use_answer(&mut self, answer: Answer) {
        let prev_block = self.highest_qc.block_hash;
        match answer {
            Ok(Some(Content { data, .. }))
                if !self.has_room(prev_block, data.len() as u64, false) =>
            {
                self.is_notified = true; // the work is still there
                self.propose_empty();
            }
            Ok(Some(content)) => self.propose(content),
            Ok(None) if self.is_idle() => self.defer(),
            Ok(None) => self.propose_empty(),
            Err(why) => {
                self.events.push(Event::AppFailed { why });
                self.proposing = Proposing::Done;
            }
        }
    }

    fn check_proposal(&self, response: ProposeBlockResponse) -> Answer {
        let (data, state_updates, validator_set_updates) = match response {
            ProposeBlockResponse::Block {
                data,
                state_updates,
                validator_set_updates,
            } => (
                data,
                state_updates.unwrap_or_default(),
                validator_set_updates,
            ),
            ProposeBlockResponse::Defer => return Ok(None),
            ProposeBlockResponse::Failed => return Err("propose_block failed"),
        };
        if data.is_empty() {
            return Err("propose_block gave empty data: those blocks are the library's own");
        }
        if data.len() as u64 > self.config.parameters.block_data_bytes_max {
            return Err("propose_block gave more data than the chain's block_data_bytes_max");
        }
        let validator_set_updates = validator_set_updates.filter(|updates| !updates.is_empty());
        if let Some(updates) = &validator_set_updates {
            self.updated_set(updates)?;
        }
        check_state_updates(&state_updates)?;
        let data = Data::new(data);
        Ok(Some(Content {
            data_hash: data.hash(),
            data,
            state_updates,
            validator_set_updates,
        }))
    }

    /// An idle view: tell everybody the last certificate, so that nobody waits for the last commit,
    /// and wait for work.
    fn defer(&mut self) {
        self.proposing = Proposing::Deferred {
            until: self.now.after(self.max_idle()),
        };
        if self.highest_qc.view_num.0 > 0 {
            let certificate = Certificate::Quorum(self.highest_qc.clone());
            self.send_progress(To::All, ProgressMessage::AdvanceView(certificate));
        }
    }

    fn propose_empty(&mut self) {
        let data = Data::empty();
        self.propose(Content {
            data_hash: data.hash(),
            data,
            state_updates: StateUpdates::new(),
            validator_set_updates: None,
        });
    }

    fn propose(&mut self, content: Content) {
        let Content {
            data,
            data_hash,
            state_updates,
            validator_set_updates,
        } = content;
        let parent = self.highest_qc.block_hash;
        let (height, _) = self.tree.place(&parent).expect("the parent is known");
        let header = BlockHeader {
            height: height.next(),
            epoch: self.epoch,
            view: self.view,
            justify: self.highest_qc.clone(),
            data_hash,
            validator_set_updates,
        };
        let hash = header.hash(&self.config.genesis);
        let timeout_certificate = self.needed_tc();
        let block = Block {
            header: header.clone(),
            data,
        };
        let (rank, height) = (header.rank(), header.height);
        self.events.push(Event::Proposed {
            rank,
            height,
            block: hash,
        });
        self.insert(hash, block.clone(), state_updates);
        let statement = vote_statement(hash, &header);
        self.store_proposal(StoredProposal {
            block: hash,
            nudge: None,
            vote: statement,
            timeout_certificate: timeout_certificate.clone(),
        });
        self.cast_vote(
            statement,
            Then::Propose {
                block,
                timeout_certificate,
            },
        );
    }

    /// At most one proposal in a view, across crashes.
    pub(super) fn store_proposal(&mut self, proposal: StoredProposal) {
        self.record.proposal = Some(proposal.clone());
        self.writes.push(Write::StoreProposal(proposal));
        self.proposing = Proposing::Done;
    }

    /// The TC of the view before, unless that view has a QC: a leader that holds both uses the QC.
    pub(super) fn needed_tc(&self) -> Option<TimeoutCertificate> {
        let has_qc = self.highest_qc.rank().view.next() == self.view;
        let tc = self.highest_tc.as_ref().filter(|_| !has_qc);
        debug_assert!(safety::justifies(
            &self.highest_qc,
            tc,
            self.epoch,
            self.view
        ));
        tc.cloned()
    }
}
