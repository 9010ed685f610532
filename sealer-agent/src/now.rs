//! The time that goes into records.

use host::clock::{Clock as _, SystemClock};
use streams::id::Timestamp;

/// Now, by the host's clock.
pub(crate) fn now() -> Timestamp {
    #[cfg(feature = "simulated")]
    if let Some(clock) = crate::simulated::clock() {
        return Timestamp(clock.now_unix_ms());
    }
    Timestamp(SystemClock.now_unix_ms())
}

/// The moment it is, to measure by: tokio's, which a simulation sets.
pub(crate) fn instant() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
