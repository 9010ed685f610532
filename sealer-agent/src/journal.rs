//! Results on disk until the queue has them: hours of work must not depend on one connection, nor on a queue that is
//! not there at all.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use host::{durable, retry::Backoff};
use streams::{
    error::QueueError,
    id::SectorId,
    kv::Bucket,
    message::{PostResult, TaskResult, decode, encode},
    nats::Nats,
    sector::SectorRecord,
    stage::Stage,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::standing::{self, Standing};

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

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// The queue has it.
    Stored,
    /// The record is past it: nobody needs it.
    Settled,
    /// It waits on disk, for the [courier](crate::courier) or the next run.
    Left,
}

impl Delivered {
    /// Whether its task is done.
    pub(crate) const fn is_settled(self) -> bool {
        matches!(self, Self::Stored | Self::Settled)
    }
}

/// Results that this agent owes the queue. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    dir: PathBuf,
    nats: Nats,
    sectors: Bucket<SectorRecord>,
    /// Those that no job has in hand, by path.
    waiting: Arc<Mutex<BTreeMap<PathBuf, AnyResult>>>,
    nudged: Arc<Notify>,
}

impl Journal {
    /// The journal in a folder, with what an earlier run left in it.
    pub(crate) fn open(dir: PathBuf, nats: Nats, sectors: Bucket<SectorRecord>) -> anyhow::Result<Self> {
        let waiting = left_in(&dir)?.into_iter().collect();
        Ok(Self { dir, nats, sectors, waiting: Arc::new(Mutex::new(waiting)), nudged: Arc::default() })
    }

    /// Keeps the result of a job on disk.
    pub(crate) fn keep(&self, id: Uuid, result: &AnyResult) -> io::Result<()> {
        let bytes = match result {
            AnyResult::Task(result) => encode(result.as_ref()),
            AnyResult::Post(result) => encode(result.as_ref()),
        };
        durable::write(&self.path(id, result), &bytes.map_err(io::Error::other)?)?;
        host::failpoint!("agent.journal.kept");
        Ok(())
    }

    /// Whether the result of a job is on disk.
    pub(crate) fn has(&self, id: Uuid) -> bool {
        [TASK, POST].iter().any(|kind| self.dir.join(format!("{id}.{kind}")).exists())
    }

    /// Has the queue store a result that was `kept`, however long that takes. An error when it was not, and `stop` came
    /// before the queue had it.
    pub(crate) async fn deliver(
        &self,
        id: Uuid,
        result: &AnyResult,
        kept: io::Result<()>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Delivered> {
        if let Err(error) = &kept {
            tracing::error!("the result is not kept on disk until the queue has it: {error}");
        }
        let path = self.path(id, result);
        let mut delays = Backoff::new(RETRY_FIRST, RETRY_MAX).delays();
        loop {
            let tried = tokio::select! {
                biased;
                tried = self.try_once(result) => tried,
                () = stop.cancelled() => break,
            };
            match tried {
                Ok(Standing::Offer) => {
                    host::failpoint!("agent.result.stored");
                    self.forget(&path);
                    return Ok(Delivered::Stored);
                }
                Ok(Standing::Past) => {
                    self.forget(&path);
                    return Ok(Delivered::Settled);
                }
                Ok(Standing::Wait | Standing::Reclaim) => {
                    self.waiting().insert(path, result.clone());
                    self.nudge();
                    break;
                }
                Err(error) => {
                    let delay = delays.next().unwrap_or(RETRY_MAX);
                    tracing::warn!("store a result, next try in {delay:?}: {:#}", anyhow::Error::from(error));
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep(delay) => {}
                        () = stop.cancelled() => break,
                    }
                }
            }
        }
        kept?;
        Ok(Delivered::Left)
    }

    async fn try_once(&self, result: &AnyResult) -> Result<Standing, QueueError> {
        let standing = self.standing(result).await?;
        if standing == Standing::Offer {
            self.publish(result).await?;
        }
        Ok(standing)
    }

    /// What the record of its sector says about a result.
    pub(crate) async fn standing(&self, result: &AnyResult) -> Result<Standing, QueueError> {
        match result {
            AnyResult::Post(_) => Ok(Standing::Offer),
            AnyResult::Task(result) => {
                let found = self.sectors.get(&result.sector.key()).await?;
                Ok(standing::of(result, found.as_ref().map(|entry| &entry.value)))
            }
        }
    }

    /// Has the queue store a result, now.
    pub(crate) async fn publish(&self, result: &AnyResult) -> Result<(), QueueError> {
        match result {
            AnyResult::Task(result) => self.nats.publish_result(result).await,
            AnyResult::Post(result) => self.nats.publish_post_result(result).await,
        }
    }

    /// The results that no job has in hand.
    pub(crate) fn left(&self) -> Vec<(PathBuf, AnyResult)> {
        self.waiting().iter().map(|(path, result)| (path.clone(), result.clone())).collect()
    }

    /// Whether the result of a stage is among those.
    pub(crate) fn is_waiting(&self, sector: SectorId, stage: Stage) -> bool {
        self.waiting().values().any(|result| match result {
            AnyResult::Task(result) => result.sector == sector && result.stage == stage,
            AnyResult::Post(_) => false,
        })
    }

    /// It is worth a look at them now.
    pub(crate) fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Waits until it is.
    pub(crate) async fn nudged(&self) {
        self.nudged.notified().await;
    }

    /// A result that nobody has to deliver any more.
    pub(crate) fn forget(&self, path: &Path) {
        if let Err(error) = durable::remove_file(path) {
            // The next run stores it once more, which does no harm.
            tracing::warn!("forget a result that the queue has: {error}");
        }
        self.waiting().remove(path);
        host::failpoint!("agent.journal.forgotten");
    }

    fn path(&self, id: Uuid, result: &AnyResult) -> PathBuf {
        let kind = match result {
            AnyResult::Task(_) => TASK,
            AnyResult::Post(_) => POST,
        };
        self.dir.join(format!("{id}.{kind}"))
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<PathBuf, AnyResult>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
