//! The leader of the next view asks its app while the votes for the block before come in.

use hotstuff::algorithm::{Effect, Event, Input};
use hotstuff::app::ProposeBlockResponse;
use hotstuff::messages::{Certificate, ProgressMessage};
use hotstuff::types::*;

use super::fixture::{data, Fixture, Outcome};

/// A fixture that has voted for `parent`, in the view before the one that it leads.
struct Voted {
    f: Fixture,
    parent: Block,
    /// The view that it leads.
    view: u64,
    outcome: Outcome,
}

impl Voted {
    fn new() -> Voted {
        let mut f = Fixture::new();
        let view = f.view_led_by_me(8, true);
        let parent = f.block(view - 1, 1, &f.genesis_qc(), b"");
        f.enter_by_tc(view - 1, &f.genesis_qc());
        let outcome = f.follow(&parent);
        assert_eq!(outcome.votes().len(), 1);
        Voted {
            f,
            parent,
            view,
            outcome,
        }
    }

    fn answer(&mut self, response: ProposeBlockResponse) -> Outcome {
        self.f.answer_propose(&self.outcome.effects, response)
    }

    fn certify_parent(&mut self) -> Outcome {
        let qc = self.f.qc_of(&self.parent);
        self.f.advance(Certificate::Quorum(qc))
    }
}

/// Where the app is asked to build: the view, and the parent.
fn asked(outcome: &Outcome) -> Option<(ViewNumber, BlockHash)> {
    outcome.effects.iter().find_map(|effect| match effect {
        Effect::ProposeBlock {
            cur_view,
            prev_block,
            ..
        } => Some((*cur_view, *prev_block)),
        Effect::ValidateBlock { .. } => None,
    })
}

#[test]
fn the_block_is_there_when_the_last_vote_comes() {
    let mut v = Voted::new();
    let parent = v.parent.hash(&v.f.hash());
    assert_eq!(asked(&v.outcome), Some((ViewNumber(v.view), parent)));
    let answered = v.answer(data(b"work"));
    assert!(
        answered.proposals().is_empty(),
        "its parent is not certified"
    );
    assert!(answered.writes.is_empty());
    let others = v.f.others();
    for who in &others[..others.len() - 1] {
        assert!(v.f.algorithm().view().view.0 < v.view);
        let vote = v.f.vote(*who, v.f.statement(&v.parent));
        let outcome = v.f.receive(*who, ProgressMessage::Vote(vote));
        if let [proposal] = &outcome.proposals()[..] {
            let header = &proposal.block.header;
            assert_eq!(header.justify.block_hash, parent);
            assert_eq!(header.view, ViewNumber(v.view));
            assert_eq!(header.data_hash, Data::new(*b"work").hash());
            assert_eq!(&proposal.block.data[..], b"work");
            assert_eq!(asked(&outcome), None);
            return;
        }
    }
    panic!("the quorum was complete, and nothing was proposed");
}

#[test]
fn an_answer_that_comes_after_the_last_vote_is_used_once() {
    let mut v = Voted::new();
    let certified = v.certify_parent();
    assert_eq!(asked(&certified), None, "it is being asked");
    assert_eq!(v.answer(data(b"work")).proposals().len(), 1);
    assert!(v.answer(data(b"more")).proposals().is_empty());
}

#[test]
fn work_for_a_parent_that_is_not_certified_is_asked_for_again() {
    let mut v = Voted::new();
    v.answer(data(b"on the parent"));
    let entered = v.f.enter_by_tc(v.view, &v.f.genesis_qc());
    assert!(entered.proposals().is_empty());
    let genesis = v.f.hash().as_block_hash();
    assert_eq!(asked(&entered), Some((ViewNumber(v.view), genesis)));
    // Another leads the view that is entered: its app has work, so the chain is woken, or the next
    // view of its own asks at once.
    let mut v = Voted::new();
    v.answer(data(b"on the parent"));
    v.f.enter_by_tc(v.view + 1, &v.f.genesis_qc());
    let idle = v.f.view_led_by_me(v.view + 8, false);
    assert_eq!(v.f.enter_by_tc(idle, &v.f.genesis_qc()).wakes(), 1);
}

#[test]
fn no_work_is_asked_again_if_some_has_come() {
    for has_work_come in [false, true] {
        let mut v = Voted::new();
        v.answer(ProposeBlockResponse::Defer);
        if has_work_come {
            assert_eq!(asked(&v.f.step(Input::Notify)), None, "not its view yet");
        }
        let certified = v.certify_parent();
        assert_eq!(asked(&certified).is_some(), has_work_come);
    }
}

#[test]
fn an_app_that_fails_ahead_costs_its_view_once_that_has_come() {
    let mut v = Voted::new();
    let is_failure = |event: &Event| matches!(event, Event::AppFailed { .. });
    assert!(!v.answer(ProposeBlockResponse::Failed).reports(is_failure));
    let certified = v.certify_parent();
    assert!(certified.reports(is_failure));
    assert!(certified.proposals().is_empty());
    assert_eq!(asked(&certified), None);
}

#[test]
fn nobody_is_asked_ahead_for_a_child_of_a_block_that_must_be_nudged() {
    let mut f = Fixture::new();
    let view = f.view_led_by_me(8, true);
    let updates = f.plan(&[(4, 1)]);
    f.enter_by_tc(view - 1, &f.genesis_qc());
    let block = f.block_with(view - 1, 1, &f.genesis_qc(), Some(updates.clone()));
    f.follow(&block);
    let outcome = f.verdict(&block, super::fixture::valid_with(&updates));
    assert_eq!(outcome.votes().len(), 1);
    assert_eq!(asked(&outcome), None);
}

#[test]
fn nothing_is_asked_ahead_after_a_timeout() {
    let mut f = Fixture::new();
    let view = f.view_led_by_me(8, true);
    f.enter_by_tc(view - 1, &f.genesis_qc());
    while f.expire().timeouts().is_empty() {}
    let block = f.block(view - 1, 1, &f.genesis_qc(), b"");
    let outcome = f.follow(&block);
    assert!(outcome.votes().is_empty());
    assert_eq!(asked(&outcome), None);
}
