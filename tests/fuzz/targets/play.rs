//! A replica among hostile messages: honest ones in any order and again, mutilated ones, and what a
//! liar signs. It may not panic, and agreement holds: its own asserts are the oracle, and that its
//! committed chain only grows.

use hotstuff::algorithm::{Effect, Input};
use hotstuff::app::{ProposeBlockResponse, ValidateBlockResponse};
use hotstuff::messages::{Message, ProgressMessage, SyncMessage, Vote};
use hotstuff::types::{codec, BlockHeight, Signature, Statement, ValidatorSetUpdate};

use super::world::{genesis, keys, recorded, Node, LIAR, ME};
use super::Bytes;

/// What one input may do: enough for some rotations.
const MOVES_MAX: usize = 400;

pub fn step(bytes: &[u8]) {
    any(bytes);
}

pub fn sync(bytes: &[u8]) {
    answers(bytes);
}

/// Any moves; the height that they lead to.
pub fn any(bytes: &[u8]) -> BlockHeight {
    let mut next = 0;
    play(bytes, |node, bytes| match bytes.byte() % 4 {
        0 => hear_on(node, &mut next, bytes),
        _ => any_move(node, bytes),
    })
}

/// Answers to sync requests above all.
pub fn answers(bytes: &[u8]) -> BlockHeight {
    let mut next = 0;
    play(bytes, |node, bytes| match bytes.byte() % 8 {
        0 => hear_on(node, &mut next, bytes),
        1 => any_move(node, bytes),
        2 => node.expire(),
        3 => while node.answer() {},
        4 => {
            let (from, message) = &recorded()[answer(bytes.byte())];
            node.receive(*from, mutilate(message, bytes));
        }
        _ => {
            let (from, message) = recorded()[answer(bytes.byte())].clone();
            node.receive(from, message);
        }
    })
}

/// The honest messages in their order, and an honest app.
fn hear_on(node: &mut Node, next: &mut usize, bytes: &mut Bytes<'_>) {
    for _ in 0..bytes.byte() % 16 {
        if let Some((from, message)) = recorded().get(*next).cloned() {
            node.receive(from, message);
            while node.answer() {}
            *next += 1;
        }
    }
}

fn play(bytes: &[u8], mut make_move: impl FnMut(&mut Node, &mut Bytes<'_>)) -> BlockHeight {
    let mut bytes = Bytes(bytes);
    let mut node = Node::new(ME);
    let mut height = BlockHeight(0);
    for _ in 0..MOVES_MAX {
        if bytes.is_empty() {
            break;
        }
        make_move(&mut node, &mut bytes);
        let algorithm = node.algorithm.as_ref().expect("between steps");
        let committed = algorithm.committed().height;
        assert!(committed >= height, "{committed} after {height}");
        height = committed;
    }
    height
}

/// The place of a recorded answer.
fn answer(choice: u8) -> usize {
    let is_answer = |message: &Message| matches!(message, Message::Sync(SyncMessage::Response(_)));
    let first = recorded()
        .iter()
        .position(|(_, message)| is_answer(message));
    let first = first.expect("there are answers");
    first + usize::from(choice) % (recorded().len() - first)
}

fn any_move(node: &mut Node, bytes: &mut Bytes<'_>) {
    let place = |bytes: &mut Bytes<'_>| usize::from(bytes.byte()) % recorded().len();
    match bytes.byte() % 10 {
        // Honest, in order and out of it.
        0..=2 => {
            let (from, message) = recorded()[place(bytes)].clone();
            node.receive(from, message);
        }
        3 => {
            let from = place(bytes);
            let messages = recorded()
                .iter()
                .skip(from)
                .take(usize::from(bytes.byte()) % 32);
            messages.for_each(|(from, message)| node.receive(*from, message.clone()));
        }
        4 => {
            let (from, message) = &recorded()[place(bytes)];
            node.receive(*from, mutilate(message, bytes));
        }
        // What the liar signs.
        5 | 6 => {
            let (_, message) = &recorded()[place(bytes)];
            let message = signed_by_liar(mutilate(message, bytes));
            node.receive(LIAR, message);
        }
        7 => node.expire(),
        8 => answer_wrongly(node, bytes),
        _ => {
            if !node.answer() {
                node.step(Input::Notify);
            }
        }
    }
}

/// The message with some bytes changed, if it is one then.
fn mutilate(message: &Message, bytes: &mut Bytes<'_>) -> Message {
    let mut encoded = codec::encode(message);
    for _ in 0..bytes.byte() % 4 {
        let at = usize::from(bytes.number()) % encoded.len();
        match bytes.byte() % 4 {
            0 => encoded[at] ^= 1 << (bytes.byte() % 8),
            1 => encoded[at] = encoded[at].wrapping_add(1),
            2 => encoded[at] = encoded[at].wrapping_sub(1),
            _ => encoded[at] = bytes.byte(),
        }
    }
    codec::decode(&encoded, encoded.len()).unwrap_or_else(|_| message.clone())
}

/// With the liar's key wherever its sender signs; a block under its own name.
fn signed_by_liar(mut message: Message) -> Message {
    if let Message::Progress(progress) = &mut message {
        match progress {
            ProgressMessage::Propose(propose) => {
                let header = &mut propose.block.header;
                header.data_hash = propose.block.data.hash();
                propose.vote.statement.block_hash = header.hash(&genesis().hash());
                propose.vote.statement.epoch = header.epoch;
                propose.vote.statement.view_num = header.view;
                propose.vote.statement.justify_view = header.justify.rank().view;
                sign_vote(&mut propose.vote);
            }
            ProgressMessage::Nudge(nudge) => sign_vote(&mut nudge.vote),
            ProgressMessage::Vote(vote) => sign_vote(vote),
            ProgressMessage::TimeoutVote(timeout) => {
                timeout.last_vote.iter_mut().for_each(sign_vote);
                timeout.validator = keys()[LIAR].address();
                timeout.signature = sign(Statement::Timeout(timeout.statement()));
            }
            ProgressMessage::Wake(wake) => {
                wake.validator = keys()[LIAR].address();
                wake.signature = sign(Statement::Wake(wake.statement()));
            }
            ProgressMessage::AdvanceView(_) => (),
        }
    }
    message
}

fn sign_vote(vote: &mut Vote) {
    vote.voter = keys()[LIAR].address();
    vote.signature = sign(vote.signed());
}

fn sign(statement: Statement) -> Signature {
    keys()[LIAR].sign(&statement.digest(&genesis().hash()))
}

/// The host's app fails, or answers with nonsense, or what was not asked.
fn answer_wrongly(node: &mut Node, bytes: &mut Bytes<'_>) {
    let Some(question) = node.questions.pop_front() else {
        return;
    };
    if bytes.byte() % 4 == 0 {
        node.questions.push_back(question.clone());
    }
    let validator_set_updates = (bytes.byte() % 4 == 0).then(|| {
        let validator = keys()[usize::from(bytes.byte()) % 4].address();
        let power = u64::from(bytes.number());
        vec![ValidatorSetUpdate { validator, power }]
    });
    let choice = bytes.byte() % 3;
    node.step(match question {
        Effect::ProposeBlock {
            cur_view,
            prev_block,
            ..
        } => Input::BlockProposed {
            cur_view,
            prev_block,
            response: match choice {
                0 => ProposeBlockResponse::Defer,
                1 => ProposeBlockResponse::Failed,
                _ => ProposeBlockResponse::Block {
                    data: vec![1; usize::from(bytes.number()) * 32],
                    state_updates: None,
                    validator_set_updates,
                },
            },
        },
        Effect::ValidateBlock { hash, .. } => Input::BlockValidated {
            block: hash,
            response: match choice {
                0 => ValidateBlockResponse::Undecided,
                1 => ValidateBlockResponse::Invalid,
                _ => ValidateBlockResponse::Valid {
                    state_updates: None,
                    validator_set_updates,
                },
            },
        },
    });
}
