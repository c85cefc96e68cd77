//! Looking into a data directory, beside the replica that writes it. Who looks is another process:
//! this binary again, running the same test as a child.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use hotstuff::algorithm::{Persist, Write};
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::block_tree::{BlockTree, BlockTreeReader, StorageError};
use hotstuff::types::*;

use crate::chain::*;
use crate::child;

/// What a child sees, in one line.
fn seen(path: &Path) -> String {
    let reader = match BlockTreeReader::open_read_only(path) {
        Ok(reader) => reader,
        Err(error) => return format!("refused: {error}"),
    };
    let snapshot = reader.snapshot().unwrap();
    assert_eq!(snapshot.genesis(), genesis().hash());
    let (record, changes) = snapshot.voting_record().unwrap();
    let voted = record.voted.map(|vote| vote.view_num.0);
    let pending = (0..).map_while(|index| snapshot.pending_at(index).unwrap());
    format!(
        "height {}, voted {voted:?} in change {changes}, pending {}, evidence {}, a = {:?}",
        snapshot.committed_height().unwrap(),
        pending.count(),
        usize::from(snapshot.evidence_at(0).unwrap().is_some()),
        snapshot
            .state(b"a")
            .unwrap()
            .map(|value| String::from_utf8(value).unwrap())
    )
}

/// Every file of the directory but the table of readers.
fn contents(path: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap());
    let mut found: Vec<_> = files
        .filter(|file| file.file_name() != "lock.mdb")
        .map(|file| (file.file_name(), fs::read(file.path()).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn another_process_reads_what_is_written_and_changes_nothing() {
    let test = "read_only::another_process_reads_what_is_written_and_changes_nothing";
    if let Some(path) = child::directory() {
        return child::say(seen(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let one = Made::first(1, b"one", vec![set("a", "1")]);
    let look = |expected: &str| {
        let before = contents(path);
        assert_eq!(child::run(test, path), [expected]);
        assert!(contents(path) == before, "nothing is written");
    };
    let (mut tree, _) = open(path);
    look("height 0, voted None in change 0, pending 0, evidence 0, a = Some(\"genesis a\")");
    let writes = [one.insert(), Write::CastVote(vote(one.hash, 1))];
    tree.persist(&writes).unwrap();
    look("height 0, voted Some(1) in change 1, pending 1, evidence 0, a = Some(\"genesis a\")");
    tree.persist(&[one.commit()]).unwrap();
    look("height 1, voted Some(1) in change 1, pending 0, evidence 0, a = Some(\"1\")");
    drop(tree);
    look("height 1, voted Some(1) in change 1, pending 0, evidence 0, a = Some(\"1\")");
}

/// A child that holds a snapshot until its standard input ends, and what else it says.
fn holder(test: &str, path: &Path) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = child::command(test, path);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = piped.spawn().unwrap();
    let mut answers = BufReader::new(holder.stdout.take().unwrap()).lines();
    let holds = |line: std::io::Result<String>| line.unwrap().contains("> holds");
    assert!(answers.any(holds), "the child holds a snapshot");
    (holder, answers)
}

#[test]
fn a_replica_writes_stops_and_starts_beside_a_reader_also_one_that_was_killed() {
    let test = "read_only::\
                a_replica_writes_stops_and_starts_beside_a_reader_also_one_that_was_killed";
    if let Some(path) = child::directory() {
        let reader = BlockTreeReader::open_read_only(&path).unwrap();
        let snapshot = reader.snapshot().unwrap();
        let before = snapshot.committed_height().unwrap();
        child::say("holds");
        std::io::stdin().lines().for_each(drop);
        assert_eq!(snapshot.committed_height().unwrap(), before);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (mut tree, _) = open(path);
    let mut chain = Chain::new();
    let (mut killed, _) = holder(test, path);
    chain.grow(&mut tree, 50);
    drop(tree);
    let (mut tree, _) = open(path);
    chain.grow(&mut tree, 50);

    killed.kill().unwrap();
    killed.wait().unwrap();
    let (mut second, answers) = holder(test, path); // which forgets the dead one
    drop(second.stdin.take());
    answers.for_each(drop);
    assert!(second.wait().unwrap().success());
    chain.grow(&mut tree, 10);
    let settled = fs::metadata(path.join("data.mdb")).unwrap().len();
    chain.rewrite(&mut tree, 500);
    let grown = fs::metadata(path.join("data.mdb")).unwrap().len() - settled;
    assert!(
        grown < 300 * 4096,
        "no dead reader holds pages: {grown} bytes"
    );
}

/// Blocks, each on the one before and committed at once.
struct Chain {
    last: Option<Made>,
    view: u64,
}

impl Chain {
    fn new() -> Chain {
        Chain {
            last: None,
            view: 0,
        }
    }

    fn grow(&mut self, tree: &mut BlockTree, blocks: u64) {
        for _ in 0..blocks {
            self.view += 1;
            let updates = vec![set("a", &self.view.to_string())];
            let next = match &self.last {
                None => Made::first(self.view, b"data", updates),
                Some(last) => last.child(self.view, b"data", updates),
            };
            tree.persist(&[next.insert()]).unwrap();
            tree.persist(&[next.commit()]).unwrap();
            self.last = Some(next);
        }
    }

    /// Votes: they change the small records, and leave free pages behind.
    fn rewrite(&mut self, tree: &mut BlockTree, votes: u64) {
        let hash = self.last.as_ref().unwrap().hash;
        for _ in 0..votes {
            self.view += 1;
            tree.persist(&[Write::CastVote(vote(hash, self.view))])
                .unwrap();
        }
    }
}

#[test]
fn a_process_opens_a_directory_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let locked = |result: Result<_, StorageError>| match result {
        Err(StorageError::Locked { pid, .. }) => pid == Some(std::process::id()),
        _ => false,
    };
    let (tree, _) = open(path);
    assert!(locked(BlockTreeReader::open_read_only(path).map(drop)));
    drop(tree);
    let reader = BlockTreeReader::open_read_only(path).unwrap();
    assert!(locked(BlockTreeReader::open_read_only(path).map(drop)));
    assert!(locked(
        BlockTree::open(&options(path), &genesis()).map(drop)
    ));
    let snapshot = reader.snapshot().unwrap();
    drop(reader);
    assert!(locked(
        BlockTree::open(&options(path), &genesis()).map(drop)
    ));
    drop(snapshot);
    open(path);
}

#[test]
fn what_is_no_block_tree_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let read = |path: &Path| BlockTreeReader::open_read_only(path).unwrap_err();
    let missing = read(&directory.path().join("missing"));
    assert!(matches!(missing, StorageError::NotFound { .. }));
    let empty = read(directory.path());
    assert!(matches!(empty, StorageError::NotFound { .. }), "{empty:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

    drop(open(directory.path()));
    let file = directory.path().join("data.mdb");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let cut = read(directory.path());
    assert!(matches!(cut, StorageError::Damaged { .. }), "{cut:?}");
    assert!(cut.to_string().contains("bytes of"), "{cut}");
}

#[test]
fn a_file_that_is_older_than_the_evidence_is_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/format-1");
    let directory = tempfile::tempdir().unwrap();
    for name in ["data.mdb", "hotstuff.chain"] {
        fs::copy(golden.join(name), directory.path().join(name)).unwrap();
    }
    let reader = BlockTreeReader::open_read_only(directory.path()).unwrap();
    let snapshot = reader.snapshot().unwrap();
    assert!(snapshot.committed_height().unwrap() > BlockHeight(0));
    assert!(snapshot.evidence_at(0).unwrap().is_none());
}
