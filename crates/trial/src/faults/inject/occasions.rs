//! What brings a program by a failpoint that sealing alone does not come by: a person's commands, and the chain's and
//! the queue's whims.

use std::{
    convert::Infallible,
    future::Future,
    time::{Duration, Instant},
};

use serde_json::json;
use streams::{
    id::{SectorId, SectorNumber},
    sector::SectorRecord,
    stage::Stage,
    subject::ResultSubject,
};

use super::surroundings;
use crate::faults::{cluster::Cluster, script::Script, view::is_done};

/// From one try to the next.
const EVERY: Duration = Duration::from_secs(2);
/// Waiting messages are few and gone with the next epoch.
const DROP_EVERY: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(6);
/// How long it may take until what was done is taken back.
const UNDO_MAX: Duration = Duration::from_secs(30);
/// A store that nobody has.
const NO_STORE: &str = "00000000-0000-4000-8000-000000000000";

/// What has to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// A person has the agent take no new work, and takes that back.
    Cordon,
    /// A person wants data back.
    Unseal,
    /// A person creates a miner.
    CreateMiner,
    /// A person gives a store up.
    LoseStore,
    /// Somebody publishes a result that cannot be read.
    UnreadableResult,
    /// The chain forks, and its node forgets what was on the abandoned side.
    Fork,
    /// The node forgets what waits in its pool.
    ForgetPool,
    /// PoSt work is lost in the queue.
    LosePostTasks,
}

/// What a failpoint needs besides sectors on their way.
fn of(failpoint: &str) -> Option<Occasion> {
    Some(match failpoint {
        "agent.duty.said" | "agent.duty.holds" => Occasion::Cordon,
        "agent.unseal.made" => Occasion::Unseal,
        "coordinator.miner_create.sent" | "coordinator.miner_create.landed" | "coordinator.miners.kept" => {
            Occasion::CreateMiner
        }
        "coordinator.stores.given_up" => Occasion::LoseStore,
        "coordinator.results.set_aside" => Occasion::UnreadableResult,
        "coordinator.onchain.fork-told" | "poster.window.message-forgotten" | "chain.pump.fate-amended" => {
            Occasion::Fork
        }
        "chain.pump.pushed-again" => Occasion::ForgetPool,
        "poster.window.task-offered-again" => Occasion::LosePostTasks,
        _ => return None,
    })
}

/// Waits for a program's end, and brings it by its failpoint meanwhile.
pub(super) async fn meanwhile<T>(
    cluster: &Cluster,
    failpoint: &str,
    victim: &str,
    ended: impl Future<Output = T>,
) -> T {
    let Some(occasion) = of(failpoint) else { return ended.await };
    tokio::select! {
        biased;
        end = ended => end,
        never = again_and_again(cluster, occasion, victim) => match never {},
    }
}

async fn again_and_again(cluster: &Cluster, occasion: Occasion, victim: &str) -> Infallible {
    loop {
        if let Err(error) = once(cluster, occasion, victim).await {
            tracing::debug!("{occasion:?}: {error:#}");
        }
        tokio::time::sleep(if occasion == Occasion::ForgetPool { DROP_EVERY } else { EVERY }).await;
    }
}

async fn once(cluster: &Cluster, occasion: Occasion, victim: &str) -> anyhow::Result<()> {
    match occasion {
        Occasion::Cordon => {
            cluster.coordinator(&["agents", "cordon", victim]).await?;
            cluster.coordinator(&["agents", "resume", victim]).await?;
        }
        Occasion::Unseal => {
            let has_data = |record: &SectorRecord| is_done(record) && !record.pieces.is_empty();
            let Some(record) = cluster.view.sectors().into_iter().find(has_data) else { return Ok(()) };
            let out = cluster.layout.dir.join("pieces").join("occasion.back");
            let (sector, out) = (record.id.to_string(), out.display().to_string());
            cluster.coordinator(&["unseal", &sector, "--piece", "0", "--limit", "4s", "--out", &out]).await?;
        }
        Occasion::CreateMiner => drop(cluster.coordinator(&["miner", "create", "--sector-size", "2KiB"]).await?),
        Occasion::LoseStore => {
            cluster.coordinator(&["store", "lost", NO_STORE]).await?;
            cluster.coordinator(&["store", "found", NO_STORE]).await?;
        }
        Occasion::UnreadableResult => {
            let sector = SectorId { miner: cluster.miner, number: SectorNumber(1) };
            let subject = ResultSubject { agent: victim.parse()?, sector };
            cluster.nats.jetstream().publish(subject.to_string(), "{}".into()).await?.await?;
        }
        Occasion::Fork => surroundings::fork(cluster, surroundings::DEPTH_MAX, json!({"lose": "all"})).await?,
        Occasion::ForgetPool => drop(cluster.node.call("Devnet.MempoolDrop", json!([])).await?),
        Occasion::LosePostTasks => {
            let stream = cluster.nats.jetstream().get_stream_no_info("POST_TASKS").await?;
            stream.purge().await?;
        }
    }
    Ok(())
}

/// The stage in which an agent is to be killed, made long so that its restart finds the prover at work.
pub(super) fn killed_in(failpoint: &str) -> Option<Stage> {
    matches!(failpoint, "agent.child.adopted" | "agent.job_dir.taken_over").then_some(Stage::Pc1)
}

/// Where an agent dies first, so that it comes by its failpoint when it starts again.
pub(super) fn first(failpoint: &str) -> Option<&'static str> {
    (failpoint == "agent.courier.stored").then_some("agent.journal.kept")
}

/// Makes the stage in which an agent is to be killed a long one, or as long as the others.
pub(super) fn lengthen(cluster: &Cluster, failpoint: &str, long: bool) -> anyhow::Result<()> {
    let Some(stage) = killed_in(failpoint) else { return Ok(()) };
    let usual = cluster.layout.pace.stage;
    let script = Script::even(usual).takes(stage.as_str(), if long { LONG } else { usual });
    cluster.layout.places().into_iter().try_for_each(|place| script.write(&cluster.layout.script(place)))
}

/// What was done is taken back, since whoever did it may not have come to that.
pub(super) async fn undo(cluster: &Cluster, failpoint: &str, victim: &str) -> anyhow::Result<()> {
    let command = match of(failpoint) {
        Some(Occasion::Cordon) => ["agents", "resume", victim],
        Some(Occasion::LoseStore) => ["store", "found", NO_STORE],
        _ => return Ok(()),
    };
    let began = Instant::now();
    // Whoever has to do it may have only just started again.
    while let Err(error) = cluster.coordinator(&command).await {
        anyhow::ensure!(began.elapsed() < UNDO_MAX, "{} did not come to work: {error:#}", command.join(" "));
        tokio::time::sleep(DROP_EVERY).await;
    }
    Ok(())
}
