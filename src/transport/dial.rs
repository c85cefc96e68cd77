//! When to dial again, and where: delays with jitter, and names that are looked up on a thread of
//! their own, because the system's resolver blocks.

use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use mio::Waker;

use crate::types::ValidatorAddress;

/// The delay before attempt `attempts` (counted from 0): `base` doubled each time up to `longest`,
/// and of that a part between a half and all, as `chance` has it.
pub fn delay(base: Duration, longest: Duration, attempts: u32, chance: u64) -> Duration {
    let factor = 1u32.checked_shl(attempts).unwrap_or(u32::MAX);
    let whole = base.saturating_mul(factor).min(longest);
    let half = whole / 2;
    half + Duration::from_nanos((half.as_nanos() as u64).saturating_mul(chance >> 40) >> 24)
}

/// Chance good enough for jitter: nothing depends on its being unpredictable.
#[derive(Default)]
pub struct Jitter {
    state: RandomState,
    drawn: u64,
}

impl Jitter {
    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.state.hash_one(self.drawn)
    }
}

/// What other threads leave for the poll loop, with the bell that calls it.
pub struct Doorbell {
    waker: Waker,
    /// `wake` was called; `receive` must return.
    woken: AtomicBool,
    /// Something changed that the loop must look at.
    attention: AtomicBool,
    looked_up: Mutex<Vec<LookedUp>>,
}

pub type LookedUp = (ValidatorAddress, io::Result<Vec<SocketAddr>>);

impl Doorbell {
    pub fn new(waker: Waker) -> Doorbell {
        Doorbell {
            waker,
            woken: AtomicBool::new(false),
            attention: AtomicBool::new(false),
            looked_up: Mutex::default(),
        }
    }

    pub fn wake(&self) {
        self.ring(&self.woken);
    }

    pub fn take_wake(&self) -> bool {
        self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::AcqRel)
    }

    pub fn call(&self) {
        self.ring(&self.attention);
    }

    pub fn take_call(&self) -> bool {
        self.attention.load(Ordering::Relaxed) && self.attention.swap(false, Ordering::AcqRel)
    }

    fn ring(&self, flag: &AtomicBool) {
        if !flag.swap(true, Ordering::AcqRel) {
            self.waker
                .wake()
                .expect("an eventfd of our own takes a write");
        }
    }

    pub fn take_looked_up(&self) -> Vec<LookedUp> {
        std::mem::take(&mut *self.looked_up.lock().expect("no panic under this lock"))
    }

    fn leave(&self, result: LookedUp) {
        self.looked_up
            .lock()
            .expect("no panic under this lock")
            .push(result);
        self.call();
    }
}

/// Looks `host` (`name:port`) up on a thread that lives as long as that takes; the doorbell tells.
///
/// # Errors
/// There is no thread to be had.
pub fn look_up(doorbell: &Arc<Doorbell>, peer: ValidatorAddress, host: &str) -> io::Result<()> {
    let (doorbell, host) = (Arc::clone(doorbell), host.to_owned());
    let work = move || {
        let result = host
            .to_socket_addrs()
            .map(|found| found.collect::<Vec<_>>());
        doorbell.leave((peer, result));
    };
    thread::Builder::new()
        .name("hotstuff-lookup".to_owned())
        .spawn(work)
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_are_never_below_half() {
        let [base, longest] = [50, 1000].map(Duration::from_millis);
        let most = |attempts| {
            delay(base, longest, attempts, u64::MAX)
                .as_micros()
                .div_ceil(1000)
        };
        assert_eq!(
            [0, 1, 2, 4, 5, 31, 32, u32::MAX].map(most),
            [50, 100, 200, 800, 1000, 1000, 1000, 1000]
        );
        assert_eq!(delay(base, longest, 0, 0), Duration::from_millis(25));
        let mut jitter = Jitter::default();
        let drawn: Vec<_> = (0..100)
            .map(|_| delay(base, longest, 9, jitter.draw()))
            .collect();
        assert!(drawn
            .iter()
            .all(|delay| *delay >= longest / 2 && *delay <= longest));
        assert!(drawn.iter().any(|delay| *delay != drawn[0]));
    }
}
