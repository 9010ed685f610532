//! What this coordinator knows of itself, for `GET /metrics`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use streams::{id::Timestamp, sector::SectorState};

/// What a pass of the reconciler counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Sectors that are neither at their end nor parked, and that no task, wait or message moves.
    pub(crate) orphans: u64,
    /// Keys whose records cannot be read; they are orphans, too.
    pub(crate) unreadable: Vec<String>,
    states: BTreeMap<&'static str, u64>,
    parked: BTreeMap<u16, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, state: &SectorState) {
        *self.states.entry(state.name()).or_default() += 1;
        if let SectorState::Parked { reason, .. } = state {
            *self.parked.entry(reason.code).or_default() += 1;
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Known {
    leads: bool,
    pass: Option<Pass>,
}

#[derive(Debug, Clone)]
struct Pass {
    tally: Tally,
    at: Timestamp,
    took: Duration,
}

/// Shared between what knows and what shows.
#[derive(Debug, Default)]
pub(crate) struct Status {
    known: Mutex<Known>,
}

impl Status {
    /// Notes whether this coordinator leads. One that does not knows nothing of the sectors.
    pub(crate) fn leads(&self, leads: bool) {
        *self.known() = Known { leads, pass: None };
    }

    /// Notes what a pass found.
    pub(crate) fn passed(&self, tally: Tally, at: Timestamp, took: Duration) {
        self.known().pass = Some(Pass { tally, at, took });
    }

    /// Whether a pass was made since this coordinator leads: until then, other work on every sector would delay the
    /// first dispatch.
    pub(crate) fn has_passed(&self) -> bool {
        self.known().pass.is_some()
    }

    /// All of it in Prometheus' text format.
    pub(crate) fn metrics(&self) -> String {
        let known = self.known().clone();
        let mut text = String::new();
        gauge(&mut text, "seal_coordinator_leads", "Whether this coordinator leads.", u64::from(known.leads));
        let Some(Pass { tally, at, took }) = known.pass else { return text };
        gauge(
            &mut text,
            "seal_orphan_sectors",
            "Sectors that no task, wait, message or park accounts for; must be 0.",
            tally.orphans,
        );
        let unreadable = tally.unreadable.len();
        gauge(&mut text, "seal_unreadable_records", "Sector records that cannot be read.", unreadable);
        head(&mut text, "seal_sectors", "Sectors by state.");
        for (state, count) in &tally.states {
            line(&mut text, format_args!("seal_sectors{{state=\"{state}\"}} {count}"));
        }
        head(&mut text, "seal_parked_sectors", "Parked sectors by reason code.");
        for (code, count) in &tally.parked {
            line(&mut text, format_args!("seal_parked_sectors{{code=\"{code}\"}} {count}"));
        }
        gauge(
            &mut text,
            "seal_reconcile_last_pass_timestamp_seconds",
            "When the reconciler last came to the end of a pass.",
            at.0 / 1000,
        );
        let took = format!("{:.3}", took.as_secs_f64());
        gauge(&mut text, "seal_reconcile_last_pass_duration_seconds", "How long that pass took.", took);
        text
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn head(text: &mut String, name: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} gauge"));
}

fn gauge(text: &mut String, name: &str, help: &str, value: impl std::fmt::Display) {
    head(text, name, help);
    line(text, format_args!("{name} {value}"));
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing into a string does not fail.
    let _written = writeln!(text, "{words}");
}

#[cfg(test)]
mod tests {
    use streams::sector::ParkReason;

    use super::*;

    #[test]
    fn a_standby_says_only_that_it_does_not_lead() {
        let status = Status::default();
        status.leads(false);
        assert_eq!(status.metrics().lines().last(), Some("seal_coordinator_leads 0"));
        assert!(!status.metrics().contains("orphan"), "what it does not know it does not tell");
    }

    #[test]
    fn a_leader_tells_what_its_last_pass_counted() {
        let mut tally = Tally { orphans: 1, unreadable: vec!["f01000.9".to_owned()], ..Tally::default() };
        tally.count(&SectorState::Allocated {});
        tally.count(&SectorState::Allocated {});
        let reason = ParkReason { code: 1002, text: "look".to_owned() };
        tally.count(&SectorState::Parked { was: Box::new(SectorState::Allocated {}), reason });
        let status = Status::default();
        status.leads(true);
        status.passed(tally, Timestamp(1_790_000_000_999), Duration::from_millis(1250));
        let text = status.metrics();
        for wanted in [
            "seal_coordinator_leads 1",
            "seal_orphan_sectors 1",
            "seal_unreadable_records 1",
            "seal_sectors{state=\"allocated\"} 2",
            "seal_sectors{state=\"parked\"} 1",
            "seal_parked_sectors{code=\"1002\"} 1",
            "seal_reconcile_last_pass_timestamp_seconds 1790000000",
            "seal_reconcile_last_pass_duration_seconds 1.250",
        ] {
            assert!(text.lines().any(|line| line == wanted), "{wanted} is not in\n{text}");
        }
    }
}
