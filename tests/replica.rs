//! The replica: threads, disk and network around the algorithm, with everything real but the wire.

#[path = "replica/cluster.rs"]
mod cluster;
#[path = "replica/epochs.rs"]
mod epochs;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use cluster::{await_count, blocks, count, eventually, Cluster, Gate, SOON};
use hotstuff::algorithm::Event;
use hotstuff::app::BlockTreeSnapshot;
use hotstuff::messages::{Message, ProgressMessage, SyncMessage, SyncRequest, SyncResponse, Vote};
use hotstuff::network::NetworkProvider;
use hotstuff::replica::{Replica, ReplicaError, ReplicaEvent, ReplicaEventKind};
use hotstuff::types::{
    codec, BlockHash, BlockHeight, Epoch, GenesisHash, KeyPair, Phase, Statement, ValidatorAddress,
    ViewNumber, VoteStatement,
};
use tempfile::TempDir;

fn is_send_and_sync<T: Send + Sync>() {}

#[test]
fn a_replica_is_shared_between_threads() {
    is_send_and_sync::<Replica>();
}

#[test]
fn four_replicas_agree() {
    let cluster = Cluster::new(4).start_all();
    let began = Instant::now();
    (0..4).for_each(|i| cluster.give_work(i, 50));
    cluster.await_count(200);
    let took = began.elapsed();
    let height = cluster.check_agreement();
    let metrics = cluster.replica(0).metrics();
    println!(
        "200 blocks with data in {took:?}, {:.0} blocks/s; height {height}, {:.2} transactions a \
         block, {} time-outs, {} rejected {:?}",
        200.0 / took.as_secs_f64(),
        metrics.transactions as f64 / metrics.committed_height as f64,
        metrics.view_timeouts,
        metrics.messages_rejected,
        metrics.rejected_by,
    );
    assert!(metrics.votes > 0 && metrics.proposals > 0 && metrics.messages_out > 0);
}

#[test]
fn connects_to_every_validator_but_itself() {
    let mut cluster = Cluster::new(4);
    let port = cluster.hub.port(cluster.address(0));
    let app = Box::new(cluster.apps[0].clone());
    let replica = Replica::open(cluster.config(0), app, port.clone()).unwrap();
    assert_eq!(port.connected(), []);
    replica.start().unwrap();
    let mut expected: Vec<_> = (1..4).map(|i| cluster.address(i)).collect();
    expected.sort();
    assert_eq!(port.connected(), expected);
    cluster.replicas.clear();
}

/// Of each thread of this process that the library has started: its name and blocked signals.
fn blocked_signals() -> Vec<(String, u64)> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).ok();
    let of_task = |task: std::fs::DirEntry| {
        let name = read(task.path().join("comm"))?.trim().to_owned();
        let status = read(task.path().join("status"))?;
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:"))?;
        Some((name, u64::from_str_radix(mask.trim(), 16).ok()?))
    };
    let masks = tasks.filter_map(|task| of_task(task.ok()?));
    masks
        .filter(|(name, _)| name.starts_with("hotstuff-"))
        .collect()
}

#[test]
fn the_hosts_signals_do_not_land_on_the_threads() {
    let mut cluster = Cluster::new(1);
    let replica = cluster.open(0);
    replica.set_events(Box::new(|_| {})).unwrap();
    replica.start().unwrap();
    let signals = [1, 2, 3, 10, 12, 13, 14, 15, 17]; // HUP INT QUIT USR1 USR2 PIPE ALRM TERM CHLD
    let wanted: u64 = signals.iter().map(|signal| 1 << (signal - 1)).sum();
    let threads =
        ["alice", "app", "events", "filter", "sync"].map(|name| format!("hotstuff-{name}"));
    eventually("all five threads run", || {
        let seen = blocked_signals();
        threads
            .iter()
            .all(|thread| seen.iter().any(|(name, _)| name == thread))
    });
    for (name, blocked) in blocked_signals() {
        assert_eq!(blocked & wanted, wanted, "{name}: {blocked:x}");
    }
}

#[test]
fn work_in_an_idle_chain_waits_for_nobody() {
    let cluster = Cluster::new(4).start_all();
    for (i, total) in (0..4).zip(1..) {
        let began = Instant::now();
        cluster.give_work(i, 1); // whoever leads: the idle wait is ten minutes
        cluster.await_count(total);
        assert!(began.elapsed() < SOON);
    }
    cluster.check_agreement();
}

#[test]
fn a_stopped_replica_catches_up() {
    let mut cluster = Cluster::new(4);
    cluster.base_ms = 100; // for a while one of four is dead
    let mut cluster = cluster.start_all();
    cluster.give_work(0, 20);
    cluster.await_count(20);
    cluster.stop(3);
    cluster.give_work(1, 60);
    cluster.await_count(80);
    cluster.start(3);
    cluster.await_count(80);
    cluster.give_work(3, 5); // and it takes part again
    cluster.await_count(85);
    assert!(cluster.check_agreement() >= 85);
}

#[test]
fn all_stop_and_go_on_from_disk() {
    let mut cluster = Cluster::new(4).start_all();
    cluster.give_work(0, 20);
    cluster.await_count(20);
    (0..4).for_each(|i| cluster.stop(i));
    (0..4).for_each(|i| drop(cluster.start(i)));
    cluster.await_count(20);
    cluster.give_work(2, 20);
    cluster.await_count(40);
    cluster.check_agreement();
}

/// A replica of no validator, with the configuration of the first one.
fn start_listener(cluster: &Cluster, directory: &TempDir, interval: Duration) -> Replica {
    let mut config = cluster.config(0);
    config.signer = None;
    config.storage.data_dir = directory.path().join("chain");
    config.sync.interval = interval;
    let port = cluster.hub.port(LISTENER);
    let listener = Replica::open(config, Box::new(cluster::Counter::default()), port).unwrap();
    listener.start().unwrap();
    listener
}

const LISTENER: ValidatorAddress = ValidatorAddress([9; 32]);

#[test]
fn a_listener_follows() {
    let cluster = Cluster::new(4).start_all();
    let directory = TempDir::new().unwrap();
    let listener = start_listener(&cluster, &directory, Duration::from_millis(100));
    cluster.give_work(0, 30);
    await_count(&listener, 30);
    assert!(!listener.info().is_validator);
    assert_eq!(listener.metrics().votes, 0);
}

/// Nobody misses a listener, and a busy chain sends it nothing but proposals, far ahead of it.
#[test]
fn a_listener_that_was_cut_off_finds_back_without_asking_by_the_clock() {
    let cluster = Cluster::new(4).start_all();
    let directory = TempDir::new().unwrap();
    let listener = start_listener(&cluster, &directory, Duration::from_secs(600));
    cluster.give_work(0, 5);
    await_count(&listener, 5);
    cluster.hub.cut_off(Some(LISTENER));
    cluster.give_work(0, 100);
    cluster.await_count(105);
    (0..4).for_each(|i| cluster.give_work(i, 1_000_000)); // they have no idle view from now on
    await_count(cluster.replica(0), 150);
    cluster.hub.cut_off(None);
    await_count(&listener, 300);
}

#[test]
fn committed_blocks_come_in_order_and_none_is_lost() {
    let cluster = Cluster::new(4).start_all();
    let genesis = cluster.genesis.hash();
    let readers: Vec<_> = (0..4)
        .map(|i| {
            let replica = cluster.replica(i).clone();
            std::thread::spawn(move || {
                let mut parent = genesis.as_block_hash();
                let mut counted = 0;
                for (height, committed) in (1..).zip(blocks(&replica, 0)) {
                    assert_eq!(committed.block.header.height, BlockHeight(height));
                    assert_eq!(committed.block.header.parent(), parent);
                    assert_eq!(committed.block.hash(&genesis), committed.hash);
                    parent = committed.hash;
                    counted += u64::from(!committed.block.data.is_empty());
                    if counted == 100 {
                        return;
                    }
                }
            })
        })
        .collect();
    (0..100).for_each(|i| cluster.give_work(i % 4, 1));
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
}

/// A vote of `key` in a view near the beginning.
fn vote(key: &KeyPair, genesis: GenesisHash, view: u64) -> Vote {
    let statement = VoteStatement {
        epoch: Epoch(0),
        view_num: ViewNumber(view),
        justify_view: ViewNumber(0),
        block_hash: BlockHash([5; 32]),
        phase: Phase::Generic,
    };
    let signature = key.sign(&Statement::Vote(statement).digest(&genesis));
    Vote {
        statement,
        voter: key.address(),
        signature,
    }
}

/// For another block.
fn another_vote(key: &KeyPair, genesis: GenesisHash, view: u64) -> Vote {
    let mut vote = vote(key, genesis, view);
    vote.statement.block_hash = BlockHash([6; 32]);
    vote.signature = key.sign(&Statement::Vote(vote.statement).digest(&genesis));
    vote
}

fn bytes(vote: Vote) -> Vec<u8> {
    codec::encode(&Message::Progress(ProgressMessage::Vote(vote)))
}

/// The votes of five of seven are a quorum, and what the sixth says is of no use, until it is known
/// that it says two things.
#[test]
fn a_double_voter_whose_first_vote_was_not_needed_is_convicted() {
    let mut cluster = Cluster::new(7);
    cluster.start(0);
    let (victim, liar) = (cluster.address(0), cluster.address(6));
    let (genesis, key) = (cluster.genesis.hash(), cluster.keys[6].duplicate());
    for voter in 1..=6 {
        let vote = vote(&cluster.keys[voter], genesis, 2);
        let from = cluster.address(voter);
        cluster.hub.inject(from, &victim, &bytes(vote));
    }
    eventually("the sixth is not needed", || {
        cluster.rejected(0, liar).contains_key("vote: not needed")
    });
    assert_eq!(cluster.replica(0).metrics().evidence_found, 0);
    let second = another_vote(&key, genesis, 2);
    cluster.hub.inject(liar, &victim, &bytes(second));
    eventually("both convict it", || {
        cluster.replica(0).metrics().evidence_found == 1
    });
    assert_eq!(cluster.rejected(0, liar)["vote: equivocation"], 1);
}

#[test]
fn what_is_wrong_is_dropped_and_counted_by_peer_and_kind() {
    const VIEW: u64 = 30; // far from its quorum, beyond which votes are not looked at
    let mut cluster = Cluster::new(4);
    cluster.base_ms = 100; // one of four is dead
    (0..3).for_each(|i| drop(cluster.start(i)));
    let (victim, liar) = (cluster.address(0), cluster.address(3));
    let genesis = cluster.genesis.hash();
    let message_bytes_max = cluster.genesis.parameters.message_bytes_max();
    let key = cluster.keys[3].duplicate();
    let stranger = KeyPair::from_seed(&[99; 32]).unwrap();

    let good = bytes(vote(&key, genesis, VIEW));
    let mut trailing = good.clone();
    trailing.push(0);
    let mut forged = vote(&key, genesis, VIEW);
    forged.signature.0[7] ^= 1;
    let second = another_vote(&key, genesis, VIEW);
    let mut other_epoch = vote(&key, genesis, VIEW);
    other_epoch.statement.epoch = Epoch(2); // one of epoch 1 would be held for a while
    let request = SyncRequest {
        highest_committed_block: genesis.as_block_hash(),
        limit: u32::MAX,
        wanted: Some(BlockHash([8; 32])),
    };
    let response = SyncResponse {
        highest_committed_block: genesis.as_block_hash(),
        blocks: vec![],
        tail_qcs: vec![],
    };
    // The number 0 in two bytes, where one is enough.
    let not_canonical = [&[0x80, 0][..], &good[1..]].concat();
    let hostile: Vec<(&str, Vec<u8>)> = vec![
        ("bytes: truncated or malformed", vec![]),
        ("bytes: truncated or malformed", vec![0xff; 100]),
        (
            "bytes: truncated or malformed",
            good[..good.len() - 1].to_vec(),
        ),
        ("bytes: bytes after the end", trailing),
        ("bytes: not the canonical encoding", not_canonical),
        (
            "bytes: more bytes than allowed",
            vec![0; message_bytes_max + 1],
        ),
        ("vote: wrong signature", bytes(forged)),
        (
            "vote: wrong signature",
            bytes(vote(&key, GenesisHash([1; 32]), VIEW)),
        ),
        (
            "vote: signed by no validator",
            bytes(vote(&stranger, genesis, VIEW)),
        ),
        ("vote: of an unknown epoch", bytes(other_epoch)),
        ("vote: too far ahead", bytes(vote(&key, genesis, 1_000_000))),
    ];
    for (_, message) in &hostile {
        cluster.hub.inject(liar, &victim, message);
    }
    // The same vote twice, and another one of its view.
    for message in [&good, &good, &bytes(second)] {
        cluster.hub.inject(liar, &victim, message);
    }
    cluster.hub.inject(victim, &victim, &good);
    cluster.hub.inject(
        liar,
        &victim,
        &codec::encode(&Message::Sync(SyncMessage::Request(request))),
    );

    let mut expected = std::collections::BTreeMap::new();
    for (what, _) in &hostile {
        *expected.entry((*what).to_string()).or_insert(0) += 1;
    }
    expected.insert("vote: duplicate".to_string(), 1);
    expected.insert("vote: equivocation".to_string(), 1);
    eventually("all of it is counted", || {
        cluster.rejected(0, victim).len() == 1
    });
    eventually("all of it is counted", || {
        cluster.rejected(0, liar) == expected
    });
    assert_eq!(cluster.rejected(0, victim)["bytes: from oneself"], 1);

    // The first may be the answer to a poll.
    let response = codec::encode(&Message::Sync(SyncMessage::Response(response)));
    eventually("an answer to nothing is counted", || {
        cluster.hub.inject(liar, &victim, &response);
        let rejected = cluster.rejected(0, liar);
        rejected.contains_key("sync_response: not asked for")
    });

    // Three of four go on.
    cluster.give_work(0, 10);
    cluster.await_count(10);
    cluster.check_agreement();
    assert_eq!(cluster.rejected(1, liar).len(), 0);
}

#[test]
fn a_flood_costs_the_peer_that_sends_it() {
    let mut cluster = Cluster::new(4);
    cluster.base_ms = 100; // one of four is dead
    (0..3).for_each(|i| drop(cluster.start(i)));
    let (victim, flooder) = (cluster.address(0), cluster.address(3));
    let genesis = cluster.genesis.hash();
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (hub, stop) = (cluster.hub.clone(), stop.clone());
        let port = hub.port(flooder); // it answers nothing
        let key = cluster.keys[3].duplicate();
        std::thread::spawn(move || {
            let mut sent = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                let mut forged = vote(&key, genesis, 2 + sent % 30);
                forged.signature.0[..8].copy_from_slice(&sent.to_le_bytes());
                hub.inject(flooder, &victim, &bytes(forged));
                hub.inject(flooder, &victim, &bytes(vote(&key, genesis, sent)));
                hub.inject(flooder, &victim, &[0; 1_000]);
                sent += 1;
                if sent % 64 == 0 {
                    while port.receive(Duration::ZERO).is_some() {}
                }
            }
            sent
        })
    };
    cluster.give_work(0, 40);
    cluster.await_count(40);
    stop.store(true, Ordering::SeqCst);
    let sent = flood.join().unwrap();
    cluster.check_agreement();
    let rejected = cluster.rejected(0, flooder);
    println!("flooded with 3 x {sent} messages: {rejected:?}");
    assert!(rejected.contains_key("bytes: muted"), "{rejected:?}");
    let others = cluster.replica(0).metrics().rejected_by;
    let queue_full = |(peer, what, _): &(ValidatorAddress, String, u64)| {
        *peer != flooder && (what.contains("queue full") || what.contains("muted"))
    };
    assert!(
        !others.iter().any(queue_full),
        "another peer has paid: {others:?}"
    );
}

#[test]
fn the_sync_server_answers_within_its_limits() {
    let mut cluster = Cluster::new(4);
    cluster.base_ms = 100; // one of four is dead
    cluster.apps[0].padding = 48 << 10; // so that not all blocks fit in one message
    (0..3).for_each(|i| drop(cluster.start(i)));
    cluster.give_work(0, 30);
    cluster.await_count(30);
    let (server, asker) = (cluster.address(0), cluster.address(3));
    let genesis = cluster.genesis.hash();
    let port = cluster.hub.port(asker);
    let request = |after, limit| {
        let (highest_committed_block, wanted) = (after, None);
        let request = SyncRequest {
            highest_committed_block,
            limit,
            wanted,
        };
        cluster.hub.inject(
            asker,
            &server,
            &codec::encode(&Message::Sync(SyncMessage::Request(request))),
        );
    };
    let message_bytes_max = cluster.genesis.parameters.message_bytes_max();
    let answer = || loop {
        let (from, bytes) = port.receive(SOON).expect("an answer");
        assert!(bytes.len() <= message_bytes_max);
        let message = codec::decode::<Message>(&bytes, message_bytes_max).unwrap();
        if let Message::Sync(SyncMessage::Response(response)) = message {
            assert_eq!(from, server);
            return response;
        }
    };
    let mut after = genesis.as_block_hash();
    let mut height = 0;
    let mut answers = 0;
    let committed = cluster.check_agreement();
    while height < committed {
        request(after, u32::MAX);
        let response = answer();
        assert_eq!(response.highest_committed_block, after);
        for block in &response.blocks {
            height += 1;
            assert_eq!(
                (block.header.height.0, block.header.parent()),
                (height, after)
            );
            after = block.hash(&genesis);
        }
        let tail = response.tail_qcs.first().expect("certificates");
        assert!(response.blocks.is_empty() || tail.block_hash == after);
        answers += 1;
    }
    assert!(answers > 2, "{answers} answers");

    request(genesis.as_block_hash(), 2);
    assert_eq!(answer().blocks.len(), 2);
    request(BlockHash([77; 32]), 5);
    let unknown = answer();
    assert_eq!((unknown.blocks.len(), unknown.tail_qcs.len()), (0, 1));

    // A peer that does not wait for its answer is not served twice at once.
    for _ in 0..200 {
        request(genesis.as_block_hash(), 100);
    }
    let in_flight = "sync_request: last request in flight";
    eventually("it is told apart", || {
        cluster.rejected(0, asker).contains_key(in_flight)
    });
    cluster.give_work(1, 5);
    cluster.await_count(35);
}

#[test]
fn a_slow_app_costs_views_not_the_replica() {
    let mut cluster = Cluster::new(4);
    cluster.base_ms = 100;
    let cluster = cluster.start_all();
    let gate = cluster.apps[0].gate.clone();
    gate.close();
    cluster.give_work(1, 30);
    (1..4).for_each(|i| await_count(cluster.replica(i), 30));
    eventually("the app is asked", || gate.waiting() == 1);
    let slow = cluster.replica(0);
    // It follows the views although its app does not answer.
    let view = slow.info().view;
    cluster.give_work(2, 10);
    (1..4).for_each(|i| await_count(cluster.replica(i), 40));
    eventually("its view goes on", || slow.info().view > view);
    assert_eq!(count(&slow.snapshot().unwrap()), 0);
    gate.open();
    cluster.await_count(40);
    cluster.check_agreement();
}

#[test]
fn an_app_that_panics_has_failed_and_nothing_else() {
    let cluster = Cluster::new(4).start_all();
    let panics = cluster.apps[0].panics.clone();
    panics.store(true, Ordering::SeqCst);
    cluster.give_work(1, 10);
    (1..4).for_each(|i| await_count(cluster.replica(i), 10));
    eventually("it panics", || {
        cluster.replica(0).metrics().app_failures > 0
    });
    panics.store(false, Ordering::SeqCst);
    cluster.await_count(10);
    assert!(!cluster.replica(0).info().is_halted);
    cluster.give_work(0, 5);
    cluster.await_count(15);
    cluster.check_agreement();
}

#[test]
fn stop_inside_a_callback_is_refused() {
    let mut cluster = Cluster::new(1);
    let me: Arc<OnceLock<Weak<Replica>>> = Arc::default();
    let (said, answers) = mpsc::sync_channel(1);
    cluster.apps[0].hook = Some({
        let me = me.clone();
        Arc::new(move || {
            let Some(replica) = me.get().and_then(Weak::upgrade) else {
                return;
            };
            let answer = (replica.stop(SOON), replica.wait(SOON), replica.notify());
            let _ = said.try_send(answer);
        })
    });
    let replica = cluster.open(0);
    me.set(Arc::downgrade(&replica)).unwrap();
    replica.start().unwrap();
    cluster.give_work(0, 1);
    let (stop, wait, notify) = answers.recv_timeout(SOON).expect("the app is asked");
    assert!(matches!(stop, Err(ReplicaError::Reentrant)), "{stop:?}");
    assert!(matches!(wait, Err(ReplicaError::Reentrant)), "{wait:?}");
    assert!(notify.is_ok());
    replica.stop(SOON).unwrap();
}

#[test]
fn the_last_handle_may_be_dropped_inside_a_callback() {
    let mut cluster = Cluster::new(1);
    let last: Arc<Mutex<Option<Arc<Replica>>>> = Arc::default();
    let dropped = Arc::new(AtomicBool::new(false));
    cluster.apps[0].hook = Some({
        let (last, dropped) = (last.clone(), dropped.clone());
        Arc::new(move || {
            if let Some(replica) = last.lock().unwrap().take() {
                drop(replica);
                dropped.store(true, Ordering::SeqCst);
            }
        })
    });
    let replica = cluster.open(0);
    replica.start().unwrap();
    *last.lock().unwrap() = cluster.replicas[0].take();
    cluster.apps[0].until.store(1, Ordering::SeqCst);
    replica.notify().unwrap();
    drop(replica);
    eventually("the callback drops it", || dropped.load(Ordering::SeqCst));
    cluster.apps[0].hook = None;
    // Its threads end by themselves: the directory becomes free.
    let free = || {
        let app = Box::new(cluster.apps[0].clone());
        let port = cluster.hub.port(cluster.address(0));
        Replica::open(cluster.config(0), app, port).is_ok()
    };
    eventually("the directory is free", free);
}

#[test]
fn a_callback_that_does_not_return_delays_the_stop_only() {
    let mut cluster = Cluster::new(1);
    let replica = cluster.start(0);
    let gate = cluster.apps[0].gate.clone();
    gate.close();
    cluster.give_work(0, 1);
    eventually("the app is asked", || gate.waiting() == 1);
    let stopped = replica.stop(Duration::from_millis(10));
    assert!(
        matches!(stopped, Err(ReplicaError::TimedOut)),
        "{stopped:?}"
    );
    gate.open();
    replica.stop(SOON).unwrap();
    replica.stop(SOON).unwrap();
    let calls = cluster.apps[0].calls.load(Ordering::SeqCst);
    assert_eq!(cluster.apps[0].calls.load(Ordering::SeqCst), calls);
}

#[test]
fn calls_out_of_order_say_so() {
    let mut cluster = Cluster::new(1);
    let replica = cluster.open(0);
    let me = cluster.address(0);
    assert!(matches!(
        replica.deliver(me, b"x"),
        Err(ReplicaError::Closed)
    ));
    assert!(matches!(
        replica.wait(Duration::ZERO),
        Err(ReplicaError::TimedOut)
    ));
    assert!(replica.snapshot().is_ok());
    replica.set_events(Box::new(|_| {})).unwrap();
    replica.start().unwrap();
    assert!(matches!(replica.start(), Err(ReplicaError::State(_))));
    assert!(matches!(
        replica.set_events(Box::new(|_| {})),
        Err(ReplicaError::State(_))
    ));
    let large = vec![0; cluster.genesis.parameters.message_bytes_max() + 1];
    assert!(matches!(
        replica.deliver(me, &large),
        Err(ReplicaError::TooLarge)
    ));
    let none = replica.next_committed(BlockHeight(0), Duration::from_millis(1));
    assert!(matches!(none, Err(ReplicaError::TimedOut)), "{none:?}");
    replica.stop(SOON).unwrap();
    replica.wait(SOON).unwrap();
    assert!(matches!(replica.start(), Err(ReplicaError::State(_))));
    assert!(matches!(replica.notify(), Err(ReplicaError::Closed)));
    assert!(matches!(
        replica.deliver(me, b"x"),
        Err(ReplicaError::Closed)
    ));
    let none = replica.next_committed(BlockHeight(0), SOON);
    assert!(matches!(none, Err(ReplicaError::Closed)), "{none:?}");
    assert!(replica.snapshot().is_ok());
}

#[test]
fn a_replica_that_was_never_started_stops() {
    let mut cluster = Cluster::new(1);
    let replica = cluster.open(0);
    let waiter = {
        let replica = replica.clone();
        std::thread::spawn(move || replica.wait(SOON))
    };
    replica.stop(SOON).unwrap();
    waiter.join().unwrap().unwrap();
    assert!(matches!(replica.start(), Err(ReplicaError::State(_))));
}

#[test]
fn a_full_map_halts_and_says_which_option_to_raise() {
    let mut cluster = Cluster::new(1);
    cluster.map_bytes = 1 << 20;
    cluster.apps[0].padding = 32 << 10;
    let replica = cluster.open(0);
    let (tell, events) = mpsc::channel();
    replica
        .set_events(Box::new(move |event| drop(tell.send(event))))
        .unwrap();
    replica.start().unwrap();
    let waiters: Vec<_> = (0..2)
        .map(|i| {
            let replica = replica.clone();
            std::thread::spawn(move || match i {
                0 => replica.wait(SOON).map(|()| BlockHeight(0)),
                _ => replica
                    .next_committed(BlockHeight(1_000), SOON)
                    .map(|b| b.block.header.height),
            })
        })
        .collect();
    cluster.give_work(0, 1_000);
    for waiter in waiters {
        match waiter.join().unwrap() {
            Err(ReplicaError::Halted(why)) => assert!(why.contains("storage.map_bytes"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(replica.notify(), Err(ReplicaError::Halted(_))));
    assert!(matches!(replica.start(), Err(ReplicaError::Halted(_))));
    assert!(replica.info().is_halted);
    assert!(replica.snapshot().unwrap().committed_height().unwrap().0 > 0);
    replica.stop(SOON).unwrap();
    let told: Vec<ReplicaEvent> = events.try_iter().collect();
    let last = told.last().map(|event| event.kind.clone());
    assert!(matches!(last, Some(ReplicaEventKind::Fatal(why)) if why.contains("map_bytes")));
}

#[test]
fn events_come_in_order_and_what_overflows_is_counted() {
    let mut cluster = Cluster::new(1);
    let replica = cluster.open(0);
    let gate = Arc::new(Gate::default());
    gate.close();
    let (tell, events) = mpsc::channel();
    let held = gate.clone();
    replica
        .set_events(Box::new(move |event| {
            held.pass();
            drop(tell.send(event));
        }))
        .unwrap();
    replica.start().unwrap();
    cluster.give_work(0, 1_000);
    await_count(&replica, 1_000);
    eventually("the queue overflows", || {
        cluster.give_work(0, 10);
        replica.metrics().events_dropped > 0
    });
    gate.open();
    replica.stop(SOON).unwrap();
    let mut lost = 0;
    let mut height = 0;
    for event in events.try_iter() {
        match event.kind {
            ReplicaEventKind::Dropped(count) => lost += count,
            ReplicaEventKind::Algorithm(Event::Committed { height: at, .. }) => {
                assert!(at.0 > height, "{at} after {height}");
                height = at.0;
            }
            _ => {}
        }
    }
    assert!(height > 0);
    assert_eq!(lost, replica.metrics().events_dropped);
}

type Others = Arc<Mutex<Vec<(ValidatorAddress, Weak<Replica>)>>>;

/// A network without a `receive`: what is sent is pushed into the other replica.
struct Push {
    address: ValidatorAddress,
    others: Others,
    refused: Arc<AtomicU64>,
}

impl Push {
    fn push(&self, to: Option<ValidatorAddress>, message: &[u8]) {
        let others: Vec<_> = self.others.lock().unwrap().clone();
        for (address, replica) in others {
            let is_meant = to.map_or(address != self.address, |to| to == address);
            let Some(replica) = replica.upgrade().filter(|_| is_meant) else {
                continue;
            };
            if replica.deliver(self.address, message).is_err() {
                self.refused.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

impl NetworkProvider for Push {
    fn connect(&self, _: ValidatorAddress) {}
    fn disconnect(&self, _: ValidatorAddress) {}
    fn send(&self, peer: ValidatorAddress, message: &[u8]) {
        self.push(Some(peer), message);
    }
    fn broadcast(&self, message: &[u8]) {
        self.push(None, message);
    }
    fn receive(&self, _: Duration) -> Option<(ValidatorAddress, Vec<u8>)> {
        None // at once, always: the replica must not spin on it
    }
    fn wake(&self) {}
}

#[test]
fn messages_can_be_pushed_in() {
    let cluster = Cluster::new(4);
    let others = Arc::new(Mutex::new(Vec::new()));
    let replicas: Vec<_> = (0..4)
        .map(|i| {
            let (address, refused) = (cluster.address(i), Arc::default());
            let network = Arc::new(Push {
                address,
                others: others.clone(),
                refused,
            });
            let app = Box::new(cluster.apps[i].clone());
            Arc::new(Replica::open(cluster.config(i), app, network).unwrap())
        })
        .collect();
    for (i, replica) in replicas.iter().enumerate() {
        others
            .lock()
            .unwrap()
            .push((cluster.address(i), Arc::downgrade(replica)));
    }
    replicas.iter().for_each(|replica| replica.start().unwrap());
    *cluster.apps[0].replica.lock().unwrap() = Arc::downgrade(&replicas[0]);
    cluster.apps[0].until.store(30, Ordering::SeqCst);
    replicas[0].notify().unwrap();
    replicas.iter().for_each(|replica| await_count(replica, 30));
}
