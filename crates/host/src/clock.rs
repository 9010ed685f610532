//! Time as an argument: whoever decides by the time is handed a [`Clock`], and a test hands in one that it moves.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What time it is.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Wall-clock time, milliseconds since 1970 in UTC. It may jump; records carry it, limits must not.
    fn now_unix_ms(&self) -> u64;

    /// A clock that only goes forward, for limits and leases.
    fn monotonic(&self) -> Instant;
}

/// The clock of the host.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now_unix_ms(&self) -> u64 {
        // A host that believes to live before 1970 gets 1970: wrong by as much as it was anyway.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        whole_ms(since_1970)
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    start_unix_ms: u64,
    moved: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that shows `unix_ms`.
    #[must_use]
    pub fn new(unix_ms: u64) -> Self {
        Self { start: Instant::now(), start_unix_ms: unix_ms, moved: Mutex::new(Duration::ZERO) }
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        *moved = moved.saturating_add(by);
    }

    fn moved(&self) -> Duration {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now_unix_ms(&self) -> u64 {
        self.start_unix_ms.saturating_add(whole_ms(self.moved()))
    }

    fn monotonic(&self) -> Instant {
        self.start + self.moved()
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = ManualClock::new(1_000);
        let before = clock.monotonic();
        assert_eq!(clock.now_unix_ms(), 1_000);
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(clock.now_unix_ms(), 2_500);
        assert_eq!(clock.monotonic() - before, Duration::from_millis(1_500));
    }

    #[test]
    fn the_system_clock_knows_the_century() {
        let year_2025_ms = 1_735_689_600_000;
        assert!(SystemClock.now_unix_ms() > year_2025_ms);
    }
}
