//! What a person sees of the cluster.

pub(crate) mod agents;
pub(crate) mod sectors;
pub(crate) mod show;
pub(crate) mod stores;
pub(crate) mod tasks;
pub(crate) mod why;

use std::time::Duration;

use host::clock::{Clock as _, SystemClock};
use streams::id::Timestamp;

/// The time ages are counted from.
pub(crate) fn now() -> Timestamp {
    Timestamp(SystemClock.now_unix_ms())
}

/// `4.2s`, `3m 10s`, `2h 5m`, `3d 4h`: two units, or tenths of a second below ten.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{seconds}.{}s", ms % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A time of day in UTC: `2026-11-23 01:25:50`.
pub(crate) fn clock_time(at: Timestamp) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_millis(at.0 / 1000 * 1000);
    humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (ms, text) in [
            (0, "0.0s"),
            (4_250, "4.2s"),
            (59_999, "59s"),
            (190_000, "3m 10s"),
            (7_500_000, "2h 5m"),
            (273_600_000, "3d 4h"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(clock_time(Timestamp(1_790_000_000_999)), "2026-09-21 14:13:20");
    }
}
