//! What happens when something is used up, when the process is killed, and when the writes do not
//! fit: an error that names the remedy, and a disk as it was before the step.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use hotstuff::algorithm::{Durable, EpochRecord, Persist, Write};
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::block_tree::{BlockTree, Durability, OpenOptions, StorageError, SNAPSHOTS_MAX};
use hotstuff::types::*;

use crate::chain::*;
use crate::child;

/// Inserts blocks with data until it fails; what was durable before, and the failure.
fn fill(tree: &mut BlockTree, directory: &Path, bytes: usize) -> (u64, StorageError) {
    let _ = directory;
    let mut parent = Made::first(1, b"", vec![]);
    tree.persist(&[parent.insert()]).unwrap();
    loop {
        let made = parent.child(parent.view() + 1, &vec![7; bytes], vec![set("a", "filled")]);
        let step = [Write::CastVote(vote(made.hash, made.view())), made.insert()];
        match tree.persist(&step) {
            Ok(()) => parent = made,
            Err(error) => {
                let again = tree
                    .persist(&[Write::CastVote(vote(made.hash, 1))])
                    .unwrap_err();
                assert!(matches!(again, StorageError::Poisoned { .. }), "{again}");
                assert!(again.to_string().contains(&error.to_string()), "{again}");
                return (parent.height().0, error);
            }
        }
    }
}

fn check_filled(durable: &Durable, tree: &BlockTree, height: u64, bytes: usize) {
    assert_eq!(durable.pending.len() as u64, height);
    let last = durable.pending.last().unwrap();
    assert_eq!(durable.voting_record.voted.unwrap().block_hash, last.hash);
    let snapshot = tree.reader().snapshot().unwrap();
    let whole = |pending: &hotstuff::algorithm::PendingBlock| {
        let block = snapshot.block(&pending.hash).unwrap().unwrap();
        assert!(block.data_matches() && block.data.len() == bytes);
    };
    durable.pending[1..].iter().for_each(whole);
}

#[test]
fn a_full_map_stops_the_replica_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let small = OpenOptions {
        map_bytes: 2 << 20,
        ..options(directory.path())
    };
    let (mut tree, _) = BlockTree::open(&small, &genesis()).unwrap();
    let (height, error) = fill(&mut tree, directory.path(), 100_000);
    assert!(
        matches!(
            error,
            StorageError::MapFull {
                map_bytes: 0x20_0000,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("Raise storage.map_bytes"),
        "{error}"
    );
    assert!(height > 10);
    drop(tree);
    let (tree, durable) = BlockTree::open(&small, &genesis()).unwrap();
    check_filled(&durable, &tree, height, 100_000);
    drop(tree);
    let (mut tree, durable) = open(directory.path());
    check_filled(&durable, &tree, height, 100_000);
    let head = durable.pending.last().unwrap();
    let justify = certificate(head.hash, head.header.view.0);
    let next = Made::new(justify, height + 1, 1_000, &[7; 100_000], vec![]);
    tree.persist(&[next.insert()]).unwrap();
}

#[test]
fn a_file_size_limit_stops_the_replica_and_loses_nothing() {
    const BYTES: usize = 1 << 20;
    if let Some(path) = child::directory() {
        let limit = libc::rlimit {
            rlim_cur: 70 << 20,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: setrlimit reads the struct; without its signal, the limit is an error.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
        let (mut tree, _) = open(&path);
        let (height, error) = fill(&mut tree, &path, BYTES);
        assert!(matches!(error, StorageError::DiskFull { .. }), "{error:?}");
        child::say(height);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "limits::a_file_size_limit_stops_the_replica_and_loses_nothing";
    let height = child::run(test, directory.path())[0].parse().unwrap();
    let (tree, durable) = open(directory.path());
    check_filled(&durable, &tree, height, BYTES);
}

#[test]
fn a_full_disk_stops_the_replica_and_loses_nothing() {
    const BYTES: usize = 100_000;
    if let Some(path) = child::directory() {
        let none = OpenOptions {
            durability: Durability::Synced,
            ..options(&path.join("replica"))
        };
        let (mut tree, _) = BlockTree::open(&none, &genesis()).unwrap();
        let (height, error) = fill(&mut tree, &path, BYTES);
        assert!(matches!(error, StorageError::DiskFull { .. }), "{error:?}");
        assert!(error.to_string().contains("Make room"), "{error}");
        drop(tree);
        std::fs::remove_file(path.join("ballast")).unwrap();
        let (tree, durable) = BlockTree::open(&none, &genesis()).unwrap();
        check_filled(&durable, &tree, height, BYTES);
        return child::say("nothing is lost");
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "limits::a_full_disk_stops_the_replica_and_loses_nothing";
    let inner = child::command(test, directory.path());
    // A small file system of one's own, in a name space of one's own.
    let script = "mount -t tmpfs -o size=4m none \"$0\" || exit 77
                  head -c 1000000 /dev/zero > \"$0/ballast\"; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    command
        .arg(directory.path())
        .arg(inner.get_program())
        .args(inner.get_args());
    command.envs(
        inner
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            assert_eq!(child::answer(&output), ["nothing is lost"]);
        }
        Ok(output) if output.status.code() == Some(101) => {
            child::answer(&output);
        }
        other => println!("skipped: no tmpfs of one's own may be mounted here ({other:?})"),
    }
}

#[test]
fn one_snapshot_too_many_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let reader = tree.reader();
    let mut alive: Vec<_> = (0..SNAPSHOTS_MAX)
        .map(|_| reader.snapshot().unwrap())
        .collect();
    let error = reader.snapshot().unwrap_err();
    assert!(
        matches!(error, StorageError::TooManySnapshots { max: SNAPSHOTS_MAX }),
        "{error:?}"
    );
    // Alice is not held up.
    tree.persist(&[Made::first(1, b"", vec![]).insert()])
        .unwrap();
    alive.pop();
    reader.snapshot().unwrap();
}

#[test]
fn what_was_persisted_survives_a_kill() {
    if let Some(path) = child::directory() {
        let (mut tree, durable) = open(&path);
        let mut view = durable
            .voting_record
            .voted
            .map_or(0, |vote| vote.view_num.0);
        loop {
            view += 1;
            tree.persist(&[Write::CastVote(vote(genesis_hash(), view))])
                .unwrap();
            child::say(view);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "limits::what_was_persisted_survives_a_kill";
    let mut last = 0;
    for round in 1..=5 {
        let mut command = child::command(test, directory.path());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.as_mut().unwrap()).lines();
        let views = said.filter_map(|line| line.unwrap().split_once("> ")?.1.parse::<u64>().ok());
        for view in views.take(100 * round) {
            last = view;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        let (tree, durable) = open(directory.path());
        assert!(durable.voting_record.voted.unwrap().view_num.0 >= last);
        assert!(tree.warnings().is_empty());
    }
    assert!(last >= 1_500);
}

#[test]
fn a_block_with_the_most_updates_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let key = |number: u64| {
        number
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .to_be_bytes()
            .to_vec()
    };
    let count = limits::STATE_UPDATES_MAX as u64;
    let all = |value: &[u8]| -> StateUpdates {
        (0..count)
            .map(|n| StateUpdate::Set {
                key: key(n),
                value: value.to_vec(),
            })
            .collect()
    };
    // The second block touches every page that the first has made: more than LMDB keeps dirty.
    let one = Made::first(1, b"x", all(&[1; 600]));
    let two = one.child(2, b"x", all(&[2; 600]));
    let gone = (0..count).map(|n| StateUpdate::Delete { key: key(n) });
    let three = two.child(3, b"x", gone.collect());
    for (made, value) in [(&one, Some(1)), (&two, Some(2)), (&three, None)] {
        tree.persist(&[made.insert()]).unwrap();
        tree.persist(&[made.commit()]).unwrap();
        let snapshot = tree.reader().snapshot().unwrap();
        for number in (0..count).step_by(1_001) {
            let expected = value.map(|value| vec![value; 600]);
            assert_eq!(snapshot.state(&key(number)).unwrap(), expected);
        }
    }
    drop(tree);
    open(directory.path()); // the file is as long as its meta page says
}

#[test]
fn pages_that_are_freed_before_they_are_written_do_not_look_like_a_cut_off_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut parent: Option<Made> = None;
    for round in 1..40 {
        let (mut tree, _) = open(directory.path());
        // Updates that are pending and applied in one transaction leave a hole at the end.
        let value = "v".repeat(100_000);
        let updates = (0..20)
            .map(|key| set(&format!("{round}{key}"), &value))
            .collect();
        let made = match &parent {
            None => Made::first(round, b"", updates),
            Some(parent) => parent.child(round, b"", updates),
        };
        tree.persist(&[made.insert(), made.commit()]).unwrap();
        parent = Some(made);
    }
}

#[test]
fn writes_that_do_not_fit_are_errors() {
    let one = Made::first(1, b"1", vec![]);
    let two = one.child(2, b"2", vec![]);
    let three = two.child(3, b"3", vec![]);
    let beside = Made::first(4, b"4", vec![]);
    let far = Made::new(certificate(genesis_hash(), 0), 2, 5, b"5", vec![]);
    let long_key = Made::first(6, b"6", vec![set(&"k".repeat(501), "v")]);
    let update = Made::first(7, b"7", vec![]).updating(&[(5, 1)]);
    let child = update.child(8, b"8", vec![]);
    let right = update.epoch(&genesis().validator_set);
    let begun = |record| vec![update.insert(), update.commit(), Write::ChangeEpoch(record)];
    let proven_by = |qc| {
        let commit_qc = qc;
        begun(EpochRecord {
            commit_qc,
            ..right.clone()
        })
    };
    let cases: [(&str, Vec<Write>); 21] = [
        ("inserted twice", vec![one.insert(), one.insert()]),
        ("before its parent", vec![two.insert()]),
        ("before its parent", vec![far.insert()]),
        (
            "before its parent",
            vec![one.insert(), one.commit(), beside.insert()],
        ),
        ("1 to 500 bytes", vec![long_key.insert()]),
        ("is not stored", vec![one.commit()]),
        ("after 0", vec![one.insert(), two.insert(), two.commit()]),
        (
            "beside the committed chain",
            vec![one.insert(), beside.insert(), one.commit()],
        ),
        ("is not stored", vec![one.drop()]),
        ("is committed", vec![one.insert(), one.commit(), one.drop()]),
        (
            "lost its parent",
            vec![one.insert(), two.insert(), one.drop()],
        ),
        (
            "lost its parent",
            vec![
                one.insert(),
                beside.insert(),
                two.insert(),
                three.insert(),
                two.drop(),
            ],
        ),
        (
            "its epoch does not begin",
            vec![update.insert(), update.commit()],
        ),
        (
            "its epoch does not begin",
            [&begun(right.clone())[..2], &[child.insert()]].concat(),
        ),
        (
            "without a committed block",
            vec![update.insert(), Write::ChangeEpoch(right.clone())],
        ),
        (
            "without a committed block",
            [
                begun(right.clone()),
                vec![Write::ChangeEpoch(right.clone())],
            ]
            .concat(),
        ),
        (
            "after epoch 0",
            begun(EpochRecord {
                epoch: Epoch(2),
                ..right.clone()
            }),
        ),
        (
            "other validators",
            begun(EpochRecord {
                validator_set: genesis().validator_set,
                ..right.clone()
            }),
        ),
        ("without the Commit QC", proven_by(None)),
        (
            "without the Commit QC",
            proven_by(Some(update.certificate())),
        ),
        ("without the Commit QC", proven_by(Some(child.commit_qc()))),
    ];
    for (words, writes) in cases {
        let directory = tempfile::tempdir().unwrap();
        let (mut tree, before) = open(directory.path());
        let error = tree.persist(&writes).unwrap_err();
        assert!(
            matches!(error, StorageError::Inconsistent { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(words), "{error} ({words})");
        drop(tree);
        assert_eq!(open(directory.path()).1, before);
    }
}
