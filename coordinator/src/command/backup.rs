//! `coordinator backup`: copies of the queue's state.

use std::{path::Path, sync::Arc};

use host::{
    clock::{Clock, SystemClock},
    exit::{CliError, Exit},
    output::{Column, Format, Listing},
};
use serde::Serialize;
use streams::id::{Incarnation, Timestamp};

use crate::{
    app::connect,
    backup::{Backup, BackupError, Backups, folder, list},
    config::Config,
    memory::MemoryFile,
    view,
};

/// What a program reads of a backup. `records` counts the kept revisions of sector records, up to five a sector.
#[derive(Serialize)]
struct Row {
    path: String,
    taken_at: Timestamp,
    incarnation: Incarnation,
    records: u64,
    numbers: u64,
    bytes: u64,
}

/// Takes one now and prints where it is. Any coordinator may lead meanwhile.
pub(crate) async fn now(config: &Config, data: &Path, format: Format) -> Result<(), CliError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let nats = connect(config, "coordinator-backup").await?;
    let memory = Arc::new(MemoryFile::open(data)?);
    let backups = Backups::new(&nats, &config.backup, data, &memory, &clock);
    let (path, backup) = backups.take().await.map_err(failed)?;
    let mut listing = columns();
    row(&mut listing, &path, &backup)?;
    listing.print(format)
}

/// Every backup there is, oldest first.
pub(crate) fn show(config: &Config, data: &Path, format: Format) -> Result<(), CliError> {
    let mut listing = columns();
    for (path, backup) in list(&folder(&config.backup, data)).map_err(failed)? {
        row(&mut listing, &path, &backup)?;
    }
    listing.print(format)
}

fn columns() -> Listing {
    Listing::new([
        Column::new("backup"),
        Column::new("age"),
        Column::new("incarnation"),
        Column::new("records"),
        Column::new("numbers"),
        Column::new("bytes"),
    ])
}

fn row(listing: &mut Listing, path: &Path, backup: &Backup) -> Result<(), CliError> {
    let row = Row {
        path: path.display().to_string(),
        taken_at: backup.taken_at,
        incarnation: backup.life.incarnation,
        records: backup.messages("KV_SECTORS"),
        numbers: backup.messages("KV_NUMBERS"),
        bytes: backup.bytes(),
    };
    let cells = [
        row.path.clone(),
        view::span(view::now().ms_since(row.taken_at)),
        row.incarnation.to_string(),
        row.records.to_string(),
        row.numbers.to_string(),
        row.bytes.to_string(),
    ];
    listing.row(cells, &row)
}

fn failed(error: BackupError) -> CliError {
    let exit = match &error {
        BackupError::Queue(_) => Exit::Unavailable,
        BackupError::File { .. } => Exit::Io,
        BackupError::NoLife | BackupError::Unfinished => Exit::Refused,
    };
    CliError::new(exit, "back the queue up").because(error)
}
