//! From a committed block's hash to its height.
//!
//! A table keyed by hash would be entered at a random place by each commit: three or four more
//! pages to write, of some ten. So committed hashes are indexed in *runs*: whenever the chain has
//! grown by [`RUN`] blocks, one sorted array of their hashes' first bytes is written; [`RUNS`] such
//! runs are merged into a long one. A lookup searches each run: of a chain of a million blocks, at
//! most 15 long and 256 short ones.
//!
//! Entries hold eight bytes of the hash. Two blocks may be made to share them; so an entry is a
//! hint, and the header that it leads to is what counts.

use lmdb::{RwTransaction, Transaction, WriteFlags};

use crate::types::{BlockHash, BlockHeight};

use super::tables::{Found, Reads};
use super::{Shared, StorageError};

/// Blocks in a short run.
pub(super) const RUN: u64 = 256;
/// Short runs in a long run, whose heights then just fit in two bytes.
pub(super) const RUNS: u64 = 256;
const LONG_RUN: u64 = RUN * RUNS;

const PREFIX_BYTES: usize = 8;
const ENTRY_BYTES: usize = PREFIX_BYTES + 2;

/// The height up to which the hashes of a chain that ends at `head` are in runs.
pub(super) fn indexed_to(head: BlockHeight) -> BlockHeight {
    BlockHeight(head.0 - head.0 % RUN)
}

/// The first heights of all runs of a chain of which `indexed` blocks are in runs; newest first.
fn runs(indexed: BlockHeight) -> impl Iterator<Item = BlockHeight> {
    let long_runs = indexed.0 / LONG_RUN;
    let short = (long_runs * RUNS..indexed.0 / RUN)
        .rev()
        .map(|run| run * RUN + 1);
    let long = (0..long_runs).rev().map(|run| run * LONG_RUN + 1);
    short.chain(long).map(BlockHeight)
}

/// The committed block `hash`, if it is in a run.
pub(super) fn locate<'txn, T: Transaction>(
    reads: &Reads<'txn, T>,
    hash: &BlockHash,
    indexed: BlockHeight,
) -> Result<Option<Found<'txn>>, StorageError> {
    for first in runs(indexed) {
        let run = Run::read(reads, first)?;
        for height in run.hints(hash) {
            let found = reads.committed_at(height)?;
            if let Some(found) = found.filter(|found| found.hash() == *hash) {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// Writes the run that ends at `head`, if one does; every height up to it is committed.
/// Returns the bytes written.
pub(super) fn extend(
    txn: &mut RwTransaction<'_>,
    shared: &Shared,
    head: BlockHeight,
) -> Result<usize, StorageError> {
    if head.0 % RUN != 0 {
        return Ok(0);
    }
    let reads = Reads::new(&*txn, shared);
    let mut entries = new_entries(&reads, head)?;
    let mut first = BlockHeight(head.0 - RUN + 1);
    let merged: Vec<BlockHeight> = match head.0 % LONG_RUN {
        0 => runs(BlockHeight(head.0 - RUN))
            .take(RUNS as usize - 1)
            .collect(),
        _ => Vec::new(),
    };
    for short in &merged {
        entries.extend(Run::read(&reads, *short)?.entries());
        first = *short;
    }
    entries.sort_unstable();
    let fail = |error| shared.fail("writing a run of hashes", error);
    let hashes = shared.tables.hashes;
    for short in merged {
        txn.del(hashes, &short.0.to_be_bytes(), None)
            .map_err(fail)?;
    }
    let bytes: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry.bytes(first))
        .collect();
    txn.put(hashes, &first.0.to_be_bytes(), &bytes, WriteFlags::empty())
        .map_err(fail)?;
    Ok(bytes.len())
}

/// The entries of the last `RUN` blocks up to `head`.
fn new_entries<T: Transaction>(
    reads: &Reads<'_, T>,
    head: BlockHeight,
) -> Result<Vec<Entry>, StorageError> {
    let heights = (head.0 - RUN + 1..=head.0).map(BlockHeight);
    heights
        .map(|height| {
            let found = reads.committed_at(height)?.ok_or_else(|| {
                StorageError::corrupt(format!("block at height {height}"), "it is missing")
            })?;
            Ok(Entry {
                prefix: prefix(&found.hash()),
                height,
            })
        })
        .collect()
}

/// "A hash that begins so may be the one at this height."
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    prefix: [u8; PREFIX_BYTES],
    height: BlockHeight,
}

impl Entry {
    fn bytes(&self, first: BlockHeight) -> [u8; ENTRY_BYTES] {
        let distance = u16::try_from(self.height.0 - first.0).expect("a run has 2^16 blocks");
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..PREFIX_BYTES].copy_from_slice(&self.prefix);
        bytes[PREFIX_BYTES..].copy_from_slice(&distance.to_be_bytes());
        bytes
    }
}

fn prefix(hash: &BlockHash) -> [u8; PREFIX_BYTES] {
    *hash.0.first_chunk().expect("a hash has 32 bytes")
}

/// A run, where it lies in the map.
struct Run<'txn> {
    first: BlockHeight,
    bytes: &'txn [u8],
}

impl<'txn> Run<'txn> {
    fn read<T: Transaction>(
        reads: &Reads<'txn, T>,
        first: BlockHeight,
    ) -> Result<Self, StorageError> {
        let corrupt =
            |why| StorageError::corrupt(format!("run of hashes from height {first}"), why);
        let bytes = reads.get(reads.tables().hashes, &first.0.to_be_bytes())?;
        let bytes = bytes.ok_or_else(|| corrupt("it is missing"))?;
        if bytes.len() % ENTRY_BYTES != 0 {
            return Err(corrupt("it is cut off"));
        }
        Ok(Run { first, bytes })
    }

    fn len(&self) -> usize {
        self.bytes.len() / ENTRY_BYTES
    }

    fn entry(&self, index: usize) -> Entry {
        let bytes = &self.bytes[index * ENTRY_BYTES..][..ENTRY_BYTES];
        let (prefix, distance) = bytes.split_first_chunk().expect("ten bytes");
        let distance = u16::from_be_bytes(distance.try_into().expect("two bytes"));
        Entry {
            prefix: *prefix,
            height: BlockHeight(self.first.0 + u64::from(distance)),
        }
    }

    fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// The heights at which `hash` may be.
    fn hints(&self, hash: &BlockHash) -> impl Iterator<Item = BlockHeight> + '_ {
        let wanted = prefix(hash);
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = (from + to) / 2;
            if self.entry(middle).prefix < wanted {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        let rest = (from..self.len()).map(|index| self.entry(index));
        rest.take_while(move |entry| entry.prefix == wanted)
            .map(|entry| entry.height)
    }
}
