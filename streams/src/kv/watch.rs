//! Following keys, and reading many of them at once.

use std::{fmt, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{
        self,
        consumer::{DeliverPolicy, push},
        stream::{ConsumerErrorKind, Stream},
    },
};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::time::Instant;

use super::{Bucket, Entry, is_marker};
use crate::{
    error::{Cause, QueueError},
    layout,
    message::Text,
    nats::Link,
    request::{API_LIMIT, PASSES, REQUEST_LIMIT, RETRY_EVERY},
};

/// How long a scan waits for its next message before it begins again: keys that expire meanwhile never come.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(5);
/// How often a scan begins.
const SCANS_MAX: u32 = 3;
/// How often a broken watch is opened again, each time after a pause, before its reader hears of it.
const REOPENS_MAX: u32 = 20;
const REOPEN_EVERY: Duration = Duration::from_millis(500);

/// What happened under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// It has a value.
    Put(Entry<T>),
    /// It was deleted, or it expired.
    Gone {
        /// The key.
        key: String,
    },
}

/// How long a watch is silent before it looks whether its bucket was made anew: the client's own consumer would wait
/// for ever for a sequence that a new stream has not reached.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Changes under the watched keys.
///
/// A watch coalesces: of several quick changes only the last may be seen. It is a wake-up, and the truth is what
/// [`Bucket::get`] reads.
pub struct Watch<T> {
    bucket: Bucket<T>,
    filter: String,
    messages: Messages,
    last_revision: u64,
    current_left: bool,
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("bucket", &self.bucket.name).field("filter", &self.filter).finish_non_exhaustive()
    }
}

/// The messages of a filter, and how many of them there were at the start.
pub(super) struct Opened {
    pub(super) messages: Messages,
    pub(super) pending: u64,
}

/// Where they come from.
pub(super) enum Messages {
    Server {
        stream: Box<Stream<()>>,
        consumer: String,
        messages: Box<push::Ordered>,
    },
    #[cfg(feature = "model")]
    Model(Box<crate::model::Feed>),
}

/// One message, as this module reads it.
pub(super) struct Seen {
    subject: String,
    headers: Option<HeaderMap>,
    payload: Bytes,
    revision: u64,
    published: time::OffsetDateTime,
    /// How many matching messages followed at that moment.
    pub(super) pending: u64,
}

impl Messages {
    pub(super) async fn next(&mut self) -> Option<Result<Seen, Cause>> {
        match self {
            Self::Server { messages, .. } => {
                let message = match messages.next().await? {
                    Ok(message) => message,
                    Err(error) => return Some(Err(error.into())),
                };
                Some(seen(message))
            }
            #[cfg(feature = "model")]
            Self::Model(feed) => Some(feed.next().await.map(|seen| Seen {
                subject: seen.subject,
                headers: seen.headers,
                payload: seen.payload,
                revision: seen.sequence,
                published: seen.published,
                pending: seen.pending,
            })),
        }
    }

    /// Tidies up after a scan: the server removes its end by itself, after a while.
    pub(super) async fn close(self) {
        match self {
            Self::Server { stream, consumer, .. } => drop(stream.delete_consumer(&consumer).await),
            #[cfg(feature = "model")]
            Self::Model(feed) => drop(feed),
        }
    }
}

fn seen(message: jetstream::Message) -> Result<Seen, Cause> {
    let info = message.info()?;
    let (revision, published, pending) = (info.stream_sequence, info.published, info.pending);
    let async_nats::Message { subject, headers, payload, .. } = message.message;
    Ok(Seen { subject: subject.to_string(), headers, payload, revision, published, pending })
}

/// Opens, waiting out an election.
pub(super) async fn open<T: Text>(
    bucket: &Bucket<T>,
    filter: &str,
    from: DeliverPolicy,
    headers_only: bool,
) -> Result<Opened, QueueError> {
    let started = Instant::now();
    loop {
        match open_once(bucket, filter, from, headers_only).await {
            Err(error) if error.may_pass() && started.elapsed() + RETRY_EVERY < API_LIMIT => {
                tracing::debug!(bucket = %bucket.name, filter, %error, "open again");
                tokio::time::sleep(RETRY_EVERY).await;
            }
            opened => return opened,
        }
    }
}

async fn open_once<T: Text>(
    bucket: &Bucket<T>,
    filter: &str,
    from: DeliverPolicy,
    headers_only: bool,
) -> Result<Opened, QueueError> {
    let what = || bucket.what(filter);
    let client = |source: Cause| QueueError::Client { what: what(), source };
    let server = match bucket.nats.link() {
        Link::Server(server) => server,
        #[cfg(feature = "model")]
        Link::Model(model) => {
            let start = match from {
                DeliverPolicy::ByStartSequence { start_sequence } => Some(start_sequence),
                _ => None,
            };
            let feed = model.feed(&bucket.name.stream(), &bucket.subject(filter), start).await?;
            return Ok(Opened { pending: feed.pending, messages: Messages::Model(Box::new(feed)) });
        }
    };
    let stream = server.jetstream.get_stream_no_info(bucket.name.stream()).await.map_err(|e| client(e.into()))?;
    let config = push::OrderedConfig {
        deliver_subject: server.client.new_inbox(),
        description: Some("watches keys".to_owned()),
        filter_subject: bucket.subject(filter),
        deliver_policy: from,
        headers_only,
        ..push::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|error| match error.kind() {
        ConsumerErrorKind::TimedOut => QueueError::TimedOut { what: what(), waited: REQUEST_LIMIT },
        ConsumerErrorKind::Request => QueueError::Unavailable { what: what() },
        ConsumerErrorKind::JetStream(refusal) if refusal.code() == PASSES => QueueError::Unavailable { what: what() },
        _ => client(error.into()),
    })?;
    let (name, pending) = (consumer.cached_info().name.clone(), consumer.cached_info().num_pending);
    let messages = Box::new(consumer.messages().await.map_err(|e| client(e.into()))?);
    Ok(Opened { messages: Messages::Server { stream: Box::new(stream), consumer: name, messages }, pending })
}

impl<T: Text> Bucket<T> {
    /// Every value whose key matches (`>`, `f01000.*`), in order of revision.
    pub async fn entries(&self, filter: &str) -> Result<Vec<Entry<T>>, QueueError> {
        let mut entries = Vec::new();
        for message in self.scan(filter, false).await? {
            if let Change::Put(entry) = self.change(&message)? {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// Every key that matches and has a value, in order of revision.
    pub async fn keys(&self, filter: &str) -> Result<Vec<String>, QueueError> {
        let messages = self.scan(filter, true).await?;
        let live = messages.iter().filter(|message| !message.headers.as_ref().is_some_and(is_marker));
        live.map(|message| self.key(message)).collect()
    }

    /// Follows keys: current values first, then every change.
    pub async fn watch(&self, filter: &str) -> Result<Watch<T>, QueueError> {
        let opened = open(self, filter, DeliverPolicy::LastPerSubject, false).await?;
        Ok(Watch {
            bucket: self.clone(),
            filter: filter.to_owned(),
            messages: opened.messages,
            last_revision: 0,
            current_left: opened.pending > 0,
        })
    }

    /// The last message under every key that matches.
    async fn scan(&self, filter: &str, headers_only: bool) -> Result<Vec<Seen>, QueueError> {
        for _ in 0..SCANS_MAX {
            let mut opened = open(self, filter, DeliverPolicy::LastPerSubject, headers_only).await?;
            let scanned = Self::read_all(&mut opened).await;
            opened.messages.close().await;
            if let Some(messages) = scanned {
                return Ok(messages);
            }
        }
        Err(QueueError::TimedOut { what: self.what(filter), waited: STALL_LIMIT.saturating_mul(SCANS_MAX) })
    }

    /// Reads until nothing is pending; nothing when it stalled before.
    async fn read_all(opened: &mut Opened) -> Option<Vec<Seen>> {
        let mut messages = Vec::new();
        let mut left = opened.pending;
        while left > 0 {
            let next = tokio::time::timeout(STALL_LIMIT, opened.messages.next()).await.ok()?;
            let message = next?.ok()?;
            left = message.pending;
            messages.push(message);
        }
        Some(messages)
    }

    pub(super) fn key(&self, message: &Seen) -> Result<String, QueueError> {
        let key = message.subject.strip_prefix(&self.subject("")).map(str::to_owned);
        key.ok_or_else(|| QueueError::Client {
            what: format!("read bucket {}", self.name),
            source: format!("subject {} is not a key of it", message.subject).into(),
        })
    }

    pub(super) fn change(&self, message: &Seen) -> Result<Change<T>, QueueError> {
        let key = self.key(message)?;
        if message.headers.as_ref().is_some_and(is_marker) {
            return Ok(Change::Gone { key });
        }
        self.entry(&key, &message.payload, message.revision, message.published).map(Change::Put)
    }
}

/// Whether a bucket is not as far as what was seen of it: then it is another one of the same name.
async fn is_made_anew<T>(bucket: &Bucket<T>, seen: u64) -> bool {
    let stream = layout::stream_info(&bucket.nats, &bucket.name.stream()).await;
    stream.is_ok_and(|info| info.state.last_sequence < seen)
}

impl<T: Text> Watch<T> {
    /// The next change. A value that cannot be read is an error that names its key; the watch goes on after it.
    ///
    /// A connection that is lost is waited out; only when that takes long does the reader get an error, and may call
    /// again.
    pub async fn next(&mut self) -> Result<Change<T>, QueueError> {
        let mut reopens = 0;
        loop {
            let next = tokio::time::timeout(SILENCE_MAX, self.messages.next()).await;
            let Ok(next) = next else {
                if !Box::pin(is_made_anew(&self.bucket, self.last_revision)).await {
                    continue;
                }
                tracing::warn!(filter = self.filter, "the bucket was made anew: watch it from its beginning");
                self.last_revision = 0;
                Box::pin(self.reopen()).await?;
                continue;
            };
            match next {
                Some(Ok(message)) => {
                    self.last_revision = message.revision;
                    self.current_left = self.current_left && message.pending > 0;
                    return self.bucket.change(&message);
                }
                Some(Err(error)) => tracing::debug!(filter = self.filter, %error, "open the watch again"),
                None => tracing::debug!(filter = self.filter, "open the watch again"),
            }
            tokio::time::sleep(REOPEN_EVERY).await;
            reopens += 1;
            match Box::pin(self.reopen()).await {
                Ok(()) => {}
                Err(error) if reopens < REOPENS_MAX => tracing::debug!(filter = self.filter, %error, "opening failed"),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether every value that was there when the watch was opened has been returned.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        !self.current_left
    }

    async fn reopen(&mut self) -> Result<(), QueueError> {
        if Box::pin(is_made_anew(&self.bucket, self.last_revision)).await {
            self.last_revision = 0;
        }
        let from = match self.last_revision {
            0 => DeliverPolicy::LastPerSubject,
            seen => DeliverPolicy::ByStartSequence { start_sequence: seen.saturating_add(1) },
        };
        self.messages = open_once(&self.bucket, &self.filter, from, false).await?.messages;
        Ok(())
    }
}
