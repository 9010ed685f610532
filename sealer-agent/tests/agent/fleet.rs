//! Agents that are told to take less work, or none: by a person elsewhere, and by one on the machine.

use std::time::Duration;

use streams::{
    duty::{Duty, DutyRequest},
    id::Timestamp,
    message::Facts,
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

use crate::{
    cluster::{Cluster, LIMIT, submitted, wait_for},
    ends::{PC1, hanging, waiting_for_tree_d},
    host_files::Host,
};

const ACK_WAIT: Duration = Duration::from_secs(20);

async fn beats(cluster: &Cluster, agent: &str, duty: fn(Duty) -> bool) {
    wait_for(async || match cluster.agents.get(agent).await {
        Ok(Some(found)) if duty(found.value.duty) => Ok(()),
        other => Err(format!("the heartbeat of {agent} is {other:?}")),
    })
    .await;
}

async fn tell(cluster: &Cluster, agent: &str, duty: Duty) -> streams::duty::DutyTaken {
    let request = DutyRequest { duty, by: "a test".to_owned() };
    cluster.nats.ask_agent(&agent.parse().unwrap(), &request, LIMIT).await.unwrap()
}

#[tokio::test]
async fn a_cordoned_agent_takes_no_sector_goes_on_with_bound_work_and_stays_so_when_it_restarts() {
    let host = Host::with_stores();
    let cluster = Cluster::start(ACK_WAIT).await;
    let bound = waiting_for_tree_d(&cluster, &host, 1).await;
    let agent = host.agent(cluster.server.url(), "a", PC1);
    beats(&cluster, "a", |duty| duty == Duty::Serving).await;
    let taken = tell(&cluster, "a", Duty::Cordoned).await;
    assert_eq!((taken.before, taken.now), (Duty::Serving, Duty::Cordoned));
    let fresh = submitted(2, vec![]);
    cluster.set(&fresh).await;
    cluster.order(fresh.id, Stage::Place, None).await;
    cluster.order(bound.id, Stage::TreeD, None).await;
    let Facts::TreeD { .. } = cluster.facts(Stage::TreeD).await else { panic!("another result") };
    assert!(agent.terminate().success());

    let agent = host.agent(cluster.server.url(), "a", PC1);
    beats(&cluster, "a", |duty| duty == Duty::Cordoned).await;
    assert!(agent.log().contains("as it was told before"), "{}", agent.log());
    assert_eq!(cluster.backlog("pc1-cpu").await.0 + u64::try_from(cluster.backlog("pc1-cpu").await.1).unwrap(), 1);
    let words = host.succeeds(&["resume", "a"]);
    assert!(words.contains("serving") && words.contains("yes"), "{words}");
    let Facts::Place { .. } = cluster.facts(Stage::Place).await else { panic!("another result") };
    assert!(agent.terminate().success());
}

/// I21: what is acknowledged is that nothing starts any more; what runs goes on to its end.
#[tokio::test]
async fn a_drain_is_acknowledged_once_nothing_can_start() {
    let host = Host::with_stores();
    let cluster = Cluster::start(ACK_WAIT).await;
    let first = waiting_for_tree_d(&cluster, &host, 1).await;
    let second = waiting_for_tree_d(&cluster, &host, 2).await;
    let (prover, url) = (host.hanging("tree-d"), cluster.server.url());
    host.configure(&format!("prover = \"{}\"\nnats.url = \"{url}\"\n[classes.io]\nslots = 2\n", prover.display()));
    let agent = host.agent(cluster.server.url(), "a", PC1);
    cluster.order(first.id, Stage::TreeD, None).await;
    hanging(&host, 1).await;
    let output = host.command(&["drain", "a", "--deadline", "0s", "-o", "json"]);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && words.contains("a is drained: nothing starts there; 1 jobs go on"), "{words}");
    let acknowledged = Timestamp(u64::try_from(unix_ms()).unwrap());
    let bound: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let sectors: Vec<_> = bound.as_array().unwrap().iter().map(|line| line["sector"].as_str().unwrap()).collect();
    assert_eq!(sectors, ["f01000/1", "f01000/2"], "{bound}");
    beats(&cluster, "a", |duty| matches!(duty, Duty::Drained { .. })).await;

    cluster.order(second.id, Stage::TreeD, None).await;
    host.release();
    let Facts::TreeD { .. } = cluster.facts(Stage::TreeD).await else { panic!("another result") };
    cluster.let_go(first.id, Stage::TreeD).await;
    // Its other slot was free all the while, and so is this one now.
    wait_for(async || match cluster.agents.get("a").await {
        Ok(Some(found)) if found.value.jobs.is_empty() => Ok(()),
        other => Err(format!("the heartbeat is {other:?}")),
    })
    .await;
    assert_eq!(host.started().len(), 1, "a prover was started after the drain was acknowledged");
    assert!(
        cluster.claims.get("f01000.2.tree-d").await.unwrap().is_none_or(|claim| claim.value.claimed_at < acknowledged)
    );
    let (waiting, unsettled) = cluster.backlog("io_here").await;
    assert_eq!(waiting + u64::try_from(unsettled).unwrap(), 1, "its task waits for somebody else");
    assert!(agent.terminate().success());
}

fn unix_ms() -> u128 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()
}

#[tokio::test]
async fn a_draining_agent_leaves_its_place_to_its_neighbour() {
    let host = Host::with_stores();
    let cluster = Cluster::start(ACK_WAIT).await;
    let sector = waiting_for_tree_d(&cluster, &host, 1).await;
    let (a, b) = (host.agent(cluster.server.url(), "a", PC1), host.agent(cluster.server.url(), "b", PC1));
    beats(&cluster, "a", |_| true).await;
    beats(&cluster, "b", |_| true).await;
    let output = host.command(&["drain", "a"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(a.log().contains("agent b goes on with what is bound to here"), "{}", a.log());
    cluster.order(sector.id, Stage::TreeD, None).await;
    let result = cluster.result().await;
    assert_eq!(result.agent.as_str(), "b");
    assert!(a.terminate().success() && b.terminate().success());
}

#[tokio::test]
async fn a_draining_agent_is_drained_once_nothing_is_bound_to_its_place() {
    let host = Host::with_stores();
    let cluster = Cluster::start(ACK_WAIT).await;
    let sector = waiting_for_tree_d(&cluster, &host, 1).await;
    let agent = host.agent(cluster.server.url(), "a", PC1);
    beats(&cluster, "a", |_| true).await;
    host.succeeds(&["drain", "a", "--no-wait"]);
    beats(&cluster, "a", |duty| matches!(duty, Duty::Draining { .. })).await;
    cluster.order(sector.id, Stage::TreeD, None).await;
    let Facts::TreeD { .. } = cluster.facts(Stage::TreeD).await else { panic!("another result") };
    cluster.set(&SectorRecord { state: SectorState::Aborted { reason: "enough".to_owned() }, ..sector }).await;
    beats(&cluster, "a", |duty| matches!(duty, Duty::Drained { .. })).await;
    assert!(agent.log().contains("no sector is bound to here"), "{}", agent.log());
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn a_machine_without_nats_and_a_stopped_agent_are_told_as_well() {
    let host = Host::with_stores();
    let mut cluster = Cluster::start(ACK_WAIT).await;
    let agent = host.agent(cluster.server.url(), "a", PC1);
    beats(&cluster, "a", |_| true).await;
    cluster.server.kill9().await;
    let words = host.succeeds(&["pause"]);
    assert!(words.contains("paused") && words.contains("yes"), "{words}");
    cluster.server.restart().await;
    beats(&cluster, "a", |duty| duty == Duty::Paused).await;
    assert!(agent.terminate().success());

    let words = host.succeeds(&["cordon", "a"]);
    assert!(words.contains("no: from its next start"), "{words}");
    let (code, words) = host.fails(&["cordon", "z"]);
    assert!(code == 66 && words.contains("known here: a"), "{words}");
    let agent = host.agent(cluster.server.url(), "a", PC1);
    beats(&cluster, "a", |duty| duty == Duty::Cordoned).await;
    assert!(agent.terminate().success());
}
