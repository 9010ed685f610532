//! What is done to a stream or a bucket as a whole: how far it has come, emptying it, and taking it to a file and back.
//!
//! A snapshot is the server's own, what `nats stream backup` writes: messages with their sequences, headers and times.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256 as Hasher};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{
    error::QueueError,
    kv::BucketName,
    layout,
    nats::Nats,
    proof::{Bytes32, Sha256},
    request::Plain,
};

/// How long a snapshot or a restore may be silent: the server reads the whole stream before the first part.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Bytes in one part of a restore; the server's own default for a snapshot.
const PART_BYTES: usize = 128 << 10;

/// A stream whose messages matter beyond this life of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A bucket.
    Bucket(BucketName),
    /// Stream `EVENTS`.
    Events,
}

impl Kept {
    /// What a backup holds.
    ///
    /// Left out: `CLUSTER` (a restore begins a life of its own, and the backup says which one it was taken in), claims, locks, leases and heartbeats (an earlier life's must not count), the chain as last seen (read
    /// anew), pointers and results (pointers follow from records; results of an earlier life are refused), artifacts
    /// (large, and made again).
    pub const ALL: [Self; 6] = [
        Self::Bucket(BucketName::Sectors),
        Self::Bucket(BucketName::Numbers),
        Self::Bucket(BucketName::Messages),
        Self::Bucket(BucketName::Posts),
        Self::Bucket(BucketName::Stores),
        Self::Events,
    ];

    /// The stream's name.
    #[must_use]
    pub fn stream(self) -> String {
        match self {
            Self::Bucket(name) => name.stream(),
            Self::Events => layout::EVENTS.to_owned(),
        }
    }
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Messages in it.
    pub messages: u64,
    /// The sequence of the last one it ever took. It never falls while a stream lives.
    pub last_sequence: u64,
}

/// A stream as it was taken to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The stream.
    pub stream: String,
    /// How far it had come.
    pub progress: Progress,
    /// Its settings, as the server says them.
    pub config: Value,
    /// Its state, as the server says it: a restore hands it back.
    pub state: Value,
    /// Bytes of the file.
    pub bytes: u64,
    /// Digest of the file.
    pub sha256: Sha256,
}

/// How far a stream has come; `None` when it does not exist.
pub async fn progress(nats: &Nats, stream: &str) -> Result<Option<Progress>, QueueError> {
    match layout::stream_info(nats, stream).await {
        Ok(info) => Ok(Some(Progress { messages: info.state.messages, last_sequence: info.state.last_sequence })),
        Err(QueueError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How far a bucket has come; `None` when it does not exist.
pub async fn bucket_progress(nats: &Nats, bucket: BucketName) -> Result<Option<Progress>, QueueError> {
    progress(nats, &bucket.stream()).await
}

#[derive(Deserialize)]
struct Success {
    success: bool,
}

/// Takes every key out of a bucket. Its revisions go on from where they were, so that an old one never fits again.
pub async fn purge(nats: &Nats, bucket: BucketName) -> Result<(), QueueError> {
    let (what, stream) = (format!("purge bucket {bucket}"), bucket.stream());
    let done: Success = nats.api(&what, &format!("STREAM.PURGE.{stream}"), &Plain {}).await?;
    said_yes(&done, what)
}

/// Removes a stream with all that is in it; one that does not exist is gone already.
pub async fn delete(nats: &Nats, stream: &str) -> Result<(), QueueError> {
    let what = format!("delete stream {stream}");
    match nats.api::<Success>(&what, &format!("STREAM.DELETE.{stream}"), &Plain {}).await {
        Ok(done) => said_yes(&done, what),
        Err(QueueError::Missing { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn said_yes(done: &Success, what: String) -> Result<(), QueueError> {
    if done.success {
        return Ok(());
    }
    Err(QueueError::Client { what, source: "the server answered without success".into() })
}

#[derive(Serialize)]
struct SnapshotRequest<'a> {
    deliver_subject: &'a str,
    no_consumers: bool,
    /// Every message's checksum is looked at: what cannot be read must not pass for a backup.
    jsck: bool,
    chunk_size: usize,
}

#[derive(Deserialize)]
struct SnapshotBegun {
    config: Value,
    state: Value,
}

/// Writes a stream's messages into `file`. The server holds the stream still while it copies it, so what is written is
/// the stream at one moment.
pub async fn snapshot(
    nats: &Nats,
    stream: &str,
    file: &mut (impl AsyncWrite + Unpin + Send),
) -> Result<Snapshot, QueueError> {
    let what = format!("snapshot of stream {stream}");
    let failed = |source: async_nats::Error| QueueError::Client { what: what.clone(), source };
    let inbox = nats.client().new_inbox();
    let mut parts = nats.client().subscribe(inbox.clone()).await.map_err(|e| failed(e.into()))?;
    let request = SnapshotRequest { deliver_subject: &inbox, no_consumers: true, jsck: true, chunk_size: PART_BYTES };
    let begun: SnapshotBegun =
        nats.api_within(&what, &format!("STREAM.SNAPSHOT.{stream}"), &request, SILENCE_MAX).await?;

    let mut hasher = Hasher::new();
    let mut bytes: u64 = 0;
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, parts.next()).await;
        let part = next
            .map_err(|_| QueueError::TimedOut { what: what.clone(), waited: SILENCE_MAX })?
            .ok_or_else(|| failed("the connection was closed".into()))?;
        // The last one is empty, and says how it went: 204, or what went wrong.
        if part.payload.is_empty() {
            match part.status.map(|status| status.as_u16()) {
                None | Some(204) => break,
                Some(status) => {
                    let words = part.description.unwrap_or_default();
                    return Err(failed(format!("the server ended it with {status} {words}").into()));
                }
            }
        }
        hasher.update(&part.payload);
        bytes = bytes.saturating_add(u64::try_from(part.payload.len()).unwrap_or(u64::MAX));
        file.write_all(&part.payload).await.map_err(|e| failed(e.into()))?;
        // The server waits for this before it sends much more.
        if let Some(reply) = part.reply {
            nats.client().publish(reply, Bytes::new()).await.map_err(|e| failed(e.into()))?;
        }
    }
    file.flush().await.map_err(|e| failed(e.into()))?;
    let number = |name: &str| begun.state.get(name).and_then(Value::as_u64).unwrap_or(0);
    Ok(Snapshot {
        stream: stream.to_owned(),
        progress: Progress { messages: number("messages"), last_sequence: number("last_seq") },
        config: begun.config,
        state: begun.state,
        bytes,
        sha256: Bytes32(hasher.finalize().into()),
    })
}

#[derive(Serialize)]
struct RestoreRequest<'a> {
    config: &'a Value,
    state: &'a Value,
}

#[derive(Deserialize)]
struct RestoreBegun {
    deliver_subject: String,
}

/// The server's last word about a restore.
#[derive(Deserialize)]
struct Restored {
    error: Option<Value>,
}

/// Makes a stream from a snapshot's file. The stream must not exist.
pub async fn restore(
    nats: &Nats,
    snapshot: &Snapshot,
    file: &mut (impl AsyncRead + Unpin + Send),
) -> Result<(), QueueError> {
    let what = format!("restore stream {}", snapshot.stream);
    let failed = |source: async_nats::Error| QueueError::Client { what: what.clone(), source };
    let request = RestoreRequest { config: &snapshot.config, state: &snapshot.state };
    let begun: RestoreBegun = nats.api(&what, &format!("STREAM.RESTORE.{}", snapshot.stream), &request).await?;
    let mut part = vec![0; PART_BYTES];
    loop {
        let length = file.read(&mut part).await.map_err(|e| failed(e.into()))?;
        // The empty part at the end is answered once the stream is there.
        let payload = Bytes::copy_from_slice(part.get(..length).unwrap_or_default());
        let answer = nats.request(&what, &begun.deliver_subject, None, payload, SILENCE_MAX).await?;
        if !answer.payload.is_empty() {
            let restored: Restored = serde_json::from_slice(&answer.payload).map_err(|e| failed(e.into()))?;
            if let Some(error) = restored.error {
                return Err(failed(format!("the server refused it: {error}").into()));
            }
        }
        if length == 0 {
            return Ok(());
        }
    }
}
