//! What the commands print.

use std::path::Path;

use host::{
    exit::CliError,
    output::{Column, Format, Listing},
};
use serde::Serialize;
use streams::{id::StoreId, records::JobSubject};

use crate::{
    job_dir,
    machine::eta::by_rate,
    now::now,
    store::{
        StoreError, identity,
        local::LocalStore,
        persistent::PersistentStore,
        registered::{self, Entry},
        space,
    },
};

/// `store list`.
pub(crate) fn stores(home: &Path, format: Format) -> Result<(), CliError> {
    let mut listing = Listing::new([
        Column::new("STORE"),
        Column::new("KIND"),
        Column::new("STATE"),
        Column::new("PATH"),
        Column::new("SECTORS").right(),
        Column::new("FREE").right(),
        Column::new("PROMISED").right(),
        Column::wide("TOTAL").right(),
    ]);
    for entry in registered::read(home)? {
        let line = store_line(&entry);
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), size);
        listing.row(
            [
                line.store.map_or_else(|| "-".to_owned(), |store| store.to_string()),
                line.kind.to_owned(),
                line.state.clone(),
                line.path.clone(),
                line.sectors.map_or_else(|| "-".to_owned(), |sectors| sectors.to_string()),
                size(line.bytes_free),
                size(line.bytes_reserved),
                size(line.bytes_total),
            ],
            &line,
        )?;
    }
    listing.print(format)
}

#[derive(Debug, Serialize)]
struct StoreLine {
    store: Option<StoreId>,
    kind: &'static str,
    state: String,
    path: String,
    sectors: Option<u64>,
    bytes_free: Option<u64>,
    bytes_reserved: Option<u64>,
    bytes_total: Option<u64>,
}

/// A store that cannot be read is a line too: that is when a person looks.
fn store_line(entry: &Entry) -> StoreLine {
    let kind = |persistent| if persistent { "persistent" } else { "local" };
    let mut line = StoreLine {
        store: None,
        kind: kind(entry.persistent),
        state: "ready".to_owned(),
        path: entry.path.display().to_string(),
        sectors: None,
        bytes_free: None,
        bytes_reserved: None,
        bytes_total: None,
    };
    if let Err(error) = fill(entry, &mut line) {
        line.state = match error {
            StoreError::NotInitialised { .. } => "missing".to_owned(),
            other => format!("{:#}", anyhow::Error::from(other)),
        };
    }
    line
}

fn fill(entry: &Entry, line: &mut StoreLine) -> Result<(), StoreError> {
    let Entry { path, persistent } = entry;
    let identity = identity::read(path)?
        .ok_or_else(|| StoreError::NotInitialised { path: path.clone(), persistent: *persistent })?;
    line.store = Some(identity.store);
    let (space, reserved, sectors) = if identity.persistent {
        (space::space(path)?, 0, PersistentStore::new(identity.store, path.clone()).replicas())
    } else {
        let usage = LocalStore::new(identity.store, path.clone()).usage()?;
        (usage.space, usage.reserved, usage.sectors)
    };
    line.sectors = Some(sectors);
    line.bytes_free = Some(space.free);
    line.bytes_total = Some(space.total);
    line.bytes_reserved = Some(reserved);
    Ok(())
}

/// `jobs`.
pub(crate) fn jobs(home: &Path, format: Format) -> Result<(), CliError> {
    let mut listing = Listing::new([
        Column::new("JOB"),
        Column::new("AGENT"),
        Column::new("WHAT"),
        Column::new("STATE"),
        Column::new("PHASE"),
        Column::new("DONE").right(),
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

fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in units {
        let whole = bytes >> shift;
        if whole > 0 {
            let tenths = ((bytes - (whole << shift)) * 10) >> shift;
            return format!("{whole}.{tenths} {unit}");
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(900), "900 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size((7 << 40) + (1 << 39)), "7.5 TiB");
    }
}
