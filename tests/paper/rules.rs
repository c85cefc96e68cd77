//! Rules that have no other place: `tests/rules.txt` names the test of each rule.

use std::time::Duration;

use hotstuff::algorithm::verify::Refusal;
use hotstuff::algorithm::{Effect, Event, Input};
use hotstuff::app::ValidateBlockResponse;
use hotstuff::messages::{Certificate, ProgressMessage};
use hotstuff::types::*;

use crate::fixture::{data, Fixture, Setup, BASE_MS};
use crate::sync::{answer, chain, opening, until_asked};

#[test]
fn a_quorum_is_more_than_two_thirds_of_the_power() {
    let total = |powers: &[u64]| {
        let member = |(index, power): (usize, &u64)| Validator {
            address: ValidatorAddress([index as u8; 32]),
            power: *power,
        };
        ValidatorSet::new(powers.iter().enumerate().map(member)).expect("it fits")
    };
    let huge = u64::MAX / 3; // three of them, exactly
    for (powers, least_quorum, least_blocking) in [
        (&[1][..], 1, 1),
        (&[1, 1, 1], 3, 2),
        (&[1, 1, 1, 1], 3, 2),
        (&[5, 1], 5, 3),
        (&[33, 34, 33], 67, 34),
        (&[huge, huge, huge], 2 * huge + 1, huge + 1),
        (&[1 << 63, (1 << 63) - 1], 2 * huge + 1, huge + 1),
    ] {
        let set = total(powers);
        assert!(set.is_quorum(least_quorum) && !set.is_quorum(least_quorum - 1));
        assert!(set.is_blocking(least_blocking) && !set.is_blocking(least_blocking - 1));
        assert_eq!(set.quorum_power(), least_quorum);
    }
}

#[test]
fn votes_that_differ_in_one_field_do_not_count_together() {
    let spoils: [fn(&mut VoteStatement); 3] = [
        |vote| vote.justify_view = ViewNumber(1),
        |vote| vote.block_hash = BlockHash([9; 32]),
        |vote| vote.phase = Phase::Prepare,
    ];
    for spoil in spoils {
        let mut f = Fixture::new();
        let block = f.block(1, 1, &f.genesis_qc(), b"");
        let statement = f.statement(&block);
        let mut other = statement;
        spoil(&mut other);
        let others = f.others();
        for (who, statement) in others.iter().zip([statement, other, statement]) {
            f.receive(*who, ProgressMessage::Vote(f.vote(*who, statement)));
        }
        assert_eq!(f.view(), 1, "three votes of which two are equal");
    }
}

#[test]
fn a_message_counts_for_its_signer_whoever_brings_it() {
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"");
    let statement = f.statement(&block);
    let from = f.others()[0];
    for who in f.others() {
        f.receive(from, ProgressMessage::Vote(f.vote(who, statement)));
    }
    assert_eq!(f.view(), 2);
}

#[test]
fn a_timeout_carries_the_qc_that_its_signature_names() {
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"");
    let qc = f.qc_of(&block);
    let mut lower = f.timeout(1, 4, &qc, None);
    lower.highest_qc = f.genesis_qc();
    let mut higher = f.timeout(1, 4, &f.genesis_qc(), None);
    higher.highest_qc = qc.clone();
    for timeout in [lower, higher] {
        let refused = f
            .try_receive(1, ProgressMessage::TimeoutVote(timeout))
            .err();
        assert_eq!(refused, Some(Refusal::WrongSignature));
    }
    let not_below = f.timeout(1, 1, &qc, None);
    let refused = f
        .try_receive(1, ProgressMessage::TimeoutVote(not_below))
        .err();
    assert_eq!(refused, Some(Refusal::Inconsistent));
}

#[test]
fn after_a_crash_the_view_is_the_one_after_the_highest_certificate() {
    for (qc_view, tc_view, view) in [(3, 7, 8), (9, 7, 10), (3, 0, 4)] {
        let f = Fixture::recovered(Setup::default(), |f, durable| {
            let block = f.block(qc_view, 1, &f.genesis_qc(), b"");
            durable.highest_qc = f.qc_of(&block);
            durable.highest_tc = (tc_view > 0).then(|| f.tc(tc_view, &f.genesis_qc()));
        });
        assert_eq!(f.view(), view);
    }
}

#[test]
fn rule_5_no_vote_beside_the_committed_chain() {
    let mut f = Fixture::new();
    let chain = f.chain(&[1, 2, 3, 4]);
    chain.iter().for_each(|block| drop(f.follow(block)));
    assert_eq!(f.algorithm().committed().height, BlockHeight(1));
    let view = f.view_led_by_me(5, false);
    // No honest quorum signs such a TC. Rule 3 would let the block pass.
    let tc = f.tc(view - 1, &f.genesis_qc());
    f.advance(Certificate::Timeout(tc.clone()));
    let beside = f.block(view, 1, &f.genesis_qc(), b"");
    let outcome = f.propose(&beside, Some(tc));
    assert_eq!(f.view(), view);
    assert!(outcome.votes().is_empty() && outcome.writes.is_empty());
}

#[test]
fn an_undecided_block_is_asked_again_once_it_is_certified() {
    let mut f = Fixture::new();
    let view = f.view_led_by_me(1, false);
    f.enter_by_tc(view, &f.genesis_qc());
    let block = f.block(view, 1, &f.genesis_qc(), b"data");
    let outcome = f.propose(&block, Some(f.tc(view - 1, &f.genesis_qc())));
    assert_eq!(outcome.effects.len(), 1);
    let outcome = f.verdict(&block, ValidateBlockResponse::Undecided);
    assert!(outcome.effects.is_empty() && outcome.timeouts().is_empty());
    f.advance(Certificate::Quorum(f.qc_of(&block)));
    let (peer, asked) = until_asked(&mut f);
    let outcome = f.synced(peer, answer(&f, &asked, &[block]));
    assert!(matches!(
        outcome.effects[..],
        [Effect::ValidateBlock { is_sync: true, .. }]
    ));
}

#[test]
fn a_committed_block_that_the_app_calls_invalid_is_a_reason_to_halt() {
    let mut f = Fixture::new();
    let chain = chain(&f, 5, 10);
    let (peer, asked) = opening(&f);
    f.synced(peer, answer(&f, &asked, &chain));
    let outcome = f.verdict(&chain[0], ValidateBlockResponse::Invalid);
    assert!(outcome.reports(|event| matches!(
        event,
        Event::Diverged {
            is_committed: true,
            ..
        }
    )));
    assert!(outcome.writes.is_empty());
}

#[test]
fn a_leader_with_a_qc_and_a_tc_uses_the_qc() {
    let mut f = Fixture::new();
    let view = f.view_led_by_me(8, true);
    let parent = f.block(view - 1, 1, &f.genesis_qc(), b"");
    f.enter_by_tc(view - 1, &f.genesis_qc());
    let ahead = f.propose(&parent, Some(f.tc(view - 2, &f.genesis_qc())));
    f.enter_by_tc(view, &f.genesis_qc());
    let outcome = f.answer_propose(&ahead.effects, data(b"ahead"));
    let late = f.qc_of(&parent);
    f.advance(Certificate::Quorum(late.clone()));
    let again = f.answer_propose(&outcome.effects, data(b"on the genesis"));
    assert!(again.proposals().is_empty());
    let proposals = f
        .answer_propose(&again.effects, data(b"on the QC"))
        .proposals();
    assert_eq!(proposals[0].block.header.justify, late);
    assert_eq!(proposals[0].timeout_certificate, None);
}

#[test]
fn the_timer_starts_on_entering_and_once_more_on_voting() {
    let mut f = Fixture::new();
    let view = f.view_led_by_me(1, false);
    f.enter_by_tc(view, &f.genesis_qc());
    let before = f.algorithm().deadline();
    assert!(before > f.now);
    f.now = f.now.after(Duration::from_millis(BASE_MS / 8));
    let block = f.block(view, 1, &f.genesis_qc(), b"");
    let tc = f.tc(view - 1, &f.genesis_qc());
    assert_eq!(f.propose(&block, Some(tc)).votes().len(), 1);
    let after = f.algorithm().deadline();
    assert!(after > before);
    assert!(after >= f.now.after(Duration::from_millis(BASE_MS)));
}

#[test]
fn a_block_with_empty_data_is_made_and_judged_without_the_app() {
    let mut f = Fixture::new();
    let view = f.view_led_by_me(1, false);
    f.enter_by_tc(view, &f.genesis_qc());
    let block = f.block(view, 1, &f.genesis_qc(), b"");
    let outcome = f.propose(&block, Some(f.tc(view - 1, &f.genesis_qc())));
    assert!(outcome.effects.is_empty());
    assert_eq!(outcome.votes().len(), 1);
    assert!(!outcome.reports(|event| matches!(event, Event::AppFailed { .. })));
    assert!(
        f.step(Input::Notify).effects.is_empty(),
        "nor is a leader's app asked elsewhere"
    );
}
