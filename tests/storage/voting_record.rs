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

/// What is on disk of both copies.
fn copies(directory: &Path) -> [Vec<u8>; 2] {
    COPIES.map(|copy| raw::get(directory, copy).unwrap())
}

fn put(directory: &Path, copies: [Option<&[u8]>; 2]) {
    raw::put(directory, &[(COPIES[0], copies[0]), (COPIES[1], copies[1])]);
}

/// One copy in place of another.
fn damaged<'a>(
    whole: &'a [Vec<u8>; 2],
    copy: usize,
    by: Option<&'a [u8]>,
) -> [Option<&'a [u8]>; 2] {
    let mut both = [Some(&*whole[0]), Some(&*whole[1])];
    both[copy] = by;
    both
}

/// The record is what it was, the damage is reported, and it is gone.
fn check_repaired(
    directory: &Path,
    durable: &Durable,
    copy: usize,
    whole: &[Vec<u8>; 2],
    what: &str,
) {
    let (tree, found) = open(directory);
    assert_eq!(found, *durable, "{what}");
    assert_eq!(tree.warnings().len(), 1, "{what}");
    assert!(
        tree.warnings()[0].contains(COPIES[copy]),
        "{what}: {}",
        tree.warnings()[0]
    );
    drop(tree);
    assert_eq!(copies(directory), *whole, "{what}");
}

fn check_refused(directory: &Path, words: &str, what: &str) {
    let text = refused(directory);
    assert!(text.contains(words), "{what}: {text}");
    assert!(text.contains("start with a new key"), "{what}: {text}");
}

/// Byte `at` in each of two ways: one bit of it, and all.
fn flipped(whole: &[u8], at: usize) -> [Vec<u8>; 2] {
    [1 << (at % 8), 0xff].map(|bits| {
        let mut flipped = whole.to_vec();
        flipped[at] ^= bits;
        flipped
    })
}

#[test]
fn every_byte_of_either_copy_is_repaired_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let durable = voted(directory.path());
    let whole = copies(directory.path());
    for copy in 0..2 {
        for at in 0..whole[copy].len() {
            for flipped in flipped(&whole[copy], at) {
                put(directory.path(), damaged(&whole, copy, Some(&flipped)));
                let what = format!("{}, byte {at}", COPIES[copy]);
                check_repaired(directory.path(), &durable, copy, &whole, &what);
            }
        }
    }
}

#[test]
fn every_byte_of_both_copies_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    voted(directory.path());
    let whole = copies(directory.path());
    let length = whole[0].len();
    for at in 0..length {
        let others = [at, (at * 31 + 7) % length];
        for (other, which) in others.into_iter().zip(0..) {
            let [first, second] =
                [(0, at), (1, other)].map(|(c, at)| flipped(&whole[c], at)[which].clone());
            put(directory.path(), [Some(&first), Some(&second)]);
            let what = format!("bytes {at} and {other}");
            check_refused(directory.path(), "both copies are damaged", &what);
        }
    }
}

#[test]
fn a_copy_cut_off_anywhere_is_repaired_and_two_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let durable = voted(directory.path());
    let whole = copies(directory.path());
    for left in 0..whole[0].len() {
        for copy in 0..2 {
            put(
                directory.path(),
                damaged(&whole, copy, Some(&whole[copy][..left])),
            );
            let what = format!("{} cut off after {left}", COPIES[copy]);
            check_repaired(directory.path(), &durable, copy, &whole, &what);
        }
        put(
            directory.path(),
            [Some(&whole[0][..left]), Some(&whole[1][..left])],
        );
        let what = format!("both cut off after {left}");
        check_refused(directory.path(), "both copies are damaged", &what);
        put(directory.path(), damaged(&whole, 0, Some(&whole[0])));
    }
}

#[test]
fn a_lost_or_lengthened_copy_is_repaired_and_two_lost_ones_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let durable = voted(directory.path());
    let whole = copies(directory.path());
    for copy in 0..2 {
        put(directory.path(), damaged(&whole, copy, None));
        check_repaired(directory.path(), &durable, copy, &whole, "lost");
        let longer = [&*whole[copy], &[0]].concat();
        put(directory.path(), damaged(&whole, copy, Some(&longer)));
        check_repaired(directory.path(), &durable, copy, &whole, "longer");
    }
    put(directory.path(), [None, None]);
    check_refused(directory.path(), "missing", "both lost");
}

#[test]
fn a_copy_in_the_others_place_is_no_copy() {
    let directory = tempfile::tempdir().unwrap();
    let durable = voted(directory.path());
    let whole = copies(directory.path());
    put(directory.path(), [Some(&whole[1]), Some(&whole[0])]);
    check_refused(directory.path(), "both copies are damaged", "swapped");
    for copy in 0..2 {
        put(
            directory.path(),
            damaged(&whole, copy, Some(&whole[1 - copy])),
        );
        check_repaired(
            directory.path(),
            &durable,
            copy,
            &whole,
            "one in the other's place",
        );
    }
}

/// Both copies and the certificates' counter, after each step of a short life.
fn versions(directory: &Path) -> Vec<([Vec<u8>; 2], usize)> {
    let (mut tree, _) = open(directory);
    let mut versions = vec![(copies(directory), 0)];
    let mut blocks: Vec<Made> = Vec::new();
    let mut certified = 0;
    for view in 1..=6 {
        let made = match blocks.last() {
            None => Made::first(view, b"", vec![]),
            Some(parent) => parent.child(view, b"", vec![]),
        };
        let mut writes = vec![made.insert(), Write::CastVote(vote(made.hash, view))];
        // In every third view no certificate is new.
        if let Some(parent) = blocks.last().filter(|_| view % 3 != 0) {
            writes.push(Write::SetHighestQc(parent.certificate()));
            certified = view as usize;
        }
        tree.persist(&writes).unwrap();
        blocks.push(made);
        drop(tree);
        versions.push((copies(directory), certified));
        tree = open(directory).0;
    }
    versions
}

/// A record that went back alone is seen by its other copy, or by the certificates beside it. Both
/// copies back by less than the last certificate cannot be told, as a directory put back cannot.
#[test]
fn one_or_both_copies_rolled_back_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let versions = versions(directory.path());
    let certified = versions[versions.len() - 1].1;
    assert!(certified == 5 && versions.len() == 7);
    for (i, (first, _)) in versions.iter().enumerate() {
        for (j, (second, _)) in versions.iter().enumerate() {
            put(directory.path(), [Some(&first[0]), Some(&second[1])]);
            let what = format!("changes {i} and {j}");
            if i != j {
                check_refused(directory.path(), &format!("differ ({what})"), &what);
            } else if i < certified {
                check_refused(directory.path(), "older than the certificates", &what);
            } else {
                assert!(open(directory.path()).0.warnings().is_empty(), "{what}");
            }
        }
    }
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
