//! The voting record: one whole copy is enough, and doubt is a refusal.

use std::path::Path;

use hotstuff::algorithm::{Durable, Persist, StoredProposal, Write};
use hotstuff::block_tree::{BlockTree, StorageError};
use hotstuff::types::*;

use crate::chain::*;
use crate::raw;

const COPIES: [&str; 2] = ["voting.0", "voting.1"];

/// A tree in which everything that a voting record may hold has been written.
fn voted(directory: &Path) -> Durable {
    let (mut tree, _) = open(directory);
    let made = Made::first(1, b"data", vec![]);
    tree.persist(&[
        made.insert(),
        Write::CastVote(vote(made.hash, 1)),
        Write::StoreProposal(StoredProposal {
            block: made.hash,
            nudge: None,
            vote: vote(made.hash, 1),
            timeout_certificate: Some(timeout_certificate(1, made.certificate())),
        }),
    ])
    .unwrap();
    tree.persist(&[
        Write::SetHighestQc(made.certificate()),
        Write::TimeOut(Rank {
            epoch: Epoch(0),
            view: ViewNumber(2),
        }),
    ])
    .unwrap();
    drop(tree);
    open(directory).1
}

fn refused(directory: &Path) -> String {
    match BlockTree::open(&options(directory), &genesis()) {
        Err(error @ StorageError::VotingRecord { .. }) => error.to_string(),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[test]
fn a_flipped_bit_in_either_copy_is_repaired_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let durable = voted(directory.path());
    for copy in COPIES {
        let whole = raw::get(directory.path(), copy).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            raw::put(directory.path(), &[(copy, Some(&damaged))]);
            let (tree, found) = open(directory.path());
            assert_eq!(found, durable, "{copy}, byte {at}");
            assert_eq!(tree.warnings().len(), 1, "{copy}, byte {at}");
            assert!(tree.warnings()[0].contains(copy), "{}", tree.warnings()[0]);
            drop(tree);
            assert_eq!(
                raw::get(directory.path(), copy).unwrap(),
                whole,
                "{copy}, byte {at}"
            );
        }
    }
}

#[test]
fn a_lost_or_cut_off_copy_is_repaired_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let durable = voted(directory.path());
    for copy in COPIES {
        let whole = raw::get(directory.path(), copy).unwrap();
        for left in [None, Some(0), Some(31), Some(32), Some(whole.len() - 1)] {
            raw::put(
                directory.path(),
                &[(copy, left.map(|bytes| &whole[..bytes]))],
            );
            let (tree, found) = open(directory.path());
            assert_eq!((found, tree.warnings().len()), (durable.clone(), 1));
        }
    }
}

#[test]
fn two_damaged_copies_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    voted(directory.path());
    let whole = COPIES.map(|copy| raw::get(directory.path(), copy).unwrap());
    let mut flipped = whole.clone();
    flipped.iter_mut().for_each(|copy| copy[40] ^= 1);
    let cut = whole.clone().map(|copy| copy[..copy.len() / 2].to_vec());
    let swapped = [whole[1].clone(), whole[0].clone()];
    for damage in [flipped, cut, swapped] {
        let records = [
            (COPIES[0], Some(&*damage[0])),
            (COPIES[1], Some(&*damage[1])),
        ];
        raw::put(directory.path(), &records);
        let text = refused(directory.path());
        assert!(text.contains("both copies are damaged"), "{text}");
        assert!(text.contains("start with a new key"), "{text}");
    }
    raw::put(directory.path(), &[(COPIES[0], None), (COPIES[1], None)]);
    assert!(refused(directory.path()).contains("missing"));
    raw::put(directory.path(), &[(COPIES[1], Some(&whole[1]))]);
    assert_eq!(open(directory.path()).0.warnings().len(), 1);
}

#[test]
fn two_whole_copies_that_differ_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let old = {
        open(directory.path());
        raw::get(directory.path(), COPIES[0]).unwrap()
    };
    voted(directory.path());
    raw::put(directory.path(), &[(COPIES[0], Some(&old))]);
    let text = refused(directory.path());
    assert!(text.contains("differ (changes 0 and 2)"), "{text}");
}

#[test]
fn a_voting_record_older_than_the_certificates_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path());
    let old = COPIES.map(|copy| raw::get(directory.path(), copy).unwrap());
    voted(directory.path());
    raw::put(
        directory.path(),
        &[(COPIES[0], Some(&old[0])), (COPIES[1], Some(&old[1]))],
    );
    let text = refused(directory.path());
    assert!(text.contains("older than the certificates"), "{text}");
}

#[test]
fn a_voting_record_older_than_the_highest_tc_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, durable) = open(directory.path());
    let tc = timeout_certificate(1, durable.highest_qc);
    let rank = Rank {
        epoch: Epoch(0),
        view: ViewNumber(1),
    };
    tree.persist(&[Write::TimeOut(rank)]).unwrap();
    drop(tree);
    let old = COPIES.map(|copy| raw::get(directory.path(), copy).unwrap());
    let (mut tree, _) = open(directory.path());
    tree.persist(&[
        Write::CastVote(vote(genesis_hash(), 2)),
        Write::SetHighestTc(tc),
    ])
    .unwrap();
    drop(tree);
    raw::put(
        directory.path(),
        &[(COPIES[0], Some(&old[0])), (COPIES[1], Some(&old[1]))],
    );
    assert!(refused(directory.path()).contains("older than the certificates"));
}
