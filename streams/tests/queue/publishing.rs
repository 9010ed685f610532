//! Pointers and results.

use std::time::Duration;

use streams::{
    id::{MinerId, Timestamp},
    message::{PostTask, PostWork, SectorEvent},
    nats::Published,
    proof::{Bytes32, SealProof},
    pull::Puller,
    report::{consumer_report, stream_report, task_pointers},
    stage::Class,
    subject::{PostSubject, Whither},
    testing::wait_for,
};

use crate::fixture::*;

#[tokio::test]
async fn a_second_open_pointer_is_already_queued_and_after_its_ack_it_is_new_again() {
    let (_server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    let (subject, task) = pc2(17);
    assert_eq!(nats.publish_task(&subject, &task).await.unwrap(), Published::New { sequence: 1 });
    assert_eq!(nats.publish_task(&subject, &task).await.unwrap(), Published::AlreadyQueued);

    let delivery = puller.next(SOON).await.unwrap().unwrap();
    assert_eq!(nats.publish_task(&subject, &task).await.unwrap(), Published::AlreadyQueued, "it is still open");
    delivery.ack().await.unwrap();
    assert_eq!(nats.publish_task(&subject, &task).await.unwrap(), Published::New { sequence: 2 });
    assert!(puller.next(SOON).await.unwrap().is_some(), "a pointer that was answered New is really there");
}

#[tokio::test]
async fn open_pointers_are_listed() {
    let (_server, nats) = server().await;
    for number in [18, 17] {
        let (subject, task) = pc2(number);
        nats.publish_task(&subject, &task).await.unwrap();
    }
    assert_eq!(task_pointers(&nats).await.unwrap(), [pc2(17).0, pc2(18).0]);
}

#[tokio::test]
async fn post_work_is_gone_at_the_close_of_its_deadline() {
    let (_server, nats) = server().await;
    let subject = PostSubject {
        class: Class::PostGpu,
        whither: Whither::Any,
        miner: MinerId(1000),
        open: 120,
        partition: 0,
        attempt: 1,
    };
    let task = PostTask {
        miner: MinerId(1000),
        deadline: 2,
        open: 120,
        close: 180,
        partition: 0,
        attempt: 1,
        proof: SealProof::Drg2KiBV1_1,
        randomness: Bytes32([6; 32]),
        work: PostWork::Snark { sectors: Vec::new(), vanilla: Vec::new() },
    };
    let ttl = Duration::from_secs(1);
    assert_eq!(nats.publish_post_task(&subject, &task, ttl).await.unwrap(), Published::New { sequence: 1 });
    assert_eq!(nats.publish_post_task(&subject, &task, ttl).await.unwrap(), Published::AlreadyQueued);
    wait_for(SOON, || async {
        let rows = stream_report(&nats).await.unwrap();
        let left = rows.iter().find(|row| row.stream == "POST_TASKS").map(|row| row.messages);
        if left == Some(0) { Ok(()) } else { Err(format!("{left:?} messages are left")) }
    })
    .await;
    let puller = Puller::open(&nats, Class::PostGpu, &Whither::Any).await.unwrap();
    assert!(puller.next(A_MOMENT).await.unwrap().is_none(), "yesterday's work never runs today");
}

#[tokio::test]
async fn events_are_kept_beside_the_work() {
    let (_server, nats) = server().await;
    let event = SectorEvent {
        sector: sector(17),
        seq: 1,
        at: Timestamp(1),
        state: "allocated".to_owned(),
        what: "submitted".to_owned(),
    };
    nats.publish_event(&event).await.unwrap();
    let rows = stream_report(&nats).await.unwrap();
    assert_eq!(rows.iter().find(|row| row.stream == "EVENTS").unwrap().messages, 1);
    assert!(consumer_report(&nats, "EVENTS").await.unwrap().is_empty());
}
