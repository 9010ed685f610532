//! One task from its delivery to its acknowledgement.
//!
//! ```text
//! delivery ─ record: due? ─ claim ─ record again ─ work, kept alive ─ result stored ─ ack ─ claim let go
//!               │              │          │              │
//!              ack          nak 2 s      ack        nak, when it is nobody's failure
//! ```
//!
//! The order is what makes it safe to be killed anywhere: work begins only under a claim, and the task leaves the queue
//! only when its result is stored.

use std::{collections::BTreeMap, time::Duration};

use streams::{
    id::Timestamp,
    message::{Failure, Outcome, PostOutcome, PostResult, PostTask, Task, TaskResult, decode},
    pull::Delivery,
    records::{JobNow, JobSubject},
    sector::SectorRecord,
    stage::{Class, Stage},
    subject::{PostSubject, TaskSubject},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    board::Board,
    child::AtWork,
    claim::{Claims, Held, LetGo, Life, Taken},
    halt::{BUSY_DELAY, Halt},
    intake::Run,
    job_dir::{AgentDir, JobDir, Owner},
    journal::{AnyResult, Journal},
    keep_alive,
    now::now,
    process::ProcessId,
    request::{self, Due},
    said::Said,
    stage::{self, Tools},
};

/// Runs tasks.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) tools: Tools,
    pub(crate) claims: Claims,
    pub(crate) board: Board,
    pub(crate) journal: Journal,
    pub(crate) dir: AgentDir,
    pub(crate) process: ProcessId,
    /// How long one prover may run, by class.
    pub(crate) limits: BTreeMap<Class, Duration>,
    pub(crate) said: Said,
    pub(crate) stop: CancellationToken,
}

/// What becomes of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    Ack,
    Nak(Option<Duration>),
    Term(&'a str),
    /// Its result waits on disk: the message may come back, and will then be old.
    Leave,
}

impl Run for Runner {
    async fn run(&self, class: Class, delivery: Delivery, ack_wait: Duration) {
        let read = if class.is_post() {
            Box::pin(self.post_task(class, &delivery, ack_wait)).await
        } else {
            Box::pin(self.seal_task(&delivery, ack_wait)).await
        };
        if let Err(reason) = read {
            tracing::error!(subject = delivery.subject(), "a task that cannot be read is removed: {reason}");
            settle(&delivery, Fate::Term(&reason)).await;
        }
    }
}

impl Runner {
    async fn seal_task(&self, delivery: &Delivery, ack_wait: Duration) -> Result<(), String> {
        let task = read_task(delivery)?;
        let span =
            tracing::info_span!("task", sector = %task.sector, stage = %task.stage, attempt = tracing::field::Empty);
        async {
            match self.claimed(&task, ack_wait).await {
                Ok(Claimed::Work { record, held }) => {
                    Box::pin(self.work(delivery, task, *record, *held, ack_wait)).await;
                }
                Ok(Claimed::Old) => settle(delivery, Fate::Ack).await,
                Err(halt) => self.send_back(delivery, halt).await,
            }
        }
        .instrument(span)
        .await;
        Ok(())
    }

    /// Claims the task's stage if its record wants it.
    async fn claimed(&self, task: &Task, ack_wait: Duration) -> Result<Claimed, Halt> {
        let Some(record) = self.due(task).await? else { return Ok(Claimed::Old) };
        let life = Life {
            generation: record.state.placement().map_or(0, |at| at.generation),
            incarnation: record.incarnation,
        };
        let held = match self.claims.take(task.sector, task.stage, life, ack_wait).await? {
            Taken::Mine(held) => held,
            Taken::Busy { holder } => {
                tracing::debug!(%holder, "another agent is at work on it");
                return Err(Halt::back(BUSY_DELAY, format!("agent {holder} is at work on it")));
            }
        };
        // Between the first look and the claim its last holder may have finished it.
        match self.due(task).await {
            Ok(Some(record)) => Ok(Claimed::Work { record: Box::new(record), held }),
            Ok(None) => {
                let_go(*held, LetGo::Untried).await;
                Ok(Claimed::Old)
            }
            Err(halt) => {
                let_go(*held, LetGo::Untried).await;
                Err(halt)
            }
        }
    }

    /// The record, if it waits for the task; none when the task is old.
    async fn due(&self, task: &Task) -> Result<Option<SectorRecord>, Halt> {
        let Some(entry) = self.tools.sectors.get(&task.sector.key()).await? else {
            tracing::warn!("the sector has no record: the task is dropped");
            return Ok(None);
        };
        match request::due(task.stage, &entry.value, &self.tools.place) {
            Due::Now => Ok(Some(entry.value)),
            Due::NotYet => {
                let state = entry.value.state.name();
                Err(Halt::back(BUSY_DELAY, format!("the record is {state}, not yet ready for this stage")))
            }
            Due::MovedOn => {
                tracing::info!(state = entry.value.state.name(), "the record has moved on: nothing to do");
                Ok(None)
            }
        }
    }

    async fn work(&self, delivery: &Delivery, task: Task, record: SectorRecord, mut held: Held, ack_wait: Duration) {
        let claim = held.reference();
        tracing::Span::current().record("attempt", claim.attempt);
        let started_at = now();
        let what = JobSubject::Sector { sector: task.sector, stage: task.stage };
        let job = Job { what, class: task.stage.class(), attempt: claim.attempt, started_at };
        let work = self.in_job_dir(job, async |at: AtWork<'_>| stage::run(&self.tools, &at, &task, &record).await);
        let ended = Box::pin(keep_alive::while_working(delivery, Some(&mut held), ack_wait, work)).await;
        let outcome = match ended {
            Ok(facts) => Outcome::Done { facts },
            Err(Halt::Failed(failure)) => Outcome::Failed { failure },
            Err(halt) => {
                // First the claim: whoever gets the task next must find it free.
                let_go(held, LetGo::Untried).await;
                return self.send_back(delivery, halt).await;
            }
        };
        let ended_at = now();
        let failure = if let Outcome::Failed { failure } = &outcome { Some(failure) } else { None };
        log_end(failure, started_at, ended_at);
        let (agent, place) = (self.tools.agent.clone(), self.tools.place.clone());
        let (sector, stage) = (task.sector, task.stage);
        let result = TaskResult { sector, stage, agent, place, claim, started_at, ended_at, outcome };
        let result = AnyResult::Task(Box::new(result));
        let stored = self.journal.deliver(&result, &self.stop);
        let stored = keep_alive::while_working(delivery, Some(&mut held), ack_wait, stored).await;
        // First the task: a next try of this stage has the same subject, and is refused while this one is open.
        settle(delivery, fate_of(stored)).await;
        let_go(held, LetGo::WithResult).await;
    }

    async fn post_task(&self, class: Class, delivery: &Delivery, ack_wait: Duration) -> Result<(), String> {
        let task = read_post_task(delivery)?;
        let span = tracing::info_span!(
            "task", miner = %task.miner, open = task.open, partition = task.partition, attempt = task.attempt, %class
        );
        self.post_work(class, delivery, &task, ack_wait).instrument(span).await;
        Ok(())
    }

    async fn post_work(&self, class: Class, delivery: &Delivery, task: &PostTask, ack_wait: Duration) {
        let started_at = now();
        let &PostTask { miner, open, partition, attempt, .. } = task;
        let what = JobSubject::Partition { class, miner, open, partition };
        let job = Job { what, class, attempt, started_at };
        let work = self.in_job_dir(job, async |at: AtWork<'_>| stage::post::run(&self.tools, &at, task).await);
        let outcome = match keep_alive::while_working(delivery, None, ack_wait, work).await {
            Ok(outcome) => outcome,
            Err(Halt::Failed(failure)) => PostOutcome::Failed { failure },
            Err(halt) => return self.send_back(delivery, halt).await,
        };
        let ended_at = now();
        let failure = if let PostOutcome::Failed { failure } = &outcome { Some(failure) } else { None };
        log_end(failure, started_at, ended_at);
        let (agent, place) = (self.tools.agent.clone(), self.tools.place.clone());
        let result = PostResult { miner, open, partition, attempt, agent, place, started_at, ended_at, outcome };
        let result = AnyResult::Post(Box::new(result));
        let stored = self.journal.deliver(&result, &self.stop);
        let stored = keep_alive::while_working(delivery, None, ack_wait, stored).await;
        settle(delivery, fate_of(stored)).await;
    }

    /// Runs `work` with a job directory, on the board while it lasts. A failed job's directory is kept for a person.
    async fn in_job_dir<T>(&self, job: Job, work: impl AsyncFnOnce(AtWork<'_>) -> Result<T, Halt>) -> Result<T, Halt> {
        let Job { what, class, attempt, started_at } = job;
        let id = Uuid::new_v4();
        let agent = self.tools.agent.clone();
        let owner = Owner { agent, process: self.process.clone(), what: what.clone(), attempt, started_at };
        let dir = self.dir.new_job(id, &owner).map_err(Halt::disk)?;
        let phase = "starts".to_owned();
        let posted = self.board.begin(id, JobNow { what, attempt, started_at, phase, permille: None });
        let limit = self.limits.get(&class).copied().unwrap_or(Duration::from_secs(3600));
        let done = work(AtWork { dir: &dir, posted: &posted, limit, stop: &self.stop }).await;
        clear(dir, matches!(done, Err(Halt::Failed(_))));
        done
    }

    /// Gives a task back that was not done, by nobody's failure. The reason is said once, not with each return.
    async fn send_back(&self, delivery: &Delivery, halt: Halt) {
        let delay = match halt {
            Halt::Back { after, reason } => {
                if self.said.is_new(delivery.subject(), &reason) {
                    tracing::info!("back to the queue: {reason}");
                }
                Some(after)
            }
            Halt::Interrupted => {
                tracing::info!("interrupted: back to the queue");
                None
            }
            Halt::Failed(failure) => {
                // Without a claim there is no attempt to count it against.
                tracing::warn!(code = failure.code, "back to the queue: {}", failure.message);
                Some(BUSY_DELAY)
            }
        };
        settle(delivery, Fate::Nak(delay)).await;
    }
}

enum Claimed {
    Work { record: Box<SectorRecord>, held: Box<Held> },
    Old,
}

struct Job {
    what: JobSubject,
    class: Class,
    attempt: u32,
    started_at: Timestamp,
}

fn clear(dir: JobDir, failed: bool) {
    let path = dir.path().to_owned();
    let cleared = if failed { dir.keep_failed() } else { dir.remove() };
    if let Err(error) = cleared {
        tracing::warn!(job = %path.display(), "clear the job directory: {error}");
    }
}

pub(crate) async fn let_go(held: Held, how: LetGo) {
    if let Err(error) = held.let_go(how).await {
        // It ends by itself after ack_wait.
        tracing::warn!("let the claim go: {:#}", anyhow::Error::from(error));
    }
}

pub(crate) async fn settle(delivery: &Delivery, fate: Fate<'_>) {
    let settled = match fate {
        Fate::Ack => delivery.ack().await,
        Fate::Nak(delay) => delivery.nak(delay).await,
        Fate::Term(reason) => delivery.term(reason).await,
        Fate::Leave => Ok(()),
    };
    if let Err(error) = settled {
        // It comes back after ack_wait, and is then judged by its record.
        tracing::warn!(subject = delivery.subject(), "settle the task: {:#}", anyhow::Error::from(error));
    }
}

fn fate_of(stored: anyhow::Result<bool>) -> Fate<'static> {
    match stored {
        Ok(true) => Fate::Ack,
        Ok(false) => Fate::Leave,
        Err(error) => {
            tracing::error!("keep the result: {error:#}");
            Fate::Nak(Some(BUSY_DELAY))
        }
    }
}

fn log_end(failure: Option<&Failure>, started_at: Timestamp, ended_at: Timestamp) {
    let ms = ended_at.ms_since(started_at);
    match failure {
        None => tracing::info!(ms, "done"),
        Some(failure) => tracing::warn!(ms, code = failure.code, "failed: {}", failure.message),
    }
}

/// Subject and text must say the same.
pub(crate) fn read_task(delivery: &Delivery) -> Result<Task, String> {
    let subject: TaskSubject = delivery.subject().parse().map_err(|e| format!("{e}"))?;
    let task: Task = decode(delivery.payload()).map_err(|e| format!("{:#}", anyhow::Error::from(e)))?;
    if (subject.sector, subject.stage) != (task.sector, task.stage) {
        return Err(format!("the text is about {} of {}", task.stage, task.sector));
    }
    if task.stage == Stage::Unseal && task.unseal.is_none() {
        return Err("an unseal task without its order".to_owned());
    }
    Ok(task)
}

pub(crate) fn read_post_task(delivery: &Delivery) -> Result<PostTask, String> {
    let subject: PostSubject = delivery.subject().parse().map_err(|e| format!("{e}"))?;
    let task: PostTask = decode(delivery.payload()).map_err(|e| format!("{:#}", anyhow::Error::from(e)))?;
    if (subject.miner, subject.open, subject.partition) != (task.miner, task.open, task.partition) {
        return Err(format!("the text is about partition {} of {} at {}", task.partition, task.miner, task.open));
    }
    Ok(task)
}
