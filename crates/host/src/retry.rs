//! How long to wait before the next try: growing, bounded, and spread so that many who failed together do not return
//! together.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// A plan of retries. Pure: the same plan gives the same delays.
///
/// The delay after failure *n* lies between a half and the whole of `first · 2^(n-1)`, capped at `max`.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    tries_max: Option<u32>,
    seed: u64,
}

impl Backoff {
    /// Delays from `first`, doubling up to `max`, without end, spread by a seed of its own.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first: first.min(max), max, tries_max: None, seed: RandomState::new().build_hasher().finish() }
    }

    /// Gives up after so many delays.
    #[must_use]
    pub const fn tries(mut self, tries_max: u32) -> Self {
        self.tries_max = Some(tries_max);
        self
    }

    /// Fixes the spread.
    #[must_use]
    pub const fn seeded(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The delay after so many failures (the first is 1), `None` when it is time to give up.
    #[must_use]
    pub fn delay_after(&self, failures: u32) -> Option<Duration> {
        if self.tries_max.is_some_and(|tries_max| failures > tries_max) {
            return None;
        }
        let doublings = failures.saturating_sub(1);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        let whole = self.first.saturating_mul(factor).min(self.max);
        let half = whole / 2;
        let thousandths = u32::try_from(mix(self.seed, failures) % 1_001).unwrap_or_default();
        Some(half + half * thousandths / 1_000)
    }

    /// All delays in order.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + Send + 'static {
        let plan = self.clone();
        (1..).map_while(move |failures| plan.delay_after(failures))
    }
}

/// `SplitMix64`: enough to spread, and the same everywhere.
fn mix(seed: u64, step: u32) -> u64 {
    let mut z = seed.wrapping_add(u64::from(step).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn delays_grow_to_their_bound_and_stay() {
        for seed in 0..200 {
            let plan = Backoff::new(FIRST, MAX).seeded(seed);
            for failures in 1..100 {
                let whole = FIRST.saturating_mul(2_u32.saturating_pow(failures - 1)).min(MAX);
                let delay = plan.delay_after(failures).unwrap();
                assert!(delay >= whole / 2 && delay <= whole, "seed {seed}, failure {failures}: {delay:?}");
            }
            assert!(plan.delay_after(u32::MAX).unwrap() <= MAX);
        }
    }

    #[test]
    fn a_plan_repeats_itself_and_two_plans_differ() {
        let of = |seed| Backoff::new(FIRST, MAX).seeded(seed).tries(6).delays().collect::<Vec<_>>();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn it_gives_up_after_its_tries() {
        let plan = Backoff::new(FIRST, MAX).tries(3);
        assert_eq!(plan.delays().count(), 3);
        assert_eq!(plan.delay_after(4), None);
    }
}
