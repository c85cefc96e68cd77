//! Clocks and distributions.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The machine's real-time clock, in nanoseconds: the one clock that all processes share.
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.expect("the clock stands after 1970").as_nanos();
    u64::try_from(nanos).expect("until the year 2554")
}

/// Sleeps until [`now_ns`] is `until_ns`.
pub fn sleep_until(until_ns: u64) {
    let now = now_ns();
    if until_ns > now {
        std::thread::sleep(Duration::from_nanos(until_ns - now));
    }
}

/// CPU time that the living threads of a process have used, in nanoseconds. It does not wake the
/// process, and is exact (`/proc/PID/stat` counts in hundredths of a second).
pub fn cpu_ns(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let of_thread = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    threads.filter_map(|entry| of_thread(entry.path())).sum()
}

/// What a process has of the machine's memory, in bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Memory {
    pub resident: u64,
    /// Its own: without the pages of its files, which the kernel takes back when it likes.
    pub private: u64,
}

pub fn memory_of(process: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let bytes = |what: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) << 10
    };
    Memory {
        resident: bytes("VmRSS:"),
        private: bytes("RssAnon:"),
    }
}

/// A distribution of durations, exact to 1/64, in microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, us: u64) {
        let index = index_of(us);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Adds what `other` has counted.
    pub fn add(&mut self, other: &Histogram) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The duration that a share `p` of all do not exceed; 0 if there are none.
    pub fn quantile_us(&self, p: f64) -> u64 {
        let rank = (p * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return most_of(index).min(self.max_us);
            }
        }
        self.max_us
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest one.
    pub fn max_us(&self) -> u64 {
        self.max_us
    }
}

/// Buckets of one microsecond up to 127, then 64 for each doubling.
fn index_of(us: u64) -> usize {
    let shift = (u64::BITS - us.leading_zeros()).saturating_sub(7);
    shift as usize * 64 + (us >> shift) as usize
}

/// The greatest duration in a bucket: the inverse of [`index_of`].
fn most_of(index: usize) -> u64 {
    let shift = (index / 64).saturating_sub(1);
    let upper = (index - shift * 64) as u64 + 1;
    (upper << shift) - 1
}

/// Stops the bench when the arithmetic above is wrong: a bench has no tests of its own.
pub fn self_check() {
    for us in [0, 1, 127, 128, 129, 255, 256, 1_000, 123_456, 10_000_000] {
        let most = most_of(index_of(us));
        assert!(
            us <= most && most - us <= us / 64,
            "{us} us went into the bucket of {most}"
        );
    }
    let mut histogram = Histogram::default();
    (1..=100).for_each(|us| histogram.record(us));
    assert_eq!(
        (histogram.quantile_us(0.5), histogram.quantile_us(0.99)),
        (50, 99)
    );
}
