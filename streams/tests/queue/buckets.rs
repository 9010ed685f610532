//! Typed buckets and their compare-and-set.

use std::time::Duration;

use streams::{
    error::QueueError,
    id::{Incarnation, Timestamp},
    kv::{Bucket, BucketName, CasError, Change, Scanned},
    message::Task,
    nats::Nats,
    records::{LeaseHeld, NumberGiven, SectorLock},
    testing::{TestServer, wait_for},
};

use crate::fixture::*;

async fn locks(nats: &Nats) -> Bucket<SectorLock> {
    Bucket::open(nats, BucketName::Locks).await.unwrap()
}

fn lock(generation: u32) -> SectorLock {
    SectorLock { place: place(), agent: agent(), generation, incarnation: Incarnation::FIRST }
}

fn is_lost<T>(result: Result<T, CasError>) -> bool {
    matches!(result, Err(CasError::Lost { .. }))
}

#[tokio::test]
async fn a_number_is_given_once() {
    let (_server, nats) = server().await;
    let numbers = Bucket::<NumberGiven>::open(&nats, BucketName::Numbers).await.unwrap();
    let given = NumberGiven { at: Timestamp(5) };
    numbers.create("f01000.17", &given).await.unwrap();
    let error = numbers.create("f01000.17", &given).await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    assert_eq!(error.to_string(), "NUMBERS f01000.17 was changed by another");
}

#[tokio::test]
async fn of_two_who_change_the_same_revision_one_loses() {
    let (_server, nats) = server().await;
    let locks = locks(&nats).await;
    let first = locks.create("f01000.17", &lock(1)).await.unwrap();
    let second = locks.update("f01000.17", &lock(2), first).await.unwrap();
    assert!(second > first);
    assert!(is_lost(locks.update("f01000.17", &lock(3), first).await));
    assert!(is_lost(locks.delete_if("f01000.17", first).await));
    let entry = locks.get("f01000.17").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision, entry.key.as_str()), (lock(2), second, "f01000.17"));
    assert!(entry.created.0 > 1_700_000_000_000);
}

#[tokio::test]
async fn many_writers_lose_no_update() {
    const WRITERS: u32 = 8;
    const ROUNDS: u32 = 10;
    let (_server, nats) = server().await;
    let locks = locks(&nats).await;
    locks.create("counter", &lock(0)).await.unwrap();
    let write = |_| async {
        for _ in 0..ROUNDS {
            loop {
                let entry = locks.get("counter").await.unwrap().unwrap();
                match locks.update("counter", &lock(entry.value.generation + 1), entry.revision).await {
                    Ok(_) => break,
                    Err(CasError::Lost { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    futures::future::join_all((0..WRITERS).map(write)).await;
    assert_eq!(locks.get("counter").await.unwrap().unwrap().value, lock(WRITERS * ROUNDS));
}

#[tokio::test]
async fn a_deleted_key_is_created_over_its_marker() {
    let (_server, nats) = server().await;
    let locks = locks(&nats).await;
    let first = locks.create("k", &lock(1)).await.unwrap();
    locks.delete("k").await.unwrap();
    assert_eq!(locks.get("k").await.unwrap(), None);
    assert!(is_lost(locks.update("k", &lock(2), first).await), "the deletion was a change");
    let second = locks.create("k", &lock(2)).await.unwrap();
    assert!(is_lost(locks.create("k", &lock(3)).await));
    locks.delete_if("k", second).await.unwrap();
    assert_eq!(locks.get("k").await.unwrap(), None);
    locks.put("k", &lock(4)).await.unwrap();
    assert_eq!(locks.get("k").await.unwrap().unwrap().value, lock(4));
}

#[tokio::test]
async fn entries_and_keys_are_those_that_match_and_live() {
    let (_server, nats) = server().await;
    let locks = locks(&nats).await;
    assert_eq!(locks.entries(">").await.unwrap(), []);
    for (key, generation) in [("f01000.1", 1), ("f01000.2", 2), ("f02000.1", 3), ("f01000.3", 4)] {
        locks.create(key, &lock(generation)).await.unwrap();
    }
    locks.delete("f01000.2").await.unwrap();
    let found = locks.entries("f01000.*").await.unwrap();
    let found: Vec<_> = found.iter().map(|entry| (entry.key.as_str(), entry.value.generation)).collect();
    assert_eq!(found, [("f01000.1", 1), ("f01000.3", 4)]);
    assert_eq!(locks.keys(">").await.unwrap(), ["f01000.1", "f02000.1", "f01000.3"]);
    assert_eq!(locks.keys("f03000.*").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_watch_gives_what_is_there_and_then_what_changes() {
    let (mut server, nats) = server().await;
    let locks = locks(&nats).await;
    locks.create("f01000.1", &lock(1)).await.unwrap();
    locks.create("f01000.2", &lock(2)).await.unwrap();
    let mut watch = locks.watch("f01000.*").await.unwrap();
    assert!(!watch.is_current());
    assert_eq!(put(&mut watch).await, ("f01000.1".to_owned(), 1));
    assert_eq!(put(&mut watch).await, ("f01000.2".to_owned(), 2));
    assert!(watch.is_current());
    locks.delete("f01000.1").await.unwrap();
    assert_eq!(next(&mut watch).await, Change::Gone { key: "f01000.1".to_owned() });

    server.kill9().await;
    server.restart().await;
    locks.put("f01000.3", &lock(3)).await.unwrap();
    assert_eq!(put(&mut watch).await, ("f01000.3".to_owned(), 3), "a watch outlives a restart and repeats nothing");
}

async fn next(watch: &mut streams::kv::Watch<SectorLock>) -> Change<SectorLock> {
    tokio::time::timeout(Duration::from_secs(90), watch.next()).await.unwrap().unwrap()
}

async fn put(watch: &mut streams::kv::Watch<SectorLock>) -> (String, u32) {
    match next(watch).await {
        Change::Put(entry) => (entry.key, entry.value.generation),
        Change::Gone { key } => panic!("{key} is gone"),
    }
}

#[tokio::test]
async fn an_empty_watch_is_current_at_once() {
    let (_server, nats) = server().await;
    assert!(locks(&nats).await.watch(">").await.unwrap().is_current());
}

#[tokio::test]
async fn a_value_of_another_kind_or_version_is_an_error_that_names_its_key() {
    let (_server, nats) = server().await;
    let numbers = Bucket::<NumberGiven>::open(&nats, BucketName::Numbers).await.unwrap();
    numbers.create("f01000.17", &NumberGiven { at: Timestamp(5) }).await.unwrap();
    let wrong = Bucket::<Task>::open(&nats, BucketName::Numbers).await.unwrap();
    let error = wrong.get("f01000.17").await.unwrap_err();
    assert!(matches!(error, QueueError::Text { .. }));
    assert_eq!(error.to_string(), "read NUMBERS f01000.17");
    assert!(wrong.entries(">").await.is_err(), "a value that cannot be read is never passed over");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_missing() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let error = Bucket::<SectorLock>::open(&nats, BucketName::Locks).await.unwrap_err();
    assert_eq!(error.to_string(), "bucket LOCKS does not exist");
}

#[tokio::test]
async fn a_bucket_that_is_gone_does_not_look_empty() {
    let (_server, nats) = server().await;
    let locks = locks(&nats).await;
    assert_eq!(locks.get("f01000.1").await.unwrap(), None);
    nats.jetstream().delete_stream("KV_LOCKS").await.unwrap();
    assert!(locks.get("f01000.1").await.is_err());
    assert!(locks.entries(">").await.is_err());
    assert!(matches!(locks.create("f01000.1", &lock(1)).await, Err(CasError::Queue(_))));
}

#[tokio::test]
async fn an_expired_key_is_gone_for_watchers_too() {
    let (_server, nats) = server().await;
    let leases = Bucket::<LeaseHeld>::open(&nats, BucketName::Leases).await.unwrap();
    let mut watch = leases.watch(">").await.unwrap();
    let lease = streams::lease::Lease::try_take(&nats, "follower", "a", Duration::from_secs(1)).await.unwrap().unwrap();
    let put = tokio::time::timeout(SOON, watch.next()).await.unwrap().unwrap();
    assert!(matches!(put, Change::Put(entry) if entry.key == "follower" && entry.value.holder == "a"));
    let gone = tokio::time::timeout(SOON, watch.next()).await.unwrap().unwrap();
    assert_eq!(gone, Change::Gone { key: "follower".to_owned() });
    wait_for(SOON, || async { if lease.is_held() { Err("still held".to_owned()) } else { Ok(()) } }).await;
}

#[tokio::test]
async fn a_scan_gives_each_key_once_and_goes_on_after_one_that_cannot_be_read() {
    let (_server, nats) = server().await;
    let locks = locks(&nats).await;
    for number in 1..=3 {
        locks.create(&sector(number).key(), &lock(1)).await.unwrap();
    }
    let revision = locks.put(&sector(1).key(), &lock(2)).await.unwrap();
    locks.delete(&sector(3).key()).await.unwrap();
    nats.jetstream().publish("$KV.LOCKS.f01000.9", "{\"not\": ".into()).await.unwrap().await.unwrap();
    locks.create("f02000.4", &lock(1)).await.unwrap();
    let mut scan = locks.each("f01000.*").await.unwrap();
    let mut seen = Vec::new();
    while let Some(scanned) = scan.next().await.unwrap() {
        seen.push(match scanned {
            Scanned::Entry(entry) => format!("{} {}", entry.key, entry.value.generation),
            Scanned::Unreadable { key, error } => format!("{key}: {error}"),
        });
        if let Some("f01000.1 2") = seen.last().map(String::as_str) {
            assert_eq!(locks.get("f01000.1").await.unwrap().unwrap().revision, revision);
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[..2], ["f01000.2 1", "f01000.1 2"], "in order of revision");
    assert!(seen[2].starts_with("f01000.9: "), "{seen:?}");
    assert!(locks.each("f03000.*").await.unwrap().next().await.unwrap().is_none(), "nothing matches");
}
