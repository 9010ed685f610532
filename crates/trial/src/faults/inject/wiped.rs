//! The queue loses everything, and is rebuilt from the chain and the stores.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use streams::sector::SectorRecord;

use super::{Hit, Outcome, RECOVERY_MAX, Recovery, TARGET_MAX, missed, until};
use crate::faults::{cluster::Cluster, evidence, member::Role, view::is_over};

/// Sectors with files: without any there is nothing to rebuild.
const PLACED_MIN: usize = 3;
/// What a person types.
const REBUILD: [&str; 5] = ["rebuild", "--wait", "20s", "--pool-wait", "30s"];

/// Everything in JetStream is gone; `coordinator rebuild` and everybody starts again.
/// With a failpoint, the first rebuild dies there, and is followed by another.
pub(super) async fn wipe(cluster: &Arc<Cluster>, failpoint: Option<&str>) -> anyhow::Result<Outcome> {
    let placed = |records: &[SectorRecord]| records.iter().filter(|record| record.state.placement().is_some()).count();
    let open = until(TARGET_MAX * 3, || {
        let open: Vec<_> = cluster.view.sectors().into_iter().filter(|record| !is_over(record)).collect();
        (placed(&open) >= PLACED_MIN).then_some(open)
    });
    let open = open.await.unwrap_or_default();
    let Some(first) = open.first() else { return missed("no sector was on its way") };
    let mut turns = Vec::new();
    for member in &cluster.members {
        turns.push(member.take().await);
    }
    let began = Instant::now();
    let mut servers = cluster.servers.lock().await;
    // Everybody in the midst of something; but the evidence has to know what the queue knew last.
    for member in &cluster.members {
        // One that is down at this moment is down.
        drop(member.program().await.freeze());
    }
    evidence::caught_up(cluster).await?;
    servers.kill_all().await?;
    for member in &cluster.members {
        drop(member.program().await.thaw());
    }
    for member in cluster.of(Role::Coordinator) {
        member.program().await.stop().await?;
    }
    for index in 1..=servers.count() {
        let store = cluster.layout.nats_dir().join(index.to_string()).join("store");
        host::durable::remove_dir_all(&store).context("wipe JetStream's store")?;
    }
    servers.restart().await?;
    drop(servers);
    cluster.view.forget();
    let died = match failpoint {
        Some(failpoint) => cluster.coordinator_dies(&REBUILD, failpoint).await?,
        None => true,
    };
    let said = cluster.coordinator(&REBUILD).await?;
    tracing::info!("{}", said.trim());
    for member in &cluster.members {
        member.mend().await?;
    }
    drop(turns);
    if !died {
        return missed("the rebuild did not come by");
    }
    let bare = open.iter().filter(|record| record.state.placement().is_none()).map(|record| record.id).collect();
    // A sector without a place had nothing but its number: whoever submitted it submits it again.
    let placed: Vec<_> = open.iter().filter(|record| record.state.placement().is_some()).map(|r| r.id).collect();
    let back = until(RECOVERY_MAX, || placed.iter().all(|id| cluster.view.sector(*id).is_some()).then_some(())).await;
    let recovery = if back.is_some() { Recovery::After(began.elapsed()) } else { Recovery::Never };
    let held = format!("{} sectors on their way, {} {} among them", open.len(), first.id, first.state.name());
    Ok(Outcome::Hit(Hit { poisoned: bare, ..Hit::new("JetStream", held, recovery) }))
}
