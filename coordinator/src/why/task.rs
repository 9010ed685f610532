//! Why a task does not run.

use streams::{
    id::{Place, Timestamp},
    records::{AgentRecord, JobSubject},
    stage::Stage,
};

use super::{Facts, Reason};
use crate::sector::wants::pointer;

/// In the order in which each would hold it up.
pub(super) fn reason(facts: &Facts<'_>, stage: Stage, not_before: Option<Timestamp>) -> Reason {
    if let Some(running) = running(facts, stage) {
        return running;
    }
    if facts.unsettled {
        return Reason::ResultWaits;
    }
    if let Some(until) = not_before.filter(|until| *until > facts.now) {
        let last = facts.record.errors.iter().rev().find(|error| error.stage == stage);
        return Reason::NotBefore { until, because: last.map(|e| e.message.clone()).unwrap_or_default() };
    }
    let Some((subject, _)) = pointer(facts.record, stage) else { return Reason::NotQueued };
    if !facts.queued.contains(&subject) {
        return Reason::NotQueued;
    }
    let place = stage.is_bound().then(|| facts.record.state.placement().map(|at| at.place.clone())).flatten();
    of_agents(facts, stage, place)
}

fn running(facts: &Facts<'_>, stage: Stage) -> Option<Reason> {
    let wanted = JobSubject::Sector { sector: facts.record.id, stage };
    facts.agents.iter().find_map(|agent| {
        let job = agent.jobs.iter().find(|job| job.what == wanted)?;
        Some(Reason::Running { agent: agent.agent.clone(), attempt: job.attempt, since: job.started_at })
    })
}

fn of_agents(facts: &Facts<'_>, stage: Stage, place: Option<Place>) -> Reason {
    let class = stage.class();
    let serves = |agent: &&AgentRecord| {
        let is_there = place.as_ref().is_none_or(|place| agent.place == *place);
        is_there && agent.classes.iter().any(|slots| slots.class == class && slots.slots > 0)
    };
    let able: Vec<&AgentRecord> = facts.agents.iter().filter(serves).collect();
    if able.is_empty() {
        let at_place = facts.stores.iter().filter(|store| place.as_ref() == Some(&store.place));
        return Reason::NoAgent { class, silent_since: at_place.map(|store| store.at).max(), place };
    }
    let (able, held): (Vec<&AgentRecord>, Vec<&AgentRecord>) =
        able.into_iter().partition(|agent| agent.duty.takes(place.is_some()));
    if able.is_empty() {
        let agents = held.iter().map(|agent| format!("{} ({})", agent.agent, agent.duty.name())).collect();
        return Reason::AgentsHeld { class, place, agents };
    }
    let willing: Vec<&&AgentRecord> = able.iter().filter(|a| !facts.record.shuns(stage, &a.agent)).collect();
    if willing.is_empty() {
        return Reason::LeftToOthers { class };
    }
    let slots = || willing.iter().flat_map(|agent| &agent.classes).filter(|slots| slots.class == class);
    if slots().all(|slots| slots.used >= slots.slots) {
        return Reason::SlotsBusy { class, place, slots: slots().map(|slots| slots.slots).sum() };
    }
    Reason::Queued { class, place }
}
