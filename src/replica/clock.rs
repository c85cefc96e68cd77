//! The only clock of the driver. Everything below it is told the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::Time;

/// Monotonic time since the replica was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock {
            origin: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Time {
        Time::default().after(self.origin.elapsed())
    }

    /// `None` for times that the clock will never show.
    pub(super) fn instant(&self, time: Time) -> Option<Instant> {
        if time == Time::NEVER {
            return None;
        }
        self.origin.checked_add(Duration::from_nanos(time.0))
    }
}

/// The end of a wait that begins now; `None` if it has no end.
pub(super) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Nanoseconds of Unix time, for reports to people only.
pub(super) fn unix_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
