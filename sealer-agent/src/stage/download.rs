//! One piece from where its record says it is.
//!
//! The record's address may send us on to one that holds for minutes and lets anybody in who knows it. So it is asked
//! anew for each try, and no error tells where it led, but for host and path.

use std::{
    io::SeekFrom,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use host::{durable, retry::Backoff};
use reqwest::{Response, StatusCode, Url, header};
use sha2::{Digest as _, Sha256};
use streams::{proof::Bytes32, sector::Piece};
use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
};

use super::deliver::is_away;

/// Why a try ended.
#[derive(Debug)]
pub(super) enum Broken {
    /// Perhaps not the next time.
    ForNow(anyhow::Error),
    /// Asking again changes nothing.
    ForGood(anyhow::Error),
}

/// Fetches a piece, going on where a try broke off. Under its name it is only when it is whole and has its digest.
pub(super) async fn fetch(http: &reqwest::Client, piece: &Piece, path: &Path, retries: &Backoff) -> Result<(), Broken> {
    let mut part = Part::create(path.with_extension("part")).await.map_err(Broken::ForGood)?;
    let mut pauses = retries.delays();
    loop {
        match part.go_on(http, piece).await {
            Ok(()) => break,
            Err(Broken::ForGood(error)) => return Err(Broken::ForGood(error)),
            Err(Broken::ForNow(error)) => {
                let Some(pause) = pauses.next() else { return Err(Broken::ForNow(error)) };
                tracing::warn!(piece = piece.name, bytes = part.bytes, "fetched in part, trying again: {error:#}");
                tokio::time::sleep(pause).await;
            }
        }
    }
    part.publish(piece, path).await.map_err(Broken::ForGood)
}

/// What was fetched so far.
struct Part {
    path: PathBuf,
    file: File,
    digest: Sha256,
    bytes: u64,
}

impl Part {
    async fn create(path: PathBuf) -> anyhow::Result<Self> {
        let file = File::create(&path).await.with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path, file, digest: Sha256::new(), bytes: 0 })
    }

    /// Fetches what is missing.
    async fn go_on(&mut self, http: &reqwest::Client, piece: &Piece) -> Result<(), Broken> {
        let mut request = http.get(&piece.url);
        if self.bytes > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.bytes));
        }
        let mut answer = request.send().await.map_err(|error| match is_away(&error) {
            true => Broken::ForNow(told(piece, error)),
            false => Broken::ForGood(told(piece, error)),
        })?;
        let from = from(&piece.url, answer.url());
        check_status(answer.status(), &from)?;
        if !self.continues(&answer) {
            self.start_again().await.map_err(Broken::ForGood)?;
        }
        if let Some(length) = answer.content_length().map(|length| self.bytes.saturating_add(length))
            && length != piece.payload_bytes
        {
            let wrong = anyhow!("{from} has {length} bytes, and the record says {}", piece.payload_bytes);
            return Err(Broken::ForGood(wrong));
        }
        while let Some(chunk) = answer.chunk().await.map_err(|error| Broken::ForNow(without_url(error, &from)))? {
            self.take(&chunk, piece, &from).await?;
        }
        if self.bytes != piece.payload_bytes {
            let (bytes, all) = (self.bytes, piece.payload_bytes);
            return Err(Broken::ForNow(anyhow!("{from} ended after {bytes} of {all} bytes")));
        }
        Ok(())
    }

    /// Whether an answer begins where we stopped; others begin at the beginning.
    fn continues(&self, answer: &Response) -> bool {
        let range = answer.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let begins = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse::<u64>().ok());
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => begins == Some(self.bytes),
            _ => self.bytes == 0,
        }
    }

    async fn start_again(&mut self) -> anyhow::Result<()> {
        let shown = self.path.display().to_string();
        self.file.set_len(0).await.with_context(|| format!("empty {shown}"))?;
        self.file.seek(SeekFrom::Start(0)).await.with_context(|| format!("rewind {shown}"))?;
        (self.digest, self.bytes) = (Sha256::new(), 0);
        Ok(())
    }

    async fn take(&mut self, chunk: &[u8], piece: &Piece, from: &str) -> Result<(), Broken> {
        self.bytes = self.bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if self.bytes > piece.payload_bytes {
            let more = anyhow!("{from} has more than the {} bytes its record says", piece.payload_bytes);
            return Err(Broken::ForGood(more));
        }
        self.digest.update(chunk);
        let written = self.file.write_all(chunk).await;
        written.with_context(|| format!("write {}", self.path.display())).map_err(Broken::ForGood)
    }

    async fn publish(mut self, piece: &Piece, to: &Path) -> anyhow::Result<()> {
        let found = Bytes32(self.digest.finalize().into());
        if found != piece.payload_sha256 {
            anyhow::bail!("{} has SHA-256 {found}, and the record says {}", piece.url, piece.payload_sha256);
        }
        self.file.flush().await?;
        drop(self.file);
        Ok(durable::rename(&self.path, to)?)
    }
}

/// Who answers something else than bytes, and whether that may change.
fn check_status(status: StatusCode, from: &str) -> Result<(), Broken> {
    if status.is_success() {
        return Ok(());
    }
    let error = anyhow!("{from} answers {status}");
    let passes =
        status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    Err(if passes { Broken::ForNow(error) } else { Broken::ForGood(error) })
}

fn told(piece: &Piece, error: reqwest::Error) -> anyhow::Error {
    let at = error.url().map_or_else(|| piece.url.clone(), |url| from(&piece.url, url));
    without_url(error, &at)
}

fn without_url(error: reqwest::Error, from: &str) -> anyhow::Error {
    anyhow::Error::from(error.without_url()).context(from.to_owned())
}

/// The address of the record, and where it led.
fn from(asked: &str, answered: &Url) -> String {
    if answered.as_str() == asked {
        return asked.to_owned();
    }
    let mut answered = answered.clone();
    answered.set_query(None);
    answered.set_fragment(None);
    format!("{asked} (at {answered})")
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
