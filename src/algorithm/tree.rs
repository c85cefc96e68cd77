//! The uncommitted blocks, without their data, and the end of the committed chain they grow from.
//!
//! Every pending block descends from the committed head, was judged `Valid`, and is on disk.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{BlockHash, BlockHeader, BlockHeight, CommitRule, QuorumCertificate, Rank};

use super::{CommittedHead, PendingBlock};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    head: CommittedHead,
    pending: BTreeMap<BlockHash, PendingBlock>,
    /// The data of all pending blocks together, in bytes.
    bytes: u64,
}

impl Tree {
    pub(super) fn new(head: CommittedHead, pending: Vec<PendingBlock>) -> Tree {
        let bytes = pending.iter().map(|block| block.data_bytes).sum();
        let pending = pending
            .into_iter()
            .map(|block| (block.hash, block))
            .collect();
        Tree {
            head,
            pending,
            bytes,
        }
    }

    pub(super) fn head(&self) -> CommittedHead {
        self.head
    }

    /// Whether the block and all its ancestors are stored and judged `Valid`, and it is not below
    /// the committed head.
    pub(super) fn knows(&self, hash: &BlockHash) -> bool {
        *hash == self.head.hash || self.pending.contains_key(hash)
    }

    /// Height and rank of a known block.
    pub(super) fn place(&self, hash: &BlockHash) -> Option<(BlockHeight, Rank)> {
        if *hash == self.head.hash {
            return Some((self.head.height, self.head.rank));
        }
        self.pending
            .get(hash)
            .map(|block| (block.header.height, block.header.rank()))
    }

    /// The header of a pending block.
    pub(super) fn header(&self, hash: &BlockHash) -> Option<&BlockHeader> {
        self.pending.get(hash).map(|block| &block.header)
    }

    pub(super) fn blocks(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a block with data waits for its commit.
    pub(super) fn data_awaits_commit(&self) -> bool {
        self.bytes > 0
    }

    pub(super) fn insert(&mut self, block: PendingBlock) {
        assert!(
            self.knows(&block.header.parent()),
            "a block is inserted after its parent"
        );
        self.bytes += block.data_bytes;
        self.pending.insert(block.hash, block);
    }

    /// The highest block that `qc` makes final by `rule`, if any is pending: it heads a chain of
    /// certificates in consecutive views, each of its block's own view. (So a nudge's certificate
    /// makes nothing final but by its phase Commit, which is not judged here.)
    /// HotStuff (PODC 2019) algorithm 3, DECIDE; Jolteon (arXiv 2106.10362) Fig. 2, commit rule.
    pub(super) fn made_final_by(
        &self,
        qc: &QuorumCertificate,
        rule: CommitRule,
    ) -> Option<BlockHash> {
        let mut certificate = qc;
        let links = match rule {
            CommitRule::TwoChain => 1,
            CommitRule::ThreeChain => 2,
        };
        for _ in 0..links {
            let header = &self.pending.get(&certificate.block_hash)?.header;
            let of_its_own_view = header.rank() == certificate.rank();
            let next = &header.justify;
            let consecutive =
                next.epoch == certificate.epoch && next.view_num.next() == certificate.view_num;
            if !of_its_own_view || !consecutive {
                return None;
            }
            certificate = next;
        }
        let first = self.pending.get(&certificate.block_hash)?;
        (first.header.rank() == certificate.rank()).then_some(first.hash)
    }

    /// Commits `hash` and its ancestors. What was committed, lowest first, and what conflicts with
    /// it and is forgotten.
    pub(super) fn commit(&mut self, hash: BlockHash) -> (Vec<PendingBlock>, Vec<BlockHash>) {
        let mut path = Vec::new();
        let mut cursor = hash;
        while let Some(block) = self.pending.remove(&cursor) {
            self.bytes -= block.data_bytes;
            cursor = block.header.parent();
            path.push(block);
        }
        // agreement: every pending block descends from the head, so every path ends there.
        assert_eq!(
            cursor, self.head.hash,
            "a committed block extends the committed chain"
        );
        path.reverse();
        let last = path.last().expect("the committed block was pending");
        self.head = CommittedHead {
            hash: last.hash,
            height: last.header.height,
            rank: last.header.rank(),
        };
        let kept = self.descendants(self.head.hash);
        let dropped = self.retain(|hash| kept.contains(hash));
        (path, dropped)
    }

    /// Forgets the branches that neither lead to `tip` nor grow from it; `keep` stays.
    pub(super) fn drop_side_branches(&mut self, tip: BlockHash, keep: BlockHash) -> Vec<BlockHash> {
        let mut kept = self.descendants(tip);
        for leaf in [tip, keep] {
            let mut cursor = leaf;
            while let Some(block) = self.pending.get(&cursor) {
                kept.insert(cursor);
                cursor = block.header.parent();
            }
        }
        self.retain(|hash| kept.contains(hash))
    }

    /// All pending blocks above `root`. Parents have smaller heights: one pass in their order.
    fn descendants(&self, root: BlockHash) -> BTreeSet<BlockHash> {
        let mut found = BTreeSet::from([root]);
        for block in self.by_height() {
            if found.contains(&block.header.parent()) {
                found.insert(block.hash);
            }
        }
        found
    }

    fn retain(&mut self, keep: impl Fn(&BlockHash) -> bool) -> Vec<BlockHash> {
        let gone: Vec<BlockHash> = self
            .pending
            .keys()
            .filter(|hash| !keep(hash))
            .copied()
            .collect();
        for hash in &gone {
            let block = self.pending.remove(hash).expect("it was just listed");
            self.bytes -= block.data_bytes;
        }
        gone
    }

    fn by_height(&self) -> Vec<&PendingBlock> {
        let mut blocks: Vec<&PendingBlock> = self.pending.values().collect();
        blocks.sort_by_key(|block| (block.header.height, block.hash));
        blocks
    }

    /// The pending blocks by (height, hash): each after its parent.
    pub(super) fn pending(&self) -> Vec<PendingBlock> {
        self.by_height().into_iter().cloned().collect()
    }
}
