//! The rules, one test each: init, step, check. What a rule says stands in `src/algorithm`.

mod active;
mod ahead;
mod epochs;
mod evidence;
mod fixture;
mod leaders;
mod peers;
mod powers;
mod rules;
mod sync;
mod verify;

use std::time::Duration;

use fixture::{data, valid, Fixture, Setup, BASE_MS};
use hotstuff::algorithm::verify::Refusal;
use hotstuff::algorithm::{
    Effect, Event, Input, Limits, PendingBlock, StoredProposal, To, VoteTo, Write,
};
use hotstuff::app::{ProposeBlockResponse, ValidateBlockResponse};
use hotstuff::messages::{Certificate, ProgressMessage, Propose, SyncResponse};
use hotstuff::types::*;

// ---- certificates

#[test]
fn a_qc_needs_a_quorum_of_valid_signatures_in_the_right_slots() {
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"");
    let whole = f.qc_of(&block);
    let mut garbage = whole.clone();
    garbage.signatures[0] = Some(Signature([7; 64])); // one more than the quorum, and wrong
    let mut short = whole.clone();
    short.signatures.pop();
    let mut long = whole.clone();
    long.signatures.push(None);
    let few = f.qc(f.statement(&block), &f.others()[..2]);
    let mut other = whole.clone();
    other.justify_view = ViewNumber(9);
    let refused = [
        (garbage, Refusal::WrongSignature),
        (short, Refusal::WrongSlots),
        (long, Refusal::WrongSlots),
        (few, Refusal::NoQuorum),
        (other, Refusal::WrongSignature),
    ];
    for (qc, why) in refused {
        let message = ProgressMessage::AdvanceView(Certificate::Quorum(qc));
        assert_eq!(f.try_receive(1, message).err(), Some(why));
    }
    assert_eq!(f.view(), 1);
    f.advance(Certificate::Quorum(whole));
    assert_eq!(f.view(), 2);
}

#[test]
fn a_phase_does_not_count_for_another() {
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"");
    let mut qc = f.qc_of(&block);
    qc.phase = Phase::Commit;
    let message = ProgressMessage::AdvanceView(Certificate::Quorum(qc));
    assert_eq!(
        f.try_receive(1, message).err(),
        Some(Refusal::WrongSignature)
    );
}

#[test]
fn a_tc_carries_the_qc_of_its_greatest_view() {
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"");
    let qc = f.qc_of(&block);
    let tc = f.tc(4, &qc);
    let mut without = tc.clone();
    without.highest_qc = f.genesis_qc();
    let mut future = f.tc(1, &qc); // a time-out of view 1 that has seen the QC of view 1
    future.view_num = ViewNumber(1);
    for tc in [without, future] {
        let message = ProgressMessage::AdvanceView(Certificate::Timeout(tc));
        assert_eq!(f.try_receive(1, message).err(), Some(Refusal::Inconsistent));
    }
    f.advance(Certificate::Timeout(tc));
    assert_eq!(f.view(), 5);
}

#[test]
fn the_genesis_qc_is_valid_by_equality_only() {
    let mut f = Fixture::new();
    let mut forged = f.genesis_qc();
    forged.block_hash = BlockHash([9; 32]);
    let block = f.block(1, 1, &forged, b"");
    let message = f.proposal(&block, None);
    assert_eq!(f.try_receive(1, message).err(), Some(Refusal::Inconsistent));
}

#[test]
fn a_signature_of_another_chain_is_refused() {
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"");
    let mut vote = f.vote(1, f.statement(&block));
    let digest = Statement::Vote(vote.statement).digest(&GenesisHash([1; 32]));
    vote.signature = KeyPair::from_seed(&[1; 32])
        .expect("32 bytes")
        .sign(&digest);
    let refused = f.try_receive(1, ProgressMessage::Vote(vote)).err();
    assert_eq!(refused, Some(Refusal::WrongSignature));
}

#[test]
fn a_signature_once_checked_vouches_for_no_other_bytes_or_words() {
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"");
    let vote = f.vote(1, f.statement(&block));
    f.receive(1, ProgressMessage::Vote(vote));
    let mut other_bytes = vote;
    other_bytes.signature.0[63] ^= 1;
    let mut other_words = vote;
    other_words.statement.justify_view = ViewNumber(1);
    let mut another = vote;
    another.voter = f.address(2);
    for forged in [other_bytes, other_words, another] {
        let refused = f.try_receive(1, ProgressMessage::Vote(forged)).err();
        assert_eq!(refused, Some(Refusal::WrongSignature));
    }
    f.receive(1, ProgressMessage::Vote(vote));
}

#[test]
fn data_that_does_not_hash_is_refused_before_it_is_judged() {
    let mut f = Fixture::new();
    let mut block = f.block(1, 1, &f.genesis_qc(), b"right");
    let message = f.proposal(&block, None);
    block.data = Data::new(b"wrong".as_slice());
    let ProgressMessage::Propose(mut propose) = message else {
        unreachable!()
    };
    propose.block = block;
    let refused = f.try_receive(1, ProgressMessage::Propose(propose)).err();
    assert_eq!(refused, Some(Refusal::WrongData));
}

#[test]
fn a_certificate_inside_a_message_is_processed_first() {
    let mut f = Fixture::new();
    let chain = f.chain(&[1, 2, 3]);
    f.propose(&chain[2], None); // its parent is not known: nothing to vote for
    assert_eq!(f.view(), 3);
    assert_eq!(f.algorithm().highest_qc().view_num, ViewNumber(2));
}

// ---- voting

/// The first view that I do not lead, entered by time-outs.
fn entered(f: &mut Fixture) -> u64 {
    let view = f.view_led_by_me(1, false);
    f.enter_by_tc(view, &f.genesis_qc());
    view
}

#[test]
fn a_justified_block_is_voted_for_once_and_on_disk_before() {
    let mut f = Fixture::new();
    let view = entered(&mut f);
    let block = f.block(view, 1, &f.genesis_qc(), b"");
    let tc = f.tc(view - 1, &f.genesis_qc());
    let outcome = f.propose(&block, Some(tc.clone()));
    assert_eq!(outcome.votes().len(), 1);
    let statement = f.statement(&block);
    assert_eq!(outcome.votes()[0].statement, statement);
    assert!(outcome.writes.contains(&Write::CastVote(statement)));
    assert_eq!(f.propose(&block, Some(tc.clone())).votes(), []);
    // one-vote-per-view: another block of the same view gets nothing.
    let other = f.block(view, 1, &f.genesis_qc(), b"x");
    f.propose(&other, Some(tc));
    assert_eq!(f.verdict(&other, valid()).votes(), []);
}

#[test]
fn rule_1_no_vote_in_another_view() {
    let mut f = Fixture::new();
    f.enter_by_tc(9, &f.genesis_qc());
    for view in [7, 12] {
        let block = f.block(view, 1, &f.genesis_qc(), b"");
        assert_eq!(f.receive(1, f.proposal(&block, None)).votes(), []);
    }
}

#[test]
fn rule_1_no_vote_after_a_timeout() {
    let mut f = Fixture::new();
    let view = entered(&mut f);
    while f.expire().timeouts().is_empty() {}
    let block = f.block(view, 1, &f.genesis_qc(), b"");
    let tc = f.tc(view - 1, &f.genesis_qc());
    assert_eq!(f.propose(&block, Some(tc)).votes(), []);
    assert_eq!(f.view(), view);
}

#[test]
fn rule_2_no_vote_for_a_block_that_is_not_the_leaders() {
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"");
    let leader = f.leader(1);
    let others = (1..4).filter(|who| *who != leader);
    for who in others.chain([leader]) {
        let proposal = ProgressMessage::Propose(Propose {
            block: block.clone(),
            vote: f.vote(who, f.statement(&block)),
            timeout_certificate: None,
        });
        let outcome = f.receive(who, proposal);
        assert_eq!(outcome.votes().len(), usize::from(who == leader), "{who}");
    }
}

#[test]
fn rule_3_no_vote_for_an_unjustified_block() {
    let mut f = Fixture::new();
    let first = f.block(1, 1, &f.genesis_qc(), b"");
    f.propose(&first, None);
    let qc = f.qc_of(&first);
    let view = f.view_led_by_me(4, false);
    f.enter_by_tc(view, &qc);
    let on_genesis = f.block(view, 1, &f.genesis_qc(), b"");
    let on_first = f.block(view, 2, &qc, b"");
    // The TC says that somebody has seen the QC of view 1: nothing may fork below it.
    assert_eq!(
        f.propose(&on_genesis, Some(f.tc(view - 1, &qc))).votes(),
        []
    );
    // Without the TC, or with that of another view, nothing says why views are missing.
    assert_eq!(f.propose(&on_first, None).votes(), []);
    assert_eq!(f.propose(&on_first, Some(f.tc(view - 2, &qc))).votes(), []);
}

#[test]
fn rule_3_a_justify_above_the_tcs_highest_is_enough() {
    let mut f = Fixture::new();
    let first = f.block(1, 1, &f.genesis_qc(), b"");
    f.propose(&first, None);
    let qc = f.qc_of(&first);
    let view = f.view_led_by_me(4, false);
    f.enter_by_tc(view, &qc);
    let block = f.block(view, 2, &qc, b"");
    let tc = f.tc(view - 1, &f.genesis_qc());
    assert_eq!(f.propose(&block, Some(tc)).votes().len(), 1);
}

#[test]
fn rule_4_a_block_waits_for_its_parent() {
    let mut f = Fixture::new();
    let views: Vec<u64> = (1..).filter(|view| f.leader(*view) != 0).take(2).collect();
    let chain = f.chain(&[1, 2, 3]);
    assert!(views.contains(&2) || views.contains(&3));
    let view = if f.leader(3) == 0 { 2 } else { 3 };
    let (parent, child) = (&chain[view - 2], &chain[view - 1]);
    let outcome = f.propose(child, None);
    assert_eq!(outcome.votes(), []);
    assert_eq!(outcome.requests(), [], "the parent may be on its way");
    let outcome = f.expire();
    let tail_qcs = vec![f.qc_of(parent)];
    let (To::Peer(asked), request) = f.opening_request(&outcome) else {
        unreachable!()
    };
    let blocks = chain[..view - 1].to_vec();
    let highest_committed_block = request.highest_committed_block;
    let from = f
        .genesis
        .validator_set
        .index_of(&asked)
        .expect("a validator");
    let response = SyncResponse {
        highest_committed_block,
        blocks,
        tail_qcs,
    };
    let outcome = f.synced(from, response);
    assert_eq!(outcome.votes().len(), 1, "judged when the parent came");
}

#[test]
fn rule_5_what_the_leaders_key_covers_is_blamed_and_times_the_view_out() {
    let wrong: [fn(&mut Block); 3] = [
        |block| block.header.height = BlockHeight(7),
        |block| block.header.validator_set_updates = Some(Vec::new()),
        |block| {
            block.data = Data::new(vec![0; (1 << 20) + 1]);
            block.header.data_hash = block.data.hash();
        },
    ];
    for (case, spoil) in wrong.into_iter().enumerate() {
        let mut f = Fixture::new();
        let view = entered(&mut f);
        let mut block = f.block(view, 1, &f.genesis_qc(), b"");
        spoil(&mut block);
        let leader = f.leader(view);
        let mut statement = f.statement(&block);
        if block.header.validator_set_updates.is_some() {
            statement.phase = Phase::Prepare;
        }
        let message = ProgressMessage::Propose(hotstuff::messages::Propose {
            vote: f.vote(leader, statement),
            block,
            timeout_certificate: Some(f.tc(view - 1, &f.genesis_qc())),
        });
        let outcome = f.receive(leader, message);
        assert!(outcome.votes().is_empty(), "case {case}");
        assert_eq!(outcome.timeouts().len(), 1, "case {case}");
        assert!(outcome.reports(|event| matches!(event, Event::BlockRefused { .. })));
    }
}

#[test]
fn rule_5_the_app_decides() {
    let verdicts = [
        (valid(), 1, 0),
        (ValidateBlockResponse::Invalid, 0, 1),
        (ValidateBlockResponse::Undecided, 0, 0),
    ];
    for (verdict, votes, timeouts) in verdicts {
        let mut f = Fixture::new();
        let view = entered(&mut f);
        let block = f.block(view, 1, &f.genesis_qc(), b"data");
        let outcome = f.propose(&block, Some(f.tc(view - 1, &f.genesis_qc())));
        assert!(matches!(
            outcome.effects[..],
            [Effect::ValidateBlock { is_sync: false, .. }]
        ));
        assert!(outcome.votes().is_empty());
        let outcome = f.verdict(&block, verdict);
        assert_eq!(
            (outcome.votes().len(), outcome.timeouts().len()),
            (votes, timeouts)
        );
    }
}

#[test]
fn rule_5_validator_set_updates_of_the_app_must_equal_the_blocks() {
    let mut f = Fixture::new();
    let view = entered(&mut f);
    let block = f.block(view, 1, &f.genesis_qc(), b"data");
    f.propose(&block, Some(f.tc(view - 1, &f.genesis_qc())));
    let update = ValidatorSetUpdate {
        validator: f.address(0),
        power: 2,
    };
    let verdict = ValidateBlockResponse::Valid {
        state_updates: None,
        validator_set_updates: Some(vec![update]),
    };
    assert_eq!(f.verdict(&block, verdict).votes(), []);
}

#[test]
fn a_verdict_after_the_view_still_inserts_the_block() {
    let mut f = Fixture::new();
    let view = entered(&mut f);
    let block = f.block(view, 1, &f.genesis_qc(), b"data");
    f.propose(&block, Some(f.tc(view - 1, &f.genesis_qc())));
    f.enter_by_tc(view + 2, &f.genesis_qc());
    let outcome = f.verdict(&block, valid());
    assert!(outcome.votes().is_empty());
    assert!(outcome
        .writes
        .iter()
        .any(|write| matches!(write, Write::InsertBlock { .. })));
}

#[test]
fn a_certified_block_that_the_app_calls_invalid_is_a_divergence_not_a_crime() {
    let mut f = Fixture::new();
    let view = entered(&mut f);
    let block = f.block(view, 1, &f.genesis_qc(), b"data");
    f.propose(&block, Some(f.tc(view - 1, &f.genesis_qc())));
    f.advance(Certificate::Quorum(f.qc_of(&block)));
    let outcome = f.verdict(&block, ValidateBlockResponse::Invalid);
    assert!(outcome.reports(|event| matches!(
        event,
        Event::Diverged {
            is_committed: false,
            ..
        }
    )));
    assert!(outcome.timeouts().is_empty());
}

// ---- committing

fn committed_after(rule: CommitRule, views: &[u64]) -> usize {
    let mut f = Fixture::with(Setup {
        commit_rule: rule,
        ..Setup::default()
    });
    let chain = f.chain(views);
    for block in &chain {
        f.follow(block);
    }
    let last = f.qc_of(chain.last().expect("not empty"));
    f.advance(Certificate::Quorum(last));
    f.algorithm().committed().height.0 as usize
}

#[test]
fn three_consecutive_qcs_commit_and_two_do_not() {
    assert_eq!(committed_after(CommitRule::ThreeChain, &[1, 2]), 0);
    assert_eq!(committed_after(CommitRule::ThreeChain, &[1, 2, 3]), 1);
    assert_eq!(committed_after(CommitRule::TwoChain, &[1]), 0);
    assert_eq!(committed_after(CommitRule::TwoChain, &[1, 2]), 1);
}

#[test]
fn a_gap_in_the_views_commits_nothing() {
    assert_eq!(committed_after(CommitRule::ThreeChain, &[1, 2, 4]), 0);
    assert_eq!(committed_after(CommitRule::ThreeChain, &[1, 3, 4]), 0);
    assert_eq!(committed_after(CommitRule::TwoChain, &[1, 3]), 0);
    assert_eq!(committed_after(CommitRule::TwoChain, &[1, 3, 4]), 2);
    assert_eq!(committed_after(CommitRule::ThreeChain, &[1, 3, 5, 6, 7]), 3);
}

#[test]
fn a_qc_of_another_view_than_its_blocks_commits_nothing() {
    let mut f = Fixture::with(Setup {
        commit_rule: CommitRule::TwoChain,
        ..Setup::default()
    });
    let chain = f.chain(&[1, 3]);
    chain.iter().for_each(|block| drop(f.follow(block)));
    let mut statement = f.statement(&chain[1]);
    statement.view_num = ViewNumber(2); // the view after the justify's, and not the block's
    let qc = f.qc(statement, &f.others());
    assert_eq!(f.advance(Certificate::Quorum(qc)).committed(), []);
}

#[test]
fn a_commit_takes_the_ancestors_along_in_order_and_drops_the_rest() {
    let mut f = Fixture::new();
    let chain = f.chain(&[1, 3, 4, 5]);
    let side = f.block(2, 2, &f.qc_of(&chain[0]), b"");
    for block in [&chain[0], &side, &chain[1], &chain[2], &chain[3]] {
        f.follow(block);
    }
    let outcome = f.advance(Certificate::Quorum(f.qc_of(&chain[3])));
    let hash = |block: &Block| block.hash(&f.hash());
    assert_eq!(outcome.committed(), [hash(&chain[0]), hash(&chain[1])]);
    assert!(outcome
        .writes
        .contains(&Write::DropBlock { hash: hash(&side) }));
}

// ---- views and time-outs

#[test]
fn a_timeout_is_on_disk_before_it_is_said_and_carries_qc_and_last_vote() {
    let mut f = Fixture::new();
    let chain = f.chain(&[1, 2]);
    let votes: usize = chain
        .iter()
        .map(|block| f.propose(block, None).votes().len())
        .sum();
    let outcome = f.expire();
    let timeout = &outcome.timeouts()[0];
    assert!(outcome
        .writes
        .iter()
        .any(|write| matches!(write, Write::TimeOut(_))));
    assert_eq!(timeout.highest_qc, *f.algorithm().highest_qc());
    assert_eq!(timeout.last_vote.is_some(), votes > 0);
    // Said again after a further wait, without a second write.
    let again = f.expire();
    assert_eq!(again.timeouts(), outcome.timeouts());
    assert!(again.writes.is_empty());
}

#[test]
fn last_votes_assemble_the_qc_that_a_crashed_leader_took_along() {
    let mut f = Fixture::new();
    let view = entered(&mut f);
    let block = f.block(view, 1, &f.genesis_qc(), b"");
    f.propose(&block, Some(f.tc(view - 1, &f.genesis_qc())));
    f.enter_by_tc(view + 2, &f.genesis_qc());
    for who in f.others() {
        let last_vote = Some(f.vote(who, f.statement(&block)));
        let timeout = f.timeout(who, view + 2, &f.genesis_qc(), last_vote);
        f.receive(who, ProgressMessage::TimeoutVote(timeout));
    }
    assert_eq!(f.algorithm().highest_qc().block_hash, block.hash(&f.hash()));
}

#[test]
fn blocking_power_is_joined_and_a_quorum_is_followed() {
    let mut f = Fixture::new();
    let others = f.others();
    let message = |f: &Fixture, who, view| {
        ProgressMessage::TimeoutVote(f.timeout(who, view, &f.genesis_qc(), None))
    };
    let first = f.receive(others[0], message(&f, others[0], 40));
    assert!(first.timeouts().is_empty(), "one of four may lie");
    let second = f.receive(others[1], message(&f, others[1], 40));
    assert_eq!(second.timeouts()[0].view_num, ViewNumber(40));
    assert_eq!(f.view(), 1, "to join is not to enter");
    let third = f.receive(others[2], message(&f, others[2], 40));
    assert_eq!(f.view(), 41);
    let to_leader = third.certificates();
    let leader = f.leader(41);
    assert_eq!(to_leader.is_empty(), leader == 0);
    assert!(to_leader
        .iter()
        .all(|(to, _)| *to == To::Peer(f.address(leader))));
}

#[test]
fn an_old_view_is_answered_with_the_highest_certificate_once_a_timeout() {
    let mut f = Fixture::new();
    f.enter_by_tc(9, &f.genesis_qc());
    let other = f.others()[1];
    let old = ProgressMessage::TimeoutVote(f.timeout(other, 3, &f.genesis_qc(), None));
    let answers = f.receive(other, old.clone()).certificates();
    assert!(
        matches!(&answers[..], [(To::Peer(_), Certificate::Timeout(tc))] if tc.view_num.0 == 8)
    );
    assert!(f.receive(other, old.clone()).certificates().is_empty());
    f.now = f.now.after(std::time::Duration::from_millis(BASE_MS));
    assert_eq!(f.receive(other, old).certificates().len(), 1);
}

#[test]
fn a_vote_that_overtakes_its_block_is_kept() {
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"");
    for who in f.others() {
        let vote = f.vote(who, f.statement(&block));
        f.receive(who, ProgressMessage::Vote(vote));
    }
    assert_eq!(f.view(), 2, "the QC stands without its block");
    assert_eq!(f.algorithm().wanted_block(), Some(block.hash(&f.hash())));
}

#[test]
fn waits_double_with_views_without_a_qc_or_with_rotations_without_a_commit() {
    use hotstuff::pacemaker::{DefaultPacemaker, Pacemaker};
    let pacemaker = DefaultPacemaker {
        base_ms: 100,
        max_ms: 1_000,
    };
    let set = Fixture::new().genesis.validator_set;
    let wait = |qc, commit, view| {
        let [qc, commit, view] = [qc, commit, view].map(ViewNumber);
        let wait = pacemaker.wait_timeout(&set, qc, commit, view);
        wait.as_millis()
    };
    assert_eq!(wait(20, 18, 21), 100);
    assert_eq!([wait(20, 18, 22), wait(20, 18, 23)], [200, 400]);
    // A QC in every view, and no commit: 7 views, n + 3, to each doubling.
    assert_eq!([wait(20, 15, 21), wait(20, 14, 21)], [100, 200]);
    assert_eq!([wait(20, 7, 21), wait(20, 0, 21)], [400, 800]);
    assert_eq!(wait(20, 18, 60), 1_000, "the cap");
}

#[test]
fn votes_far_ahead_are_not_kept_but_certificates_are() {
    let mut f = Fixture::new();
    let far = 2 + Limits::default().views_ahead_max;
    let block = f.block(far, 1, &f.genesis_qc(), b"");
    for who in f.others() {
        let vote = f.vote(who, f.statement(&block));
        f.receive(who, ProgressMessage::Vote(vote));
    }
    assert_eq!(f.view(), 1);
    f.advance(Certificate::Quorum(f.qc_of(&block)));
    assert_eq!(f.view(), far + 1);
}

#[test]
fn votes_go_to_all_or_to_the_next_leader() {
    for (vote_to, is_all) in [(VoteTo::All, true), (VoteTo::NextLeader, false)] {
        let mut f = Fixture::with(Setup {
            vote_to,
            ..Setup::default()
        });
        let view = (2..)
            .find(|v| f.leader(*v) != 0 && f.leader(v + 1) != 0)
            .expect("there is one");
        f.enter_by_tc(view, &f.genesis_qc());
        let block = f.block(view, 1, &f.genesis_qc(), b"");
        let outcome = f.propose(&block, Some(f.tc(view - 1, &f.genesis_qc())));
        let to = outcome.dispatch.messages[0].0;
        let next = To::Peer(f.address(f.leader(view + 1)));
        assert_eq!(to, if is_all { To::All } else { next });
    }
}

// ---- leading

/// A fixture in the first view that it leads, entered by time-outs; the app has been asked.
fn leading() -> (Fixture, u64, Vec<Effect>) {
    let mut f = Fixture::new();
    let view = f.view_led_by_me(8, true);
    let outcome = f.enter_by_tc(view, &f.genesis_qc());
    (f, view, outcome.effects)
}

#[test]
fn a_leader_proposes_once_and_stores_the_proposal_before() {
    let (mut f, view, effects) = leading();
    let outcome = f.answer_propose(&effects, data(b"work"));
    let proposals = outcome.proposals();
    assert_eq!(proposals.len(), 1);
    assert_eq!(proposals[0].block.header.view, ViewNumber(view));
    assert!(proposals[0].timeout_certificate.is_some());
    assert!(outcome
        .writes
        .iter()
        .any(|write| matches!(write, Write::StoreProposal(_))));
    let late = f.step(Input::BlockProposed {
        cur_view: ViewNumber(view),
        prev_block: f.hash().as_block_hash(),
        response: data(b"more"),
    });
    assert!(late.proposals().is_empty());
    assert!(f.step(Input::Notify).proposals().is_empty());
}

#[test]
fn an_answer_for_a_view_that_is_over_is_not_used() {
    let (mut f, view, effects) = leading();
    f.enter_by_tc(view + 2, &f.genesis_qc());
    assert!(f
        .answer_propose(&effects, data(b"late"))
        .proposals()
        .is_empty());
}

#[test]
fn a_leader_that_has_timed_out_its_view_does_not_propose() {
    let (mut f, _, effects) = leading();
    while f.expire().timeouts().is_empty() {}
    assert!(f
        .answer_propose(&effects, data(b"late"))
        .proposals()
        .is_empty());
}

#[test]
fn an_idle_leader_defers_tells_the_last_qc_and_proposes_at_max_idle() {
    let mut f = Fixture::new();
    let chain = f.chain(&[1]);
    f.propose(&chain[0], None);
    let qc = f.qc_of(&chain[0]);
    let view = f.view_led_by_me(12, true);
    let outcome = f.enter_by_tc(view, &qc);
    let entered = f.now;
    let outcome = f.answer_propose(&outcome.effects, ProposeBlockResponse::Defer);
    assert!(outcome.proposals().is_empty());
    assert!(matches!(
        &outcome.certificates()[..],
        [(To::All, Certificate::Quorum(_))]
    ));
    let outcome = f.expire();
    let max_idle = f.config.parameters.max_idle_ms;
    assert_eq!(f.now.since(entered).as_millis(), u128::from(max_idle));
    assert!(outcome.proposals()[0].block.data.is_empty());
}

#[test]
fn a_notify_ends_the_idle_wait_of_the_leader() {
    let (mut f, _, effects) = leading();
    f.answer_propose(&effects, ProposeBlockResponse::Defer);
    let outcome = f.step(Input::Notify);
    assert_eq!(
        f.answer_propose(&outcome.effects, data(b"work"))
            .proposals()
            .len(),
        1
    );
}

#[test]
fn a_notify_elsewhere_wakes_the_leader_and_makes_timers_normal() {
    let mut f = Fixture::new();
    // The host may have had work before a crash: that is asked for first.
    let led = f.view_led_by_me(8, true);
    let effects = f.enter_by_tc(led, &f.genesis_qc()).effects;
    f.answer_propose(&effects, ProposeBlockResponse::Defer);
    let view = f.view_led_by_me(led + 8, false);
    f.enter_by_tc(view, &f.genesis_qc());
    let idle = f.algorithm().deadline();
    assert_eq!(f.step(Input::Notify).wakes(), 1);
    assert_eq!(f.step(Input::Notify).wakes(), 0, "one in a view");
    assert!(f.algorithm().deadline() < idle);
}

// ---- sync

/// Views 1 to `to` but those that `dead` leads, certified without it: the last QC.
fn go_on_without(f: &mut Fixture, dead: usize, to: u64) -> QuorumCertificate {
    let alive: Vec<usize> = (0..4).filter(|who| *who != dead).collect();
    let mut justify = f.genesis_qc();
    let views = (1..=to).filter(|view| Fixture::new().leader(*view) != dead);
    for (height, view) in (1..).zip(views.collect::<Vec<_>>()) {
        let block = next_block(f, view, height, &justify);
        justify = f.qc(f.statement(&block), &alive);
    }
    justify
}

/// The block of `view`, which the replica votes for: of its leader, or the replica's own.
fn next_block(f: &mut Fixture, view: u64, height: u64, justify: &QuorumCertificate) -> Block {
    if f.leader(view) != f.me() {
        let block = f.block(view, height, justify, b"");
        f.follow(&block);
        return block;
    }
    let entered = match justify.view_num.next().0 == view {
        true => f.advance(Certificate::Quorum(justify.clone())),
        false => f.enter_by_tc(view, justify),
    };
    let outcome = f.answer_propose(&entered.effects, data(b"mine"));
    outcome.proposals()[0].block.clone()
}

/// The wait of the view that `qc` leads to; the host has work, so that it is not idle.
fn wait_after(f: &mut Fixture, qc: &QuorumCertificate) -> u64 {
    f.advance(Certificate::Quorum(qc.clone()));
    f.step(Input::Notify);
    f.algorithm().deadline().0 - f.now.0
}

#[test]
fn the_first_wait_for_a_leader_who_has_not_voted_for_a_rotation_is_a_quarter() {
    let base = BASE_MS * 1_000_000;
    let dead = Fixture::new().leader(7);
    assert_ne!(dead, 0);
    let mut f = Fixture::new();
    let qc = go_on_without(&mut f, dead, 6);
    assert_eq!(
        wait_after(&mut f, &qc),
        base / 4,
        "it is silent since view 3"
    );

    // The view is lost; the next one follows no certificate, and its wait is whole, and doubled.
    f.enter_by_tc(8, &qc);
    f.step(Input::Notify);
    assert_eq!(f.algorithm().deadline().0 - f.now.0, 2 * base);

    // A proposal that came too late is a sign of life.
    let mut f = Fixture::new();
    let qc = go_on_without(&mut f, dead, 6);
    let late = f.block(7, 6, &qc, b"");
    let entered = f.enter_by_tc(8, &qc);
    f.propose(&late, None);
    let alive: Vec<usize> = (0..4).filter(|who| *who != dead).collect();
    let mine = f.answer_propose(&entered.effects, data(b"mine"));
    let mut justify = f.qc(f.statement(&mine.proposals()[0].block), &alive);
    for (view, height) in [(9, 7), (10, 8)] {
        let block = next_block(&mut f, view, height, &justify);
        justify = f.qc(f.statement(&block), &alive);
    }
    assert_eq!(wait_after(&mut f, &justify), base, "it was heard in view 7");
}

#[test]
fn a_peer_that_did_not_answer_rests_as_long_as_that_has_cost() {
    let mut f = Fixture::new();
    let (silent, _) = f.opening_request(&f.fresh_opening());
    let asked_at = f.now;
    let mut failed_at = None;
    let mut asked_again = None;
    while asked_again.is_none() {
        let outcome = f.expire();
        if outcome.reports(|event| matches!(event, Event::SyncFailed { .. })) {
            failed_at.get_or_insert(f.now);
        }
        let again = outcome.requests().iter().any(|(to, _)| *to == silent);
        asked_again = (again && failed_at.is_some()).then_some(f.now);
    }
    let failed_at = failed_at.expect("it never answered");
    let rest = asked_again.expect("it was asked again").since(failed_at);
    assert!(rest >= failed_at.since(asked_at).min(Duration::from_secs(10)));
}

#[test]
fn what_does_not_fit_the_request_is_not_kept() {
    let chain = Fixture::new().chain(&[1, 2, 3]);
    let spoils: [fn(&mut SyncResponse); 3] = [
        |r| r.tail_qcs.clear(),
        |r| drop(r.blocks.remove(1)),
        |r| r.blocks.swap(0, 1),
    ];
    for (case, spoil) in spoils.into_iter().enumerate() {
        let mut f = Fixture::new();
        let (To::Peer(peer), request) = f.opening_request(&f.fresh_opening()) else {
            panic!()
        };
        let from = f
            .genesis
            .validator_set
            .index_of(&peer)
            .expect("a validator");
        let mut response = SyncResponse {
            highest_committed_block: request.highest_committed_block,
            blocks: chain.clone(),
            tail_qcs: vec![f.qc_of(&chain[2])],
        };
        spoil(&mut response);
        let outcome = f.synced(from, response);
        let is_failure = outcome.reports(|e| matches!(e, Event::SyncFailed { .. }));
        // Without a certificate it may be the late answer to an earlier question.
        assert_eq!(is_failure, case != 0, "case {case}");
        let inserts = outcome
            .writes
            .iter()
            .filter(|w| matches!(w, Write::InsertBlock { .. }));
        assert_eq!(inserts.count(), 0, "case {case}");
    }
}

#[test]
fn an_answer_to_another_question_is_ignored() {
    let mut f = Fixture::new();
    let chain = f.chain(&[1, 2, 3]);
    let (To::Peer(peer), request) = f.opening_request(&f.fresh_opening()) else {
        panic!()
    };
    let asked = f
        .genesis
        .validator_set
        .index_of(&peer)
        .expect("a validator");
    let other = f
        .others()
        .into_iter()
        .find(|who| *who != asked)
        .expect("two others");
    let response = SyncResponse {
        highest_committed_block: request.highest_committed_block,
        blocks: chain.clone(),
        tail_qcs: vec![f.qc_of(&chain[2])],
    };
    assert!(f.synced(other, response.clone()).writes.is_empty());
    let mut another = response.clone();
    another.highest_committed_block = BlockHash([1; 32]);
    another.tail_qcs.clear();
    let outcome = f.synced(asked, another);
    assert!(outcome.writes.is_empty() && outcome.dispatch.events.is_empty());
    let outcome = f.synced(asked, response);
    assert_eq!(
        outcome.committed().len(),
        1,
        "the right peer's answer commits what it shows"
    );
}

// ---- recovery

#[test]
fn after_a_crash_the_recorded_vote_is_said_again_and_no_other() {
    let block = Fixture::new().block(1, 1, &Fixture::new().genesis_qc(), b"");
    let me = (0..4)
        .find(|who| Fixture::new().leader(1) != *who)
        .expect("three of them");
    let setup = Setup {
        me,
        ..Setup::default()
    };
    let f = Fixture::recovered(setup, |f, durable| {
        durable.voting_record.voted = Some(f.statement(&block));
    });
    let opening = f.opening.as_ref().expect("it was opened");
    let votes = opening.votes();
    assert_eq!(votes.len(), 1);
    assert_eq!(votes[0], f.vote(me, f.statement(&block)), "the same bytes");
    let mut f = f;
    let other = f.block(1, 1, &f.genesis_qc(), b"other");
    f.propose(&other, None);
    assert_eq!(f.verdict(&other, valid()).votes(), []);
}

#[test]
fn after_a_crash_a_leader_does_not_propose_twice() {
    let me = Fixture::new().leader(1);
    let f = Fixture::recovered(
        Setup {
            me,
            ..Setup::default()
        },
        |f, durable| {
            let block = f.block(1, 1, &f.genesis_qc(), b"");
            let (hash, vote) = (block.hash(&f.hash()), f.statement(&block));
            durable.voting_record.voted = Some(vote);
            durable.voting_record.proposal = Some(StoredProposal {
                block: hash,
                nudge: None,
                vote,
                timeout_certificate: None,
            });
            durable.pending = vec![PendingBlock {
                hash,
                header: block.header,
                data_bytes: 0,
            }];
        },
    );
    let opening = f.opening.as_ref().expect("it was opened");
    let asks = opening
        .effects
        .iter()
        .any(|e| matches!(e, Effect::ProposeBlock { .. }));
    assert!(!asks, "the proposal of this view is made");
}

#[test]
fn after_a_crash_the_timeout_is_said_again_with_no_further_write() {
    let f = Fixture::recovered(Setup::default(), |_, durable| {
        durable.voting_record.timed_out = Some((Epoch(0), ViewNumber(5)));
    });
    let opening = f.opening.as_ref().expect("it was opened");
    assert_eq!(opening.timeouts()[0].view_num, ViewNumber(5));
    assert!(opening.writes.is_empty());
}

// ---- limits

/// A block with data was refused by those who still held what the lost views had left, and the view
/// was lost, too (seed 6298996741377127).
#[test]
fn a_leader_thinks_of_what_lost_views_may_have_left_with_the_others() {
    for (pending_blocks_max, is_asked) in [(12, true), (3, false)] {
        let limits = Limits {
            pending_blocks_max,
            ..Limits::default()
        };
        let mut f = Fixture::with(Setup {
            limits,
            ..Setup::default()
        });
        let view = f.view_led_by_me(4, true);
        let outcome = f.enter_by_tc(view, &f.genesis_qc());
        assert_eq!(outcome.effects.len(), usize::from(is_asked));
        let empty = outcome.proposals();
        assert_eq!(empty.len(), usize::from(!is_asked));
        assert!(empty.iter().all(|propose| propose.block.data.is_empty()));
    }
}

#[test]
fn when_too_many_blocks_await_commit_only_empty_ones_are_accepted() {
    let limits = Limits {
        pending_blocks_max: 2,
        ..Limits::default()
    };
    let mut f = Fixture::with(Setup {
        limits,
        ..Setup::default()
    });
    let chain = f.chain(&[1, 3, 5]); // gaps: nothing is committed
    chain.iter().for_each(|block| drop(f.follow(block)));
    let qc = f.qc_of(&chain[2]);
    let view = f.view_led_by_me(8, false);
    f.enter_by_tc(view, &qc);
    let full = f.block(view, 4, &qc, b"data");
    let outcome = f.propose(&full, Some(f.tc(view - 1, &qc)));
    assert!(outcome.effects.is_empty() && outcome.votes().is_empty());
    assert!(outcome.reports(|event| matches!(event, Event::TooManyPending { .. })));
    let view = f.view_led_by_me(view + 1, false);
    f.enter_by_tc(view, &qc);
    let empty = f.block(view, 4, &qc, b"");
    assert_eq!(
        f.propose(&empty, Some(f.tc(view - 1, &qc))).votes().len(),
        1
    );
}
