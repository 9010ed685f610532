//! Typed buckets: the truth, under keys, changed by compare-and-set.
//!
//! Reads go to the stream's leader, because a value read from a lagging replica makes every change that follows
//! lose. Changes are plain publishes with the expected revision: the library's own calls hide error 10164, which is
//! answered to sole owners too, and drop a time to live where a key was deleted before.

use std::{fmt, marker::PhantomData};

use async_nats::{HeaderMap, jetstream::message::StreamMessage};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::QueueError,
    id::Timestamp,
    layout,
    message::{Text, decode},
    nats::{Nats, text},
    request::{MESSAGE_NOT_FOUND, StoreError},
};

mod cas;
mod scan;
mod watch;

pub use cas::CasError;
pub use scan::{Scan, Scanned};
pub use watch::{Change, Watch};

/// The buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BucketName {
    /// `<miner>.<sector>`: sector records.
    Sectors,
    /// `<miner>.<number>`: sector numbers given, created only.
    Numbers,
    /// `<miner>.<sector>.<stage>`: who works on what.
    Claims,
    /// `<agent>`: heartbeats.
    Agents,
    /// `<store>`: stores as last seen.
    Stores,
    /// `head`, `deadline.<miner>`: the chain as last seen.
    Chain,
    /// `<sender>.<nonce>`: the outbox.
    Messages,
    /// `<miner>.<open>.<partition>`: window PoSt proofs.
    Posts,
    /// `coordinator`, `follower`, `poster.<miner>.<open>`: roles.
    Leases,
    /// `<miner>.<sector>`: who may write a sector's files.
    Locks,
    /// `cluster`: which life of the queue this is.
    Cluster,
}

impl BucketName {
    /// Every bucket.
    pub const ALL: [Self; 11] = [
        Self::Sectors,
        Self::Numbers,
        Self::Claims,
        Self::Agents,
        Self::Stores,
        Self::Chain,
        Self::Messages,
        Self::Posts,
        Self::Leases,
        Self::Locks,
        Self::Cluster,
    ];

    /// The name in the NATS CLI: `nats kv ls SECTORS`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sectors => "SECTORS",
            Self::Numbers => "NUMBERS",
            Self::Claims => "CLAIMS",
            Self::Agents => "AGENTS",
            Self::Stores => "STORES",
            Self::Chain => "CHAIN",
            Self::Messages => "MESSAGES",
            Self::Posts => "POSTS",
            Self::Leases => "LEASES",
            Self::Locks => "LOCKS",
            Self::Cluster => "CLUSTER",
        }
    }

    /// The stream behind it.
    pub(crate) fn stream(self) -> String {
        format!("KV_{self}")
    }

    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Sectors => "Sector records: the truth, written by the coordinator",
            Self::Numbers => "Sector numbers given, created only",
            Self::Claims => "Who works on which stage; the revision is the fence",
            Self::Agents => "Heartbeats of agents, gone after a minute of silence",
            Self::Stores => "Stores as their agents last saw them",
            Self::Chain => "Head and deadlines as the follower last saw them",
            Self::Messages => "Outbox: signed messages by sender and nonce",
            Self::Posts => "Window PoSt proofs, kept until they are final on chain",
            Self::Leases => "Who holds which role",
            Self::Locks => "Who may write a sector's files",
            Self::Cluster => "Which life of the queue this is",
        }
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A value under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// The key.
    pub key: String,
    /// The value.
    pub value: T,
    /// What a change must name to be accepted.
    pub revision: u64,
    /// When this revision was written, by the server's clock.
    pub created: Timestamp,
}

/// A bucket of one kind of text.
#[derive(Debug)]
pub struct Bucket<T> {
    nats: Nats,
    name: BucketName,
    text: PhantomData<fn() -> T>,
}

impl<T> Clone for Bucket<T> {
    fn clone(&self) -> Self {
        Self { nats: self.nats.clone(), name: self.name, text: PhantomData }
    }
}

/// What a key's last message says.
pub(crate) enum Last<T> {
    /// It has a value.
    Value(Entry<T>),
    /// It was deleted or it expired; a new value must name this revision.
    Marker {
        /// The marker's own revision.
        revision: u64,
    },
    /// It was never written, or its marker is gone as well.
    Nothing,
}

const OPERATION: &str = "KV-Operation";
const MARKER_REASON: &str = "Nats-Marker-Reason";

/// Whether a message says that its key has no value: deleted by somebody, or a limit's marker.
fn is_marker(headers: &HeaderMap) -> bool {
    let operation = headers.get(OPERATION).map(async_nats::HeaderValue::as_str);
    matches!(operation, Some("DEL" | "PURGE")) || headers.get(MARKER_REASON).is_some()
}

/// The server's time as ours.
fn timestamp(time: time::OffsetDateTime) -> Timestamp {
    Timestamp(u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0))
}

#[derive(Serialize)]
struct LastBySubject<'a> {
    last_by_subj: &'a str,
}

#[derive(Deserialize)]
struct Found {
    message: async_nats::jetstream::stream::RawMessage,
}

impl<T: Text> Bucket<T> {
    /// Opens a bucket, which must exist.
    pub async fn open(nats: &Nats, name: BucketName) -> Result<Self, QueueError> {
        layout::stream_info(nats, &name.stream()).await.map_err(|error| match error {
            QueueError::Missing { .. } => QueueError::Missing { what: format!("bucket {name}") },
            other => other,
        })?;
        Ok(Self { nats: nats.clone(), name, text: PhantomData })
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.name)
    }

    fn what(&self, key: &str) -> String {
        format!("{} {key}", self.name)
    }

    /// Reads a key from the stream's leader.
    pub async fn get(&self, key: &str) -> Result<Option<Entry<T>>, QueueError> {
        match self.last(key).await? {
            Last::Value(entry) => Ok(Some(entry)),
            Last::Marker { .. } | Last::Nothing => Ok(None),
        }
    }

    /// Reads what the last message under a key says.
    pub(crate) async fn last(&self, key: &str) -> Result<Last<T>, QueueError> {
        let (what, subject) = (self.what(key), self.subject(key));
        let verb = format!("STREAM.MSG.GET.{}", self.name.stream());
        let found: Found = match self.nats.api(&what, &verb, &LastBySubject { last_by_subj: &subject }).await {
            Ok(found) => found,
            // Only this error says that the key has no value: a bucket that is gone must not look empty.
            Err(QueueError::Refused { code: MESSAGE_NOT_FOUND, .. }) => return Ok(Last::Nothing),
            Err(error) => return Err(error),
        };
        let message = StreamMessage::try_from(found.message)
            .map_err(|source| QueueError::Client { what: format!("read {what}"), source })?;
        if is_marker(&message.headers) {
            return Ok(Last::Marker { revision: message.sequence });
        }
        let entry = self.entry(key, &message.payload, message.sequence, message.time)?;
        Ok(Last::Value(entry))
    }

    fn entry(
        &self,
        key: &str,
        payload: &[u8],
        revision: u64,
        time: time::OffsetDateTime,
    ) -> Result<Entry<T>, QueueError> {
        let value = decode(payload).map_err(|source| QueueError::Text { what: self.what(key), source })?;
        Ok(Entry { key: key.to_owned(), value, revision, created: timestamp(time) })
    }

    /// Writes a key that has no value, and returns its revision.
    pub async fn create(&self, key: &str, value: &T) -> Result<u64, CasError> {
        match self.write(key, value, 0, HeaderMap::new()).await {
            Err(CasError::Lost { .. }) => {}
            done => return done,
        }
        // A delete marker counts as a last message: a key that was deleted is created over it.
        match self.last(key).await? {
            Last::Value(_) => Err(self.lost(key)),
            Last::Marker { revision } => self.write(key, value, revision, HeaderMap::new()).await,
            Last::Nothing => self.write(key, value, 0, HeaderMap::new()).await,
        }
    }

    /// Replaces revision `revision` of a key, and returns the new one.
    pub async fn update(&self, key: &str, value: &T, revision: u64) -> Result<u64, CasError> {
        self.write(key, value, revision, HeaderMap::new()).await
    }

    /// Writes a key over revision `revision`, with further headers.
    pub(crate) async fn write(&self, key: &str, value: &T, revision: u64, headers: HeaderMap) -> Result<u64, CasError> {
        let payload = text(&self.what(key), value)?;
        self.compare_and_set(key, payload, revision, headers).await
    }

    /// Writes a key whatever it held, and returns its revision.
    pub async fn put(&self, key: &str, value: &T) -> Result<u64, QueueError> {
        let what = self.what(key);
        let stored = self.nats.store(&self.subject(key), None, text(&what, value)?).await;
        stored.map_err(|error| error.into_queue(&what))
    }

    /// Deletes a key, whatever it held.
    pub async fn delete(&self, key: &str) -> Result<(), QueueError> {
        let stored = self.nats.store(&self.subject(key), Some(delete_header()), Bytes::new()).await;
        stored.map(drop).map_err(|error| error.into_queue(&self.what(key)))
    }

    /// Deletes revision `revision` of a key.
    pub async fn delete_if(&self, key: &str, revision: u64) -> Result<(), CasError> {
        self.compare_and_set(key, Bytes::new(), revision, delete_header()).await.map(drop)
    }

    async fn compare_and_set(
        &self,
        key: &str,
        payload: Bytes,
        revision: u64,
        mut headers: HeaderMap,
    ) -> Result<u64, CasError> {
        headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string());
        let subject = self.subject(key);
        let offer = || self.nats.store_once(&subject, Some(headers.clone()), payload.clone());
        match cas::until_sure(offer).await {
            Ok(revision) => Ok(revision),
            Err(StoreError::WrongRevision | StoreError::RevisionUnsure) => Err(self.lost(key)),
            Err(error) => Err(error.into_queue(&self.what(key)).into()),
        }
    }

    fn lost(&self, key: &str) -> CasError {
        CasError::Lost { bucket: self.name.as_str(), key: key.to_owned() }
    }
}

fn delete_header() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(OPERATION, "DEL");
    headers
}
