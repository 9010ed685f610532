//! Q1 and E1: the queue's own promise, and the evidence's.

use super::{Evidence, Found, Violation, load::Hole};

/// Streams that the checker must have seen whole. Of others only the last value counts, or nothing.
const WHOLE: [&str; 5] = ["KV_SECTORS", "KV_NUMBERS", "KV_MESSAGES", "KV_CLUSTER", "EVENTS"];

/// A write that the server had acknowledged is not there when everything is read back. Judged only where it was read
/// back, and only for writes to keys and subjects that nothing overwrites.
pub(super) fn q1(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("Q1");
    let Some(reread) = evidence.run.reread_all else { return found.all };
    for write in &evidence.run.acknowledged {
        if !evidence.run.reread.contains(&write.value) {
            let subject = format!("{} {}", write.value.stream, write.value.seq);
            let words = format!("the acknowledged write to {} is lost", write.value.subject);
            found.note(subject, [write.spot, reread], words);
        }
    }
    found.all
}

/// How long a recorder whose server was killed may take to be served by another.
const UNSERVED_MS: u64 = 30_000;

/// What was missed, or cannot be read, was not judged: a run with holes has not shown anything.
///
/// `KV_SECTORS` keeps the last five versions of a record, so a recorder that lost its server may miss older ones.
/// Every transition is in `EVENTS` too, before the next one is made, and that stream must be whole.
pub(super) fn e1(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("E1");
    let is_excused = |hole: &Hole| {
        let at = hole.missed_at.filter(|_| hole.stream == "KV_SECTORS");
        at.is_some_and(|at| evidence.run.is_excused("E1", at.saturating_sub(UNSERVED_MS), at))
    };
    let holes = evidence.holes.iter().filter(|hole| WHOLE.contains(&hole.stream.as_str()));
    for hole in holes.filter(|hole| !is_excused(hole)) {
        found.note(hole.stream.clone(), [hole.spot], hole.words.clone());
    }
    found.all
}
