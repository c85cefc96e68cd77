//! Four validators, and what three of them have said in a short life without the first: the honest
//! messages that every input of `step` and `sync` may use, in any order.
//!
//! The first is the replica under test. The last one's key is the fuzzer's: it may sign what it
//! likes. The two others have said what they have said, and say nothing else.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hotstuff::algorithm::verify::{ed25519, Verifier};
use hotstuff::algorithm::{
    Algorithm, Config, Dispatch, Durable, Effect, Input, Limits, Persist, Step, SyncConfig, To,
    VoteTo, Write,
};
use hotstuff::app::{ProposeBlockResponse, ValidateBlockResponse};
use hotstuff::messages::{Message, SyncMessage, SyncResponse};
use hotstuff::pacemaker::DefaultPacemaker;
use hotstuff::types::crypto::SignedDigest;
use hotstuff::types::*;

pub const ME: usize = 0;
pub const LIAR: usize = 3;

/// Messages that are recorded.
const MESSAGES: usize = 120;

pub fn keys() -> &'static [KeyPair] {
    static KEYS: OnceLock<Vec<KeyPair>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let key = |i| KeyPair::from_seed(&[i; 32]).expect("32 bytes");
        let mut keys: Vec<KeyPair> = (1..=4).map(key).collect();
        keys.sort_by_key(KeyPair::address);
        keys
    })
}

pub fn genesis() -> Genesis {
    let members = keys().iter().map(|key| Validator {
        address: key.address(),
        power: 1,
    });
    Genesis {
        chain_id: ChainId(7),
        validator_set: ValidatorSet::new(members).expect("four validators"),
        app_state: BTreeMap::new(),
        parameters: ChainParameters {
            commit_rule: CommitRule::TwoChain,
            ..ChainParameters::default()
        },
    }
}

fn config(index: usize) -> Config {
    let genesis = genesis();
    Config {
        me: Some(keys()[index].address()),
        genesis: genesis.hash(),
        parameters: genesis.parameters,
        pacemaker: Arc::new(DefaultPacemaker::default()),
        vote_to: VoteTo::All,
        sync: SyncConfig {
            interval: Duration::from_secs(3),
            ..SyncConfig::default()
        },
        limits: Limits {
            pending_blocks_max: 16,
            ..Limits::default()
        },
    }
}

/// A disk that cannot be read: these replicas do not crash.
#[derive(Default)]
struct Disk(Vec<Write>);

impl Persist for Disk {
    type Error = ();

    fn persist(&mut self, writes: &[Write]) -> Result<(), ()> {
        self.0.extend_from_slice(writes);
        Ok(())
    }
}

type Checked = BTreeMap<SignedDigest, bool>;

/// Signatures that are remembered; then all are forgotten.
const CHECKED_MAX: usize = 100_000;

/// Ed25519, each signature once: the honest ones come back in every input.
fn check(claims: &[SignedDigest]) -> bool {
    thread_local!(static CHECKED: RefCell<Checked> = RefCell::default());
    CHECKED.with_borrow_mut(|checked| {
        if checked.len() >= CHECKED_MAX {
            checked.clear();
        }
        let mut is_true = |claim: &SignedDigest| {
            *checked
                .entry(*claim)
                .or_insert_with(|| ed25519(std::slice::from_ref(claim)))
        };
        claims.iter().all(&mut is_true)
    })
}

/// One validator.
pub struct Node {
    index: usize,
    pub algorithm: Option<Algorithm>,
    pub verifier: Verifier,
    disk: Disk,
    pub now: Time,
    /// Questions to the app that wait for an answer.
    pub questions: VecDeque<Effect>,
    /// What it sends.
    pub sent: Vec<(To, Message)>,
}

impl Node {
    pub fn new(index: usize) -> Node {
        let genesis = genesis();
        let hash = genesis.hash();
        let mut verifier = Verifier::new(hash, check);
        verifier.learn(Epoch(0), genesis.validator_set.clone());
        let durable = Durable::new(hash, genesis.validator_set);
        let mut node = Node {
            index,
            algorithm: None,
            verifier,
            disk: Disk::default(),
            now: Time(1),
            questions: VecDeque::new(),
            sent: Vec::new(),
        };
        let step = Algorithm::recover(config(index), durable, node.now);
        node.finish(step);
        node
    }

    pub fn step(&mut self, input: Input) {
        let algorithm = self.algorithm.take().expect("between steps");
        let step = algorithm.step(self.now, input);
        self.finish(step);
    }

    /// Persists, signs, sends, and takes in what it says to itself.
    fn finish(&mut self, mut step: Step) {
        self.questions.extend(step.take_effects());
        let (algorithm, outbox) = step.persist(&mut self.disk).expect("it takes everything");
        let written = &self.disk.0;
        let mut stored = |hash: &BlockHash| stored(written, hash);
        let Dispatch {
            messages, inputs, ..
        } = outbox.sign(Some(&keys()[self.index]), &mut stored);
        self.algorithm = Some(algorithm);
        self.sent.extend(messages);
        inputs.into_iter().for_each(|input| self.step(input));
    }

    /// Verifies a message as the filter does, and takes it in if it may.
    pub fn receive(&mut self, from: usize, message: Message) {
        let from = keys()[from].address();
        match message {
            Message::Progress(progress) => {
                if let Ok(message) = self.verifier.progress(progress) {
                    self.step(Input::Progress { from, message });
                }
            }
            Message::Sync(SyncMessage::Response(response)) => {
                match self.verifier.sync_response(response) {
                    Ok(response) => self.step(Input::Synced { from, response }),
                    Err(_) => self.step(Input::SyncFailed { peer: from }),
                }
            }
            Message::Sync(SyncMessage::Request(_)) => (),
        }
    }

    /// The timer expires, at the earliest when it should.
    pub fn expire(&mut self) {
        let algorithm = self.algorithm.as_ref().expect("between steps");
        let deadline = algorithm.deadline();
        if deadline < Time::NEVER {
            self.now = self.now.max(deadline);
            self.step(Input::TimerExpired);
        }
    }

    /// The app answers the oldest question, as an honest app does.
    pub fn answer(&mut self) -> bool {
        let Some(question) = self.questions.pop_front() else {
            return false;
        };
        self.step(match question {
            Effect::ProposeBlock {
                cur_view,
                prev_block,
                ..
            } => Input::BlockProposed {
                cur_view,
                prev_block,
                response: ProposeBlockResponse::Block {
                    data: cur_view.0.to_le_bytes().to_vec(),
                    state_updates: None,
                    validator_set_updates: None,
                },
            },
            Effect::ValidateBlock { hash, .. } => Input::BlockValidated {
                block: hash,
                response: ValidateBlockResponse::Valid {
                    state_updates: None,
                    validator_set_updates: None,
                },
            },
        });
        true
    }
}

fn stored(written: &[Write], hash: &BlockHash) -> Option<Block> {
    written.iter().find_map(|write| match write {
        Write::InsertBlock {
            hash: inserted,
            block,
            ..
        } if inserted == hash => Some(block.clone()),
        _ => None,
    })
}

/// A recorded message, and who has sent it.
pub type Recorded = (usize, Message);

/// What the three others have said, in order, and answers to sync requests about their chain.
pub fn recorded() -> &'static [Recorded] {
    static RECORDED: OnceLock<Vec<Recorded>> = OnceLock::new();
    RECORDED.get_or_init(record)
}

fn record() -> Vec<Recorded> {
    let mut nodes: Vec<Node> = (0..4).map(Node::new).collect();
    let mut recorded: Vec<Recorded> = Vec::new();
    while recorded.len() < MESSAGES {
        let mut is_quiet = true;
        for from in ME + 1..nodes.len() {
            while nodes[from].answer() {}
            for (to, message) in std::mem::take(&mut nodes[from].sent) {
                is_quiet = false;
                recorded.push((from, message.clone()));
                for (index, node) in nodes.iter_mut().enumerate().skip(ME + 1) {
                    let is_meant = to == To::All || to == To::Peer(keys()[index].address());
                    if index != from && is_meant {
                        node.receive(from, message.clone());
                    }
                }
            }
        }
        if is_quiet {
            // Nobody hears of the first: the views that it leads run out.
            nodes.iter_mut().skip(ME + 1).for_each(Node::expire);
        }
    }
    let answers = answers(&recorded);
    recorded.extend(answers);
    recorded
}

/// The chain up to each proposal that was built on, as a sync server gives it.
fn answers(recorded: &[Recorded]) -> Vec<Recorded> {
    let proposals: Vec<_> = recorded
        .iter()
        .filter_map(|(_, message)| proposal(message))
        .collect();
    let mut answers = Vec::new();
    for last in proposals.iter().skip(1).step_by(3) {
        let mut blocks = Vec::new();
        let mut justify = &last.header.justify;
        let tail = justify.clone();
        let name = genesis().hash();
        while let Some(block) = proposals
            .iter()
            .find(|b| b.hash(&name) == justify.block_hash)
        {
            blocks.insert(0, (*block).clone());
            justify = &block.header.justify;
        }
        let response = SyncResponse {
            highest_committed_block: name.as_block_hash(),
            blocks,
            tail_qcs: vec![tail],
        };
        answers.push((1, Message::Sync(SyncMessage::Response(response))));
    }
    answers
}

fn proposal(message: &Message) -> Option<&Block> {
    match message {
        Message::Progress(hotstuff::messages::ProgressMessage::Propose(propose)) => {
            Some(&propose.block)
        }
        _ => None,
    }
}
