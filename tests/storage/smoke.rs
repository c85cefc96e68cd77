use hotstuff::algorithm::{Persist, Write};
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::types::*;

use crate::chain::*;

#[test]
fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tree");
    let (mut tree, durable) = open(&path);
    println!("{durable:?}");
    let one = Made::first(1, b"one", vec![set("a", "1")]);
    let two = one.child(2, b"", vec![]);
    tree.persist(&[one.insert(), Write::CastVote(vote(one.hash, 1))])
        .unwrap();
    tree.persist(&[
        two.insert(),
        Write::SetHighestQc(one.certificate()),
        one.commit(),
    ])
    .unwrap();
    let snap = tree.reader().snapshot().unwrap();
    assert_eq!(snap.state(b"a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(snap.block(&one.hash).unwrap(), Some(one.block.clone()));
    assert_eq!(snap.block(&two.hash).unwrap(), Some(two.block.clone()));
    assert_eq!(snap.hash_at(BlockHeight(1)).unwrap(), Some(one.hash));
    drop((tree, snap));
    let (_, durable) = open(&path);
    println!("{durable:?}");
}
