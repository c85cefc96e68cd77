//! The TCP transport over loopback: who gets in, what arrives in which order, and what a hostile or
//! dead peer cannot do to the others. Nothing sleeps and hopes: each step waits for what can be
//! observed, with a deadline.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver};
use hotstuff::network::NetworkProvider;
use hotstuff::transport::{PeerCounters, TcpConfig, TcpError, TcpNetwork};
use hotstuff::types::{KeyPair, ValidatorAddress};

const PATIENCE: Duration = Duration::from_secs(20);
const NOTHING: Duration = Duration::ZERO;

/// The key with the `rank`-th smallest address of a few: who dials is decided by that order.
fn key(rank: usize) -> KeyPair {
    keys()[rank].duplicate()
}

fn name(rank: usize) -> ValidatorAddress {
    keys()[rank].address()
}

fn keys() -> &'static [KeyPair] {
    static KEYS: OnceLock<Vec<KeyPair>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut keys: Vec<_> = (1..=8)
            .map(|seed| KeyPair::from_seed(&[seed; 32]).unwrap())
            .collect();
        keys.sort_by_key(KeyPair::address);
        keys
    })
}

fn listening() -> TcpConfig {
    TcpConfig {
        listen: Some("127.0.0.1:0".to_owned()),
        ..TcpConfig::default()
    }
}

fn knowing(mut config: TcpConfig, rank: usize, address: SocketAddr) -> TcpConfig {
    config.peers.push((name(rank), address.to_string()));
    config
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A network with a thread that receives.
struct Node {
    network: Arc<TcpNetwork>,
    messages: Receiver<(ValidatorAddress, Vec<u8>)>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    fn start(rank: usize, config: TcpConfig) -> Node {
        let network = Arc::new(TcpNetwork::open(config, key(rank)).unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, messages) = unbounded();
        let (inner, stopped) = (Arc::clone(&network), Arc::clone(&stop));
        let work = move || {
            while !stopped.load(Ordering::SeqCst) {
                if let Some(message) = inner.receive(Duration::from_secs(3600)) {
                    let _ = sender.send(message);
                }
            }
        };
        let thread = Some(std::thread::spawn(work));
        Node {
            network,
            messages,
            stop,
            thread,
        }
    }

    fn local(&self) -> SocketAddr {
        self.network.local_addr().unwrap()
    }

    fn counters(&self, rank: usize) -> PeerCounters {
        self.network.counters().peer(name(rank))
    }

    fn total(&self) -> PeerCounters {
        self.network.counters().total
    }

    fn await_connected(&self, rank: usize) {
        until("connected", || self.counters(rank).connected == 1);
    }

    fn expect(&self, from: usize, message: &[u8]) {
        let received = self.messages.recv_timeout(PATIENCE).expect("a message");
        assert_eq!((received.0, received.1.as_slice()), (name(from), message));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.network.wake();
        if self.thread.take().unwrap().join().is_err() && !std::thread::panicking() {
            panic!("the receiving thread panicked");
        }
    }
}

/// Nodes 0 and 1, connected; 0 has dialed.
fn pair() -> (Node, Node) {
    pair_with(listening(), listening())
}

fn pair_with(smaller: TcpConfig, larger: TcpConfig) -> (Node, Node) {
    let b = Node::start(1, larger);
    let a = Node::start(0, knowing(smaller, 1, b.local()));
    a.network.connect(name(1));
    b.network.connect(name(0));
    a.await_connected(1);
    b.await_connected(0);
    (a, b)
}

#[test]
fn messages_travel_both_ways_under_the_keys_that_were_proved() {
    let (a, b) = pair();
    a.network.send(name(1), b"to the larger");
    b.expect(0, b"to the larger");
    b.network.send(name(0), b"to the smaller");
    a.expect(1, b"to the smaller");
    a.network.send(name(1), b"");
    b.expect(0, b"");
    let block = vec![7; 300_000];
    b.network.broadcast(&block);
    a.expect(1, &block);
}

#[test]
fn the_larger_address_dials_if_it_is_not_dialed() {
    let a = Node::start(0, listening());
    let config = knowing(TcpConfig::default(), 0, a.local()); // listens nowhere
    let b = Node::start(1, config);
    a.network.connect(name(1));
    b.network.connect(name(0));
    b.await_connected(0);
    b.network.send(name(0), b"here");
    a.expect(1, b"here");
}

#[test]
fn one_connection_survives_when_both_ends_dial() {
    let probe = TcpListener::bind("127.0.0.1:0").unwrap(); // reserves a port for b
    let b_address = probe.local_addr().unwrap();
    let a = Node::start(0, knowing(listening(), 1, b_address));
    a.network.connect(name(1));
    drop(probe);
    let listen = Some(b_address.to_string());
    let b = Node::start(
        1,
        knowing(
            TcpConfig {
                listen,
                ..listening()
            },
            0,
            a.local(),
        ),
    );
    b.network.connect(name(0));
    a.await_connected(1);
    b.await_connected(0);
    (0..100u8).for_each(|n| a.network.send(name(1), &[n]));
    (0..100u8).for_each(|n| b.expect(0, &[n]));
    assert_eq!((a.total().connected, b.total().connected), (1, 1));
}

#[test]
fn a_peer_with_another_key_than_expected_is_refused_by_the_one_who_dials() {
    let impostor = Node::start(
        2,
        TcpConfig {
            max_listeners: 9,
            ..listening()
        },
    );
    let a = Node::start(0, knowing(listening(), 1, impostor.local()));
    a.network.connect(name(1));
    until("refused", || a.counters(1).refused > 0);
    assert_eq!(a.counters(1).connects, 0);
    assert_eq!(impostor.total().connects, 0);
}

#[test]
fn a_validator_may_be_met_under_another_key_than_its_own() {
    let mut config = listening();
    config.peer_keys = vec![(name(0), name(2))]; // validator 0 has its own key elsewhere
    let b = Node::start(1, config);
    let a = Node::start(2, knowing(listening(), 1, b.local()));
    a.network.connect(name(1));
    b.network.connect(name(0));
    a.await_connected(1);
    b.await_connected(0);
    a.network.send(name(1), b"from validator 0");
    b.expect(0, b"from validator 0");
    b.network.send(name(0), b"to validator 0");
    a.expect(1, b"to validator 0");
    // Its own key is not the one that is let in.
    let stranger = Node::start(0, knowing(TcpConfig::default(), 1, b.local()));
    stranger.network.connect(name(1));
    until("refused", || b.total().refused > 0);
    b.network.disconnect(name(0));
    until("gone", || b.counters(0).connected == 0);
}

#[test]
fn a_transport_key_stands_for_one_peer() {
    let keys = |pairs: &[(usize, usize)]| {
        let peer_keys = pairs.iter().map(|(peer, key)| (name(*peer), name(*key)));
        let config = TcpConfig {
            peer_keys: peer_keys.collect(),
            peers: vec![(name(5), "h:1".to_owned())],
            ..TcpConfig::default()
        };
        TcpNetwork::open(config, key(0)).map(|_| ())
    };
    assert!(keys(&[(1, 2), (3, 4), (5, 6)]).is_ok());
    assert!(
        keys(&[(5, 6), (6, 5)]).is_ok(),
        "an exchange is odd, and clear"
    );
    for bad in [
        [(1, 2), (3, 2)].as_slice(),
        &[(1, 2), (1, 3)],
        &[(1, 0)],
        &[(1, 5)],
    ] {
        let error = keys(bad).unwrap_err();
        assert!(
            matches!(error, TcpError::KeyTwice { .. }),
            "{bad:?}: {error}"
        );
    }
}

#[test]
fn an_unknown_key_is_refused_by_the_one_who_is_dialed() {
    let b = Node::start(1, listening());
    let stranger = Node::start(0, knowing(listening(), 1, b.local()));
    stranger.network.connect(name(1));
    until("refused", || b.total().refused > 0);
    until("told so", || stranger.counters(1).refused > 0);
    assert_eq!(b.total().connects + stranger.total().connects, 0);
}

#[test]
fn listeners_are_let_in_up_to_the_limit() {
    let b = Node::start(
        7,
        TcpConfig {
            max_listeners: 2,
            ..listening()
        },
    );
    let config = || knowing(TcpConfig::default(), 7, b.local());
    let mut listeners: Vec<Node> = (0..2).map(|rank| Node::start(rank, config())).collect();
    listeners
        .iter()
        .for_each(|listener| listener.network.connect(name(7)));
    until("two listeners", || b.total().connected == 2);
    let third = Node::start(2, config());
    third.network.connect(name(7));
    until("the third is refused", || b.total().refused > 0);
    assert_eq!((b.total().connected, third.total().connected), (2, 0));
    b.network.broadcast(b"news");
    listeners
        .iter()
        .for_each(|listener| listener.expect(7, b"news"));

    drop(listeners.pop());
    third.await_connected(7);
    third.network.send(name(7), b"at last");
    b.expect(2, b"at last");
    until("forgotten", || b.network.counters().peers.len() == 2);
    let validator = Node::start(3, config());
    b.network.connect(name(3));
    validator.network.connect(name(7));
    b.await_connected(3); // a validator takes no listener's place
}

#[test]
fn a_listener_becomes_a_validator_and_a_listener_again() {
    let b = Node::start(
        7,
        TcpConfig {
            max_listeners: 1,
            ..listening()
        },
    );
    let start = |rank| {
        let node = Node::start(rank, knowing(TcpConfig::default(), 7, b.local()));
        node.network.connect(name(7));
        node
    };
    let joining = start(0);
    b.await_connected(0);
    b.network.connect(name(0)); // it has joined
    let other = start(1);
    b.await_connected(1); // which takes the listener's place that is free now
    assert_eq!(b.counters(0).disconnects, 0, "it keeps its connection");
    b.network.disconnect(name(0)); // it has left, and finds no place
    until("refused", || b.total().refused > 0);
    drop(other);
    b.await_connected(0);
    joining.await_connected(7);
    joining.network.send(name(7), b"may I follow?");
    b.expect(0, b"may I follow?");
}

#[test]
fn a_large_message_does_not_hold_up_a_small_one() {
    let reader = TcpNetwork::open(listening(), key(1)).unwrap();
    reader.connect(name(0));
    let a = Node::start(0, knowing(listening(), 1, reader.local_addr().unwrap()));
    a.network.connect(name(1));
    until("connected", || {
        assert_eq!(reader.receive(NOTHING), None);
        a.counters(1).connected == 1
    });
    // The reader reads nothing now; the kernel holds a part of the block, the queue the rest.
    let block = vec![9; 8 << 20];
    a.network.send(name(1), &block);
    assert_ne!(
        a.counters(1).queued_bytes,
        0,
        "the kernel must not hold it all"
    );
    a.network.send(name(1), b"vote");
    let mut received = Vec::new();
    until("both", || {
        received.extend(reader.receive(Duration::from_millis(10)));
        received.len() == 2
    });
    assert_eq!(received[0].1, b"vote");
    assert_eq!(received[1].1, block);
}

#[test]
fn a_thousand_messages_each_way_arrive_whole_and_in_order_in_their_lane() {
    let (a, b) = pair();
    let message = &|n: u32| {
        let chance = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let length = if n % 10 == 0 {
            chance % 200_000
        } else {
            chance % 9_000
        } as usize;
        let mut message = vec![n as u8; length.max(8)];
        message[..4].copy_from_slice(&n.to_le_bytes());
        message
    };
    let check = |node: &Node| {
        let mut next = BTreeMap::from([(true, 0), (false, 0)]); // by lane
        for _ in 0..1000 {
            let (_, received) = node.messages.recv_timeout(PATIENCE).expect("all arrive");
            let n = u32::from_le_bytes(received[..4].try_into().unwrap());
            assert!(received == message(n), "message {n} is damaged");
            let next = next.get_mut(&(received.len() <= 8 << 10)).unwrap();
            assert!(n >= *next, "message {n} has been overtaken in its lane");
            *next = n + 1;
        }
    };
    std::thread::scope(|scope| {
        for (from, to) in [(&a, name(1)), (&b, name(0))] {
            scope.spawn(move || {
                for n in 0..1000 {
                    until("room", || from.total().queued_bytes < 500_000);
                    from.network.send(to, &message(n));
                }
            });
        }
        check(&a);
        check(&b);
    });
    let [a, b] = [a.total(), b.total()];
    assert_eq!(
        (a.messages_out, a.messages_in, b.messages_in),
        (1000, 1000, 1000)
    );
    assert_eq!(
        a.dropped_urgent + a.dropped_bulk + b.dropped_urgent + b.dropped_bulk,
        0
    );
}

#[test]
fn a_message_at_the_limit_passes_and_one_over_it_costs_only_its_sender() {
    let limit = 100_000;
    let strict = TcpConfig {
        message_bytes_max: limit,
        ..listening()
    };
    let b = Node::start(1, strict);
    let [a, c] = [0, 2].map(|rank| Node::start(rank, knowing(listening(), 1, b.local())));
    [0, 2]
        .iter()
        .for_each(|rank| b.network.connect(name(*rank)));
    [&a, &c]
        .iter()
        .for_each(|node| node.network.connect(name(1)));
    a.await_connected(1);
    c.await_connected(1);
    a.network.send(name(1), &vec![1; limit]);
    b.expect(0, &vec![1; limit]);
    a.network.send(name(1), &vec![1; limit + 1]);
    until("cut off", || b.counters(0).violations == 1);
    c.network.send(name(1), b"undisturbed");
    b.expect(2, b"undisturbed");
    assert_eq!(b.counters(2).disconnects, 0);
    until("back again", || {
        a.counters(1).connects == 2 && a.counters(1).connected == 1
    });
    // One's own limit is not exceeded in the first place.
    b.network.send(name(2), &vec![1; limit + 1]);
    assert_eq!(b.counters(2).dropped_bulk, 1);
}

#[test]
fn what_is_no_peer_disturbs_nobody() {
    let short = Duration::from_millis(300);
    let b = Node::start(
        1,
        TcpConfig {
            handshake_timeout: short,
            ..listening()
        },
    );
    let a = Node::start(0, knowing(listening(), 1, b.local()));
    b.network.connect(name(0));
    a.network.connect(name(1));
    a.await_connected(1);
    let mut half_open: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(b.local()).unwrap())
        .collect();
    let mut garbage = TcpStream::connect(b.local()).unwrap();
    garbage.write_all(&[0x47; 4096]).unwrap();
    let mut old_tls = TcpStream::connect(b.local()).unwrap();
    old_tls.write_all(&tls12_client_hello()).unwrap();
    let mut answer = Vec::new();
    let _ = old_tls.read_to_end(&mut answer);
    assert_eq!(answer[..1], [21], "TLS 1.2 gets an alert");
    for n in 0..50u8 {
        a.network.send(name(1), &[n]);
        b.expect(0, &[n]);
    }
    until("all are counted", || b.total().handshake_failures >= 22);
    for stream in &mut half_open {
        assert_eq!(
            stream.read(&mut [0; 1]).unwrap_or(0),
            0,
            "closed after the time-out"
        );
    }
    assert_eq!(b.counters(0).disconnects, 0);
}

/// A ClientHello as TLS 1.2 has it: no supported_versions.
fn tls12_client_hello() -> Vec<u8> {
    let extensions = [
        [0, 10, 0, 4, 0, 2, 0, 29].as_slice(), // x25519
        &[0, 13, 0, 4, 0, 2, 8, 7],            // ed25519
    ]
    .concat();
    let mut body = vec![3, 3];
    body.extend([5; 32]);
    body.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let length = body.len() as u8;
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], body.as_slice()].concat()
}

#[test]
fn frames_that_make_no_sense_or_break_off_cost_only_their_sender() {
    let b = Node::start(1, listening());
    let a = Node::start(0, knowing(listening(), 1, b.local()));
    [0, 2]
        .iter()
        .for_each(|rank| b.network.connect(name(*rank)));
    a.network.connect(name(1));
    a.await_connected(1);
    let mut hostile = raw::connect(b.local(), &key(2), name(1));
    hostile
        .write_all(&[4, 0, 0, 0, b'g', b'o', b'o', b'd'])
        .unwrap();
    b.expect(2, b"good");
    hostile.write_all(&[0xff; 64]).unwrap();
    until("cut off", || {
        b.counters(2).violations == 1 && b.counters(2).connected == 0
    });

    let mut truncating = raw::connect(b.local(), &key(2), name(1));
    truncating
        .write_all(&[200, 0, 0, 3, b'h', b'a', b'l', b'f'])
        .unwrap();
    truncating.flush().unwrap();
    until("here", || b.counters(2).connected == 1);
    drop(truncating);
    until("gone", || b.counters(2).connected == 0);

    a.network.send(name(1), b"undisturbed");
    b.expect(0, b"undisturbed");
    assert_eq!(b.counters(0).disconnects, 0);
    assert_eq!(b.counters(2).messages_in, 1);
}

#[test]
fn keys_may_change_while_the_connection_is_up() {
    let b = Node::start(1, listening());
    b.network.connect(name(2));
    let mut peer = raw::connect(b.local(), &key(2), name(1));
    let mut ping = [0; 4];
    peer.read_exact(&mut ping).unwrap();
    for n in 0..10u8 {
        peer.conn.refresh_traffic_keys().unwrap();
        peer.write_all(&[1, 0, 0, 0, n]).unwrap();
        b.expect(2, &[n]);
        b.network.send(name(2), &[n]); // says first that its keys change too
        let mut frame = [0; 5];
        peer.read_exact(&mut frame).unwrap();
        assert_eq!(frame, [1, 0, 0, 0, n]);
    }
}

#[test]
fn half_open_connections_are_bounded_and_keep_no_peer_out() {
    let handshake_timeout = Duration::from_secs(3600);
    let b = Node::start(
        1,
        TcpConfig {
            handshake_timeout,
            ..listening()
        },
    );
    let flood: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(b.local()).unwrap())
        .collect();
    until("the oldest had to go", || {
        b.total().handshake_failures >= 200 - 128
    });
    assert_eq!((&flood[0]).read(&mut [0; 1]).unwrap_or(0), 0);
    b.network.connect(name(0));
    let a = Node::start(0, knowing(listening(), 1, b.local()));
    a.network.connect(name(1));
    a.await_connected(1);
}

#[test]
fn four_replicas_are_a_mesh() {
    let ports: Vec<_> = (0..4)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let address: Vec<_> = ports
        .iter()
        .map(|port| port.local_addr().unwrap())
        .collect();
    drop(ports);
    let others = |rank: usize| (0..4).filter(move |other| *other != rank);
    let start = |rank: usize| {
        let config = TcpConfig {
            listen: Some(address[rank].to_string()),
            ..TcpConfig::default()
        };
        let config = others(rank).fold(config, |all, other| knowing(all, other, address[other]));
        let node = Node::start(rank, config);
        (0..4).for_each(|peer| node.network.connect(name(peer))); // oneself is no peer
        node
    };
    let nodes: Vec<Node> = (0..4).map(start).collect();
    until("all are connected", || {
        nodes.iter().all(|node| node.total().connected == 3)
    });
    let block = vec![3; 300_000];
    nodes.iter().for_each(|node| node.network.broadcast(&block));
    for (rank, node) in nodes.iter().enumerate() {
        let mut from: Vec<_> = (0..3)
            .map(|_| node.messages.recv_timeout(PATIENCE))
            .collect();
        from.sort_by_key(|message| message.as_ref().unwrap().0);
        let expected = others(rank).map(|other| Ok((name(other), block.clone())));
        assert!(from.into_iter().eq(expected));
        assert_eq!(node.total().connected, 3);
    }
}

#[test]
fn an_end_that_comes_together_with_the_last_message_is_seen() {
    let heartbeat = Duration::from_secs(3600);
    let b = TcpNetwork::open(
        TcpConfig {
            heartbeat,
            ..listening()
        },
        key(1),
    )
    .unwrap();
    b.connect(name(2));
    let address = b.local_addr().unwrap();
    let greeted = std::thread::spawn(move || {
        let mut peer = raw::connect(address, &key(2), name(1));
        peer.read_exact(&mut [0; 4]).unwrap();
        peer
    });
    until("connected", || {
        assert_eq!(b.receive(NOTHING), None);
        greeted.is_finished()
    });
    let mut peer = greeted.join().unwrap();
    peer.write_all(&[1, 0, 0, 0, b'!']).unwrap();
    drop(peer);
    assert_eq!(b.receive(PATIENCE), Some((name(2), vec![b'!'])));
    until("closed", || {
        b.receive(NOTHING).is_some() || b.counters().total.connected == 0
    });
}

#[test]
fn another_protocol_inside_tls_is_refused() {
    let b = Node::start(1, listening());
    b.network.connect(name(2));
    for protocols in [vec![], vec![b"hotstuff/0".to_vec()]] {
        let failures = b.total().handshake_failures;
        let mut other = raw::connect_speaking(b.local(), &key(2), name(1), protocols);
        assert_eq!(other.read(&mut [0; 4]).unwrap_or(0), 0);
        until("counted", || b.total().handshake_failures > failures);
    }
    assert_eq!(b.total().connects, 0);
}

#[test]
fn a_peer_that_does_not_read_fills_its_queue_and_no_other() {
    let deaf = TcpNetwork::open(listening(), key(1)).unwrap();
    let c = Node::start(2, listening());
    let config = TcpConfig {
        queue_bytes: 9 << 20,
        urgent_queue_bytes: 64 << 10,
        ..knowing(
            knowing(listening(), 1, deaf.local_addr().unwrap()),
            2,
            c.local(),
        )
    };
    let a = Node::start(0, config);
    [1, 2]
        .iter()
        .for_each(|rank| a.network.connect(name(*rank)));
    [&deaf as &dyn NetworkProvider, &*c.network]
        .iter()
        .for_each(|node| node.connect(name(0)));
    until("connected", || {
        assert_eq!(deaf.receive(NOTHING), None);
        a.total().connected == 2
    });
    let block = vec![1; 1 << 20];
    for n in 0..40u8 {
        a.network.broadcast(&block);
        c.expect(0, &block);
        a.network.broadcast(&[n; 4000]);
        c.expect(0, &[n; 4000]);
        let queued = a.counters(1).queued_bytes;
        assert!(
            queued <= (9 << 20) + (64 << 10),
            "{queued} bytes are queued"
        );
    }
    let counters = a.counters(1);
    assert!(
        counters.dropped_bulk >= 20 && counters.dropped_urgent >= 20,
        "{counters:?}"
    );
    assert_eq!(a.counters(2).dropped_bulk + a.counters(2).dropped_urgent, 0);
    // When it reads at last, it gets the first blocks and the last votes.
    let (mut blocks, mut last_vote) = (0, 0);
    until("the last vote", || {
        match deaf.receive(Duration::from_millis(10)) {
            Some((_, message)) if message.len() == 4000 => last_vote = message[0],
            Some(_) => blocks += 1,
            None => {}
        }
        last_vote == 39 && blocks as u64 == 40 - counters.dropped_bulk
    });
}

#[test]
fn a_peer_that_sends_too_fast_is_slowed_down_and_loses_nothing_it_queued() {
    let config = TcpConfig {
        inbox_bytes: 100_000,
        ..listening()
    };
    let slow = TcpNetwork::open(config, key(1)).unwrap();
    slow.connect(name(0));
    let a = Node::start(0, knowing(listening(), 1, slow.local_addr().unwrap()));
    a.network.connect(name(1));
    until("connected", || {
        assert_eq!(slow.receive(NOTHING), None);
        a.counters(1).connected == 1
    });
    let block = vec![1; 1 << 20];
    (0..12).for_each(|_| a.network.send(name(1), &block));
    let read = || slow.counters().total.bytes_in;
    until("the first", || {
        slow.receive(Duration::from_millis(10)).is_some()
    });
    assert!(
        read() < 3 << 20,
        "{} bytes were read for one message",
        read()
    );
    let mut messages = 1;
    until("the rest", || {
        messages += u32::from(slow.receive(Duration::from_millis(10)).is_some());
        messages == 12
    });
}

#[test]
fn many_small_messages_do_not_pile_up_before_the_receiver() {
    let config = TcpConfig {
        inbox_bytes: 100_000,
        ..listening()
    };
    let slow = TcpNetwork::open(config, key(1)).unwrap();
    slow.connect(name(0));
    let config = TcpConfig {
        urgent_queue_bytes: 64 << 20,
        ..listening()
    };
    let a = Node::start(0, knowing(config, 1, slow.local_addr().unwrap()));
    a.network.connect(name(1));
    until("connected", || {
        assert_eq!(slow.receive(NOTHING), None);
        a.counters(1).connected == 1
    });
    (0..20_000).for_each(|_| a.network.send(name(1), &[5; 1000]));
    for n in 1..=20_000 {
        assert!(slow.receive(PATIENCE).is_some());
        let read = slow.counters().total.bytes_in;
        assert!(
            read < n * 1050 + 300_000,
            "{read} bytes were read for {n} messages"
        );
    }
}

#[test]
fn a_peer_that_restarts_is_connected_again_whoever_dials() {
    for restarted in [0, 1] {
        let ports: Vec<_> = (0..2)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let address: Vec<_> = ports
            .iter()
            .map(|port| port.local_addr().unwrap())
            .collect();
        drop(ports);
        let start = |rank: usize| {
            let listen = Some(address[rank].to_string());
            let config = TcpConfig {
                listen,
                ..TcpConfig::default()
            };
            let node = Node::start(rank, knowing(config, 1 - rank, address[1 - rank]));
            node.network.connect(name(1 - rank));
            node
        };
        let (other, first) = (start(1 - restarted), start(restarted));
        other.await_connected(restarted);
        drop(first);
        until("noticed", || other.counters(restarted).connected == 0);
        let second = start(restarted);
        second.await_connected(1 - restarted);
        other.await_connected(restarted);
        other.network.send(name(restarted), b"welcome back");
        second.expect(1 - restarted, b"welcome back");
    }
}

#[test]
fn a_newer_connection_with_the_same_key_replaces_the_older() {
    let b = Node::start(1, listening());
    b.network.connect(name(0));
    let mut first = raw::connect(b.local(), &key(0), name(1));
    first.write_all(&[1, 0, 0, 0, b'1']).unwrap();
    b.expect(0, b"1");
    let mut second = raw::connect(b.local(), &key(0), name(1));
    second.write_all(&[1, 0, 0, 0, b'2']).unwrap();
    b.expect(0, b"2");
    let mut rest = Vec::new();
    let _ = first.read_to_end(&mut rest); // ends: the older one was closed
    assert_eq!((b.counters(0).connects, b.counters(0).connected), (2, 1));
}

#[test]
fn a_connection_dialed_by_the_larger_address_does_not_replace_one_dialed_by_the_smaller() {
    let (a, b) = pair();
    let mut second = raw::connect(a.local(), &key(1), name(0));
    assert_eq!(
        second.read(&mut [0; 1]).unwrap_or(0),
        0,
        "it is closed without a greeting"
    );
    a.network.send(name(1), b"over the first");
    b.expect(0, b"over the first");
    assert_eq!((a.counters(1).connects, a.counters(1).disconnects), (1, 0));
}

#[test]
fn a_key_that_is_shown_but_not_proved_opens_nothing() {
    let b = Node::start(1, listening());
    b.network.connect(name(2));
    let mut thief = raw::connect_showing(b.local(), &key(3), name(2), name(1));
    assert_eq!(thief.read(&mut [0; 1]).unwrap_or(0), 0);
    until("counted", || {
        b.total().refused + b.total().handshake_failures == 1
    });

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = Node::start(0, knowing(listening(), 1, listener.local_addr().unwrap()));
    a.network.connect(name(1));
    let mut thief = raw::accept_showing(&listener, &key(3), name(1));
    assert_eq!(thief.read(&mut [0; 1]).unwrap_or(0), 0);
    let failed = |counters: PeerCounters| counters.refused + counters.handshake_failures;
    until("counted", || failed(a.counters(1)) == 1);
    assert_eq!(a.total().connects + b.total().connects, 0);
}

#[test]
fn a_silent_peer_is_closed_and_a_quiet_one_is_not() {
    let heartbeat = Duration::from_millis(100);
    let b = Node::start(
        1,
        TcpConfig {
            heartbeat,
            ..listening()
        },
    );
    [0, 2]
        .iter()
        .for_each(|rank| b.network.connect(name(*rank)));
    let config = TcpConfig {
        heartbeat,
        ..knowing(listening(), 1, b.local())
    };
    let a = Node::start(0, config);
    a.network.connect(name(1));
    a.await_connected(1);
    let mut silent = raw::connect(b.local(), &key(2), name(1));
    silent.flush().unwrap();
    until("given up", || b.counters(2).silent == 1);
    let heard = b.counters(0).bytes_in;
    until("ten more signs of life", || {
        b.counters(0).bytes_in > heard + 10 * 26
    });
    assert_eq!((b.counters(0).connects, b.counters(0).disconnects), (1, 0));
}

/// A replica that has just started asks before its connections are up, and the first leader
/// proposes.
#[test]
fn what_is_said_while_the_connection_is_made_arrives() {
    let b = Node::start(1, listening());
    let a = Node::start(0, knowing(listening(), 1, b.local()));
    b.network.connect(name(0));
    a.network.connect(name(1));
    a.network.send(name(1), b"a question");
    a.network.broadcast(b"a proposal");
    b.expect(0, b"a question");
    b.expect(0, b"a proposal");
    assert_eq!(a.counters(1).dropped_urgent, 0);
}

#[test]
fn disconnect_closes_and_connect_opens_again() {
    let (a, b) = pair();
    a.network.disconnect(name(1));
    until("closed at both ends", || {
        a.total().connected + b.total().connected == 0
    });
    a.network.send(name(1), b"lost");
    assert_eq!(a.counters(1).dropped_urgent, 1);
    a.network.connect(name(1));
    a.await_connected(1);
    a.network.send(name(1), b"found");
    b.expect(0, b"found");
    // Whom b knows only from connect is unknown after disconnect, and forgotten.
    b.network.disconnect(name(0));
    until("refused", || b.total().refused > 0);
    until("forgotten", || b.network.counters().peers.is_empty());
    assert!(b.total().messages_in == 1, "what it did still counts");
}

#[test]
fn a_host_name_is_looked_up_and_a_bad_one_harms_nobody() {
    let b = Node::start(1, listening());
    b.network.connect(name(0));
    let mut config = listening();
    config
        .peers
        .push((name(2), "no.such.host.invalid:9000".to_owned()));
    config
        .peers
        .push((name(1), format!("localhost:{}", b.local().port())));
    let a = Node::start(0, config);
    [1, 2]
        .iter()
        .for_each(|rank| a.network.connect(name(*rank)));
    a.await_connected(1);
    until("counted", || a.counters(2).unreachable > 0);
}

#[test]
fn wake_makes_receive_return_now_or_the_next_time() {
    let network = TcpNetwork::open(TcpConfig::default(), key(0)).unwrap();
    let forever = Duration::MAX;
    network.wake();
    network.wake();
    assert_eq!(network.receive(forever), None);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| network.receive(forever));
        network.wake();
        assert_eq!(waiting.join().unwrap(), None);
    });
    let begun = Instant::now();
    assert_eq!(network.receive(Duration::from_millis(30)), None);
    assert!(
        begun.elapsed() >= Duration::from_millis(30),
        "both wakes are used up"
    );
}

#[test]
fn what_cannot_be_opened_says_why_and_what_to_do() {
    let text = |config: TcpConfig| TcpNetwork::open(config, key(0)).unwrap_err().to_string();
    let taken = TcpNetwork::open(listening(), key(1)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = text(TcpConfig {
        listen: Some(address.clone()),
        ..TcpConfig::default()
    });
    assert!(
        said.contains(&address) && said.contains("another process listens there"),
        "{said}"
    );
    let said = text(TcpConfig {
        listen: Some("nonsense".to_owned()),
        ..TcpConfig::default()
    });
    assert!(
        said.contains("\"nonsense\"") && said.contains("host:port"),
        "{said}"
    );

    let peers = |peers: &[(usize, &str)]| TcpConfig {
        peers: peers
            .iter()
            .map(|(rank, host)| (name(*rank), (*host).to_string()))
            .collect(),
        ..TcpConfig::default()
    };
    for bad in ["", "host", ":9000", "host:", "host:0", "host:65536"] {
        let error = TcpNetwork::open(peers(&[(1, bad)]), key(0)).unwrap_err();
        assert!(
            matches!(error, TcpError::PeerAddress { .. }),
            "{bad:?}: {error}"
        );
    }
    let error = TcpNetwork::open(peers(&[(1, "h:1"), (1, "h:2")]), key(0)).unwrap_err();
    assert!(matches!(error, TcpError::PeerTwice { .. }));
    let error = TcpNetwork::open(peers(&[(0, "h:1")]), key(0)).unwrap_err();
    assert!(matches!(error, TcpError::PeerIsSelf { .. }));
    let said = text(TcpConfig {
        queue_bytes: 1000,
        ..TcpConfig::default()
    });
    assert!(said.starts_with("queue_bytes is 1000; expected "), "{said}");
}

#[test]
fn it_listens_only_where_told_and_dropping_it_closes_everything() {
    assert_eq!(
        TcpNetwork::open(TcpConfig::default(), key(0))
            .unwrap()
            .local_addr(),
        None
    );
    let (a, b) = pair();
    let address = b.local();
    drop(b);
    until("a notices", || a.counters(1).connected == 0);
    TcpListener::bind(address).expect("the port is free again");
}

#[test]
fn senders_on_many_threads_lose_nothing_and_wait_for_nobody() {
    let (a, b) = pair();
    let (threads, each) = (4u8, 500u32);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let network = &a.network;
            scope.spawn(move || {
                for n in 0..each {
                    network.send(name(1), &[&[thread], n.to_le_bytes().as_slice()].concat());
                }
            });
        }
        let mut next = vec![0; threads.into()];
        for _ in 0..u32::from(threads) * each {
            let (_, message) = b.messages.recv_timeout(PATIENCE).expect("all arrive");
            let n = u32::from_le_bytes(message[1..].try_into().unwrap());
            assert_eq!(
                std::mem::replace(&mut next[usize::from(message[0])], n + 1),
                n
            );
        }
    });
}

/// The other end of a connection, by rustls alone: it does what no replica does.
mod raw {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;

    use hotstuff::types::{KeyPair, ValidatorAddress};
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::client::AlwaysResolvesClientRawPublicKeys;
    use rustls::crypto::ring;
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
    use rustls::server::AlwaysResolvesServerRawPublicKeys;
    use rustls::sign::CertifiedKey;
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error};
    use rustls::{ServerConfig, ServerConnection, SignatureScheme, StreamOwned};

    pub type Raw = StreamOwned<ClientConnection, TcpStream>;

    /// As a replica would.
    pub fn connect(address: SocketAddr, key: &KeyPair, to: ValidatorAddress) -> Raw {
        open(
            address,
            key,
            key.address(),
            to,
            vec![b"hotstuff/1".to_vec()],
        )
    }

    /// With other protocol names.
    pub fn connect_speaking(
        address: SocketAddr,
        key: &KeyPair,
        to: ValidatorAddress,
        protocols: Vec<Vec<u8>>,
    ) -> Raw {
        open(address, key, key.address(), to, protocols)
    }

    /// With the public key of another.
    pub fn connect_showing(
        address: SocketAddr,
        key: &KeyPair,
        shown: ValidatorAddress,
        to: ValidatorAddress,
    ) -> Raw {
        open(address, key, shown, to, vec![b"hotstuff/1".to_vec()])
    }

    fn open(
        address: SocketAddr,
        key: &KeyPair,
        shown: ValidatorAddress,
        to: ValidatorAddress,
        protocols: Vec<Vec<u8>>,
    ) -> Raw {
        let resolver = AlwaysResolvesClientRawPublicKeys::new(certified(key, shown));
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Only(to)))
            .with_client_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = protocols;
        let name = ServerName::try_from("peer.invalid").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(tls, patient(TcpStream::connect(address).unwrap()))
    }

    /// The end that is dialed, with the public key of another; asks for no key itself.
    pub fn accept_showing(
        listener: &TcpListener,
        key: &KeyPair,
        shown: ValidatorAddress,
    ) -> StreamOwned<ServerConnection, TcpStream> {
        let resolver = AlwaysResolvesServerRawPublicKeys::new(certified(key, shown));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"hotstuff/1".to_vec()];
        let tls = ServerConnection::new(Arc::new(config)).unwrap();
        StreamOwned::new(tls, patient(listener.accept().unwrap().0))
    }

    fn patient(tcp: TcpStream) -> TcpStream {
        tcp.set_read_timeout(Some(super::PATIENCE)).unwrap();
        tcp
    }

    fn certified(key: &KeyPair, shown: ValidatorAddress) -> Arc<CertifiedKey> {
        let pkcs8 = key.to_pkcs8();
        let signing = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
        let spki = CertificateDer::from(spki(&shown));
        Arc::new(CertifiedKey::new(vec![spki], signing.unwrap()))
    }

    fn spki(key: &ValidatorAddress) -> Vec<u8> {
        [
            [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0].as_slice(),
            &key.0,
        ]
        .concat()
    }

    #[derive(Debug)]
    struct Only(ValidatorAddress);

    impl ServerCertVerifier for Only {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            assert_eq!(end_entity.as_ref(), spki(&self.0));
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            unreachable!()
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    }
}
