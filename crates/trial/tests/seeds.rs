//! Seeds of the simulated cluster: those that once went wrong, and some new ones.

#![expect(clippy::unwrap_used, reason = "tests")]

use trial::sim::{Outcome, play};

/// Seeds that once went wrong: a number, and the story behind a `#`.
const REGRESSIONS: &str = include_str!("../regressions.txt");
/// New seeds here; `simulator run` plays thousands.
const SEEDS: u64 = 12;

fn regressions() -> impl Iterator<Item = u64> {
    let lines = REGRESSIONS.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().unwrap())
}

fn well(seed: u64) -> Outcome {
    let outcome = play(seed, None, false).unwrap();
    assert_eq!(outcome.violations, Vec::<String>::new(), "seed {seed}:\n{}", outcome.tail.join("\n"));
    outcome
}

#[test]
fn seeds_that_once_went_wrong_go_well() {
    regressions().for_each(|seed| drop(well(seed)));
}

#[test]
fn seeds_go_well() {
    (1..=SEEDS).for_each(|seed| drop(well(seed)));
}

#[test]
fn one_seed_is_one_run() {
    for seed in [1, 2, 3] {
        assert_eq!(well(seed).digest, well(seed).digest, "seed {seed}");
    }
}
