//! The app's thread: one question at a time, each with the state as of the parent. A slow answer
//! costs the view, a panic counts as a failure; neither costs the replica.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::algorithm::{Effect, Input};
use crate::app::{
    App, ProposeBlockRequest, ProposeBlockResponse, ValidateBlockRequest, ValidateBlockResponse,
};
use crate::block_tree::Snapshot;
use crate::types::Time;

use super::alice::ToAlice;
use super::shared::Shared;

/// Questions that wait for the app. The algorithm asks one at a time; a snapshot hangs on each.
pub(super) const QUESTIONS_MAX: usize = 4;

/// A question, and the state to answer it from.
pub(super) struct Question {
    pub(super) effect: Effect,
    pub(super) snapshot: Snapshot,
}

/// The thread's state.
pub(super) struct AppThread {
    pub(super) shared: Arc<Shared>,
    pub(super) app: Box<dyn App>,
    pub(super) questions: Receiver<Question>,
}

impl AppThread {
    /// Until Alice has gone.
    pub(super) fn run(mut self) {
        while let Ok(question) = self.questions.recv() {
            if self.shared.is_stopping() {
                return;
            }
            let Question { effect, snapshot } = question;
            let input = self.answer(effect, &snapshot);
            drop(snapshot);
            if self
                .shared
                .alice
                .send(ToAlice::Input {
                    input: Box::new(input),
                    ticket: None,
                })
                .is_err()
            {
                return;
            }
        }
    }

    fn answer(&mut self, effect: Effect, snapshot: &Snapshot) -> Input {
        let app = &mut self.app;
        let now = self.shared.clock.now();
        let answer = catch_unwind(AssertUnwindSafe(|| {
            ask(app.as_mut(), &effect, now, snapshot)
        }));
        answer.unwrap_or_else(|_| {
            self.shared.counters.app_failures.add(1);
            no_answer(effect)
        })
    }
}

fn ask(app: &mut dyn App, effect: &Effect, now: Time, snapshot: &Snapshot) -> Input {
    match effect {
        Effect::ProposeBlock {
            cur_view,
            prev_block,
            until,
        } => {
            let (cur_view, prev_block) = (*cur_view, *prev_block);
            let request = ProposeBlockRequest {
                cur_view,
                prev_block,
                budget: until.since(now),
                block_tree: snapshot,
            };
            let response = app.propose_block(request);
            Input::BlockProposed {
                cur_view,
                prev_block,
                response,
            }
        }
        Effect::ValidateBlock {
            cur_view,
            hash,
            block,
            is_sync,
        } => {
            let response = app.validate_block(ValidateBlockRequest {
                cur_view: *cur_view,
                proposed_block: block,
                block_tree: snapshot,
                is_sync: *is_sync,
            });
            Input::BlockValidated {
                block: *hash,
                response,
            }
        }
    }
}

/// The answer to a question that the app was not asked, or did not answer.
pub(super) fn no_answer(effect: Effect) -> Input {
    match effect {
        Effect::ProposeBlock {
            cur_view,
            prev_block,
            ..
        } => {
            let response = ProposeBlockResponse::Failed;
            Input::BlockProposed {
                cur_view,
                prev_block,
                response,
            }
        }
        Effect::ValidateBlock { hash, .. } => Input::BlockValidated {
            block: hash,
            response: ValidateBlockResponse::Undecided,
        },
    }
}
