//! The recorder loses nothing that a stream keeps: through a killed server, and through a wiped one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use host::{clock::SystemClock, tasks::Tasks};
use streams::{
    id::{AgentId, Incarnation, MinerId, SectorId, SectorNumber, Timestamp},
    kv::{Bucket, BucketName},
    layout::{LayoutOptions, ensure},
    message::{ClaimRef, Failure, FailureClass, Outcome, TaskResult},
    nats::Nats,
    records::NumberGiven,
    stage::Stage,
    testing::TestServer,
};
use trial::{
    evidence::{Line, QUEUE, QueueLine, Stored, read_lines},
    recorder::Recorder,
};

const LIMIT: Duration = Duration::from_secs(60);

fn sector(number: u64) -> SectorId {
    SectorId { miner: MinerId(1000), number: SectorNumber(number) }
}

async fn give(nats: &Nats, numbers: std::ops::Range<u64>) {
    let bucket: Bucket<NumberGiven> = Bucket::open(nats, BucketName::Numbers).await.unwrap();
    for number in numbers {
        bucket.create(&sector(number).key(), &NumberGiven { at: Timestamp(number) }).await.unwrap();
    }
}

fn lines(dir: &Path) -> Vec<QueueLine> {
    let mut lines = Vec::new();
    read_lines(dir, QUEUE, |line: Line<QueueLine>| lines.push(line.value)).unwrap();
    lines
}

/// Keys of a stream by the life they were recorded in.
fn recorded(lines: &[QueueLine], of: &str) -> BTreeMap<u32, BTreeSet<String>> {
    let (mut life, mut keys) = (0, BTreeMap::<u32, BTreeSet<String>>::new());
    for line in lines {
        match line {
            QueueLine::Begins { stream, .. } if stream == of => life += 1,
            QueueLine::Stored(Stored { stream, subject, .. }) if stream == of => {
                keys.entry(life).or_default().insert(subject.clone());
            }
            QueueLine::Missed { stream, .. } if stream == of => panic!("missed {line:?}"),
            _ => {}
        }
    }
    keys
}

fn subjects(numbers: std::ops::Range<u64>) -> BTreeSet<String> {
    numbers.map(|number| format!("$KV.NUMBERS.{}", sector(number).key())).collect()
}

fn result(agent: &str) -> TaskResult {
    let claim = ClaimRef { attempt: 1, fence: 1, generation: 1, incarnation: Incarnation::FIRST };
    let failure = Failure { class: FailureClass::RetryHere, code: "x".to_owned(), message: "x".to_owned() };
    TaskResult {
        sector: sector(1),
        stage: Stage::Pc1,
        agent: agent.parse::<AgentId>().unwrap(),
        place: "host1".parse().unwrap(),
        claim,
        started_at: Timestamp(1),
        ended_at: Timestamp(2),
        outcome: Outcome::Failed { failure },
    }
}

#[tokio::test]
async fn a_killed_server_and_a_wiped_one_are_recorded_whole() {
    let mut server = TestServer::start().await;
    let nats = server.connect_with_layout(LIMIT).await;
    nats.publish_result(&result("before")).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let recorder = Recorder::start(server.connect().await, dir.path(), Arc::new(SystemClock), &tasks).unwrap();
    give(&nats, 1..200).await;
    recorder.settle(LIMIT).await.unwrap();
    nats.publish_result(&result("after")).await.unwrap();

    server.kill9().await;
    server.restart().await;
    give(&nats, 200..300).await;
    recorder.settle(LIMIT).await.unwrap();
    assert_eq!(recorded(&lines(dir.path()), "KV_NUMBERS"), BTreeMap::from([(1, subjects(1..300))]));

    server.kill9().await;
    std::fs::remove_dir_all(server.dir().join("store")).unwrap();
    server.restart().await;
    ensure(&nats, &LayoutOptions { replicas: 1, ack_wait: LIMIT }).await.unwrap();
    give(&nats, 500..550).await;
    recorder.settle(LIMIT).await.unwrap();
    let found = lines(dir.path());
    assert_eq!(recorded(&found, "KV_NUMBERS"), BTreeMap::from([(1, subjects(1..300)), (2, subjects(500..550))]));
    // A work queue's messages are heard, and those from before are found.
    let agents: BTreeSet<_> = found
        .iter()
        .filter_map(|line| match line {
            QueueLine::Published { subject, .. } | QueueLine::Stored(Stored { subject, .. }) => {
                subject.strip_prefix("res.")
            }
            _ => None,
        })
        .collect();
    assert_eq!(agents, BTreeSet::from(["after.f01000.1", "before.f01000.1"]));
    tasks.run_until(std::future::ready(())).await.unwrap();
}
