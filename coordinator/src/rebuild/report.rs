//! What a rebuild did, or would do, for a person and for programs.

use std::{collections::BTreeMap, time::Duration};

use host::{exit::CliError, output::Details};
use serde::Serialize;
use streams::{
    id::{AgentId, Incarnation, MinerId, SectorId, SectorNumber},
    sector::SectorState,
};

use super::pool::Settled;

/// Sectors named in a line for a person; programs read them all.
const NAMED_MAX: usize = 8;

/// A sector that a person must look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ParkedSector {
    pub(crate) sector: SectorId,
    pub(crate) code: u16,
    pub(crate) text: String,
}

/// What was found and what became of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// Whether nothing was written.
    pub(crate) dry_run: bool,
    /// The life that begins.
    pub(crate) incarnation: Incarnation,
    /// Agents that told what their stores hold.
    pub(crate) agents: Vec<AgentId>,
    /// Agents that were gone on without.
    pub(crate) without: Vec<AgentId>,
    /// Sectors found in stores.
    pub(crate) held: usize,
    /// Records written, by state.
    pub(crate) written: BTreeMap<String, usize>,
    /// Records that were right as they were.
    pub(crate) kept: usize,
    /// Sectors a person must look at.
    pub(crate) parked: Vec<ParkedSector>,
    /// Sectors on chain that nothing here ever knew of.
    pub(crate) foreign: Vec<SectorId>,
    /// Sectors of miners that are not configured: left alone.
    pub(crate) unconfigured: Vec<SectorId>,
    /// Manifests that no agent could read.
    pub(crate) unreadable: BTreeMap<String, String>,
    /// Numbers written anew.
    pub(crate) numbers: usize,
    /// The number after which each miner goes on.
    pub(crate) numbers_after: BTreeMap<MinerId, SectorNumber>,
    /// Senders, and where they go on.
    pub(crate) senders: Vec<Settled>,
    /// How long it took, in milliseconds.
    pub(crate) took_ms: u64,
}

impl Report {
    /// Counts a record that is written.
    pub(crate) fn count(&mut self, sector: SectorId, state: &SectorState) {
        *self.written.entry(state.name().to_owned()).or_default() += 1;
        if let SectorState::Parked { reason, .. } = state {
            self.parked.push(ParkedSector { sector, code: reason.code, text: reason.text.clone() });
        }
    }

    /// For a person.
    pub(crate) fn details(&self) -> Result<Details, CliError> {
        let mut details = Details::new(self.incarnation.to_string(), self)?;
        let done = if self.dry_run { " (dry run: nothing was written)" } else { "" };
        details.fact("incarnation", format!("{}{done}", self.incarnation));
        details.fact("agents", names(&self.agents));
        if !self.without.is_empty() {
            details.fact("without", names(&self.without));
        }
        details.fact("sectors in stores", self.held.to_string());
        for (state, count) in &self.written {
            details.fact(state, count.to_string());
        }
        details.fact("left as they were", self.kept.to_string());
        for parked in &self.parked {
            details.fact("parked", format!("{}: reason {}: {}", parked.sector, parked.code, parked.text));
        }
        if !self.foreign.is_empty() {
            details.fact("on chain, in no store", names(&self.foreign));
        }
        if !self.unconfigured.is_empty() {
            details.fact("of miners not configured", names(&self.unconfigured));
        }
        for (path, why) in &self.unreadable {
            details.fact("unreadable", format!("{path}: {why}"));
        }
        details.fact("numbers written", self.numbers.to_string());
        for (miner, number) in &self.numbers_after {
            details.fact(&format!("numbers of {miner}"), format!("go on after {number}"));
        }
        for settled in &self.senders {
            let gone = match settled.gone.as_slice() {
                [] => String::new(),
                gone => format!("; signed before and gone: {}", names(gone)),
            };
            details.fact("sender", format!("{}: next nonce {}{gone}", settled.sender, settled.next_nonce));
        }
        details.fact("took", humantime::format_duration(Duration::from_millis(self.took_ms)).to_string());
        Ok(details)
    }
}

fn names<T: ToString>(all: &[T]) -> String {
    let mut names: Vec<String> = all.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    match all.len() {
        0 => return "none".to_owned(),
        count if count > NAMED_MAX => names.push(format!("and {} more", count - NAMED_MAX)),
        _ => {}
    }
    names.join(", ")
}
