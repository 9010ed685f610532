//! Fetching a sector's pieces from where its record says they are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use host::durable;
use sha2::{Digest as _, Sha256};
use streams::{
    message::FailureClass,
    proof::Bytes32,
    sector::{Piece, SectorRecord},
};
use tokio::io::AsyncWriteExt as _;

use super::Tools;
use crate::{
    blocking::blocking,
    child::AtWork,
    halt::Halt,
    store::{StoreError, paths::SectorPaths},
};

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
    for (index, piece) in record.pieces.iter().enumerate() {
        at.posted.phase(&format!("fetch piece {} of {}", index + 1, record.pieces.len()));
        let path = files.piece(index);
        tokio::select! {
            fetched = fetch_one(&tools.downloads, piece, &path) => fetched.map_err(|error| {
                let error = error.context(format!("fetch piece \"{}\"", piece.name));
                Halt::failed(FailureClass::RetryHere, "piece-not-fetched", format!("{error:#}"))
            })?,
            () = at.stop.cancelled() => return Err(Halt::Interrupted),
        }
    }
    Ok(())
}

/// Removes what was fetched: after add-piece the staged file has it.
pub(crate) async fn remove(files: &SectorPaths) -> Result<(), Halt> {
    let dir = files.pieces();
    blocking(move || durable::remove_dir_all(&dir).map_err(StoreError::io("remove", &dir))).await
}

async fn fetch_one(http: &reqwest::Client, piece: &Piece, path: &Path) -> anyhow::Result<()> {
    let part = part_of(path);
    let mut answer = http.get(&piece.url).send().await?.error_for_status()?;
    if let Some(length) = answer.content_length().filter(|length| *length != piece.payload_bytes) {
        bail!("{} has {length} bytes, and the record says {}", piece.url, piece.payload_bytes);
    }
    let mut file = tokio::fs::File::create(&part).await.with_context(|| format!("create {}", part.display()))?;
    let (mut digest, mut bytes) = (Sha256::new(), 0u64);
    while let Some(chunk) = answer.chunk().await? {
        bytes = bytes.saturating_add(u64::try_from(chunk.len())?);
        if bytes > piece.payload_bytes {
            bail!("{} has more than the {} bytes its record says", piece.url, piece.payload_bytes);
        }
        digest.update(&chunk);
        file.write_all(&chunk).await.with_context(|| format!("write {}", part.display()))?;
    }
    if bytes != piece.payload_bytes {
        bail!("{} ended after {bytes} of {} bytes", piece.url, piece.payload_bytes);
    }
    let found = Bytes32(digest.finalize().into());
    if found != piece.payload_sha256 {
        bail!("{} has SHA-256 {found}, and the record says {}", piece.url, piece.payload_sha256);
    }
    file.flush().await?;
    drop(file);
    Ok(durable::rename(&part, path)?)
}

fn part_of(path: &Path) -> PathBuf {
    path.with_extension("part")
}
