//! What the commands print.

use std::path::Path;

use host::{
    exit::CliError,
    output::{Column, Format, Listing, size},
};
use serde::Serialize;
use streams::records::{BytesDone, JobSubject};

use crate::{job_dir, machine::eta::by_rate, now::now};

pub(crate) mod stores;

/// `jobs`.
pub(crate) fn jobs(home: &Path, format: Format) -> Result<(), CliError> {
    let mut listing = Listing::new([
        Column::new("JOB"),
        Column::new("AGENT"),
        Column::new("WHAT"),
        Column::new("STATE"),
        Column::new("PHASE"),
        Column::new("DONE").right(),
        Column::wide("BYTES").right(),
        Column::new("ELAPSED").right(),
        Column::new("LEFT").right(),
        Column::wide("ATTEMPT").right(),
        Column::wide("DIRECTORY"),
    ]);
    let found = job_dir::find(home).map_err(|e| CliError::new(host::exit::Exit::Io, format!("read jobs: {e}")))?;
    for job in found {
        let line = JobLine::new(&job);
        listing.row(
            [
                line.job.clone(),
                line.agent.clone(),
                line.what.clone(),
                line.state.to_owned(),
                line.phase.clone(),
                line.permille.map_or_else(|| "-".to_owned(), |permille| format!("{} %", permille / 10)),
                line.bytes.map_or_else(|| "-".to_owned(), |b| format!("{} of {}", size(b.done), size(b.total))),
                elapsed(line.elapsed_ms),
                line.left_ms.map_or_else(|| "-".to_owned(), elapsed),
                line.attempt.to_string(),
                line.directory.clone(),
            ],
            &line,
        )?;
    }
    listing.print(format)
}

#[derive(Debug, Serialize)]
struct JobLine {
    job: String,
    agent: String,
    what: String,
    state: &'static str,
    phase: String,
    permille: Option<u16>,
    bytes: Option<BytesDone>,
    elapsed_ms: u64,
    left_ms: Option<u64>,
    attempt: u32,
    directory: String,
}

impl JobLine {
    fn new(found: &job_dir::Found) -> Self {
        let job_dir::Found { path, owner, progress, .. } = found;
        let permille = progress.as_ref().and_then(|p| p.permille);
        let elapsed_ms = now().ms_since(owner.started_at);
        let what = match &owner.what {
            JobSubject::Sector { sector, stage } => format!("{stage} {sector}"),
            JobSubject::Partition { class, miner, open, partition } => format!("{class} {miner} {open} {partition}"),
        };
        Self {
            job: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            agent: owner.agent.to_string(),
            what,
            // What a dead agent left waits to be taken over.
            state: if job_dir::is_in_hand(path) { "running" } else { "orphaned" },
            phase: progress.as_ref().map_or_else(|| "-".to_owned(), |p| p.phase.clone()),
            permille,
            bytes: progress.as_ref().and_then(|p| p.bytes),
            elapsed_ms,
            left_ms: by_rate(elapsed_ms, permille),
            attempt: owner.attempt,
            directory: path.display().to_string(),
        }
    }
}

fn elapsed(ms: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(ms / 1000)).to_string()
}
