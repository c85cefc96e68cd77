//! `make bench-peers`: the published crate hotstuff_rs 0.4.0 and this library on the same work, in
//! one run, taking turns; so the ratios mean something on a machine that does other things too.
//!
//! - `memory`: n validators in one process, connected by queues, empty blocks (8 bytes: when it was
//!   made). Neither waits for a disk: hotstuff_rs has a map in memory; this library has its LMDB,
//!   without syncs. Latency is from making a block to its commit at replica 0.
//! - `sync`: a fresh listener fetches a chain of empty blocks from one replica.
//!
//! The arguments are the seconds of one measurement, and how many of each (5 and 3).

mod ours;
mod theirs;

use std::time::{Duration, Instant};

/// Validators in `memory`.
const VALIDATORS: [usize; 2] = [4, 16];
/// Validators that have made the chain of `sync`, and its blocks.
const SYNC_VALIDATORS: usize = 4;
const SYNC_BLOCKS: u64 = 3_000;

/// What a system does in `memory`.
pub struct Pace {
    pub blocks_per_s: f64,
    pub latency_ms_p50: f64,
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut number = |default| numbers.next().map_or(default, |n| n.expect("a number"));
    let (seconds, rounds) = (Duration::from_secs(number(5)), number(3));
    for validators in VALIDATORS {
        println!("memory, n = {validators}         blocks/s   p50 latency");
        let measure = || {
            [
                theirs::memory(validators, seconds),
                ours::memory(validators, seconds),
            ]
        };
        let paces: Vec<_> = (0..rounds).map(|_| measure()).collect();
        for pair in &paces {
            for (name, pace) in ["hotstuff_rs", "libhotstuff"].iter().zip(pair) {
                let (rate, latency) = (pace.blocks_per_s, pace.latency_ms_p50);
                println!("  {name}          {rate:10.0}  {latency:9.2} ms");
            }
        }
        let ratio = median(paces.iter().map(|[a, b]| b.blocks_per_s / a.blocks_per_s));
        let latency = median(
            paces
                .iter()
                .map(|[a, b]| b.latency_ms_p50 / a.latency_ms_p50),
        );
        println!("  ratio                {ratio:10.1}  {latency:9.2}");
    }
    println!("sync, {SYNC_BLOCKS} empty blocks   blocks/s");
    let measure = || [theirs::sync(), ours::sync()];
    let rates: Vec<_> = (0..rounds).map(|_| measure()).collect();
    for [theirs, ours] in &rates {
        println!("  hotstuff_rs          {theirs:10.0}\n  libhotstuff          {ours:10.0}");
    }
    let ratio = median(rates.iter().map(|[theirs, ours]| ours / theirs));
    println!("  ratio                {ratio:10.1}");
}

/// The middle one.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Nanoseconds since the first call.
pub fn now_ns() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The rate at which `height` rises from its first rise to `target`.
pub fn rate_of(target: u64, height: impl Fn() -> u64) -> f64 {
    let mut began: Option<(Instant, u64)> = None;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let at = height();
        assert!(
            Instant::now() < deadline,
            "it came to {at} of {target} in a minute"
        );
        match began {
            None if at > 0 => began = Some((Instant::now(), at)),
            Some((since, first)) if at >= target => {
                return (at - first) as f64 / since.elapsed().as_secs_f64();
            }
            _ => std::thread::sleep(Duration::from_micros(500)),
        }
    }
}
