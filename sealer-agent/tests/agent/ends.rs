//! Ends other than success: agents that die, tasks that are old, places without room.

use std::{fs, time::Duration};

use streams::{
    message::{FailureClass, Outcome},
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

use crate::{
    cluster::{Cluster, at, submitted, wait_for},
    host_files::{Host, processes_with},
};

pub(crate) const PC1: &[&str] = &["--class", "pc1-cpu"];

/// A sector that waits for tree-d in the host's local store, without any agent having worked.
pub(crate) async fn waiting_for_tree_d(cluster: &Cluster, host: &Host, number: u64) -> SectorRecord {
    let agent = host.agent(cluster.server.url(), "placer", PC1);
    let mut sector = submitted(number, vec![]);
    let facts = cluster.does(&mut sector, Stage::Place, SectorState::Allocated {}).await;
    let streams::message::Facts::Place { store } = facts else { panic!("{facts:?}") };
    cluster.let_go(sector.id, Stage::Place).await;
    assert!(agent.terminate().success());
    sector.state = SectorState::PiecesAdded { at: at(store) };
    cluster.set(&sector).await;
    sector
}

/// Waits until an agent's prover is at work in a job directory.
pub(crate) async fn at_work(host: &Host, agent: &str) {
    let jobs = host.path("home/agents").join(agent).join("jobs");
    wait_for(async || match processes_with(&jobs.display().to_string()) {
        0 => Err(format!("no prover in {}", jobs.display())),
        _ => Ok(()),
    })
    .await;
}

#[tokio::test]
async fn an_agent_told_to_stop_gives_its_task_back_at_once() {
    let host = Host::with_stores();
    // So long that a task which comes back in time was given back.
    let cluster = Cluster::start(Duration::from_secs(600)).await;
    let sector = waiting_for_tree_d(&cluster, &host, 1).await;
    host.configure(&format!("prover = \"{}\"", host.hanging("tree-d").display()));
    let first = host.agent(cluster.server.url(), "first", PC1);
    cluster.order(sector.id, Stage::TreeD, None).await;
    at_work(&host, "first").await;
    assert!(first.terminate().success());
    assert_eq!(processes_with(&host.path("home/agents/first/jobs").display().to_string()), 0);

    host.configure("# defaults\n");
    let second = host.agent(cluster.server.url(), "second", PC1);
    let result = cluster.result().await;
    assert!(matches!(result.outcome, Outcome::Done { .. }), "{result:?}");
    assert_eq!(result.claim.attempt, 1, "an interruption costs no attempt");
    assert!(second.terminate().success());
}

#[tokio::test]
async fn a_drained_agent_hands_over_to_one_that_waits() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(600)).await;
    let sector = waiting_for_tree_d(&cluster, &host, 1).await;
    host.configure(&format!("prover = \"{}\"", host.hanging("tree-d").display()));
    let first = host.agent(cluster.server.url(), "first", PC1);
    cluster.order(sector.id, Stage::TreeD, None).await;
    at_work(&host, "first").await;
    let second = host.agent(cluster.server.url(), "second", PC1);
    wait_for(async || match cluster.agents.get("second").await.unwrap() {
        Some(_) => Ok(()),
        None => Err("the second agent is not there".to_owned()),
    })
    .await;
    assert!(first.terminate().success());
    let drained = std::time::Instant::now();
    at_work(&host, "second").await;
    let pause = drained.elapsed();
    // A second or two; but a test may share its cores.
    assert!(pause < Duration::from_secs(5), "handed over after {pause:?}");
    assert_eq!(host.started().len(), 2, "one prover each");
    host.release();
    let result = cluster.result().await;
    assert_eq!((result.agent.as_str(), result.claim.attempt), ("second", 1));
    assert!(second.terminate().success());
}

#[tokio::test]
async fn a_busy_slot_takes_nothing_more() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let one = waiting_for_tree_d(&cluster, &host, 1).await;
    let two = waiting_for_tree_d(&cluster, &host, 2).await;
    host.configure(&format!("prover = \"{}\"", host.hanging("tree-d").display()));
    let agent = host.agent(cluster.server.url(), "first", PC1);
    cluster.order(one.id, Stage::TreeD, None).await;
    at_work(&host, "first").await;
    cluster.order(two.id, Stage::TreeD, None).await;
    assert_eq!(cluster.backlog("io_here").await, (1, 1));
    let listed = host.succeeds(&["jobs", "-o", "json"]);
    assert!(listed.contains("tree-d f01000/1") && listed.contains("running"), "{listed}");
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn a_failure_is_a_result_and_the_next_try_another_attempt() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let sector = waiting_for_tree_d(&cluster, &host, 1).await;
    host.configure(&format!(
        "prover = \"{}\"",
        host.script("dying-prover", "echo 'no more' >&2; kill -SEGV $$").display()
    ));
    let agent = host.agent(cluster.server.url(), "first", PC1);
    for attempt in 1..=2 {
        cluster.order(sector.id, Stage::TreeD, None).await;
        let result = cluster.result().await;
        let Outcome::Failed { failure } = result.outcome else { panic!("{:?}", result.outcome) };
        assert_eq!((failure.code.as_str(), failure.class), ("crashed", FailureClass::RetryHere));
        assert!(failure.message.ends_with("it said last: no more"), "{}", failure.message);
        assert_eq!(result.claim.attempt, attempt);
        cluster.let_go(sector.id, Stage::TreeD).await;
    }
    assert_eq!(fs::read_dir(host.path("home/agents/first/failed")).unwrap().count(), 2);
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn an_old_task_is_acknowledged_without_work() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let mut sector = waiting_for_tree_d(&cluster, &host, 1).await;
    let agent = host.agent(cluster.server.url(), "first", PC1);
    cluster.order(sector.id, Stage::AddPiece, None).await;
    let facts = cluster.does(&mut sector.clone(), Stage::TreeD, sector.state.clone()).await;
    assert_eq!(facts.stage(), Stage::TreeD, "the old task made no result");
    wait_for(async || match cluster.backlog("io_here").await {
        (0, 0) => Ok(()),
        other => Err(format!("backlog {other:?}")),
    })
    .await;
    sector.state = SectorState::Aborted { reason: "given up".to_owned() };
    cluster.set(&sector).await;
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn a_place_without_room_sends_the_sector_back_and_says_why_once() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    host.configure(&format!("keep_free_bytes = {}", i64::MAX));
    let agent = host.agent(cluster.server.url(), "full", PC1);
    let sector = submitted(1, vec![]);
    cluster.set(&sector).await;
    cluster.order(sector.id, Stage::Place, None).await;
    let claim = cluster.let_go(sector.id, Stage::Place).await;
    assert_eq!(claim.attempt, 0, "what was not tried is no attempt");
    wait_for(async || match agent.log().matches("a 2KiB sector needs").count() {
        1 => Ok(()),
        other => Err(format!("the reason was said {other} times")),
    })
    .await;
    assert_eq!(
        fs::read_dir(host.path("local")).unwrap().filter(|e| e.as_ref().unwrap().file_name() == "sectors").count(),
        0
    );
    drop(agent);

    host.configure("# defaults\n");
    let roomy = host.agent(cluster.server.url(), "roomy", PC1);
    assert_eq!(cluster.facts(Stage::Place).await.stage(), Stage::Place);
    assert!(roomy.terminate().success());
}
