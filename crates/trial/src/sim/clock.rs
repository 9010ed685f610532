//! Virtual time as the services read it.

use host::clock::Clock;

/// Follows tokio's clock, which stands still while anybody works.
#[derive(Debug)]
pub(crate) struct SimClock {
    began: tokio::time::Instant,
    host: std::time::Instant,
    epoch_ms: u64,
}

impl SimClock {
    /// A clock that shows `epoch_ms` now.
    pub(crate) fn new(epoch_ms: u64) -> Self {
        Self { began: tokio::time::Instant::now(), host: std::time::Instant::now(), epoch_ms }
    }
}

impl Clock for SimClock {
    fn now_unix_ms(&self) -> u64 {
        self.epoch_ms.saturating_add(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> std::time::Instant {
        self.host + self.began.elapsed()
    }
}
