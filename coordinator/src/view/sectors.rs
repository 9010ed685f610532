//! `coordinator sectors list`.

use host::{
    exit::CliError,
    output::{Column, Listing},
};
use streams::{
    id::{Place, Timestamp},
    sector::{Replica, SectorRecord, SectorState, StageError},
};

use super::{clock_time, show::successor_words, span};

/// Every state's name, in the order of a sector's life.
pub(crate) const STATES: [&str; 18] = [
    "allocated",
    "placed",
    "pieces-added",
    "tree-d-done",
    "ticketed",
    "pc1-done",
    "pc2-done",
    "pre-commit-sent",
    "pre-committed",
    "seed-ready",
    "c1-done",
    "c2-done",
    "prove-commit-sent",
    "proving",
    "resealing",
    "pre-commit-expired",
    "parked",
    "aborted",
];

pub(crate) fn list(records: &[SectorRecord], now: Timestamp) -> Result<Listing, CliError> {
    let mut listing = Listing::new([
        Column::new("SECTOR"),
        Column::new("SIZE"),
        Column::new("STATE"),
        Column::new("FOR").right(),
        Column::new("PLACE"),
        Column::new("PIECES").right(),
        Column::new("ERRORS").right(),
        Column::new("NOTE"),
        Column::wide("SUBMITTED"),
        Column::wide("COMMR"),
    ]);
    for record in records {
        let state = &record.state;
        let cells = [
            record.id.to_string(),
            record.proof.to_string(),
            state.name().to_owned(),
            span(now.ms_since(record.entered_at)),
            place(state).map(ToString::to_string).unwrap_or_default(),
            pieces(record),
            record.errors.len().to_string(),
            note(record),
            clock_time(record.submitted_at),
            state.comm_r().map(|comm_r| comm_r.to_string()).unwrap_or_default(),
        ];
        listing.row(cells, record)?;
    }
    Ok(listing)
}

/// `coordinator sectors list --parked`: why each waits for a person.
pub(crate) fn parked(records: &[SectorRecord], now: Timestamp) -> Result<Listing, CliError> {
    let mut listing = Listing::new([
        Column::new("SECTOR"),
        Column::new("CODE").right(),
        Column::new("WAS"),
        Column::new("FOR").right(),
        Column::new("ERRORS").right(),
        Column::new("REASON"),
        Column::wide("LAST ERROR"),
    ]);
    for record in records {
        let SectorState::Parked { was, reason } = &record.state else { continue };
        let cells = [
            record.id.to_string(),
            reason.code.to_string(),
            was.name().to_owned(),
            span(now.ms_since(record.entered_at)),
            record.errors.len().to_string(),
            reason.text.clone(),
            record.errors.last().map(|e| format!("{}: {}", e.code, e.message)).unwrap_or_default(),
        ];
        listing.row(cells, record)?;
    }
    Ok(listing)
}

fn place(state: &SectorState) -> Option<&Place> {
    state.placement().map(|at| &at.place).or_else(|| state.attached().map(|attached| &attached.place))
}

/// How many; of an attached sector nobody knows.
fn pieces(record: &SectorRecord) -> String {
    if record.state.attached().is_some() { "?".to_owned() } else { record.pieces.len().to_string() }
}

/// What a person wants to know of it at a glance.
fn note(record: &SectorRecord) -> String {
    match &record.state {
        SectorState::Parked { reason, .. } => format!("{}: {}", reason.code, reason.text),
        SectorState::Aborted { reason } => reason.clone(),
        SectorState::Resealing { files, chain } => format!("files {}, chain {}", files.name(), chain.name()),
        SectorState::PreCommitExpired { due, successor, .. } => {
            format!("was due at epoch {due}; {}", successor_words(successor))
        }
        SectorState::Proving { deadline, partition, sealed: Replica::Attached(_), .. } => {
            format!("deadline {deadline}, partition {partition}; attached")
        }
        SectorState::Proving { deadline, partition, .. } => format!("deadline {deadline}, partition {partition}"),
        _ => record.errors.last().map(error_note).unwrap_or_default(),
    }
}

fn error_note(error: &StageError) -> String {
    match error.until {
        None => format!("{} failed: {}", error.stage, error.code),
        Some(until) => format!("{} waits until {}: {}", error.stage, clock_time(until), error.code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sector::tests::sample;

    #[test]
    fn every_state_is_named() {
        for state in sample::states() {
            assert!(STATES.contains(&state.name()), "{}", state.name());
        }
    }
}
