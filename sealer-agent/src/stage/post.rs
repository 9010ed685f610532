//! The two halves of a window PoSt.

use std::path::{Path, PathBuf};

use prover::job::{Output, Replica, Request, Work};
use streams::{
    id::{SectorId, SectorNumber},
    message::{FailureClass, PostOutcome, PostSector, PostTask, PostWork, VanillaPart},
};

use super::Tools;
use crate::{
    child::AtWork,
    halt::Halt,
    outcome::wrong_output,
    store::{Stores, condition::Condition},
};

/// Does one half, and says what came of it.
pub(crate) async fn run(tools: &Tools, at: &AtWork<'_>, task: &PostTask) -> Result<PostOutcome, Halt> {
    match &task.work {
        PostWork::Vanilla { sectors, order } => vanilla(tools, at, task, sectors, order).await,
        PostWork::Snark { sectors, vanilla } => snark(tools, at, task, sectors, vanilla).await,
    }
}

async fn vanilla(
    tools: &Tools,
    at: &AtWork<'_>,
    task: &PostTask,
    sectors: &[PostSector],
    order: &[SectorNumber],
) -> Result<PostOutcome, Halt> {
    let (replicas, mut bad) = locate(&tools.stores, task, sectors);
    let output = at.dir.path().join("vanilla.json");
    let request = Request {
        proof: task.proof,
        work: Work::VanillaPost {
            miner: task.miner,
            randomness: task.randomness,
            order: order.to_vec(),
            sectors: replicas,
            output: output.clone(),
        },
    };
    let Output::VanillaPost { proven, bad: unreadable } = tools.prover.run(at, &request).await? else {
        return Err(wrong_output().into());
    };
    bad.extend(unreadable);
    bad.sort();
    let name = artifact_name(tools, task);
    let artifact = tools.artifacts.put(&name, &output).await?;
    host::failpoint!("agent.post.artifact_stored");
    Ok(PostOutcome::Vanilla { artifact, proven, bad })
}

async fn snark(
    tools: &Tools,
    at: &AtWork<'_>,
    task: &PostTask,
    sectors: &[PostSector],
    parts: &[VanillaPart],
) -> Result<PostOutcome, Halt> {
    let files = parts.iter().enumerate().map(|(index, _)| part_path(at.dir.path(), index));
    let vanilla = files.zip(parts).map(|(path, part)| (path, part.sectors.clone())).collect();
    let request = Request {
        proof: task.proof,
        work: Work::WindowPost {
            miner: task.miner,
            randomness: task.randomness,
            sectors: sectors.iter().map(|s| (s.number, s.comm_r)).collect(),
            vanilla,
        },
    };
    // A prover that was begun before has them.
    if !at.has_begun(&request) {
        fetch(tools, at, parts).await?;
    }
    let Output::WindowPost { proof } = tools.prover.run(at, &request).await? else {
        return Err(wrong_output().into());
    };
    Ok(PostOutcome::Snark { proof })
}

async fn fetch(tools: &Tools, at: &AtWork<'_>, parts: &[VanillaPart]) -> Result<(), Halt> {
    at.posted.phase("fetch the vanilla proofs");
    for (index, part) in parts.iter().enumerate() {
        let fetched = tools.artifacts.get(&part.artifact, &part_path(at.dir.path(), index)).await;
        fetched.map_err(|error| Halt::unless_lost(error, FailureClass::RetryElsewhere, "lost-vanilla"))?;
    }
    host::failpoint!("agent.post.input_fetched");
    Ok(())
}

/// Replicas that this agent can read, and sectors it cannot, with the reason.
fn locate(stores: &Stores, task: &PostTask, sectors: &[PostSector]) -> (Vec<Replica>, Vec<(SectorNumber, String)>) {
    let (mut replicas, mut bad) = (Vec::new(), Vec::new());
    for sector in sectors {
        // A disk that does not answer must not keep the others from being proven.
        let condition = stores.health.condition(sector.store);
        if !condition.can_be_read() && !matches!(condition, Condition::Failing { .. }) {
            bad.push((sector.number, format!("store {} is {}: {condition}", sector.store, condition.name())));
            continue;
        }
        let id = SectorId { miner: task.miner, number: sector.number };
        let found = if let Some(store) = stores.persistent(sector.store) {
            let files = store.files(id);
            Some((files.sealed, files.cache))
        } else {
            stores.local(sector.store).map(|store| store.files(id)).map(|files| (files.sealed(), files.cache()))
        };
        match found {
            Some((sealed, cache)) => {
                replicas.push(Replica { number: sector.number, comm_r: sector.comm_r, sealed, cache });
            }
            None => bad.push((sector.number, format!("store {} is not open at its place", sector.store))),
        }
    }
    (replicas, bad)
}

fn artifact_name(tools: &Tools, task: &PostTask) -> String {
    let PostTask { miner, open, partition, attempt, .. } = task;
    format!("vanilla/{miner}/{open}/{partition}/{attempt}/{}", tools.agent)
}

fn part_path(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("vanilla-{index}.json"))
}
