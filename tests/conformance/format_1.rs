//! What was written in version 1 of the formats, loads: a database, and one message of each kind.
//! From the first release on, the files in `format-1` stay as they are.

use std::fs;
use std::path::{Path, PathBuf};

use hotstuff::algorithm::{Durable, Persist, StoredProposal, Write};
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::block_tree::BlockTree;
use hotstuff::messages::{Message, ProgressMessage, SyncMessage};
use hotstuff::types::*;

use crate::generator::Generator;
use crate::{bytes, folder, hexadecimal};

#[path = "../storage/chain.rs"]
#[allow(dead_code)]
mod chain;

use chain::*;

fn fixture() -> PathBuf {
    folder().join("format-1")
}

const FILES: [&str; 2] = ["data.mdb", "hotstuff.chain"];

/// The block that begins epoch 1, and the first one in it.
fn first_blocks() -> [Made; 2] {
    let zero = Made::first(1, b"zero", vec![]).updating(&[(5, 2)]);
    let one = zero.child(1, b"one", vec![set("a", "1"), delete("z")]);
    [zero, one]
}

/// A little of everything: committed and pending blocks, a fork, an epoch, state, certificates, a
/// vote, a time-out, a proposal.
fn writes() -> [Vec<Write>; 3] {
    let [zero, one] = first_blocks();
    let two = one.child(2, b"two", vec![set("k", "v")]);
    let fork = one.child(3, b"", vec![]);
    let tc = timeout_certificate(2, one.certificate());
    let epoch = zero.epoch(&genesis().validator_set);
    [
        vec![zero.insert(), zero.commit(), Write::ChangeEpoch(epoch)],
        vec![one.insert(), Write::CastVote(vote(one.hash, 1))],
        vec![
            two.insert(),
            fork.insert(),
            Write::StoreProposal(StoredProposal {
                block: fork.hash,
                nudge: None,
                vote: vote(fork.hash, 3),
                timeout_certificate: Some(tc.clone()),
            }),
            Write::TimeOut(Rank {
                epoch: Epoch(0),
                view: ViewNumber(2),
            }),
            Write::SetHighestQc(one.certificate()),
            Write::SetHighestTc(tc),
            one.commit(),
        ],
    ]
}

fn messages() -> Vec<Message> {
    let mut g = Generator(7);
    vec![
        Message::Progress(ProgressMessage::Propose(g.propose())),
        Message::Progress(ProgressMessage::Nudge(g.nudge())),
        Message::Progress(ProgressMessage::Vote(g.vote())),
        Message::Progress(ProgressMessage::TimeoutVote(g.timeout_vote())),
        Message::Progress(ProgressMessage::AdvanceView(g.certificate())),
        Message::Progress(ProgressMessage::Wake(g.wake())),
        Message::Sync(SyncMessage::Request(g.sync_request())),
        Message::Sync(SyncMessage::Response(g.sync_response())),
    ]
}

fn created(directory: &Path) -> Durable {
    let (mut tree, _) = open(directory);
    writes()
        .iter()
        .for_each(|writes| tree.persist(writes).unwrap());
    drop(tree);
    open(directory).1
}

/// Once for each format: `MAKE_FIXTURE=1` writes the files. Nothing otherwise.
#[test]
fn make_fixture() {
    if std::env::var_os("MAKE_FIXTURE").is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    created(directory.path());
    fs::create_dir_all(fixture()).unwrap();
    for name in FILES {
        let bytes = fs::read(directory.path().join(name)).unwrap();
        // Behind its last page in use the data file is a hole.
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let used = if name == FILES[0] {
            used.next_multiple_of(4_096)
        } else {
            used
        };
        fs::write(fixture().join(name), &bytes[..used]).unwrap();
    }
    let lines = messages()
        .into_iter()
        .map(|message| hexadecimal(&codec::encode(&message)));
    fs::write(
        fixture().join("messages.txt"),
        lines.collect::<Vec<_>>().join("\n"),
    )
    .unwrap();
}

#[test]
fn the_messages_of_format_1_are_read() {
    let text = fs::read_to_string(fixture().join("messages.txt")).unwrap();
    let found = text.lines().map(|line| {
        let bytes = bytes(line);
        codec::decode::<Message>(&bytes, bytes.len()).unwrap()
    });
    assert_eq!(found.collect::<Vec<_>>(), messages());
}

#[test]
fn the_database_of_format_1_is_opened_and_goes_on() {
    let [directory, new] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for name in FILES {
        fs::copy(fixture().join(name), directory.path().join(name)).unwrap();
    }
    let (mut tree, durable) = open(directory.path());
    assert_eq!(durable, created(new.path()));
    assert!(tree.warnings().is_empty());
    let snapshot = tree.reader().snapshot().unwrap();
    for (height, made) in (1..).zip(first_blocks()) {
        let hash = snapshot.hash_at(BlockHeight(height)).unwrap();
        assert_eq!(hash, Some(made.hash));
        assert_eq!(snapshot.block(&made.hash).unwrap(), Some(made.block));
    }
    assert_eq!(snapshot.state(b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(snapshot.state(b"z").unwrap(), None);
    drop(snapshot);

    let head = durable.pending.last().unwrap().clone();
    let next = Made::new(
        certificate(head.hash, 3),
        head.header.height.0 + 1,
        4,
        b"new",
        vec![],
    );
    tree.persist(&[next.insert(), Write::CastVote(vote(next.hash, 4))])
        .unwrap();
    drop(tree);
    let (_, durable): (BlockTree, Durable) = open(directory.path());
    assert_eq!(durable.voting_record.voted, Some(vote(next.hash, 4)));
}
