//! One process that writes a block tree dies at each of its disk operations in turn, before and
//! after it; what its disk keeps is the tree as of its last step, or as of the one in hand.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hotstuff::algorithm::{Durable, Persist, StoredProposal, Write};
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::block_tree::{BlockTree, Durability, OpenOptions, StorageError};
use hotstuff::types::{Epoch, Rank, ViewNumber};

use crate::chance::Chance;
use crate::disk::{Disk, Failure, Lost};

#[path = "../storage/chain.rs"]
#[allow(dead_code)]
mod chain;
#[path = "../storage/child.rs"]
#[allow(dead_code)]
mod child;

use chain::{genesis, set, timeout_certificate, vote, Made};

fn open(path: &Path, durability: Durability) -> Result<(BlockTree, Durable), StorageError> {
    let options = OpenOptions {
        durability,
        ..chain::options(path)
    };
    BlockTree::open(&options, &genesis())
}

/// Steps as a replica takes them: proposals, votes, time-outs, commits, a change of the validators.
fn steps() -> Vec<Vec<Write>> {
    let mut steps = Vec::new();
    let mut blocks: Vec<Made> = Vec::new();
    let validators = genesis().validator_set;
    for view in 1..=8 {
        let data = vec![view as u8; [10, 3_000, 60_000][view as usize % 3]];
        let updates = vec![set("k", &view.to_string()), set(&format!("k{view}"), "v")];
        let made = match blocks.last() {
            None => Made::first(view, &data, updates),
            Some(parent) => parent.child(view, &data, updates),
        };
        let made = match view {
            4 => made.updating(&[(2, 7), (5, 1)]),
            _ => made,
        };
        let mut writes = vec![made.insert(), Write::CastVote(vote(made.hash, view))];
        if let Some(parent) = blocks.last() {
            writes.push(Write::SetHighestQc(parent.certificate()));
        }
        if let Some(committed) = blocks.iter().rev().nth(1) {
            writes.push(committed.commit());
            if committed.block.header.validator_set_updates.is_some() {
                writes.push(Write::ChangeEpoch(committed.epoch(&validators)));
            }
        }
        steps.push(writes);
        if view % 3 == 0 {
            let tc = timeout_certificate(view, made.certificate());
            steps.push(vec![
                Write::TimeOut(Rank {
                    epoch: Epoch(0),
                    view: ViewNumber(view),
                }),
                Write::StoreProposal(StoredProposal {
                    block: made.hash,
                    nudge: None,
                    vote: vote(made.hash, view),
                    timeout_certificate: Some(tc.clone()),
                }),
            ]);
            steps.push(vec![Write::SetHighestTc(tc)]);
        }
        blocks.push(made);
    }
    steps
}

/// What is durable after each step; the first after none.
fn expected(steps: &[Vec<Write>]) -> Vec<Durable> {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, first) = open(directory.path(), Durability::ProcessCrash).unwrap();
    let mut all = vec![first];
    for writes in steps {
        tree.persist(writes).unwrap();
        drop(tree);
        let (again, durable) = open(directory.path(), Durability::ProcessCrash).unwrap();
        all.push(durable);
        tree = again;
    }
    all
}

/// The child's life: it says the number of each step that is done.
fn write_all(path: &Path, durability: Durability) {
    let (mut tree, _) = open(path, durability).unwrap();
    child::say(0);
    for (done, writes) in (1..).zip(steps()) {
        tree.persist(&writes).unwrap();
        child::say(done);
    }
}

/// Lets the child die at `point` (never if 0); the step that it said last, and whether it died.
fn die(test: &str, disk: &Disk, point: u64) -> (Option<usize>, bool) {
    let mut command = child::command(test, &disk.directory);
    disk.arm(&mut command);
    command
        .env("CRASH_AT", point.to_string())
        .stderr(Stdio::inherit());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut said = text
        .lines()
        .filter_map(|line| line.split_once("> ")?.1.parse().ok());
    let has_died = std::os::unix::process::ExitStatusExt::signal(&output.status).is_some();
    assert!(has_died || output.status.success(), "{text}");
    (said.next_back(), has_died)
}

/// Opens what is left, compares it, and goes on to the end.
fn check(path: &Path, expected: &[Durable], said: Option<usize>, what: &str) {
    let (mut tree, found) =
        open(path, Durability::ProcessCrash).unwrap_or_else(|error| panic!("{what}: {error}"));
    let least = said.unwrap_or(0);
    let step = (least..=least + 1).find(|step| expected.get(*step) == Some(&found));
    let step = step.unwrap_or_else(|| panic!("{what}: after step {said:?}, {found:?}"));
    assert!(tree.warnings().is_empty(), "{what}: {:?}", tree.warnings());
    for writes in &steps()[step..] {
        tree.persist(writes)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    drop(tree);
    let (tree, found) = open(path, Durability::ProcessCrash).unwrap();
    assert_eq!(found, expected[expected.len() - 1], "{what}");
    let snapshot = tree.reader().snapshot().unwrap();
    for pending in &found.pending {
        assert!(
            snapshot
                .block(&pending.hash)
                .unwrap()
                .unwrap()
                .data_matches(),
            "{what}"
        );
    }
}

#[test]
fn a_kill_at_any_disk_operation_loses_no_step_and_tears_none() {
    if let Some(path) = child::directory() {
        return write_all(&path, Durability::Synced);
    }
    let test = "writer::a_kill_at_any_disk_operation_loses_no_step_and_tears_none";
    let expected = expected(&steps());
    let mut all = Lost::default();
    for point in 1.. {
        for failure in [Failure::All, Failure::Torn] {
            let root = tempfile::tempdir().unwrap();
            let disk = Disk::new(&root.path().join("tree"), Duration::ZERO);
            let (said, has_died) = die(test, &disk, point);
            if !has_died {
                assert!(point > 100, "only {point} points");
                assert!(all.sectors > 1_000 && all.kept > 1_000, "{all:?}");
                println!("{point} points, {all:?}");
                return;
            }
            let lost = disk.fail(failure, &mut Chance(point));
            all.writes += lost.writes;
            all.sectors += lost.sectors;
            all.kept += lost.kept;
            check(
                &disk.directory,
                &expected,
                said,
                &format!("point {point}, {failure:?}"),
            );
        }
    }
}

/// The same check sees what a disk without syncs loses.
#[test]
fn without_syncs_a_power_failure_takes_what_was_said() {
    if let Some(path) = child::directory() {
        return write_all(&path, Durability::ProcessCrash);
    }
    let test = "writer::without_syncs_a_power_failure_takes_what_was_said";
    let root = tempfile::tempdir().unwrap();
    let disk = Disk::new(&root.path().join("tree"), Duration::ZERO);
    let expected = expected(&steps());
    let (said, _) = die(test, &disk, 0);
    assert_eq!(said, Some(steps().len()));
    let lost = disk.fail(Failure::All, &mut Chance(1));
    assert!(lost.kept == 0 && lost.sectors > 100, "{lost:?}");
    let (_, found) = open(&disk.directory, Durability::Synced).unwrap();
    assert_eq!(
        found, expected[0],
        "a creation is synced in either mode, and nothing after it"
    );
}
