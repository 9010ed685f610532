//! Fetching a sector's pieces from where its record says they are.

use std::time::Duration;

use host::{durable, retry::Backoff};
use streams::{
    id::Timestamp,
    message::FailureClass,
    sector::{Piece, SectorRecord},
};

use super::{
    Tools,
    download::{self, Broken},
};
use crate::{
    blocking::blocking,
    child::AtWork,
    halt::Halt,
    now::now,
    store::{StoreError, paths::SectorPaths},
};

/// A source that stumbles is asked again where it stopped, so that an attempt is not lost over a connection.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(20);
const TRIES_MAX: u32 = 6;
/// When a source that is away is asked the next time: that is not the sector's fault, and costs it no attempt.
const AWAY_MS: u64 = 60_000;

/// Fetches every piece into the sector's folder, each under its name only when it is whole and has its digest.
pub(crate) async fn fetch(
    tools: &Tools,
    at: &AtWork<'_>,
    record: &SectorRecord,
    files: &SectorPaths,
) -> Result<(), Halt> {
    if record.pieces.is_empty() {
        return Ok(());
    }
    let dir = files.pieces();
    durable::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
    let retries = Backoff::new(PAUSE_FIRST, PAUSE_MAX).tries(TRIES_MAX);
    for (index, piece) in record.pieces.iter().enumerate() {
        at.posted.phase(&format!("fetch piece {} of {}", index + 1, record.pieces.len()));
        let path = files.piece(index);
        tokio::select! {
            fetched = download::fetch(&tools.downloads, piece, &path, &retries) => {
                fetched.map_err(|broken| halt(piece, broken))?;
            }
            () = at.stop.cancelled() => return Err(Halt::Interrupted),
        }
    }
    Ok(())
}

fn halt(piece: &Piece, broken: Broken) -> Halt {
    let (class, code, error) = match broken {
        Broken::ForNow(error) => {
            (FailureClass::WaitUntil(Timestamp(now().0.saturating_add(AWAY_MS))), "piece-source-away", error)
        }
        Broken::ForGood(error) => (FailureClass::RetryHere, "piece-not-fetched", error),
    };
    let error = error.context(format!("fetch piece \"{}\"", piece.name));
    Halt::failed(class, code, format!("{error:#}"))
}

/// Removes what was fetched: after add-piece the staged file has it.
pub(crate) async fn remove(files: &SectorPaths) -> Result<(), Halt> {
    let dir = files.pieces();
    blocking(move || durable::remove_dir_all(&dir).map_err(StoreError::io("remove", &dir))).await
}
