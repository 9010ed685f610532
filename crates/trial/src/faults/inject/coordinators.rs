//! Coordinators killed, cut off, lied to, and two that lead.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use streams::sector::SectorRecord;

use super::{
    Hit, LOOK_EVERY, Outcome, Recovery, TARGET_MAX, Turn, another_holds, hit, leader, lease_holder, missed, occasions,
    seconds, steps,
};
use crate::faults::{
    cluster::Cluster,
    kind::Fault,
    link::Line,
    member::{Member, Role},
    node::Mood,
    program::End,
};

const LEASE: &str = "coordinator";
/// How long it may take until a coordinator that is alone leads and reaches a failpoint.
const REACHED_MAX: Duration = Duration::from_secs(20);
/// How long a standby may take to lead.
const FAILOVER_MAX: Duration = Duration::from_secs(40);

/// A leader that no fault has, and a sector that waits for it.
async fn leading_with_work(cluster: &Cluster) -> Option<(Arc<Member>, Turn, SectorRecord)> {
    let began = Instant::now();
    while began.elapsed() < TARGET_MAX * 2 {
        if let Some(record) = cluster.view.with_the_coordinator().into_iter().next()
            && let Some(member) = leader(cluster, Role::Coordinator, LEASE).await
            && let Some(turn) = member.try_take()
        {
            return Some((member, turn, record));
        }
        tokio::time::sleep(LOOK_EVERY * 4).await;
    }
    None
}

fn named(record: &SectorRecord) -> String {
    format!("leads, {} is {}", record.id, record.state.name())
}

/// SIGKILL while it leads.
pub(super) async fn kill(cluster: &Cluster, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    let Some((member, _turn, record)) = leading_with_work(cluster).await else {
        return missed("no coordinator led with work");
    };
    let former = lease_holder(cluster, LEASE).await?;
    member.program().await.kill()?;
    let record = cluster.view.sector(record.id).unwrap_or(record);
    if rng.gen_bool(0.5) {
        member.mend().await?;
    }
    let began = Instant::now();
    let taken_over = another_holds(cluster, LEASE, former.as_deref(), FAILOVER_MAX).await;
    let recovery = steps(cluster, record.id, record.seq).await;
    member.mend().await?;
    let recovery = match recovery {
        Recovery::After(_) if taken_over => Recovery::After(began.elapsed()),
        _ => Recovery::Never,
    };
    hit(&member.name, named(&record), recovery)
}

/// A coordinator that is alone, started with an armed failpoint, dies there by itself.
pub(super) async fn at_failpoint(cluster: &Arc<Cluster>, failpoint: &str) -> anyhow::Result<Outcome> {
    let mut turns = Vec::new();
    let mut members: Vec<Arc<Member>> = cluster.of(Role::Coordinator).cloned().collect();
    for member in &members {
        turns.push(member.take().await);
    }
    // Each has its turn.
    if cluster.node.height() % 2 == 0 {
        members.reverse();
    }
    let Some((victim, others)) = members.split_first() else { return missed("there are no coordinators") };
    for member in others {
        member.program().await.stop().await?;
    }
    let mut program = victim.program().await;
    program.stop().await?;
    program.arm(failpoint);
    program.start()?;
    let end = occasions::meanwhile(cluster, failpoint, &victim.name, program.until_ended(REACHED_MAX)).await;
    drop(program);
    let record = cluster.view.with_the_coordinator().into_iter().next();
    for member in &members {
        member.mend().await?;
    }
    occasions::undo(cluster, failpoint, &victim.name).await?;
    if !end.as_ref().is_some_and(End::is_kill) {
        if let Some(end) = end {
            victim.note_end(end);
        }
        return missed(format!("{failpoint} was not reached"));
    }
    drop(turns);
    let (work, recovery) = match record {
        Some(record) => (format!("{}, at {failpoint}", named(&record)), steps(cluster, record.id, record.seq).await),
        None => (failpoint.to_owned(), Recovery::Nothing),
    };
    Ok(Outcome::Hit(Hit::new(&victim.name, work, recovery)))
}

/// Cuts the leader off the queue for so long.
pub(super) async fn off_the_queue(cluster: &Cluster, long: Duration) -> anyhow::Result<Outcome> {
    let Some((member, _turn, record)) = leading_with_work(cluster).await else {
        return missed("no coordinator led with work");
    };
    member.link.set(Line::Cut);
    let record = cluster.view.sector(record.id).unwrap_or(record);
    let (recovery, ()) = tokio::join!(steps(cluster, record.id, record.seq), async {
        tokio::time::sleep(long).await;
        member.link.set(Line::Good);
    });
    member.mend().await?;
    hit(&member.name, named(&record), recovery)
}

/// The leader's node stalls, fails or lies for a while.
pub(super) async fn lies(cluster: &Cluster, fault: &Fault, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    const MOODS: [Mood; 5] = [Mood::HidesReceipts, Mood::Stalls, Mood::StaleHead, Mood::Fails, Mood::Garbles];
    let Some(mood) = fault.variant(&MOODS) else { return missed("no mood") };
    let Some((member, _turn, record)) = leading_with_work(cluster).await else {
        return missed("no coordinator led with work");
    };
    let Some(gateway) = &member.gateway else { return missed("it has no node") };
    gateway.set(mood);
    let record = cluster.view.sector(record.id).unwrap_or(record);
    tokio::time::sleep(seconds(rng, 2.0..5.0)).await;
    let twisted = gateway.twisted();
    gateway.set(Mood::Honest);
    if twisted.is_empty() {
        return missed(format!("nothing was asked that {mood:?} is about"));
    }
    let recovery = steps(cluster, record.id, record.seq).await;
    hit(&member.name, format!("{}; {mood:?} {twisted:?}", named(&record)), recovery)
}

/// A push is taken and the answer lost, or answered and not taken.
pub(super) async fn pushes(cluster: &Cluster, fault: &Fault) -> anyhow::Result<Outcome> {
    const MOODS: [Mood; 2] = [Mood::DropsPushes, Mood::LosesPushAnswers];
    let Some(mood) = fault.variant(&MOODS) else { return missed("no mood") };
    let Some((member, _turn, _)) = leading_with_work(cluster).await else {
        return missed("no coordinator led with work");
    };
    let Some(gateway) = &member.gateway else { return missed("it has no node") };
    gateway.set(mood);
    let pushed = super::until(TARGET_MAX, || (!gateway.twisted().is_empty()).then_some(())).await;
    gateway.set(Mood::Honest);
    let sent = |record: &&SectorRecord| record.state.name().ends_with("-sent");
    let record = cluster.view.with_the_coordinator().into_iter().find(|record| sent(&record));
    let (Some(()), Some(record)) = (pushed, record) else { return missed("nothing was pushed") };
    let recovery = steps(cluster, record.id, record.seq).await;
    hit(&member.name, format!("{}; {mood:?}", named(&record)), recovery)
}

/// The leader stands still until another leads, then goes on where it was: both believe that they lead.
pub(super) async fn two_leaders(cluster: &Cluster, fault: &Fault) -> anyhow::Result<Outcome> {
    let Some((member, _turn, record)) = leading_with_work(cluster).await else {
        return missed("no coordinator led with work");
    };
    let former = lease_holder(cluster, LEASE).await?;
    // A frozen one wakes in the midst of what it did; one that is only cut off goes on and cannot know better.
    let is_frozen = fault.turn.is_multiple_of(2);
    if is_frozen {
        member.program().await.freeze()?;
    } else {
        member.link.set(Line::Silent);
    }
    let taken_over = another_holds(cluster, LEASE, former.as_deref(), FAILOVER_MAX).await;
    member.mend().await?;
    if !taken_over {
        return missed("nobody took over");
    }
    let recovery = steps(cluster, record.id, record.seq).await;
    hit(&member.name, named(&record), recovery)
}

/// SIGKILL of the leader; returns once another leads.
pub(super) async fn fail_over(cluster: &Cluster) -> anyhow::Result<()> {
    let member = leader(cluster, Role::Coordinator, LEASE).await.context("nobody leads")?;
    let _turn = member.take().await;
    let former = lease_holder(cluster, LEASE).await?;
    member.program().await.kill()?;
    let taken_over = another_holds(cluster, LEASE, former.as_deref(), FAILOVER_MAX).await;
    member.mend().await?;
    anyhow::ensure!(taken_over, "nobody took over");
    Ok(())
}
