//! Values of every wire type from a seed, in a way that any language can repeat: README.md is the
//! description, check.py the second implementation.

use std::collections::{BTreeMap, BTreeSet};

use hotstuff::algorithm::{EpochRecord, StoredProposal, VotingRecord};
use hotstuff::evidence::{Contradiction, Evidence, Signed};
use hotstuff::messages::*;
use hotstuff::proof::{CommitProof, EpochProof};
use hotstuff::types::*;
use serde_bytes::ByteBuf;

/// SplitMix64 (Steele, Lea and Flood, 2014), and what is drawn from it.
pub struct Generator(pub u64);

impl Generator {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// Of any length in bits.
    fn number(&mut self) -> u64 {
        match self.below(65) {
            0 => 0,
            bits => self.draw() >> (64 - bits),
        }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let word = self.draw().to_le_bytes();
        std::array::from_fn(|at| word[at % 8])
    }

    fn text(&mut self, least: u64, most: u64) -> Vec<u8> {
        let length = least + self.below(most - least + 1);
        let word = self.draw().to_le_bytes();
        (0..length as usize).map(|at| word[at % 8]).collect()
    }

    fn option<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 1).then(|| some(self))
    }

    fn list<T>(&mut self, most: u64, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(most + 1);
        (0..count).map(|_| item(self)).collect()
    }

    fn signature(&mut self) -> Signature {
        Signature(self.bytes())
    }

    fn address(&mut self) -> ValidatorAddress {
        ValidatorAddress(self.bytes())
    }

    fn block_hash(&mut self) -> BlockHash {
        BlockHash(self.bytes())
    }

    fn epoch(&mut self) -> Epoch {
        Epoch(self.number())
    }

    fn view(&mut self) -> ViewNumber {
        ViewNumber(self.number())
    }

    fn phase(&mut self) -> Phase {
        match self.below(4) {
            0 => Phase::Generic,
            1 => Phase::Prepare,
            2 => Phase::Precommit,
            _ => Phase::Commit,
        }
    }

    pub fn vote_statement(&mut self) -> VoteStatement {
        VoteStatement {
            epoch: self.epoch(),
            view_num: self.view(),
            justify_view: self.view(),
            block_hash: self.block_hash(),
            phase: self.phase(),
        }
    }

    pub fn quorum_certificate(&mut self) -> QuorumCertificate {
        QuorumCertificate {
            epoch: self.epoch(),
            view_num: self.view(),
            justify_view: self.view(),
            block_hash: self.block_hash(),
            phase: self.phase(),
            signatures: self.list(4, |g| g.option(Self::signature)),
        }
    }

    pub fn timeout_certificate(&mut self) -> TimeoutCertificate {
        TimeoutCertificate {
            epoch: self.epoch(),
            view_num: self.view(),
            highest_qc: self.quorum_certificate(),
            signatures: self.list(4, |g| g.option(|g| (g.view(), g.signature()))),
        }
    }

    pub fn validator_set_update(&mut self) -> ValidatorSetUpdate {
        ValidatorSetUpdate {
            validator: self.address(),
            power: self.number(),
        }
    }

    pub fn header(&mut self) -> BlockHeader {
        BlockHeader {
            height: BlockHeight(self.number()),
            epoch: self.epoch(),
            view: self.view(),
            justify: self.quorum_certificate(),
            data_hash: DataHash(self.bytes()),
            validator_set_updates: self.option(|g| g.list(3, Self::validator_set_update)),
        }
    }

    pub fn block(&mut self) -> Block {
        Block {
            header: self.header(),
            data: Data::new(self.text(0, 200)),
        }
    }

    pub fn vote(&mut self) -> Vote {
        Vote {
            statement: self.vote_statement(),
            voter: self.address(),
            signature: self.signature(),
        }
    }

    pub fn propose(&mut self) -> Propose {
        Propose {
            block: self.block(),
            vote: self.vote(),
            timeout_certificate: self.option(Self::timeout_certificate),
        }
    }

    pub fn nudge(&mut self) -> Nudge {
        Nudge {
            view_num: self.view(),
            justify: self.quorum_certificate(),
            vote: self.vote(),
            timeout_certificate: self.option(Self::timeout_certificate),
        }
    }

    pub fn timeout_vote(&mut self) -> TimeoutVote {
        TimeoutVote {
            epoch: self.epoch(),
            view_num: self.view(),
            highest_qc: self.quorum_certificate(),
            last_vote: self.option(Self::vote),
            validator: self.address(),
            signature: self.signature(),
        }
    }

    pub fn certificate(&mut self) -> Certificate {
        match self.below(2) {
            0 => Certificate::Quorum(self.quorum_certificate()),
            _ => Certificate::Timeout(self.timeout_certificate()),
        }
    }

    pub fn wake(&mut self) -> Wake {
        Wake {
            epoch: self.epoch(),
            view_num: self.view(),
            validator: self.address(),
            signature: self.signature(),
        }
    }

    pub fn sync_request(&mut self) -> SyncRequest {
        SyncRequest {
            highest_committed_block: self.block_hash(),
            limit: self.number() as u32,
            wanted: self.option(Self::block_hash),
        }
    }

    pub fn sync_response(&mut self) -> SyncResponse {
        SyncResponse {
            highest_committed_block: self.block_hash(),
            blocks: self.list(2, Self::block),
            tail_qcs: self.list(4, Self::quorum_certificate),
        }
    }

    pub fn progress(&mut self) -> ProgressMessage {
        match self.below(6) {
            0 => ProgressMessage::Propose(self.propose()),
            1 => ProgressMessage::Nudge(self.nudge()),
            2 => ProgressMessage::Vote(self.vote()),
            3 => ProgressMessage::TimeoutVote(self.timeout_vote()),
            4 => ProgressMessage::AdvanceView(self.certificate()),
            _ => ProgressMessage::Wake(self.wake()),
        }
    }

    pub fn message(&mut self) -> Message {
        match self.below(3) {
            0 => Message::Sync(SyncMessage::Request(self.sync_request())),
            1 => Message::Sync(SyncMessage::Response(self.sync_response())),
            _ => Message::Progress(self.progress()),
        }
    }

    pub fn validator_set(&mut self) -> ValidatorSet {
        let count = 1 + self.below(8);
        let mut taken = BTreeSet::new();
        let mut members = Vec::new();
        for _ in 0..count {
            let (address, power) = (self.address(), 1 + (self.number() >> 8));
            if taken.insert(address) {
                members.push(Validator { address, power });
            }
        }
        ValidatorSet::new(members).expect("a few of less than 2^56 each")
    }

    pub fn genesis(&mut self) -> Genesis {
        let chain_id = ChainId(self.number());
        let validator_set = self.validator_set();
        let state = self.list(3, |g| (g.text(1, 20), g.text(0, 20)));
        let bytes = |bytes: Vec<u8>| ByteBuf::from(bytes);
        let app_state: BTreeMap<ByteBuf, ByteBuf> = state
            .into_iter()
            .map(|(key, value)| (bytes(key), bytes(value)))
            .collect();
        let parameters = ChainParameters {
            commit_rule: match self.below(2) {
                0 => CommitRule::ThreeChain,
                _ => CommitRule::TwoChain,
            },
            leader_rule: match self.below(2) {
                0 => LeaderRule::RoundRobin,
                _ => LeaderRule::Active,
            },
            max_idle_ms: self.number() as u32,
            block_data_bytes_max: self.number(),
        };
        Genesis {
            chain_id,
            validator_set,
            app_state,
            parameters,
        }
    }

    pub fn state_update(&mut self) -> StateUpdate {
        match self.below(2) {
            0 => StateUpdate::Set {
                key: self.text(1, 20),
                value: self.text(0, 200),
            },
            _ => StateUpdate::Delete {
                key: self.text(1, 20),
            },
        }
    }

    pub fn stored_proposal(&mut self) -> StoredProposal {
        StoredProposal {
            block: self.block_hash(),
            nudge: self.option(Self::quorum_certificate),
            vote: self.vote_statement(),
            timeout_certificate: self.option(Self::timeout_certificate),
        }
    }

    pub fn voting_record(&mut self) -> VotingRecord {
        VotingRecord {
            voted: self.option(Self::vote_statement),
            timed_out: self.option(|g| (g.epoch(), g.view())),
            proposal: self.option(Self::stored_proposal),
        }
    }

    pub fn epoch_record(&mut self) -> EpochRecord {
        EpochRecord {
            epoch: self.epoch(),
            validator_set: self.validator_set(),
            commit_qc: self.option(Self::quorum_certificate),
        }
    }

    pub fn evidence(&mut self) -> Evidence {
        let validator = self.address();
        let contradiction = match self.below(3) {
            0 => Contradiction::DoubleVote {
                first: self.signed(Self::vote_statement),
                second: self.signed(Self::vote_statement),
            },
            1 => Contradiction::DoubleProposal {
                first: Box::new(self.signed(Self::header)),
                second: Box::new(self.signed(Self::header)),
            },
            _ => Contradiction::LyingTimeout {
                timeout: self.signed(Self::timeout_statement),
                vote: self.signed(Self::vote_statement),
            },
        };
        Evidence {
            validator,
            contradiction,
        }
    }

    pub fn commit_proof(&mut self) -> CommitProof {
        CommitProof {
            headers: self.list(3, Self::header),
            certificate: self.quorum_certificate(),
        }
    }

    pub fn epoch_proof(&mut self) -> EpochProof {
        EpochProof {
            header: self.header(),
            commit_qc: self.quorum_certificate(),
        }
    }

    fn signed<S>(&mut self, statement: impl FnOnce(&mut Self) -> S) -> Signed<S> {
        Signed {
            statement: statement(self),
            signature: self.signature(),
        }
    }

    fn timeout_statement(&mut self) -> TimeoutStatement {
        TimeoutStatement {
            epoch: self.epoch(),
            view_num: self.view(),
            qc_view: self.view(),
        }
    }

    /// What is signed for a statement, on the chain of a genesis.
    fn digest(&mut self) -> Vec<u8> {
        let genesis = GenesisHash(self.bytes());
        let statement = match self.below(3) {
            0 => Statement::Vote(self.vote_statement()),
            1 => Statement::Timeout(self.timeout_statement()),
            _ => Statement::Wake(WakeStatement {
                epoch: self.epoch(),
                view_num: self.view(),
            }),
        };
        statement.digest(&genesis).0.to_vec()
    }

    fn block_name(&mut self) -> Vec<u8> {
        let genesis = GenesisHash(self.bytes());
        self.block().hash(&genesis).0.to_vec()
    }
}

/// The bytes of one value.
pub type Make = fn(&mut Generator) -> Vec<u8>;

/// Every type that travels or is hashed. The generator of a type begins with its place here, from
/// 1: append, do not insert.
pub const TYPES: &[(&str, Make)] = &[
    ("VoteStatement", |g| codec::encode(&g.vote_statement())),
    ("QuorumCertificate", |g| {
        codec::encode(&g.quorum_certificate())
    }),
    ("TimeoutCertificate", |g| {
        codec::encode(&g.timeout_certificate())
    }),
    ("Block", |g| codec::encode(&g.block())),
    ("Vote", |g| codec::encode(&g.vote())),
    ("Propose", |g| codec::encode(&g.propose())),
    ("Nudge", |g| codec::encode(&g.nudge())),
    ("TimeoutVote", |g| codec::encode(&g.timeout_vote())),
    ("Certificate", |g| codec::encode(&g.certificate())),
    ("Wake", |g| codec::encode(&g.wake())),
    ("SyncRequest", |g| codec::encode(&g.sync_request())),
    ("SyncResponse", |g| codec::encode(&g.sync_response())),
    ("Message", |g| codec::encode(&g.message())),
    ("ValidatorSet", |g| codec::encode(&g.validator_set())),
    ("Genesis", |g| codec::encode(&g.genesis())),
    ("StateUpdate", |g| codec::encode(&g.state_update())),
    ("VotingRecord", |g| codec::encode(&g.voting_record())),
    ("EpochRecord", |g| codec::encode(&g.epoch_record())),
    ("digest of a statement", Generator::digest),
    ("hash of a block", Generator::block_name),
    ("hash of a genesis", |g| g.genesis().hash().0.to_vec()),
    ("Evidence", |g| codec::encode(&g.evidence())),
    ("CommitProof", |g| codec::encode(&g.commit_proof())),
    ("EpochProof", |g| codec::encode(&g.epoch_proof())),
];

/// The generator of the type at `place` of [`TYPES`].
pub fn of_type(place: usize) -> Generator {
    Generator(place as u64 + 1)
}
