//! One task from its delivery to its acknowledgement.
//!
//! ```text
//! delivery ─ record: due? ─ claim ─ record again ─ work, kept alive ─ journal ─ result stored ─ ack ─ claim let go
//!               │              │          │              │
//!              ack          nak 2 s      ack        nak, when it is nobody's failure
//! ```
//!
//! The order is what makes it safe to be killed anywhere: work begins only under a claim, its directory stays until the
//! journal has the result, and the task leaves the queue only when the result is stored. What a killed agent left is
//! taken over on the same road: its task, or the start of its next run, finds the directory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use streams::{
    id::Timestamp,
    kv::Bucket,
    message::{Failure, Outcome, Task, TaskResult},
    pull::Delivery,
    records::{AgentRecord, JobNow},
    stage::Class,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    adoption::{Adopted, Waiting},
    board::Board,
    child::AtWork,
    claim::{Claims, LetGo},
    gate::Gate,
    halt::{BUSY_DELAY, Halt},
    intake::Run,
    job_dir::{self, AgentDir, JobDir, Left, Order, Ordered, Owner},
    journal::{AnyResult, Delivered, Journal},
    keep_alive,
    machine::{
        activity::Activity,
        book::Shortage,
        seats::{Seat, Seats},
        terms::Terms,
    },
    now::now,
    offered::Offered,
    parting,
    process::ProcessId,
    running::{Pointer, Running},
    said::Said,
    settle::{Fate, finish, settle},
    stage::{self, Tools},
    task::{self, Work},
    tenure::Tenure,
};

mod claiming;
mod post;

#[cfg(feature = "simulated")]
pub(crate) use self::claiming::Claiming;
pub(crate) use self::claiming::{Claimed, Mine};

/// Runs tasks.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) tools: Tools,
    pub(crate) claims: Claims,
    pub(crate) agents: Bucket<AgentRecord>,
    pub(crate) board: Board,
    pub(crate) journal: Journal,
    pub(crate) offered: Arc<Offered>,
    pub(crate) running: Running,
    pub(crate) seats: Seats,
    pub(crate) dir: AgentDir,
    pub(crate) process: ProcessId,
    pub(crate) gate: Gate,
    /// The terms on which provers that start from now on run.
    pub(crate) terms: watch::Receiver<BTreeMap<Activity, Terms>>,
    pub(crate) said: Said,
    /// For a job whose task has not come.
    pub(crate) ack_wait: Duration,
    pub(crate) stop: CancellationToken,
}

impl Run for Runner {
    type Left = Waiting;

    async fn run(&self, class: Class, delivery: Delivery, ack_wait: Duration) {
        let work = match task::read(class, &delivery) {
            Ok(work) => work,
            Err(reason) => {
                tracing::error!(subject = delivery.subject(), "a task that cannot be read is removed: {reason}");
                return settle(Some(Arc::new(delivery)), Fate::Term(&reason)).await;
            }
        };
        let Some(_pass) = self.gate.enter(delivery.subject()) else {
            return settle(Some(Arc::new(delivery)), Fate::Nak(None)).await;
        };
        let Some(pointer) = self.running.begin(delivery) else { return };
        let activity = match &work {
            Work::Sector(task) => task.stage.into(),
            Work::Partition(task) => Activity::of_post(task),
        };
        let seat = match self.seats.take(activity) {
            Ok(seat) => seat,
            Err(shortage) => return surplus(pointer, activity, &shortage).await,
        };
        match work {
            Work::Sector(task) => Box::pin(self.seal_task(task, pointer, ack_wait, seat)).await,
            Work::Partition(task) => {
                let share = Share { seat, left: None };
                Box::pin(self.post_task(class, *task, pointer, ack_wait, share)).await;
            }
        }
    }

    async fn go_on(&self, left: Waiting) {
        self.adopt(left, self.ack_wait).await;
    }
}

impl Runner {
    async fn seal_task(&self, task: Task, pointer: Pointer, ack_wait: Duration, seat: Seat) {
        let span = sector_span(&task);
        async {
            // A job that a killed agent of this host left comes before a new one.
            let left = self.left_for(pointer.subject()).await;
            let begun = left.as_ref().and_then(Adopted::claim);
            let claimed = self.claimed(&task, pointer.subject(), begun, ack_wait);
            let claimed = parting::within(&self.stop, claimed).await.unwrap_or(Err(Halt::Interrupted));
            match claimed {
                Ok(Claimed::Work(mine)) => {
                    let share = Share { seat, left };
                    Box::pin(self.work(task, pointer, *mine, share, ack_wait)).await;
                }
                Ok(Claimed::NoRecord) => {
                    tracing::warn!("the sector has no record: the task is dropped");
                    settle(pointer.close(), Fate::Ack).await;
                }
                Ok(Claimed::Old) => {
                    if let Some(left) = left {
                        left.end().await;
                    }
                    settle(pointer.close(), Fate::Ack).await;
                }
                Err(halt) => self.send_back(pointer, halt).await,
            }
        }
        .instrument(span)
        .await;
    }

    /// Does a stage that is claimed: in the directory of a job that was `left`, or in a new one.
    pub(crate) async fn work(&self, task: Task, mut pointer: Pointer, mine: Mine, share: Share, ack_wait: Duration) {
        let Mine { record, mut tenure } = mine;
        let Share { seat, left } = share;
        let left = match left {
            // Work for another ticket, in a folder that is not to hold it any more.
            Some(left) if left.claim().is_some_and(|claim| claim.generation != tenure.reference.generation) => {
                left.end().await;
                None
            }
            left => left,
        };
        tracing::Span::current().record("attempt", tenure.reference.attempt);
        let started_at = left.as_ref().map_or_else(now, |left| left.started_at);
        let what = Ordered::Sector { task: task.clone(), claim: tenure.reference };
        let order = Order { subject: pointer.subject().to_owned(), class: task.stage.class(), what };
        let (dir, ended) = match self.job_dir(&order, left, started_at, seat.settle(record.proof)) {
            Ok(dir) => {
                let work = async |at: AtWork<'_>| stage::run(&self.tools, &at, &task, &record).await;
                let work = Box::pin(self.at_work(&order, &dir, started_at, &seat, work));
                let ended = keep_alive::while_working(&mut pointer, Some(&mut tenure), ack_wait, work).await;
                (Some(dir), ended)
            }
            Err(halt) => (None, Err(halt)),
        };
        let outcome = match ended {
            Ok(facts) => Outcome::Done { facts },
            Err(Halt::Failed(failure)) => Outcome::Failed { failure },
            Err(halt) => {
                put_down(dir, &order);
                // First the claim: whoever gets the task next must find it free. What works on keeps it.
                if halt != Halt::Left {
                    parting::within(&self.stop, tenure.let_go(LetGo::Untried)).await;
                }
                return self.send_back(pointer, halt).await;
            }
        };
        if tenure.is_lost()
            && let Some(Err(error)) = parting::within(&self.stop, tenure.beat()).await
        {
            tracing::warn!("take the claim again: {:#}", anyhow::Error::from(error));
        }
        let ended_at = now();
        let failure = if let Outcome::Failed { failure } = &outcome { Some(failure) } else { None };
        log_end(failure, started_at, ended_at);
        let (agent, place) = (self.tools.agent.clone(), self.tools.place.clone());
        let (sector, stage, claim) = (task.sector, task.stage, tenure.reference);
        let failed = failure.is_some();
        let result = TaskResult { sector, stage, agent, place, claim, started_at, ended_at, outcome };
        let result = AnyResult::Task(Box::new(result));
        let stored = self.offer(dir, result, failed, &mut pointer, Some(&mut tenure), ack_wait).await;
        // First the task: a next try of this stage has the same subject, and is refused while this one is open.
        if parting::within(&self.stop, finish(&self.offered, pointer, stored)).await == Some(true) {
            parting::within(&self.stop, tenure.let_go(LetGo::WithResult)).await;
        }
    }

    /// Keeps a result, lets its directory go, and has the queue store it.
    pub(crate) async fn offer(
        &self,
        dir: Option<JobDir>,
        result: AnyResult,
        failed: bool,
        pointer: &mut Pointer,
        tenure: Option<&mut Tenure>,
        ack_wait: Duration,
    ) -> anyhow::Result<Delivered> {
        let id = dir.as_ref().map_or_else(Uuid::new_v4, JobDir::id);
        let kept = self.journal.keep(id, &result);
        if let (Ok(()), Some(dir)) = (&kept, dir) {
            clear(dir, failed);
        }
        let stored = self.journal.deliver(id, &result, kept, &self.stop);
        keep_alive::while_working(pointer, tenure, ack_wait, stored).await
    }

    /// The directory to work in. A job that runs already has its seat whether it fits or not.
    pub(crate) fn job_dir(
        &self,
        order: &Order,
        left: Option<Adopted>,
        started_at: Timestamp,
        seated: Result<(), Halt>,
    ) -> Result<JobDir, Halt> {
        if let Some(left) = left {
            return Ok(left.dir);
        }
        seated?;
        let (agent, process) = (self.tools.agent.clone(), self.process.clone());
        let owner = Owner { agent, process, what: order.shown(), attempt: order.attempt(), started_at };
        self.dir.new_job(Uuid::new_v4(), &owner, order).map_err(Halt::disk)
    }

    /// Does `work` in a job directory, on the board while it lasts.
    pub(crate) async fn at_work<T>(
        &self,
        order: &Order,
        dir: &JobDir,
        started_at: Timestamp,
        seat: &Seat,
        work: impl AsyncFnOnce(AtWork<'_>) -> Result<T, Halt>,
    ) -> Result<T, Halt> {
        let (what, attempt, phase) = (order.shown(), order.attempt(), "starts".to_owned());
        let posted = self.board.begin(dir.id(), JobNow::begun(what, attempt, started_at, phase));
        let activity = Activity::of(order);
        let terms = self.terms.borrow().get(&activity).cloned();
        let terms = &terms.ok_or_else(|| Halt::back(BUSY_DELAY, format!("{activity} has no terms")))?;
        let (gate, subject, stop) = (&self.gate, order.subject.as_str(), &self.stop);
        let leaves = self.tools.prover.leaves && order.outlives_its_agent();
        let done = work(AtWork { dir, posted: &posted, terms, seat, started_at, stop, leaves, gate, subject }).await;
        if done.is_ok() {
            seat.took(now().ms_since(started_at));
        }
        done
    }

    /// Gives a task back that was not done, by nobody's failure. The reason is said once, not with each return.
    pub(crate) async fn send_back(&self, pointer: Pointer, halt: Halt) {
        let delay = match halt {
            Halt::Back { after, reason } => {
                if self.said.is_new(pointer.subject(), &reason) {
                    tracing::info!("back to the queue: {reason}");
                }
                Some(after)
            }
            Halt::Left => {
                pointer.close();
                return;
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
        parting::within(&self.stop, settle(pointer.close(), Fate::Nak(delay))).await;
    }
}

/// What a job begins with: its seat, and what an earlier run left of it.
pub(crate) struct Share {
    pub(crate) seat: Seat,
    pub(crate) left: Option<Adopted>,
}

/// Something else got what this would take: back at once, to whoever has it. Where one consumer brings several kinds of
/// work, the next request might bring the same again.
async fn surplus(pointer: Pointer, activity: Activity, shortage: &Shortage) {
    tracing::debug!(subject = pointer.subject(), "surplus, back to the queue: {activity} {shortage}");
    let delay = (activity.class() == Class::Io).then_some(BUSY_DELAY);
    settle(pointer.close(), Fate::Nak(delay)).await;
}

pub(crate) fn sector_span(task: &Task) -> tracing::Span {
    tracing::info_span!("task", sector = %task.sector, stage = %task.stage, attempt = tracing::field::Empty)
}

/// A job that came to no end: what its prover does or has done is left to whoever takes it over.
pub(crate) fn put_down(dir: Option<JobDir>, order: &Order) {
    let Some(dir) = dir else { return };
    if order.outlives_its_agent() && !matches!(job_dir::left(dir.path()), Ok(Left::Nothing)) {
        tracing::info!(job = %dir.path().display(), "its prover is left for whoever takes the job over");
        return;
    }
    clear(dir, false);
}

/// A failed job's directory is kept for a person.
fn clear(dir: JobDir, failed: bool) {
    let path = dir.path().to_owned();
    let cleared = if failed { dir.keep_failed() } else { dir.remove() };
    if let Err(error) = cleared {
        tracing::warn!(job = %path.display(), "clear the job directory: {error}");
    }
    host::failpoint!("agent.job_dir.cleared");
}

pub(crate) fn log_end(failure: Option<&Failure>, started_at: Timestamp, ended_at: Timestamp) {
    let ms = ended_at.ms_since(started_at);
    match failure {
        None => tracing::info!(ms, "done"),
        Some(failure) => tracing::warn!(ms, code = failure.code, "failed: {}", failure.message),
    }
}
