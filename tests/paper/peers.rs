//! What other implementations have been seen to get wrong; `tests/rules.txt` names each test.

use std::time::Duration;

use hotstuff::algorithm::verify::Refusal;
use hotstuff::algorithm::Input;
use hotstuff::messages::{Certificate, ProgressMessage, SyncResponse, Wake};
use hotstuff::pacemaker::{DefaultPacemaker, Pacemaker};
use hotstuff::types::*;

use crate::fixture::{Fixture, BASE_MS};

/// Seen: a lock that followed any valid certificate, down to the genesis.
#[test]
fn a_stranger_that_replays_old_certificates_lowers_nothing() {
    let mut f = Fixture::new();
    let chain = f.chain(&[1, 2, 3, 4, 5, 6]);
    chain.iter().for_each(|block| drop(f.follow(block)));
    let (view, highest_qc) = (f.view(), f.algorithm().highest_qc().clone());
    let mut old: Vec<Certificate> = chain[..5]
        .iter()
        .map(|block| Certificate::Quorum(f.qc_of(block)))
        .collect();
    old.push(Certificate::Quorum(f.genesis_qc()));
    old.push(Certificate::Timeout(f.tc(3, &f.genesis_qc())));
    for certificate in old.into_iter().rev() {
        let message = ProgressMessage::AdvanceView(certificate);
        let message = f.verifier().progress(message).expect("they are valid");
        let from = ValidatorAddress([9; 32]);
        let outcome = f.step(Input::Progress { from, message });
        assert!(outcome.writes.is_empty());
        assert_eq!(f.view(), view);
        assert_eq!(*f.algorithm().highest_qc(), highest_qc);
    }
    let fork = f.block(view, 2, &f.qc_of(&chain[0]), b"");
    assert_eq!(f.propose(&fork, None).votes(), []);
}

/// Seen: a TC made of the signatures of other messages, and every honest replica's panic.
#[test]
fn a_signature_of_one_kind_is_no_other() {
    let mut f = Fixture::new();
    let block = f.block(1, 1, &f.genesis_qc(), b"");
    let statement = f.statement(&block);
    let timeout = f.timeout(1, 1, &f.genesis_qc(), None);
    let mut tc = f.tc(1, &f.genesis_qc());
    for who in f.others() {
        let signature = f.vote(who, statement).signature;
        tc.signatures[who] = Some((ViewNumber(0), signature));
    }
    let mut vote = f.vote(1, statement);
    vote.signature = timeout.signature;
    let wake = Wake {
        epoch: Epoch(0),
        view_num: ViewNumber(1),
        validator: f.address(1),
        signature: timeout.signature,
    };
    let mut voted = timeout.clone();
    voted.signature = f.vote(1, statement).signature;
    let forged = [
        ProgressMessage::AdvanceView(Certificate::Timeout(tc)),
        ProgressMessage::Vote(vote),
        ProgressMessage::Wake(wake),
        ProgressMessage::TimeoutVote(voted),
    ];
    for message in forged {
        let refused = f.try_receive(1, message).err();
        assert_eq!(refused, Some(Refusal::WrongSignature));
    }
    assert_eq!(f.view(), 1);
}

/// Seen: a sync server that sent the headers, and a client that took them for blocks.
#[test]
fn blocks_without_their_data_are_refused() {
    let mut f = Fixture::new();
    let mut block = f.block(1, 1, &f.genesis_qc(), b"data");
    let tail_qcs = vec![f.qc_of(&block)];
    block.data = Data::empty();
    let response = SyncResponse {
        highest_committed_block: f.hash().as_block_hash(),
        blocks: vec![block],
        tail_qcs,
    };
    assert_eq!(f.try_synced(1, response).err(), Some(Refusal::WrongData));
}

/// Seen: deadlines of all views fixed when the epoch began, so that a dead leader late in it
/// stalled everyone.
#[test]
fn each_view_has_a_deadline_of_its_own() {
    let mut f = Fixture::new();
    let mut view = 1;
    for _ in 0..20 {
        f.now = f.algorithm().deadline(); // the last moment of the view before
        view = f.view_led_by_me(view, false);
        f.enter_by_tc(view, &f.genesis_qc());
        let left = f.algorithm().deadline().since(f.now);
        assert!(
            left >= Duration::from_millis(BASE_MS / 4),
            "view {view}: {left:?}"
        );
    }
}

/// Seen: time-outs kept in whole seconds, and those below one as none.
#[test]
fn a_wait_below_a_second_is_not_cut_to_nothing() {
    let f = Fixture::new();
    let set = &f.genesis.validator_set;
    for base_ms in [1, 7, 250, 999, 1_001] {
        let pacemaker = DefaultPacemaker {
            base_ms,
            max_ms: 60_000,
        };
        let [before, view] = [4, 5].map(ViewNumber);
        let wait = pacemaker.wait_timeout(set, before, before, view);
        assert_eq!(wait, Duration::from_millis(u64::from(base_ms)));
    }
}
