//! A long chain, made by the four validators' keys and not by their replicas: it takes seconds
//! instead of minutes.

use hotstuff::algorithm::{Persist, Write};
use hotstuff::block_tree::BlockTree;
use hotstuff::messages::{SyncRequest, SyncResponse};
use hotstuff::types::limits::BLOCKS_PER_RESPONSE_MAX;
use hotstuff::types::*;

use crate::cluster::{Cluster, COUNT};

/// Writes of one transaction.
const WRITES_MAX: usize = 1_000;

/// Blocks in consecutive views, each certified by the next; the last by `highest_qc`.
pub struct Chain {
    pub blocks: Vec<(BlockHash, Block)>,
    pub highest_qc: QuorumCertificate,
    /// What the app has counted to.
    pub count: u64,
    updates: Vec<StateUpdates>,
}

impl Chain {
    /// `length` blocks; every `data_every`-th counts on, and has so much `padding`. Replica
    /// `absent` has signed none of them: it may begin without its voting record.
    pub fn new(
        cluster: &Cluster,
        absent: Option<usize>,
        length: u64,
        data_every: Option<u64>,
        padding: usize,
    ) -> Chain {
        let genesis = cluster.genesis.hash();
        let mut chain = Chain {
            blocks: Vec::new(),
            highest_qc: QuorumCertificate::genesis(genesis),
            count: 0,
            updates: Vec::new(),
        };
        for height in 1..=length {
            let has_data = data_every.is_some_and(|every| height % every == 0);
            chain.count += u64::from(has_data);
            let count = chain.count;
            let data = match has_data {
                true => [&count.to_le_bytes()[..], &vec![0; padding]].concat(),
                false => vec![],
            };
            let update = StateUpdate::Set {
                key: COUNT.to_vec(),
                value: count.to_le_bytes().to_vec(),
            };
            chain
                .updates
                .push(has_data.then_some(update).into_iter().collect());
            let data = Data::new(data);
            let header = BlockHeader {
                height: BlockHeight(height),
                epoch: Epoch(0),
                view: ViewNumber(height),
                justify: chain.highest_qc,
                data_hash: data.hash(),
                validator_set_updates: None,
            };
            let hash = header.hash(&genesis);
            chain.highest_qc = certificate(cluster, absent, hash, height);
            chain.blocks.push((hash, Block { header, data }));
        }
        chain
    }

    /// The height that the last certificate makes final.
    pub fn committed(&self) -> u64 {
        self.blocks.len() as u64 - 2
    }

    /// The true answer to a request: what follows, with the certificate of its last block.
    pub fn answer(&self, request: &SyncRequest) -> SyncResponse {
        let after = &request.highest_committed_block;
        let first = self.blocks.iter().position(|(hash, _)| hash == after);
        let first = first.map_or(0, |index| index + 1);
        let limit = (request.limit as usize).min(BLOCKS_PER_RESPONSE_MAX);
        let end = (first + limit).min(self.blocks.len());
        let next = self.blocks.get(end).map(|(_, next)| &next.header.justify);
        let blocks = self.blocks[first..end].iter();
        SyncResponse {
            highest_committed_block: *after,
            blocks: blocks.map(|(_, block)| block.clone()).collect(),
            tail_qcs: vec![next.unwrap_or(&self.highest_qc).clone()],
        }
    }

    /// Puts the chain into the directory of replica `i`, which does not run.
    pub fn write(&self, cluster: &Cluster, i: usize) {
        let config = cluster.config(i);
        let (mut tree, _) = BlockTree::open(&config.storage, &config.genesis).unwrap();
        let mut writes = Vec::new();
        for ((hash, block), state_updates) in self.blocks.iter().zip(&self.updates) {
            let height = block.header.height;
            writes.push(Write::InsertBlock {
                hash: *hash,
                block: block.clone(),
                state_updates: state_updates.clone(),
            });
            if height.0 <= self.committed() {
                writes.push(Write::CommitBlock {
                    hash: *hash,
                    height,
                });
            }
            if writes.len() > WRITES_MAX {
                tree.persist(&writes).unwrap();
                writes.clear();
            }
        }
        // Its own vote is in the certificates: what has signed them must remember it.
        writes.push(Write::CastVote(self.highest_qc.statement()));
        writes.push(Write::SetHighestQc(self.highest_qc.clone()));
        tree.persist(&writes).unwrap();
    }
}

/// The certificate of a block in `view`, by all validators but the one that is `absent`.
fn certificate(
    cluster: &Cluster,
    absent: Option<usize>,
    block_hash: BlockHash,
    view: u64,
) -> QuorumCertificate {
    let statement = VoteStatement {
        epoch: Epoch(0),
        view_num: ViewNumber(view),
        justify_view: ViewNumber(view - 1),
        block_hash,
        phase: Phase::Generic,
    };
    let digest = Statement::Vote(statement).digest(&cluster.genesis.hash());
    let mut keys: Vec<&KeyPair> = cluster.keys.iter().collect();
    keys.sort_by_key(|key| key.address());
    let absent = absent.map(|i| cluster.address(i));
    let sign = |key: &&KeyPair| (Some(key.address()) != absent).then(|| key.sign(&digest));
    QuorumCertificate::new(statement, keys.iter().map(sign).collect())
}
