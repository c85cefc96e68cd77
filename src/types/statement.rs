//! What a key signs: fixed-width, little-endian, one SHA-256 digest, a tag of its own for each
//! kind. So no signature can be replayed as another statement, on another chain or in another
//! epoch. A tag is padded to [`TAG_BYTES`]: no tag is the beginning of another.

use super::crypto::sha256;
use super::{Epoch, GenesisHash, StatementDigest, TimeoutStatement, ViewNumber, VoteStatement};

const TAG_BYTES: usize = 24;

const fn tag(name: &str) -> [u8; TAG_BYTES] {
    let mut tag = [0; TAG_BYTES];
    let mut i = 0;
    while i < name.len() {
        tag[i] = name.as_bytes()[i];
        i += 1;
    }
    tag
}

pub(super) const TAG_GENESIS: [u8; TAG_BYTES] = tag("hotstuff/1 genesis");
pub(super) const TAG_BLOCK: [u8; TAG_BYTES] = tag("hotstuff/1 block");
const TAG_VOTE: [u8; TAG_BYTES] = tag("hotstuff/1 vote");
const TAG_TIMEOUT: [u8; TAG_BYTES] = tag("hotstuff/1 timeout");
const TAG_WAKE: [u8; TAG_BYTES] = tag("hotstuff/1 wake");

/// "My host has work": whoever leads `view_num`, propose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WakeStatement {
    pub epoch: Epoch,
    pub view_num: ViewNumber,
}

/// Everything that a validator's key ever signs for the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Statement {
    Vote(VoteStatement),
    Timeout(TimeoutStatement),
    Wake(WakeStatement),
}

impl Statement {
    /// What is signed.
    pub fn digest(&self, genesis: &GenesisHash) -> StatementDigest {
        let chain = genesis.as_bytes();
        StatementDigest(match self {
            Statement::Vote(vote) => sha256(&[
                &TAG_VOTE,
                chain,
                &vote.epoch.0.to_le_bytes(),
                &vote.view_num.0.to_le_bytes(),
                &[vote.phase.number()],
                &vote.justify_view.0.to_le_bytes(),
                vote.block_hash.as_bytes(),
            ]),
            Statement::Timeout(timeout) => sha256(&[
                &TAG_TIMEOUT,
                chain,
                &timeout.epoch.0.to_le_bytes(),
                &timeout.view_num.0.to_le_bytes(),
                &timeout.qc_view.0.to_le_bytes(),
            ]),
            Statement::Wake(wake) => sha256(&[
                &TAG_WAKE,
                chain,
                &wake.epoch.0.to_le_bytes(),
                &wake.view_num.0.to_le_bytes(),
            ]),
        })
    }

    /// The epoch whose validator set it is judged by.
    pub const fn epoch(&self) -> Epoch {
        match self {
            Statement::Vote(vote) => vote.epoch,
            Statement::Timeout(timeout) => timeout.epoch,
            Statement::Wake(wake) => wake.epoch,
        }
    }

    /// The view it speaks of.
    pub const fn view(&self) -> ViewNumber {
        match self {
            Statement::Vote(vote) => vote.view_num,
            Statement::Timeout(timeout) => timeout.view_num,
            Statement::Wake(wake) => wake.view_num,
        }
    }
}
