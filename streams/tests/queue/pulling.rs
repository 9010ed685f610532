//! Taking work, one message at a time.

use std::time::Duration;

use futures::StreamExt as _;
use streams::{
    error::QueueError,
    layout::ensure_class,
    message::{Task, TaskResult},
    pull::{Delivery, Intake, Puller},
    report::consumer_report,
    stage::Class,
    subject::Whither,
    testing::wait_for,
};

use crate::fixture::*;

async fn publish(nats: &streams::nats::Nats, number: u64) {
    let (subject, task) = pc2(number);
    nats.publish_task(&subject, &task).await.unwrap();
}

async fn take(puller: &Puller) -> Delivery {
    puller.next(SOON).await.unwrap().unwrap()
}

/// Running and queued tasks of our consumer, as `nats consumer report TASKS` shows them.
async fn running_and_queued(nats: &streams::nats::Nats) -> (u64, u64) {
    let rows = consumer_report(nats, "TASKS").await.unwrap();
    let row = rows.iter().find(|row| row.consumer == "pc2-gpu_host1").unwrap();
    (row.ack_pending, row.unprocessed)
}

#[tokio::test]
async fn a_killed_agents_task_comes_back_after_ack_wait() {
    let (_server, nats) = server().await;
    let puller = pc2_puller(&nats, ACK_WAIT).await;
    publish(&nats, 17).await;
    let first = take(&puller).await;
    assert_eq!((first.delivered(), first.subject()), (1, pc2(17).0.to_string().as_str()));
    let taken = tokio::time::Instant::now();
    drop(first);
    let second = take(&puller).await;
    assert_eq!((second.delivered(), second.decode::<Task>().unwrap()), (2, pc2(17).1));
    assert!(taken.elapsed() >= ACK_WAIT - Duration::from_millis(100), "it came back after {:?}", taken.elapsed());
}

#[tokio::test]
async fn progress_keeps_a_task_for_longer_than_ack_wait() {
    let (_server, nats) = server().await;
    let puller = pc2_puller(&nats, ACK_WAIT).await;
    assert_eq!(puller.ack_wait(), ACK_WAIT);
    publish(&nats, 17).await;
    let delivery = take(&puller).await;
    let until = tokio::time::Instant::now() + ACK_WAIT * 3;
    while tokio::time::Instant::now() < until {
        delivery.progress().await.unwrap();
        assert!(puller.next(ACK_WAIT / 4).await.unwrap().is_none(), "another got a task that is being worked on");
    }
    delivery.ack().await.unwrap();
    assert_eq!(running_and_queued(&nats).await, (0, 0));
}

#[tokio::test]
async fn one_pull_never_holds_two() {
    let (_server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    for number in 1..=5 {
        publish(&nats, number).await;
    }
    let busy = take(&puller).await;
    // While the application is busy nothing more is pulled for it.
    tokio::time::timeout(A_MOMENT, std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(running_and_queued(&nats).await, (1, 4));
    busy.ack().await.unwrap();
    assert_eq!(running_and_queued(&nats).await, (0, 4));
}

#[tokio::test]
async fn waiting_pulls_share_what_comes() {
    let (_server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    let waiting = async { tokio::join!(take(&puller), take(&puller), take(&puller)) };
    let publishing = async {
        for number in 1..=3 {
            publish(&nats, number).await;
        }
    };
    let ((a, b, c), ()) = tokio::join!(waiting, publishing);
    let mut sequences = [a.sequence(), b.sequence(), c.sequence()];
    sequences.sort_unstable();
    assert_eq!(sequences, [1, 2, 3]);
}

#[tokio::test]
async fn an_abandoned_pull_takes_nothing() {
    let (_server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    tokio::time::timeout(A_MOMENT, puller.next(SOON)).await.unwrap_err();
    wait_for(SOON, || async {
        publish(&nats, 17).await;
        let delivery = puller.next(SOON).await.unwrap().unwrap();
        if delivery.delivered() == 1 { Ok(()) } else { Err(format!("delivered {} times", delivery.delivered())) }
    })
    .await;
}

#[tokio::test]
async fn a_surplus_delivery_goes_back_at_once() {
    let (_server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    publish(&nats, 17).await;
    take(&puller).await.nak(None).await.unwrap();
    let again = take(&puller).await;
    assert_eq!(again.delivered(), 2);
}

#[tokio::test]
async fn a_delayed_nak_comes_back_later() {
    let (_server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    publish(&nats, 17).await;
    let delay = Duration::from_secs(1);
    let given_back = tokio::time::Instant::now();
    take(&puller).await.nak(Some(delay)).await.unwrap();
    let again = take(&puller).await;
    assert!(given_back.elapsed() >= delay, "it came back after {:?}", given_back.elapsed());
    assert_eq!(again.delivered(), 2);
}

#[tokio::test]
async fn a_terminated_task_is_gone_and_the_advisory_has_the_reason() {
    let (_server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    let mut advisories = nats.client().subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.TASKS.>").await.unwrap();
    publish(&nats, 17).await;
    take(&puller).await.term("not a task: it names no sector").await.unwrap();
    let advisory = tokio::time::timeout(SOON, advisories.next()).await.unwrap().unwrap();
    let words = String::from_utf8(advisory.payload.to_vec()).unwrap();
    assert!(words.contains("not a task: it names no sector"), "{words}");
    assert_eq!(running_and_queued(&nats).await, (0, 0));
}

#[tokio::test]
async fn an_acknowledgement_is_confirmed_across_a_restart() {
    let (mut server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    publish(&nats, 17).await;
    let delivery = take(&puller).await;
    let ((), acked) = tokio::join!(server.restart(), delivery.ack());
    acked.unwrap();
    assert_eq!(running_and_queued(&nats).await, (0, 0));
}

#[tokio::test]
async fn a_task_that_was_held_when_the_server_was_killed_is_not_lost() {
    let (mut server, nats) = server().await;
    let puller = pc2_puller(&nats, ACK_WAIT).await;
    publish(&nats, 17).await;
    let held = take(&puller).await;
    server.kill9().await;
    server.restart().await;
    drop(held);
    // A killed server may have forgotten the delivery; it never forgets the task.
    let (running, queued) = running_and_queued(&nats).await;
    assert_eq!(running + queued, 1);
    assert_eq!(take(&puller).await.decode::<Task>().unwrap(), pc2(17).1);
}

#[tokio::test]
async fn a_waiting_pull_outlives_a_restart() {
    let (mut server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    let restart = async {
        tokio::time::timeout(A_MOMENT, std::future::pending::<()>()).await.unwrap_err();
        server.kill9().await;
        server.restart().await;
        publish(&nats, 17).await;
    };
    let (delivery, ()) = tokio::join!(puller.next(Duration::from_secs(60)), restart);
    assert_eq!(delivery.unwrap().unwrap().delivered(), 1);
}

#[tokio::test]
async fn classes_and_places_do_not_take_each_others_work() {
    let (_server, nats) = server_with(SOON).await;
    let here = pc2_puller(&nats, SOON).await;
    let elsewhere = Whither::At("host2".parse().unwrap());
    ensure_class(&nats, Class::Pc2Gpu, &elsewhere, SOON).await.unwrap();
    let elsewhere = Puller::open(&nats, Class::Pc2Gpu, &elsewhere).await.unwrap();
    let free = Puller::open(&nats, Class::C2Gpu, &Whither::Any).await.unwrap();
    publish(&nats, 17).await;
    assert!(elsewhere.next(A_MOMENT).await.unwrap().is_none());
    assert!(free.next(A_MOMENT).await.unwrap().is_none());
    assert!(here.next(SOON).await.unwrap().is_some());
}

#[tokio::test]
async fn a_class_without_a_consumer_is_missing() {
    let (_server, nats) = server().await;
    let nowhere = Whither::At("nowhere".parse().unwrap());
    let error = Puller::open(&nats, Class::Pc2Gpu, &nowhere).await.unwrap_err();
    assert!(matches!(error, QueueError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("pc2-gpu_nowhere"), "{error}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn results_are_taken_in_order_and_their_backlog_is_known() {
    let (_server, nats) = server_with(SOON).await;
    for number in 1..=3 {
        nats.publish_result(&result(number)).await.unwrap();
    }
    let intake = Intake::results(&nats).await.unwrap();
    let before = intake.backlog().await.unwrap();
    assert_eq!((before.pending, before.unacked, before.last_sequence, before.acked_through), (3, 0, 3, 0));
    assert!(!before.is_drained_to(3));
    for number in 1..=3 {
        let delivery = intake.next(SOON).await.unwrap().unwrap();
        assert_eq!(delivery.decode::<TaskResult>().unwrap(), result(number));
        delivery.ack().await.unwrap();
        assert_eq!(intake.backlog().await.unwrap().is_drained_to(3), number == 3);
    }
    assert!(intake.next(A_MOMENT).await.unwrap().is_none());
    assert!(Intake::post_results(&nats).await.unwrap().backlog().await.unwrap().is_drained_to(0));
}
