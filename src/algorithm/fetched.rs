//! What was fetched and is not yet judged. Its size is asked for after each block that is judged,
//! so it is kept, and not added up.

use std::collections::VecDeque;

use crate::types::{Block, BlockHash};

/// Blocks with their hashes, parents first; the last one is certified.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    blocks: VecDeque<(BlockHash, Block)>,
    bytes: usize,
    updates: usize,
}

impl Fetched {
    pub(super) fn extend(&mut self, blocks: impl IntoIterator<Item = (BlockHash, Block)>) {
        for (hash, block) in blocks {
            self.bytes += weight(&block);
            self.updates += usize::from(is_update(&block));
            self.blocks.push_back((hash, block));
        }
    }

    pub(super) fn take_first(&mut self) -> Option<(BlockHash, Block)> {
        let (hash, block) = self.blocks.pop_front()?;
        self.bytes -= weight(&block);
        self.updates -= usize::from(is_update(&block));
        Some((hash, block))
    }

    pub(super) fn first(&self) -> Option<(&BlockHash, &Block)> {
        self.blocks.front().map(|(hash, block)| (hash, block))
    }

    pub(super) fn last(&self) -> Option<(&BlockHash, &Block)> {
        self.blocks.back().map(|(hash, block)| (hash, block))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&BlockHash, &Block)> + Clone {
        self.blocks.iter().map(|(hash, block)| (hash, block))
    }

    /// What they take in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether one of them updates the validator set.
    pub(super) fn has_update(&self) -> bool {
        self.updates > 0
    }
}

/// What a block takes in memory, roughly.
pub(super) fn weight(block: &Block) -> usize {
    let signatures = &block.header.justify.signatures;
    block.data.len() + std::mem::size_of_val(signatures.as_slice())
}

/// Whether a block updates the validator set.
pub(super) fn is_update(block: &Block) -> bool {
    block.header.validator_set_updates.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BlockHeader, BlockHeight, Data, Epoch, GenesisHash, QuorumCertificate};
    use crate::types::{ValidatorSetUpdates, ViewNumber};

    #[test]
    fn what_is_kept_is_what_adding_up_gives() {
        let block = |bytes: usize, updates: Option<ValidatorSetUpdates>| {
            let data = Data::new(vec![0; bytes]);
            let header = BlockHeader {
                height: BlockHeight(bytes as u64),
                epoch: Epoch(0),
                view: ViewNumber(1),
                justify: QuorumCertificate::genesis(GenesisHash([0; 32])),
                data_hash: data.hash(),
                validator_set_updates: updates,
            };
            let hash = BlockHash([bytes as u8; 32]);
            (hash, Block { header, data })
        };
        let check = |fetched: &Fetched| {
            let blocks = || fetched.iter().map(|(_, block)| block);
            assert_eq!(fetched.bytes(), blocks().map(weight).sum::<usize>());
            assert_eq!(fetched.has_update(), blocks().any(is_update));
        };
        let mut fetched = Fetched::default();
        fetched.extend([block(1, None), block(2, Some(Vec::new()))]);
        fetched.extend([block(3, None)]);
        let ends = |fetched: &Fetched| {
            let height = |(_, block): (&BlockHash, &Block)| block.header.height.0;
            (fetched.first().map(height), fetched.last().map(height))
        };
        assert_eq!(ends(&fetched), (Some(1), Some(3)));
        for left in [2, 1, 0] {
            check(&fetched);
            fetched.take_first().expect("one is left");
            assert_eq!(fetched.iter().count(), left);
        }
        check(&fetched);
        assert_eq!(ends(&fetched), (None, None));
        assert!(fetched.take_first().is_none() && fetched.bytes() == 0);
    }
}
