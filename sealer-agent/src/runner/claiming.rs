//! Whether a task is to be done now, by this agent: its record says whether, its claim by whom.

use std::time::Duration;

use streams::{
    id::{AgentId, Place},
    kv::Bucket,
    message::{ClaimRef, Task},
    records::AgentRecord,
    sector::SectorRecord,
};

use super::Runner;
use crate::{
    claim::{Claims, LetGo, Taken},
    halt::{BUSY_DELAY, Halt},
    journal::Journal,
    now::{instant, now},
    offered::Offered,
    request::{self, Due, Elsewhere},
    tenure::{self, Tenure},
};

/// What a look at the record, and at its claim, came to.
pub(crate) enum Claimed {
    /// The stage is ours.
    Work(Box<Mine>),
    /// The record is past it.
    Old,
    /// There is no record.
    NoRecord,
}

/// A stage that is ours to do.
pub(crate) struct Mine {
    pub(crate) record: SectorRecord,
    pub(crate) tenure: Tenure,
}

/// What the record says about a task.
enum Seen {
    Due(Box<SectorRecord>),
    Old,
    NoRecord,
}

/// What is looked at before a stage is claimed.
pub(crate) struct Claiming<'a> {
    pub(crate) claims: &'a Claims,
    pub(crate) sectors: &'a Bucket<SectorRecord>,
    pub(crate) agents: &'a Bucket<AgentRecord>,
    pub(crate) agent: &'a AgentId,
    pub(crate) place: &'a Place,
    pub(crate) journal: &'a Journal,
    pub(crate) offered: &'a Offered,
}

impl Runner {
    /// Claims the task's stage if its record wants it; for work that was `begun`, as the attempt that it is.
    pub(crate) async fn claimed(
        &self,
        task: &Task,
        subject: &str,
        begun: Option<ClaimRef>,
        ack_wait: Duration,
    ) -> Result<Claimed, Halt> {
        let claiming = Claiming {
            claims: &self.claims,
            sectors: &self.tools.sectors,
            agents: &self.agents,
            agent: &self.tools.agent,
            place: &self.tools.place,
            journal: &self.journal,
            offered: &self.offered,
        };
        claiming.claimed(task, subject, begun, ack_wait).await
    }
}

impl Claiming<'_> {
    /// Claims the task's stage if its record wants it; for work that was `begun`, as the attempt that it is.
    pub(crate) async fn claimed(
        &self,
        task: &Task,
        subject: &str,
        begun: Option<ClaimRef>,
        ack_wait: Duration,
    ) -> Result<Claimed, Halt> {
        let record = match self.look(task).await? {
            Seen::Due(record) => record,
            Seen::Old => return Ok(Claimed::Old),
            Seen::NoRecord => return Ok(Claimed::NoRecord),
        };
        let life = tenure::current_life(&record);
        let begun = begun.filter(|claim| claim.generation == life.generation);
        if begun.is_none() {
            self.hold_back(task, subject, &record, ack_wait).await?;
        }
        let goes_on = begun.map(|claim| claim.attempt);
        let (held, reference) = match self.claims.take(task.sector, task.stage, life, ack_wait, goes_on).await? {
            Taken::Mine(held) => {
                let reference = held.reference();
                (Some(held), reference)
            }
            Taken::Busy { holder } => match begun {
                // Any result that verifies counts, whoever made it.
                Some(claim) if !task.stage.writes_in_place() => (None, claim),
                _ => {
                    tracing::debug!(%holder, "another agent is at work on it");
                    return Err(Halt::back(BUSY_DELAY, format!("agent {holder} is at work on it")));
                }
            },
        };
        let tenure = Tenure {
            claims: self.claims.clone(),
            sectors: self.sectors.clone(),
            place: self.place.clone(),
            sector: task.sector,
            stage: task.stage,
            reference,
            held,
            stale_after: ack_wait,
        };
        // Between the first look and the claim its last holder may have finished it.
        match self.look(task).await {
            Ok(Seen::Due(record)) => Ok(Claimed::Work(Box::new(Mine { record: *record, tenure }))),
            Ok(Seen::Old) => {
                tenure.let_go(LetGo::Untried).await;
                Ok(Claimed::Old)
            }
            Ok(Seen::NoRecord) => {
                tenure.let_go(LetGo::Untried).await;
                Ok(Claimed::NoRecord)
            }
            Err(halt) => {
                tenure.let_go(LetGo::Untried).await;
                Err(halt)
            }
        }
    }

    /// What the record says about the task.
    async fn look(&self, task: &Task) -> Result<Seen, Halt> {
        let Some(entry) = self.sectors.get(&task.sector.key()).await? else { return Ok(Seen::NoRecord) };
        match request::due(task.stage, &entry.value, self.place) {
            Due::Now => Ok(Seen::Due(Box::new(entry.value))),
            Due::NotYet => {
                let state = entry.value.state.name();
                Err(Halt::back(BUSY_DELAY, format!("the record is {state}, not yet ready for this stage")))
            }
            Due::MovedOn => {
                tracing::info!(state = entry.value.state.name(), "the record has moved on: nothing to do");
                Ok(Seen::Old)
            }
        }
    }

    /// Work that is wanted, and not to be begun by this agent now.
    async fn hold_back(
        &self,
        task: &Task,
        subject: &str,
        record: &SectorRecord,
        ack_wait: Duration,
    ) -> Result<(), Halt> {
        if self.journal.is_waiting(task.sector, task.stage) {
            self.journal.nudge();
            return Err(Halt::back(BUSY_DELAY, "its result is on disk here, and not yet stored"));
        }
        if self.offered.is_pending(subject, record.seq, instant(), ack_wait) {
            return Err(Halt::back(BUSY_DELAY, "its result is offered, and the record has not taken it yet"));
        }
        let (me, here) = (self.agent, self.place);
        let Some(error) = record.failed_here(task.stage, me) else { return Ok(()) };
        let agents: Vec<AgentRecord> = self.agents.entries(">").await?.into_iter().map(|entry| entry.value).collect();
        let window = ack_wait.saturating_mul(request::ELSEWHERE_WAITS);
        match request::elsewhere(error, me, here, &agents, now(), window) {
            Elsewhere::No => Ok(()),
            Elsewhere::NobodyTook { code } => {
                tracing::info!(code, "it failed here, and no other agent took it: this one tries again");
                Ok(())
            }
            Elsewhere::Leave { code } => {
                Err(Halt::back(BUSY_DELAY, format!("it failed here ({code}), and another agent can do it")))
            }
        }
    }
}
