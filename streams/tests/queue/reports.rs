//! Our own view of what the NATS CLI shows.

use streams::{
    pull::Intake,
    report::{consumer_report, stream_report},
    testing::wait_for,
};

use crate::fixture::*;

#[tokio::test]
async fn running_queued_and_idle_are_what_the_consumer_report_says() {
    let (_server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    for number in 1..=3 {
        let (subject, task) = pc2(number);
        nats.publish_task(&subject, &task).await.unwrap();
    }
    let held = puller.next(SOON).await.unwrap().unwrap();
    let row = |rows: Vec<streams::report::ConsumerRow>| rows.into_iter().find(|row| row.consumer == "pc2-gpu_host1");
    let busy = row(consumer_report(&nats, "TASKS").await.unwrap()).unwrap();
    assert_eq!((busy.ack_pending, busy.unprocessed, busy.redelivered, busy.ack_floor), (1, 2, 0, 0));
    assert_eq!((busy.stream.as_str(), busy.ack_wait, busy.paused), ("TASKS", SOON, false));
    held.ack().await.unwrap();
    for _ in 0..2 {
        puller.next(SOON).await.unwrap().unwrap().ack().await.unwrap();
    }
    let idle = async {
        wait_for(SOON, || async {
            let now = row(consumer_report(&nats, "TASKS").await.unwrap()).unwrap();
            if now.waiting == 1 && now.ack_floor == 3 { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
    };
    tokio::select! {
        () = idle => {}
        delivery = puller.next(SOON * 3) => panic!("{delivery:?}"),
    }
}

#[tokio::test]
async fn a_stream_report_counts_what_is_stored() {
    let (_server, nats) = server().await;
    nats.publish_result(&result(1)).await.unwrap();
    let results = |rows: Vec<streams::report::StreamRow>| rows.into_iter().find(|row| row.stream == "RESULTS").unwrap();
    let row = results(stream_report(&nats).await.unwrap());
    assert_eq!((row.messages, row.consumers, row.lost, row.deleted, row.replicas), (1, 1, 0, 0, 1));
    assert!(row.bytes > 0);
    let delivery = Intake::results(&nats).await.unwrap().next(SOON).await.unwrap().unwrap();
    delivery.ack().await.unwrap();
    assert_eq!(results(stream_report(&nats).await.unwrap()).messages, 0);
}
