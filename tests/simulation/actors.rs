//! Replicas that break the rules. Each runs the honest algorithm and bends what leaves it, and may
//! say more after hearing others; it signs with its own key only. Together they hold less than a
//! third of the power.

use std::collections::BTreeMap;

use hotstuff::messages::{
    Certificate, Message, Nudge, ProgressMessage, Propose, SyncMessage, SyncResponse, TimeoutVote,
    Vote, Wake,
};
use hotstuff::types::{
    Block, BlockHash, BlockHeader, BlockHeight, Data, Epoch, GenesisHash, Phase, QuorumCertificate,
    Signature, Statement, TimeoutCertificate, TimeoutStatement, ValidatorAddress, ViewNumber,
    VoteStatement, WakeStatement,
};

use crate::app::{commands, encode};
use crate::faults::{Counts, Kind};
use crate::keys::{address, index_of, sign};
use crate::rng::Rng;

/// What a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Correct,
    /// Sends its proposals to all but one, and answers that one's requests for blocks never.
    Withholder {
        victim: usize,
    },
    /// Claims to know a QC of the view before, in its time-outs and in forged TCs, or none at all,
    /// and does not propose.
    Liar,
    /// Proposes one block to one half and another to the other, both to the last, and votes for
    /// both.
    Equivocator,
    /// Votes for every block it sees, whatever the view, also after its time-outs, and for one that
    /// nobody has seen.
    DoubleVoter,
    /// Proposes blocks that break a rule which its key covers.
    BadProposer,
    /// Proposes on an old QC, with any TC it has or none.
    Forker,
    /// Repeats what others said with a part changed: without the TC, with other data, with
    /// certificates that are short, long, of another view, or garbage in one slot.
    Forger,
    /// Answers requests for blocks with what does not fit.
    LyingServer,
    /// Votes and times out views far ahead, again and again.
    FutureFlooder,
    /// Says everything in the epochs beside the right one too: proposes children of what ended an
    /// epoch in that epoch, blocks where a nudge is due, nudges of the wrong phase, and votes for
    /// all phases of what is nudged.
    WrongEpoch,
}

impl Behaviour {
    pub fn random(me: usize, validators: usize, rng: &mut Rng) -> Behaviour {
        let victim = (me + 1 + rng.index(validators - 1)) % validators;
        *rng.pick(&[
            Behaviour::Withholder { victim },
            Behaviour::Liar,
            Behaviour::Equivocator,
            Behaviour::DoubleVoter,
            Behaviour::BadProposer,
            Behaviour::Forker,
            Behaviour::Forger,
            Behaviour::LyingServer,
            Behaviour::FutureFlooder,
        ])
    }

    /// The fault that this behaviour injects, once it has had its chance.
    pub fn kind(self) -> Option<Kind> {
        match self {
            Behaviour::Correct => None,
            Behaviour::Withholder { .. } => Some(Kind::Withheld),
            Behaviour::Liar => Some(Kind::Inflated),
            Behaviour::Equivocator => Some(Kind::Equivocation),
            Behaviour::DoubleVoter => Some(Kind::DoubleVote),
            Behaviour::BadProposer => Some(Kind::BadBlock),
            Behaviour::Forker => Some(Kind::Fork),
            Behaviour::Forger => Some(Kind::Forgery),
            // They lie when they are asked, or vote, which may never happen.
            Behaviour::LyingServer | Behaviour::FutureFlooder | Behaviour::WrongEpoch => None,
        }
    }
}

/// A replica's will, between its algorithm and the network.
pub struct Actor {
    me: usize,
    behaviour: Behaviour,
    genesis: GenesisHash,
    validators: usize,
    /// Time-outs heard, by view and sender: what a forged TC is made of.
    timeouts: BTreeMap<u64, BTreeMap<usize, TimeoutVote>>,
    highest_qc: Option<QuorumCertificate>,
    /// Certificates heard, by view, and the heights of their blocks.
    certificates: BTreeMap<u64, QuorumCertificate>,
    heights: BTreeMap<BlockHash, BlockHeight>,
    timeout_certificate: Option<TimeoutCertificate>,
    rng: Rng,
}

const TIMEOUT_VIEWS_MAX: usize = 8;
const CERTIFICATES_MAX: usize = 16;

impl Actor {
    pub fn new(
        me: usize,
        behaviour: Behaviour,
        genesis: GenesisHash,
        validators: usize,
        rng: Rng,
    ) -> Self {
        let (timeouts, certificates, highest_qc, timeout_certificate) = Default::default();
        let heights = BTreeMap::from([(genesis.as_block_hash(), BlockHeight(0))]);
        Actor {
            me,
            behaviour,
            genesis,
            validators,
            timeouts,
            highest_qc,
            certificates,
            heights,
            timeout_certificate,
            rng,
        }
    }

    /// What really leaves, in place of `message` to `to`.
    pub fn bend(&mut self, to: usize, message: &Message, counts: &mut Counts) -> Vec<Message> {
        match (self.behaviour, message) {
            (Behaviour::Withholder { victim }, message) if victim == to => match message {
                Message::Progress(ProgressMessage::Propose(_)) | Message::Sync(_) => {
                    counts.add(Kind::Withheld);
                    vec![]
                }
                message => vec![message.clone()],
            },
            (Behaviour::Equivocator, Message::Progress(ProgressMessage::Propose(propose))) => {
                counts.add(Kind::Equivocation);
                let twin = self.twin(propose);
                let (first, second) = if to % 2 == 0 {
                    (propose, &twin)
                } else {
                    (&twin, propose)
                };
                let other = if to + 1 == self.validators {
                    ProgressMessage::Propose(second.clone())
                } else {
                    ProgressMessage::Vote(second.vote)
                };
                let first = ProgressMessage::Propose(first.clone());
                [first, other].map(Message::Progress).to_vec()
            }
            (Behaviour::BadProposer, Message::Progress(ProgressMessage::Propose(propose))) => {
                counts.add(Kind::BadBlock);
                vec![Message::Progress(ProgressMessage::Propose(
                    self.bad(propose),
                ))]
            }
            (Behaviour::Forker, Message::Progress(ProgressMessage::Propose(propose))) => {
                counts.add(Kind::Fork);
                vec![Message::Progress(ProgressMessage::Propose(
                    self.fork(propose),
                ))]
            }
            (Behaviour::LyingServer, Message::Sync(SyncMessage::Response(response))) => {
                counts.add(Kind::LyingAnswer);
                let responses = self.lying(response.clone()).into_iter();
                let responses = responses.map(SyncMessage::Response);
                responses.map(Message::Sync).collect()
            }
            (Behaviour::FutureFlooder, Message::Progress(ProgressMessage::Vote(vote))) => {
                counts.add(Kind::Flood);
                let mut flood = self.flood(vote);
                flood.push(message.clone());
                flood
            }
            (Behaviour::WrongEpoch, Message::Progress(progress)) => {
                let mut beside = self.beside(progress);
                beside.iter().for_each(|_| counts.add(Kind::WrongEpoch));
                beside.push(progress.clone());
                beside.into_iter().map(Message::Progress).collect()
            }
            // Without its proposals its views time out, and it has time-outs to forge with.
            (Behaviour::Liar, Message::Progress(ProgressMessage::Propose(_))) => vec![],
            (Behaviour::Liar, Message::Progress(ProgressMessage::TimeoutVote(timeout))) => {
                counts.add(Kind::Inflated);
                let lies = self.inflated(timeout);
                lies.into_iter().map(Message::Progress).collect()
            }
            (_, message) => vec![message.clone()],
        }
    }

    /// What it says to everyone on hearing `message`.
    pub fn hear(&mut self, message: &Message, counts: &mut Counts) -> Vec<Message> {
        let Message::Progress(message) = message else {
            return vec![];
        };
        if self.behaviour == Behaviour::Correct {
            return vec![];
        }
        self.remember(message);
        match (self.behaviour, message) {
            (Behaviour::Forger, message) => {
                let forged = self.forged(message);
                forged.iter().for_each(|_| counts.add(Kind::Forgery));
                forged.into_iter().map(Message::Progress).collect()
            }
            (Behaviour::DoubleVoter, ProgressMessage::Propose(propose)) => {
                counts.add(Kind::DoubleVote);
                let seen = propose.vote.statement;
                let unseen = VoteStatement {
                    block_hash: BlockHash([0xD0; 32]),
                    ..seen
                };
                [seen, unseen]
                    .map(|statement| self.vote_message(statement))
                    .to_vec()
            }
            (Behaviour::DoubleVoter | Behaviour::WrongEpoch, ProgressMessage::Nudge(nudge)) => {
                counts.add(Kind::DoubleVote);
                let phases = [Phase::Prepare, Phase::Precommit, Phase::Commit];
                let statement = |phase| VoteStatement {
                    phase,
                    ..nudge.vote.statement
                };
                phases
                    .map(|phase| self.vote_message(statement(phase)))
                    .to_vec()
            }
            (Behaviour::Liar, ProgressMessage::TimeoutVote(timeout)) => {
                let forged = self.forged_tc(timeout);
                forged.map_or(vec![], |tc| {
                    counts.add(Kind::Inflated);
                    let certificate = Certificate::Timeout(tc);
                    vec![Message::Progress(ProgressMessage::AdvanceView(certificate))]
                })
            }
            _ => vec![],
        }
    }

    fn remember(&mut self, message: &ProgressMessage) {
        match message {
            ProgressMessage::Propose(propose) => {
                let header = &propose.block.header;
                self.certificates
                    .insert(header.justify.view_num.0, header.justify.clone());
                self.heights
                    .insert(propose.vote.statement.block_hash, header.height);
                if let Some(tc) = &propose.timeout_certificate {
                    self.timeout_certificate = Some(tc.clone());
                }
            }
            ProgressMessage::Nudge(nudge) => {
                let justify = nudge.justify.clone();
                self.certificates.insert(justify.view_num.0, justify);
            }
            ProgressMessage::AdvanceView(Certificate::Timeout(tc)) => {
                self.timeout_certificate = Some(tc.clone());
            }
            _ => {}
        }
        while self.certificates.len() > CERTIFICATES_MAX {
            self.certificates.pop_first();
        }
    }

    fn sign(&self, statement: Statement) -> Signature {
        sign(&self.address(), &statement.digest(&self.genesis))
    }

    fn address(&self) -> ValidatorAddress {
        address(self.me)
    }

    fn vote(&self, statement: VoteStatement) -> Vote {
        let signature = self.sign(Statement::Vote(statement));
        Vote {
            statement,
            voter: self.address(),
            signature,
        }
    }

    fn vote_message(&self, statement: VoteStatement) -> Message {
        Message::Progress(ProgressMessage::Vote(self.vote(statement)))
    }

    /// Another block for the same view: the same commands backwards, or a block with none.
    fn twin(&self, propose: &Propose) -> Propose {
        let data = &propose.block.data;
        let data = if data.len() <= 16 {
            Data::empty()
        } else {
            let digest = u64::from_le_bytes(data[..8].try_into().expect("eight bytes"));
            let backwards: Vec<u64> = commands(data).into_iter().rev().collect();
            Data::new(encode(digest, &backwards))
        };
        self.propose_data(propose, data)
    }

    fn propose_data(&self, propose: &Propose, data: Data) -> Propose {
        self.propose_block(propose, propose.block.header.clone(), data)
    }

    fn propose_block(&self, propose: &Propose, mut header: BlockHeader, data: Data) -> Propose {
        header.data_hash = data.hash();
        let block = Block { header, data };
        let statement = VoteStatement {
            block_hash: block.hash(&self.genesis),
            view_num: block.header.view,
            justify_view: block.header.justify.rank().view,
            phase: match block.header.validator_set_updates {
                Some(_) => Phase::Prepare,
                None => Phase::Generic,
            },
            ..propose.vote.statement
        };
        let timeout_certificate = propose.timeout_certificate.clone();
        Propose {
            block,
            vote: self.vote(statement),
            timeout_certificate,
        }
    }

    /// A block that breaks one of the rules that only its leader can have broken.
    fn bad(&mut self, propose: &Propose) -> Propose {
        let mut header = propose.block.header.clone();
        let mut data = propose.block.data.clone();
        match self.rng.below(6) {
            0 => data = Data::new(vec![0xBA, 0xD0]),
            1 => header.height = header.height.next(),
            2 => header.height = BlockHeight(0),
            3 => header.validator_set_updates = Some(vec![]),
            4 => data = Data::new(vec![7; 5_000]),
            _ => header.view = header.view.next(),
        }
        self.propose_block(propose, header, data)
    }

    fn fork(&mut self, propose: &Propose) -> Propose {
        let mut header = propose.block.header.clone();
        let known = self
            .certificates
            .values()
            .filter(|qc| self.heights.contains_key(&qc.block_hash));
        let known: Vec<&QuorumCertificate> = known.collect();
        if !known.is_empty() {
            header.justify = (*self.rng.pick(&known)).clone();
            header.height = self.heights[&header.justify.block_hash].next();
        }
        let mut fork = self.propose_block(propose, header, Data::empty());
        if self.rng.chance(500) {
            fork.timeout_certificate = self.timeout_certificate.clone();
        }
        // True time-outs, with an older QC than they name: it would let the fork pass.
        if let Some(tc) = fork
            .timeout_certificate
            .as_mut()
            .filter(|_| self.rng.chance(500))
        {
            tc.highest_qc = fork.block.header.justify.clone();
        }
        fork
    }

    /// What a forger makes of `message`.
    fn forged(&mut self, message: &ProgressMessage) -> Vec<ProgressMessage> {
        match message {
            ProgressMessage::Propose(propose) => {
                let stripped = Propose {
                    timeout_certificate: None,
                    ..propose.clone()
                };
                let mut other_data = propose.clone();
                other_data.block.data = Data::new(vec![1, 2, 3]);
                let mut other_height = propose.clone();
                other_height.block.header.height = other_height.block.header.height.next();
                let certificate = self.spoiled(&propose.block.header.justify);
                let certificate = ProgressMessage::AdvanceView(Certificate::Quorum(certificate));
                let forged = [stripped, other_data, other_height].map(ProgressMessage::Propose);
                forged.into_iter().chain([certificate]).collect()
            }
            ProgressMessage::AdvanceView(Certificate::Timeout(tc)) => {
                let mut lower = tc.clone();
                lower.highest_qc = QuorumCertificate::genesis(self.genesis);
                let mut later = tc.clone();
                later.view_num = later.view_num.plus(1 + self.rng.below(5));
                let mut short = tc.clone();
                short.signatures.pop();
                let certificates = [lower, later, short].map(Certificate::Timeout);
                certificates.map(ProgressMessage::AdvanceView).to_vec()
            }
            ProgressMessage::TimeoutVote(timeout) => {
                let mut other_qc = timeout.clone();
                other_qc.highest_qc = self.spoiled(&timeout.highest_qc);
                vec![ProgressMessage::TimeoutVote(other_qc)]
            }
            ProgressMessage::Vote(vote) => {
                let mut later = *vote;
                later.statement.view_num = later.statement.view_num.next();
                let stolen = Vote {
                    voter: self.address(),
                    ..*vote
                };
                [later, stolen].map(ProgressMessage::Vote).to_vec()
            }
            _ => vec![],
        }
    }

    /// A certificate that is none any more.
    fn spoiled(&mut self, qc: &QuorumCertificate) -> QuorumCertificate {
        let mut qc = qc.clone();
        let signed = qc.signatures.iter().flatten().next().copied();
        let garbage = Signature([0xEE; 64]);
        match self.rng.below(7) {
            0 => qc.signatures.push(Some(garbage)),
            1 => drop(qc.signatures.pop()),
            // One signature in every slot.
            2 => qc.signatures.iter_mut().for_each(|slot| *slot = signed),
            // An empty slot is filled, a full one spoiled.
            3 => qc
                .signatures
                .iter_mut()
                .take(1)
                .for_each(|slot| *slot = Some(garbage)),
            4 => qc.view_num = qc.view_num.next(),
            5 => qc.phase = Phase::Commit,
            _ => qc
                .signatures
                .iter_mut()
                .skip(1)
                .for_each(|slot| *slot = None),
        }
        qc
    }

    fn lying(&mut self, mut response: SyncResponse) -> Vec<SyncResponse> {
        match self.rng.below(12) {
            0 => drop(response.blocks.pop()),
            1 => response.blocks.reverse(),
            2 => response.tail_qcs.clear(),
            3 => response.highest_committed_block = BlockHash([3; 32]),
            4 => response.blocks.truncate(1),
            5 => self.append_fork(&mut response.blocks),
            6 => return vec![],
            7 => return vec![response.clone(), response],
            8 => {
                response.blocks.clear();
                response.tail_qcs = vec![QuorumCertificate::genesis(self.genesis)];
            }
            9 => response
                .blocks
                .iter_mut()
                .for_each(|b| b.data = Data::empty()),
            10 => {
                let blocks = response.blocks.clone();
                (0..20).for_each(|_| response.blocks.extend_from_slice(&blocks));
            }
            // The truth, a block at a time.
            _ => {
                if let [_, next, ..] = &response.blocks[..] {
                    response.tail_qcs = vec![next.header.justify.clone()];
                    response.blocks.truncate(1);
                }
            }
        }
        vec![response]
    }

    /// In place of the last block: three of one's own in consecutive views, each with a certificate
    /// that nobody signed. Whoever believes the certificates inside commits the first.
    fn append_fork(&self, blocks: &mut Vec<Block>) {
        let Some(mut last) = blocks.pop() else { return };
        let data = Data::empty();
        for _ in 0..4 {
            last.header.data_hash = data.hash();
            last.data = data.clone();
            blocks.push(last.clone());
            let header = &mut last.header;
            header.justify.block_hash = blocks[blocks.len() - 1].hash(&self.genesis);
            header.justify.justify_view = header.justify.view_num;
            header.justify.view_num = header.view;
            header.view = header.view.next();
            header.height = header.height.next();
        }
    }

    /// The same in the epochs before and after, and what would fork where an epoch ends.
    fn beside(&mut self, message: &ProgressMessage) -> Vec<ProgressMessage> {
        match message {
            ProgressMessage::Vote(vote) => {
                let statement = vote.statement;
                let epochs = [statement.epoch.previous(), statement.epoch.next()];
                let vote = |epoch| self.vote(VoteStatement { epoch, ..statement });
                epochs
                    .map(|epoch| ProgressMessage::Vote(vote(epoch)))
                    .to_vec()
            }
            ProgressMessage::TimeoutVote(timeout) => {
                let in_epoch = |epoch: Epoch| {
                    let mut timeout = timeout.clone();
                    timeout.epoch = epoch;
                    timeout.last_vote = None;
                    timeout.signature = self.sign(Statement::Timeout(timeout.statement()));
                    ProgressMessage::TimeoutVote(timeout)
                };
                [timeout.epoch.previous(), timeout.epoch.next()]
                    .map(in_epoch)
                    .to_vec()
            }
            ProgressMessage::Propose(propose) => {
                let mut header = propose.block.header.clone();
                let justify = &header.justify;
                (header.epoch, header.view) = match justify.phase {
                    Phase::Commit => (justify.epoch, justify.view_num.next()),
                    _ => (header.epoch.next(), header.view),
                };
                let mut child = self.propose_block(propose, header, propose.block.data.clone());
                child.vote = self.vote(VoteStatement {
                    epoch: child.block.header.epoch,
                    ..child.vote.statement
                });
                vec![ProgressMessage::Propose(child)]
            }
            ProgressMessage::Nudge(nudge) => self.instead_of(nudge),
            _ => vec![],
        }
    }

    /// A block on what is only prepared, and nudges of other phases.
    fn instead_of(&self, nudge: &Nudge) -> Vec<ProgressMessage> {
        let height = self.heights.get(&nudge.justify.block_hash);
        let header = BlockHeader {
            height: height.copied().unwrap_or_default().next(),
            epoch: nudge.justify.epoch,
            view: nudge.view_num,
            justify: nudge.justify.clone(),
            data_hash: Data::empty().hash(),
            validator_set_updates: None,
        };
        let block = Block {
            header,
            data: Data::empty(),
        };
        let statement = VoteStatement {
            block_hash: block.hash(&self.genesis),
            phase: Phase::Generic,
            ..nudge.vote.statement
        };
        let propose = ProgressMessage::Propose(Propose {
            block,
            vote: self.vote(statement),
            timeout_certificate: nudge.timeout_certificate.clone(),
        });
        let phases = [Phase::Prepare, Phase::Precommit, Phase::Commit];
        let other = phases
            .into_iter()
            .filter(|phase| *phase != nudge.vote.statement.phase);
        let nudges = other.map(|phase| {
            let mut other = nudge.clone();
            other.vote = self.vote(VoteStatement {
                phase,
                ..nudge.vote.statement
            });
            ProgressMessage::Nudge(other)
        });
        nudges.chain([propose]).collect()
    }

    fn flood(&mut self, vote: &Vote) -> Vec<Message> {
        let ahead = *self.rng.pick(&[1, 2, 30, 1_000, u64::MAX / 2]);
        let view_num = vote.statement.view_num.plus(ahead);
        let later = VoteStatement {
            view_num,
            ..vote.statement
        };
        let genesis = QuorumCertificate::genesis(self.genesis);
        let highest_qc = self
            .certificates
            .values()
            .last()
            .cloned()
            .unwrap_or(genesis);
        let (epoch, qc_view) = (vote.statement.epoch, highest_qc.rank().view);
        let statement = Statement::Timeout(TimeoutStatement {
            epoch,
            view_num,
            qc_view,
        });
        let signature = self.sign(statement);
        let validator = self.address();
        let last_vote = Some(self.vote(later));
        let timeout = TimeoutVote {
            epoch,
            view_num,
            highest_qc,
            last_vote,
            validator,
            signature,
        };
        let timeout = Message::Progress(ProgressMessage::TimeoutVote(timeout));
        let wake = self.sign(Statement::Wake(WakeStatement { epoch, view_num }));
        let wake = Wake {
            epoch,
            view_num,
            validator,
            signature: wake,
        };
        let wake = Message::Progress(ProgressMessage::Wake(wake));
        vec![self.vote_message(later), timeout, wake]
    }

    /// Four lies: a higher view signed over the true QC, a higher view with a QC of one's own
    /// making, the truth a view higher than anyone is, and that no QC was ever seen.
    fn inflated(&self, timeout: &TimeoutVote) -> Vec<ProgressMessage> {
        let claimed = timeout.view_num.previous();
        let signed = |view_num: ViewNumber, qc_view: ViewNumber| {
            let epoch = timeout.epoch;
            self.sign(Statement::Timeout(TimeoutStatement {
                epoch,
                view_num,
                qc_view,
            }))
        };
        let bare = TimeoutVote {
            signature: signed(timeout.view_num, claimed),
            last_vote: None,
            ..timeout.clone()
        };
        let made_up = TimeoutVote {
            highest_qc: self.made_up_qc(claimed),
            ..bare.clone()
        };
        let view_num = timeout.view_num.plus(1);
        let ahead = TimeoutVote {
            view_num,
            signature: signed(view_num, timeout.highest_qc.rank().view),
            last_vote: None,
            ..timeout.clone()
        };
        let denied = TimeoutVote {
            highest_qc: QuorumCertificate::genesis(self.genesis),
            signature: signed(timeout.view_num, ViewNumber(0)),
            ..timeout.clone()
        };
        [bare, made_up, ahead, denied]
            .map(ProgressMessage::TimeoutVote)
            .to_vec()
    }

    fn made_up_qc(&self, view_num: ViewNumber) -> QuorumCertificate {
        let known = self.highest_qc.clone();
        let epoch = known.as_ref().map_or(Epoch(0), |qc| qc.rank().epoch);
        let statement = VoteStatement {
            epoch,
            view_num,
            justify_view: view_num.previous(),
            block_hash: known.map_or(self.genesis.as_block_hash(), |qc| qc.block_hash),
            phase: Phase::Generic,
        };
        let mine = self.sign(Statement::Vote(statement));
        QuorumCertificate::new(statement, vec![Some(mine); self.validators])
    }

    /// A TC of real time-outs and one's own, which claims the view before, without a QC of it.
    fn forged_tc(&mut self, timeout: &TimeoutVote) -> Option<TimeoutCertificate> {
        let from = index_of(&timeout.validator);
        let view_num = timeout.view_num;
        self.highest_qc = Some(timeout.highest_qc.clone());
        let view = self.timeouts.entry(view_num.0).or_default();
        view.insert(from, timeout.clone());
        let view = view.clone();
        while self.timeouts.len() > TIMEOUT_VIEWS_MAX {
            self.timeouts.pop_first();
        }
        if view.len() * 3 < self.validators * 2 - 2 {
            return None;
        }
        let highest = view
            .values()
            .max_by_key(|timeout| timeout.highest_qc.rank())?;
        let epoch = timeout.epoch;
        let lie = TimeoutStatement {
            epoch,
            view_num,
            qc_view: view_num.previous(),
        };
        let slot = |index: usize| {
            if index == self.me {
                return Some((lie.qc_view, self.sign(Statement::Timeout(lie))));
            }
            view.get(&index)
                .map(|timeout| (timeout.highest_qc.rank().view, timeout.signature))
        };
        let signatures = (0..self.validators).map(slot).collect();
        let highest_qc = highest.highest_qc.clone();
        Some(TimeoutCertificate {
            epoch,
            view_num,
            highest_qc,
            signatures,
        })
    }
}
