//! Catching up through the real threads and LMDB: many thousands of blocks, peers that lie, and
//! consensus, which never waits for it.

#[path = "sync/chain.rs"]
mod chain;
#[path = "replica/cluster.rs"]
mod cluster;
#[path = "sync/liar.rs"]
mod liar;
#[allow(dead_code)] // the storage tests use all of it
#[path = "storage/raw.rs"]
mod raw;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chain::Chain;
use cluster::{eventually, Cluster, SOON};
use hotstuff::algorithm::SyncConfig;
use hotstuff::block_tree::StorageError;
use hotstuff::messages::{Message, SyncMessage, SyncRequest};
use hotstuff::network::NetworkProvider;
use hotstuff::replica::ReplicaError;
use hotstuff::types::{codec, BlockHeight, ValidatorAddress};
use liar::{Liar, LIES};

/// How fast replica 0 takes a chain from replica 1, in blocks a second. Two of four commit nothing
/// more, so the chain stays as long as it is.
fn catch_up(what: &str, length: u64, data_every: Option<u64>, padding: usize, delay_ms: u64) {
    let mut cluster = Cluster::new(4);
    cluster.map_bytes = 1 << 30;
    let chain = Chain::new(&cluster, Some(0), length, data_every, padding);
    chain.write(&cluster, 1);
    *cluster.hub.delay.lock().unwrap() = Duration::from_millis(delay_ms);
    cluster.start(1);
    let began = Instant::now();
    let replica = cluster.start(0);
    eventually("it catches up", || {
        replica.info().committed_height.0 >= chain.committed()
    });
    let speed = chain.committed() as f64 / began.elapsed().as_secs_f64();
    println!("{what}, {delay_ms} ms away: {speed:.0} blocks/s");
    assert_eq!(cluster.check_agreement(), chain.committed());
}

#[test]
fn twenty_thousand_empty_blocks() {
    catch_up("20,000 empty blocks", 20_000, None, 0, 0);
}

#[test]
fn thousands_of_blocks_with_data() {
    for delay_ms in [0, 10] {
        let what = "4,000 blocks, half of them with 2,000 bytes";
        catch_up(what, 4_000, Some(2), 2_000, delay_ms);
    }
}

#[test]
fn large_blocks_of_which_few_fit_into_an_answer() {
    for delay_ms in [0, 10] {
        catch_up("500 blocks of 60,000 bytes", 500, Some(1), 60_000, delay_ms);
    }
}

/// One of four lies, in every way in turn, to a replica that has lost its disk; it is the first to
/// be asked. The others bring it up to date. When it starts again, with what it has learned of its
/// own votes on its disk, the chain goes on with it, and without the liar.
#[test]
fn f_of_the_peers_lie_in_every_way_and_the_honest_one_catches_up() {
    let mut cluster = Cluster::new(4);
    cluster.base_ms = 100; // the liar leads every fourth view
    cluster.sync = SyncConfig {
        request_limit: 64,
        response_timeout: Duration::from_millis(200),
        ..SyncConfig::default()
    };
    let mut order = [0, 1, 2, 3];
    order.sort_by_key(|i| cluster.address(*i));
    let [liar, victim, one, other] = order;
    let chain = Arc::new(Chain::new(&cluster, Some(victim), 400, Some(3), 100));
    cluster.given.store(chain.count, Ordering::SeqCst);
    for server in [one, other] {
        chain.write(&cluster, server);
        cluster.start(server);
    }
    for lie in LIES {
        // It has voted before it lost its disk, as its peers tell it: it may follow, and not vote.
        cluster.wipe(victim);
        let began = Instant::now();
        let at_work = Liar::start(&cluster, liar, &chain, lie);
        let replica = cluster.start(victim);
        eventually(lie.0, || {
            replica.info().committed_height.0 >= chain.committed()
        });
        let (took, asked) = (began.elapsed(), at_work.asked());
        println!("{:<34} {took:>7.0?}, asked {asked} times", lie.0);
        assert!(asked > 0, "{}: the liar was never asked", lie.0);
        // Each lie costs one response time-out at most; the rest is what the truth takes.
        let bound = cluster.sync.response_timeout * asked as u32 + REST_MAX;
        assert!(took < bound, "{}: {took:?}, more than {bound:?}", lie.0);
        assert!(asked <= ASKED_MAX, "{}: asked {asked} times", lie.0);
        drop(replica);
        cluster.stop(victim);
    }
    vote_again(&mut cluster, victim, chain.count + 5);
    assert!(cluster.check_agreement() > chain.committed());
}

/// Starts replica `i`, which has lost its disk after it had voted, until it votes: whenever it
/// hears of a vote that it does not remember, it falls silent, remembers it, and starts again.
fn vote_again(cluster: &mut Cluster, i: usize, total: u64) {
    for _ in 0..=LIES.len() {
        let replica = cluster.start(i);
        cluster.give_work(i, 5);
        eventually("it votes or falls silent", || {
            replica.info().is_silenced || cluster::count(&replica.snapshot().unwrap()) >= total
        });
        if !replica.info().is_silenced {
            return cluster.await_count(total);
        }
        drop(replica);
        cluster.stop(i);
    }
    panic!("it is silenced more often than it has run");
}

/// What a liar is asked while 400 blocks are fetched, and how long all but its lies may take.
const ASKED_MAX: u64 = 10;
const REST_MAX: Duration = Duration::from_secs(10);

/// Four replicas commit while a stranger asks each of them for the whole chain, again and again,
/// and sends answers that nobody has asked for.
#[test]
fn consensus_never_waits_for_sync() {
    let mut cluster = Cluster::new(4);
    cluster.map_bytes = 1 << 30;
    let chain = Arc::new(Chain::new(&cluster, None, 2_000, Some(1), 2_000));
    cluster.given.store(chain.count, Ordering::SeqCst);
    (0..4).for_each(|i| chain.write(&cluster, i));
    let cluster = cluster.start_all();
    let stop = Arc::new(AtomicBool::new(false));
    let stranger = {
        let addresses: Vec<_> = (0..4).map(|i| cluster.address(i)).collect();
        let port = cluster.hub.port(ValidatorAddress([9; 32]));
        let request = SyncRequest {
            highest_committed_block: cluster.genesis.hash().as_block_hash(),
            limit: u32::MAX,
            wanted: None,
        };
        let short = SyncRequest {
            limit: 10,
            ..request
        };
        let unasked = Message::Sync(SyncMessage::Response(chain.answer(&short)));
        let request = Message::Sync(SyncMessage::Request(request));
        let (unasked, request) = (codec::encode(&unasked), codec::encode(&request));
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut answers = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                for address in &addresses {
                    port.send(*address, &request);
                    port.send(*address, &unasked);
                }
                answers += u64::from(port.receive(Duration::from_millis(10)).is_some());
            }
            answers
        })
    };
    cluster.give_work(0, 200);
    cluster.await_count(chain.count + 200);
    stop.store(true, Ordering::SeqCst);
    let answers = stranger.join().unwrap();
    let metrics = cluster.replica(0).metrics();
    println!(
        "{answers} answers to the stranger; {:?}",
        metrics.rejected_by
    );
    assert!(answers > 0);
    let rejected = cluster.rejected(0, ValidatorAddress([9; 32]));
    assert!(rejected.contains_key("sync_response: not asked for"));
    cluster.check_agreement();
}

/// A committed block that cannot be read is the host's trouble, and whoever asks for it is told;
/// the replica goes on.
#[test]
fn a_damaged_block_does_not_stop_the_replica() {
    let mut cluster = Cluster::new(1);
    let chain = Chain::new(&cluster, None, 50, None, 0);
    chain.write(&cluster, 0);
    cluster.given.store(chain.count, Ordering::SeqCst);
    let directory = cluster.config(0).storage.data_dir;
    let blocks = raw::dump(&directory, Some("blocks"));
    let (key, mut value) = blocks.into_iter().nth(40).expect("many records");
    value.truncate(value.len() / 2);
    raw::put_into(&directory, Some("blocks"), [(&*key, Some(&*value))]);
    let replica = cluster.start(0);
    let read = |height: u64| replica.next_committed(BlockHeight(height - 1), SOON);
    let is_damaged = |height: &u64| match read(*height) {
        Ok(committed) => {
            assert_eq!(committed.block.header.height, BlockHeight(*height));
            false
        }
        Err(ReplicaError::Storage(StorageError::Corrupt { .. })) => true,
        Err(error) => panic!("{error}"),
    };
    let damaged: Vec<u64> = (1..=chain.committed()).filter(is_damaged).collect();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert!(!replica.info().is_halted);
    cluster.give_work(0, 5);
    cluster.await_count(chain.count + 5);
}
