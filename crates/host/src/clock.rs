//! Time as an argument: whoever decides by the time is handed a [`Clock`], and a test hands in one that it moves.

use std::{
    fmt,
    time::{Duration, Instant},
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
    fn now_unix_ms(&self) -> u64 {
        todo!()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {}

impl ManualClock {
    /// A clock that shows `unix_ms`.
    #[must_use]
    pub fn new(_unix_ms: u64) -> Self {
        todo!()
    }

    /// Moves both times forward.
    pub fn advance(&self, _by: Duration) {
        todo!()
    }
}

impl Clock for ManualClock {
    fn now_unix_ms(&self) -> u64 {
        todo!()
    }

    fn monotonic(&self) -> Instant {
        todo!()
    }
}
