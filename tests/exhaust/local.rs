//! What one honest replica can come to: a graph of its states, built as the search asks for them.
//!
//! The core is a function of its inputs, so a state is named by the inputs that led to it, and made
//! again by feeding them to a new instance: nothing is copied. Two histories that leave the same
//! view, the same disk and the same words behind are one: what else the core remembers (votes and
//! time-outs on their way to a certificate) decides nothing where only certificates are delivered.
//! Each edge is computed once, however often the search goes along it.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use hotstuff::algorithm::{Durable, Event, Input, Write};
use hotstuff::messages::{Message, ProgressMessage};
use hotstuff::types::{
    BlockHash, QuorumCertificate, Time, TimeoutCertificate, TimeoutStatement, ViewNumber,
    VoteStatement,
};

use crate::node::{Chain, Node, Spoken};

/// Time stands still: the search itself decides when a timer runs out.
const NOW: Time = Time(0);

/// Something that can happen to a replica.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // the large one is the usual one
pub enum Happening {
    Timer,
    /// A crash, and a start from what is on disk.
    Restart,
    Hear(Message),
}

/// What a replica has signed. Whatever has been sent can be delivered for ever after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Said {
    Vote(VoteStatement),
    Timeout(TimeoutStatement),
}

/// One state of a replica.
pub struct Local {
    came_by: Option<(u32, u32)>,
    pub view: u64,
    pub said: BTreeSet<Said>,
    /// Its own proposals, which are votes of its own too.
    pub proposed: Vec<Message>,
    pub committed: Vec<BlockHash>,
    /// The rule that the last happening broke.
    pub broken: Option<String>,
}

/// See the module.
pub struct Locals {
    chain: Chain,
    me: usize,
    /// Whether it ever leads.
    leads: bool,
    /// A seeded defect: a restart forgets what was voted and timed out.
    forgets_votes: bool,
    pub all: Vec<Local>,
    by_digest: HashMap<(u64, u64), u32>,
    edges: HashMap<(u32, u32), u32>,
}

impl Locals {
    pub fn new(chain: Chain, me: usize, leads: bool, forgets_votes: bool) -> Locals {
        let mut locals = Locals {
            chain,
            me,
            leads,
            forgets_votes,
            all: Vec::new(),
            by_digest: HashMap::new(),
            edges: HashMap::new(),
        };
        let (node, spoken) = Node::start(&locals.chain, me, me, NOW);
        let none = Local {
            came_by: None,
            view: 0,
            said: BTreeSet::new(),
            proposed: Vec::new(),
            committed: Vec::new(),
            broken: None,
        };
        let first = after(&none, None, &node, &spoken);
        locals.intern(first, &node);
        locals
    }

    /// Where `happening`, known by its number, leads from state `from`.
    pub fn next(&mut self, from: u32, number: u32, happenings: &[Happening]) -> u32 {
        if let Some(to) = self.edges.get(&(from, number)) {
            return *to;
        }
        let mut node = self.made_again(from, happenings);
        let spoken = self.happen(&mut node, &happenings[number as usize]);
        let local = after(
            &self.all[from as usize],
            Some((from, number)),
            &node,
            &spoken,
        );
        let to = self.intern(local, &node);
        self.edges.insert((from, number), to);
        to
    }

    fn happen(&self, node: &mut Node, happening: &Happening) -> Vec<Spoken> {
        match happening {
            Happening::Timer => node.take(NOW, Input::TimerExpired),
            Happening::Restart => {
                let mut durable = node.disk.durable();
                if self.forgets_votes {
                    durable.voting_record = Default::default();
                }
                node.restart_from(&self.chain, durable, NOW)
            }
            // All messages are self-certifying: who hands them on does not matter.
            Happening::Hear(message) => node.hear(NOW, 0, message.clone()).unwrap_or_default(),
        }
    }

    fn made_again(&self, state: u32, happenings: &[Happening]) -> Node {
        let mut path = Vec::new();
        let mut at = state;
        while let Some((from, number)) = self.all[at as usize].came_by {
            path.push(number);
            at = from;
        }
        let (mut node, _) = Node::start(&self.chain, self.me, self.me, NOW);
        for number in path.into_iter().rev() {
            self.happen(&mut node, &happenings[number as usize]);
        }
        node
    }

    fn intern(&mut self, local: Local, node: &Node) -> u32 {
        let digest = (self.digest(1, &local, node), self.digest(2, &local, node));
        let next = self.all.len() as u32;
        let number = *self.by_digest.entry(digest).or_insert(next);
        if number == next {
            self.all.push(local);
        }
        number
    }

    fn digest(&self, salt: u64, local: &Local, node: &Node) -> u64 {
        let Durable {
            voting_record,
            highest_qc,
            highest_tc,
            committed,
            pending,
            ..
        } = node.algorithm().durable();
        let mut hasher = DefaultHasher::new();
        (salt, local.view, &local.said, &local.broken).hash(&mut hasher);
        (voting_record.voted, voting_record.timed_out).hash(&mut hasher);
        (highest_qc.statement(), committed.hash).hash(&mut hasher);
        // Who has signed matters only to those to whom a leader shows it.
        let shown = self.leads.then(|| {
            let proposed = local.proposed.iter().filter_map(certificate_of);
            let tcs = highest_tc.iter().chain(proposed).map(signers_of_tc);
            (signers_of_qc(&highest_qc), tcs.collect::<Vec<_>>())
        });
        let pending: Vec<BlockHash> = pending.iter().map(|block| block.hash).collect();
        (shown, pending).hash(&mut hasher);
        hasher.finish()
    }
}

/// The TC of a proposal.
fn certificate_of(message: &Message) -> Option<&TimeoutCertificate> {
    match message {
        Message::Progress(ProgressMessage::Propose(propose)) => {
            propose.timeout_certificate.as_ref()
        }
        _ => None,
    }
}

fn signers_of_qc(qc: &QuorumCertificate) -> (VoteStatement, Vec<bool>) {
    let slots = qc.signatures.iter().map(Option::is_some);
    (qc.statement(), slots.collect())
}

fn signers_of_tc(tc: &TimeoutCertificate) -> impl Hash {
    let slots = tc.signatures.iter();
    let named: Vec<Option<ViewNumber>> = slots.map(|slot| slot.map(|(named, _)| named)).collect();
    (tc.view_num, signers_of_qc(&tc.highest_qc), named)
}

/// What becomes of `before` by what was written and said, judged by the rules of voting.
fn after(before: &Local, came_by: Option<(u32, u32)>, node: &Node, spoken: &[Spoken]) -> Local {
    let mut local = Local {
        came_by,
        view: node.algorithm().view().view.0,
        said: before.said.clone(),
        proposed: before.proposed.clone(),
        committed: before.committed.clone(),
        broken: None,
    };
    for spoken in spoken {
        for write in &spoken.writes {
            if let Write::CommitBlock { hash, .. } = write {
                local.committed.push(*hash);
            }
        }
        let is_twin = |event: &&Event| matches!(event, Event::TwinSeen { .. });
        if let Some(event) = spoken.events.iter().find(is_twin) {
            local.broken = Some(format!("nobody-correct-has-a-twin: {event:?}"));
        }
        for message in &spoken.own {
            match message {
                Message::Progress(ProgressMessage::Vote(vote)) => local.vote(vote.statement),
                Message::Progress(ProgressMessage::TimeoutVote(timeout)) => {
                    local.time_out(timeout.statement());
                }
                _ => {}
            }
        }
        let proposals = spoken.messages.iter().map(|(_, message)| message);
        let proposals = proposals
            .filter(|message| matches!(message, Message::Progress(ProgressMessage::Propose(_))));
        for proposal in proposals {
            if !local.proposed.contains(proposal) {
                local.proposed.push(proposal.clone());
            }
        }
    }
    local
}

impl Local {
    /// One that names a higher QC than another of its view says nothing that can be used.
    fn time_out(&mut self, timeout: TimeoutStatement) {
        let is_weaker = |said: &Said| match said {
            Said::Timeout(said) => {
                said.view_num == timeout.view_num && said.qc_view <= timeout.qc_view
            }
            Said::Vote(_) => false,
        };
        if !self.said.iter().any(is_weaker) {
            self.said.insert(Said::Timeout(timeout));
        }
    }

    fn vote(&mut self, vote: VoteStatement) {
        let said = Said::Vote(vote);
        if self.said.contains(&said) {
            return; // again
        }
        for before in &self.said {
            match before {
                Said::Vote(before) if before.rank() == vote.rank() => {
                    self.broken = Some(format!("one-vote-per-view: {before:?} and {vote:?}"));
                }
                Said::Timeout(timeout) if timeout.view_num >= vote.view_num => {
                    self.broken = Some(format!("no-vote-after-timeout: {timeout:?}, {vote:?}"));
                }
                _ => {}
            }
        }
        self.said.insert(said);
    }
}
