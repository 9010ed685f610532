//! I11 and I21: whose work counts, and who may begin any.

use std::collections::HashMap;

use super::{
    Evidence, Found, Spot, Violation,
    load::{At, Heard},
    record::{Sector, StageRun, TaskResult},
};

/// Stages that only read: any result that verifies wins.
const READS: [&str; 3] = ["c1", "c2", "unseal"];

/// How late the recorder may hear of a result.
const HEARD_MS: u64 = 2_000;

/// A result of work in place moved a record although another attempt had claimed the stage, in the same generation and
/// incarnation, before the work was done or the result was reported; or it was of another generation or incarnation than
/// the record. A claim that came between the report and the record is a race that the lock on the folder decides, and is
/// not judged.
pub(super) fn i11(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I11");
    let mut results = HashMap::<(&str, &str, &str, u32, u64), Vec<&Heard<TaskResult>>>::new();
    for heard in &evidence.results {
        let TaskResult { sector, stage, agent, claim, ended_at } = &heard.value;
        results.entry((sector, stage, agent, claim.attempt, *ended_at)).or_default().push(heard);
    }
    for (sector, records) in &evidence.sectors {
        for (prev, next) in records.iter().zip(records.iter().skip(1)).filter(|(p, n)| p.life == n.life && !n.again) {
            let Some(run) = added(prev, next).filter(|run| !READS.contains(&run.stage.as_str())) else { continue };
            let key = (sector.as_str(), run.stage.as_str(), run.agent.as_str(), run.attempt, run.ended_at);
            // A result that nobody heard is judged by nobody.
            let Some(heard) = results.get(&key) else { continue };
            let stale: Vec<_> = heard.iter().filter_map(|heard| staleness(evidence, sector, prev, heard)).collect();
            // Reported twice, it counts if it counted once.
            if stale.len() == heard.len()
                && let Some((words, spot)) = stale.into_iter().next()
            {
                found.note(sector.clone(), spot.into_iter().chain([next.spot]), words);
            }
        }
    }
    found.all
}

/// The stage run that a move added to the story.
fn added<'a>(prev: &At<Sector>, next: &'a At<Sector>) -> Option<&'a StageRun> {
    next.value.story.last().filter(|last| !prev.value.story.contains(last))
}

fn staleness(
    evidence: &Evidence,
    sector: &str,
    prev: &At<Sector>,
    heard: &Heard<TaskResult>,
) -> Option<(String, Vec<Spot>)> {
    let TaskResult { stage, agent, claim, .. } = &heard.value;
    let who = format!("{stage} by {agent}, attempt {}", claim.attempt);
    let state = &prev.value.state;
    if claim.incarnation != prev.value.incarnation {
        return Some((format!("{who}, is of incarnation {}", claim.incarnation), vec![heard.spot, prev.spot]));
    }
    if let Some(generation) = state.generation().filter(|generation| *generation != claim.generation) {
        let words = format!("{who}, is of generation {} in generation {generation}", claim.generation);
        return Some((words, vec![heard.spot, prev.spot]));
    }
    let claims = evidence.claims.get(&(sector.to_owned(), stage.clone()))?;
    let latest = claims.iter().rev().find(|at| {
        let same = (at.value.generation, at.value.incarnation) == (claim.generation, claim.incarnation);
        same && (at.ms() < heard.value.ended_at || at.ms() + HEARD_MS < heard.at)
    })?;
    (latest.value.attempt > claim.attempt).then(|| {
        let words = format!("{who}, counted after {} had claimed attempt {}", latest.value.agent, latest.value.attempt);
        (words, vec![heard.spot, latest.spot])
    })
}

/// A drained agent claimed a stage or began a prover, and had not been started anew.
pub(super) fn i21(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I21");
    for drained in &evidence.run.drained {
        let agent = &drained.value;
        let starts = evidence.run.started.iter().filter(|started| started.value == *agent && started.at >= drained.at);
        let until = starts.map(|started| started.at).min().unwrap_or(u64::MAX);
        let during = |at: u64| at > drained.at && at < until;
        for lived in &evidence.run.children {
            let child = &lived.value.child;
            // Started to some 20 ms; an adopted prover is older than its agent.
            if child.agent == *agent && during(child.started_at.saturating_sub(20)) {
                let words = format!("it began {} of {}", child.stage, child.sector.as_deref().unwrap_or("a partition"));
                found.note(agent.clone(), [drained.spot, lived.spot], words);
            }
        }
        for ((sector, stage), claims) in &evidence.claims {
            let claimed = claims.iter().find(|at| at.value.agent == *agent && during(at.value.claimed_at));
            if let Some(claim) = claimed {
                found.note(agent.clone(), [drained.spot, claim.spot], format!("it claimed {stage} of {sector}"));
            }
        }
    }
    found.all
}
