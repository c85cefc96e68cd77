//! Evidence: kept once for each offence, and read back as it was found.

use hotstuff::algorithm::{Persist, Write};
use hotstuff::block_tree::{BlockTree, StorageError};

use crate::chain::*;
use crate::raw;

#[test]
fn evidence_is_kept_once_for_each_validator_epoch_and_kind() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    let all = [(1, 3, 0), (1, 3, 1), (2, 3, 0), (1, 4, 0)];
    let all = all.map(|(validator, epoch, kind)| evidence(validator, epoch, kind));
    let writes = all.clone().map(Write::KeepEvidence);
    tree.persist(&writes).unwrap();
    drop(tree);
    let (mut tree, durable) = open(directory.path());
    let offences: Vec<_> = all.iter().map(|found| found.offence()).collect();
    assert!(durable.offences.into_iter().eq(offences));
    let snapshot = tree.reader().snapshot().unwrap();
    for (index, found) in all.iter().enumerate() {
        assert_eq!(snapshot.evidence_at(index).unwrap().as_ref(), Some(found));
    }
    assert_eq!(snapshot.evidence_at(all.len()).unwrap(), None);
    let again = tree.persist(&writes[..1]).unwrap_err();
    assert!(
        matches!(again, StorageError::Inconsistent { .. }),
        "{again}"
    );
}

#[test]
fn damaged_evidence_is_named_and_stops_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (mut tree, _) = open(path);
    tree.persist(&[Write::KeepEvidence(evidence(1, 3, 0))])
        .unwrap();
    drop(tree);
    let (key, whole) = raw::dump(path, Some("evidence")).pop_first().unwrap();
    raw::put_into(path, Some("evidence"), [(&*key, Some(&whole[1..]))]);
    let (tree, durable) = open(path);
    assert_eq!(durable.offences.len(), 1);
    let error = tree
        .reader()
        .snapshot()
        .unwrap()
        .evidence_at(0)
        .unwrap_err();
    assert!(error.to_string().contains("evidence 0"), "{error}");
    drop(tree);
    let mut other_kind = key.clone();
    other_kind[40] = 9;
    for wrong in [&key[..40], &[&key[..], &[0]].concat(), &other_kind] {
        raw::put_into(path, Some("evidence"), [(wrong, Some(&whole[..]))]);
        let error = BlockTree::open(&options(path), &genesis()).unwrap_err();
        assert!(error.to_string().contains("key of evidence"), "{error}");
        raw::put_into(path, Some("evidence"), [(wrong, None)]);
    }
}
