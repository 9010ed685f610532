//! How long a job will still take, by how long jobs like it took.

use std::collections::{BTreeMap, VecDeque};

use streams::proof::SealProof;

use super::activity::Activity;

/// Jobs of one kind and sector size that are remembered: the machine of today, not of last month.
const REMEMBERED: usize = 16;
/// Below this share done, in thousandths, a rate says nothing.
const PERMILLE_MIN: u64 = 20;

/// How long the last jobs took, by kind and sector size.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    took_ms: BTreeMap<(Activity, SealProof), VecDeque<u64>>,
}

impl Durations {
    /// A job is done.
    pub(crate) fn add(&mut self, activity: Activity, proof: SealProof, took_ms: u64) {
        let took = self.took_ms.entry((activity, proof)).or_default();
        took.push_back(took_ms);
        if took.len() > REMEMBERED {
            took.pop_front();
        }
    }

    /// The median of the last ones.
    fn usual(&self, activity: Activity, proof: SealProof) -> Option<u64> {
        let mut took: Vec<u64> = self.took_ms.get(&(activity, proof))?.iter().copied().collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied()
    }

    /// What is left of a job. Early in it that is what jobs like it took; the further it is, the more its own rate counts.
    pub(crate) fn left_ms(
        &self,
        activity: Activity,
        proof: SealProof,
        elapsed_ms: u64,
        permille: Option<u16>,
    ) -> Option<u64> {
        let usual = self.usual(activity, proof).map(|usual| usual.saturating_sub(elapsed_ms));
        let done = permille.map_or(0, u64::from).min(1000);
        match (usual, by_rate(elapsed_ms, permille)) {
            (Some(usual), Some(by_rate)) => Some((usual * (1000 - done) + by_rate * done) / 1000),
            (None, by_rate) => by_rate,
            // Longer than usual, and it does not say how far it is: nobody knows.
            (Some(usual), None) => Some(usual).filter(|left| *left > 0),
        }
    }
}

/// What is left by a job's own rate alone.
pub(crate) fn by_rate(elapsed_ms: u64, permille: Option<u16>) -> Option<u64> {
    let done = permille.map(u64::from).filter(|done| (PERMILLE_MIN..=1000).contains(done))?;
    Some(elapsed_ms.saturating_mul(1000 - done) / done)
}

#[cfg(test)]
mod tests {
    use streams::stage::Stage;

    use super::*;

    const SIZE: SealProof = SealProof::Drg32GiBV1_1;

    fn after(took: &[u64]) -> Durations {
        let mut durations = Durations::default();
        took.iter().for_each(|took| durations.add(Activity::Stage(Stage::C2), SIZE, *took));
        durations
    }

    #[test]
    fn the_median_of_the_last_ones_is_what_is_expected() {
        let durations = after(&[100, 900, 110]);
        assert_eq!(durations.left_ms(Activity::Stage(Stage::C2), SIZE, 30, None), Some(80));
        assert_eq!(durations.left_ms(Activity::Stage(Stage::C2), SIZE, 200, None), None, "longer than usual");
        assert_eq!(durations.left_ms(Activity::Stage(Stage::C2), SealProof::Drg2KiBV1_1, 30, None), None);
        assert_eq!(durations.left_ms(Activity::Stage(Stage::Pc2), SIZE, 30, None), None);
    }

    #[test]
    fn old_ones_are_forgotten() {
        let slow_then_fast = [vec![1000; 20], vec![10; 16]].concat();
        assert_eq!(after(&slow_then_fast).left_ms(Activity::Stage(Stage::C2), SIZE, 0, None), Some(10));
    }

    #[test]
    fn its_own_rate_counts_the_more_the_further_it_is() {
        assert_eq!(after(&[]).left_ms(Activity::Stage(Stage::C2), SIZE, 300, Some(250)), Some(900));
        assert_eq!(after(&[]).left_ms(Activity::Stage(Stage::C2), SIZE, 300, Some(1)), None, "too early to tell");
        let durations = after(&[1000]);
        assert_eq!(durations.left_ms(Activity::Stage(Stage::C2), SIZE, 400, Some(500)), Some((600 + 400) / 2));
        assert_eq!(durations.left_ms(Activity::Stage(Stage::C2), SIZE, 400, Some(1000)), Some(0));
    }
}
