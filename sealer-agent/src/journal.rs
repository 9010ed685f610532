//! Results on disk until the queue has them: hours of work must not depend on one connection.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use host::{durable, retry::Backoff};
use streams::{
    error::QueueError,
    message::{PostResult, TaskResult, decode, encode},
    nats::Nats,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
const TASK: &str = "task";
const POST: &str = "post";

/// A result of either kind.
#[derive(Debug, Clone)]
pub(crate) enum AnyResult {
    Task(Box<TaskResult>),
    Post(Box<PostResult>),
}

/// Results that this agent owes the queue.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    dir: PathBuf,
    nats: Nats,
}

impl Journal {
    pub(crate) const fn new(dir: PathBuf, nats: Nats) -> Self {
        Self { dir, nats }
    }

    /// Stores a result in the queue, however long that takes. False when `stop` came first: then the next run of this
    /// agent does it.
    pub(crate) async fn deliver(&self, result: &AnyResult, stop: &CancellationToken) -> anyhow::Result<bool> {
        let kind = match result {
            AnyResult::Task(_) => TASK,
            AnyResult::Post(_) => POST,
        };
        let path = self.dir.join(format!("{}.{kind}", Uuid::new_v4()));
        let bytes = match result {
            AnyResult::Task(result) => encode(result.as_ref())?,
            AnyResult::Post(result) => encode(result.as_ref())?,
        };
        durable::write(&path, &bytes)?;
        if !self.publish(result, stop).await {
            return Ok(false);
        }
        durable::remove_file(&path)?;
        Ok(true)
    }

    /// Delivers what an earlier run of this agent left; returns how many.
    pub(crate) async fn deliver_left(&self, stop: &CancellationToken) -> anyhow::Result<usize> {
        let mut delivered = 0;
        for entry in fs::read_dir(&self.dir).with_context(|| format!("read {}", self.dir.display()))? {
            let path = entry?.path();
            let Some(bytes) = durable::read(&path)? else { continue };
            let reading = || format!("read result {}", path.display());
            let result = match path.extension().and_then(|kind| kind.to_str()) {
                Some(TASK) => AnyResult::Task(Box::new(decode(&bytes).with_context(reading)?)),
                Some(POST) => AnyResult::Post(Box::new(decode(&bytes).with_context(reading)?)),
                _ => continue,
            };
            if !self.publish(&result, stop).await {
                break;
            }
            durable::remove_file(&path)?;
            delivered += 1;
        }
        Ok(delivered)
    }

    async fn publish(&self, result: &AnyResult, stop: &CancellationToken) -> bool {
        let mut delays = Backoff::new(RETRY_FIRST, RETRY_MAX).delays();
        loop {
            let stored = tokio::select! {
                stored = self.publish_once(result) => stored,
                () = stop.cancelled() => return false,
            };
            let Err(error) = stored else { return true };
            let delay = delays.next().unwrap_or(RETRY_MAX);
            tracing::warn!("store a result, next try in {delay:?}: {:#}", anyhow::Error::from(error));
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = stop.cancelled() => return false,
            }
        }
    }

    async fn publish_once(&self, result: &AnyResult) -> Result<(), QueueError> {
        match result {
            AnyResult::Task(result) => self.nats.publish_result(result).await,
            AnyResult::Post(result) => self.nats.publish_post_result(result).await,
        }
    }
}
