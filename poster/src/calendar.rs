//! A miner's proving period as rows for people: each deadline's next window, with what it holds.

use std::time::Duration;

use chain::api::{DeadlineState, PartitionState};
use serde::Serialize;
use streams::{id::Epoch, records::DeadlineNow};

use crate::deadline::{Window, calendar};

/// One deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) deadline: u64,
    /// The next one that has not elapsed.
    pub(crate) current: bool,
    /// Whether a proof for it counts now.
    pub(crate) is_open: bool,
    pub(crate) challenge: Epoch,
    pub(crate) open: Epoch,
    pub(crate) close: Epoch,
    /// Negative once it is open.
    pub(crate) opens_in_secs: i64,
    pub(crate) closes_in_secs: i64,
    pub(crate) partitions: usize,
    /// Live sectors.
    pub(crate) sectors: u64,
    pub(crate) faults: u64,
    pub(crate) recovering: u64,
    /// Partitions the chain has a proof of in this window.
    pub(crate) proven: u64,
}

/// Seconds from one epoch to another.
pub(crate) fn seconds(epochs: Epoch, block_delay_secs: u64) -> i64 {
    epochs.saturating_mul(i64::try_from(block_delay_secs).unwrap_or(i64::MAX))
}

/// A row of the period, given what the chain has of its deadline.
pub(crate) fn row(
    now: &DeadlineNow,
    window: &Window,
    state: &DeadlineState,
    partitions: &[PartitionState],
    block_delay_secs: u64,
) -> Row {
    let sum = |of: &dyn Fn(&PartitionState) -> u64| partitions.iter().map(of).sum();
    Row {
        deadline: window.deadline,
        current: window.deadline == now.index,
        is_open: (window.open..window.close).contains(&now.epoch),
        challenge: window.challenge,
        open: window.open,
        close: window.close,
        opens_in_secs: seconds(window.open.saturating_sub(now.epoch), block_delay_secs),
        closes_in_secs: seconds(window.close.saturating_sub(now.epoch), block_delay_secs),
        partitions: partitions.len(),
        sectors: sum(&|p| p.live.len()),
        faults: sum(&|p| p.faulty.len()),
        recovering: sum(&|p| p.recovering.len()),
        proven: state.post_submissions.len(),
    }
}

/// The period's windows in the order of their deadlines, as lotus-miner lists them.
pub(crate) fn by_deadline(now: &DeadlineNow) -> Vec<Window> {
    let mut windows = calendar(now);
    windows.sort_by_key(|window| window.deadline);
    windows
}

/// `in 12m 30s`, `45s ago`, `now`.
pub(crate) fn relative(seconds: i64) -> String {
    let span = humantime::format_duration(Duration::from_secs(seconds.unsigned_abs()));
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {span}"),
        _ => format!("{span} ago"),
    }
}

#[cfg(test)]
mod tests {
    use fvm_ipld_bitfield::BitField;

    use super::*;
    use crate::deadline::tests::fast;

    #[test]
    fn rows_are_in_order_and_one_is_current() {
        let now = fast(1000, 50);
        let windows = by_deadline(&now);
        assert_eq!(windows.iter().map(|w| w.deadline).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        let state =
            DeadlineState { post_submissions: BitField::try_from_bits([0, 2]).unwrap(), disputable_proof_count: 0 };
        let bits = |numbers: &[u64]| BitField::try_from_bits(numbers.iter().copied()).unwrap();
        let partition = PartitionState {
            all: bits(&[1, 2, 3]),
            faulty: bits(&[2]),
            recovering: bits(&[2]),
            live: bits(&[1, 2]),
            active: bits(&[1]),
        };
        let rows: Vec<_> =
            windows.iter().map(|w| row(&now, w, &state, &[partition.clone(), partition.clone()], 1)).collect();
        let current: Vec<_> = rows.iter().filter(|row| row.current).collect();
        assert_eq!(current.len(), 1);
        assert_eq!((current[0].deadline, current[0].open, current[0].is_open), (3, 45, true));
        assert_eq!((current[0].opens_in_secs, current[0].closes_in_secs), (-5, 10));
        assert_eq!((rows[0].open, rows[0].opens_in_secs), (90, 40), "the next period's");
        assert_eq!((rows[0].sectors, rows[0].faults, rows[0].proven), (4, 2, 2));
    }

    #[test]
    fn time_is_said_from_now() {
        assert_eq!(relative(750), "in 12m 30s");
        assert_eq!(relative(-45), "45s ago");
        assert_eq!(relative(0), "now");
    }
}
