//! Agents killed and stopped.

use std::{sync::Arc, time::Duration};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::{Hit, Outcome, Recovery, ack_wait, busy_agent, goes_on, hit, missed, occasions, seconds, still_holds};
use crate::faults::{cluster::Cluster, kind::Fault, view::Held};

/// How long an agent may take to reach a failpoint.
const REACHED_MAX: Duration = Duration::from_secs(15);
/// Each agent serves other classes: if one never comes by, another may.
const TRIES: u32 = 3;

/// SIGKILL in the midst of a stage. It starts again at once, or after another has taken the work over.
pub(super) async fn kill(cluster: &Cluster, fault: &Fault, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    let Some((member, _turn, held)) = busy_agent(cluster, Some(fault.stage()), rng).await else {
        return missed("no agent was at work");
    };
    member.program().await.kill()?;
    let was_held = still_holds(cluster, &held).await;
    // A place without any agent stands still, and one whose slots are taken for minutes: those are other faults.
    let others_can = cluster.has_partner(&member) && !cluster.layout.real_proofs;
    if rng.gen_bool(0.5) || !others_can {
        member.mend().await?;
    }
    if !was_held {
        member.mend().await?;
        return missed(format!("{} had just let go of {held}", member.name));
    }
    let recovery = goes_on(cluster, &held).await;
    member.mend().await?;
    hit(&member.name, held.to_string(), recovery)
}

/// SIGSTOP for longer than a claim lasts, then SIGCONT: what it then reports is old.
pub(super) async fn freeze(cluster: &Cluster, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    let Some((member, _turn, held)) = busy_agent(cluster, None, rng).await else {
        return missed("no agent was at work");
    };
    member.program().await.freeze()?;
    if !still_holds(cluster, &held).await {
        member.mend().await?;
        return missed(format!("{} had just let go of {held}", member.name));
    }
    let long = ack_wait(cluster) + seconds(rng, 0.5..2.5);
    let (recovery, ()) = tokio::join!(goes_on(cluster, &held), async {
        tokio::time::sleep(long).await;
        if let Err(error) = member.mend().await {
            tracing::warn!("continue {}: {error:#}", member.name);
        }
    });
    hit(&member.name, held.to_string(), recovery)
}

/// An agent started with an armed failpoint dies there by itself.
pub(super) async fn at_failpoint(
    cluster: &Arc<Cluster>,
    failpoint: &str,
    rng: &mut ChaCha8Rng,
) -> anyhow::Result<Outcome> {
    occasions::lengthen(cluster, failpoint, true)?;
    let outcome = dies_at(cluster, failpoint, rng).await;
    occasions::lengthen(cluster, failpoint, false)?;
    outcome
}

async fn dies_at(cluster: &Arc<Cluster>, failpoint: &str, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    let stage = occasions::killed_in(failpoint);
    for try_number in 0..TRIES {
        let Some((member, _turn, _)) = busy_agent(cluster, stage, rng).await else { continue };
        let mut program = member.program().await;
        // Killed, it leaves a prover to be taken over; stopped, it gives its work back: each has its own failpoints.
        if try_number == 0 || stage.is_some() {
            program.kill()?;
        } else {
            program.stop().await?;
        }
        if let Some(first) = occasions::first(failpoint) {
            program.arm(first);
            program.start()?;
            program.until_ended(REACHED_MAX).await;
        }
        program.arm(failpoint);
        program.start()?;
        let end = occasions::meanwhile(cluster, failpoint, &member.name, program.until_ended(REACHED_MAX)).await;
        drop(program);
        let held: Vec<Held> = cluster.view.held_by(&member.name);
        member.mend().await?;
        occasions::undo(cluster, failpoint, &member.name).await?;
        if end.as_ref().is_some_and(crate::faults::program::End::is_kill) {
            let recovery = match held.first() {
                Some(held) => goes_on(cluster, held).await,
                None => Recovery::Nothing,
            };
            let work = held.first().map_or_else(|| failpoint.to_owned(), |held| format!("{held}, at {failpoint}"));
            return Ok(Outcome::Hit(Hit::new(&member.name, work, recovery)));
        }
        if let Some(end) = end {
            member.note_end(end);
        }
    }
    missed(format!("{failpoint} was not reached"))
}
