//! Reading: the state on any branch, blocks by hash and height, and what a peer that lags is sent.

use hotstuff::algorithm::{EpochRecord, Persist, Write};
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::block_tree::{BlockTree, BlockTreeReader, Unwritten};
use hotstuff::types::*;

use crate::chain::*;

fn state(reader: &BlockTreeReader, at: &Made, key: &str) -> Option<String> {
    let snapshot = reader.snapshot_at(&at.hash, &[]).unwrap().unwrap();
    let value = snapshot.state(key.as_bytes()).unwrap();
    value.map(|value| String::from_utf8(value).unwrap())
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn each_branch_has_its_own_state() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let reader = tree.reader();
    let base = Made::first(1, b"x", vec![set("a", "base"), set("k", "base")]);
    let left = base.child(2, b"l", vec![set("a", "left"), delete("z")]);
    let right = base.child(3, b"r", vec![delete("a"), set("r", "right")]);
    let above = right.child(4, b"", vec![]);
    tree.persist(&[base.insert(), left.insert(), right.insert(), above.insert()])
        .unwrap();

    assert_eq!(state(&reader, &base, "a"), text("base"));
    assert_eq!(state(&reader, &base, "z"), text("genesis z"));
    assert_eq!(state(&reader, &left, "a"), text("left"));
    assert_eq!(state(&reader, &left, "k"), text("base"));
    assert_eq!(state(&reader, &left, "z"), None);
    assert_eq!(state(&reader, &right, "a"), None);
    assert_eq!(state(&reader, &above, "a"), None);
    assert_eq!(state(&reader, &above, "r"), text("right"));
    assert_eq!(state(&reader, &above, "z"), text("genesis z"));
    let committed = reader.snapshot().unwrap();
    assert_eq!(committed.state(b"a").unwrap(), Some(b"genesis a".to_vec()));
    assert_eq!(committed.state(b"").unwrap(), None);

    tree.persist(&[base.commit(), right.commit(), left.drop()])
        .unwrap();
    assert_eq!(state(&reader, &above, "a"), None);
    assert_eq!(state(&reader, &above, "k"), text("base"));
    assert_eq!(state(&reader, &right, "r"), text("right"));
    // A snapshot is of its moment.
    assert_eq!(committed.state(b"a").unwrap(), Some(b"genesis a".to_vec()));
    assert_eq!(committed.committed_height().unwrap(), BlockHeight(0));
    // What the chain has passed, dropped, or never seen has no state.
    let unknown = above.child(9, b"", vec![]);
    for gone in [genesis_hash(), base.hash, left.hash, unknown.hash] {
        assert!(reader.snapshot_at(&gone, &[]).unwrap().is_none());
    }
}

#[test]
fn a_block_in_no_transaction_yet_is_read_over_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let reader = tree.reader();
    let one = Made::first(1, b"", vec![set("a", "1")]);
    let two = one.child(2, b"", vec![set("a", "2"), set("b", "2")]);
    let unwritten = |made: &Made| {
        let parent = made.block.header.parent();
        (
            made.hash,
            parent,
            made.block.clone(),
            made.state_updates.clone(),
        )
    };
    let owned = [unwritten(&two), unwritten(&one)];
    let unwritten: Vec<Unwritten> = owned
        .iter()
        .map(|(hash, parent, block, state_updates)| Unwritten {
            hash: *hash,
            parent: *parent,
            block,
            state_updates,
        })
        .collect();
    let read = |unwritten: &[Unwritten]| {
        let snapshot = reader.snapshot_at(&two.hash, unwritten).unwrap()?;
        Some((
            snapshot.state(b"a").unwrap().unwrap(),
            snapshot.state(b"z").unwrap().unwrap(),
        ))
    };
    let expected = Some((b"2".to_vec(), b"genesis z".to_vec()));
    assert_eq!(read(&unwritten), expected);
    assert_eq!(read(&unwritten[..1]), None);
    tree.persist(&[one.insert()]).unwrap();
    assert_eq!(read(&unwritten), expected);
    assert_eq!(read(&unwritten[..1]), expected);
    tree.persist(&[one.commit()]).unwrap();
    assert_eq!(read(&unwritten), expected);
    tree.persist(&[two.insert()]).unwrap();
    assert_eq!(read(&unwritten), expected);
    assert_eq!(read(&[]), expected);
}

#[test]
fn a_snapshot_outlives_the_tree_and_moves_between_threads() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let one = Made::first(1, b"data", vec![set("a", "1")]);
    tree.persist(&[one.insert()]).unwrap();
    let snapshot = tree.reader().snapshot_at(&one.hash, &[]).unwrap().unwrap();
    drop(tree);
    let block = one.block.clone();
    let thread = std::thread::spawn(move || {
        assert_eq!(snapshot.state(b"a").unwrap(), Some(b"1".to_vec()));
        assert_eq!(snapshot.block(&one.hash).unwrap(), Some(block));
        snapshot
    });
    drop(thread.join().unwrap());
    open(directory.path()); // the lock is free again
}

#[test]
fn readers_see_whole_steps_while_alice_writes() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let last = BlockHeight(1_500);
    let read = |reader: BlockTreeReader| {
        move || loop {
            let snapshot = reader.snapshot().unwrap();
            let height = snapshot.committed_height().unwrap();
            let hash = snapshot.hash_at(height).unwrap().unwrap();
            if height > BlockHeight(0) {
                let written = snapshot.state(b"height").unwrap().unwrap();
                assert_eq!(written, height.to_string().into_bytes());
                assert!(snapshot.block(&hash).unwrap().unwrap().data_matches());
            }
            if height == last {
                return snapshot; // freed on another thread than it was taken on
            }
        }
    };
    let readers: Vec<_> = (0..3)
        .map(|_| std::thread::spawn(read(tree.reader())))
        .collect();
    let updates = |height: u64| vec![set("height", &height.to_string())];
    let mut made = Made::first(1, &[1; 3_000], updates(1));
    while made.height() < last {
        let next = made.child(made.view() + 1, &[2; 3_000], updates(made.height().0 + 1));
        tree.persist(&[made.insert(), made.commit()]).unwrap();
        made = next;
    }
    tree.persist(&[made.insert(), made.commit()]).unwrap();
    readers
        .into_iter()
        .for_each(|reader| drop(reader.join().unwrap()));
}

/// Commits a chain of `count` blocks, a thousand in a transaction; returns them.
fn grow(tree: &mut BlockTree, count: u64) -> Vec<Made> {
    let mut chain = vec![Made::first(1, b"", vec![])];
    while (chain.len() as u64) < count {
        let parent = chain.last().unwrap();
        chain.push(parent.child(parent.view() + 1, b"", vec![]));
    }
    for part in chain.chunks(1_000) {
        let writes: Vec<Write> = part
            .iter()
            .flat_map(|made| [made.insert(), made.commit()])
            .collect();
        tree.persist(&writes).unwrap();
    }
    chain
}

#[test]
fn a_block_is_found_by_its_hash_however_long_the_chain() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    // One long run of 65,536, some short ones of 256, and a rest.
    let chain = grow(&mut tree, 65_536 + 3 * 256 + 57);
    let snapshot = tree.reader().snapshot().unwrap();
    let edges = [
        0, 1, 255, 256, 65_279, 65_280, 65_535, 65_536, 65_791, 65_792, 66_303, 66_304,
    ];
    let others = (0..chain.len()).step_by(977).chain([chain.len() - 1]);
    for index in edges.into_iter().chain(others) {
        let made = &chain[index];
        assert_eq!(
            snapshot.block(&made.hash).unwrap().as_ref(),
            Some(&made.block)
        );
        assert_eq!(snapshot.hash_at(made.height()).unwrap(), Some(made.hash));
    }
    let unknown = chain[7].child(1_000_000, b"", vec![]);
    assert_eq!(snapshot.block(&unknown.hash).unwrap(), None);
    let mut nearly = chain[7].hash; // as much as a run holds of it is right
    nearly.0[31] ^= 1;
    assert_eq!(snapshot.block(&nearly).unwrap(), None);
    assert_eq!(
        snapshot.hash_at(BlockHeight(0)).unwrap(),
        Some(genesis_hash())
    );

    let (blocks, qcs) = snapshot
        .blocks_after(&chain[299].hash, None, 3, 1 << 20)
        .unwrap()
        .unwrap();
    assert_eq!(
        blocks,
        [300, 301, 302].map(|index| chain[index].block.clone())
    );
    assert_eq!(qcs, [chain[303].block.header.justify.clone()]);
    drop((snapshot, tree));
    let (tree, durable) = open(directory.path());
    assert_eq!(durable.committed.hash, chain.last().unwrap().hash);
    let snapshot = tree.reader().snapshot().unwrap();
    assert_eq!(
        snapshot.block(&chain[12_345].hash).unwrap(),
        Some(chain[12_345].block.clone())
    );
}

type Answer = Option<(Vec<BlockHash>, Vec<QuorumCertificate>)>;

fn after(tree: &BlockTree, after: BlockHash, wanted: Option<&Made>) -> Answer {
    after_within(tree, after, wanted, 100, 1 << 20)
}

fn after_within(
    tree: &BlockTree,
    after: BlockHash,
    wanted: Option<&Made>,
    limit: usize,
    bytes_max: usize,
) -> Answer {
    let snapshot = tree.reader().snapshot().unwrap();
    let wanted = wanted.map(|made| made.hash);
    let answer = snapshot
        .blocks_after(&after, wanted.as_ref(), limit, bytes_max)
        .unwrap()?;
    let hashes = answer.0.iter().map(|block| block.hash(&genesis().hash()));
    Some((hashes.collect(), answer.1))
}

fn hashes(blocks: &[&Made]) -> Vec<BlockHash> {
    blocks.iter().map(|made| made.hash).collect()
}

#[test]
fn a_peer_that_lags_is_led_to_the_highest_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, durable) = open(directory.path());
    let genesis = genesis_hash();
    assert_eq!(
        after(&tree, genesis, None),
        Some((vec![], vec![durable.highest_qc]))
    );

    // genesis <- one <- two (committed) <- three <- four; beside them: three <- fork.
    let one = Made::first(1, &[1; 1_000], vec![]);
    let two = one.child(2, &[2; 1_000], vec![]);
    let three = two.child(3, &[3; 1_000], vec![]);
    let four = three.child(4, &[4; 1_000], vec![]);
    let fork = three.child(5, b"", vec![]);
    let inserts = [&one, &two, &three, &four, &fork].map(|made| made.insert());
    tree.persist(&inserts).unwrap();
    tree.persist(&[
        one.commit(),
        two.commit(),
        Write::SetHighestQc(four.certificate()),
    ])
    .unwrap();

    let to_four = [&one, &two, &three, &four];
    let answer = after(&tree, genesis, None);
    assert_eq!(answer, Some((hashes(&to_four), vec![four.certificate()])));
    let answer = after(&tree, two.hash, None);
    assert_eq!(
        answer,
        Some((hashes(&to_four[2..]), vec![four.certificate()]))
    );
    // Who has committed further asks after a block that is still pending here.
    let answer = after(&tree, three.hash, None);
    assert_eq!(answer, Some((hashes(&[&four]), vec![four.certificate()])));
    let answer = after(&tree, four.hash, None);
    assert_eq!(answer, Some((vec![], vec![four.certificate()])));
    // Nothing follows a block beside that branch, or an unknown one.
    assert_eq!(after(&tree, fork.hash, None), None);
    assert_eq!(after(&tree, four.hash, Some(&fork)), None);
    assert_eq!(after(&tree, BlockHash([7; 32]), None), None);

    // A limit ends the answer within the committed chain, at its end, and in the branch.
    for limit in 1..=3 {
        let expected = (
            hashes(&to_four[..limit]),
            vec![to_four[limit - 1].certificate()],
        );
        assert_eq!(
            after_within(&tree, genesis, None, limit, 1 << 20),
            Some(expected.clone())
        );
        let bytes_max = limit * 1_500;
        assert_eq!(
            after_within(&tree, genesis, None, 100, bytes_max),
            Some(expected)
        );
    }
    // One block comes even if it is larger than the limit.
    let first = (hashes(&[&one]), vec![one.certificate()]);
    assert_eq!(after_within(&tree, genesis, None, 100, 1), Some(first));

    // The wanted block is on another branch, and nothing here certifies it.
    let answer = after(&tree, one.hash, Some(&fork));
    assert_eq!(answer, Some((hashes(&[&two, &three, &fork]), vec![])));
    // If it is not known, or on the way, it changes nothing.
    let unknown = fork.child(9, b"", vec![]);
    let usual = after(&tree, one.hash, None);
    assert_eq!(after(&tree, one.hash, Some(&unknown)), usual);
    assert_eq!(after(&tree, one.hash, Some(&two)), usual);
    // On the way, but above the committed chain: a child certifies it.
    let answer = after(&tree, two.hash, Some(&three));
    assert_eq!(answer, Some((hashes(&[&three]), vec![three.certificate()])));
}

#[test]
fn an_epoch_that_is_in_no_transaction_yet_is_read_over_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let first = genesis().validator_set;
    let update = Made::first(1, b"", vec![]).updating(&[(4, 0), (5, 9)]);
    let record = update.epoch(&first);
    tree.persist(&[update.insert()]).unwrap();
    let snapshot = tree.reader().snapshot_at(&update.hash, &[]).unwrap();
    let snapshot = snapshot.unwrap();
    assert_eq!(snapshot.validator_set().unwrap(), first);
    assert_eq!(snapshot.epoch_record(Epoch(1)).unwrap(), None);
    let snapshot = snapshot.in_epoch(record.clone());
    assert_eq!(snapshot.validator_set().unwrap(), record.validator_set);
    assert_eq!(
        snapshot.epoch_record(Epoch(1)).unwrap(),
        Some(record.clone())
    );
    let begin = Write::ChangeEpoch(record.clone());
    tree.persist(&[update.commit(), begin]).unwrap();
    let snapshot = tree.reader().snapshot().unwrap();
    assert_eq!(snapshot.validator_set().unwrap(), record.validator_set);
    let before = snapshot.epoch_record(Epoch(0)).unwrap();
    assert_eq!(before, Some(EpochRecord::first(first)));
}

#[test]
fn a_peer_that_lags_is_led_through_the_epochs() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    // genesis <- one <- update (epoch 0) <- two <- again (epoch 1), all committed; <- three.
    let one = Made::first(1, b"", vec![]);
    let update = one.child(2, b"", vec![]).updating(&[(5, 1)]);
    let first = update.epoch(&genesis().validator_set);
    let two = update.child(1, b"", vec![]);
    let again = two.child(2, b"", vec![]).updating(&[(5, 0)]);
    let second = again.epoch(&first.validator_set);
    let three = again.child(1, b"", vec![]);

    // Not yet committed, it is served with the certificate of its phase.
    tree.persist(&[one.insert(), update.insert()]).unwrap();
    tree.persist(&[Write::SetHighestQc(update.certificate())])
        .unwrap();
    let to_update = hashes(&[&one, &update]);
    let prepared = Some((to_update.clone(), vec![update.certificate()]));
    assert_eq!(after(&tree, genesis_hash(), None), prepared);

    let begin = Write::ChangeEpoch(first);
    tree.persist(&[one.commit(), update.commit(), begin])
        .unwrap();
    let committed = Some((to_update, vec![update.commit_qc()]));
    assert_eq!(after(&tree, genesis_hash(), None), committed);

    let begin = Write::ChangeEpoch(second);
    tree.persist(&[two.insert(), again.insert(), three.insert()])
        .unwrap();
    tree.persist(&[two.commit(), again.commit(), begin])
        .unwrap();
    tree.persist(&[Write::SetHighestQc(three.certificate())])
        .unwrap();
    let all = [&one, &update, &two, &again, &three];
    let whole = Some((hashes(&all), vec![three.certificate()]));
    assert_eq!(after(&tree, genesis_hash(), None), whole);
    // Where an answer ends at a block that updates the validators, the Commit QC proves it.
    for (limit, last) in [(2, &update), (4, &again)] {
        let expected = Some((hashes(&all[..limit]), vec![last.commit_qc()]));
        let answer = after_within(&tree, genesis_hash(), None, limit, 1 << 20);
        assert_eq!(answer, expected);
    }
}

#[test]
fn without_the_highest_block_a_peer_is_led_to_the_best_certified_one() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let one = Made::first(1, b"", vec![]);
    let two = one.child(2, b"", vec![]);
    let three = two.child(3, b"", vec![]);
    let fork = one.child(4, b"", vec![]);
    let missing = three.child(5, b"", vec![]);
    let mut writes = [&one, &two, &three, &fork]
        .map(|made| made.insert())
        .to_vec();
    writes.push(Write::SetHighestQc(missing.certificate()));
    tree.persist(&writes).unwrap();
    let expected = (hashes(&[&one, &two]), vec![two.certificate()]);
    assert_eq!(after(&tree, genesis_hash(), None), Some(expected));
    // Nothing follows the end of that branch but a certificate.
    tree.persist(&[one.commit(), fork.drop(), two.commit()])
        .unwrap();
    assert_eq!(
        after(&tree, two.hash, None),
        Some((vec![], vec![missing.certificate()]))
    );
}
