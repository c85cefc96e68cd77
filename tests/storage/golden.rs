//! The bytes of every kind of record, as a released version has written them. If this fails, old
//! directories can no longer be read: change `FORMAT_VERSION`, or do not change the bytes. With
//! `UPDATE_GOLDEN=1` the file is written anew.

use std::fmt::Write as _;
use std::path::Path;

use hotstuff::algorithm::{Persist, StoredProposal, Write};
use hotstuff::types::*;

use crate::chain::*;
use crate::raw;

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn dump(directory: &Path) -> String {
    let tables = [None].into_iter().chain(raw::TABLES.map(Some));
    tables.map(|table| dump_table(directory, table)).collect()
}

fn dump_table(directory: &Path, table: Option<&str>) -> String {
    let mut text = String::new();
    for (key, value) in raw::dump(directory, table) {
        let is_main = table.is_none();
        let key = if is_main {
            String::from_utf8(key).unwrap()
        } else {
            hexadecimal(&key)
        };
        let table = table.unwrap_or("main");
        writeln!(text, "{table} {key} {}", hexadecimal(&value)).unwrap();
    }
    text
}

/// The epochs of a chain whose first block adds a validator.
fn dump_epochs() -> String {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let block = Made::first(1, b"", vec![]).updating(&[(5, 2)]);
    let begin = Write::ChangeEpoch(block.epoch(&genesis().validator_set));
    tree.persist(&[block.insert(), block.commit(), begin])
        .unwrap();
    drop(tree);
    dump_table(directory.path(), Some("sets"))
}

#[test]
fn records_keep_their_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let one = Made::first(1, b"one", vec![set("a", "1"), delete("z")]);
    let two = one.child(2, b"two", vec![set("k", "v"), delete("a"), set("k", "w")]);
    let fork = one.child(3, b"", vec![]);
    tree.persist(&[one.insert(), Write::CastVote(vote(one.hash, 1))])
        .unwrap();
    tree.persist(&[
        two.insert(),
        fork.insert(),
        Write::StoreProposal(StoredProposal {
            block: fork.hash,
            nudge: None,
            vote: vote(fork.hash, 3),
            timeout_certificate: Some(timeout_certificate(2, one.certificate())),
        }),
        Write::TimeOut(Rank {
            epoch: Epoch(0),
            view: ViewNumber(2),
        }),
        Write::SetHighestQc(one.certificate()),
        Write::SetHighestTc(timeout_certificate(2, one.certificate())),
        one.commit(),
        Write::KeepEvidence(evidence(1, 7, 0)),
        Write::KeepEvidence(evidence(1, 7, 1)),
        Write::KeepEvidence(evidence(2, 7, 2)),
    ])
    .unwrap();
    drop(tree);
    let found = dump(directory.path()) + &dump_epochs();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storage/golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn a_run_of_hashes_keeps_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let mut chain = vec![Made::first(1, b"", vec![])];
    while chain.len() < 256 {
        let parent = chain.last().unwrap();
        chain.push(parent.child(parent.view() + 1, b"", vec![]));
    }
    let writes: Vec<Write> = chain
        .iter()
        .flat_map(|made| [made.insert(), made.commit()])
        .collect();
    tree.persist(&writes).unwrap();
    drop(tree);
    let mut expected: Vec<Vec<u8>> = chain
        .iter()
        .enumerate()
        .map(|(index, made)| [&made.hash.0[..8], &(index as u16).to_be_bytes()].concat())
        .collect();
    expected.sort();
    let runs = raw::dump(directory.path(), Some("hashes"));
    let run = (1_u64.to_be_bytes().to_vec(), expected.concat());
    assert_eq!(runs.into_iter().collect::<Vec<_>>(), [run]);
}
