//! What may happen, and is no violation.

use serde_json::json;

use super::sample::{SECTOR, Sample, ms, road};
use crate::{
    checker::{CHECKS, lost_sectors},
    evidence::{QueueLine, RunLine, Stored},
};

#[test]
fn a_good_run_has_no_violation() {
    let sample = Sample::good();
    assert_eq!(sample.violations(), []);
    assert_eq!(lost_sectors(&sample.evidence()), Vec::<String>::new());
}

#[test]
fn ids_are_distinct() {
    let ids: std::collections::BTreeSet<_> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), CHECKS.len());
}

#[test]
fn a_failed_stage_may_be_done_again() {
    let mut states = road();
    let again = [states[5].clone(), states[6].clone()];
    states.splice(7..7, again);
    let mut sample = Sample::of(states);
    for seq in 7..sample.records() {
        sample.edit(seq, |record| record["errors"] = json!([{"stage": "pc2", "attempt": 1}]));
    }
    assert_eq!(sample.violations(), []);
}

#[test]
fn a_person_may_order_a_way_back() {
    let mut states = road();
    let again = [states[4].clone(), states[5].clone(), states[6].clone()];
    states.splice(7..7, again);
    let mut sample = Sample::of(states);
    sample.run.push(RunLine::Ordered { at: ms(70), sector: SECTOR.to_owned(), order: "retry".to_owned() });
    assert_eq!(sample.violations(), []);
}

/// Everything is recorded again, as it was stored the first time.
#[test]
fn a_restore_brings_back_what_was() {
    let mut sample = Sample::good();
    let stored: Vec<_> = sample
        .queue
        .iter()
        .filter(|line| matches!(line, QueueLine::Stored(Stored { stream, .. }) if stream == "KV_SECTORS"))
        .take(9)
        .cloned()
        .collect();
    sample.begins("KV_SECTORS");
    sample.queue.extend(stored);
    let next = json!({"incarnation": 2});
    // From the ninth on the sector takes its road again, in the next incarnation.
    for (seq, state) in road().into_iter().enumerate().skip(9) {
        sample.record(SECTOR, u64::try_from(seq).unwrap(), &state, next.clone());
    }
    assert_eq!(sample.violations(), []);
}

#[test]
fn what_a_fork_took_back_does_not_count() {
    let mut sample = Sample::good();
    sample.close(135, &[1], &[1]);
    sample.chain.push(json!({"line": "reorganised", "depth": 1, "abandoned": ["t135"], "height": 45, "head": "t45",
                             "waiting": [], "lost": []}));
    assert_eq!(sample.violations(), []);
}

#[test]
fn a_sector_that_parks_unspoilt_is_lost() {
    let mut states = road();
    states.truncate(6);
    let was = states[5].clone();
    states.push(json!({"is": "parked", "was": was, "reason": {"code": 1001, "text": "so"}}));
    let sample = Sample::of(states);
    assert_eq!(lost_sectors(&sample.evidence()), [SECTOR]);
}
