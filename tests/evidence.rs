//! A validator that contradicts itself, over TCP, against real replicas: what it has signed is
//! found, told once, kept over a restart, and convicts it by the bytes alone.

#[path = "replica/cluster.rs"]
mod cluster;

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cluster::{await_count, eventually, Cluster, SOON};
use crossbeam_channel::{unbounded, Receiver};
use hotstuff::algorithm::Event;
use hotstuff::evidence::{Evidence, EvidenceKind};
use hotstuff::messages::{Message, ProgressMessage, Propose, TimeoutVote, Vote};
use hotstuff::network::NetworkProvider;
use hotstuff::pacemaker::{DefaultPacemaker, Pacemaker};
use hotstuff::replica::{Replica, ReplicaEventKind};
use hotstuff::transport::{TcpConfig, TcpNetwork};
use hotstuff::types::*;

/// How long the liar waits before it says everything again.
const AGAIN: Duration = Duration::from_millis(20);

/// Four validators on loopback; the one that leads view 1 is the liar.
struct Mesh {
    cluster: Cluster,
    ports: Vec<u16>,
    liar: usize,
}

impl Mesh {
    fn new() -> Mesh {
        let cluster = Cluster::new(4);
        let bound: Vec<TcpListener> = (0..4)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports = bound.iter().map(|it| it.local_addr().unwrap().port());
        let first =
            DefaultPacemaker::default().view_leader(&cluster.genesis.validator_set, ViewNumber(1));
        let liar = (0..4).find(|i| cluster.address(*i) == first).unwrap();
        Mesh {
            ports: ports.collect(),
            cluster,
            liar,
        }
    }

    fn honest(&self) -> Vec<usize> {
        (0..4).filter(|i| *i != self.liar).collect()
    }

    fn network(&self, i: usize) -> Arc<TcpNetwork> {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let others = (0..4).filter(|other| *other != i);
        let config = TcpConfig {
            listen: Some(at(self.ports[i])),
            peers: others
                .map(|other| (self.cluster.address(other), at(self.ports[other])))
                .collect(),
            ..TcpConfig::default()
        };
        Arc::new(TcpNetwork::open(config, self.cluster.keys[i].duplicate()).unwrap())
    }

    /// Starts replica `i`; what it tells of evidence comes through the channel.
    fn start(&mut self, i: usize) -> (Arc<Replica>, Receiver<Evidence>) {
        let app = Box::new(self.cluster.apps[i].clone());
        let replica = Replica::open(self.cluster.config(i), app, self.network(i)).unwrap();
        let replica = Arc::new(replica);
        *self.cluster.apps[i].replica.lock().unwrap() = Arc::downgrade(&replica);
        let (sender, told) = unbounded();
        replica
            .set_events(Box::new(move |event| {
                if let ReplicaEventKind::Algorithm(Event::EvidenceFound(found)) = event.kind {
                    sender.send(found).unwrap();
                }
            }))
            .unwrap();
        replica.start().unwrap();
        (replica, told)
    }
}

/// The liar's key, and its connections, which a thread keeps alive.
struct Liar {
    key: KeyPair,
    genesis: Genesis,
    network: Arc<TcpNetwork>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    fn start(mesh: &Mesh) -> Liar {
        let network = mesh.network(mesh.liar);
        let peers = mesh.honest().into_iter().map(|i| mesh.cluster.address(i));
        peers.for_each(|peer| network.connect(peer));
        let stop = Arc::new(AtomicBool::new(false));
        let (receiving, stopped) = (network.clone(), stop.clone());
        let work = move || {
            while !stopped.load(Ordering::SeqCst) {
                drop(receiving.receive(Duration::from_secs(1)));
            }
        };
        Liar {
            key: mesh.cluster.keys[mesh.liar].duplicate(),
            genesis: mesh.cluster.genesis.clone(),
            network,
            stop,
            thread: Some(std::thread::spawn(work)),
        }
    }

    fn sign(&self, statement: &Statement) -> Signature {
        self.key.sign(&statement.digest(&self.genesis.hash()))
    }

    fn vote(&self, statement: VoteStatement) -> Vote {
        Vote {
            statement,
            voter: self.key.address(),
            signature: self.sign(&Statement::Vote(statement)),
        }
    }

    /// Two blocks for view 1.
    fn two_proposals(&self) -> Vec<ProgressMessage> {
        let propose = |data: &[u8]| {
            let data = Data::new(data);
            let header = BlockHeader {
                height: BlockHeight(1),
                epoch: Epoch(0),
                view: ViewNumber(1),
                justify: QuorumCertificate::genesis(self.genesis.hash()),
                data_hash: data.hash(),
                validator_set_updates: None,
            };
            let block = Block { header, data };
            let vote = self.vote(VoteStatement {
                epoch: Epoch(0),
                view_num: ViewNumber(1),
                justify_view: ViewNumber(0),
                block_hash: block.hash(&self.genesis.hash()),
                phase: Phase::Generic,
            });
            ProgressMessage::Propose(Propose {
                block,
                vote,
                timeout_certificate: None,
            })
        };
        vec![propose(b""), propose(&1_u64.to_le_bytes())]
    }

    fn vote_in(&self, view: ViewNumber, block: u8) -> Vote {
        self.vote(VoteStatement {
            epoch: Epoch(0),
            view_num: view,
            justify_view: view.previous(),
            block_hash: BlockHash([block; 32]),
            phase: Phase::Generic,
        })
    }

    fn two_votes(&self, view: ViewNumber) -> Vec<ProgressMessage> {
        [1, 2]
            .map(|block| ProgressMessage::Vote(self.vote_in(view, block)))
            .to_vec()
    }

    /// "I have never seen a QC", and a vote on one.
    fn lying_timeout(&self, view: ViewNumber) -> Vec<ProgressMessage> {
        let highest_qc = QuorumCertificate::genesis(self.genesis.hash());
        let statement = TimeoutStatement {
            epoch: Epoch(0),
            view_num: view,
            qc_view: ViewNumber(0),
        };
        vec![ProgressMessage::TimeoutVote(TimeoutVote {
            epoch: Epoch(0),
            view_num: view,
            highest_qc,
            last_vote: Some(self.vote_in(view, 1)),
            validator: self.key.address(),
            signature: self.sign(&Statement::Timeout(statement)),
        })]
    }

    fn say(&self, messages: Vec<ProgressMessage>) {
        for message in messages {
            let bytes = codec::encode(&Message::Progress(message));
            self.network.broadcast(&bytes);
        }
    }

    /// Says it until `told` tells of evidence, which must be of `kind`. What is lost on the way, or
    /// comes before the connection, is said again; what comes twice is no second evidence.
    fn say_until(
        &self,
        told: &Receiver<Evidence>,
        kind: EvidenceKind,
        lies: impl Fn() -> Vec<ProgressMessage>,
    ) {
        let began = std::time::Instant::now();
        while began.elapsed() < SOON {
            self.say(lies());
            if let Ok(found) = told.recv_timeout(AGAIN) {
                assert_eq!((found.validator, found.kind()), (self.key.address(), kind));
                return;
            }
        }
        panic!("nobody tells of a {kind}");
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.network.wake();
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Everything kept, each piece of which convicts by its bytes.
fn kept(replica: &Replica, genesis: &Genesis) -> Vec<(ValidatorAddress, EvidenceKind)> {
    let snapshot = replica.snapshot().unwrap();
    let all = (0..).map_while(|index| snapshot.evidence_at(index).unwrap());
    all.map(|found| {
        let read = Evidence::decode(&found.encode()).unwrap();
        let verdict = read.verify(&genesis.hash(), &genesis.validator_set);
        assert_eq!(verdict, Ok(()));
        (read.validator, read.kind())
    })
    .collect()
}

#[test]
fn an_equivocator_over_tcp_is_convicted_by_all_and_for_ever() {
    let mut mesh = Mesh::new();
    let (genesis, liar) = (mesh.cluster.genesis.clone(), Liar::start(&mesh));
    let mut running: Vec<_> = mesh
        .honest()
        .into_iter()
        .map(|i| (i, mesh.start(i)))
        .collect();
    let by = liar.key.address();
    for (_, (_, told)) in &running {
        liar.say_until(told, EvidenceKind::DoubleProposal, || liar.two_proposals());
    }
    for (_, (replica, told)) in &running {
        let lies = || liar.two_votes(replica.info().view.next());
        liar.say_until(told, EvidenceKind::DoubleVote, lies);
    }
    // The other three go on.
    let (first, (replica, _)) = &running[0];
    mesh.cluster.apps[*first].until.store(5, Ordering::SeqCst);
    replica.notify().unwrap();
    running
        .iter()
        .for_each(|(_, (replica, _))| await_count(replica, 5));

    let both = vec![
        (by, EvidenceKind::DoubleVote),
        (by, EvidenceKind::DoubleProposal),
    ];
    for (_, (replica, told)) in &running {
        assert_eq!(kept(replica, &genesis), both);
        assert_eq!(replica.metrics().evidence_found, 2);
        assert!(told.is_empty(), "each is told once");
    }

    // After a restart it is still there, and not told again: what is new comes next.
    let (restarted, (replica, _)) = running.remove(0);
    replica.stop(SOON).unwrap();
    drop(replica);
    let (replica, told) = mesh.start(restarted);
    assert_eq!(kept(&replica, &genesis), both);
    liar.say_until(&told, EvidenceKind::LyingTimeout, || {
        let view = replica.info().view;
        [liar.two_votes(view), liar.lying_timeout(view)].concat()
    });
    let all = [both, vec![(by, EvidenceKind::LyingTimeout)]].concat();
    assert_eq!(kept(&replica, &genesis), all);
    assert_eq!(replica.metrics().evidence_found, 1);
    for (_, (replica, _)) in running {
        replica.stop(SOON).unwrap();
    }
    replica.stop(SOON).unwrap();
}

/// A vote of replica 0 far above its voting record, which it has not cast.
fn vote_of_a_twin(cluster: &Cluster, signer: &KeyPair) -> Vec<u8> {
    let statement = VoteStatement {
        epoch: Epoch(0),
        view_num: cluster.replica(0).info().view.plus(20),
        justify_view: ViewNumber(1),
        block_hash: BlockHash([7; 32]),
        phase: Phase::Generic,
    };
    let digest = Statement::Vote(statement).digest(&cluster.genesis.hash());
    let vote = Vote {
        statement,
        voter: cluster.address(0),
        signature: signer.sign(&digest),
    };
    codec::encode(&Message::Progress(ProgressMessage::Vote(vote)))
}

/// Whether a peer passes it on, or the network says that it comes from the replica itself.
#[test]
fn a_replica_whose_key_signs_elsewhere_only_listens() {
    for from in [1, 0] {
        let mut cluster = Cluster::new(4);
        cluster.base_ms = 100; // it leads every fourth view, and will be silent
        let replica = cluster.open(0);
        let (sender, twins) = unbounded();
        replica
            .set_events(Box::new(move |event| {
                if let ReplicaEventKind::Algorithm(Event::TwinSeen { rank }) = event.kind {
                    sender.send(rank).unwrap();
                }
            }))
            .unwrap();
        replica.start().unwrap();
        (1..4).for_each(|i| drop(cluster.start(i)));
        cluster.give_work(1, 5);
        cluster.await_count(5);

        let (me, from) = (cluster.address(0), cluster.address(from));
        let forged = vote_of_a_twin(&cluster, &cluster.keys[2]);
        cluster.hub.inject(from, &me, &forged);
        eventually("the forged one is dropped", || {
            let rejected = cluster.rejected(0, from);
            rejected.contains_key("vote: wrong signature")
        });
        assert!(twins.is_empty());

        let genuine = vote_of_a_twin(&cluster, &cluster.keys[0]);
        cluster.hub.inject(from, &me, &genuine);
        assert!(twins.recv_timeout(SOON).is_ok());
        let votes = replica.metrics().votes;
        cluster.give_work(1, 10);
        cluster.await_count(15); // it follows, and the other three go on
        assert_eq!(replica.metrics().votes, votes);
        assert!(!replica.info().is_halted && twins.is_empty());
        cluster.check_agreement();
    }
}
