//! Lines to the queue: cut, slow, silent, reset; single messages lost on them.

use std::{sync::Arc, time::Duration};

use rand_chacha::ChaCha8Rng;
use streams::id::SectorId;

use super::{
    Outcome, Recovery, Turn, ack_wait, busy_agent, coordinators, goes_on, hit, missed, seconds, steps, still_holds,
};
use crate::faults::{
    cluster::Cluster,
    kind::Fault,
    link::{Line, Loss},
    member::{Member, Role},
};

/// How long a message to lose may be waited for.
const LOSS_MAX: Duration = Duration::from_secs(15);

/// Cuts an agent, or the leading coordinator, off the queue.
pub(super) async fn partition(cluster: &Cluster, fault: &Fault, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    if fault.turn.is_multiple_of(3) {
        let long = seconds(rng, 2.0..12.0);
        return coordinators::off_the_queue(cluster, long).await;
    }
    let long = ack_wait(cluster).mul_f64(0.5) + seconds(rng, 0.0..5.0);
    spoil_agent(cluster, rng, long, |member| member.link.set(Line::Cut)).await
}

/// A line that is slow, silent or reset.
pub(super) async fn bad_line(cluster: &Cluster, fault: &Fault, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    let long = seconds(rng, 1.0..4.0);
    match fault.turn % 3 {
        0 => spoil_agent(cluster, rng, long, |member| member.link.set(Line::Slow)).await,
        1 => spoil_agent(cluster, rng, long * 2, |member| member.link.set(Line::Silent)).await,
        _ => spoil_agent(cluster, rng, Duration::from_millis(50), |member| member.link.reset()).await,
    }
}

async fn spoil_agent(
    cluster: &Cluster,
    rng: &mut ChaCha8Rng,
    long: Duration,
    spoil: impl Fn(&Member),
) -> anyhow::Result<Outcome> {
    let Some((member, _turn, held)) = busy_agent(cluster, None, rng).await else {
        return missed("no agent was at work");
    };
    spoil(&member);
    if !still_holds(cluster, &held).await {
        member.mend().await?;
        return missed(format!("{} had just let go of {held}", member.name));
    }
    let (recovery, ()) = tokio::join!(goes_on(cluster, &held), async {
        tokio::time::sleep(long).await;
        member.link.set(Line::Good);
    });
    member.mend().await?;
    hit(&member.name, held.to_string(), recovery)
}

/// One message is lost: the answer to a write that was done, or an acknowledgement.
pub(super) async fn lose(cluster: &Cluster, fault: &Fault) -> anyhow::Result<Outcome> {
    let losses = [
        (Role::Agent, Loss::Answer("res.")),
        (Role::Coordinator, Loss::Answer("$KV.SECTORS.")),
        (Role::Agent, Loss::Answer("$KV.CLAIMS.")),
        (Role::Coordinator, Loss::Answer("seal.")),
        (Role::Agent, Loss::Message("$JS.ACK.TASKS.")),
        (Role::Coordinator, Loss::Answer("$KV.MESSAGES.")),
        (Role::Coordinator, Loss::Message("$JS.ACK.RESULTS.")),
        (Role::Poster, Loss::Answer("$KV.MESSAGES.")),
        (Role::Agent, Loss::Answer("$KV.LOCKS.")),
        (Role::Poster, Loss::Answer("$KV.POSTS.")),
    ];
    let Some((role, loss)) = fault.variant(&losses) else { return missed("nothing to lose") };
    let members: Vec<(Arc<Member>, Turn)> =
        cluster.of(role).filter_map(|member| Some((Arc::clone(member), member.try_take()?))).collect();
    for (member, _) in &members {
        member.link.lose(loss.clone());
    }
    let lost = super::until(LOSS_MAX, || {
        members.iter().find_map(|(member, _)| Some((Arc::clone(member), member.link.lost().into_iter().next()?)))
    });
    let lost = lost.await;
    for (member, _) in &members {
        member.link.keep_all();
    }
    drop(members);
    let Some((member, subject)) = lost else { return missed(format!("{loss:?} never came by")) };
    let recovery = match sector_in(&subject).and_then(|id| cluster.view.sector(id)) {
        Some(record) => steps(cluster, record.id, record.seq).await,
        None => Recovery::Nothing,
    };
    hit(&member.name, subject, recovery)
}

/// The sector a subject is about.
fn sector_in(subject: &str) -> Option<SectorId> {
    let tokens: Vec<&str> = subject.split('.').collect();
    tokens.windows(2).find_map(|pair| match pair {
        [miner, number] if miner.starts_with(['f', 't']) => format!("{miner}/{number}").parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_names_its_sector() {
        let id: SectorId = "f01000/7".parse().unwrap();
        for subject in [
            format!("res.east-1.{}", id.key()),
            format!("$KV.SECTORS.{}", id.key()),
            format!("seal.io.east.{}.c1", id.key()),
        ] {
            assert_eq!(sector_in(&subject), Some(id), "{subject}");
        }
        assert_eq!(sector_in("$JS.ACK.TASKS.io_east.1.2.3.4.0"), None);
    }
}
