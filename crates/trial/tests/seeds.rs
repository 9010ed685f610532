//! Seeds of the simulated cluster: those that once went wrong, some new ones, and those that show what would be seen.

#![expect(clippy::unwrap_used, reason = "tests")]

use trial::sim::{Outcome, play, without::Without};

/// Seeds that once went wrong: a number, and the story behind a `#`.
const REGRESSIONS: &str = include_str!("../regressions.txt");
/// New seeds here; `simulator run` plays thousands.
const SEEDS: u64 = 12;
/// So many seeds at most have to show that a mechanism is missing.
const SEEDS_WITHOUT: u64 = 40;

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

#[test]
fn a_mechanism_that_is_missing_is_seen() {
    for without in Without::ALL {
        let seen = (1..=SEEDS_WITHOUT).find(|seed| !play(*seed, Some(without), false).unwrap().violations.is_empty());
        assert!(seen.is_some(), "no seed of {SEEDS_WITHOUT} shows that the {without} is missing");
    }
}
