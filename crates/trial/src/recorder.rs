//! Writes down every message of every stream while a run goes on.
//!
//! A stream that keeps its messages is followed from the first one by a consumer of its own, through restarts of the
//! server, wipes and restores. A work queue gives a message away once, so nobody may consume beside its workers: it is
//! listened to as it is published, and after a lost connection what is still in it is read without taking it.
//!
//! Chunks of the object store are left out: they are large, and messages name them by their digest.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use async_nats::jetstream::stream::RetentionPolicy;
use host::{clock::Clock, tasks::Tasks};
use streams::nats::Nats;
use tokio_util::sync::CancellationToken;

use crate::evidence::{LineLog, QUEUE, QueueLine};

mod follow;
mod listen;

/// How often new streams are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Streams whose bytes are of no use.
const LEFT_OUT: &str = "OBJ_";

/// A recorder at work. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    nats: Nats,
    log: LineLog<QueueLine>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    /// Up to which sequence each followed stream is written down, and when the server says that it was created: a
    /// stream that was made anew is another one.
    written: Mutex<BTreeMap<String, (String, u64)>>,
}

impl Recorder {
    /// Begins to record into `folder`, as tasks of the caller's that end with them.
    pub fn start(nats: Nats, folder: &Path, clock: Arc<dyn Clock>, tasks: &Tasks) -> anyhow::Result<Self> {
        let log = LineLog::open(folder, QUEUE).with_context(|| format!("open {QUEUE} in {}", folder.display()))?;
        let inner = Inner { nats, log, clock, stop: tasks.token(), written: Mutex::default() };
        let this = Self { inner: Arc::new(inner) };
        tasks.spawn("recorder", this.clone().find_streams(tasks.clone()));
        Ok(this)
    }

    /// Waits until everything that is stored now is written down, and synced. Says who lags if that takes too long.
    pub async fn settle(&self, limit: Duration) -> anyhow::Result<()> {
        let until = tokio::time::Instant::now() + limit;
        loop {
            let lagging = self.lagging().await?;
            if lagging.is_empty() {
                break;
            }
            if tokio::time::Instant::now() > until {
                anyhow::bail!("not written down within {limit:?}: {}", lagging.join(", "));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.inner.log.sync().context("sync the record")
    }

    async fn lagging(&self) -> anyhow::Result<Vec<String>> {
        let mut lagging = Vec::new();
        for name in self.names().await? {
            let info = self.inner.nats.jetstream().get_stream(&name).await?.cached_info().clone();
            let last = info.state.last_sequence;
            let written = self.written_up_to(&name, &info.created.to_string());
            if info.config.retention != RetentionPolicy::WorkQueue && written.unwrap_or(0) < last {
                lagging.push(format!("{name} at {written:?} of {last}"));
            }
        }
        Ok(lagging)
    }

    async fn names(&self) -> anyhow::Result<Vec<String>> {
        let rows = streams::report::stream_report(&self.inner.nats).await.context("list the streams")?;
        Ok(rows.into_iter().map(|row| row.stream).filter(|name| !name.starts_with(LEFT_OUT)).collect())
    }

    /// Looks for streams that are not followed yet, for as long as the run lasts: the server may be away meanwhile.
    async fn find_streams(self, tasks: Tasks) -> anyhow::Result<()> {
        let mut known = BTreeMap::<String, ()>::new();
        loop {
            match self.names().await {
                Ok(names) => {
                    for name in names {
                        if known.insert(name.clone(), ()).is_none() {
                            tasks.spawn(format!("record {name}"), self.clone().record(name));
                        }
                    }
                }
                Err(error) => tracing::debug!("look for streams: {error:#}"),
            }
            if self.pause().await {
                return Ok(());
            }
        }
    }

    /// Records one stream in the way that its kind allows. The kind does not change.
    async fn record(self, name: String) -> anyhow::Result<()> {
        let config = loop {
            match self.inner.nats.jetstream().get_stream(&name).await {
                Ok(stream) => break stream.cached_info().config.clone(),
                Err(error) => tracing::debug!(stream = name, "look at it: {error}"),
            }
            if self.pause().await {
                return Ok(());
            }
        };
        match config.retention {
            RetentionPolicy::WorkQueue => self.listen(&name, config.subjects).await,
            RetentionPolicy::Limits | RetentionPolicy::Interest => self.follow(&name).await,
        }
    }

    /// Waits a little; whether to stop.
    async fn pause(&self) -> bool {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => false,
            () = self.inner.stop.cancelled() => true,
        }
    }

    fn now(&self) -> u64 {
        self.inner.clock.now_unix_ms()
    }

    fn note(&self, line: &QueueLine) -> anyhow::Result<()> {
        self.inner.log.note(line).with_context(|| format!("write {}", self.inner.log.path().display()))
    }

    fn written_up_to(&self, stream: &str, created: &str) -> Option<u64> {
        let written = self.inner.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(stream).filter(|(life, _)| life == created).map(|(_, seq)| *seq)
    }

    fn set_written(&self, stream: &str, created: &str, seq: u64) {
        let mut written = self.inner.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(stream.to_owned(), (created.to_owned(), seq));
    }
}
