//! A validator that answers requests for blocks, each time with the same lie.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hotstuff::messages::{Certificate, Message, ProgressMessage, SyncMessage};
use hotstuff::messages::{SyncRequest, SyncResponse};
use hotstuff::network::NetworkProvider;
use hotstuff::types::*;

use crate::chain::Chain;
use crate::cluster::{Cluster, Port};

/// What the liar knows when it lies.
pub struct Question<'a> {
    pub chain: &'a Chain,
    pub request: SyncRequest,
    pub truth: SyncResponse,
    /// The true answer to the question before.
    pub before: Option<SyncResponse>,
    pub message_bytes_max: usize,
}

/// Its name, and the messages that it makes of a question.
pub type Lie = (&'static str, fn(Question<'_>) -> Vec<Vec<u8>>);

/// Every way to lie.
pub const LIES: [Lie; 22] = [
    ("silence", |_| vec![]),
    ("nothing", |q| {
        q.spoil(|r| (r.blocks, r.tail_qcs) = Default::default())
    }),
    ("it knows less", |q| {
        let genesis = q.chain.blocks[0].1.header.justify.clone();
        q.spoil(|r| (r.blocks, r.tail_qcs) = (vec![], vec![genesis]))
    }),
    ("nothing newer", |q| q.spoil(|r| r.blocks.clear())),
    ("other data", |q| {
        q.spoil(|r| r.blocks[2].data = Data::new([1; 9].as_slice()))
    }),
    ("the wrong order", |q| q.spoil(|r| r.blocks.reverse())),
    ("a hole", |q| q.spoil(|r| drop(r.blocks.remove(3)))),
    ("not from the beginning", |q| {
        q.spoil(|r| drop(r.blocks.remove(0)))
    }),
    ("other heights", |q| {
        q.spoil(|r| r.blocks[5].header.height = BlockHeight(0))
    }),
    ("a fork of its own", |q| q.spoil(append_fork)),
    ("the tail of another block", |q| {
        let tail = q.chain.highest_qc.clone();
        q.spoil(|r| r.tail_qcs = vec![tail])
    }),
    ("a tail without a quorum", |q| {
        q.spoil(|r| r.tail_qcs[0].signatures[1..3].fill(None))
    }),
    ("a tail with a forged signature", |q| {
        q.spoil(|r| r.tail_qcs[0].signatures[1] = Some(Signature([9; 64])))
    }),
    ("a tail with too many slots", |q| {
        q.spoil(|r| r.tail_qcs[0].signatures.extend([None; 99]))
    }),
    ("a tail of another epoch", |q| {
        q.spoil(|r| r.tail_qcs[0].epoch = Epoch(1))
    }),
    ("no tail", |q| q.spoil(|r| r.tail_qcs.clear())),
    ("more than was asked for", |q| {
        let all = q.chain.answer(&SyncRequest {
            limit: u32::MAX,
            ..q.request
        });
        vec![encode(all)]
    }),
    ("too many bytes", |q| vec![vec![0; q.message_bytes_max + 1]]),
    ("garbage", |q| {
        let mut bytes = encode(q.truth);
        bytes.truncate(bytes.len() / 2);
        vec![bytes]
    }),
    ("an answer to another question", |q| {
        q.spoil(|r| r.highest_committed_block = BlockHash([5; 32]))
    }),
    ("the answer to the question before", |q| {
        q.before.into_iter().map(encode).collect()
    }),
    ("a block at a time", |q| {
        let one = q.chain.answer(&SyncRequest {
            limit: 1,
            ..q.request
        });
        vec![encode(one.clone()), encode(one)]
    }),
];

impl Question<'_> {
    fn spoil(self, lie: impl FnOnce(&mut SyncResponse)) -> Vec<Vec<u8>> {
        let mut response = self.truth;
        // Near the end there may be too little to spoil: then it says nothing.
        if response.blocks.len() < 6 {
            return vec![];
        }
        lie(&mut response);
        vec![encode(response)]
    }
}

/// Three blocks of its own in consecutive views, with certificates that nobody has signed: whoever
/// believes what stands inside a range commits the first.
fn append_fork(response: &mut SyncResponse) {
    let mut block = response.blocks.pop().expect("there are some");
    for _ in 0..3 {
        response.blocks.push(block.clone());
        block.header.height = block.header.height.next();
        block.header.view = block.header.view.next();
        block.header.justify.view_num = block.header.justify.view_num.next();
    }
}

fn encode(response: SyncResponse) -> Vec<u8> {
    codec::encode(&Message::Sync(SyncMessage::Response(response)))
}

/// A liar at work.
pub struct Liar {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    port: Arc<Port>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Validator `i` lies; it also speaks of the end of the chain, so that it is asked.
    pub fn start(cluster: &Cluster, i: usize, chain: &Arc<Chain>, lie: Lie) -> Liar {
        let port = cluster.hub.port(cluster.address(i));
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let message_bytes_max = cluster.genesis.parameters.message_bytes_max();
        let thread = {
            let (port, stop, asked, chain) =
                (port.clone(), stop.clone(), asked.clone(), chain.clone());
            std::thread::spawn(move || {
                let mut before = None;
                while !stop.load(Ordering::SeqCst) {
                    let Some((from, bytes)) = port.receive(Duration::from_secs(60)) else {
                        continue;
                    };
                    let message = codec::decode::<Message>(&bytes, message_bytes_max);
                    let Ok(Message::Sync(SyncMessage::Request(request))) = message else {
                        continue;
                    };
                    asked.fetch_add(1, Ordering::SeqCst);
                    let truth = chain.answer(&request);
                    let question = Question {
                        chain: &chain,
                        request,
                        truth: truth.clone(),
                        before: before.replace(truth),
                        message_bytes_max,
                    };
                    let said = lie.1(question);
                    said.iter().for_each(|message| port.send(from, message));
                    let tip = Certificate::Quorum(chain.highest_qc.clone());
                    let tip = Message::Progress(ProgressMessage::AdvanceView(tip));
                    port.send(from, &codec::encode(&tip));
                }
            })
        };
        Liar {
            stop,
            asked,
            port,
            thread: Some(thread),
        }
    }

    /// How often it was asked, until now.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.port.wake();
        let thread = self.thread.take().expect("it is joined once");
        assert!(thread.join().is_ok(), "the liar has a slip of the tongue");
    }
}
