//! Time as the core knows it: an argument, never a clock.

use std::time::Duration;

/// Nanoseconds since an origin that the driver chooses. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// Later than every time that comes.
    pub const NEVER: Time = Time(u64::MAX);

    /// The time `duration` later, at most [`Time::NEVER`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Time {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }

    /// How long it is from `earlier` until this time; zero if it has passed.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
