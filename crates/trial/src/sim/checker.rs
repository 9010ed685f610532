//! Watches everything that is stored and names what must never happen, at the moment it does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use streams::{
    id::SectorId,
    message::{Outcome, SectorEvent, Task, TaskResult, decode},
    model::Happened,
    proof::Drawn,
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

/// Lines kept for whoever looks at a violation.
const LINES_MAX: usize = 4_000;

/// A result that came while the results were being looked through may be missed.
const UNSEEN_MS: u64 = 10_000;

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// A digest of every line: two runs of one seed have the same.
    pub(crate) digest: u64,
    pub(crate) lines: VecDeque<String>,
    pub(crate) violations: Vec<String>,
    numbers: BTreeSet<String>,
    pub(crate) records: BTreeMap<SectorId, SectorRecord>,
    tickets: BTreeMap<(SectorId, u32), Drawn>,
    events: BTreeMap<SectorId, BTreeSet<u64>>,
    /// When each record was written last.
    written: BTreeMap<SectorId, u64>,
    /// Results of stages that were done, and that nobody judged yet: their sequence, and when they came.
    waiting: BTreeMap<u64, (SectorId, Stage, u64)>,
    loud: bool,
}

impl Checker {
    /// One that has seen nothing; `loud` prints each line as it comes.
    pub(crate) fn new(loud: bool) -> Self {
        Self { loud, ..Self::default() }
    }

    /// A line of the log.
    pub(crate) fn note(&mut self, at_ms: u64, words: &str) {
        let line = format!("{:>9.3} {words}", to_secs(at_ms));
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.loud {
            println!("{line}");
        }
        self.lines.push_back(line);
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
        }
    }

    pub(crate) fn violation(&mut self, at_ms: u64, words: String) {
        self.note(at_ms, &format!("VIOLATION {words}"));
        self.violations.push(words);
    }

    /// Something happened at the queue.
    pub(crate) fn happened(&mut self, at_ms: u64, happened: &Happened<'_>, has_replica: impl Fn(SectorId) -> bool) {
        match happened {
            Happened::Stored { stream, sequence, subject, payload, is_marker } => {
                if *stream != "KV_LEASES" && *stream != "KV_CHAIN" {
                    let bytes = payload.len();
                    self.note(at_ms, &format!("stored {subject} as {sequence} ({bytes} bytes, marker {is_marker})"));
                }
                match *stream {
                    "KV_NUMBERS" if !self.numbers.insert((*subject).to_owned()) => {
                        self.violation(at_ms, format!("I1: {subject} was given twice"));
                    }
                    "KV_SECTORS" if !is_marker => self.record(at_ms, payload, has_replica),
                    "RESULTS" => self.result(at_ms, *sequence, payload),
                    "TASKS" => self.ordered(at_ms, payload),
                    "EVENTS" => {
                        if let Ok(event) = decode::<SectorEvent>(payload) {
                            self.events.entry(event.sector).or_default().insert(event.seq);
                        }
                    }
                    _ => {}
                }
            }
            Happened::Delivered { sequence, subject, times, .. } => {
                self.note(at_ms, &format!("delivered {subject} ({sequence}) for the {times} time"));
            }
            Happened::Settled { stream, sequence, verdict } => {
                if *stream == "RESULTS" {
                    self.waiting.remove(sequence);
                }
                self.note(at_ms, &format!("settled {stream} {sequence} {verdict}"));
            }
            Happened::Wiped => self.note(at_ms, "wiped"),
        }
    }

    fn result(&mut self, at_ms: u64, sequence: u64, payload: &[u8]) {
        if let Ok(result) = decode::<TaskResult>(payload)
            && matches!(result.outcome, Outcome::Done { .. })
        {
            self.waiting.insert(sequence, (result.sector, result.stage, at_ms));
        }
    }

    /// Nothing is ordered again of which the result is there and nobody has looked at it. While the event of the last
    /// transition is missing, whoever made it may still be ordering: an order whose answer was lost is sent again.
    fn ordered(&mut self, at_ms: u64, payload: &[u8]) {
        let Ok(task) = decode::<Task>(payload) else { return };
        let seq = self.records.get(&task.sector).map_or(0, |record| record.seq);
        if seq > 0 && !self.events.get(&task.sector).is_some_and(|events| events.contains(&seq)) {
            return;
        }
        let written = self.written.get(&task.sector).copied().unwrap_or(0);
        let waits = self.waiting.values().find(|(sector, stage, since)| {
            (*sector, *stage) == (task.sector, task.stage) && *since > written && *since + UNSEEN_MS < at_ms
        });
        if let Some((sector, stage, since)) = waits {
            let words =
                format!("twice: {stage} of sector {sector} is ordered, its result waits since {}", to_secs(*since));
            self.violation(at_ms, words);
        }
    }

    fn record(&mut self, at_ms: u64, payload: &[u8], has_replica: impl Fn(SectorId) -> bool) {
        let record: SectorRecord = match decode(payload) {
            Ok(record) => record,
            Err(error) => return self.violation(at_ms, format!("a sector record cannot be read: {error}")),
        };
        let id = record.id;
        self.note(at_ms, &format!("sector {id} is {} ({})", record.state.name(), record.seq));
        let before = self
            .records
            .get(&id)
            .map(|before| (before.seq, before.state.name(), matches!(before.state, SectorState::Proving { .. })));
        if let Some((seq, was, was_proven)) = before {
            let is = record.state.name();
            if record.seq != seq + 1 {
                self.violation(at_ms, format!("I22: sector {id} went from transition {seq} to {}", record.seq));
            }
            if was_proven && !matches!(record.state, SectorState::Proving { .. } | SectorState::Parked { .. }) {
                self.violation(at_ms, format!("I19: sector {id} went from {was} back to {is}"));
            }
        }
        if let (Some(ticket), Some(at)) = (ticket(&record.state), record.state.placement()) {
            let known = *self.tickets.entry((id, at.generation)).or_insert(ticket);
            if known != ticket {
                let generation = at.generation;
                self.violation(at_ms, format!("I2: generation {generation} of sector {id} has two tickets"));
            }
        }
        if matches!(record.state, SectorState::ProveCommitSent { .. }) {
            let persisted = record.state.sealed().is_some_and(|sealed| sealed.persisted.is_some());
            if !persisted || !has_replica(id) {
                self.violation(at_ms, format!("I10: sector {id} is prove-committed without a persisted replica"));
            }
        }
        self.written.insert(id, at_ms);
        self.records.insert(id, record);
    }

    /// Events that are missing, at the end.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for (id, record) in &self.records {
            let seen = self.events.get(id);
            let missing: Vec<u64> = (1..=record.seq).filter(|seq| !seen.is_some_and(|s| s.contains(seq))).collect();
            if !missing.is_empty() {
                gaps.push(format!("I22: sector {id} has no events {missing:?}"));
            }
        }
        gaps
    }
}

fn ticket(state: &SectorState) -> Option<Drawn> {
    match state {
        SectorState::Ticketed { ticket, .. } | SectorState::Pc1Done { ticket, .. } => Some(*ticket),
        other => other.sealed().map(|sealed| sealed.ticket),
    }
}

fn to_secs(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms.saturating_sub(super::EPOCH_MS)).as_secs_f64()
}
