//! Catching up, at the level where it is decided: what an answer must be, what it costs a peer if
//! it is not, and that voting never waits for it.

use std::time::Duration;

use hotstuff::algorithm::verify::Refusal;
use hotstuff::algorithm::{Effect, Event, Input, To, Write};
use hotstuff::app::ValidateBlockResponse;
use hotstuff::messages::{Certificate, SyncRequest, SyncResponse};
use hotstuff::types::*;

use crate::fixture::{valid, Fixture, Outcome};

/// Four of them are a fair part of the greatest message: an answer of so many is cut short.
const LARGE: usize = 100_000;

/// Blocks in consecutive views, with so much data each.
pub fn chain(f: &Fixture, length: u64, bytes: usize) -> Vec<Block> {
    let mut justify = f.genesis_qc();
    let mut chain = Vec::new();
    for view in 1..=length {
        let block = f.block(view, view, &justify, &vec![view as u8; bytes]);
        justify = f.qc_of(&block);
        chain.push(block);
    }
    chain
}

fn hash(f: &Fixture, block: &Block) -> BlockHash {
    block.hash(&f.hash())
}

/// A peer that was asked, and what.
fn request(f: &Fixture, outcome: &Outcome) -> (usize, SyncRequest) {
    let requests = outcome.requests();
    let [(To::Peer(peer), request)] = requests[..] else {
        panic!("one request, not {requests:?}");
    };
    let set = &f.genesis.validator_set;
    (set.index_of(&peer).expect("a validator"), request)
}

pub fn opening(f: &Fixture) -> (usize, SyncRequest) {
    request(f, f.opening.as_ref().expect("it was opened"))
}

/// The answer to `request` that ends with the last of `blocks`.
pub fn answer(f: &Fixture, request: &SyncRequest, blocks: &[Block]) -> SyncResponse {
    SyncResponse {
        highest_committed_block: request.highest_committed_block,
        blocks: blocks.to_vec(),
        tail_qcs: vec![f.qc_of(blocks.last().expect("some blocks"))],
    }
}

fn fails(outcome: &Outcome) -> bool {
    outcome.reports(|event| matches!(event, Event::SyncFailed { .. }))
}

fn inserts(outcome: &Outcome) -> usize {
    let is_insert = |write: &&Write| matches!(write, Write::InsertBlock { .. });
    outcome.writes.iter().filter(is_insert).count()
}

/// Lets deadlines come until somebody is asked.
pub fn until_asked(f: &mut Fixture) -> (usize, SyncRequest) {
    loop {
        let outcome = f.expire();
        if !outcome.requests().is_empty() {
            return request(f, &outcome);
        }
    }
}

#[test]
fn a_true_answer_is_taken() {
    let mut f = Fixture::new();
    let chain = chain(&f, 3, 0);
    let (peer, asked) = opening(&f);
    let outcome = f.synced(peer, answer(&f, &asked, &chain));
    assert_eq!(inserts(&outcome), 3);
    assert_eq!(outcome.committed(), [hash(&f, &chain[0])]);
}

/// A lie is a change of the true answer.
fn expect_failure(lie: impl Fn(&Fixture, &mut SyncResponse)) {
    let mut f = Fixture::new();
    let chain = chain(&f, 4, 0);
    let (peer, asked) = opening(&f);
    let mut response = answer(&f, &asked, &chain[..3]);
    lie(&f, &mut response);
    let outcome = f.synced(peer, response);
    assert!(fails(&outcome));
    assert_eq!((inserts(&outcome), outcome.committed().len()), (0, 0));
    let (next, _) = until_asked(&mut f);
    assert_ne!(next, peer, "it costs the peer its turn");
}

#[test]
fn a_lie_with_a_hole() {
    expect_failure(|_, response| drop(response.blocks.remove(1)));
}

#[test]
fn a_lie_in_the_wrong_order() {
    expect_failure(|_, response| response.blocks.swap(0, 1));
}

#[test]
fn a_lie_that_does_not_begin_at_what_was_asked() {
    expect_failure(|_, response| drop(response.blocks.remove(0)));
}

#[test]
fn a_lie_about_heights() {
    expect_failure(|f, response| {
        let mut last = f.block(3, 9, &response.blocks[2].header.justify, b"");
        last.header.epoch = Epoch(0);
        response.tail_qcs = vec![f.qc_of(&last)];
        response.blocks[2] = last;
    });
}

/// It may also be the late answer to an earlier question, and the true one may still come.
#[test]
fn a_lie_without_a_tail() {
    let mut f = Fixture::new();
    let chain = chain(&f, 3, 0);
    let (peer, asked) = opening(&f);
    let mut response = answer(&f, &asked, &chain);
    response.tail_qcs.clear();
    let outcome = f.synced(peer, response);
    assert_eq!((fails(&outcome), inserts(&outcome)), (false, 0));
    let outcome = f.synced(peer, answer(&f, &asked, &chain));
    assert_eq!(inserts(&outcome), 3);
}

#[test]
fn a_lie_with_the_tail_of_another_block() {
    expect_failure(|f, response| {
        let before = &response.blocks[1];
        response.tail_qcs = vec![f.qc_of(before)];
    });
}

#[test]
fn a_lie_with_blocks_that_nobody_has_certified() {
    expect_failure(|f, response| {
        let justify = response.tail_qcs[0].clone();
        response.blocks.push(f.block(4, 4, &justify, b"mine"));
    });
}

#[test]
fn a_lie_with_more_blocks_than_were_asked_for() {
    let mut f = Fixture::new();
    let chain = chain(&f, 300, 0);
    let (peer, asked) = opening(&f);
    assert!(asked.limit < 300);
    let outcome = f.synced(peer, answer(&f, &asked, &chain));
    assert!(fails(&outcome));
    assert_eq!(inserts(&outcome), 0);
}

type Lie = fn(&Fixture, &mut SyncResponse);

#[test]
fn lies_that_do_not_verify() {
    let lies: [(Refusal, Lie); 5] = [
        (Refusal::WrongData, |_, response| {
            response.blocks[1].data = Data::new(b"other".as_slice());
        }),
        (Refusal::NoQuorum, |_, response| {
            response.tail_qcs[0].signatures[1] = None;
        }),
        (Refusal::WrongSignature, |_, response| {
            response.tail_qcs[0].signatures[1] = Some(Signature([7; 64]));
        }),
        (Refusal::WrongSlots, |_, response| {
            response.tail_qcs[0].signatures.push(None);
        }),
        (Refusal::UnknownEpoch, |_, response| {
            response.tail_qcs[0].epoch = Epoch(7);
        }),
    ];
    for (why, lie) in lies {
        let mut f = Fixture::new();
        let chain = chain(&f, 3, 1);
        let (peer, asked) = opening(&f);
        let mut response = answer(&f, &asked, &chain);
        lie(&f, &mut response);
        assert_eq!(f.try_synced(peer, response).err(), Some(why));
        // So the driver says, and it costs the peer its turn.
        let peer_address = f.address(peer);
        assert!(fails(&f.step(Input::SyncFailed { peer: peer_address })));
        assert_ne!(until_asked(&mut f).0, peer);
    }
}

#[test]
fn silence_costs_the_peer_its_turn() {
    let mut f = Fixture::new();
    let (peer, _) = opening(&f);
    while !fails(&f.expire()) {}
    assert_ne!(until_asked(&mut f).0, peer);
}

/// Behind dead peers a replica would else begin again from its head for ever.
#[test]
fn a_silent_peer_does_not_take_away_what_the_others_have_given() {
    let mut f = Fixture::new();
    let chain = chain(&f, 8, 0);
    f.advance(Certificate::Quorum(f.qc_of(&chain[7])));
    let (peer, asked) = until_asked(&mut f);
    let outcome = f.synced(peer, answer(&f, &asked, &chain[..2]));
    let (silent, asked) = request(&f, &outcome);
    assert_eq!(asked.highest_committed_block, hash(&f, &chain[1]));
    let mut outcome = f.expire();
    while !fails(&outcome) {
        outcome = f.expire();
    }
    let (next, asked) = request(&f, &outcome);
    assert_ne!(next, silent);
    assert_eq!(asked.highest_committed_block, hash(&f, &chain[1]));
    assert_eq!(f.algorithm().committed().height, BlockHeight(0));
}

#[test]
fn a_server_that_knows_less_is_left_for_one_that_knows_more() {
    let mut f = Fixture::new();
    let chain = chain(&f, 3, 0);
    f.advance(Certificate::Quorum(f.qc_of(&chain[2])));
    let (peer, asked) = until_asked(&mut f);
    assert_eq!(asked.wanted, Some(hash(&f, &chain[2])));
    let mut response = answer(&f, &asked, &chain);
    response.blocks.clear();
    response.tail_qcs = vec![f.genesis_qc()];
    assert!(fails(&f.synced(peer, response)));
    let (next, asked) = until_asked(&mut f);
    assert_ne!(next, peer);
    let outcome = f.synced(next, answer(&f, &asked, &chain));
    assert_eq!(outcome.committed().len(), 1);
}

/// Whoever does not know the block that is asked after says where it is: perhaps in an epoch whose
/// validators are not known here. It was blamed for that, and so was everybody who was asked after
/// the same block (seed 6298991795618630).
#[test]
fn a_server_in_a_later_epoch_that_knows_another_branch_is_asked_from_the_committed_chain() {
    let mut f = Fixture::new();
    let left = chain(&f, 1, 0);
    let (peer, asked) = opening(&f);
    f.synced(peer, answer(&f, &asked, &left));
    let wanted = f.chain(&[2, 3, 4]);
    f.advance(Certificate::Quorum(f.qc_of(&wanted[2])));
    let (peer, asked) = until_asked(&mut f);
    assert_eq!(asked.highest_committed_block, hash(&f, &left[0]));
    let set = f.set_of(0);
    f.plan_set(Epoch(1), set);
    let of_later_epoch = VoteStatement {
        epoch: Epoch(1),
        ..f.statement(&wanted[0])
    };
    let response = SyncResponse {
        highest_committed_block: asked.highest_committed_block,
        blocks: Vec::new(),
        tail_qcs: vec![f.qc(of_later_epoch, &[1, 2, 3])],
    };
    let passed = f.try_synced(peer, response).expect("it is no lie");
    assert!(fails(&passed), "it does not have the block either");
    let (next, asked) = until_asked(&mut f);
    assert_eq!(asked.highest_committed_block, f.hash().as_block_hash());
    let outcome = f.synced(next, answer(&f, &asked, &wanted));
    assert_eq!(outcome.committed().len(), 1);
}

#[test]
fn the_next_range_is_asked_for_while_the_last_is_judged() {
    let mut f = Fixture::new();
    let chain = chain(&f, 8, LARGE);
    let (peer, first) = opening(&f);
    let outcome = f.synced(peer, answer(&f, &first, &chain[..4]));
    assert!(matches!(
        outcome.effects[..],
        [Effect::ValidateBlock { is_sync: true, .. }]
    ));
    let (peer, second) = request(&f, &outcome);
    assert_eq!(second.highest_committed_block, hash(&f, &chain[3]));
    let outcome = f.synced(peer, answer(&f, &second, &chain[4..]));
    assert!(!fails(&outcome) && outcome.effects.is_empty());
    for block in &chain {
        assert_eq!(inserts(&f.verdict(block, valid())), 1);
    }
    assert_eq!(f.algorithm().committed().height, BlockHeight(6));
}

#[test]
fn what_is_unjudged_is_bounded() {
    let mut f = Fixture::new();
    let chain = chain(&f, 8, 1 << 20);
    let (mut peer, mut asked) = opening(&f);
    let mut answered = 0;
    loop {
        let outcome = f.synced(peer, answer(&f, &asked, &chain[answered..=answered]));
        answered += 1;
        if outcome.requests().is_empty() {
            break;
        }
        (peer, asked) = request(&f, &outcome);
    }
    assert_eq!(answered, 4, "4 MiB, and what the certificates weigh");
    let outcome = f.verdict(&chain[0], valid());
    let (_, asked) = request(&f, &outcome);
    assert_eq!(asked.highest_committed_block, hash(&f, &chain[3]));
}

#[test]
fn what_is_given_up_takes_along_what_is_on_its_way() {
    let mut f = Fixture::new();
    let chain = chain(&f, 8, LARGE);
    let (peer, first) = opening(&f);
    let outcome = f.synced(peer, answer(&f, &first, &chain[..4]));
    let (peer, second) = request(&f, &outcome);
    f.verdict(&chain[0], ValidateBlockResponse::Undecided);
    let outcome = f.synced(peer, answer(&f, &second, &chain[4..]));
    assert!(!fails(&outcome), "an honest peer is not blamed");
    assert_eq!(inserts(&outcome), 0);
    let (_, again) = until_asked(&mut f);
    assert_eq!(again.highest_committed_block, f.hash().as_block_hash());
}

#[test]
fn a_peer_that_gives_a_block_at_a_time_waits_for_its_turn() {
    let mut f = Fixture::new();
    let chain = chain(&f, 8, 0);
    f.advance(Certificate::Quorum(f.qc_of(&chain[7])));
    let (liar, asked) = until_asked(&mut f);
    let outcome = f.synced(liar, answer(&f, &asked, &chain[..1]));
    assert_eq!(inserts(&outcome), 1, "it is true, after all");
    let (next, asked) = request(&f, &outcome);
    assert_ne!(next, liar);
    assert_eq!(asked.highest_committed_block, hash(&f, &chain[0]));
    let outcome = f.synced(next, answer(&f, &asked, &chain[1..]));
    assert_eq!(f.algorithm().committed().height, BlockHeight(6));
    assert_eq!(inserts(&outcome), 7);
}

/// With two of four dead, one that serves little is worth more than another wait for the dead.
#[test]
fn of_peers_that_have_failed_the_one_that_has_cost_least_is_asked() {
    let mut f = Fixture::new();
    let chain = chain(&f, 16, 0);
    f.advance(Certificate::Quorum(f.qc_of(&chain[15])));
    let (alive, mut asked) = until_asked(&mut f);
    let (mut peer, mut known, mut waits) = (alive, 0, 0);
    while known < 15 {
        let outcome = if peer == alive {
            f.now = f.now.after(Duration::from_millis(10));
            known += 1;
            f.synced(peer, answer(&f, &asked, &chain[known - 1..known]))
        } else {
            waits += 1;
            f.expire()
        };
        (peer, asked) = match outcome.requests().is_empty() {
            true => until_asked(&mut f),
            false => request(&f, &outcome),
        };
    }
    assert_eq!(waits, 2, "each of the dead is waited for once");
}

#[test]
fn voting_never_waits_for_sync() {
    let mut f = Fixture::new();
    opening(&f); // it is never answered
    let view = f.view_led_by_me(1, false);
    f.enter_by_tc(view, &f.genesis_qc());
    let block = f.block(view, 1, &f.genesis_qc(), b"");
    let tc = f.tc(view - 1, &f.genesis_qc());
    assert_eq!(f.propose(&block, Some(tc)).votes().len(), 1);
}

#[test]
fn voting_does_not_wait_for_what_was_fetched_either() {
    let mut f = Fixture::new();
    let chain = chain(&f, 4, LARGE);
    let (peer, asked) = opening(&f);
    let outcome = f.synced(peer, answer(&f, &asked, &chain));
    assert!(
        !outcome.effects.is_empty(),
        "the app is busy with the first"
    );
    let view = f.view_led_by_me(6, false);
    f.enter_by_tc(view, &f.genesis_qc());
    // The liar's branch: it is not below the certificates that are known here, but it is justified
    // for whoever does not know them.
    let block = f.block(view, 1, &f.genesis_qc(), b"");
    let tc = f.tc(view - 1, &f.genesis_qc());
    assert_eq!(f.propose(&block, Some(tc)).votes().len(), 1);
}

/// What follows an update is of an epoch whose set nobody here knows yet.
#[test]
fn beyond_an_update_nothing_is_asked_for_ahead() {
    let mut f = Fixture::new();
    let mut chain = chain(&f, 3, LARGE);
    let justify = f.qc_of(&chain[2]);
    let updates = f.updates(&[(1, 5)]);
    chain.push(f.block_with(4, 4, &justify, Some(updates)));
    let (peer, asked) = opening(&f);
    let outcome = f.synced(peer, answer(&f, &asked, &chain));
    assert_eq!(outcome.effects.len(), 1, "the first is being judged");
    assert!(!fails(&outcome) && outcome.requests().is_empty());
}

/// The limit of the server's answers may be less than what is pending here.
#[test]
fn an_answer_of_known_blocks_is_gone_on_from() {
    let mut f = Fixture::new();
    let (peer, asked) = opening(&f);
    let chain = f.chain(&[1, 3, 5]); // gaps: nothing is committed
    chain.iter().for_each(|block| drop(f.follow(block)));
    assert_eq!(asked.highest_committed_block, f.hash().as_block_hash());
    f.synced(peer, answer(&f, &asked, &chain[..2]));
    let (_, asked) = until_asked(&mut f);
    assert_eq!(asked.highest_committed_block, hash(&f, &chain[1]));
}
