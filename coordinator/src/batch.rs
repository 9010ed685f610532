//! When a batch of sectors becomes a message.

use std::time::Duration;

use streams::id::Timestamp;

/// When to stop waiting for more sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchPolicy {
    /// So many are enough; 0 and 1 mean "do not wait".
    pub(crate) threshold: u64,
    /// The first of them waits no longer than this; zero means "do not wait".
    pub(crate) max_wait: Duration,
    /// More do not fit into one message.
    pub(crate) sectors_max: usize,
}

/// What to do with the sectors that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// None waits.
    Idle,
    /// Send the oldest `n` now.
    Now(usize),
    /// Look again at this time, or when another sector comes.
    At(Timestamp),
}

/// Decides over sectors that wait since these times, oldest first.
pub(crate) fn cut(since: &[Timestamp], policy: BatchPolicy, now: Timestamp) -> Cut {
    let Some(oldest) = since.first() else { return Cut::Idle };
    let fits = since.len().min(policy.sectors_max.max(1));
    let enough = u64::try_from(since.len()).is_ok_and(|n| n >= policy.threshold) || since.len() >= policy.sectors_max;
    let max_wait_ms = u64::try_from(policy.max_wait.as_millis()).unwrap_or(u64::MAX);
    let due = Timestamp(oldest.0.saturating_add(max_wait_ms));
    if enough || due <= now { Cut::Now(fits) } else { Cut::At(due) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn policy(threshold: u64, max_wait_s: u64) -> BatchPolicy {
        BatchPolicy { threshold, max_wait: Duration::from_secs(max_wait_s), sectors_max: 4 }
    }

    fn at(seconds: &[u64]) -> Vec<Timestamp> {
        seconds.iter().map(|s| Timestamp(s * 1000)).collect()
    }

    #[test]
    fn table() {
        for (name, since, policy, now, expected) in [
            ("nobody waits", &[][..], policy(3, 10), 100, Cut::Idle),
            ("threshold one does not wait", &[100], policy(1, 3600), 100, Cut::Now(1)),
            ("threshold zero does not wait", &[100], policy(0, 3600), 100, Cut::Now(1)),
            ("no wait allowed", &[100], policy(16, 0), 100, Cut::Now(1)),
            ("waits for more", &[100, 101], policy(3, 10), 105, Cut::At(Timestamp(110_000))),
            ("enough", &[100, 101, 102], policy(3, 10), 105, Cut::Now(3)),
            ("waited long enough", &[100, 101], policy(3, 10), 110, Cut::Now(2)),
            ("as many as fit", &[1, 2, 3, 4, 5, 6], policy(2, 10), 6, Cut::Now(4)),
            ("full before the threshold", &[1, 2, 3, 4], policy(100, 1000), 5, Cut::Now(4)),
        ] {
            assert_eq!(cut(&at(since), policy, Timestamp(now * 1000)), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn nobody_waits_longer_than_the_limit(
            since in proptest::collection::vec(0_u64..1000, 1..20),
            threshold in 0_u64..30,
            max_wait in 0_u64..500,
            now in 0_u64..2000,
        ) {
            let mut since = since;
            since.sort_unstable();
            match cut(&at(&since), policy(threshold, max_wait), Timestamp(now * 1000)) {
                Cut::Idle => prop_assert!(false, "sectors wait"),
                Cut::Now(n) => prop_assert!((1..=4).contains(&n) && n <= since.len()),
                Cut::At(due) => {
                    prop_assert!(due.0 > now * 1000);
                    prop_assert!(due.0 <= (since[0] + max_wait) * 1000);
                    prop_assert!(u64::try_from(since.len()).unwrap() < threshold);
                }
            }
        }
    }
}
