//! How long to wait before the next try: growing, bounded, and spread so that many who failed together do not return
//! together.

use std::time::Duration;

/// A plan of retries. Pure: the same seed gives the same delays.
#[derive(Debug, Clone)]
pub struct Backoff {}

impl Backoff {
    /// Delays from about `first`, doubling up to `max`, without end.
    #[must_use]
    pub fn new(_first: Duration, _max: Duration) -> Self {
        todo!()
    }

    /// Gives up after so many delays.
    #[must_use]
    pub fn tries(self, _tries_max: u32) -> Self {
        todo!()
    }

    /// Fixes the spread.
    #[must_use]
    pub fn seeded(self, _seed: u64) -> Self {
        todo!()
    }

    /// The delay after so many failures (the first is 1), `None` when it is time to give up.
    #[must_use]
    pub fn delay_after(&self, _failures: u32) -> Option<Duration> {
        todo!()
    }

    /// All delays in order.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + Send + 'static {
        std::iter::empty()
    }
}
