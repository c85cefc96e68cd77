//! Accountability, one test each: who contradicts itself is convicted, by evidence that stands
//! alone; nobody else is. And a replica whose key signs elsewhere signs no more.

use hotstuff::algorithm::{Event, Write};
use hotstuff::app::ProposeBlockResponse;
use hotstuff::evidence::{Contradiction, Evidence, EvidenceKind, NoEvidence, Offence, Signed};
use hotstuff::messages::{Certificate, ProgressMessage};
use hotstuff::types::codec::DecodeError;
use hotstuff::types::limits::{
    EVIDENCE_BYTES_MAX, EVIDENCE_MAX, VALIDATORS_MAX, VALIDATOR_SET_UPDATES_MAX,
};
use hotstuff::types::*;

use crate::fixture::{data, Fixture, Outcome, Setup};

/// The evidence that a step keeps, each piece of which it reports, and which convicts alone.
fn kept(f: &Fixture, outcome: &Outcome) -> Vec<Evidence> {
    let kept = outcome.writes.iter().filter_map(|write| match write {
        Write::KeepEvidence(evidence) => Some(evidence.clone()),
        _ => None,
    });
    let kept: Vec<Evidence> = kept.collect();
    let told = outcome
        .dispatch
        .events
        .iter()
        .filter_map(|event| match event {
            Event::EvidenceFound(evidence) => Some(evidence.clone()),
            _ => None,
        });
    assert_eq!(told.collect::<Vec<_>>(), kept);
    for evidence in &kept {
        let bytes = evidence.encode();
        let read = Evidence::decode(&bytes).expect("canonical");
        assert_eq!(read.verify(&f.hash(), &f.genesis.validator_set), Ok(()));
    }
    kept
}

fn convicted(f: &Fixture, outcome: &Outcome) -> Vec<(ValidatorAddress, EvidenceKind)> {
    let offence = |evidence: &Evidence| (evidence.validator, evidence.kind());
    kept(f, outcome).iter().map(offence).collect()
}

fn sees_twin(outcome: &Outcome) -> bool {
    outcome.reports(|event| matches!(event, Event::TwinSeen { .. }))
}

/// Two blocks for one view, which differ in nothing else.
fn two_blocks(f: &Fixture, view: u64) -> [Block; 2] {
    [b"this".as_slice(), b"that"].map(|data| f.block(view, 1, &f.genesis_qc(), data))
}

fn vote_message(f: &Fixture, who: usize, block: &Block) -> ProgressMessage {
    ProgressMessage::Vote(f.vote(who, f.statement(block)))
}

// ---- votes

#[test]
fn two_votes_in_one_view_are_evidence_kept_and_told_once() {
    let mut f = Fixture::new();
    let liar = f.others()[0];
    let blocks = two_blocks(&f, 3);
    let first = f.receive(liar, vote_message(&f, liar, &blocks[0]));
    let again = f.receive(liar, vote_message(&f, liar, &blocks[0]));
    assert_eq!(convicted(&f, &first), []);
    assert_eq!(convicted(&f, &again), [], "the same vote twice is none");
    let second = f.receive(liar, vote_message(&f, liar, &blocks[1]));
    let found = kept(&f, &second);
    assert_eq!(found[0].validator, f.address(liar));
    assert_eq!(found[0].kind(), EvidenceKind::DoubleVote);
    assert_eq!(found[0].views(), (ViewNumber(3), ViewNumber(3)));
    let third = f.receive(
        liar,
        vote_message(&f, liar, &f.block(3, 2, &f.genesis_qc(), b"")),
    );
    let later = two_blocks(&f, 4).map(|block| vote_message(&f, liar, &block));
    let later = later.map(|vote| f.receive(liar, vote));
    assert_eq!(convicted(&f, &third), [], "the first is enough");
    assert_eq!(later.iter().flat_map(|it| convicted(&f, it)).count(), 0);
    let other = f.others()[1];
    f.receive(other, vote_message(&f, other, &blocks[0]));
    let outcome = f.receive(other, vote_message(&f, other, &blocks[1]));
    assert_eq!(
        convicted(&f, &outcome),
        [(f.address(other), EvidenceKind::DoubleVote)]
    );
}

#[test]
fn a_second_vote_is_seen_after_the_quorum_and_in_a_view_that_is_left() {
    let mut f = Fixture::new();
    let blocks = two_blocks(&f, 1);
    f.advance(Certificate::Quorum(f.qc_of(&blocks[0])));
    assert_eq!(f.view(), 2);
    let liar = f.others()[0];
    let outcome = f.receive(liar, vote_message(&f, liar, &blocks[1]));
    assert_eq!(
        convicted(&f, &outcome),
        [(f.address(liar), EvidenceKind::DoubleVote)]
    );
}

#[test]
fn a_last_vote_in_a_time_out_is_a_vote() {
    let mut f = Fixture::new();
    let liar = f.others()[0];
    let blocks = two_blocks(&f, 1);
    f.receive(liar, vote_message(&f, liar, &blocks[0]));
    let last_vote = Some(f.vote(liar, f.statement(&blocks[1])));
    let timeout = f.timeout(liar, 1, &f.genesis_qc(), last_vote);
    let outcome = f.receive(liar, ProgressMessage::TimeoutVote(timeout));
    assert_eq!(
        convicted(&f, &outcome),
        [(f.address(liar), EvidenceKind::DoubleVote)]
    );
}

#[test]
fn two_qcs_in_one_view_name_all_who_signed_both() {
    let mut f = Fixture::new();
    let qcs = two_blocks(&f, 1).map(|block| f.qc_of(&block));
    let [first, second] = qcs.map(|qc| f.advance(Certificate::Quorum(qc)));
    assert_eq!(convicted(&f, &first), []);
    let all: Vec<_> = f.others().iter().map(|who| f.address(*who)).collect();
    let found: Vec<_> = convicted(&f, &second).iter().map(|(who, _)| *who).collect();
    assert_eq!(found, all);
}

// ---- proposals

#[test]
fn two_proposals_in_one_view_are_evidence_with_both_headers() {
    let mut f = Fixture::new();
    let view = f.view_led_by_me(0, false);
    f.enter_by_tc(view.max(2), &f.genesis_qc());
    let view = f.view();
    if f.leader(view) == 0 {
        f.enter_by_tc(view + 1, &f.genesis_qc());
    }
    let blocks = two_blocks(&f, f.view());
    let leader = f.address(f.leader(f.view()));
    let [first, second] = blocks.each_ref().map(|block| f.follow(block));
    assert_eq!(convicted(&f, &first), []);
    let found = kept(&f, &second);
    assert_eq!(found.len(), 1, "and no double vote besides: {found:?}");
    assert_eq!(found[0].validator, leader);
    let Contradiction::DoubleProposal { first, second } = &found[0].contradiction else {
        panic!("{found:?}");
    };
    assert_eq!(
        [&first.statement, &second.statement],
        blocks.each_ref().map(|b| &b.header)
    );
}

// ---- time-outs

/// The QC of a block of view 1, and a vote on it in view 2.
fn vote_on_a_qc(f: &Fixture, who: usize) -> (QuorumCertificate, hotstuff::messages::Vote) {
    let parent = f.block(1, 1, &f.genesis_qc(), b"");
    let qc = f.qc_of(&parent);
    let child = f.block(2, 2, &qc, b"");
    (qc, f.vote(who, f.statement(&child)))
}

#[test]
fn a_time_out_that_hides_a_qc_voted_on_is_evidence() {
    let liar = 1;
    let stories: [fn(&mut Fixture, usize) -> Outcome; 3] = [
        |f, liar| {
            let (_, vote) = vote_on_a_qc(f, liar);
            f.receive(liar, ProgressMessage::Vote(vote));
            let timeout = f.timeout(liar, 5, &f.genesis_qc(), None);
            f.receive(liar, ProgressMessage::TimeoutVote(timeout))
        },
        |f, liar| {
            let (_, vote) = vote_on_a_qc(f, liar);
            let timeout = f.timeout(liar, 5, &f.genesis_qc(), None);
            f.receive(liar, ProgressMessage::TimeoutVote(timeout));
            f.receive(liar, ProgressMessage::Vote(vote))
        },
        |f, liar| {
            let (_, vote) = vote_on_a_qc(f, liar);
            let timeout = f.timeout(liar, 5, &f.genesis_qc(), Some(vote));
            f.receive(liar, ProgressMessage::TimeoutVote(timeout))
        },
    ];
    for story in stories {
        let mut f = Fixture::new();
        let outcome = story(&mut f, liar);
        let found = kept(&f, &outcome);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].validator, found[0].kind()),
            (f.address(1), EvidenceKind::LyingTimeout)
        );
        assert_eq!(found[0].views(), (ViewNumber(5), ViewNumber(2)));
    }
}

#[test]
fn a_lie_inside_a_tc_is_evidence() {
    let mut f = Fixture::new();
    let (_, vote) = vote_on_a_qc(&f, 1);
    f.receive(1, ProgressMessage::Vote(vote));
    let outcome = f.advance(Certificate::Timeout(f.tc(4, &f.genesis_qc())));
    assert_eq!(
        convicted(&f, &outcome),
        [(f.address(1), EvidenceKind::LyingTimeout)]
    );
}

#[test]
fn what_an_honest_replica_says_is_no_evidence() {
    let mut f = Fixture::new();
    let (qc, vote) = vote_on_a_qc(&f, 1);
    let later = f.block(3, 2, &qc, b"later");
    let said = [
        ProgressMessage::Vote(f.vote(1, f.statement(&f.block(1, 1, &f.genesis_qc(), b"")))),
        // A time-out of the view before its QC is known, and again with it.
        ProgressMessage::TimeoutVote(f.timeout(1, 1, &f.genesis_qc(), None)),
        ProgressMessage::Vote(vote),
        ProgressMessage::TimeoutVote(f.timeout(1, 2, &qc, Some(vote))), // of the view it voted in
        ProgressMessage::TimeoutVote(f.timeout(1, 2, &qc, None)),
        ProgressMessage::Vote(f.vote(1, f.statement(&later))),
    ];
    for message in said {
        let outcome = f.receive(1, message);
        assert_eq!(convicted(&f, &outcome), []);
    }
}

// ---- what is kept

#[test]
fn evidence_survives_a_restart_and_is_not_told_again() {
    let mut f = Fixture::new();
    let votes = two_blocks(&f, 3).map(|block| vote_message(&f, 1, &block));
    let outcomes = votes.clone().map(|vote| f.receive(1, vote));
    assert_eq!(convicted(&f, &outcomes[1]).len(), 1);
    let offences = f.algorithm().durable().offences;
    assert_eq!(offences.len(), 1);
    let mut f = Fixture::recovered(Setup::default(), |_, durable| durable.offences = offences);
    let outcomes = votes.map(|vote| f.receive(1, vote));
    assert!(outcomes
        .iter()
        .all(|outcome| convicted(&f, outcome).is_empty()));
}

#[test]
fn evidence_is_kept_up_to_its_bound() {
    let offence = |i: usize| Offence {
        epoch: Epoch(1 + i as u64),
        validator: ValidatorAddress([9; 32]),
        kind: EvidenceKind::DoubleVote,
    };
    for (known, kept) in [(EVIDENCE_MAX - 1, 1), (EVIDENCE_MAX, 0)] {
        let mut f = Fixture::recovered(Setup::default(), |_, durable| {
            durable.offences = (0..known).map(offence).collect();
        });
        let votes = two_blocks(&f, 3).map(|block| vote_message(&f, 1, &block));
        let [_, second] = votes.map(|vote| f.receive(1, vote));
        assert_eq!(convicted(&f, &second).len(), kept);
    }
}

// ---- what convicts

fn double_vote(f: &Fixture) -> Evidence {
    let [first, second] = two_blocks(f, 3).map(|block| signed(f, 1, f.statement(&block)));
    Evidence {
        validator: f.address(1),
        contradiction: Contradiction::DoubleVote { first, second },
    }
}

fn signed(f: &Fixture, who: usize, statement: VoteStatement) -> Signed<VoteStatement> {
    let signature = f.vote(who, statement).signature;
    Signed {
        statement,
        signature,
    }
}

fn signed_timeout(f: &Fixture, view: u64) -> Signed<TimeoutStatement> {
    let timeout = f.timeout(1, view, &f.genesis_qc(), None);
    Signed {
        statement: timeout.statement(),
        signature: timeout.signature,
    }
}

#[test]
fn evidence_convicts_alone_and_nothing_else_does() {
    let f = Fixture::new();
    let set = &f.genesis.validator_set;
    let verify = |evidence: &Evidence| evidence.verify(&f.hash(), set);
    let whole = double_vote(&f);
    assert_eq!(verify(&whole), Ok(()));
    assert_eq!(
        whole.verify(&GenesisHash([1; 32]), set),
        Err(NoEvidence::WrongSignature),
        "of another chain"
    );
    let blame = |validator| Evidence {
        validator,
        ..whole.clone()
    };
    assert_eq!(
        verify(&blame(f.address(2))),
        Err(NoEvidence::WrongSignature)
    );
    let stranger = blame(ValidatorAddress([7; 32]));
    assert_eq!(verify(&stranger), Err(NoEvidence::NotAValidator));

    let of = |contradiction| Evidence {
        validator: f.address(1),
        contradiction,
    };
    let vote = |view, data: &[u8]| {
        let block = f.block(view, 1, &f.genesis_qc(), data);
        signed(&f, 1, f.statement(&block))
    };
    let (first, second) = (vote(3, b"a"), vote(4, b"b"));
    let no = Err(NoEvidence::NoContradiction);
    assert_eq!(
        verify(&of(Contradiction::DoubleVote {
            first,
            second: first
        })),
        no
    );
    assert_eq!(
        verify(&of(Contradiction::DoubleVote { first, second })),
        no,
        "two views"
    );
    let mut forged = vote(3, b"b");
    forged.signature = second.signature;
    let forged = of(Contradiction::DoubleVote {
        first,
        second: forged,
    });
    assert_eq!(verify(&forged), Err(NoEvidence::WrongSignature));

    let (_, vote) = vote_on_a_qc(&f, 1);
    let vote = Signed {
        statement: vote.statement,
        signature: vote.signature,
    };
    let lying = |view| {
        let timeout = signed_timeout(&f, view);
        verify(&of(Contradiction::LyingTimeout { timeout, vote }))
    };
    assert_eq!(lying(1), no, "it was said before the vote");
    assert_eq!((lying(2), lying(3)), (Ok(()), Ok(())));
}

#[test]
fn a_double_proposal_is_two_headers_that_hash_to_what_was_signed() {
    let f = Fixture::new();
    let signed_header = |block: &Block| {
        Box::new(Signed {
            statement: block.header.clone(),
            signature: f.vote(1, f.statement(block)).signature,
        })
    };
    let [first, second] = two_blocks(&f, 3).map(|block| signed_header(&block));
    let verify = |first: &Signed<BlockHeader>, second: &Signed<BlockHeader>| {
        let contradiction = Contradiction::DoubleProposal {
            first: Box::new(first.clone()),
            second: Box::new(second.clone()),
        };
        let validator = f.address(1);
        let evidence = Evidence {
            validator,
            contradiction,
        };
        evidence.verify(&f.hash(), &f.genesis.validator_set)
    };
    assert_eq!(verify(&first, &second), Ok(()));
    assert_eq!(verify(&first, &first), Err(NoEvidence::NoContradiction));
    let mut other = second.clone();
    other.statement.height = BlockHeight(9); // what was never proposed
    assert_eq!(verify(&first, &other), Err(NoEvidence::WrongSignature));
    other.statement.view = ViewNumber(4);
    assert_eq!(verify(&first, &other), Err(NoEvidence::NoContradiction));
}

#[test]
fn any_other_bytes_are_no_evidence() {
    let f = Fixture::new();
    let bytes = double_vote(&f).encode();
    assert!(Evidence::decode(&bytes).is_ok());
    for length in 0..bytes.len() {
        let short = Evidence::decode(&bytes[..length]);
        assert_eq!(short, Err(DecodeError::Malformed));
    }
    let long = [&bytes[..], &[0]].concat();
    assert_eq!(Evidence::decode(&long), Err(DecodeError::TrailingBytes));
    let vast = vec![0; EVIDENCE_BYTES_MAX + 1];
    assert_eq!(Evidence::decode(&vast), Err(DecodeError::TooLarge));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let read = Evidence::decode(&flipped);
        let convicts = read.is_ok_and(|it| it.verify(&f.hash(), &f.genesis.validator_set).is_ok());
        assert!(!convicts, "byte {at}");
    }
}

#[test]
fn the_largest_evidence_is_within_its_limit() {
    let f = Fixture::new();
    let mut block = f.block(u64::MAX, u64::MAX, &f.genesis_qc(), b"");
    block.header.justify.signatures = vec![Some(Signature([1; 64])); VALIDATORS_MAX];
    let update = ValidatorSetUpdate {
        validator: ValidatorAddress([1; 32]),
        power: u64::MAX,
    };
    block.header.validator_set_updates = Some(vec![update; VALIDATOR_SET_UPDATES_MAX]);
    let largest = Box::new(Signed {
        statement: block.header,
        signature: Signature([1; 64]),
    });
    let contradiction = Contradiction::DoubleProposal {
        first: largest.clone(),
        second: largest,
    };
    let validator = f.address(1);
    let bytes = Evidence {
        validator,
        contradiction,
    }
    .encode();
    assert!(Evidence::decode(&bytes).is_ok(), "{} bytes", bytes.len());
}

// ---- a twin, or an old disk

/// A fixture that has voted in view 2, on a QC of view 1, and has timed it out.
fn voted_and_timed_out() -> (Fixture, VoteStatement) {
    let mut f = Fixture::with(Setup {
        me: me_leading_neither(),
        ..Setup::default()
    });
    let parent = f.block(1, 1, &f.genesis_qc(), b"");
    f.propose(&parent, None);
    let child = f.block(2, 2, &f.qc_of(&parent), b"");
    let outcome = f.propose(&child, None);
    let voted = outcome.votes()[0].statement;
    assert_eq!(voted, f.statement(&child));
    let outcome = f.expire();
    assert_eq!(outcome.timeouts()[0].view_num, ViewNumber(2));
    (f, voted)
}

/// A validator that leads neither view 1 nor 2.
fn me_leading_neither() -> usize {
    let f = Fixture::new();
    (0..4)
        .find(|who| f.leader(1) != *who && f.leader(2) != *who)
        .expect("there are four")
}

/// Nothing more is signed, whatever comes, and the replica goes on as a listener.
fn expect_silence(f: &mut Fixture) {
    assert!(!f.algorithm().is_validator());
    let after = f.view() + 1;
    let next = f.block(after, 3, &f.genesis_qc(), b"");
    let qc = f.qc_of(&next);
    f.advance(Certificate::Quorum(qc.clone()));
    assert_eq!(f.view(), after + 1, "it follows");
    for view in after + 1..after + 5 {
        let outcome = f.enter_by_tc(view + 1, &qc);
        let block = f.block(view + 1, 4, &qc, b"");
        let proposed = match f.leader(view + 1) == f.me() {
            true => f.fresh_opening(),
            false => f.follow(&block),
        };
        let expired = f.expire();
        for outcome in [outcome, proposed, expired] {
            assert_eq!(outcome.dispatch.inputs.len(), 0, "it signs");
            assert_eq!((outcome.votes().len(), outcome.timeouts().len()), (0, 0));
        }
    }
}

#[test]
fn an_own_vote_above_the_record_stops_the_signing() {
    let (mut f, voted) = voted_and_timed_out();
    let above = VoteStatement {
        view_num: ViewNumber(3),
        ..voted
    };
    let vote = f.vote(f.me(), above);
    let outcome = f.receive(f.others()[0], ProgressMessage::Vote(vote));
    assert!(sees_twin(&outcome));
    // Nothing that was seen is ever contradicted, also after a restart.
    assert!(outcome.writes.contains(&Write::CastVote(above)));
    expect_silence(&mut f);
}

#[test]
fn another_own_vote_at_the_record_stops_the_signing() {
    let (mut f, voted) = voted_and_timed_out();
    let other = VoteStatement {
        block_hash: BlockHash([7; 32]),
        ..voted
    };
    let vote = f.vote(f.me(), other);
    let outcome = f.receive(f.others()[0], ProgressMessage::Vote(vote));
    assert!(sees_twin(&outcome));
    expect_silence(&mut f);
}

#[test]
fn an_own_time_out_above_the_record_stops_the_signing() {
    let (mut f, _) = voted_and_timed_out();
    let timeout = f.timeout(f.me(), 3, &f.genesis_qc(), None);
    let outcome = f.receive(f.others()[0], ProgressMessage::TimeoutVote(timeout));
    assert!(sees_twin(&outcome));
    expect_silence(&mut f);
    // One at the record that names a QC which is not known here is no echo either.
    let (mut f, voted) = voted_and_timed_out();
    let unknown = f.qc(
        VoteStatement {
            block_hash: BlockHash([7; 32]),
            ..voted
        },
        &f.others(),
    );
    let timeout = f.timeout(f.me(), 3, &unknown, None);
    let at_record = f.timeout(f.me(), 2, &f.genesis_qc(), None);
    let outcome = f.receive(f.others()[0], ProgressMessage::TimeoutVote(at_record));
    assert!(
        !sees_twin(&outcome),
        "it may have been said before the QC was known"
    );
    let outcome = f.receive(f.others()[0], ProgressMessage::TimeoutVote(timeout));
    assert!(sees_twin(&outcome));
}

#[test]
fn an_own_signature_in_a_certificate_stops_the_signing() {
    let all = |f: &Fixture| [f.others()[0], f.others()[1], f.me()];
    let (mut f, voted) = voted_and_timed_out();
    let above = VoteStatement {
        view_num: ViewNumber(4),
        ..voted
    };
    let qc = f.qc(above, &all(&f));
    let outcome = f.advance(Certificate::Quorum(qc));
    assert!(sees_twin(&outcome));
    expect_silence(&mut f);
    let (mut f, _) = voted_and_timed_out();
    let mut tc = f.tc(3, &f.genesis_qc());
    let timeout = f.timeout(f.me(), 3, &f.genesis_qc(), None);
    tc.signatures[f.me()] = Some((ViewNumber(0), timeout.signature));
    let outcome = f.advance(Certificate::Timeout(tc));
    assert!(sees_twin(&outcome));
    expect_silence(&mut f);
}

#[test]
fn my_own_past_replayed_does_not_stop_the_signing() {
    let (mut f, voted) = voted_and_timed_out();
    let me = f.me();
    let parent = f.block(1, 1, &f.genesis_qc(), b"");
    let qc = f.qc_of(&parent);
    let mut statement = f.statement(&parent);
    let mut past = vec![
        ProgressMessage::Vote(f.vote(me, voted)),
        ProgressMessage::Vote(f.vote(me, statement)),
        ProgressMessage::TimeoutVote(f.timeout(me, 2, &qc, Some(f.vote(me, voted)))),
        ProgressMessage::TimeoutVote(f.timeout(me, 1, &f.genesis_qc(), None)),
        ProgressMessage::AdvanceView(Certificate::Quorum(f.qc(voted, &[0, 1, 2, 3]))),
    ];
    statement.block_hash = BlockHash([7; 32]);
    past.push(ProgressMessage::Vote(f.vote(me, statement))); // of before, whatever it was
    for message in past {
        let outcome = f.receive(f.others()[0], message);
        assert!(!sees_twin(&outcome));
    }
    let block = f.block(3, 3, &f.qc(voted, &f.others()), b"");
    let outcome = f.propose(&block, None);
    assert_eq!(outcome.votes().len(), 1, "it votes on");
}

#[test]
fn a_forged_vote_of_mine_does_not_stop_the_signing() {
    let (mut f, voted) = voted_and_timed_out();
    let above = VoteStatement {
        view_num: ViewNumber(3),
        ..voted
    };
    let mut forged = f.vote(f.others()[0], above);
    forged.voter = f.address(f.me());
    let refused = f.try_receive(f.others()[0], ProgressMessage::Vote(forged));
    assert!(refused.is_err());
    assert!(f.algorithm().is_validator());
}

#[test]
fn a_record_below_ones_own_signature_in_the_highest_certificates_does_not_sign() {
    let opening = |qc: bool, tc: bool| {
        Fixture::recovered(Setup::default(), |f, durable| {
            let block = f.block(5, 1, &f.genesis_qc(), b"");
            let signers = if qc { [0, 1, 2] } else { [1, 2, 3] };
            durable.highest_qc = f.qc(f.statement(&block), &signers);
            let mut highest = f.tc(6, &durable.highest_qc);
            if tc {
                let mine = f.timeout(0, 6, &durable.highest_qc, None).signature;
                highest.signatures[0] = Some((ViewNumber(5), mine));
            }
            durable.highest_tc = Some(highest);
        })
    };
    for (qc, tc) in [(true, false), (false, true), (true, true)] {
        let mut f = opening(qc, tc);
        assert!(sees_twin(f.opening.as_ref().expect("it was opened")));
        expect_silence(&mut f);
    }
    let mut f = opening(false, false);
    assert!(!sees_twin(f.opening.as_ref().expect("it was opened")));
    assert_eq!(f.expire().timeouts().len(), 1);
}

#[test]
fn a_twin_that_is_seen_while_the_app_is_asked_gets_no_proposal() {
    let mut f = Fixture::new();
    let view = f.view_led_by_me(1, true);
    let outcome = f.enter_by_tc(view, &f.genesis_qc());
    let voted = f.statement(&f.block(view + 1, 1, &f.genesis_qc(), b""));
    let vote = f.vote(f.me(), voted);
    assert!(sees_twin(&f.receive(1, ProgressMessage::Vote(vote))));
    let answered = f.answer_propose(&outcome.effects, data(b"work"));
    assert_eq!((answered.proposals().len(), answered.writes.len()), (0, 0));
}

/// What it would do at the end of its idle view, it may not do any more: its timer must not run out
/// for it again and again.
#[test]
fn a_twin_that_is_seen_while_a_leader_waits_for_work_lets_its_timers_move_on() {
    let mut f = Fixture::new();
    let view = f.view_led_by_me(4, true); // an idle one
    let outcome = f.enter_by_tc(view, &f.genesis_qc());
    f.answer_propose(&outcome.effects, ProposeBlockResponse::Defer);
    let voted = f.statement(&f.block(view + 1, 1, &f.genesis_qc(), b""));
    let vote = f.vote(f.me(), voted);
    assert!(sees_twin(&f.receive(1, ProgressMessage::Vote(vote))));
    for _ in 0..4 {
        f.expire();
        assert!(f.algorithm().deadline() > f.now);
    }
}
