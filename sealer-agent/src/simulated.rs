//! An agent that decides as the real one does, with hands of the simulator's: whether a task is due, the claim, the
//! keep-alive, the journal and the order of result, acknowledgement and claim are the agent's own; the sector's files and
//! children are [`Hands`]. Only behind the feature `simulated`.

use std::{
    cell::RefCell,
    convert::Infallible,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use host::{clock::Clock, tasks::Tasks};
use streams::{
    call::AskError,
    control::TicketRequest,
    id::{AgentId, Incarnation, Place},
    kv::{Bucket, BucketName},
    message::{ClaimRef, Facts, Failure, Outcome, PostOutcome, PostResult, PostTask, Task, TaskResult},
    nats::Nats,
    pull::Delivery,
    records::{AgentRecord, SectorLock},
    sector::{SectorRecord, SectorState},
    stage::{Class, Stage},
    subject::Whither,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    board::Board,
    claim::{Claimant, Claims, LetGo},
    courier::Courier,
    gate::{Gate, Slot},
    halt::{BUSY_DELAY, Halt},
    heartbeat::Heartbeat,
    intake::{self, Consumer, Door, Run, Sources},
    journal::{AnyResult, Delivered, Journal},
    keep_alive, layout_watch,
    machine::seats::Seats,
    now::now,
    offered::Offered,
    queue,
    runner::{Claimed, Claiming, Mine},
    running::{Pointer, Running},
    said::Said,
    settle::{Fate, finish, settle},
    store::Stores,
    task::{self, Work},
    tenure::Tenure,
};

/// How often an agent says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often it looks whether the queue is laid out.
const LAYOUT_LOOK: Duration = Duration::from_secs(30);
/// How long work at hand may go on after the order to stop.
const PATIENCE: Duration = Duration::from_secs(15);
/// For an agent that serves nothing.
const ACK_WAIT: Duration = Duration::from_secs(60);

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
}

/// One run of one agent.
struct Agent {
    nats: Nats,
    agent: AgentId,
    place: Place,
    run: Uuid,
    jobs: AtomicU64,
    claims: Claims,
    agents: Bucket<AgentRecord>,
    sectors: Bucket<SectorRecord>,
    locks: Bucket<SectorLock>,
    journal: Journal,
    offered: Arc<Offered>,
    running: Running,
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
    pub classes: Vec<(Class, u32)>,
    /// Its folder, which outlives it: the journal is there.
    pub home: PathBuf,
    /// What does its work.
    pub hands: Arc<dyn Hands>,
}

/// Starts an agent's tasks.
pub async fn start(simulated: Simulated, tasks: &Tasks) -> anyhow::Result<()> {
    let Simulated { nats, agent, place, run, classes, home, hands } = simulated;
    let stop = tasks.token();
    let mut sources = Vec::new();
    for (class, slots) in &classes {
        let mut pullers = Vec::new();
        for source in queue::consumers(*class, &place) {
            let bound = matches!(source.whither, Whither::At(_));
            pullers.push(Consumer { puller: queue::open_consumer(&nats, &source).await?, bound });
        }
        sources.push((Sources { class: *class, pullers }, *slots));
    }
    let ack_wait = sources
        .iter()
        .flat_map(|(sources, _)| &sources.pullers)
        .next()
        .map_or(ACK_WAIT, |consumer| consumer.puller.ack_wait());
    host::durable::create_dir_all(&home)?;
    let sectors: Bucket<SectorRecord> = Bucket::open(&nats, BucketName::Sectors).await?;
    let me = Claimant { agent: agent.clone(), run };
    let runner = Arc::new(Agent {
        claims: Claims::new(Bucket::open(&nats, BucketName::Claims).await?, me),
        agents: Bucket::open(&nats, BucketName::Agents).await?,
        locks: Bucket::open(&nats, BucketName::Locks).await?,
        journal: Journal::open(home, nats.clone(), sectors.clone())?,
        nats: nats.clone(),
        agent,
        place: place.clone(),
        run,
        jobs: AtomicU64::new(0),
        sectors,
        offered: Arc::default(),
        running: Running::default(),
        hands,
        stop: stop.clone(),
    });
    let courier = Courier {
        journal: runner.journal.clone(),
        claims: runner.claims.clone(),
        sectors: runner.sectors.clone(),
        place: place.clone(),
        offered: Arc::clone(&runner.offered),
        stale_after: ack_wait,
        said: Said::default(),
    };
    let consumers = classes.iter().flat_map(|(class, _)| queue::consumers(*class, &place)).collect();
    let gate = Gate::new(classes.iter().copied().collect());
    tasks.spawn("heartbeat", heartbeat(&runner, gate.clone()).await?.run(stop.clone()));
    tasks.spawn("courier", courier.run(stop.clone()));
    tasks.spawn("layout watch", layout_watch::run(nats, consumers, LAYOUT_LOOK, stop.clone()));
    let seats = Seats::unlimited();
    for (sources, slots) in sources {
        for slot in 1..=slots {
            let name = format!("{} slot {slot}", sources.class);
            let door = Door { slot: Slot { gate: gate.clone(), class: sources.class, slot }, seats: seats.clone() };
            let (runner, stop) = (Arc::clone(&runner), stop.clone());
            tasks.spawn(name, intake::serve(sources.clone(), door, runner, None, stop, PATIENCE));
        }
    }
    Ok(())
}

async fn heartbeat(runner: &Agent, gate: Gate) -> anyhow::Result<Heartbeat> {
    let who = AgentRecord {
        agent: runner.agent.clone(),
        place: runner.place.clone(),
        host: runner.place.to_string(),
        pid: 1,
        run: runner.run,
        version: "simulated".to_owned(),
        started_at: now(),
        at: now(),
        classes: Vec::new(),
        jobs: Vec::new(),
        duty: gate.held(),
    };
    Ok(Heartbeat {
        agents: runner.agents.clone(),
        stores_bucket: Bucket::open(&runner.nats, BucketName::Stores).await?,
        who,
        gate,
        stores: Stores::default(),
        board: Board::new(),
        every: HEARTBEAT,
    })
}

impl Run for Agent {
    /// Children are killed with their agent: nothing is left of their work.
    type Left = Infallible;

    async fn run(&self, class: Class, delivery: Delivery, ack_wait: Duration) {
        let work = match task::read(class, &delivery) {
            Ok(work) => work,
            Err(reason) => return settle(Some(Arc::new(delivery)), Fate::Term(&reason)).await,
        };
        let Some(pointer) = self.running.begin(delivery) else { return };
        match work {
            Work::Sector(task) => Box::pin(self.seal(task, pointer, ack_wait)).await,
            Work::Partition(task) => Box::pin(self.post(*task, pointer, ack_wait)).await,
        }
    }

    async fn go_on(&self, left: Infallible) {
        match left {}
    }
}

impl Agent {
    async fn seal(&self, task: Task, pointer: Pointer, ack_wait: Duration) {
        let claiming = Claiming {
            claims: &self.claims,
            sectors: &self.sectors,
            agents: &self.agents,
            agent: &self.agent,
            place: &self.place,
            journal: &self.journal,
            offered: &self.offered,
        };
        match claiming.claimed(&task, pointer.subject(), None, ack_wait).await {
            Ok(Claimed::Work(mine)) => Box::pin(self.work(task, pointer, *mine, ack_wait)).await,
            Ok(Claimed::NoRecord | Claimed::Old) => settle(pointer.close(), Fate::Ack).await,
            Err(halt) => send_back(pointer, halt).await,
        }
    }

    async fn work(&self, task: Task, mut pointer: Pointer, mine: Mine, ack_wait: Duration) {
        let Mine { record, mut tenure } = mine;
        let started_at = now();
        let work = self.do_stage(task.stage, &record, tenure.reference);
        let ended = keep_alive::while_working(&mut pointer, Some(&mut tenure), ack_wait, work).await;
        let outcome = match ended {
            Ok(facts) => Outcome::Done { facts },
            Err(Halt::Failed(failure)) => Outcome::Failed { failure },
            Err(halt) => {
                tenure.let_go(LetGo::Untried).await;
                return send_back(pointer, halt).await;
            }
        };
        if tenure.is_lost() {
            drop(tenure.beat().await);
        }
        let (agent, place, ended_at) = (self.agent.clone(), self.place.clone(), now());
        let (sector, stage, claim) = (task.sector, task.stage, tenure.reference);
        let result = TaskResult { sector, stage, agent, place, claim, started_at, ended_at, outcome };
        let result = AnyResult::Task(Box::new(result));
        let stored = self.offer(&result, &mut pointer, Some(&mut tenure), ack_wait).await;
        if finish(&self.offered, pointer, stored).await {
            tenure.let_go(LetGo::WithResult).await;
        }
    }

    async fn offer(
        &self,
        result: &AnyResult,
        pointer: &mut Pointer,
        tenure: Option<&mut Tenure>,
        ack_wait: Duration,
    ) -> anyhow::Result<Delivered> {
        // By number and not at random: one seed is one run.
        let job = u128::from(self.jobs.fetch_add(1, Ordering::Relaxed));
        let id = Uuid::from_u128(self.run.as_u128().wrapping_add(job << 16));
        let kept = self.journal.keep(id, result);
        let stored = self.journal.deliver(id, result, kept, &self.stop);
        keep_alive::while_working(pointer, tenure, ack_wait, stored).await
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
            Some(again) if matches!(again.state.of_files(), SectorState::Ticketed { ticket, .. } if *ticket == drawn) => {
                Ok(self.hands.seal(stage, &again, claim).await?)
            }
            _ => Err(Halt::back(BUSY_DELAY, "the record has no such ticket")),
        }
    }

    async fn post(&self, task: PostTask, mut pointer: Pointer, ack_wait: Duration) {
        if self.offered.was_offered(pointer.subject()) {
            return settle(pointer.close(), Fate::Ack).await;
        }
        let started_at = now();
        let work = async { Ok::<_, Halt>(self.hands.post(&task).await?) };
        let outcome = match keep_alive::while_working(&mut pointer, None, ack_wait, work).await {
            Ok(outcome) => outcome,
            Err(Halt::Failed(failure)) => PostOutcome::Failed { failure },
            Err(halt) => return send_back(pointer, halt).await,
        };
        let PostTask { miner, open, partition, attempt, .. } = task;
        let (agent, place, ended_at) = (self.agent.clone(), self.place.clone(), now());
        let result = PostResult { miner, open, partition, attempt, agent, place, started_at, ended_at, outcome };
        let stored = self.offer(&AnyResult::Post(Box::new(result)), &mut pointer, None, ack_wait).await;
        finish(&self.offered, pointer, stored).await;
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

async fn send_back(pointer: Pointer, halt: Halt) {
    let delay = match halt {
        Halt::Back { after, .. } => Some(after),
        Halt::Interrupted | Halt::Left => None,
        Halt::Failed(_) => Some(BUSY_DELAY),
    };
    settle(pointer.close(), Fate::Nak(delay)).await;
}
