//! Posters killed inside an open deadline.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Hit, LOOK_EVERY, Outcome, Recovery, TARGET_MAX, another_holds, hit, leader, missed, occasions};
use crate::faults::{
    cluster::Cluster,
    member::{Member, Role},
    program::End,
};

/// Every window comes by in a proving period.
const REACHED_MAX: Duration = Duration::from_secs(30);

/// SIGKILL while it holds the lease of an open window with live sectors.
pub(super) async fn kill(cluster: &Cluster) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    while began.elapsed() < TARGET_MAX * 2 {
        tokio::time::sleep(LOOK_EVERY * 2).await;
        let Some(now) = cluster.view.open_deadline(cluster.node.height()) else { continue };
        let lease = format!("poster.{}.{}", now.miner, now.open);
        let Some(member) = leader(cluster, Role::Poster, &lease).await else { continue };
        let Some(_turn) = member.try_take() else { continue };
        let former = member.link.holds_as(&lease);
        member.program().await.kill()?;
        let held = format!("deadline {} of {}, open at {}", now.index, now.miner, now.open);
        let began = Instant::now();
        let left = cluster.layout.pace.epoch * u32::try_from(now.close - now.open).unwrap_or(1);
        let taken_over = another_holds(cluster, &lease, former.as_deref(), left).await;
        member.mend().await?;
        let recovery = if taken_over { Recovery::After(began.elapsed()) } else { Recovery::Nothing };
        return hit(&member.name, held, recovery);
    }
    missed("no poster held an open window with live sectors")
}

/// A poster that is alone, started with an armed failpoint, dies there by itself.
pub(super) async fn at_failpoint(cluster: &Arc<Cluster>, failpoint: &str) -> anyhow::Result<Outcome> {
    let mut turns = Vec::new();
    let members: Vec<Arc<Member>> = cluster.of(Role::Poster).cloned().collect();
    for member in &members {
        turns.push(member.take().await);
    }
    let Some((victim, others)) = members.split_first() else { return missed("there are no posters") };
    for member in others {
        member.program().await.stop().await?;
    }
    let mut program = victim.program().await;
    program.stop().await?;
    program.arm(failpoint);
    program.start()?;
    let end = occasions::meanwhile(cluster, failpoint, &victim.name, program.until_ended(REACHED_MAX)).await;
    drop(program);
    for member in &members {
        member.mend().await?;
    }
    if end.as_ref().is_some_and(End::is_kill) {
        return Ok(Outcome::Hit(Hit::new(&victim.name, failpoint, Recovery::Nothing)));
    }
    if let Some(end) = end {
        victim.note_end(end);
    }
    missed(format!("{failpoint} was not reached"))
}
