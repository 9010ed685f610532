//! Three servers: the leader of a stream is killed under load, and nothing is lost.

use std::{collections::BTreeSet, time::Duration};

use streams::{
    id::{Incarnation, Timestamp},
    kv::{Bucket, BucketName},
    layout::ensure_class,
    message::{Task, decode},
    pull::Puller,
    records::{Claim, SectorLock},
    stage::{Class, Stage},
    subject::Whither,
    testing::TestCluster,
};
use tokio::time::Instant;

use crate::fixture::*;

/// How long a leader's loss may stop everything, and what a loaded machine adds to an election.
const PAUSE_MAX: Duration = Duration::from_secs(10);
const MARGIN: Duration = Duration::from_secs(20);
const TASKS: u64 = 120;
const TASKS_LEN: usize = 120;
/// The kill comes after so many.
const KILL_AT: u64 = 40;

fn claim(number: u64) -> Claim {
    Claim {
        agent: agent(),
        run: uuid::Uuid::nil(),
        attempt: 1,
        generation: 1,
        incarnation: Incarnation::FIRST,
        claimed_at: Timestamp(number),
        beat_at: Timestamp(number),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_under_load_loses_nothing_and_stops_nobody_for_long() {
    let mut cluster = TestCluster::start().await;
    let nats = cluster.connect_with_layout(SOON).await;
    let whither = Whither::At(place());
    ensure_class(&nats, Class::Pc2Gpu, &whither, SOON).await.unwrap();
    let puller = Puller::open(&nats, Class::Pc2Gpu, &whither).await.unwrap();
    let claims = Bucket::<Claim>::open(&nats, BucketName::Claims).await.unwrap();
    cluster.until_whole(&nats, "TASKS").await;
    let leader = cluster.leader_of(&nats, "TASKS").await;

    let publish = async {
        let mut longest = Duration::ZERO;
        for number in 0..TASKS {
            if number == KILL_AT {
                cluster.kill9(leader).await;
            }
            let (subject, task) = pc2(number);
            let asked = Instant::now();
            nats.publish_task(&subject, &task).await.unwrap();
            longest = longest.max(asked.elapsed());
        }
        longest
    };
    let take = async {
        let mut taken = BTreeSet::new();
        while taken.len() < TASKS_LEN {
            let Ok(Some(delivery)) = puller.next(SOON).await else { continue };
            let task: Task = decode(delivery.payload()).unwrap();
            let number = task.sector.number.0;
            let key = format!("{}.{}", task.sector.key(), Stage::Pc2);
            // Redelivered after the kill, its claim may be there already.
            // A time-out leaves open whether it was written: asked again, "lost" says that it was.
            let asked = Instant::now();
            while let Err(error) = claims.create(&key, &claim(number)).await {
                if error.is_lost() {
                    break;
                }
                assert!(asked.elapsed() < PAUSE_MAX + MARGIN, "claiming stood still: {error}");
            }
            delivery.ack().await.unwrap();
            taken.insert(number);
        }
        taken
    };
    let (longest, taken) = tokio::join!(publish, take);
    assert_eq!(taken.len(), TASKS_LEN);
    assert!(longest < PAUSE_MAX + MARGIN, "publishing stood still for {longest:?}");
    assert_eq!(claims.keys(">").await.unwrap().len(), TASKS_LEN, "no claim is lost");
    cluster.restart(leader).await;
    cluster.until_whole(&nats, "TASKS").await;
    cluster.until_whole(&nats, "KV_CLAIMS").await;
    assert_eq!(claims.keys(">").await.unwrap().len(), TASKS_LEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_killed_and_started_again_have_everything() {
    let mut cluster = TestCluster::start().await;
    let nats = cluster.connect_with_layout(SOON).await;
    let locks = Bucket::<SectorLock>::open(&nats, BucketName::Locks).await.unwrap();
    let lock = SectorLock { place: place(), agent: agent(), generation: 1, incarnation: Incarnation::FIRST };
    let mut revisions = Vec::new();
    for number in 0..20 {
        revisions.push(locks.create(&format!("f01000.{number}"), &lock).await.unwrap());
    }
    for index in 0..3 {
        cluster.kill9(index).await;
    }
    for index in 0..3 {
        cluster.restart(index).await;
    }
    cluster.leader_of(&nats, "KV_LOCKS").await;
    let found: Vec<u64> = locks.entries(">").await.unwrap().iter().map(|entry| entry.revision).collect();
    assert_eq!(found, revisions);
}
