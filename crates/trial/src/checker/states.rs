//! I13, I14, I19, I22: a sector's states, as records and events tell them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Evidence, Found, Spot, Violation,
    load::At,
    record::{Reason, Sector, State},
    transitions,
};

/// Whether nothing needs to move it any more.
fn is_at_rest(state: &State) -> bool {
    match state.is.as_str() {
        "proving" => state.finalized,
        "pre-commit-expired" => state.successor.as_ref().is_none_or(|successor| successor.is == "begun"),
        "parked" | "aborted" => true,
        _ => false,
    }
}

/// Sectors that were neither spoilt nor given up on a person's order, and have not come to prove: the `L` of a run.
#[must_use]
pub fn lost_sectors(evidence: &Evidence) -> Vec<String> {
    let submitted = evidence.run.submitted.iter().map(|answer| &answer.value);
    let all: BTreeSet<_> = submitted.chain(evidence.sectors.keys()).collect();
    all.into_iter().filter(|sector| loss(evidence, sector).is_some()).cloned().collect()
}

/// How a sector is lost.
fn loss(evidence: &Evidence, sector: &str) -> Option<String> {
    let Some(last) = evidence.sectors.get(sector).and_then(|records| records.last()) else {
        return Some("it was submitted and has no record".to_owned());
    };
    let state = &last.value.state;
    if let Some(codes) = evidence.run.poisoned.get(sector) {
        return match (&state.reason, state.is.as_str()) {
            (Some(Reason::Parked { code }), "parked") => (!codes.is_empty() && !codes.contains(code))
                .then(|| format!("it was spoilt to park with {codes:?} and is parked with {code}")),
            _ => (!is_at_rest(state)).then(|| format!("it was spoilt, and is {}", state.is)),
        };
    }
    let ordered = |order: &str| {
        evidence.run.ordered.get(sector).is_some_and(|orders| orders.iter().any(|ordered| ordered.value == order))
    };
    match state.is.as_str() {
        "proving" => None,
        "aborted" if ordered("abort") => None,
        // Its pieces live on in another sector, which is judged by itself.
        "pre-commit-expired" if is_at_rest(state) => None,
        _ => Some(format!("it ended {} and nobody had spoilt it", state.is)),
    }
}

/// Everything had come to rest, and a sector is still on its way, or ended where it should not have. In the middle of a
/// run nothing is said: which pointer is open is the queue's to know, and `seal_orphan_sectors` tells that online.
pub(super) fn i13(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I13");
    let Some(over) = evidence.run.over.as_ref().filter(|over| over.value) else { return found.all };
    let life = evidence.sectors.values().flatten().map(|record| record.value.incarnation).max();
    // A sector without a place is a number and a wish: it goes with a queue that is wiped, and no later life knows it.
    let is_gone = |record: &Sector| record.state.is == "allocated" && Some(record.incarnation) < life;
    for (sector, records) in &evidence.sectors {
        if let Some(last) = records.last().filter(|last| !is_at_rest(&last.value.state) && !is_gone(&last.value)) {
            let words = format!("it is {} and nothing moves it", last.value.state.is);
            found.note(sector.clone(), [last.spot, over.spot], words);
        }
    }
    for sector in lost_sectors(evidence) {
        let last = evidence.sectors.get(&sector).and_then(|records| records.last());
        // One that is on its way was named above.
        if last.is_none_or(|last| is_at_rest(&last.value.state)) {
            let spot = last.map(|last| last.spot);
            let spot = spot.or_else(|| evidence.run.submitted.iter().find(|s| s.value == sector).map(|s| s.spot));
            found.note(sector.clone(), spot, loss(evidence, &sector).unwrap_or_default());
        }
    }
    found.all
}

/// A prover was started for a sector that had been parked for longer than a task may be silent. One that was at work
/// when it was parked may end: what it made is kept.
pub(super) fn i14(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I14");
    for lived in &evidence.run.children {
        let child = &lived.value.child;
        let Some(records) = child.sector.as_ref().and_then(|sector| evidence.sectors.get(sector)) else { continue };
        if child.stage == "unseal" {
            continue;
        }
        let parked_at = |record: &&At<Sector>| record.ms() <= child.started_at;
        let Some(now) = records.iter().rev().find(parked_at) else { continue };
        let since = child.started_at.saturating_sub(parked_since(records, now));
        if now.value.state.is_parked() && since > evidence.run.settings.ack_wait_ms {
            let subject = child.sector.clone().unwrap_or_default();
            let words = format!("{} was begun by {} while it was parked", child.stage, child.agent);
            found.note(subject, [now.spot, lived.spot], words);
        }
    }
    found.all
}

/// When the parking that a record is part of began.
fn parked_since(records: &[At<Sector>], now: &At<Sector>) -> u64 {
    let before = records.iter().filter(|record| record.us <= now.us).rev();
    before.take_while(|record| record.value.state.is_parked()).last().map_or_else(|| now.ms(), At::ms)
}

/// Pairs of records that follow each other in one life of the queue; what a restore brought back was judged before.
fn moves(records: &[At<Sector>]) -> impl Iterator<Item = (&At<Sector>, &At<Sector>)> {
    records.iter().zip(records.iter().skip(1)).filter(|(prev, next)| prev.life == next.life && !next.again)
}

/// A record's state follows from the one before by no arrow of the checker's own table, or backward without what must
/// then be on record. A rebuild writes states that the chain and the stores tell: they follow from nothing.
pub(super) fn i19(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I19");
    for (sector, records) in &evidence.sectors {
        for (prev, next) in moves(records) {
            if let Some(words) = transitions::fault(evidence, sector, prev, next) {
                found.note(sector.clone(), [prev.spot, next.spot], words);
            }
        }
    }
    found.all
}

/// Transition numbers leave one out or repeat; a transition has no event of its number and state; an event tells of a
/// transition that no record made. The last transition before a wipe may lack its event, and so may what a rebuild wrote.
pub(super) fn i22(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I22");
    let empty = Vec::new();
    for (sector, records) in &evidence.sectors {
        for (prev, next) in moves(records).filter(|(prev, next)| next.value.seq != prev.value.seq + 1) {
            let words = format!("transition {} follows {}", next.value.seq, prev.value.seq);
            found.note(sector.clone(), [prev.spot, next.spot], words);
        }
        let events = evidence.events.get(sector).unwrap_or(&empty);
        let told: BTreeSet<_> = events.iter().map(|e| (e.value.seq, e.value.state.as_str())).collect();
        for (index, record) in records.iter().enumerate() {
            let key = (record.value.seq, record.value.state.is.as_str());
            let first = index.checked_sub(1).and_then(|before| records.get(before));
            let rebuilt = record.life > 1 && first.is_none_or(|before| before.life != record.life);
            let last = records.get(index + 1).is_none_or(|next| next.life != record.life);
            let wiped = last && evidence.ended.contains(&("KV_SECTORS".to_owned(), record.life));
            if !(told.contains(&key) || rebuilt || wiped || record.again) {
                found.note(sector.clone(), [record.spot], format!("transition {} to {} has no event", key.0, key.1));
            }
        }
        untold(sector, records, events.iter().map(|e| (e.value.seq, e.value.state.as_str(), e.spot)), &mut found);
    }
    for (sector, events) in evidence.events.iter().filter(|(sector, _)| !evidence.sectors.contains_key(*sector)) {
        found.note(sector.clone(), events.iter().map(|event| event.spot).take(1), "it has events and no record");
    }
    found.all
}

fn untold<'a>(
    sector: &str,
    records: &[At<Sector>],
    events: impl Iterator<Item = (u64, &'a str, Spot)>,
    found: &mut Found,
) {
    let made: BTreeSet<_> = records.iter().map(|record| (record.value.seq, record.value.state.is.as_str())).collect();
    let unmade: BTreeMap<_, _> = events.map(|(seq, state, spot)| ((seq, state), spot)).collect();
    for ((seq, state), spot) in unmade.into_iter().filter(|(key, _)| !made.contains(key)) {
        found.note(sector, [spot], format!("an event tells of transition {seq} to {state}, which no record made"));
    }
}
