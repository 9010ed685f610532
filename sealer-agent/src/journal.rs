//! Results on disk until the queue has them: hours of work must not depend on one connection.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

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
    /// agent does it. An error when it came first and the disk did not take the result either.
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
        let kept = durable::write(&path, &bytes);
        if let Err(error) = &kept {
            tracing::error!("the result is not kept on disk until the queue has it: {error}");
        }
        if !self.publish(result, stop).await {
            kept?;
            return Ok(false);
        }
        if let Err(error) = durable::remove_file(&path) {
            // The next run stores it once more, which does no harm.
            tracing::warn!("forget a result that the queue has: {error}");
        }
        Ok(true)
    }

    /// Delivers what an earlier run of this agent left; returns how many.
    pub(crate) async fn deliver_left(&self, stop: &CancellationToken) -> anyhow::Result<usize> {
        let mut delivered = 0;
        for (path, result) in left_in(&self.dir)? {
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

/// The results in a folder. One that cannot be read is set aside for a person, and keeps no other back.
fn left_in(dir: &Path) -> anyhow::Result<Vec<(PathBuf, AnyResult)>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        match read(&path) {
            Ok(Some(result)) => left.push((path, result)),
            Ok(None) => {}
            Err(error) => {
                tracing::error!("set aside result {}: {error:#}", path.display());
                if let Err(error) = durable::rename(&path, &bad(&path)) {
                    tracing::error!("set it aside: {error}");
                }
            }
        }
    }
    Ok(left)
}

/// The result at `path`; none if it is no result, going by its name: drafts and what was set aside are not looked into.
fn read(path: &Path) -> anyhow::Result<Option<AnyResult>> {
    let kind = path.extension().and_then(|kind| kind.to_str());
    if !matches!(kind, Some(TASK | POST)) {
        return Ok(None);
    }
    let Some(bytes) = durable::read(path)? else { return Ok(None) };
    Ok(Some(if kind == Some(TASK) {
        AnyResult::Task(Box::new(decode(&bytes)?))
    } else {
        AnyResult::Post(Box::new(decode(&bytes)?))
    }))
}

fn bad(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".bad");
    name.into()
}

#[cfg(test)]
mod tests {
    use streams::{
        id::{AgentId, MinerId, Place, Timestamp},
        message::{Failure, FailureClass, PostOutcome},
    };

    use super::*;

    fn post() -> PostResult {
        PostResult {
            miner: MinerId(1000),
            open: 1,
            partition: 0,
            attempt: 1,
            agent: "a".parse::<AgentId>().unwrap(),
            place: "p".parse::<Place>().unwrap(),
            started_at: Timestamp(1),
            ended_at: Timestamp(2),
            outcome: PostOutcome::Failed {
                failure: Failure { class: FailureClass::RetryHere, code: "c".to_owned(), message: "m".to_owned() },
            },
        }
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_and_keeps_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| durable::write(&dir.path().join(name), bytes).unwrap();
        write("good.post", &encode(&post()).unwrap());
        write("zeros.task", b"\0");
        write("garbage.post", b"{}");
        write(".draft.task.tmp", b"\0");
        for _ in 0..2 {
            let left = left_in(dir.path()).unwrap();
            assert_eq!(left.len(), 1);
            assert!(matches!(&left[0], (path, AnyResult::Post(_)) if path.ends_with("good.post")), "{left:?}");
        }
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".draft.task.tmp", "garbage.post.bad", "good.post", "zeros.task.bad"]);
    }
}
