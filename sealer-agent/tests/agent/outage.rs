//! NATS is away while an agent works: it goes on, offers its result later, and ends in time when it is told to.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{adoption::Sealing, cluster::wait_for, ends::hanging};

const ACK_WAIT: Duration = Duration::from_secs(8);
/// Its grace is 2 s in tests; a child that heeds its signal takes none of it.
const ENDS_WITHIN: Duration = Duration::from_secs(6);

async fn in_journal(sealing: &Sealing, count: usize) {
    let results = sealing.host.path("home/agents/a/results");
    wait_for(async || match fs::read_dir(&results).unwrap().count() {
        found if found == count => Ok(()),
        other => Err(format!("{other} results in the journal")),
    })
    .await;
}

#[tokio::test]
async fn a_stage_that_ends_while_nats_is_away_is_offered_when_it_is_back() {
    let mut sealing = Sealing::start(ACK_WAIT).await;
    sealing.cluster.server.kill9().await;
    sealing.host.release();
    in_journal(&sealing, 1).await;
    sealing.server_returns().await;
    let result = sealing.result().await;
    assert_eq!((result.agent.as_str(), result.claim.attempt), ("a", 1));
    sealing.move_on().await;
    in_journal(&sealing, 0).await;
    assert!(sealing.agent.terminate().success());
}

#[tokio::test]
async fn told_to_stop_while_nats_is_away_it_ends_in_time_and_its_work_is_done_after() {
    let mut sealing = Sealing::start(ACK_WAIT).await;
    sealing.cluster.server.kill9().await;
    let noticed = || sealing.agent.log().contains("lost the connection to NATS");
    wait_for(async || if noticed() { Ok(()) } else { Err("it did not notice".to_owned()) }).await;
    let told = Instant::now();
    assert!(sealing.stop().success());
    assert!(told.elapsed() < ENDS_WITHIN, "it took {:?} to end", told.elapsed());
    sealing.server_returns().await;
    sealing.restart();
    hanging(&sealing.host, 2).await;
    sealing.host.release();
    let result = sealing.cluster.result().await;
    assert!(matches!(result.outcome, streams::message::Outcome::Done { .. }), "{result:?}");
}

#[tokio::test]
async fn told_to_stop_with_a_result_that_nats_has_not_it_ends_in_time_and_keeps_it() {
    let mut sealing = Sealing::start(ACK_WAIT).await;
    sealing.cluster.server.kill9().await;
    sealing.host.release();
    in_journal(&sealing, 1).await;
    let told = Instant::now();
    assert!(sealing.stop().success());
    assert!(told.elapsed() < ENDS_WITHIN, "it took {:?} to end", told.elapsed());
    in_journal(&sealing, 1).await;
    sealing.server_returns().await;
    sealing.restart();
    assert_eq!(sealing.result().await.claim.attempt, 1);
    sealing.move_on().await;
    in_journal(&sealing, 0).await;
}
