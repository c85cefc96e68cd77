//! One record of the database replaced by the input: it opens, or says why not; and whatever can be
//! read afterwards is an answer or an error.

use std::sync::OnceLock;

use hotstuff::algorithm::{Persist, Write};
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::block_tree::{BlockTree, StorageError};
use hotstuff::types::crypto::sha256;
use hotstuff::types::BlockHeight;
use tempfile::TempDir;

use super::Bytes;

#[path = "../../storage/chain.rs"]
mod chain;
#[path = "../../storage/raw.rs"]
mod raw;

use chain::{delete, evidence, genesis, options, set, timeout_certificate, vote, Made};

const KINDS_OF_EVIDENCE: usize = 3;

/// A key of a table, and what stands there.
type Record = (Option<&'static str>, Vec<u8>, Vec<u8>);

struct Prepared {
    directory: TempDir,
    records: Vec<Record>,
}

/// A tree in which every kind of record stands.
fn prepared() -> &'static Prepared {
    static PREPARED: OnceLock<Prepared> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (mut tree, _) = open(&directory).expect("a new directory");
        let mut chain = vec![Made::first(1, b"one", vec![set("a", "1"), delete("z")])];
        while chain.len() < 260 {
            let parent = chain.last().expect("it has a first");
            chain.push(parent.child(parent.view() + 1, b"data", vec![set("k", "v")]));
        }
        let (committed, pending) = chain.split_at(257);
        let mut writes: Vec<Write> = committed
            .iter()
            .flat_map(|made| [made.insert(), made.commit()])
            .collect();
        writes.extend(pending.iter().map(Made::insert));
        let last = chain.last().expect("it has a last");
        writes.push(Write::CastVote(vote(last.hash, last.view())));
        writes.push(Write::SetHighestQc(last.certificate()));
        writes.push(Write::SetHighestTc(timeout_certificate(
            261,
            last.certificate(),
        )));
        writes.extend((0..KINDS_OF_EVIDENCE).map(|kind| Write::KeepEvidence(evidence(1, 0, kind))));
        tree.persist(&writes).expect("they fit");
        drop(tree);
        let tables = [None].into_iter().chain(raw::TABLES.map(Some));
        let records = tables.flat_map(|table| {
            let dump = raw::dump(directory.path(), table).into_iter();
            dump.map(move |(key, value)| (table, key, value))
        });
        let records = records.collect();
        Prepared { directory, records }
    })
}

fn open(directory: &TempDir) -> Result<(BlockTree, hotstuff::algorithm::Durable), StorageError> {
    BlockTree::open(&options(directory.path()), &genesis())
}

/// The records, for inputs that change a little.
pub fn seeds() -> Vec<Vec<u8>> {
    let records = prepared().records.iter().enumerate();
    let places = |(place, (_, _, value)): (usize, &Record)| {
        let place = u16::try_from(place).expect("a few hundred").to_le_bytes();
        [0, 1].map(|seal| [&place[..], &[seal], value].concat())
    };
    records.flat_map(places).collect()
}

pub fn records(bytes: &[u8]) {
    let Prepared { directory, records } = prepared();
    let mut bytes = Bytes(bytes);
    let (table, key, before) = &records[usize::from(bytes.number()) % records.len()];
    let is_sealed = bytes.byte() % 2 == 1;
    let mut value = bytes.0.to_vec();
    if table.is_none() && is_sealed && value.len() > 32 {
        // A checksum that fits: what the fuzzer cannot guess, a liar could compute.
        let sum = sha256(&[key, &[0], &value[32..]]);
        value[..32].copy_from_slice(&sum);
    }
    let path = directory.path();
    raw::put_into(path, *table, [(key.as_slice(), Some(value.as_slice()))]);
    if let Ok((tree, durable)) = open(directory) {
        assert!(!durable.epochs.is_empty());
        read_all(&tree);
        drop(tree);
    }
    // Opening repairs a copy of the voting record, and so both of them may be new.
    let voting = |key: &[u8]| key.starts_with(b"voting.");
    let again = records
        .iter()
        .filter(|(t, k, _)| t == table && (k == key || voting(k)));
    let again = again.map(|(_, key, value)| (key.as_slice(), Some(value.as_slice())));
    raw::put_into(path, *table, again);
    assert!(!before.is_empty() || table.is_some());
}

/// Errors are answers, too.
fn read_all(tree: &BlockTree) {
    let Ok(snapshot) = tree.reader().snapshot() else {
        return;
    };
    let _ = snapshot.highest_qc();
    let _ = snapshot.validator_set();
    let _ = snapshot.state(b"a");
    for index in 0..=KINDS_OF_EVIDENCE {
        let _ = snapshot.evidence_at(index);
    }
    for height in [0, 1, 2, 128, 255, 256, 257, 258, 300, u64::MAX] {
        if let Ok(Some(hash)) = snapshot.hash_at(BlockHeight(height)) {
            let _ = snapshot.block(&hash);
        }
    }
}
