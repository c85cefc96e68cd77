//! The phased mode: blocks that update the validator set, nudges, and the change of epoch.
//!
//! In the usual story replica 0 looks on: 1 proposes block B with updates in view 1, 2 nudges it in
//! view 2, and 3 in view 3.

use std::time::Duration;

use super::fixture::{self, data, valid, valid_with, Fixture, Setup};
use hotstuff::algorithm::verify::Refusal;
use hotstuff::algorithm::{
    Effect, EpochRecord, Event, Input, PendingBlock, StoredProposal, To, Write, EPOCHS_KEPT,
};
use hotstuff::app::{ProposeBlockResponse, ValidateBlockResponse};
use hotstuff::messages::{Certificate, ProgressMessage, SyncResponse, TimeoutVote};
use hotstuff::types::limits::{VALIDATORS_MAX, VALIDATOR_SET_UPDATES_MAX};
use hotstuff::types::*;

/// Adds a fifth validator.
const ADD: &[(usize, u64)] = &[(4, 1)];

fn two_chain() -> Setup {
    Setup {
        commit_rule: CommitRule::TwoChain,
        ..Setup::default()
    }
}

fn of(me: usize) -> Setup {
    Setup {
        me,
        ..Setup::default()
    }
}

/// Block B of view 1, at height 1, with `updates`; they are planned for epoch 1.
fn updating(f: &mut Fixture, updates: &[(usize, u64)]) -> Block {
    let updates = f.plan(updates);
    f.block_with(1, 1, &f.genesis_qc(), Some(updates))
}

/// B is proposed, and the app agrees.
fn take(f: &mut Fixture, block: &Block) -> fixture::Outcome {
    f.propose(block, None);
    let updates = block.header.validator_set_updates.clone();
    f.verdict(block, valid_with(&updates.expect("it updates")))
}

fn certificate(qc: &QuorumCertificate) -> Certificate {
    Certificate::Quorum(qc.clone())
}

/// B is known, and certified in all its phases: epoch 1 has begun.
fn changed(setup: Setup, updates: &[(usize, u64)]) -> (Fixture, Block, QuorumCertificate) {
    let mut f = Fixture::with(setup);
    let block = updating(&mut f, updates);
    take(&mut f, &block);
    let [_, _, commit] = f.phases(&block);
    let outcome = f.advance(certificate(&commit));
    assert_eq!(outcome.epochs().len(), 1);
    (f, block, commit)
}

fn rank(epoch: u64, view: u64) -> Rank {
    Rank {
        epoch: Epoch(epoch),
        view: ViewNumber(view),
    }
}

fn has_changed(outcome: &fixture::Outcome) -> bool {
    !outcome.epochs().is_empty()
}

// ---- blocks with updates

#[test]
fn votes_for_an_updating_block_are_prepare_votes() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    let outcome = take(&mut f, &block);
    assert_eq!(outcome.votes(), [f.vote(0, f.statement(&block))]);
    assert_eq!(outcome.votes()[0].statement.phase, Phase::Prepare);
}

#[test]
fn a_leader_proposes_the_apps_updates() {
    let mut f = Fixture::with(of(1));
    let updates = f.plan(ADD);
    let opening = f.opening.take().expect("it was opened");
    let response = ProposeBlockResponse::Block {
        data: b"x".to_vec(),
        state_updates: None,
        validator_set_updates: Some(updates.clone()),
    };
    let outcome = f.answer_propose(&opening.effects, response);
    let [propose] = &outcome.proposals()[..] else {
        panic!("it proposes")
    };
    let header = &propose.block.header;
    assert_eq!(header.validator_set_updates, Some(updates));
    assert_eq!(propose.vote.statement.phase, Phase::Prepare);
}

#[test]
fn an_empty_list_of_updates_is_none() {
    let mut f = Fixture::with(of(1));
    let opening = f.opening.take().expect("it was opened");
    let response = ProposeBlockResponse::Block {
        data: b"x".to_vec(),
        state_updates: None,
        validator_set_updates: Some(vec![]),
    };
    let outcome = f.answer_propose(&opening.effects, response);
    let header = &outcome.proposals()[0].block.header;
    assert_eq!(header.validator_set_updates, None);
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"x");
    f.propose(&block, None);
    assert_eq!(f.verdict(&block, valid_with(&vec![])).votes().len(), 1);
}

/// Updates that make no set, by name.
fn invalid_updates(f: &Fixture) -> Vec<(&'static str, ValidatorSetUpdates)> {
    let update = |i: usize| ValidatorSetUpdate {
        validator: ValidatorAddress(std::array::from_fn(|at| (i >> (8 * (at % 2))) as u8)),
        power: 1,
    };
    vec![
        ("none left", f.updates(&[(0, 0), (1, 0), (2, 0), (3, 0)])),
        ("overflow", f.updates(&[(4, u64::MAX)])),
        ("named twice", f.updates(&[(4, 1), (4, 1)])),
        ("named twice", f.updates(&[(0, 0), (4, 1), (0, 1)])),
        ("too many", (0..VALIDATORS_MAX - 3).map(update).collect()),
        ("empty", vec![]),
    ]
}

#[test]
fn updates_that_make_no_set_make_the_block_invalid() {
    for (why, updates) in invalid_updates(&Fixture::new()) {
        let mut f = Fixture::new();
        let block = f.block_with(1, 1, &f.genesis_qc(), Some(updates));
        let outcome = f.propose(&block, None);
        let refused = |event: &Event| matches!(event, Event::BlockRefused { .. });
        assert!(outcome.reports(refused), "{why}");
        assert!(outcome.effects.is_empty(), "{why}: the app is not asked");
        assert_eq!(outcome.timeouts().len(), 1, "{why}: the view is lost");
    }
}

#[test]
fn an_app_whose_updates_make_no_set_has_failed() {
    for (why, updates) in invalid_updates(&Fixture::new()) {
        if updates.is_empty() {
            continue; // means none
        }
        let mut f = Fixture::with(of(1));
        let opening = f.opening.take().expect("it was opened");
        let response = ProposeBlockResponse::Block {
            data: b"x".to_vec(),
            state_updates: None,
            validator_set_updates: Some(updates),
        };
        let outcome = f.answer_propose(&opening.effects, response);
        assert!(outcome.proposals().is_empty(), "{why}");
        let failed = |event: &Event| matches!(event, Event::AppFailed { .. });
        assert!(outcome.reports(failed), "{why}");
    }
}

#[test]
fn more_updates_than_a_decoder_lets_in_are_not_proposed() {
    let mut f = Fixture::with(of(1));
    let opening = f.opening.take().expect("it was opened");
    let remove = |i: usize| ValidatorSetUpdate {
        validator: ValidatorAddress(std::array::from_fn(|at| (i >> (8 * (at % 2))) as u8)),
        power: 0,
    };
    let response = ProposeBlockResponse::Block {
        data: b"x".to_vec(),
        state_updates: None,
        validator_set_updates: Some((0..=VALIDATOR_SET_UPDATES_MAX).map(remove).collect()),
    };
    let outcome = f.answer_propose(&opening.effects, response);
    assert!(outcome.proposals().is_empty());
}

#[test]
fn an_empty_block_updates_nothing() {
    let mut f = Fixture::new();
    let mut block = updating(&mut f, ADD);
    block.data = Data::empty();
    block.header.data_hash = block.data.hash();
    let outcome = f.propose(&block, None);
    assert!(outcome.reports(|event| matches!(event, Event::BlockRefused { .. })));
}

/// An app that answers differently on two replicas must never split the set.
#[test]
fn the_apps_updates_must_equal_the_blocks() {
    let others = Fixture::new().updates(&[(5, 1)]);
    for response in [valid(), valid_with(&others), valid_with(&vec![])] {
        let mut f = Fixture::new();
        let block = updating(&mut f, ADD);
        f.propose(&block, None);
        let outcome = f.verdict(&block, response);
        assert_eq!(outcome.votes(), []);
        assert!(outcome.reports(|event| matches!(event, Event::BlockRefused { .. })));
    }
    let mut f = Fixture::new();
    let plain = f.block(1, 1, &f.genesis_qc(), b"plain");
    f.propose(&plain, None);
    assert_eq!(f.verdict(&plain, valid_with(&others)).votes(), []);
}

// ---- nudges

/// Me nudging in view 2 of a cluster that has just certified B.
fn nudging(setup: Setup) -> (Fixture, QuorumCertificate, fixture::Outcome) {
    let mut f = Fixture::with(Setup { me: 2, ..setup });
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let prepare = f.qc_of(&block);
    let outcome = f.advance(certificate(&prepare));
    (f, prepare, outcome)
}

#[test]
fn a_leader_nudges_what_is_prepared_and_proposes_nothing_on_it() {
    let rules = [
        (Setup::default(), Phase::Precommit),
        (two_chain(), Phase::Commit),
    ];
    for (setup, next) in rules {
        let (f, prepare, outcome) = nudging(setup);
        assert!(outcome.proposals().is_empty());
        assert!(outcome.effects.is_empty(), "the app is not asked");
        let [nudge] = &outcome.nudges()[..] else {
            panic!("it nudges once")
        };
        assert_eq!(nudge.vote, f.vote(2, f.nudged(&prepare, 2, next)));
        assert_eq!(
            (&nudge.justify, &nudge.timeout_certificate),
            (&prepare, &None)
        );
        let stored = StoredProposal {
            block: prepare.block_hash,
            nudge: Some(prepare.clone()),
            vote: nudge.vote.statement,
            timeout_certificate: None,
        };
        assert!(outcome.writes.contains(&Write::StoreProposal(stored)));
        let cast = Write::CastVote(nudge.vote.statement);
        assert!(outcome.writes.contains(&cast));
    }
}

#[test]
fn a_leader_begins_the_count_again_after_a_lost_view() {
    let mut f = Fixture::with(of(3));
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let prepare = f.qc_of(&block);
    let outcome = f.enter_by_tc(3, &prepare); // view 2 was lost
    let [nudge] = &outcome.nudges()[..] else {
        panic!("it nudges once")
    };
    assert_eq!(nudge.vote.statement, f.nudged(&prepare, 3, Phase::Prepare));
    assert!(nudge.timeout_certificate.is_some());
}

#[test]
fn nudges_are_voted_for_phase_by_phase() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let [prepare, precommit, commit] = f.phases(&block);
    for (justify, view, phase) in [
        (&prepare, 2, Phase::Precommit),
        (&precommit, 3, Phase::Commit),
    ] {
        let outcome = f.receive(1, f.nudge(justify, view, phase, None));
        let statement = f.nudged(justify, view, phase);
        assert_eq!(outcome.votes(), [f.vote(0, statement)]);
        assert!(outcome.writes.contains(&Write::CastVote(statement)));
        assert!(!has_changed(&outcome));
    }
    assert!(has_changed(&f.advance(certificate(&commit))));
}

/// Jolteon's rule: two phases.
#[test]
fn two_chain_goes_from_prepare_to_commit() {
    let mut f = Fixture::with(two_chain());
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let prepare = f.qc_of(&block);
    // There is no Precommit by this rule.
    let outcome = f.receive(1, f.nudge(&prepare, 2, Phase::Precommit, None));
    assert_eq!(outcome.votes(), []);
    let outcome = f.receive(1, f.nudge(&prepare, 2, Phase::Commit, None));
    assert_eq!(outcome.votes().len(), 1);
    let commit = f.nudge_qc(&prepare, 2, Phase::Commit);
    assert!(has_changed(&f.advance(certificate(&commit))));
}

/// Phases in views that are not consecutive would commit a block that a later leader may fork off:
/// the quorum in between never saw the phase before.
#[test]
fn a_phase_counts_on_only_from_the_view_before() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let prepare = f.qc_of(&block);
    f.enter_by_tc(3, &prepare);
    let tc = f.tc(2, &prepare);
    for phase in [Phase::Precommit, Phase::Commit, Phase::Generic] {
        let outcome = f.receive(1, f.nudge(&prepare, 3, phase, Some(tc.clone())));
        assert_eq!(outcome.votes(), [], "{phase:?}");
    }
    let outcome = f.receive(1, f.nudge(&prepare, 3, Phase::Prepare, Some(tc)));
    assert_eq!(outcome.votes().len(), 1, "the count starts again");
}

#[test]
fn precommit_after_a_lost_view_starts_again_too() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let [_, precommit, _] = f.phases(&block);
    f.enter_by_tc(5, &precommit); // views 3 and 4 were lost
    let tc = f.tc(4, &precommit);
    let outcome = f.receive(1, f.nudge(&precommit, 5, Phase::Commit, Some(tc.clone())));
    assert_eq!(outcome.votes(), []);
    let outcome = f.receive(1, f.nudge(&precommit, 5, Phase::Prepare, Some(tc)));
    assert_eq!(outcome.votes().len(), 1);
}

/// The Prepare QC of B's own view is like any block's: it may complete a chain that commits what is
/// below. A nudge's commits nothing but B, and only by its phase Commit.
#[test]
fn a_nudges_qc_commits_in_no_other_way() {
    let mut f = Fixture::with(two_chain());
    let below = f.block(1, 1, &f.genesis_qc(), b"");
    f.follow(&below);
    let updates = f.plan(ADD);
    let block = f.block_with(2, 2, &f.qc_of(&below), Some(updates.clone()));
    f.propose(&block, None);
    f.verdict(&block, valid_with(&updates));
    let prepare = f.qc_of(&block);
    let again = f.nudge_qc(&prepare, 9, Phase::Prepare); // B again, in another view
    let outcome = f.advance(certificate(&again));
    assert_eq!(outcome.committed(), []);
    let outcome = f.advance(certificate(&prepare));
    assert_eq!(outcome.committed(), [below.hash(&f.hash())]);
}

#[test]
fn generic_and_commit_qcs_justify_no_nudge() {
    let mut f = Fixture::new();
    let plain = f.block(1, 1, &f.genesis_qc(), b"");
    f.follow(&plain);
    let generic = f.qc_of(&plain);
    for phase in [Phase::Prepare, Phase::Precommit, Phase::Commit] {
        let outcome = f.receive(1, f.nudge(&generic, 2, phase, None));
        assert_eq!(outcome.votes(), []);
    }
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    let [_, _, commit] = f.phases(&block);
    let outcome = f.receive(1, f.nudge(&commit, 4, Phase::Prepare, None));
    assert_eq!(outcome.votes(), []);
}

#[test]
fn a_prepare_or_precommit_qc_never_justifies_a_block() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let [prepare, precommit, _] = f.phases(&block);
    for (view, justify) in [(2, &prepare), (3, &precommit)] {
        let child = f.block_with(view, 2, justify, None);
        let outcome = f.propose(&child, None);
        assert_eq!(outcome.votes(), []);
        assert!(outcome.reports(|event| matches!(event, Event::BlockRefused { .. })));
    }
}

#[test]
fn a_nudge_is_the_leaders_alone() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let prepare = f.qc_of(&block);
    let ProgressMessage::Nudge(mut nudge) = f.nudge(&prepare, 2, Phase::Precommit, None) else {
        unreachable!()
    };
    nudge.vote = f.vote(3, nudge.vote.statement);
    let outcome = f.receive(3, ProgressMessage::Nudge(nudge));
    assert_eq!(outcome.votes(), []);
}

#[test]
fn no_nudge_is_voted_for_after_a_timeout_or_a_vote_in_its_view() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let prepare = f.qc_of(&block);
    f.advance(certificate(&prepare));
    while f.expire().timeouts().is_empty() {}
    let nudge = f.nudge(&prepare, 2, Phase::Precommit, None);
    assert_eq!(f.receive(2, nudge).votes(), []);
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let nudge = f.nudge(&prepare, 2, Phase::Precommit, None);
    assert_eq!(f.receive(2, nudge.clone()).votes().len(), 1);
    assert_eq!(f.receive(2, nudge).votes(), [], "once");
}

#[test]
fn a_nudge_waits_for_its_block() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    let prepare = f.qc_of(&block);
    let nudge = f.nudge(&prepare, 2, Phase::Precommit, None);
    assert_eq!(f.receive(2, nudge).votes(), []);
    let outcome = take(&mut f, &block); // too late to vote for, but now it is known
    let statement = f.nudged(&prepare, 2, Phase::Precommit);
    assert_eq!(outcome.votes(), [f.vote(0, statement)]);
}

// ---- the change

#[test]
fn a_commit_qc_commits_and_changes_the_epoch_in_one_step() {
    let mut f = Fixture::new();
    let below = f.block(1, 1, &f.genesis_qc(), b"");
    f.follow(&below);
    let fork = f.block(1, 1, &f.genesis_qc(), b"fork");
    let updates = f.plan(ADD);
    let block = f.block_with(2, 2, &f.qc_of(&below), Some(updates.clone()));
    f.propose(&block, None);
    f.verdict(&block, valid_with(&updates));
    f.propose(&fork, None);
    f.verdict(&fork, valid()); // too late, but kept
    let [_, _, commit] = f.phases(&block);
    let outcome = f.advance(certificate(&commit));
    let hashes = [&below, &block].map(|block| block.hash(&f.hash()));
    let record = EpochRecord {
        epoch: Epoch(1),
        validator_set: f.set_of(1),
        commit_qc: Some(commit.clone()),
    };
    let writes = [
        Write::SetHighestQc(commit.clone()),
        Write::CommitBlock {
            hash: hashes[0],
            height: BlockHeight(1),
        },
        Write::CommitBlock {
            hash: hashes[1],
            height: BlockHeight(2),
        },
        Write::DropBlock {
            hash: fork.hash(&f.hash()),
        },
        Write::ChangeEpoch(record.clone()),
    ];
    assert_eq!(outcome.writes, writes);
    assert!(outcome.reports(|event| *event == Event::EpochStarted(record.clone())));
    assert_eq!(f.algorithm().view(), rank(1, 1));
    assert_eq!(f.algorithm().highest_qc().rank(), rank(1, 0));
    assert_eq!(f.algorithm().validator_set(), &f.set_of(1));
    assert_eq!(f.algorithm().durable().epochs.len(), 2);
}

#[test]
fn the_leader_of_view_1_proposes_on_the_commit_qc() {
    // Four members and a fifth: whoever leads view 1 of epoch 1.
    let leader = {
        let mut f = Fixture::new();
        f.plan(ADD);
        f.leader_in(1, 1)
    };
    let (mut f, block, commit) = {
        let mut f = Fixture::with(of(leader));
        let block = updating(&mut f, ADD);
        if leader != 1 {
            take(&mut f, &block);
        }
        let [_, _, commit] = f.phases(&block);
        (f, block, commit)
    };
    assert!(leader != 1, "it was to look on while B was proposed");
    let outcome = f.advance(certificate(&commit));
    let outcome = f.answer_propose(&outcome.effects, data(b"first"));
    let [propose] = &outcome.proposals()[..] else {
        panic!("it proposes")
    };
    let header = &propose.block.header;
    assert_eq!((header.rank(), header.height), (rank(1, 1), BlockHeight(2)));
    assert_eq!(header.justify, commit);
    assert_eq!(header.parent(), block.hash(&f.hash()));
}

#[test]
fn the_new_set_votes_from_view_1_on_and_the_old_epoch_is_over() {
    // Replica 0 leads view 1 of epoch 1.
    let (mut f, _, commit) = changed(of(2), ADD);
    // A child of B in the old epoch: a Commit QC justifies nothing there.
    let mut child = f.block_with(4, 2, &commit, None);
    child.header.epoch = Epoch(0);
    let outcome = f.propose(&child, None);
    assert_eq!(outcome.votes(), []);
    let first = f.block_with(1, 2, &commit, None);
    let outcome = f.propose(&first, None);
    assert_eq!(outcome.votes(), [f.vote(2, f.statement(&first))]);
    assert_eq!(outcome.votes()[0].statement.epoch, Epoch(1));
}

#[test]
fn a_child_in_the_old_epoch_is_refused_while_b_is_not_known() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    let [_, _, commit] = f.phases(&block);
    let mut child = f.block_with(4, 2, &commit, None);
    child.header.epoch = Epoch(0);
    assert_eq!(f.propose(&child, None).votes(), []);
    let outcome = take(&mut f, &block);
    assert!(has_changed(&outcome));
    assert_eq!(outcome.votes(), []);
    assert_eq!(f.algorithm().committed().height, BlockHeight(1));
}

/// Votes of one epoch count for nothing in the same views of the next.
#[test]
fn votes_and_timeouts_are_of_their_epoch() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let [_, _, commit] = f.phases(&block);
    let old = f.timeout(1, 30, &f.genesis_qc(), None);
    f.receive(1, ProgressMessage::TimeoutVote(old));
    f.advance(certificate(&commit));
    let new = f.timeout(2, 30, &commit, None);
    let outcome = f.receive(2, ProgressMessage::TimeoutVote(new));
    assert_eq!(outcome.timeouts(), [], "one of five is not blocking");
    let first = f.block_with(1, 2, &commit, None);
    f.propose(&first, None);
    let old = f.nudged(&commit, 1, Phase::Generic); // epoch 0
    for who in 1..4 {
        f.receive(who, ProgressMessage::Vote(f.vote(who, old)));
    }
    assert_eq!(f.algorithm().view(), rank(1, 1));
}

/// A Commit QC of B is the genesis certificate of the next epoch, whatever its view: one that the
/// old set makes late can justify neither a second view 1 nor a block above the new set's QCs. (If
/// views ran on across epochs it would fork below what the new set has finalised.)
#[test]
fn a_late_second_commit_qc_justifies_nothing_in_the_new_epoch() {
    let (mut f, block, commit) = changed(Setup::default(), ADD);
    let first = f.block_with(1, 2, &commit, None);
    f.propose(&first, None);
    let qc = f.qc_of(&first);
    f.advance(certificate(&qc));
    // The old set has gone on, not knowing.
    let late = {
        let prepare = f.nudge_qc(&f.qc_of(&block), 40, Phase::Prepare);
        let precommit = f.nudge_qc(&prepare, 41, Phase::Precommit);
        f.nudge_qc(&precommit, 42, Phase::Commit)
    };
    let outcome = f.advance(certificate(&late));
    assert!(outcome.writes.is_empty());
    assert_eq!(f.algorithm().view(), rank(1, 2));
    // In no view above 1 does it justify a block, with whatever TC.
    for view in 2..44 {
        let fork = f.block_with(view, 2, &late, None);
        let tc = f.tc(view - 1, &qc);
        if view > 2 {
            assert_eq!(f.propose(&fork, Some(tc)).votes(), [], "view {view}");
        }
        assert_eq!(f.propose(&fork, None).votes(), [], "view {view}");
    }
    // Nor does it begin a second view 1.
    let second = f.block_with(1, 2, &late, None);
    assert_eq!(f.propose(&second, None).votes(), []);
    assert_eq!(f.algorithm().committed().height, BlockHeight(1));
}

// ---- a Commit QC whose block is not known

fn nothing_is_signed(f: &mut Fixture) {
    for _ in 0..6 {
        let outcome = f.expire();
        assert_eq!((outcome.votes(), outcome.timeouts()), (vec![], vec![]));
        assert_eq!(outcome.wakes(), 0);
    }
}

#[test]
fn a_commit_qc_without_its_block_ends_all_signing_until_it_comes() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    let [prepare, precommit, commit] = f.phases(&block);
    let outcome = f.advance(certificate(&commit));
    assert!(!has_changed(&outcome));
    assert_eq!(f.algorithm().view(), rank(0, 1), "the epoch stays");
    assert!(outcome
        .writes
        .contains(&Write::SetHighestQc(commit.clone())));
    nothing_is_signed(&mut f);
    assert_eq!(f.algorithm().wanted_block(), Some(commit.block_hash));
    // Blocking power times out: it is not joined.
    for who in 1..3 {
        let timeout = f.timeout(who, 9, &precommit, None);
        let outcome = f.receive(who, ProgressMessage::TimeoutVote(timeout));
        assert_eq!(outcome.timeouts(), []);
    }
    // A nudge of the old epoch, and a block of it.
    let nudge = f.nudge(&prepare, 2, Phase::Precommit, None);
    assert_eq!(f.receive(2, nudge).votes(), []);
    let outcome = take(&mut f, &block);
    assert_eq!(outcome.votes(), []);
    assert!(has_changed(&outcome));
    assert_eq!(f.algorithm().view(), rank(1, 1));
}

#[test]
fn a_leader_that_knows_the_commit_qc_proposes_nothing_in_the_old_epoch() {
    let mut f = Fixture::with(of(2));
    let plain = f.block(1, 1, &f.genesis_qc(), b"");
    f.follow(&plain);
    let updates = f.plan(ADD);
    let elsewhere = f.block_with(5, 2, &f.qc_of(&plain), Some(updates));
    let [_, _, commit] = f.phases(&elsewhere);
    f.advance(certificate(&commit));
    let outcome = f.advance(certificate(&f.qc_of(&plain))); // leads to view 2, which I lead
    assert!(outcome.effects.is_empty() && outcome.proposals().is_empty());
}

/// It is the highest QC at once, so a crash does not forget it.
#[test]
fn nothing_more_of_the_old_epoch_is_signed_after_a_crash_either() {
    let mut other = Fixture::new();
    let block = updating(&mut other, ADD);
    let [_, _, commit] = other.phases(&block);
    let mut f = Fixture::recovered(Setup::default(), |_, durable| {
        durable.highest_qc = commit.clone();
        durable.voting_record.voted = Some(other.nudged(&commit, 3, Phase::Prepare));
        durable.voting_record.timed_out = Some((Epoch(0), ViewNumber(3)));
    });
    let opening = f.opening.take().expect("it was opened");
    assert_eq!((opening.votes(), opening.timeouts()), (vec![], vec![]));
    nothing_is_signed(&mut f);
    f.plan(ADD);
    assert!(has_changed(&take(&mut f, &block)));
    assert_eq!(f.algorithm().view(), rank(1, 1));
}

/// A vote that an earlier input of the same step was to sign is not signed either.
#[test]
fn a_step_that_ends_the_epoch_signs_nothing_of_it() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let [prepare, _, commit] = f.phases(&block);
    let nudge = f.nudge(&prepare, 2, Phase::Precommit, None);
    let both = [nudge, ProgressMessage::AdvanceView(certificate(&commit))];
    let outcome = f.receive_together(2, both);
    assert!(has_changed(&outcome));
    assert_eq!(outcome.votes(), []);
}

// ---- hand-over

fn hand_overs(outcome: &fixture::Outcome, commit: &QuorumCertificate) -> usize {
    let told = (To::All, certificate(commit));
    let certificates = outcome.certificates();
    certificates.iter().filter(|sent| **sent == told).count()
}

#[test]
fn whoever_forms_the_commit_qc_tells_everybody() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let [_, precommit, commit] = f.phases(&block);
    f.advance(certificate(&precommit));
    let statement = f.nudged(&precommit, 3, Phase::Commit);
    f.receive(1, ProgressMessage::Vote(f.vote(1, statement)));
    f.receive(2, ProgressMessage::Vote(f.vote(2, statement)));
    let outcome = f.receive(3, ProgressMessage::Vote(f.vote(3, statement)));
    assert!(has_changed(&outcome));
    assert_eq!(hand_overs(&outcome, &commit), 1);
}

#[test]
fn the_commit_qc_is_told_again_at_each_timeout_until_a_qc_of_the_new_epoch() {
    let (mut f, _, commit) = changed(Setup::default(), ADD);
    for _ in 0..5 {
        let mut told = 0;
        loop {
            let outcome = f.expire();
            told += hand_overs(&outcome, &commit);
            if !outcome.timeouts().is_empty() {
                break;
            }
        }
        assert_eq!(told, 1, "once a time-out");
    }
    let first = f.block_with(1, 2, &commit, None);
    f.advance(certificate(&f.qc_of(&first)));
    for _ in 0..5 {
        assert_eq!(hand_overs(&f.expire(), &commit), 0);
    }
}

#[test]
fn a_removed_validator_and_a_crashed_one_tell_it_too() {
    let (mut f, _, commit) = changed(Setup::default(), &[(0, 0), (4, 1)]);
    let told: usize = (0..4).map(|_| hand_overs(&f.expire(), &commit)).sum();
    assert!(told > 0, "the removed one");
    let durable = f.algorithm().durable();
    let mut f = Fixture::recovered(Setup::default(), |_, fresh| *fresh = durable);
    let told: usize = (0..4).map(|_| hand_overs(&f.expire(), &commit)).sum();
    assert!(told > 0, "after a crash");
}

#[test]
fn who_speaks_in_an_old_epoch_is_told_its_end() {
    let (mut f, block, commit) = changed(Setup::default(), ADD);
    let prepare = f.qc_of(&block);
    let stray = f.block(7, 1, &f.genesis_qc(), b"");
    let messages = [
        ProgressMessage::TimeoutVote(f.timeout(1, 9, &f.genesis_qc(), None)),
        f.nudge(&prepare, 2, Phase::Precommit, None),
        f.proposal(&stray, None),
    ];
    for (who, message) in (1..4).zip(messages) {
        let answer = vec![(To::Peer(f.address(who)), certificate(&commit))];
        let outcome = f.receive(who, message.clone());
        assert_eq!(outcome.certificates(), answer);
        let outcome = f.receive(who, message);
        assert_eq!(outcome.certificates(), [], "once a base time-out");
    }
    // Late votes are never answered.
    let vote = f.vote(1, f.statement(&stray));
    let outcome = f.receive(1, ProgressMessage::Vote(vote));
    assert_eq!(outcome.certificates(), []);
}

// ---- who votes

#[test]
fn a_removed_validator_becomes_a_listener() {
    let (mut f, _, commit) = changed(Setup::default(), &[(0, 0)]);
    assert!(!f.algorithm().is_validator());
    let first = f.block_with(1, 2, &commit, None);
    assert_eq!(f.propose(&first, None).votes(), []);
    nothing_is_signed(&mut f);
    let qc = f.qc_of(&first);
    f.advance(certificate(&qc));
    assert_eq!(f.algorithm().view(), rank(1, 2), "it follows");
}

#[test]
fn an_added_validator_votes_from_the_change_on() {
    let mut f = Fixture::with(of(4));
    let block = updating(&mut f, ADD);
    assert_eq!(take(&mut f, &block).votes(), [], "a listener");
    let [_, _, commit] = f.phases(&block);
    f.advance(certificate(&commit));
    assert!(f.algorithm().is_validator());
    let leads_first = f.leader_in(1, 1) == 4;
    let view = if leads_first { 2 } else { 1 };
    if leads_first {
        f.enter_by_tc(2, &commit);
    }
    let first = f.block_with(view, 2, &commit, None);
    let outcome = f.follow(&first);
    assert_eq!(outcome.votes(), [f.vote(4, f.statement(&first))]);
}

/// The leader of the view in which the Commit QC is formed is removed by it.
#[test]
fn the_leader_may_be_removed() {
    let (mut f, _, commit) = changed(Setup::default(), &[(3, 0)]);
    let set = f.set_of(1);
    assert_eq!(set.len(), 3);
    let view = (1..).find(|view| f.leader_in(1, *view) != 0).expect("one");
    if view > 1 {
        f.enter_by_tc(view, &commit);
    }
    let first = f.block_with(view, 2, &commit, None);
    assert_eq!(f.follow(&first).votes().len(), 1);
}

#[test]
fn the_whole_set_may_be_replaced() {
    let all: [(usize, u64); 8] = std::array::from_fn(|who| (who, u64::from(who >= 4)));
    for me in [0, 4] {
        let mut f = Fixture::with(of(me));
        let block = updating(&mut f, &all);
        take(&mut f, &block);
        let [_, _, commit] = f.phases(&block);
        f.advance(certificate(&commit));
        assert_eq!(f.algorithm().is_validator(), me == 4);
        let mut justify = commit;
        for view in 1..=3 {
            let next = f.block_with(view, view + 1, &justify, None);
            let mine = f.leader_in(1, view) == me;
            if mine {
                f.receive(5, ProgressMessage::AdvanceView(certificate(&justify)));
            }
            if !mine {
                let votes = f.propose(&next, None).votes().len();
                assert_eq!(votes, usize::from(me == 4), "{me} in view {view}");
            }
            let others = f.others_in(1);
            justify = f.qc(f.statement(&next), &others[others.len() - 3..]);
            if mine {
                break;
            }
        }
    }
}

#[test]
fn powers_may_change() {
    let (mut f, _, commit) = changed(Setup::default(), &[(1, 10)]);
    let view = (1..)
        .find(|view| f.leader_in(1, *view) != 0 && f.leader_in(1, *view) != 1)
        .expect("one");
    if view > 1 {
        f.enter_by_tc(view, &commit);
    }
    let first = f.block_with(view, 2, &commit, None);
    f.follow(&first);
    let light = f.qc(f.statement(&first), &[0, 2, 3]); // a quorum of the old set only
    let message = ProgressMessage::AdvanceView(certificate(&light));
    assert_eq!(f.try_receive(2, message).err(), Some(Refusal::NoQuorum));
    let heavy = f.qc(f.statement(&first), &[1]);
    f.advance(certificate(&heavy));
    assert_eq!(f.algorithm().view(), rank(1, view + 1));
}

#[test]
fn updates_that_change_nothing_begin_an_epoch_all_the_same() {
    let (f, _, _) = changed(Setup::default(), &[(0, 1), (7, 0)]);
    assert_eq!(f.set_of(0), f.set_of(1));
    assert_eq!(f.algorithm().view(), rank(1, 1));
}

#[test]
fn the_last_epochs_are_remembered() {
    // A listener, who never leads.
    let (mut f, _, mut commit) = changed(of(7), ADD);
    for epoch in 1..=EPOCHS_KEPT as u64 {
        let power = epoch + 1;
        let updates = f.plan(&[(4, power)]);
        let height = epoch + 1;
        let block = f.block_with(1, height, &commit, Some(updates.clone()));
        f.follow(&block);
        f.verdict(&block, valid_with(&updates));
        commit = f.phases(&block)[2].clone();
        f.advance(certificate(&commit));
    }
    let epochs = f.algorithm().durable().epochs;
    assert_eq!(epochs.len(), EPOCHS_KEPT);
    assert_eq!(epochs[0].epoch, Epoch(2));
    assert!(!f.verifier().knows(Epoch(1)) && f.verifier().knows(Epoch(2)));
}

// ---- recovery

#[test]
fn after_a_crash_a_vote_is_said_again_in_each_phase() {
    let (prepare, precommit) = {
        let mut f = Fixture::new();
        let block = updating(&mut f, ADD);
        let [prepare, precommit, _] = f.phases(&block);
        (prepare, precommit)
    };
    let genesis = Fixture::new().genesis_qc();
    let mut block = None;
    let cases = [
        (&genesis, 1, Phase::Prepare),
        (&prepare, 2, Phase::Precommit),
        (&precommit, 3, Phase::Commit),
    ];
    for (highest, view, phase) in cases {
        let f = Fixture::recovered(Setup::default(), |f, durable| {
            let mut planning = Fixture::new();
            let made = updating(&mut planning, ADD);
            let vote = match view {
                1 => f.statement(&made),
                _ => f.nudged(highest, view, phase),
            };
            durable.voting_record.voted = Some(vote);
            durable.highest_qc = highest.clone();
            durable.pending = vec![PendingBlock {
                hash: made.hash(&f.hash()),
                header: made.header.clone(),
                data_bytes: made.data.len() as u64,
            }];
            block = Some(vote);
        });
        let vote = block.expect("just set");
        let opening = f.opening.as_ref().expect("it was opened");
        assert_eq!(opening.votes(), [f.vote(0, vote)], "{phase:?}");
        assert_eq!(vote.phase, phase);
        assert!(opening.writes.is_empty());
    }
}

#[test]
fn after_a_crash_a_leader_nudges_again_and_never_otherwise() {
    let (f, prepare, outcome) = nudging(Setup::default());
    let before = outcome.nudges();
    let durable = f.algorithm().durable();
    let mut f = Fixture::recovered(of(2), |_, fresh| *fresh = durable);
    let opening = f.opening.take().expect("it was opened");
    assert_eq!(opening.nudges(), before, "the same bytes");
    let outcome = f.advance(certificate(&prepare));
    assert!(outcome.nudges().is_empty() && outcome.proposals().is_empty());
}

#[test]
fn after_a_crash_the_new_epoch_goes_on() {
    let (f, _, commit) = changed(of(2), ADD);
    let durable = f.algorithm().durable();
    let mut f = Fixture::recovered(of(2), |_, fresh| *fresh = durable);
    assert_eq!(f.algorithm().view(), rank(1, 1));
    let first = f.block_with(1, 2, &commit, None);
    assert_eq!(f.propose(&first, None).votes().len(), 1);
}

/// The record of the old epoch, however high its view, forbids nothing in the new one.
#[test]
fn the_voting_record_compares_epochs_first() {
    let (f, _, commit) = changed(of(2), ADD);
    let mut durable = f.algorithm().durable();
    durable.voting_record.timed_out = Some((Epoch(0), ViewNumber(1_000)));
    let mut f = Fixture::recovered(of(2), |_, fresh| *fresh = durable);
    let first = f.block_with(1, 2, &commit, None);
    assert_eq!(f.propose(&first, None).votes().len(), 1);
}

// ---- sync

/// A chain across two changes, and the certificate of its last block.
struct Range {
    blocks: Vec<Block>,
    tail: QuorumCertificate,
}

fn range(f: &mut Fixture) -> Range {
    let plain = f.block(1, 1, &f.genesis_qc(), b"");
    let updates = f.plan(ADD);
    let first = f.block_with(2, 2, &f.qc_of(&plain), Some(updates));
    let [_, _, commit] = f.phases(&first);
    let between = f.block_with(1, 3, &commit, None);
    let updates = f.plan(&[(0, 0), (5, 3)]);
    let second = f.block_with(2, 4, &f.qc_of(&between), Some(updates));
    let [_, _, commit] = f.phases(&second);
    let last = f.block_with(1, 5, &commit, None);
    let tail = f.qc_of(&last);
    Range {
        blocks: vec![plain, first, between, second, last],
        tail,
    }
}

/// Hands in an answer, as the peer that was asked first.
fn answer(f: &mut Fixture, range: &Range) -> Result<fixture::Outcome, Refusal> {
    let (To::Peer(peer), request) = f.opening_request(&f.fresh_opening()) else {
        unreachable!()
    };
    let from = f.who(&peer);
    let response = SyncResponse {
        highest_committed_block: request.highest_committed_block,
        blocks: range.blocks.clone(),
        tail_qcs: vec![range.tail.clone()],
    };
    f.try_synced(from, response)
}

/// The app agrees with every block that it is asked about.
fn judge_all(f: &mut Fixture, mut outcome: fixture::Outcome) -> Vec<Write> {
    let mut writes = Vec::new();
    loop {
        writes.append(&mut outcome.writes);
        let asked = outcome.effects.iter().find_map(|effect| match effect {
            Effect::ValidateBlock { block, .. } => Some(block.clone()),
            Effect::ProposeBlock { .. } => None,
        });
        let Some(block) = asked else {
            return writes;
        };
        let response = ValidateBlockResponse::Valid {
            state_updates: None,
            validator_set_updates: block.header.validator_set_updates.clone(),
        };
        outcome = f.verdict(&block, response);
    }
}

#[test]
fn sync_goes_on_across_changes_within_one_answer() {
    let mut f = Fixture::new();
    let range = range(&mut f);
    let outcome = answer(&mut f, &range).expect("it verifies");
    let writes = judge_all(&mut f, outcome);
    let changes = |write: &&Write| matches!(write, Write::ChangeEpoch(_));
    assert_eq!(writes.iter().filter(changes).count(), 2);
    assert_eq!(f.algorithm().view(), rank(2, 2), "the tail leads on");
    assert_eq!(f.algorithm().highest_qc(), &range.tail);
    assert_eq!(f.algorithm().validator_set(), &f.set_of(2));
    assert_eq!(f.algorithm().committed().height, BlockHeight(4));
}

#[test]
fn sync_may_end_at_the_change() {
    let mut f = Fixture::new();
    let mut range = range(&mut f);
    range.tail = range.blocks[2].header.justify.clone();
    range.blocks.truncate(2);
    let outcome = answer(&mut f, &range).expect("it verifies");
    judge_all(&mut f, outcome);
    assert_eq!(f.algorithm().view(), rank(1, 1));
}

#[test]
fn what_a_range_says_of_sets_must_be_proved_by_commit_qcs() {
    type Spoil = (fn(&mut Range), Refusal);
    let spoils: [Spoil; 5] = [
        // The Prepare QC instead of the Commit QC.
        (
            |r| {
                r.blocks[2].header.justify.phase = Phase::Prepare;
            },
            Refusal::Inconsistent,
        ),
        // A Commit QC that nobody has signed.
        (
            |r| {
                r.blocks[2].header.justify.signatures[1] = Some(Signature([9; 64]));
            },
            Refusal::WrongSignature,
        ),
        (
            |r| {
                let signatures = &mut r.blocks[2].header.justify.signatures;
                signatures.iter_mut().skip(2).for_each(|slot| *slot = None);
            },
            Refusal::NoQuorum,
        ),
        // Other updates than those that were certified.
        (
            |r| {
                r.blocks[1].header.validator_set_updates = None;
            },
            Refusal::UnknownEpoch,
        ),
        (
            |r| {
                let updates = r.blocks[1].header.validator_set_updates.as_mut();
                updates.expect("it updates")[0].power = 99;
            },
            Refusal::Inconsistent,
        ),
    ];
    for (case, (spoil, refusal)) in spoils.into_iter().enumerate() {
        let mut f = Fixture::new();
        let mut range = range(&mut f);
        spoil(&mut range);
        let refused = answer(&mut f, &range).err();
        assert_eq!(refused, Some(refusal), "case {case}");
        assert!(!f.verifier().knows(Epoch(1)));
    }
}

#[test]
fn the_sets_of_a_range_are_known_for_the_range_only() {
    let mut f = Fixture::new();
    let range = range(&mut f);
    answer(&mut f, &range).expect("it verifies");
    assert!(f.verifier().knows(Epoch(0)));
    assert!(!f.verifier().knows(Epoch(2)), "not before it has begun");
}

#[test]
fn a_peers_word_of_a_later_epoch_is_asked_after_once_a_base_timeout() {
    let mut f = Fixture::new();
    let (To::Peer(asked), _) = f.opening_request(&f.fresh_opening()) else {
        unreachable!()
    };
    f.step(Input::SyncFailed { peer: asked });
    let peer = f.address(6); // no validator here, but it may be one there
    let outcome = f.step(Input::LaterEpoch { peer });
    let [(To::Peer(to), _)] = outcome.requests()[..] else {
        panic!("it asks")
    };
    assert_eq!(to, peer);
    f.step(Input::SyncFailed { peer });
    for _ in 0..10 {
        let peer = f.address(7);
        let outcome = f.step(Input::LaterEpoch { peer });
        assert!(outcome.requests().is_empty());
    }
}

/// The first question of all may go to a peer that is not there: whoever speaks of a later epoch is
/// asked at once instead, and then awaited, whatever others say.
#[test]
fn a_peers_word_of_a_later_epoch_ends_the_wait_for_a_blind_poll() {
    let mut f = Fixture::new();
    f.opening_request(&f.fresh_opening());
    let peer = f.address(6);
    let [(To::Peer(to), _)] = f.step(Input::LaterEpoch { peer }).requests()[..] else {
        panic!("it asks")
    };
    assert_eq!(to, peer);
    for _ in 0..3 {
        f.now = f.now.after(Duration::from_millis(fixture::BASE_MS));
        let peer = f.address(7);
        assert!(f.step(Input::LaterEpoch { peer }).requests().is_empty());
    }
}

/// While I am the only validator there is nobody to ask. In the next epoch there is.
#[test]
fn whoever_was_alone_in_its_set_asks_the_new_one() {
    let mut f = Fixture::new();
    let alone = f.plan(&[(1, 0), (2, 0), (3, 0)]);
    let first = f.block_with(1, 1, &f.genesis_qc(), Some(alone));
    take(&mut f, &first);
    let [_, _, commit] = f.phases(&first);
    let outcome = f.advance(certificate(&commit));
    assert!(has_changed(&outcome));
    // The chain goes on by itself: my block gives the power away.
    let updates = f.plan(&[(0, 0), (1, 1), (2, 1), (3, 1)]);
    let response = ProposeBlockResponse::Block {
        data: b"x".to_vec(),
        state_updates: None,
        validator_set_updates: Some(updates),
    };
    let mut outcome = f.answer_propose(&outcome.effects, response);
    // Each of my votes is a QC, and each QC a view that I lead.
    for _ in 0..3 {
        let own = std::mem::take(&mut outcome.dispatch.inputs);
        own.into_iter().for_each(|vote| outcome = f.step(vote));
    }
    assert_eq!(f.algorithm().view(), rank(2, 1));
    let commit = f.algorithm().highest_qc().clone();
    let unknown = f.block_with(1, 3, &commit, None);
    f.advance(certificate(&f.qc_of(&unknown)));
    let asked = (0..4).any(|_| !f.expire().requests().is_empty());
    assert!(asked, "the block is wanted");
}

// ---- certificates of the next epoch

#[test]
fn timeouts_of_view_1_name_the_commit_qc() {
    let (mut f, _, commit) = changed(Setup::default(), ADD);
    let timeout = f.timeout(1, 1, &commit, None);
    assert_eq!(timeout.epoch, Epoch(1));
    f.receive(1, ProgressMessage::TimeoutVote(timeout.clone()));
    let tc = f.tc(1, &commit);
    f.advance(Certificate::Timeout(tc));
    assert_eq!(f.algorithm().view(), rank(1, 2));
    // The same in the old epoch: the rank of its highest QC is not of it.
    let old = TimeoutVote {
        epoch: Epoch(0),
        ..timeout
    };
    let refused = f.try_receive(1, ProgressMessage::TimeoutVote(old)).err();
    assert_eq!(refused, Some(Refusal::Inconsistent));
}

/// What comes of the next epoch before its set is known carries the end of this one.
#[test]
fn an_early_message_tells_the_end_of_the_epoch() {
    let mut f = Fixture::new();
    let block = updating(&mut f, ADD);
    take(&mut f, &block);
    let [_, _, commit] = f.phases(&block);
    let first = f.block_with(1, 2, &commit, None);
    let early = [
        f.proposal(&first, None),
        ProgressMessage::TimeoutVote(f.timeout(1, 1, &commit, None)),
        ProgressMessage::AdvanceView(Certificate::Timeout(f.tc(1, &commit))),
    ];
    for message in early {
        let refused = f.verifier().progress(message.clone()).err();
        assert_eq!(refused, Some(Refusal::UnknownEpoch));
        let end = f.verifier().epoch_end(&message).expect("it carries it");
        let expected = ProgressMessage::AdvanceView(certificate(&commit));
        assert_eq!(end.message(), &expected);
    }
    let mut forged = commit.clone();
    forged.signatures[1] = Some(Signature([7; 64]));
    let first = f.block_with(1, 2, &forged, None);
    let message = f.proposal(&first, None);
    assert!(f.verifier().epoch_end(&message).is_none());
}

/// epoch-verifies-certificate: by the set of its own epoch, never by another's.
#[test]
fn a_certificate_is_verified_by_the_set_of_its_epoch() {
    let (mut f, _, commit) = changed(Setup::default(), &[(1, 0), (4, 1)]);
    let first = f.block_with(1, 2, &commit, None);
    let statement = f.statement(&first);
    let vote = f.vote(1, statement); // removed
    let refused = f.try_receive(1, ProgressMessage::Vote(vote)).err();
    assert_eq!(refused, Some(Refusal::NotAValidator));
    let old = VoteStatement {
        epoch: Epoch(0),
        view_num: ViewNumber(9),
        ..statement
    };
    let vote = f.vote(4, old); // not there yet
    let refused = f.try_receive(4, ProgressMessage::Vote(vote)).err();
    assert_eq!(refused, Some(Refusal::NotAValidator));
}
