//! Pieces and unsealed data in a bucket.
//!
//! ```text
//! <prefix>/pieces/<sha256>           a piece that was uploaded
//! <prefix>/references/<sha256>.json  the key of one that was in the bucket before; ours is only this note
//! <prefix>/unsealed/<id>             unsealed data, for a day
//! ```
//!
//! A payload passes through the coordinator on its way in, a few parts at a time: it is hashed on the way, and becomes
//! an object only if it is what was announced. Unsealed data too: a single PUT, all that an address can be signed for,
//! ends at 5 GiB. On the way out it does not pass through: whoever asks is sent to an address of the bucket that holds
//! for a quarter of an hour, so that agents need no credentials and records hold none.

use std::{path::Path as FilePath, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use host::{
    clock::Clock,
    exit::{CliError, Exit},
    retry::Backoff,
};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256 as Hasher};
use streams::{
    message::{Text, decode, encode},
    proof::{Bytes32, Sha256},
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::{
    address::S3Url,
    bucket::{Bucket, BucketError, Fault},
    config::PiecesSection,
    gauge::Gauge,
    store::{Measured, TakeError},
    unfinished::Unfinished,
    unseals::{Order, Unseals},
    upload::Upload,
};

/// Payloads that are taken at the same time: each holds four parts in memory.
const TAKEN_MAX: usize = 4;
/// How long a payload may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a start waits for the bucket.
const PROBE_MAX: Duration = Duration::from_secs(5);
const PROBE_AGAIN_FIRST: Duration = Duration::from_secs(5);
const PROBE_AGAIN_MAX: Duration = Duration::from_secs(60);
/// How often unsealed data that is too old is looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);

/// `references/<sha256>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    key: String,
    payload_bytes: u64,
}

impl Text for Reference {
    const KIND: &'static str = "piece-reference";
    const VERSION: u64 = 1;
}

/// The bucket, and what is on its way there.
#[derive(Debug)]
pub(crate) struct Depot {
    bucket: Arc<Bucket>,
    unfinished: Arc<Unfinished>,
    turns: Semaphore,
    reached: bool,
}

impl Depot {
    /// The configured bucket, if there is one. One that refuses stops the start, since no waiting will mend it and
    /// whoever set it up is looking. One that is away does not: sectors have messages to send meanwhile.
    pub(crate) async fn open(section: &PiecesSection, data: &FilePath) -> Result<Option<Arc<Self>>, CliError> {
        let Some(settings) = section.bucket(|variable| std::env::var(variable).ok())? else { return Ok(None) };
        let bucket = Arc::new(Bucket::open(&settings)?);
        let unfinished = Unfinished::open(data)
            .map_err(|e| CliError::new(Exit::Io, "open the folder of unfinished uploads").because(e))?;
        let reached = match tokio::time::timeout(PROBE_MAX, bucket.probe()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) if error.fault != Fault::Away => {
                let what = format!("pieces.store = \"s3://{}\" cannot be used", bucket.name());
                let hint = error.hint();
                return Err(CliError::new(Exit::Config, what).because(error).hint(hint));
            }
            Ok(Err(error)) => {
                tracing::warn!(hint = error.hint(), "the bucket of pieces is away, going on without: {error}");
                false
            }
            Err(_) => {
                let (name, endpoint) = (bucket.name(), bucket.endpoint());
                tracing::warn!("bucket {name} at {endpoint} does not answer, going on without");
                false
            }
        };
        let (unfinished, turns) = (Arc::new(unfinished), Semaphore::new(TAKEN_MAX));
        Ok(Some(Arc::new(Self { bucket, unfinished, turns, reached })))
    }

    /// Its name.
    pub(crate) fn bucket(&self) -> &str {
        self.bucket.name()
    }

    /// Whether an object is there.
    pub(crate) async fn has(&self, key: &str) -> Result<bool, BucketError> {
        self.bucket.has(&path(key)).await
    }

    /// Looks after the bucket until told to stop.
    pub(crate) async fn run(&self, unseals: &Unseals, clock: &dyn Clock, cancel: &CancellationToken) {
        tokio::select! {
            biased;
            // What is not done yet is done at the next start.
            () = cancel.cancelled() => {}
            _ = async { tokio::join!(self.until_reached(), self.unfinished.run(&self.bucket), self.expire(unseals, clock)) } => {}
        }
    }

    /// Stores a piece under its digest, if it has it.
    pub(super) async fn store<E: std::fmt::Display>(
        &self,
        payload: impl Stream<Item = Result<Bytes, E>>,
        bytes: u64,
        sha256: Sha256,
    ) -> Result<Measured, TakeError> {
        if bytes == 0 {
            return Err(TakeError::Empty);
        }
        let _turn = self.turn().await?;
        let mut upload = self.upload(self.bucket.ours("pieces", &sha256.to_string()));
        let mut gauge = Gauge::new(bytes);
        let mut payload = pin!(payload);
        while let Some(chunk) = next(&mut payload).await? {
            gauge.take(&chunk).await?;
            upload.push(chunk).await?;
        }
        let measured = gauge.finish().await?;
        measured.check(Some(sha256))?;
        upload.finish().await?;
        host::failpoint!("coordinator.bucket.piece-stored");
        Ok(measured)
    }

    /// Reads an object once, for its digest and commitment, and notes that it is a piece.
    pub(super) async fn refer(&self, to: &S3Url, limit_bytes: u64) -> Result<Measured, TakeError> {
        let meta = self.bucket.head(&path(&to.key)).await?;
        if meta.size == 0 {
            return Err(TakeError::Empty);
        }
        if meta.size > limit_bytes {
            return Err(TakeError::TooLarge { limit_bytes });
        }
        let _turn = self.turn().await?;
        let mut gauge = Gauge::new(meta.size);
        let mut payload = pin!(self.bucket.read(&meta));
        while let Some(chunk) = payload.next().await {
            gauge.take(&chunk?).await?;
        }
        let measured = gauge.finish().await?;
        let reference = Reference { key: to.key.clone(), payload_bytes: measured.payload_bytes };
        let text = encode(&reference).map_err(|e| TakeError::Transfer(e.to_string()))?;
        self.bucket.put(&self.reference(&measured.payload_sha256), text).await?;
        host::failpoint!("coordinator.bucket.piece-referred");
        Ok(measured)
    }

    /// An address from which a piece can be read now, if it is here.
    pub(super) async fn locate(&self, sha256: &Sha256) -> Result<Option<String>, BucketError> {
        let own = self.bucket.ours("pieces", &sha256.to_string());
        if self.bucket.has(&own).await? {
            return self.bucket.signed(&own).await.map(Some);
        }
        let note = self.reference(sha256);
        let text = match self.bucket.get(&note).await {
            Ok(text) => text,
            Err(error) if error.fault == Fault::Missing => return Ok(None),
            Err(error) => return Err(error),
        };
        let reference: Reference = match decode(&text) {
            Ok(reference) => reference,
            Err(error) => {
                tracing::error!("read s3://{}/{note}: {error}", self.bucket.name());
                return Ok(None);
            }
        };
        // Asked here, so that whoever reads the answer learns which object is gone.
        let key = path(&reference.key);
        self.bucket.head(&key).await?;
        self.bucket.signed(&key).await.map(Some)
    }

    /// Stores unsealed data where its order says.
    pub(super) async fn deliver<E: std::fmt::Display>(
        &self,
        id: &str,
        order: &Order,
        payload: impl Stream<Item = Result<Bytes, E>>,
        unseals: &Unseals,
    ) -> Result<(), TakeError> {
        let _turn = self.turn().await?;
        let key = order.to.as_deref().map_or_else(|| self.bucket.ours("unsealed", id), path);
        let mut upload = self.upload(key.clone());
        let (mut hasher, mut found) = (Hasher::new(), 0u64);
        let mut payload = pin!(payload);
        while let Some(chunk) = next(&mut payload).await? {
            found = found.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            if found > order.bytes {
                return Err(TakeError::WrongLength { found, wanted: order.bytes });
            }
            hasher.update(&chunk);
            upload.push(chunk).await?;
        }
        if found != order.bytes {
            return Err(TakeError::WrongLength { found, wanted: order.bytes });
        }
        let sha256 = Bytes32(hasher.finalize().into());
        if let Some(wanted) = order.sha256.filter(|wanted| *wanted != sha256) {
            return Err(TakeError::WrongDigest { found: sha256, wanted });
        }
        upload.finish().await?;
        host::failpoint!("coordinator.bucket.unsealed-stored");
        unseals.delivered(id, key.as_ref(), order.to.is_none())
    }

    /// An address from which unsealed data can be read now.
    pub(super) async fn unsealed(&self, key: &str) -> Result<String, BucketError> {
        self.bucket.signed(&path(key)).await
    }

    fn upload(&self, key: Path) -> Upload {
        Upload::new(&self.bucket, &self.unfinished, key)
    }

    fn reference(&self, sha256: &Sha256) -> Path {
        self.bucket.ours("references", &format!("{sha256}.json"))
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, TakeError> {
        self.turns.acquire().await.map_err(|e| TakeError::Transfer(e.to_string()))
    }

    async fn until_reached(&self) {
        if self.reached {
            return;
        }
        let mut said = String::new();
        for pause in Backoff::new(PROBE_AGAIN_FIRST, PROBE_AGAIN_MAX).delays() {
            tokio::time::sleep(pause).await;
            match self.bucket.probe().await {
                Ok(()) => {
                    tracing::info!("bucket {} at {} is there", self.bucket.name(), self.bucket.endpoint());
                    return;
                }
                Err(error) if said != error.to_string() => {
                    tracing::warn!(hint = error.hint(), "the bucket of pieces cannot be used: {error}");
                    said = error.to_string();
                }
                Err(_) => {}
            }
        }
    }

    async fn expire(&self, unseals: &Unseals, clock: &dyn Clock) {
        loop {
            for (id, key) in unseals.expired(clock.now_unix_ms()) {
                match self.bucket.delete(&path(&key)).await {
                    Ok(()) => unseals.forget_object(&id),
                    Err(error) => tracing::warn!("{error}"),
                }
            }
            tokio::time::sleep(EXPIRE_EVERY).await;
        }
    }
}

/// A key that was read before.
fn path(key: &str) -> Path {
    Path::parse(key).unwrap_or_else(|_| Path::from(key))
}

/// The next chunk of a payload that somebody sends.
async fn next<E: std::fmt::Display>(
    payload: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<Option<Bytes>, TakeError> {
    match tokio::time::timeout(SILENCE_MAX, payload.next()).await {
        Ok(chunk) => chunk.transpose().map_err(|e| TakeError::Transfer(e.to_string())),
        Err(_) => Err(TakeError::Transfer(format!("nothing came for {} seconds", SILENCE_MAX.as_secs()))),
    }
}

#[cfg(test)]
#[path = "depot_tests.rs"]
mod tests;
