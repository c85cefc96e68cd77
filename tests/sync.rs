//! Catching up through the real threads and LMDB: many thousands of blocks, peers that lie, and
//! consensus, which never waits for it.

#[path = "sync/chain.rs"]
mod chain;
#[path = "replica/cluster.rs"]
mod cluster;

use std::time::{Duration, Instant};

use chain::Chain;
use cluster::{eventually, Cluster};

/// How fast replica 0 takes a chain from replica 1, in blocks a second. Two of four commit nothing
/// more, so the chain stays as long as it is.
fn catch_up(what: &str, length: u64, data_every: Option<u64>, padding: usize, delay_ms: u64) {
    let mut cluster = Cluster::new(4);
    cluster.map_bytes = 1 << 30;
    let chain = Chain::new(&cluster, length, data_every, padding);
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
