//! Leading a view: ask the app, propose once, and keep quiet when there is nothing to say.

use crate::app::ProposeBlockResponse;
use crate::messages::{Certificate, ProgressMessage};
use crate::types::{
    check_state_updates, Block, BlockHash, BlockHeader, Data, StateUpdates, Time,
    TimeoutCertificate, ValidatorSetUpdates, ViewNumber,
};

use super::safety;
use super::step::Then;
use super::vote::{vote_statement, Question};
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
struct Content {
    data: Data,
    state_updates: StateUpdates,
    validator_set_updates: Option<ValidatorSetUpdates>,
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
                if self.has_room(self.highest_qc.block_hash, 1, false) {
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

    fn ask_app(&mut self) {
        if self.judging.asked.is_some() {
            return; // asked when the app is free
        }
        self.judging.asked = Some(Question::Propose);
        self.proposing = Proposing::Asked;
        self.is_notified = false;
        self.effects.push(Effect::ProposeBlock {
            cur_view: self.view,
            prev_block: self.highest_qc.block_hash,
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
        if !matches!(self.judging.asked, Some(Question::Propose)) {
            return;
        }
        self.judging.asked = None;
        let is_current = cur_view == self.view && self.proposing == Proposing::Asked;
        let is_usable = is_current
            && prev_block == self.highest_qc.block_hash
            && self.is_validator()
            && safety::may_vote(&self.record, self.view());
        if !is_usable {
            self.is_notified |= matches!(response, ProposeBlockResponse::Block { .. });
            if is_current {
                self.proposing = Proposing::NotAsked;
            }
            return;
        }
        match self.check_proposal(response) {
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

    /// What a usable answer puts into the block; `None` if the app has no work.
    fn check_proposal(
        &self,
        response: ProposeBlockResponse,
    ) -> Result<Option<Content>, &'static str> {
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
        Ok(Some(Content {
            data: Data::new(data),
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
        self.propose(Content {
            data: Data::empty(),
            state_updates: StateUpdates::new(),
            validator_set_updates: None,
        });
    }

    fn propose(&mut self, content: Content) {
        let Content {
            data,
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
            data_hash: data.hash(),
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
