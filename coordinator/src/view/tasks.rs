//! `coordinator tasks list`: every open pointer, and who works on it.

use host::{
    exit::CliError,
    output::{Column, Listing},
};
use serde::Serialize;
use streams::{
    id::{AgentId, SectorId, Timestamp},
    records::{AgentRecord, JobNow, JobSubject},
    stage::{Class, Stage},
    subject::TaskSubject,
};

use super::{agents::progress, span};

#[derive(Serialize)]
struct Row<'a> {
    sector: SectorId,
    stage: Stage,
    class: Class,
    place: String,
    state: &'static str,
    agent: Option<&'a AgentId>,
    attempt: Option<u32>,
    progress: Option<String>,
    since: Option<Timestamp>,
}

pub(crate) fn list(pointers: &[TaskSubject], agents: &[AgentRecord], now: Timestamp) -> Result<Listing, CliError> {
    let mut listing = Listing::new([
        Column::new("SECTOR"),
        Column::new("STAGE"),
        Column::new("CLASS"),
        Column::new("PLACE"),
        Column::new("STATE"),
        Column::new("AGENT"),
        Column::new("PROGRESS"),
        Column::new("FOR").right(),
        Column::wide("ATTEMPT").right(),
    ]);
    let mut sorted: Vec<&TaskSubject> = pointers.iter().collect();
    sorted.sort_by_key(|pointer| (pointer.sector, pointer.stage));
    for pointer in sorted {
        let running = running(pointer, agents);
        let row = Row {
            sector: pointer.sector,
            stage: pointer.stage,
            class: pointer.stage.class(),
            place: pointer.whither.to_string(),
            state: if running.is_some() { "running" } else { "queued" },
            agent: running.map(|(agent, _)| agent),
            attempt: running.map(|(_, job)| job.attempt),
            progress: running.map(|(_, job)| progress(job)),
            since: running.map(|(_, job)| job.started_at),
        };
        let cells = [
            row.sector.to_string(),
            row.stage.to_string(),
            row.class.to_string(),
            row.place.clone(),
            row.state.to_owned(),
            row.agent.map(ToString::to_string).unwrap_or_default(),
            row.progress.clone().unwrap_or_default(),
            row.since.map(|since| span(now.ms_since(since))).unwrap_or_default(),
            row.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
        ];
        listing.row(cells, &row)?;
    }
    Ok(listing)
}

fn running<'a>(pointer: &TaskSubject, agents: &'a [AgentRecord]) -> Option<(&'a AgentId, &'a JobNow)> {
    let wanted = JobSubject::Sector { sector: pointer.sector, stage: pointer.stage };
    agents.iter().find_map(|agent| agent.jobs.iter().find(|job| job.what == wanted).map(|job| (&agent.agent, job)))
}
