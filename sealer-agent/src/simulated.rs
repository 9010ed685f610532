//! An agent that decides as the real one does, with hands of the simulator's: whether a task is due, the claim, the
//! keep-alive, the lock, and the order of result, acknowledgement and claim are the agent's own; files, children and
//! the journal are [`Hands`]. Only behind the feature `simulated`.

use std::{cell::RefCell, sync::Arc, time::Duration};

use async_trait::async_trait;
use host::{clock::Clock, tasks::Tasks};
use streams::{
    call::AskError,
    control::TicketRequest,
    id::{AgentId, Incarnation, Place},
    kv::{Bucket, BucketName},
    layout::ensure_class,
    message::{ClaimRef, Facts, Failure, Outcome, PostOutcome, PostResult, PostTask, Task, TaskResult},
    nats::Nats,
    pull::{Delivery, Puller},
    records::SectorLock,
    sector::{SectorRecord, SectorState},
    stage::{Class, Stage},
    subject::Whither,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    claim::{Claimant, Claims, Held, LetGo, Life, Taken},
    halt::{BUSY_DELAY, Halt},
    intake::{self, Run, Sources},
    keep_alive,
    now::now,
    request::{self, Due},
    runner::{Fate, let_go, read_post_task, read_task, settle},
};

thread_local! {
    static CLOCK: RefCell<Option<Arc<dyn Clock>>> = const { RefCell::new(None) };
}

/// What time it is for every agent of this thread from now on.
pub fn set_clock(clock: Arc<dyn Clock>) {
    CLOCK.set(Some(clock));
}

pub(crate) fn clock() -> Option<Arc<dyn Clock>> {
    CLOCK.with_borrow(Clone::clone)
}

/// Why hands did not do a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It failed: a fact for the coordinator.
    Failed(Failure),
    /// Not the sector's fault: the task goes back.
    Back(Duration, String),
}

impl From<Stopped> for Halt {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Failed(failure) => Self::Failed(failure),
            Stopped::Back(after, reason) => Self::Back { after, reason },
        }
    }
}

/// A result of either kind.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyResult {
    /// Of sealing.
    Task(Box<TaskResult>),
    /// Of a window PoSt.
    Post(Box<PostResult>),
}

/// What does the work: disks and children.
#[async_trait]
pub trait Hands: Send + Sync + 'static {
    /// Does a stage of a sector.
    async fn seal(&self, stage: Stage, record: &SectorRecord, claim: ClaimRef) -> Result<Facts, Stopped>;
    /// Does half of a window PoSt.
    async fn post(&self, task: &PostTask) -> Result<PostOutcome, Stopped>;
    /// Locks the sector's folder on this place's disk; false when another process has it.
    fn lock(&self, record: &SectorRecord) -> bool;
    /// Unlocks it.
    fn unlock(&self, record: &SectorRecord);
    /// Keeps a result until the queue has it; it survives this process.
    fn keep(&self, result: &AnyResult) -> u64;
    /// The queue has it.
    fn forget(&self, kept: u64);
    /// What an earlier run left.
    fn kept(&self) -> Vec<(u64, AnyResult)>;
}

/// One run of one agent.
pub struct Agent {
    nats: Nats,
    agent: AgentId,
    place: Place,
    claims: Claims,
    sectors: Bucket<SectorRecord>,
    locks: Bucket<SectorLock>,
    hands: Arc<dyn Hands>,
    stop: CancellationToken,
}

/// Who it is and what it serves.
pub struct Simulated {
    /// Its queue.
    pub nats: Nats,
    /// Its name.
    pub agent: AgentId,
    /// Its place.
    pub place: Place,
    /// This run of it.
    pub run: Uuid,
    /// Its classes, with their slots.
    pub classes: Vec<(Class, usize)>,
    /// How long a task may be silent.
    pub ack_wait: Duration,
    /// What does its work.
    pub hands: Arc<dyn Hands>,
}

/// Starts an agent's tasks.
pub async fn start(simulated: Simulated, tasks: &Tasks) -> anyhow::Result<()> {
    let Simulated { nats, agent, place, run, classes, ack_wait, hands } = simulated;
    let me = Claimant { agent: agent.clone(), run };
    let runner = Arc::new(Agent {
        claims: Claims::new(Bucket::open(&nats, BucketName::Claims).await?, me),
        sectors: Bucket::open(&nats, BucketName::Sectors).await?,
        locks: Bucket::open(&nats, BucketName::Locks).await?,
        nats: nats.clone(),
        agent,
        place: place.clone(),
        hands,
        stop: tasks.token(),
    });
    let left = Arc::clone(&runner);
    tasks.spawn_once("results of an earlier run", async move {
        for (kept, result) in left.hands.kept() {
            left.publish(&result).await;
            left.hands.forget(kept);
        }
        Ok(())
    });
    for (class, slots) in classes {
        let mut pullers = Vec::new();
        for whither in whithers(class, &place) {
            ensure_class(&nats, class, &whither, ack_wait).await?;
            pullers.push(Puller::open(&nats, class, &whither).await?);
        }
        for slot in 1..=slots {
            let sources = Sources { class, pullers: pullers.clone() };
            tasks.spawn(format!("{class} slot {slot}"), intake::serve(sources, Arc::clone(&runner), tasks.token()));
        }
    }
    Ok(())
}

fn whithers(class: Class, place: &Place) -> Vec<Whither> {
    let bound = class.has_bound_tasks().then(|| Whither::At(place.clone()));
    bound.into_iter().chain(class.has_free_tasks().then_some(Whither::Any)).collect()
}

impl Run for Agent {
    async fn run(&self, class: Class, delivery: Delivery, ack_wait: Duration) {
        let read = if class.is_post() {
            match read_post_task(&delivery) {
                Ok(task) => {
                    Box::pin(self.post(&delivery, &task, ack_wait)).await;
                    Ok(())
                }
                Err(reason) => Err(reason),
            }
        } else {
            match read_task(&delivery) {
                Ok(task) => {
                    Box::pin(self.seal(&delivery, &task, ack_wait)).await;
                    Ok(())
                }
                Err(reason) => Err(reason),
            }
        };
        if let Err(reason) = read {
            settle(&delivery, Fate::Term(&reason)).await;
        }
    }
}

impl Agent {
    async fn seal(&self, delivery: &Delivery, task: &Task, ack_wait: Duration) {
        match self.claimed(task, ack_wait).await {
            Ok(Some((record, held))) => Box::pin(self.work(delivery, task, record, held, ack_wait)).await,
            Ok(None) => settle(delivery, Fate::Ack).await,
            Err(halt) => send_back(delivery, halt).await,
        }
    }

    async fn claimed(&self, task: &Task, ack_wait: Duration) -> Result<Option<(SectorRecord, Held)>, Halt> {
        let Some(record) = self.due(task).await? else { return Ok(None) };
        let generation = record.state.placement().map_or(0, |at| at.generation);
        let life = Life { generation, incarnation: record.incarnation };
        let held = match self.claims.take(task.sector, task.stage, life, ack_wait).await? {
            Taken::Mine(held) => *held,
            Taken::Busy { holder } => return Err(Halt::back(BUSY_DELAY, format!("agent {holder} is at work on it"))),
        };
        match self.due(task).await {
            Ok(Some(record)) => Ok(Some((record, held))),
            Ok(None) => {
                let_go(held, LetGo::Untried).await;
                Ok(None)
            }
            Err(halt) => {
                let_go(held, LetGo::Untried).await;
                Err(halt)
            }
        }
    }

    async fn due(&self, task: &Task) -> Result<Option<SectorRecord>, Halt> {
        let Some(entry) = self.sectors.get(&task.sector.key()).await? else { return Ok(None) };
        match request::due(task.stage, &entry.value, &self.place) {
            Due::Now => Ok(Some(entry.value)),
            Due::NotYet => Err(Halt::back(BUSY_DELAY, "the record is not yet ready for this stage")),
            Due::MovedOn => Ok(None),
        }
    }

    async fn work(&self, delivery: &Delivery, task: &Task, record: SectorRecord, mut held: Held, ack_wait: Duration) {
        let (claim, started_at) = (held.reference(), now());
        let work = self.do_stage(task.stage, &record, claim);
        let ended = keep_alive::while_working(delivery, Some(&mut held), ack_wait, work).await;
        let outcome = match ended {
            Ok(facts) => Outcome::Done { facts },
            Err(Halt::Failed(failure)) => Outcome::Failed { failure },
            Err(halt) => {
                let_go(held, LetGo::Untried).await;
                return send_back(delivery, halt).await;
            }
        };
        let (agent, place, ended_at) = (self.agent.clone(), self.place.clone(), now());
        let (sector, stage) = (task.sector, task.stage);
        let result = TaskResult { sector, stage, agent, place, claim, started_at, ended_at, outcome };
        let stored = self.deliver(AnyResult::Task(Box::new(result)));
        keep_alive::while_working(delivery, Some(&mut held), ack_wait, stored).await;
        settle(delivery, Fate::Ack).await;
        let_go(held, LetGo::WithResult).await;
    }

    async fn do_stage(&self, stage: Stage, record: &SectorRecord, claim: ClaimRef) -> Result<Facts, Halt> {
        if !stage.writes_in_place() && stage != Stage::Persist {
            return Ok(self.hands.seal(stage, record, claim).await?);
        }
        if !self.hands.lock(record) {
            return Err(Halt::back(BUSY_DELAY, "another process has the sector's folder"));
        }
        let unlocks = Unlocks { hands: self.hands.as_ref(), record };
        let (key, revision) = self.tell_lock(record).await?;
        let done = self.in_place(stage, record, claim).await;
        drop(unlocks);
        // Whoever holds it next replaces it.
        drop(self.locks.delete_if(&key, revision).await);
        done
    }

    async fn tell_lock(&self, record: &SectorRecord) -> Result<(String, u64), Halt> {
        let generation = record.state.placement().map_or(0, |at| at.generation);
        let (place, agent, incarnation): (Place, AgentId, Incarnation) =
            (self.place.clone(), self.agent.clone(), record.incarnation);
        let lock = SectorLock { place, agent, generation, incarnation };
        let key = record.id.key();
        let revision = match self.locks.get(&key).await? {
            Some(entry) => self.locks.update(&key, &lock, entry.revision).await?,
            None => self.locks.create(&key, &lock).await?,
        };
        Ok((key, revision))
    }

    async fn in_place(&self, stage: Stage, record: &SectorRecord, claim: ClaimRef) -> Result<Facts, Halt> {
        if stage != Stage::Pc1 {
            return Ok(self.hands.seal(stage, record, claim).await?);
        }
        let request = TicketRequest { sector: record.id, agent: self.agent.clone() };
        let drawn = self.nats.ask(&request, Duration::from_secs(30)).await.map_err(|error| match error {
            AskError::Queue(error) => error.into(),
            other => Halt::back(Duration::from_secs(5), format!("ask for a ticket: {other}")),
        })?;
        match self.sectors.get(&record.id.key()).await?.map(|entry| entry.value) {
            Some(again) if matches!(&again.state, SectorState::Ticketed { ticket, .. } if *ticket == drawn) => {
                Ok(self.hands.seal(stage, &again, claim).await?)
            }
            _ => Err(Halt::back(BUSY_DELAY, "the record has no such ticket")),
        }
    }

    async fn post(&self, delivery: &Delivery, task: &PostTask, ack_wait: Duration) {
        let started_at = now();
        let work = async { Ok::<_, Halt>(self.hands.post(task).await?) };
        let outcome = match keep_alive::while_working(delivery, None, ack_wait, work).await {
            Ok(outcome) => outcome,
            Err(Halt::Failed(failure)) => PostOutcome::Failed { failure },
            Err(halt) => return send_back(delivery, halt).await,
        };
        let &PostTask { miner, open, partition, attempt, .. } = task;
        let (agent, place, ended_at) = (self.agent.clone(), self.place.clone(), now());
        let result = PostResult { miner, open, partition, attempt, agent, place, started_at, ended_at, outcome };
        let stored = self.deliver(AnyResult::Post(Box::new(result)));
        keep_alive::while_working(delivery, None, ack_wait, stored).await;
        settle(delivery, Fate::Ack).await;
    }

    async fn deliver(&self, result: AnyResult) {
        let kept = self.hands.keep(&result);
        self.publish(&result).await;
        self.hands.forget(kept);
    }

    /// Stores a result in the queue, however long that takes.
    async fn publish(&self, result: &AnyResult) {
        while !self.stop.is_cancelled() {
            let stored = match result {
                AnyResult::Task(result) => self.nats.publish_result(result).await,
                AnyResult::Post(result) => self.nats.publish_post_result(result).await,
            };
            if stored.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
}

/// Killed or done, the folder's lock goes with its holder.
struct Unlocks<'a> {
    hands: &'a dyn Hands,
    record: &'a SectorRecord,
}

impl Drop for Unlocks<'_> {
    fn drop(&mut self) {
        self.hands.unlock(self.record);
    }
}

async fn send_back(delivery: &Delivery, halt: Halt) {
    let delay = match halt {
        Halt::Back { after, .. } => Some(after),
        Halt::Interrupted => None,
        Halt::Failed(_) => Some(BUSY_DELAY),
    };
    settle(delivery, Fate::Nak(delay)).await;
}
