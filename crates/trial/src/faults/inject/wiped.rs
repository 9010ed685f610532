//! The queue loses everything, and is rebuilt from the chain and the stores.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;

use super::{Hit, Outcome, RECOVERY_MAX, Recovery, missed, until};
use crate::faults::{cluster::Cluster, member::Role, view::is_over};

/// Everything in JetStream is gone; `coordinator rebuild` and everybody starts again.
pub(super) async fn wipe(cluster: &Arc<Cluster>) -> anyhow::Result<Outcome> {
    if cluster.coordinator(&["rebuild", "--help"]).await.is_err() {
        return missed("this build has no `coordinator rebuild`");
    }
    let open: Vec<_> = cluster.view.sectors().into_iter().filter(|record| !is_over(record)).collect();
    let Some(first) = open.first() else { return missed("no sector was on its way") };
    let mut turns = Vec::new();
    for member in &cluster.members {
        turns.push(member.take().await);
    }
    let began = Instant::now();
    let mut servers = cluster.servers.lock().await;
    servers.kill_all().await?;
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
    let said = cluster.coordinator(&["rebuild"]).await?;
    tracing::info!("{}", said.trim());
    for member in &cluster.members {
        member.mend().await?;
    }
    drop(turns);
    let ids: Vec<_> = open.iter().map(|record| record.id).collect();
    // A sector without a place had nothing but its number: whoever submitted it submits it again.
    let placed: Vec<_> = open.iter().filter(|record| record.state.placement().is_some()).map(|r| r.id).collect();
    let back = until(RECOVERY_MAX, || placed.iter().all(|id| cluster.view.sector(*id).is_some()).then_some(())).await;
    let recovery = if back.is_some() { Recovery::After(began.elapsed()) } else { Recovery::Never };
    let held = format!("{} sectors on their way, {} {} among them", open.len(), first.id, first.state.name());
    Ok(Outcome::Hit(Hit { poisoned: ids, ..Hit::new("JetStream", held, recovery) }))
}
