//! Putting unsealed bytes where they were asked for.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use host::retry::Backoff;
use sha2::{Digest as _, Sha256};
use streams::{message::UnsealOrder, proof::Bytes32};
use tokio::{io::AsyncReadExt as _, time::Instant};
use tokio_util::io::ReaderStream;

const CHUNK_BYTES: usize = 1 << 20;
/// How long a receiver that is away is waited for: hours of unsealing are not thrown away for its restart.
const AWAY_MAX: Duration = Duration::from_secs(600);
/// One that always breaks off is not asked for ever.
const TRIES_MAX: u32 = 200;
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(15);

/// Sends the payload, which is the head of `file`, by HTTP `PUT`; returns its digest.
pub(crate) async fn put(http: &reqwest::Client, file: &Path, order: &UnsealOrder) -> anyhow::Result<Bytes32> {
    let digest = digest(file, order.payload_bytes).await.with_context(|| format!("read {}", file.display()))?;
    let plan = Backoff::new(AGAIN_FIRST, AGAIN_MAX);
    let (mut away_since, mut failures) = (Instant::now(), 0_u32);
    loop {
        let (payload, tried) = (tokio::fs::File::open(file).await?.take(order.payload_bytes), Instant::now());
        let Err(error) = send(http, payload, order).await else { return Ok(digest) };
        failures = failures.saturating_add(1);
        if failures == 1 || tried.elapsed() > AGAIN_MAX {
            // It was there until now.
            away_since = Instant::now();
        }
        match plan.delay_after(failures).filter(|_| is_away(&error) && away_since.elapsed() < AWAY_MAX) {
            Some(pause) if failures < TRIES_MAX => {
                tracing::warn!("deliver to {}, tried again: {}", order.deliver_to, host::exit::chain(&error));
                tokio::time::sleep(pause).await;
            }
            _ => return Err(error.into()),
        }
    }
}

async fn send(
    http: &reqwest::Client,
    payload: tokio::io::Take<tokio::fs::File>,
    order: &UnsealOrder,
) -> reqwest::Result<()> {
    http.put(&order.deliver_to)
        .header(reqwest::header::CONTENT_LENGTH, order.payload_bytes)
        .body(reqwest::Body::wrap_stream(ReaderStream::with_capacity(payload, CHUNK_BYTES)))
        .send()
        .await?
        .error_for_status()
        .map(drop)
}

/// Whether this says nothing of the payload, and may pass.
pub(super) fn is_away(error: &reqwest::Error) -> bool {
    let is_ours = error.is_builder() || error.is_redirect();
    error.status().map_or(!is_ours, |status| status.is_server_error())
}

/// The digest of the first `bytes` bytes, which must be there.
async fn digest(file: &Path, bytes: u64) -> anyhow::Result<Bytes32> {
    let mut reader = tokio::fs::File::open(file).await?.take(bytes);
    let mut digest = Sha256::new();
    let (mut chunk, mut seen) = (vec![0; CHUNK_BYTES], 0u64);
    loop {
        let read = reader.read(&mut chunk).await?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
        digest.update(part);
        seen = seen.saturating_add(u64::try_from(read)?);
    }
    anyhow::ensure!(seen == bytes, "it has {seen} bytes, and {bytes} were asked for");
    Ok(Bytes32(digest.finalize().into()))
}
