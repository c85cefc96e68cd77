//! Memory does not grow with the chain. A process of its own, so that nobody else's is measured.

#[path = "replica/cluster.rs"]
mod cluster;

use cluster::Cluster;

/// Blocks until every bounded thing is as large as it gets, and those that are measured.
const WARM_UP: u64 = 2_500;
const MEASURED: u64 = 2_500;

/// What four replicas together may grow by: a quarter of a KiB for a block of each. A peer that
/// keeps all blocks, votes or certificates takes more than twice that.
const GROWTH_BYTES_MAX: u64 = MEASURED * 4 * 256;

/// The private memory of this process. The pages of the databases are the kernel's.
fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("the kernel tells") << 10
}

#[test]
fn memory_does_not_grow_with_the_chain() {
    let mut cluster = Cluster::new(4);
    cluster.map_bytes = 1 << 30;
    let cluster = cluster.start_all();
    cluster.give_work(0, WARM_UP);
    cluster.await_count(WARM_UP);
    let before = memory_bytes();
    cluster.give_work(0, MEASURED);
    cluster.await_count(WARM_UP + MEASURED);
    let growth = memory_bytes().saturating_sub(before);
    println!(
        "{} KiB before, {} KiB more after {MEASURED} blocks",
        before >> 10,
        growth >> 10
    );
    assert!(
        growth < GROWTH_BYTES_MAX,
        "{growth} bytes, more than {GROWTH_BYTES_MAX}"
    );
    cluster.check_agreement();
}
