//! The invariants, each in its own arithmetic: nothing here asks the library what is right.
//!
//! A checker is fed what correct replicas wrote, said, and told their hosts. The last section
//! proves, by forged histories, that each rule can fire.

use std::collections::{BTreeMap, BTreeSet};

use hotstuff::algorithm::{Durable, EpochRecord, Event, StoredProposal, Write};
use hotstuff::evidence::{Evidence, Offence};
use hotstuff::messages::{Message, ProgressMessage, Propose, TimeoutVote, Vote};
use hotstuff::types::{
    Block, BlockHash, CommitRule, Epoch, GenesisHash, Phase, Rank, TimeoutStatement, Validator,
    ValidatorAddress, ValidatorSet, ValidatorSetUpdates, ViewNumber, VoteStatement,
};

use crate::keys::{address, check, index_of};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: &'static str,
    pub text: String,
}

/// What is known of a block, from whoever stored or sent it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    height: u64,
    epoch: u64,
    view: u64,
    is_update: bool,
    parent: BlockHash,
    justify_view: u64,
}

/// The past of one correct replica, across its restarts.
#[derive(Clone, Debug, Default)]
struct Past {
    epoch: u64,
    /// The Commit QC of the current epoch is known.
    has_ended: bool,
    recorded: BTreeSet<VoteStatement>,
    voted: Option<Rank>,
    timed_out: Option<Rank>,
    highest_qc: Rank,
    /// `highest_qc` as of the transaction before.
    highest_qc_before: Rank,
    highest_tc: Option<Rank>,
    proposed: BTreeMap<Rank, BlockHash>,
    committed: Vec<BlockHash>,
    /// Blocks committed on disk since the last start, and how many the host was told of.
    to_deliver: Vec<(u64, BlockHash)>,
    delivered: usize,
    /// Offences that the host was told of, over all lives.
    convicted: BTreeSet<Offence>,
}

pub struct Checker {
    genesis: BlockHash,
    rule: CommitRule,
    /// Of each replica, by epoch; 0: no validator.
    powers: Vec<Vec<u64>>,
    /// The block that ended each epoch.
    ends: BTreeMap<u64, BlockHash>,
    updates: BTreeMap<BlockHash, ValidatorSetUpdates>,
    /// Whether the replica keeps the rules; of others nothing is asked.
    correct: Vec<bool>,
    past: Vec<Past>,
    blocks: BTreeMap<BlockHash, Seen>,
    children: BTreeMap<BlockHash, Vec<BlockHash>>,
    /// Correct replicas that have signed a vote of this phase for the block in this view.
    voters: BTreeMap<(BlockHash, Rank, Phase), BTreeSet<usize>>,
    /// The views in which a block got votes of phase Commit.
    commit_votes: BTreeMap<BlockHash, BTreeSet<Rank>>,
    votes: BTreeMap<(usize, Rank), VoteStatement>,
    /// The lowest QC that a correct replica has named in a time-out of the view.
    timeouts: BTreeMap<Rank, BTreeMap<usize, Rank>>,
    agreed: BTreeMap<u64, BlockHash>,
    states: BTreeMap<u64, u64>,
    violations: Vec<Violation>,
}

impl Checker {
    pub fn new(
        genesis: GenesisHash,
        rule: CommitRule,
        powers: Vec<u64>,
        correct: Vec<bool>,
    ) -> Self {
        let past = vec![Past::default(); correct.len()];
        let (blocks, children, voters, votes, timeouts) = Default::default();
        let (agreed, states, violations) = Default::default();
        let (ends, updates, commit_votes) = Default::default();
        let genesis = genesis.as_block_hash();
        Checker {
            genesis,
            rule,
            powers: vec![powers],
            ends,
            updates,
            correct,
            past,
            blocks,
            children,
            voters,
            commit_votes,
            votes,
            timeouts,
            agreed,
            states,
            violations,
        }
    }

    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub fn broken(&mut self, rule: &'static str, text: String) {
        self.violations.push(Violation { rule, text });
    }

    /// A transaction of a correct replica is on disk.
    pub fn wrote(&mut self, replica: usize, genesis: &GenesisHash, writes: &[Write]) {
        self.past[replica].highest_qc_before = self.past[replica].highest_qc;
        let mut last_commit = None;
        for write in writes {
            match write {
                Write::CastVote(vote) => self.cast_vote(replica, vote),
                Write::TimeOut(rank) => self.time_out(replica, *rank),
                Write::StoreProposal(proposal) => self.store_proposal(replica, proposal),
                Write::SetHighestQc(qc) => {
                    self.raise_qc(replica, qc.rank());
                    let past = &mut self.past[replica];
                    past.has_ended |= qc.phase == Phase::Commit && qc.epoch.0 == past.epoch;
                }
                Write::SetHighestTc(tc) => self.raise_tc(replica, tc.rank()),
                Write::InsertBlock { hash, block, .. } => {
                    debug_assert_eq!(*hash, block.hash(genesis));
                    self.see(*hash, block);
                    self.height_follows(replica, hash);
                }
                Write::CommitBlock { hash, height } => {
                    self.commit(replica, *hash, height.0);
                    last_commit = Some(*hash);
                }
                Write::DropBlock { hash } => self.drop_block(replica, hash),
                Write::KeepEvidence(evidence) => self.convict(replica, genesis, evidence),
                Write::ChangeEpoch(record) => self.change_epoch(replica, record, last_commit),
            }
        }
        if let Some(hash) = last_commit {
            self.commit_is_justified(replica, hash);
        }
    }

    /// Evidence must convict whoever looks at it, and never a correct replica.
    fn convict(&mut self, replica: usize, genesis: &GenesisHash, evidence: &Evidence) {
        let (offence, offender) = (evidence.offence(), index_of(&evidence.validator));
        let text = format!("{replica} keeps evidence of {offence:?}, by {offender}");
        let powers = self.powers.get(offence.epoch.0 as usize);
        let members = powers.into_iter().flatten().enumerate();
        let members = members.filter(|(_, power)| **power > 0);
        let set = ValidatorSet::new(members.map(|(index, power)| Validator {
            address: address(index),
            power: *power,
        }));
        let set = set.expect("nobody speaks of an epoch that has not begun");
        if evidence.verify_by(genesis, &set, check).is_err() {
            self.broken("evidence-convicts-alone", text.clone());
        }
        if self.is_correct(&evidence.validator) {
            self.broken("nobody-correct-is-convicted", text);
        }
    }

    fn cast_vote(&mut self, replica: usize, vote: &VoteStatement) {
        let past = &mut self.past[replica];
        let rank = vote.rank();
        let again = past.voted.is_some_and(|voted| voted >= rank);
        let too_late = past.timed_out.is_some_and(|timed_out| timed_out >= rank);
        let (voted, timed_out) = (past.voted, past.timed_out);
        past.voted = Some(rank);
        past.recorded.insert(*vote);
        if again {
            self.broken(
                "one-vote-per-view",
                format!("{replica} votes {rank} after {voted:?}"),
            );
        }
        if too_late {
            let text = format!("{replica} votes in {rank}, having timed out {timed_out:?}");
            self.broken("no-vote-after-timeout", text);
        }
        self.is_of_its_epoch(replica, rank, "votes");
        if let Err(why) = self.phase_follows(vote) {
            let text = format!("{replica} votes {:?} in {rank}: {why}", vote.phase);
            self.broken("phases-follow", text);
        }
        if !self.is_justified(vote) {
            let text = format!("{replica} votes in {rank} on a QC of {}", vote.justify_view);
            self.broken("vote-is-justified", text);
        }
        if vote.justify_view.0 >= vote.view_num.0 {
            let text = format!(
                "{replica} votes in {rank} on a justify of {}",
                vote.justify_view
            );
            self.broken("justify-below-view", text);
        }
    }

    /// Nothing is signed in another epoch than the current one, nor in one that is known to have
    /// ended, nor by anyone who is no validator of it.
    fn is_of_its_epoch(&mut self, replica: usize, rank: Rank, does: &str) {
        let (epoch, has_ended) = (self.past[replica].epoch, self.past[replica].has_ended);
        if rank.epoch.0 != epoch || has_ended {
            let text = format!("{replica} {does} in {rank}, in epoch {epoch}, ended: {has_ended}");
            self.broken("nothing-of-an-epoch-that-has-ended", text);
        }
        let powers = self.powers.get(rank.epoch.0 as usize);
        if powers.is_none_or(|powers| powers[replica] == 0) {
            let text = format!("{replica} {does} in {rank}, and is no validator of it");
            self.broken("only-validators-sign", text);
        }
    }

    /// A vote for an updating block is Prepare; those for its nudges count on only from the view
    /// before.
    fn phase_follows(&self, vote: &VoteStatement) -> Result<(), &'static str> {
        let Some(block) = self.blocks.get(&vote.block_hash) else {
            return Ok(()); // another rule's
        };
        if (block.epoch, block.view) == (vote.epoch.0, vote.view_num.0) {
            let right = match block.is_update {
                true => Phase::Prepare,
                false => Phase::Generic,
            };
            let is_right = vote.phase == right;
            return is_right
                .then_some(())
                .ok_or("of the wrong phase for a block");
        }
        if !block.is_update || block.epoch != vote.epoch.0 {
            return Err("a nudge of a block that updates nothing, or in another epoch");
        }
        let certified = |phase| {
            let view = vote.justify_view;
            let epoch = vote.epoch;
            self.certified(&vote.block_hash, Rank { epoch, view }, phase)
        };
        let is_next = vote.justify_view.0 + 1 == vote.view_num.0;
        let follows = match (vote.phase, self.rule) {
            (Phase::Prepare, _) => {
                !is_next && (certified(Phase::Prepare) || certified(Phase::Precommit))
            }
            (Phase::Precommit, CommitRule::ThreeChain) => is_next && certified(Phase::Prepare),
            (Phase::Commit, CommitRule::ThreeChain) => is_next && certified(Phase::Precommit),
            (Phase::Commit, CommitRule::TwoChain) => is_next && certified(Phase::Prepare),
            _ => false,
        };
        follows
            .then_some(())
            .ok_or("the phase before is not certified in the right view")
    }

    /// An epoch begins with the block that ends the one before: certified in its last phase by the
    /// set of that epoch, committed in the same transaction, and the same for all.
    fn change_epoch(
        &mut self,
        replica: usize,
        record: &EpochRecord,
        last_commit: Option<BlockHash>,
    ) {
        let epoch = record.epoch.0;
        if epoch != self.past[replica].epoch + 1 {
            let text = format!(
                "{replica} goes from {} to {epoch}",
                self.past[replica].epoch
            );
            self.broken("epochs-follow", text);
            return;
        }
        self.past[replica].epoch = epoch;
        self.past[replica].has_ended = false;
        let commit_qc = record.commit_qc.as_ref();
        let Some(end) = commit_qc
            .map(|qc| qc.block_hash)
            .filter(|end| Some(*end) == last_commit)
        else {
            let text = format!("{replica} begins epoch {epoch} with no block committed by it");
            return self.broken("epochs-follow", text);
        };
        if !self.commit_certified(&end) {
            let text = format!("{replica} begins epoch {epoch} with {end:?}, not certified");
            self.broken("commit-is-justified", text);
        }
        let mut powers = vec![0; self.correct.len()];
        for member in record.validator_set.members() {
            powers[index_of(&member.address)] = member.power;
        }
        let mut expected = self.powers[epoch as usize - 1].clone();
        for update in self.updates.get(&end).into_iter().flatten() {
            expected[index_of(&update.validator)] = update.power;
        }
        if powers != expected || *self.ends.entry(epoch).or_insert(end) != end {
            let text = format!("{replica} begins epoch {epoch} with {powers:?}, not {expected:?}");
            self.broken("agreement-on-epochs", text);
        }
        if self.powers.len() as u64 == epoch {
            self.powers.push(powers);
        }
    }

    fn commit_certified(&self, hash: &BlockHash) -> bool {
        let views = self.commit_votes.get(hash);
        let mut views = views.into_iter().flatten();
        views.any(|rank| self.certified(hash, *rank, Phase::Commit))
    }

    /// Rule 3: the QC is of the view before, or a quorum has left that view without having seen a
    /// higher one. What correct replicas said is known; the others may have said anything.
    fn is_justified(&self, vote: &VoteStatement) -> bool {
        let before = vote.view_num.previous();
        if vote.justify_view >= before {
            return true; // what is higher still is another rule's
        }
        let said = self.timeouts.get(&Rank {
            epoch: vote.epoch,
            view: before,
        });
        let justify = Rank {
            epoch: vote.epoch,
            view: vote.justify_view,
        };
        self.is_quorum(vote.epoch.0, |index| {
            said.and_then(|said| said.get(&index))
                .is_some_and(|lowest| *lowest <= justify)
        })
    }

    /// Whether those that did something are a quorum, if all that break rules did it too.
    fn is_quorum(&self, epoch: u64, did: impl Fn(usize) -> bool) -> bool {
        let Some(powers) = self.powers.get(epoch as usize) else {
            return false;
        };
        let power = |index: usize| u128::from(powers[index]);
        let all = 0..powers.len();
        let sum: u128 = all
            .clone()
            .filter(|i| !self.correct[*i] || did(*i))
            .map(power)
            .sum();
        3 * sum > 2 * all.map(power).sum::<u128>()
    }

    fn time_out(&mut self, replica: usize, rank: Rank) {
        if self.past[replica]
            .timed_out
            .is_some_and(|before| before >= rank)
        {
            let before = self.past[replica].timed_out;
            let text = format!("{replica} times out {rank} after {before:?}");
            self.broken("timed-out-only-rises", text);
        }
        self.past[replica].timed_out = Some(rank);
    }

    fn store_proposal(&mut self, replica: usize, proposal: &StoredProposal) {
        let rank = proposal.vote.rank();
        let before = self.past[replica].proposed.insert(rank, proposal.block);
        if before.is_some_and(|before| before != proposal.block) {
            let text = format!("{replica} proposes two blocks in {rank}");
            self.broken("one-proposal-per-view", text);
        }
    }

    fn raise_qc(&mut self, replica: usize, rank: Rank) {
        let before = self.past[replica].highest_qc;
        if rank < before {
            let text = format!("{replica}: from {before} to {rank}");
            self.broken("highest-qc-only-rises", text);
        }
        self.past[replica].highest_qc = rank;
    }

    fn raise_tc(&mut self, replica: usize, rank: Rank) {
        let before = self.past[replica].highest_tc.replace(rank);
        if before.is_some_and(|before| rank < before) {
            let text = format!("{replica}: from {before:?} to {rank}");
            self.broken("highest-tc-only-rises", text);
        }
    }

    fn see(&mut self, hash: BlockHash, block: &Block) {
        let header = &block.header;
        let seen = Seen {
            height: header.height.0,
            epoch: header.epoch.0,
            view: header.view.0,
            is_update: header.validator_set_updates.is_some(),
            parent: header.parent(),
            justify_view: header.justify.rank().view.0,
        };
        if let Some(updates) = &header.validator_set_updates {
            self.updates.insert(hash, updates.clone());
        }
        if self.blocks.insert(hash, seen).is_none() {
            self.children.entry(seen.parent).or_default().push(hash);
        }
    }

    fn height_follows(&mut self, replica: usize, hash: &BlockHash) {
        let seen = self.blocks[hash];
        let parent_height = match self.blocks.get(&seen.parent) {
            _ if seen.parent == self.genesis => 0,
            Some(parent) => parent.height,
            None => {
                self.broken(
                    "parent-is-known",
                    format!("{replica} stores {hash:?} without it"),
                );
                return;
            }
        };
        if seen.height != parent_height + 1 {
            let text = format!("{replica} stores height {} on {parent_height}", seen.height);
            self.broken("height-is-parents-plus-one", text);
        }
    }

    fn commit(&mut self, replica: usize, hash: BlockHash, height: u64) {
        let past = &mut self.past[replica];
        past.committed.push(hash);
        past.to_deliver.push((height, hash));
        let (count, below) = (
            past.committed.len(),
            past.committed.iter().rev().nth(1).copied(),
        );
        if count as u64 != height {
            let text = format!("{replica} commits height {height} as its number {count}");
            self.broken("committed-never-changes", text);
        }
        let parent = self.blocks.get(&hash).map(|seen| seen.parent);
        if parent != Some(below.unwrap_or(self.genesis)) {
            let text = format!("{replica} commits {hash:?} on {below:?}, not on its parent");
            self.broken("committed-chain-is-linked", text);
        }
        let agreed = *self.agreed.entry(height).or_insert(hash);
        if agreed != hash {
            let text = format!("height {height}: {replica} commits {hash:?}, others {agreed:?}");
            self.broken("agreement", text);
        }
    }

    /// A block is final if it, or a descendant, heads a chain of certificates in consecutive views,
    /// and nothing else makes it so. A quorum is counted from the votes that were signed; the
    /// others are taken to have voted for everything.
    fn commit_is_justified(&mut self, replica: usize, hash: BlockHash) {
        let mut open = vec![hash];
        while let Some(candidate) = open.pop() {
            if self.heads_chain(&candidate) || self.commit_certified(&candidate) {
                return;
            }
            open.extend(self.children.get(&candidate).into_iter().flatten());
        }
        let view = self.blocks.get(&hash).map(|seen| seen.view);
        self.broken(
            "commit-is-justified",
            format!("{replica} commits {hash:?} of view {view:?}"),
        );
    }

    fn heads_chain(&self, hash: &BlockHash) -> bool {
        let next = |parent: &BlockHash| {
            let Seen { epoch, view, .. } = *self.blocks.get(parent)?;
            let children = self.children.get(parent)?;
            let follows = |child: &&BlockHash| {
                let child = self.blocks[*child];
                child.epoch == epoch && child.view == view + 1 && child.justify_view == view
            };
            children
                .iter()
                .filter(follows)
                .find(|child| self.certified_in_its_view(child))
                .copied()
        };
        let is_certified = self.certified_in_its_view(hash);
        let second = is_certified.then(|| next(hash)).flatten();
        match self.rule {
            CommitRule::TwoChain => second.is_some(),
            CommitRule::ThreeChain => second.and_then(|second| next(&second)).is_some(),
        }
    }

    fn certified_in_its_view(&self, hash: &BlockHash) -> bool {
        let Some(block) = self.blocks.get(hash) else {
            return false;
        };
        let rank = Rank {
            epoch: Epoch(block.epoch),
            view: ViewNumber(block.view),
        };
        let phase = match block.is_update {
            true => Phase::Prepare,
            false => Phase::Generic,
        };
        self.certified(hash, rank, phase)
    }

    fn certified(&self, hash: &BlockHash, rank: Rank, phase: Phase) -> bool {
        let voters = self.voters.get(&(*hash, rank, phase));
        let voted = |index| voters.is_some_and(|voters| voters.contains(&index));
        self.is_quorum(rank.epoch.0, voted)
    }

    fn drop_block(&mut self, replica: usize, hash: &BlockHash) {
        if self.past[replica].committed.contains(hash) {
            self.broken(
                "committed-never-changes",
                format!("{replica} drops {hash:?}"),
            );
        }
    }

    /// A correct replica lets a message out.
    pub fn said(&mut self, replica: usize, message: &Message) {
        let Message::Progress(message) = message else {
            return;
        };
        match message {
            ProgressMessage::Propose(propose) => self.said_propose(replica, propose),
            ProgressMessage::Vote(vote) => self.said_vote(replica, vote),
            ProgressMessage::Nudge(nudge) => {
                let vote = &nudge.vote;
                self.said_proposal(replica, vote);
            }
            ProgressMessage::TimeoutVote(timeout) => self.said_timeout(replica, timeout),
            ProgressMessage::AdvanceView(_) | ProgressMessage::Wake(_) => {}
        }
    }

    fn said_propose(&mut self, replica: usize, propose: &Propose) {
        self.said_proposal(replica, &propose.vote);
    }

    fn said_proposal(&mut self, replica: usize, vote: &Vote) {
        self.said_vote(replica, vote);
        let hash = vote.statement.block_hash;
        let rank = vote.rank();
        if self.past[replica].proposed.get(&rank) != Some(&hash) {
            let text = format!("{replica} proposes {hash:?} in {rank}, which is not on its disk");
            self.broken("speak-after-persist", text);
        }
    }

    pub fn said_vote(&mut self, replica: usize, vote: &Vote) {
        let rank = vote.rank();
        self.is_of_its_epoch(replica, rank, "sends a vote");
        if index_of(&vote.voter) != replica {
            self.broken(
                "speaks-for-itself",
                format!("{replica} sends a vote of {}", vote.voter),
            );
        }
        if !self.past[replica].recorded.contains(&vote.statement) {
            let text = format!("{replica} votes in {rank}, which is not on its disk");
            self.broken("speak-after-persist", text);
        }
        let first = *self.votes.entry((replica, rank)).or_insert(vote.statement);
        if first != vote.statement {
            let text = format!("{replica} in {rank}: {first:?} and {:?}", vote.statement);
            self.broken("one-vote-per-view", text);
        }
        let VoteStatement {
            block_hash, phase, ..
        } = vote.statement;
        let voters = self.voters.entry((block_hash, rank, phase)).or_default();
        voters.insert(replica);
        if phase == Phase::Commit {
            self.commit_votes
                .entry(block_hash)
                .or_default()
                .insert(rank);
        }
    }

    fn said_timeout(&mut self, replica: usize, timeout: &TimeoutVote) {
        let TimeoutStatement {
            epoch, view_num, ..
        } = timeout.statement();
        let rank = Rank {
            epoch,
            view: view_num,
        };
        self.is_of_its_epoch(replica, rank, "sends a time-out");
        if self.past[replica]
            .timed_out
            .is_none_or(|on_disk| on_disk < rank)
        {
            let text = format!("{replica} sends a time-out of {rank}, which is not on its disk");
            self.broken("speak-after-persist", text);
        }
        let named = timeout.highest_qc.rank();
        let lowest = self
            .timeouts
            .entry(rank)
            .or_default()
            .entry(replica)
            .or_insert(named);
        *lowest = named.min(*lowest);
        let highest = self.past[replica].highest_qc_before;
        if timeout.highest_qc.rank() < highest {
            let said = timeout.highest_qc.rank();
            let text = format!("{replica} times out {rank} with QC {said}, on its disk {highest}");
            self.broken("timeout-names-highest-qc", text);
        }
        if let Some(vote) = &timeout.last_vote {
            self.said_vote(replica, vote);
        }
    }

    /// A correct replica tells its host something.
    pub fn told(&mut self, replica: usize, event: &Event) {
        match event {
            Event::Committed { height, block, .. } => {
                let past = &mut self.past[replica];
                let expected = past.to_deliver.get(past.delivered).copied();
                past.delivered += 1;
                if expected != Some((height.0, *block)) {
                    let text = format!("{replica}: {height} {block:?}, expected {expected:?}");
                    self.broken("delivered-once-in-order", text);
                }
            }
            Event::BlockRefused {
                rank, leader, why, ..
            } if self.is_correct(leader) => {
                let leader = index_of(leader);
                let text = format!("{replica} blames {leader} for its block in {rank}: {why}");
                self.broken("nobody-correct-is-blamed", text);
            }
            Event::SyncFailed { peer, why } if self.is_correct(peer) && !INNOCENT.contains(why) => {
                let text = format!("{replica} blames {} for its answer: {why}", index_of(peer));
                self.broken("nobody-correct-is-blamed", text);
            }
            Event::EvidenceFound(evidence) => {
                let offence = evidence.offence();
                if !self.past[replica].convicted.insert(offence) {
                    let text = format!("{replica} tells of {offence:?} again");
                    self.broken("evidence-is-told-once", text);
                }
            }
            Event::TwinSeen { rank } => {
                let text = format!("{replica} takes its own word in {rank} for a twin's");
                self.broken("nobody-correct-has-a-twin", text);
            }
            Event::Diverged { block, height, .. } => {
                let text = format!("{replica}: its app refuses {block:?} at {height}");
                self.broken("app-is-asked-on-the-right-state", text);
            }
            _ => {}
        }
    }

    fn is_correct(&self, address: &ValidatorAddress) -> bool {
        self.correct[index_of(address)]
    }

    /// All that a correct replica had to say of a transaction is said.
    pub fn told_everything(&mut self, replica: usize) {
        let past = &self.past[replica];
        if past.delivered != past.to_deliver.len() {
            let text = format!("{replica}: {} of {}", past.delivered, past.to_deliver.len());
            self.broken("delivered-once-in-order", text);
        }
    }

    /// A correct replica starts, after a crash or for the first time.
    pub fn starts(&mut self, replica: usize) {
        self.past[replica].to_deliver.clear();
        self.past[replica].delivered = 0;
    }

    /// A correct replica's app has reached `fingerprint` at `height`.
    pub fn state_is(&mut self, replica: usize, height: u64, fingerprint: u64) {
        let first = *self.states.entry(height).or_insert(fingerprint);
        if first != fingerprint {
            let text = format!("{replica} at {height}: {fingerprint:x}, others {first:x}");
            self.broken("same-state-at-same-height", text);
        }
    }

    /// What a correct replica remembers, and what is on its disk.
    pub fn remembers(&mut self, replica: usize, memory: Durable, disk: Durable) {
        let (memory, disk) = (sorted(memory), sorted(disk));
        if memory != disk {
            let text = format!("{replica}:\n  memory {memory:?}\n  disk   {disk:?}");
            self.broken("disk-equals-memory", text);
        }
    }
}

/// Not having an answer in time, or the block, is no lie.
const INNOCENT: [&str; 2] = ["no answer in time", "it does not have the block either"];

fn sorted(mut durable: Durable) -> Durable {
    durable
        .pending
        .sort_by_key(|block| (block.header.height, block.hash));
    durable
}

#[cfg(test)]
mod tests {
    //! Forged histories: each rule fires.

    use hotstuff::evidence::{Contradiction, Signed};
    use hotstuff::types::*;

    use super::*;
    use crate::keys::sign;

    const GENESIS: GenesisHash = GenesisHash([9; 32]);

    fn checker() -> Checker {
        let correct = vec![true, true, true, false];
        Checker::new(GENESIS, CommitRule::TwoChain, vec![1; 4], correct)
    }

    fn broken(checker: &Checker) -> Vec<&'static str> {
        checker
            .violations()
            .iter()
            .map(|violation| violation.rule)
            .collect()
    }

    fn qc(view: u64, block_hash: BlockHash) -> QuorumCertificate {
        let genesis = QuorumCertificate::genesis(GENESIS);
        QuorumCertificate {
            view_num: ViewNumber(view),
            block_hash,
            ..genesis
        }
    }

    fn block(height: u64, view: u64, justify: QuorumCertificate) -> Block {
        let data = Data::new(vec![height as u8, view as u8]);
        let header = BlockHeader {
            height: BlockHeight(height),
            epoch: Epoch(0),
            view: ViewNumber(view),
            justify,
            data_hash: data.hash(),
            validator_set_updates: None,
        };
        Block { header, data }
    }

    fn insert(block: &Block) -> Write {
        let hash = block.hash(&GENESIS);
        Write::InsertBlock {
            hash,
            block: block.clone(),
            state_updates: vec![],
        }
    }

    fn commit(block: &Block) -> Write {
        Write::CommitBlock {
            hash: block.hash(&GENESIS),
            height: block.header.height,
        }
    }

    fn statement(block: &Block) -> VoteStatement {
        VoteStatement {
            epoch: Epoch(0),
            view_num: block.header.view,
            justify_view: block.header.justify.view_num,
            block_hash: block.hash(&GENESIS),
            phase: Phase::Generic,
        }
    }

    fn vote(replica: usize, block: &Block) -> Vote {
        let statement = statement(block);
        let signature = sign(
            &address(replica),
            &Statement::Vote(statement).digest(&GENESIS),
        );
        Vote {
            statement,
            voter: address(replica),
            signature,
        }
    }

    fn rank(view: u64) -> Rank {
        Rank {
            epoch: Epoch(0),
            view: ViewNumber(view),
        }
    }

    fn first_block(view: u64) -> Block {
        block(1, view, QuorumCertificate::genesis(GENESIS))
    }

    fn child(parent: &Block, view: u64) -> Block {
        block(
            parent.header.height.0 + 1,
            view,
            qc(parent.header.view.0, parent.hash(&GENESIS)),
        )
    }

    /// All three correct replicas vote for these blocks.
    fn certify(checker: &mut Checker, blocks: &[&Block]) {
        for (replica, block) in (0..3).flat_map(|r| blocks.iter().map(move |b| (r, *b))) {
            let cast = Write::CastVote(statement(block));
            checker.wrote(replica, &GENESIS, &[insert(block), cast]);
            checker.said_vote(replica, &vote(replica, block));
        }
    }

    fn timeout(replica: usize, view: u64, highest_qc: QuorumCertificate) -> Message {
        Message::Progress(ProgressMessage::TimeoutVote(TimeoutVote {
            epoch: Epoch(0),
            view_num: ViewNumber(view),
            highest_qc,
            last_vote: None,
            validator: address(replica),
            signature: Signature([0; 64]),
        }))
    }

    #[test]
    fn a_good_history_breaks_nothing() {
        let mut checker = checker();
        let b1 = first_block(1);
        let b2 = child(&b1, 2);
        certify(&mut checker, &[&b1, &b2]);
        checker.wrote(0, &GENESIS, &[commit(&b1)]);
        checker.state_is(0, 1, 5);
        checker.wrote(1, &GENESIS, &[commit(&b1)]);
        checker.state_is(1, 1, 5);
        checker.wrote(0, &GENESIS, &[Write::TimeOut(rank(3))]);
        checker.said(0, &timeout(0, 3, qc(2, b2.hash(&GENESIS))));
        assert_eq!(broken(&checker), [""; 0]);
    }

    #[test]
    fn two_blocks_at_one_height() {
        let mut checker = checker();
        let (left, right) = (first_block(1), first_block(3));
        let (left_child, right_child) = (child(&left, 2), child(&right, 4));
        certify(&mut checker, &[&left, &left_child, &right, &right_child]);
        checker.wrote(0, &GENESIS, &[commit(&left)]);
        checker.wrote(1, &GENESIS, &[commit(&right)]);
        // No fork without votes that rule 3 forbids.
        let rules = [
            "vote-is-justified",
            "vote-is-justified",
            "vote-is-justified",
            "agreement",
        ];
        assert_eq!(broken(&checker), rules);
    }

    #[test]
    fn a_height_committed_twice() {
        let mut checker = checker();
        let b1 = first_block(1);
        let b2 = child(&b1, 2);
        certify(&mut checker, &[&b1, &b2]);
        checker.wrote(0, &GENESIS, &[commit(&b1), commit(&b1)]);
        let rules = ["committed-never-changes", "committed-chain-is-linked"];
        assert_eq!(broken(&checker), rules);
        checker.wrote(
            0,
            &GENESIS,
            &[Write::DropBlock {
                hash: b1.hash(&GENESIS),
            }],
        );
        assert_eq!(broken(&checker)[2..], ["committed-never-changes"]);
    }

    #[test]
    fn a_commit_without_consecutive_views() {
        let mut checker = checker();
        let b1 = first_block(1);
        let b3 = child(&b1, 3);
        certify(&mut checker, &[&b1, &b3]);
        checker.wrote(0, &GENESIS, &[commit(&b1)]);
        assert_eq!(broken(&checker)[3..], ["commit-is-justified"]);
    }

    #[test]
    fn a_commit_without_a_quorum() {
        let mut checker = checker();
        let b1 = first_block(1);
        let b2 = child(&b1, 2);
        certify(&mut checker, &[&b1]);
        checker.wrote(0, &GENESIS, &[insert(&b2), Write::CastVote(statement(&b2))]);
        checker.said_vote(0, &vote(0, &b2));
        checker.wrote(0, &GENESIS, &[commit(&b1)]);
        assert_eq!(broken(&checker), ["commit-is-justified"]);
    }

    #[test]
    fn two_votes_in_one_view() {
        let mut checker = checker();
        let (left, right) = (first_block(1), child(&first_block(0), 1));
        checker.see(left.header.parent(), &left);
        checker.past[0]
            .recorded
            .extend([statement(&left), statement(&right)]);
        checker.said_vote(0, &vote(0, &left));
        checker.said_vote(0, &vote(0, &left));
        assert_eq!(broken(&checker), [""; 0]);
        checker.said_vote(0, &vote(0, &right));
        assert_eq!(broken(&checker), ["one-vote-per-view"]);
        let recorded = [
            Write::CastVote(statement(&left)),
            Write::CastVote(statement(&right)),
        ];
        checker.wrote(0, &GENESIS, &recorded);
        assert_eq!(broken(&checker)[1..], ["one-vote-per-view"]);
        let rootless = VoteStatement {
            justify_view: ViewNumber(2),
            ..statement(&child(&left, 2))
        };
        checker.wrote(0, &GENESIS, &[Write::CastVote(rootless)]);
        assert_eq!(broken(&checker)[2..], ["justify-below-view"]);
    }

    #[test]
    fn a_vote_on_an_old_certificate() {
        let mut checker = checker();
        let b1 = first_block(1);
        let late = child(&b1, 4);
        certify(&mut checker, &[&b1]);
        let cast = Write::CastVote(statement(&late));
        checker.said(1, &timeout(1, 3, qc(1, b1.hash(&GENESIS))));
        checker.said(2, &timeout(2, 3, qc(2, BlockHash([1; 32]))));
        checker.violations.clear(); // these time-outs are on no disk; that is another story
        checker.wrote(0, &GENESIS, &[insert(&late), cast.clone()]);
        assert_eq!(broken(&checker), ["vote-is-justified"]);
        // With a third that has seen no more, replica 3 with anything: a quorum.
        let mut checker = self::checker();
        certify(&mut checker, &[&b1]);
        checker.said(1, &timeout(1, 3, qc(1, b1.hash(&GENESIS))));
        checker.said(2, &timeout(2, 3, qc(1, b1.hash(&GENESIS))));
        checker.violations.clear();
        checker.wrote(0, &GENESIS, &[insert(&late), cast]);
        assert_eq!(broken(&checker), [""; 0]);
    }

    #[test]
    fn a_vote_after_the_time_out() {
        let mut checker = checker();
        let b1 = first_block(1);
        let cast = Write::CastVote(statement(&b1));
        checker.wrote(0, &GENESIS, &[Write::TimeOut(rank(1)), insert(&b1), cast]);
        assert_eq!(broken(&checker), ["no-vote-after-timeout"]);
    }

    #[test]
    fn words_that_are_not_on_disk() {
        let mut checker = checker();
        let b1 = first_block(1);
        checker.said_vote(0, &vote(0, &b1));
        checker.said(1, &timeout(1, 1, QuorumCertificate::genesis(GENESIS)));
        let block = b1.clone();
        let propose = Propose {
            block,
            vote: vote(2, &b1),
            timeout_certificate: None,
        };
        checker.wrote(2, &GENESIS, &[insert(&b1), Write::CastVote(statement(&b1))]);
        checker.said(2, &Message::Progress(ProgressMessage::Propose(propose)));
        assert_eq!(broken(&checker), ["speak-after-persist"; 3]);
    }

    #[test]
    fn words_of_another() {
        let mut checker = checker();
        let b1 = first_block(1);
        checker.wrote(0, &GENESIS, &[insert(&b1), Write::CastVote(statement(&b1))]);
        checker.said_vote(0, &vote(1, &b1));
        assert_eq!(broken(&checker), ["speaks-for-itself"]);
    }

    #[test]
    fn certificates_and_time_outs_that_fall() {
        let mut checker = checker();
        let fall = [Write::SetHighestQc(qc(3, BlockHash([1; 32])))];
        checker.wrote(0, &GENESIS, &fall);
        checker.wrote(
            0,
            &GENESIS,
            &[Write::SetHighestQc(qc(2, BlockHash([1; 32])))],
        );
        let tc = |view| TimeoutCertificate {
            epoch: Epoch(0),
            view_num: ViewNumber(view),
            highest_qc: qc(1, BlockHash([1; 32])),
            signatures: vec![],
        };
        let fall = [Write::SetHighestTc(tc(4)), Write::SetHighestTc(tc(3))];
        checker.wrote(0, &GENESIS, &fall);
        checker.wrote(
            0,
            &GENESIS,
            &[Write::TimeOut(rank(4)), Write::TimeOut(rank(4))],
        );
        let rules = [
            "highest-qc-only-rises",
            "highest-tc-only-rises",
            "timed-out-only-rises",
        ];
        assert_eq!(broken(&checker), rules);
    }

    #[test]
    fn a_time_out_below_the_highest_qc() {
        let mut checker = checker();
        checker.wrote(
            0,
            &GENESIS,
            &[Write::SetHighestQc(qc(3, BlockHash([1; 32])))],
        );
        checker.wrote(0, &GENESIS, &[Write::TimeOut(rank(4))]);
        checker.said(0, &timeout(0, 4, qc(2, BlockHash([1; 32]))));
        assert_eq!(broken(&checker), ["timeout-names-highest-qc"]);
    }

    #[test]
    fn two_proposals_in_one_view() {
        let mut checker = checker();
        let proposal = |block: &Block| {
            let (vote, block) = (statement(block), block.hash(&GENESIS));
            Write::StoreProposal(StoredProposal {
                block,
                nudge: None,
                vote,
                timeout_certificate: None,
            })
        };
        let (left, right) = (first_block(1), child(&first_block(0), 1));
        checker.wrote(
            0,
            &GENESIS,
            &[proposal(&left), proposal(&left), proposal(&right)],
        );
        assert_eq!(broken(&checker), ["one-proposal-per-view"]);
    }

    #[test]
    fn heights_and_parents_that_do_not_follow() {
        let mut checker = checker();
        let b1 = first_block(1);
        let b3 = block(3, 2, qc(1, b1.hash(&GENESIS)));
        checker.wrote(0, &GENESIS, &[insert(&b1), insert(&b3)]);
        checker.wrote(0, &GENESIS, &[insert(&child(&first_block(7), 8))]);
        assert_eq!(
            broken(&checker),
            ["height-is-parents-plus-one", "parent-is-known"]
        );
    }

    #[test]
    fn a_block_delivered_twice_or_never() {
        let mut checker = checker();
        let b1 = first_block(1);
        let b2 = child(&b1, 2);
        certify(&mut checker, &[&b1, &b2]);
        checker.wrote(0, &GENESIS, &[commit(&b1)]);
        checker.told_everything(0);
        let block = b1.hash(&GENESIS);
        let event = Event::Committed {
            rank: rank(1),
            height: BlockHeight(1),
            block,
        };
        checker.told(0, &event);
        checker.told_everything(0);
        checker.told(0, &event);
        assert_eq!(broken(&checker), ["delivered-once-in-order"; 2]);
    }

    #[test]
    fn an_app_that_was_asked_on_the_wrong_state() {
        let mut checker = checker();
        let (block, height) = (BlockHash([1; 32]), BlockHeight(1));
        let event = Event::Diverged {
            block,
            height,
            is_committed: false,
        };
        checker.told(0, &event);
        checker.state_is(0, 1, 5);
        checker.state_is(1, 1, 6);
        let rules = [
            "app-is-asked-on-the-right-state",
            "same-state-at-same-height",
        ];
        assert_eq!(broken(&checker), rules);
    }

    #[test]
    fn a_correct_replica_that_is_blamed() {
        let mut checker = checker();
        let (rank, block) = (rank(1), BlockHash([1; 32]));
        let refused = |leader| Event::BlockRefused {
            rank,
            block,
            leader,
            why: "",
        };
        let failed = |peer, why| Event::SyncFailed { peer, why };
        checker.told(0, &refused(address(3)));
        checker.told(0, &failed(address(3), "its blocks do not link up"));
        checker.told(0, &failed(address(1), "no answer in time"));
        assert_eq!(broken(&checker), [""; 0]);
        checker.told(0, &refused(address(1)));
        checker.told(0, &failed(address(1), "its blocks do not link up"));
        assert_eq!(broken(&checker), ["nobody-correct-is-blamed"; 2]);
    }

    /// Block 1 of view 1, which removes validator 2.
    fn updating() -> Block {
        let mut block = first_block(1);
        block.header.validator_set_updates = Some(vec![ValidatorSetUpdate {
            validator: address(2),
            power: 0,
        }]);
        block
    }

    fn nudged(block: &Block, view: u64, justify_view: u64, phase: Phase) -> VoteStatement {
        VoteStatement {
            epoch: Epoch(0),
            view_num: ViewNumber(view),
            justify_view: ViewNumber(justify_view),
            block_hash: block.hash(&GENESIS),
            phase,
        }
    }

    /// All three correct replicas vote so.
    fn vote_all(checker: &mut Checker, statement: VoteStatement) {
        for replica in 0..3 {
            checker.wrote(replica, &GENESIS, &[Write::CastVote(statement)]);
            let digest = Statement::Vote(statement).digest(&GENESIS);
            let vote = Vote {
                statement,
                voter: address(replica),
                signature: sign(&address(replica), &digest),
            };
            checker.said_vote(replica, &vote);
        }
    }

    /// The block is stored, and certified in its own view.
    fn prepare(checker: &mut Checker, block: &Block) {
        for replica in 0..3 {
            checker.wrote(replica, &GENESIS, &[insert(block)]);
        }
        vote_all(checker, nudged(block, 1, 0, Phase::Prepare));
    }

    fn change(block: &Block, members: &[usize]) -> Write {
        let members = members.iter().map(|replica| Validator {
            address: address(*replica),
            power: 1,
        });
        Write::ChangeEpoch(EpochRecord {
            epoch: Epoch(1),
            validator_set: ValidatorSet::new(members).expect("a set"),
            commit_qc: Some(commit_qc(block)),
        })
    }

    fn commit_qc(block: &Block) -> QuorumCertificate {
        QuorumCertificate {
            phase: Phase::Commit,
            ..qc(2, block.hash(&GENESIS))
        }
    }

    #[test]
    fn a_good_change_breaks_nothing() {
        let mut checker = checker();
        let block = updating();
        prepare(&mut checker, &block);
        vote_all(&mut checker, nudged(&block, 2, 1, Phase::Commit));
        let raise = Write::SetHighestQc(commit_qc(&block));
        let writes = [raise, commit(&block), change(&block, &[0, 1, 3])];
        checker.wrote(0, &GENESIS, &writes);
        assert_eq!(broken(&checker), [""; 0]);
    }

    #[test]
    fn a_change_that_is_not_certified_or_not_committed_or_not_the_blocks() {
        let block = updating();
        let mut checker = checker();
        prepare(&mut checker, &block);
        let writes = [commit(&block), change(&block, &[0, 1, 3])];
        checker.wrote(0, &GENESIS, &writes); // on Prepare
        assert_eq!(broken(&checker), ["commit-is-justified"; 2]);
        let mut checker = self::checker();
        prepare(&mut checker, &block);
        vote_all(&mut checker, nudged(&block, 2, 1, Phase::Commit));
        checker.wrote(0, &GENESIS, &[change(&block, &[0, 1, 3])]);
        checker.wrote(1, &GENESIS, &[commit(&block), change(&block, &[0, 1, 2])]);
        assert_eq!(broken(&checker), ["epochs-follow", "agreement-on-epochs"]);
    }

    #[test]
    fn phases_that_do_not_follow() {
        let block = updating();
        for statement in [
            nudged(&block, 3, 1, Phase::Commit),    // a view was lost
            nudged(&block, 2, 1, Phase::Precommit), // not by this rule
            nudged(&block, 2, 1, Phase::Prepare),   // the count goes on
            nudged(&block, 2, 1, Phase::Generic),
        ] {
            let mut checker = checker();
            prepare(&mut checker, &block);
            for replica in 0..3 {
                checker.wrote(replica, &GENESIS, &[Write::TimeOut(rank(1))]);
                checker.said(replica, &timeout(replica, 2, qc(1, block.hash(&GENESIS))));
            }
            let before = broken(&checker).len();
            checker.wrote(0, &GENESIS, &[Write::CastVote(statement)]);
            assert!(
                broken(&checker)[before..].contains(&"phases-follow"),
                "{statement:?}"
            );
        }
    }

    #[test]
    fn words_in_an_epoch_that_has_ended_or_of_no_validator() {
        let mut checker = checker();
        let block = updating();
        prepare(&mut checker, &block);
        vote_all(&mut checker, nudged(&block, 2, 1, Phase::Commit));
        checker.wrote(0, &GENESIS, &[Write::SetHighestQc(commit_qc(&block))]);
        checker.wrote(0, &GENESIS, &[Write::TimeOut(rank(3))]);
        checker.wrote(0, &GENESIS, &[]);
        checker.said(0, &timeout(0, 3, commit_qc(&block)));
        assert_eq!(broken(&checker), ["nothing-of-an-epoch-that-has-ended"]);
        let removed = [commit(&block), change(&block, &[0, 1, 3])];
        checker.wrote(2, &GENESIS, &removed);
        let vote = VoteStatement {
            epoch: Epoch(1),
            ..nudged(&block, 1, 0, Phase::Generic)
        };
        checker.wrote(2, &GENESIS, &[Write::CastVote(vote)]);
        assert!(broken(&checker)[1..].contains(&"only-validators-sign"));
    }

    #[test]
    fn evidence_against_a_correct_replica_or_against_nobody() {
        let mut checker = checker();
        let against = |replica: usize, other: usize| {
            let signed = |by: usize, view: u64| {
                let vote = vote(by, &child(&first_block(view), 9));
                let (statement, signature) = (vote.statement, vote.signature);
                Signed {
                    statement,
                    signature,
                }
            };
            let (first, second) = (signed(replica, 1), signed(other, 2));
            Evidence {
                validator: address(replica),
                contradiction: Contradiction::DoubleVote { first, second },
            }
        };
        let keep = |checker: &mut Checker, evidence: Evidence| {
            checker.wrote(0, &GENESIS, &[Write::KeepEvidence(evidence.clone())]);
            checker.told(0, &Event::EvidenceFound(evidence));
        };
        keep(&mut checker, against(3, 3));
        assert_eq!(broken(&checker), [""; 0]);
        keep(&mut checker, against(1, 1));
        keep(&mut checker, against(3, 1)); // half of it is signed by another
        checker.told(2, &Event::TwinSeen { rank: rank(1) });
        let rules = [
            "nobody-correct-is-convicted",
            "evidence-convicts-alone",
            "evidence-is-told-once",
            "nobody-correct-has-a-twin",
        ];
        assert_eq!(broken(&checker), rules);
    }

    #[test]
    fn memory_ahead_of_the_disk() {
        let mut checker = checker();
        let member = |byte| Validator {
            address: ValidatorAddress([byte; 32]),
            power: 1,
        };
        let set = ValidatorSet::new([1].map(member)).expect("a set");
        let disk = Durable::new(GENESIS, set);
        checker.remembers(0, disk.clone(), disk.clone());
        let mut memory = disk.clone();
        memory.voting_record.timed_out = Some((Epoch(0), ViewNumber(1)));
        checker.remembers(0, memory, disk);
        assert_eq!(broken(&checker), ["disk-equals-memory"]);
    }
}
