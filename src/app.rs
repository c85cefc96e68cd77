//! The app, as a replica sees it (floor 2): what is replicated.
//!
//! The app is a deterministic function of (block, state of its parent). It is called on a thread of
//! its own, one call at a time; a slow answer costs the view, never the replica.

use std::fmt;
use std::time::Duration;

use crate::proof::{CommitProof, EpochProof};
use crate::types::{
    Block, BlockHash, BlockHeight, Epoch, QuorumCertificate, StateUpdates, ValidatorSet,
    ValidatorSetUpdates, ViewNumber,
};

/// What is replicated.
pub trait App: Send {
    /// Makes the data of a block on top of `request.prev_block`.
    fn propose_block(&mut self, request: ProposeBlockRequest<'_>) -> ProposeBlockResponse;

    /// Judges a block, and says what it changes.
    fn validate_block(&mut self, request: ValidateBlockRequest<'_>) -> ValidateBlockResponse;
}

/// "You lead: is there work?" Asked while the votes for `prev_block` come in, or later. The block
/// may come to nothing; then the work is asked for again, on another block.
pub struct ProposeBlockRequest<'a> {
    /// The view that this replica leads.
    pub cur_view: ViewNumber,
    /// The block to build on; the genesis hash for the first.
    pub prev_block: BlockHash,
    /// How long it is, at least, until this replica gives the view up: a later answer is not used.
    /// A hint: the others' timers began at other times, and a block needs time to travel.
    pub budget: Duration,
    /// The state as of `prev_block`.
    pub block_tree: &'a dyn BlockTreeSnapshot,
}

/// The answer to [`ProposeBlockRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposeBlockResponse {
    /// A block with this data (not empty: empty blocks are the library's own).
    Block {
        data: Vec<u8>,
        state_updates: Option<StateUpdates>,
        validator_set_updates: Option<ValidatorSetUpdates>,
    },
    /// No work: ask again when notified, or when the chain has been idle for `max_idle`.
    Defer,
    /// A local failure: nothing is proposed in this view.
    Failed,
}

/// "Is this block right, and what does it change?"
pub struct ValidateBlockRequest<'a> {
    pub cur_view: ViewNumber,
    pub proposed_block: &'a Block,
    /// The state as of the block's parent.
    pub block_tree: &'a dyn BlockTreeSnapshot,
    /// The block is already certified: the replica is catching up.
    pub is_sync: bool,
}

/// The answer to [`ValidateBlockRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidateBlockResponse {
    Valid {
        state_updates: Option<StateUpdates>,
        validator_set_updates: Option<ValidatorSetUpdates>,
    },
    /// No correct leader proposes this.
    Invalid,
    /// A local failure: no vote, and nothing is held against the leader.
    Undecided,
}

/// The storage could not be read; the text says what and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError(pub String);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReadError {}

/// A consistent view of the chain, and of the app's state as of one block.
///
/// # Errors
/// All functions: [`ReadError`] when the storage fails. Absence is `None`.
pub trait BlockTreeSnapshot {
    /// The value of `key` in the app's state.
    fn state(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;
    /// A block by its hash, committed or not.
    fn block(&self, hash: &BlockHash) -> Result<Option<Block>, ReadError>;
    /// The hash of the committed block at `height`.
    fn hash_at(&self, height: BlockHeight) -> Result<Option<BlockHash>, ReadError>;
    /// The height of the committed chain; 0 when there is only the genesis.
    fn committed_height(&self) -> Result<BlockHeight, ReadError>;
    /// The certificate of highest rank.
    fn highest_qc(&self) -> Result<QuorumCertificate, ReadError>;
    /// The current epoch.
    fn epoch(&self) -> Result<Epoch, ReadError>;
    /// The validators of the current epoch.
    fn validator_set(&self) -> Result<ValidatorSet, ReadError>;
    /// The validators of `epoch`, if it has begun.
    fn validator_set_of(&self, epoch: Epoch) -> Result<Option<ValidatorSet>, ReadError>;
    /// The certificate that ended the epoch before `epoch`: who has that epoch's validators can
    /// verify those of this one with it. None for epoch 0, and if it has not begun.
    fn commit_qc_of(&self, epoch: Epoch) -> Result<Option<QuorumCertificate>, ReadError>;
    /// The proof that a block is committed, for those who know the validators of its epoch. None if
    /// it is not, or if its certificates are not here yet: the next commit brings others.
    fn commit_proof(&self, hash: &BlockHash) -> Result<Option<CommitProof>, ReadError>;
    /// The proof of who validates after `epoch`, for those who know who does in it. None if it has
    /// not ended.
    fn epoch_proof(&self, epoch: Epoch) -> Result<Option<EpochProof>, ReadError>;
}
