//! Replicas that break the rules. Each runs the honest algorithm and bends what leaves it, and may
//! say more after hearing others; it signs with its own key only. Together they hold less than a
//! third of the power.

use std::collections::BTreeMap;

use hotstuff::messages::{Certificate, Message, ProgressMessage, Propose, TimeoutVote, Vote};
use hotstuff::types::{
    Block, Data, Epoch, GenesisHash, Phase, QuorumCertificate, Signature, Statement,
    TimeoutCertificate, TimeoutStatement, ValidatorAddress, ViewNumber, VoteStatement,
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
    /// Claims to know a QC of the view before, in its time-outs and in forged TCs, and does not
    /// propose.
    Liar,
    /// Proposes one block to one half and another to the other, and votes for both.
    Equivocator,
    /// Votes for every block it sees, whatever the view, also after its time-outs.
    DoubleVoter,
    /// Proposes data that no app accepts.
    BadProposer,
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
    /// The highest view voted in for mischief.
    highest_qc: Option<QuorumCertificate>,
}

const TIMEOUT_VIEWS_MAX: usize = 8;

impl Actor {
    pub fn new(me: usize, behaviour: Behaviour, genesis: GenesisHash, validators: usize) -> Self {
        let timeouts = BTreeMap::new();
        Actor {
            me,
            behaviour,
            genesis,
            validators,
            timeouts,
            highest_qc: None,
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
                let vote = Message::Progress(ProgressMessage::Vote(second.vote));
                vec![
                    Message::Progress(ProgressMessage::Propose(first.clone())),
                    vote,
                ]
            }
            (Behaviour::BadProposer, Message::Progress(ProgressMessage::Propose(propose))) => {
                counts.add(Kind::BadBlock);
                let bad = self.propose_data(propose, Data::new(vec![0xBA, 0xD0]));
                vec![Message::Progress(ProgressMessage::Propose(bad))]
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
        match (self.behaviour, message) {
            (Behaviour::DoubleVoter, ProgressMessage::Propose(propose)) => {
                counts.add(Kind::DoubleVote);
                vec![self.vote_message(propose.vote.statement)]
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
        let mut header = propose.block.header.clone();
        header.data_hash = data.hash();
        let block = Block { header, data };
        let block_hash = block.hash(&self.genesis);
        let statement = VoteStatement {
            block_hash,
            ..propose.vote.statement
        };
        let timeout_certificate = propose.timeout_certificate.clone();
        Propose {
            block,
            vote: self.vote(statement),
            timeout_certificate,
        }
    }

    /// Three lies: a higher view signed over the true QC, a higher view with a QC of one's own
    /// making, and the truth a view higher than anyone is.
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
        [bare, made_up, ahead]
            .map(ProgressMessage::TimeoutVote)
            .to_vec()
    }

    fn made_up_qc(&self, view_num: ViewNumber) -> QuorumCertificate {
        let known = self.highest_qc.clone();
        let statement = VoteStatement {
            epoch: Epoch(0),
            view_num,
            justify_view: view_num.previous(),
            block_hash: known.map_or(self.genesis.as_block_hash(), |qc| qc.block_hash),
            phase: Phase::Generic,
        };
        let mine = self.sign(Statement::Vote(statement));
        QuorumCertificate {
            epoch: statement.epoch,
            view_num,
            justify_view: statement.justify_view,
            block_hash: statement.block_hash,
            phase: statement.phase,
            signatures: vec![Some(mine); self.validators],
        }
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
