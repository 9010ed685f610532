//! What a person said about taking work, kept in this agent's folder.
//!
//! `duty.json` is the truth, and it lies beside the agent: it must hold after a restart, with the coordinator away, and
//! with NATS away. Whoever commands writes it: a command on this machine directly, one from elsewhere through
//! `ctl.agent.<agent>.duty`. The agent obeys it, and writes `duty-done.json` once it holds.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use host::durable;
use serde::{Deserialize, Serialize};
use streams::{
    duty::{Duty, DutyRequest, DutyTaken, binds},
    error::QueueError,
    id::{AgentId, Place, Timestamp},
    kv::{Bucket, Scanned},
    message::{Text, decode, encode},
    records::AgentRecord,
    sector::SectorRecord,
    stage::Class,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{blocking::blocking, board::Board, gate::Gate, halt::Halt, job_dir::AgentDir, now::now};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often a draining agent looks whether it is done.
const COUNT_EVERY: Duration = Duration::from_secs(2);
/// How long a command from elsewhere waits until what it says holds.
const HOLDS_WITHIN: Duration = Duration::from_secs(10);

/// `duty.json`: what was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    /// Another for every command.
    pub(crate) id: Uuid,
    pub(crate) duty: Duty,
    pub(crate) at: Timestamp,
    /// Who said it, for people.
    pub(crate) by: String,
}

impl Text for Said {
    const KIND: &'static str = "agent-duty";
    const VERSION: u64 = 1;
}

/// `duty-done.json`: what holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Done {
    /// That of the command.
    pub(crate) id: Uuid,
    pub(crate) before: Duty,
    pub(crate) duty: Duty,
    pub(crate) place: Place,
    /// Jobs at hand then.
    pub(crate) jobs: u64,
    pub(crate) at: Timestamp,
}

impl Text for Done {
    const KIND: &'static str = "agent-duty-done";
    const VERSION: u64 = 1;
}

impl Said {
    pub(crate) fn now(duty: Duty, by: impl Into<String>) -> Self {
        Self { id: Uuid::new_v4(), duty, at: now(), by: by.into() }
    }

    pub(crate) fn write(&self, dir: &AgentDir) -> io::Result<()> {
        durable::write(&dir.duty(), &encode(self).map_err(io::Error::other)?)?;
        host::failpoint!("agent.duty.said");
        Ok(())
    }

    pub(crate) fn read(dir: &AgentDir) -> io::Result<Option<Self>> {
        read(dir.duty())
    }
}

impl Done {
    pub(crate) fn read(dir: &AgentDir) -> io::Result<Option<Self>> {
        read(dir.duty_done())
    }
}

fn read<T: Text>(path: PathBuf) -> io::Result<Option<T>> {
    let Some(bytes) = durable::read(&path)? else { return Ok(None) };
    decode(&bytes).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Has the agent do what was said.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    pub(crate) dir: AgentDir,
    pub(crate) agent: AgentId,
    pub(crate) place: Place,
    pub(crate) gate: Gate,
    pub(crate) board: Board,
    pub(crate) sectors: Bucket<SectorRecord>,
    pub(crate) agents: Bucket<AgentRecord>,
    pub(crate) done: Arc<watch::Sender<Option<Done>>>,
    pub(crate) nudge: Arc<Notify>,
}

impl Keeper {
    /// What was said to an earlier run holds for this one from its first moment.
    pub(crate) fn restore(dir: &AgentDir, gate: &Gate) -> anyhow::Result<()> {
        let Some(said) = Said::read(dir)? else { return Ok(()) };
        gate.restore(said.duty);
        if !said.duty.is_serving() {
            tracing::warn!(duty = said.duty.name(), by = said.by, "as it was told before: `resume` has it serve again");
        }
        Ok(())
    }

    /// Obeys until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut known = None;
        let mut counted = tokio::time::Instant::now();
        loop {
            match self.read().await {
                Ok(Some(said)) if known != Some(said.id) => {
                    known = Some(said.id);
                    self.obey(&said, &stop).await;
                }
                Ok(_) => {}
                Err(error) => tracing::error!("read what this agent was told: {error}"),
            }
            if let Duty::Draining { until } = self.gate.duty()
                && counted.elapsed() >= COUNT_EVERY
            {
                counted = tokio::time::Instant::now();
                self.end_drain(until, &stop).await;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.nudge.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// A command from elsewhere: said, obeyed, and answered once it holds.
    pub(crate) async fn command(&self, request: DutyRequest) -> Result<DutyTaken, (String, Option<String>)> {
        let plain = |message: String| (message, None);
        if let Duty::Drained { .. } = request.duty {
            return Err(plain("an agent finds by itself that it is drained: ask it to drain".to_owned()));
        }
        let said = Said::now(request.duty, request.by);
        let (dir, kept) = (self.dir.clone(), said.clone());
        let written = tokio::task::spawn_blocking(move || kept.write(&dir)).await.map_err(io::Error::other).flatten();
        written.map_err(|error| plain(format!("keep what was said: {error}")))?;
        let mut done = self.done.subscribe();
        self.nudge.notify_one();
        let holds = done.wait_for(|done| done.as_ref().is_some_and(|done| done.id == said.id));
        match tokio::time::timeout(HOLDS_WITHIN, holds).await {
            Ok(Ok(found)) => {
                let Some(Done { before, duty, jobs, .. }) = found.clone() else {
                    return Err(plain("no answer".into()));
                };
                Ok(DutyTaken { agent: self.agent.clone(), before, now: duty, jobs })
            }
            Ok(Err(_)) => Err(plain("the agent stops".to_owned())),
            Err(_) => {
                let words = format!("it is said, and does not hold yet: {} still starts", self.gate.late().join(", "));
                Err((words, Some("`coordinator agents list` shows when it does".to_owned())))
            }
        }
    }

    async fn read(&self) -> io::Result<Option<Said>> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || Said::read(&dir)).await.map_err(io::Error::other)?
    }

    /// Does as was said, and notes when it holds; unless something else is said meanwhile.
    async fn obey(&self, said: &Said, stop: &CancellationToken) {
        let before = self.gate.set_duty(said.duty);
        if before != said.duty {
            tracing::info!(duty = said.duty.name(), before = before.name(), by = said.by, "told what to do about work");
        }
        let settled = self.gate.settle();
        tokio::pin!(settled);
        loop {
            tokio::select! {
                biased;
                () = &mut settled => break,
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if !matches!(self.read().await, Ok(Some(again)) if again.id == said.id) {
                return;
            }
        }
        host::failpoint!("agent.duty.holds");
        let jobs = u64::try_from(self.board.jobs().len()).unwrap_or(u64::MAX);
        let done = Done { id: said.id, before, duty: said.duty, place: self.place.clone(), jobs, at: now() };
        let (path, bytes) = (self.dir.duty_done(), encode(&done));
        let written = blocking(move || {
            let bytes = bytes.map_err(|error| Halt::disk(error.into()))?;
            durable::write(&path, &bytes).map_err(|error| Halt::disk(error.into()))
        });
        if let Err(halt) = written.await {
            tracing::error!("note that it holds: {halt:?}");
        }
        self.done.send_replace(Some(done));
        self.board.nudge();
    }

    /// A drain that is over: nothing is started any more.
    async fn end_drain(&self, until: Timestamp, stop: &CancellationToken) {
        let why = tokio::select! {
            why = self.over(until) => why,
            () = stop.cancelled() => return,
        };
        let why = match why {
            Ok(Some(why)) => why,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!("look what is bound here: {:#}", anyhow::Error::from(error));
                return;
            }
        };
        tracing::info!("drained: {why}");
        let said = Said::now(Duty::Drained { at: now() }, format!("the agent: {why}"));
        let dir = self.dir.clone();
        let written = tokio::task::spawn_blocking(move || said.write(&dir)).await.map_err(io::Error::other).flatten();
        if let Err(error) = written {
            tracing::error!("keep that it is drained: {error}");
        }
        self.nudge.notify_one();
    }

    /// Why nothing more is to be started here; none while something is.
    async fn over(&self, until: Timestamp) -> Result<Option<String>, QueueError> {
        if now() >= until {
            return Ok(Some("its time is over".to_owned()));
        }
        let mine: Vec<Class> = self.gate.slots().into_keys().filter(|class| class.has_bound_tasks()).collect();
        if mine.is_empty() {
            return Ok(Some("none of its classes has work that is bound to a place".to_owned()));
        }
        let agents = self.agents.entries(">").await?;
        let heir = agents.iter().map(|entry| &entry.value).find(|other| self.inherits(other, &mine));
        if let Some(heir) = heir {
            return Ok(Some(format!("agent {} goes on with what is bound to {}", heir.agent, self.place)));
        }
        let mut sectors = self.sectors.each(">").await?;
        while let Some(scanned) = sectors.next().await? {
            match scanned {
                Scanned::Entry(entry) if binds(&entry.value.state, &self.place) => return Ok(None),
                // What cannot be read may be bound here: time decides.
                Scanned::Unreadable { .. } => return Ok(None),
                Scanned::Entry(_) => {}
            }
        }
        Ok(Some(format!("no sector is bound to {}", self.place)))
    }

    /// Whether another agent of this place does all bound work that this one does.
    fn inherits(&self, other: &AgentRecord, mine: &[Class]) -> bool {
        other.agent != self.agent
            && other.place == self.place
            && other.duty.takes(true)
            && !matches!(other.duty, Duty::Draining { .. })
            && mine.iter().all(|class| other.classes.iter().any(|slots| slots.class == *class && slots.slots > 0))
    }
}
