//! The queue's server, the queue's content, the chain.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use streams::report;

use super::{Outcome, TARGET_MAX, goes_on, hit, missed, seconds, steps};
use crate::faults::{cluster::Cluster, member::Role, view::Held};

/// Deepest reorg: below the fast preset's finality.
pub(super) const DEPTH_MAX: i64 = 4;
/// How long the chain may take to grow above its last fork.
const HIGHER_WITHIN: Duration = Duration::from_secs(60);
const TASKS: &str = "TASKS";
/// The stream of sector records.
const RECORDS: &str = "KV_SECTORS";

fn any_held(cluster: &Cluster) -> Option<Held> {
    cluster.of(Role::Agent).find_map(|member| cluster.view.held_by(&member.name).into_iter().next())
}

/// SIGKILL, while tasks are out, of the server that leads the records; it comes back after a moment, with its store.
pub(super) async fn kill_leader(cluster: &Cluster, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    let Some(held) = super::until(TARGET_MAX, || any_held(cluster)).await else { return missed("no task was out") };
    let mut servers = cluster.servers.lock().await;
    let leader = servers.leader_of(&cluster.nats, RECORDS).await?;
    servers.kill(leader).await?;
    tokio::time::sleep(seconds(rng, 0.0..1.5)).await;
    servers.restart().await?;
    drop(servers);
    hit(format!("nats-{}", leader + 1), held.to_string(), goes_on(cluster, &held).await)
}

/// SIGKILL of every server while tasks are out.
pub(super) async fn kill_servers(cluster: &Cluster, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    let Some(held) = super::until(TARGET_MAX, || any_held(cluster)).await else { return missed("no task was out") };
    let mut servers = cluster.servers.lock().await;
    servers.kill_all().await?;
    tokio::time::sleep(seconds(rng, 0.0..1.5)).await;
    servers.restart().await?;
    drop(servers);
    hit("every nats-server", held.to_string(), goes_on(cluster, &held).await)
}

/// A person purges the stream of tasks.
pub(super) async fn purge(cluster: &Cluster) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    while began.elapsed() < TARGET_MAX {
        let pointers = report::task_pointers(&cluster.nats).await.context("list open pointers")?;
        let Some(pointer) = pointers.into_iter().next() else {
            tokio::time::sleep(Duration::from_millis(30)).await;
            continue;
        };
        let before = cluster.view.sector(pointer.sector).map_or(0, |record| record.seq);
        let stream = cluster.nats.jetstream().get_stream_no_info(TASKS).await.context("open the stream of tasks")?;
        let purged = stream.purge().await.context("purge the stream of tasks")?.purged;
        if purged == 0 {
            continue;
        }
        let recovery = steps(cluster, pointer.sector, before).await;
        return hit(TASKS, format!("{purged} pointers, {pointer} among them"), recovery);
    }
    missed("there was no pointer")
}

/// Abandons the last tipsets. Not before the chain is above the last fork: forks of forks would reach below what is
/// final, and nothing is promised for that.
pub(super) async fn fork(cluster: &Cluster, depth: i64, how: serde_json::Value) -> anyhow::Result<()> {
    let mut above = cluster.forked_below.lock().await;
    let higher = super::until(HIGHER_WITHIN, || (cluster.node.height() > *above).then_some(()));
    higher.await.context("the chain did not grow above its last fork")?;
    let _held = cluster.clock.write().await;
    let height = cluster.node.height();
    cluster.node.call("Devnet.Reorganise", json!([depth, how])).await?;
    *above = height.saturating_add(depth);
    Ok(())
}

/// The last tipsets are abandoned while a sector's message is among them, or near.
pub(super) async fn reorg(cluster: &Cluster, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    let depth = rng.gen_range(1..=DEPTH_MAX);
    let found = super::until(TARGET_MAX, || {
        let near = |name: &str| matches!(name, "pre-commit-sent" | "pre-committed" | "prove-commit-sent");
        cluster.view.with_the_coordinator().into_iter().find(|record| near(record.state.name()))
    });
    let Some(record) = found.await else { return missed("no message was near the head") };
    fork(cluster, depth, json!({})).await?;
    let recovery = steps(cluster, record.id, record.seq).await;
    hit("chain", format!("depth {depth}, {} is {}", record.id, record.state.name()), recovery)
}

/// SIGKILL of the server that leads the records, under load; it stays down until a record has changed.
pub(super) async fn pause_without_leader(cluster: &Cluster) -> anyhow::Result<Duration> {
    super::until(TARGET_MAX * 5, || any_held(cluster)).await.context("no task was out")?;
    let steps = || cluster.view.sectors().iter().map(|record| record.seq).sum::<u64>();
    let mut servers = cluster.servers.lock().await;
    let leader = servers.leader_of(&cluster.nats, RECORDS).await?;
    let began = Instant::now();
    servers.kill(leader).await?;
    let before = steps();
    let moved = super::until(super::RECOVERY_MAX, || (steps() > before).then_some(())).await;
    let took = began.elapsed();
    servers.restart().await?;
    moved.context("no record changed any more")?;
    Ok(took)
}
