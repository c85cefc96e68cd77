//! What four processes have said, sent and committed, before and after they were killed, against
//! the promises. Plain maps; the codec is the crate's, the rules are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hotstuff::messages::{Message, ProgressMessage, Propose, TimeoutVote, Vote};
use hotstuff::types::{
    codec, BlockHash, Epoch, GenesisHash, KeyPair, Rank, Statement, ValidatorAddress, ViewNumber,
    VoteStatement,
};

use crate::child;
use crate::wire::Said;

/// A broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// One vote of a key in a view.
    OneVote,
    /// One proposal of a key in a view.
    OneProposal,
    /// No vote in a view that the key has timed out.
    NoVoteAfterTimeout,
    /// A time-out names a certificate at least as high as what its key has voted on.
    HighestQcOnlyRises,
    /// What is sent is a message, and what is signed in it verifies.
    Wellformed,
    /// One block at a height.
    OneChain,
    /// What a replica has told its host is committed stays so.
    CommittedStays,
    /// A command is committed once, and only if a client has sent it.
    CommandsOnce,
    /// A replica comes back after a kill, and has nothing to complain about.
    ComesBack,
    /// All replicas commit more after a restart.
    GoesOn,
}

/// A broken promise, by whom and how.
#[derive(Clone, Debug)]
pub struct Violation {
    pub promise: Promise,
    pub replica: usize,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "replica {}: {:?}: {}",
            self.replica, self.promise, self.what
        )
    }
}

/// What one key has signed.
#[derive(Default)]
struct Signed {
    votes: BTreeMap<Rank, VoteStatement>,
    proposals: BTreeMap<Rank, BlockHash>,
    /// With the views of highest QCs that it named.
    timeouts: BTreeMap<Rank, BTreeSet<ViewNumber>>,
}

/// What one replica has told.
#[derive(Default)]
struct Replica {
    signed: Signed,
    /// The height that it has said is committed.
    height: u64,
}

/// See the module.
pub struct Checker {
    genesis: GenesisHash,
    addresses: Vec<ValidatorAddress>,
    replicas: Vec<Replica>,
    /// The block at each height from 1.
    chain: Vec<BlockHash>,
    /// The height of each command.
    committed: BTreeMap<u64, u64>,
    sent: BTreeSet<u64>,
    messages: u64,
    violations: Vec<Violation>,
}

impl Checker {
    pub fn new() -> Checker {
        let keys: Vec<KeyPair> = (0..child::REPLICAS).map(child::key).collect();
        Checker {
            genesis: child::genesis().hash(),
            addresses: keys.iter().map(KeyPair::address).collect(),
            replicas: keys.iter().map(|_| Replica::default()).collect(),
            chain: Vec::new(),
            committed: BTreeMap::new(),
            sent: BTreeSet::new(),
            messages: 0,
            violations: Vec::new(),
        }
    }

    /// A client sends a command.
    pub fn note_sent(&mut self, command: u64) {
        self.sent.insert(command);
    }

    /// The commands that are not yet committed.
    pub fn outstanding(&self) -> Vec<u64> {
        let is_open = |command: &&u64| !self.committed.contains_key(command);
        self.sent.iter().filter(is_open).copied().collect()
    }

    /// Committed commands, with their heights.
    pub fn committed(&self) -> &BTreeMap<u64, u64> {
        &self.committed
    }

    pub fn chain(&self) -> &[BlockHash] {
        &self.chain
    }

    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Of all keys together.
    pub fn votes(&self) -> usize {
        self.replicas
            .iter()
            .map(|replica| replica.signed.votes.len())
            .sum()
    }

    /// The last one that anybody has voted in.
    pub fn epoch(&self) -> u64 {
        let votes = self
            .replicas
            .iter()
            .flat_map(|replica| replica.signed.votes.keys());
        votes.map(|rank| rank.epoch.0).max().unwrap_or(0)
    }

    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The height that a replica has told.
    pub fn height(&self, replica: usize) -> u64 {
        self.replicas[replica].height
    }

    pub fn blame(&mut self, promise: Promise, replica: usize, what: impl Into<String>) {
        let what = what.into();
        self.violations.push(Violation {
            promise,
            replica,
            what,
        });
    }

    /// Judges what a replica has told, in the order in which it did.
    pub fn on(&mut self, replica: usize, said: Said) {
        match said {
            Said::Sent(bytes) => self.on_sent(replica, &bytes),
            Said::Opened { height, last } => self.on_opened(replica, height, &last),
            Said::Committed {
                height,
                hash,
                commands,
            } => self.on_committed(replica, height, hash, &commands),
            Said::Refused(why) | Said::Warned(why) => self.blame(Promise::ComesBack, replica, why),
        }
    }

    fn on_sent(&mut self, replica: usize, bytes: &[u8]) {
        self.messages += 1;
        match codec::decode::<Message>(bytes, bytes.len()) {
            Err(error) => self.blame(Promise::Wellformed, replica, error.to_string()),
            Ok(Message::Progress(ProgressMessage::Vote(vote))) => self.on_vote(replica, &vote),
            Ok(Message::Progress(ProgressMessage::Propose(propose))) => {
                self.on_proposal(replica, &propose);
            }
            Ok(Message::Progress(ProgressMessage::Nudge(nudge))) => {
                self.on_vote(replica, &nudge.vote);
            }
            Ok(Message::Progress(ProgressMessage::TimeoutVote(timeout))) => {
                self.on_timeout(replica, &timeout);
            }
            // Certificates are others' signatures; a wake promises nothing.
            Ok(_) => (),
        }
    }

    fn on_vote(&mut self, replica: usize, vote: &Vote) {
        let statement = vote.statement;
        let rank = statement.rank();
        let signed = &mut self.replicas[replica].signed;
        match signed.votes.get(&rank) {
            Some(before) if *before == statement => return,
            Some(before) => {
                let what = format!("{before:?}, and then {statement:?}");
                self.blame(Promise::OneVote, replica, what);
            }
            None => {
                let last = signed.timeouts.last_key_value().map(|(rank, _)| *rank);
                signed.votes.insert(rank, statement);
                if let Some(timeout) = last.filter(|timeout| *timeout >= rank) {
                    let what = format!("{statement:?} after a time-out of {timeout}");
                    self.blame(Promise::NoVoteAfterTimeout, replica, what);
                }
            }
        }
        self.check_signature(replica, &vote.voter, Statement::Vote(statement), vote);
    }

    fn check_signature(
        &mut self,
        replica: usize,
        signer: &ValidatorAddress,
        statement: Statement,
        vote: &Vote,
    ) {
        let is_own = *signer == self.addresses[replica];
        if !is_own
            || !vote
                .signature
                .verifies(signer, &statement.digest(&self.genesis))
        {
            self.blame(
                Promise::Wellformed,
                replica,
                format!("{vote:?} is not its own"),
            );
        }
    }

    fn on_proposal(&mut self, replica: usize, propose: &Propose) {
        self.on_vote(replica, &propose.vote);
        let rank = propose.block.header.rank();
        let hash = propose.block.hash(&self.genesis);
        if propose.vote.statement.block_hash != hash || propose.vote.rank() != rank {
            let what = format!("the vote beside block {hash} is for another");
            self.blame(Promise::Wellformed, replica, what);
        }
        let proposals = &mut self.replicas[replica].signed.proposals;
        let first = *proposals.entry(rank).or_insert(hash);
        if first != hash {
            let what = format!("{first} and {hash} in {rank}");
            self.blame(Promise::OneProposal, replica, what);
        }
    }

    fn on_timeout(&mut self, replica: usize, timeout: &TimeoutVote) {
        // What a vote says that never came through before its sender died, comes with this.
        if let Some(vote) = &timeout.last_vote {
            self.on_vote(replica, vote);
        }
        let statement = timeout.statement();
        let rank = Rank {
            epoch: statement.epoch,
            view: statement.view_num,
        };
        let signed = &mut self.replicas[replica].signed;
        let is_new = signed
            .timeouts
            .entry(rank)
            .or_default()
            .insert(statement.qc_view);
        if !is_new {
            return;
        }
        let from = Rank {
            epoch: rank.epoch,
            view: ViewNumber(0),
        };
        let seen = signed
            .votes
            .range(from..=rank)
            .map(|(_, vote)| vote.justify_view);
        if let Some(seen) = seen.max().filter(|seen| *seen > statement.qc_view) {
            let what = format!("{statement:?}, and it has voted on a QC of view {seen}");
            self.blame(Promise::HighestQcOnlyRises, replica, what);
        }
        let digest = Statement::Timeout(statement).digest(&self.genesis);
        let is_own = timeout.validator == self.addresses[replica];
        if !is_own || !timeout.signature.verifies(&timeout.validator, &digest) {
            self.blame(
                Promise::Wellformed,
                replica,
                format!("{statement:?} is not its own"),
            );
        }
    }

    fn on_opened(&mut self, replica: usize, height: u64, last: &[BlockHash]) {
        let told = self.replicas[replica].height;
        if height < told {
            let what = format!("it has told of height {told}, and opens at {height}");
            self.blame(Promise::CommittedStays, replica, what);
            self.replicas[replica].height = height;
        }
        let first = height + 1 - last.len() as u64;
        for (height, hash) in (first..).zip(last) {
            self.on_block(replica, height, *hash);
        }
    }

    /// What is on disk above what was told of, is compared when it is told of.
    fn on_block(&mut self, replica: usize, height: u64, hash: BlockHash) {
        let expected = self.chain.get(height as usize - 1);
        if let Some(expected) = expected.filter(|expected| **expected != hash) {
            let what = format!("{hash} at height {height}, which is {expected}");
            self.blame(Promise::OneChain, replica, what);
        }
    }

    fn on_committed(&mut self, replica: usize, height: u64, hash: BlockHash, commands: &[u64]) {
        self.on_block(replica, height, hash);
        let told = self.replicas[replica].height;
        self.replicas[replica].height = told.max(height);
        if height as usize == self.chain.len() + 1 {
            self.chain.push(hash);
        }
        for command in commands {
            let first = *self.committed.entry(*command).or_insert(height);
            if first != height || !self.sent.contains(command) {
                let what = format!("command {command} at heights {first} and {height}");
                self.blame(Promise::CommandsOnce, replica, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hotstuff::types::{Block, BlockHeader, BlockHeight, Data, Phase, QuorumCertificate};
    use hotstuff::types::{Signature, TimeoutStatement};
    use serde_bytes::ByteBuf;

    use super::*;

    fn statement(view: u64, block: u8) -> VoteStatement {
        VoteStatement {
            epoch: Epoch(0),
            view_num: ViewNumber(view),
            justify_view: ViewNumber(view - 1),
            block_hash: BlockHash([block; 32]),
            phase: Phase::Generic,
        }
    }

    fn sign(statement: Statement) -> Signature {
        child::key(0).sign(&statement.digest(&child::genesis().hash()))
    }

    fn vote(statement: VoteStatement) -> Vote {
        Vote {
            statement,
            voter: child::key(0).address(),
            signature: sign(Statement::Vote(statement)),
        }
    }

    fn qc(view: u64) -> QuorumCertificate {
        QuorumCertificate {
            view_num: ViewNumber(view),
            ..QuorumCertificate::genesis(child::genesis().hash())
        }
    }

    fn timeout(view: u64, qc_view: u64, last_vote: Option<Vote>) -> ProgressMessage {
        let statement = TimeoutStatement {
            epoch: Epoch(0),
            view_num: ViewNumber(view),
            qc_view: ViewNumber(qc_view),
        };
        ProgressMessage::TimeoutVote(TimeoutVote {
            epoch: Epoch(0),
            view_num: ViewNumber(view),
            highest_qc: qc(qc_view),
            last_vote,
            validator: child::key(0).address(),
            signature: sign(Statement::Timeout(statement)),
        })
    }

    fn propose(view: u64, data: &[u8]) -> ProgressMessage {
        let data = Data::new(data);
        let header = BlockHeader {
            height: BlockHeight(1),
            epoch: Epoch(0),
            view: ViewNumber(view),
            justify: qc(view - 1),
            data_hash: data.hash(),
            validator_set_updates: None,
        };
        let block = Block { header, data };
        let mut statement = statement(view, 0);
        statement.block_hash = block.hash(&child::genesis().hash());
        ProgressMessage::Propose(Propose {
            block,
            vote: vote(statement),
            timeout_certificate: None,
        })
    }

    fn found(messages: impl IntoIterator<Item = ProgressMessage>) -> Vec<Promise> {
        let said = messages.into_iter().map(|message| {
            let message = codec::encode(&Message::Progress(message));
            Said::Sent(ByteBuf::from(message))
        });
        judge(said)
    }

    fn judge(said: impl IntoIterator<Item = Said>) -> Vec<Promise> {
        let mut checker = Checker::new();
        checker.note_sent(1);
        said.into_iter().for_each(|said| checker.on(0, said));
        checker
            .violations
            .iter()
            .map(|found| found.promise)
            .collect()
    }

    #[test]
    fn a_rightful_history_passes() {
        let [one, two] = [1, 2].map(|view| statement(view, view as u8));
        let first = ProgressMessage::Vote(vote(one));
        let again = timeout(2, 1, Some(vote(two)));
        assert_eq!(found([first.clone(), first, again.clone(), again]), []);
        assert_eq!(
            found([propose(1, b"a"), propose(1, b"a"), timeout(1, 0, None)]),
            []
        );
    }

    #[test]
    fn each_forged_history_is_found() {
        let [one, other] = [1, 2].map(|block| ProgressMessage::Vote(vote(statement(1, block))));
        assert_eq!(found([one.clone(), other]), [Promise::OneVote]);
        let late = [timeout(1, 0, None), one];
        assert_eq!(found(late), [Promise::NoVoteAfterTimeout]);
        let two = [propose(1, b"a"), propose(1, b"b")];
        assert_eq!(found(two), [Promise::OneVote, Promise::OneProposal]);
        let liar = [
            ProgressMessage::Vote(vote(statement(3, 1))),
            timeout(3, 1, None),
        ];
        assert_eq!(found(liar), [Promise::HighestQcOnlyRises]);
        let mut forged = vote(statement(1, 1));
        forged.signature.0[5] ^= 1;
        assert_eq!(
            found([ProgressMessage::Vote(forged)]),
            [Promise::Wellformed]
        );
        assert_eq!(
            judge([Said::Sent(ByteBuf::from(b"?"))]),
            [Promise::Wellformed]
        );
    }

    #[test]
    fn each_loss_is_found() {
        let committed = |height, block, commands: &[u64]| Said::Committed {
            height,
            hash: BlockHash([block; 32]),
            commands: commands.to_vec(),
        };
        let opened = |height, block| Said::Opened {
            height,
            last: vec![BlockHash([block; 32])],
        };
        let one = committed(1, 1, &[1]);
        assert_eq!(judge([one.clone(), opened(1, 1), one.clone()]), []);
        assert_eq!(judge([one.clone(), opened(1, 2)]), [Promise::OneChain]);
        assert_eq!(
            judge([one.clone(), committed(1, 2, &[])]),
            [Promise::OneChain]
        );
        let back = Said::Opened {
            height: 0,
            last: vec![],
        };
        assert_eq!(judge([one.clone(), back]), [Promise::CommittedStays]);
        assert_eq!(judge([one, committed(2, 2, &[1])]), [Promise::CommandsOnce]);
        assert_eq!(judge([committed(1, 1, &[7])]), [Promise::CommandsOnce]);
        assert_eq!(judge([Said::Refused("no".into())]), [Promise::ComesBack]);
    }
}
