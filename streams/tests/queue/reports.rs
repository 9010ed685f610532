//! Our own view of what the NATS CLI shows.

use streams::{
    id::Timestamp,
    message::SectorEvent,
    pull::Intake,
    report::{consumer_report, last_event, open_results, stream_report},
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

#[tokio::test]
async fn results_are_open_until_they_are_settled_and_strangers_hide_none() {
    let (_server, nats) = server().await;
    nats.publish_result(&result(1)).await.unwrap();
    nats.publish_result(&result(2)).await.unwrap();
    nats.jetstream().publish("res.a.b", "x".into()).await.unwrap().await.unwrap();
    let open = || async { open_results(&nats).await.unwrap().iter().map(|r| r.sector).collect::<Vec<_>>() };
    assert_eq!(open().await, [sector(1), sector(2)]);
    let delivery = Intake::results(&nats).await.unwrap().next(SOON).await.unwrap().unwrap();
    assert_eq!(open().await, [sector(1), sector(2)], "delivered is not settled");
    delivery.ack().await.unwrap();
    assert_eq!(open().await, [sector(2)]);
}

#[tokio::test]
async fn the_last_event_of_a_sector_is_found_whatever_its_state() {
    let (_server, nats) = server().await;
    assert_eq!(last_event(&nats, sector(1)).await.unwrap(), None);
    let event = |number, seq, state: &str| SectorEvent {
        sector: sector(number),
        seq,
        at: Timestamp(1),
        state: state.to_owned(),
        what: "something".to_owned(),
    };
    for (number, seq, state) in [(1, 1, "placed"), (1, 2, "pieces-added"), (11, 9, "placed")] {
        nats.publish_event(&event(number, seq, state)).await.unwrap();
    }
    assert_eq!(last_event(&nats, sector(1)).await.unwrap(), Some(event(1, 2, "pieces-added")));
}
