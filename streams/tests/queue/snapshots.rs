//! Streams as a whole: how far they are, emptied, taken to a file and back.

use streams::{
    id::{Incarnation, Timestamp},
    kv::{Bucket, BucketName},
    records::{NumberGiven, SectorLock},
    whole::{Kept, bucket_progress, delete, progress, purge, restore, snapshot},
};

use crate::fixture::*;

/// More than one part of a snapshot.
const KEYS: u64 = 600;

#[tokio::test]
async fn a_snapshot_comes_back_with_its_values_and_its_sequences() {
    let (server, nats) = server().await;
    let numbers = Bucket::<NumberGiven>::open(&nats, BucketName::Numbers).await.unwrap();
    for number in 0..KEYS {
        numbers.create(&format!("f01000.{number}"), &NumberGiven { at: Timestamp(number) }).await.unwrap();
    }
    let before = numbers.entries(">").await.unwrap();
    let path = server.dir().join("numbers.snapshot");
    let mut file = tokio::fs::File::create(&path).await.unwrap();
    let stream = Kept::Bucket(BucketName::Numbers).stream();
    let taken = snapshot(&nats, &stream, &mut file).await.unwrap();
    assert_eq!((taken.progress.messages, taken.progress.last_sequence), (KEYS, KEYS));
    assert_eq!(taken.bytes, std::fs::metadata(&path).unwrap().len());

    numbers.create("f01000.99999", &NumberGiven { at: Timestamp(1) }).await.unwrap();
    delete(&nats, &stream).await.unwrap();
    assert_eq!(progress(&nats, &stream).await.unwrap(), None);
    let mut file = tokio::fs::File::open(&path).await.unwrap();
    restore(&nats, &taken, &mut file).await.unwrap();
    assert_eq!(numbers.entries(">").await.unwrap(), before, "revisions and times included");
    assert_eq!(progress(&nats, &stream).await.unwrap(), Some(taken.progress));
    let error = restore(&nats, &taken, &mut tokio::fs::File::open(&path).await.unwrap()).await.unwrap_err();
    assert!(error.to_string().contains(&stream), "what is there is not replaced: {error}");
}

#[tokio::test]
async fn a_purged_bucket_is_empty_and_its_revisions_go_on() {
    let (_server, nats) = server().await;
    let locks = Bucket::<SectorLock>::open(&nats, BucketName::Locks).await.unwrap();
    let lock = SectorLock { place: place(), agent: agent(), generation: 1, incarnation: Incarnation::FIRST };
    let before = locks.create("f01000.1", &lock).await.unwrap();
    purge(&nats, BucketName::Locks).await.unwrap();
    assert_eq!(locks.get("f01000.1").await.unwrap(), None);
    assert_eq!(bucket_progress(&nats, BucketName::Locks).await.unwrap().unwrap().last_sequence, before);
    assert!(locks.create("f01000.1", &lock).await.unwrap() > before, "an old fence never fits again");
}

#[tokio::test]
async fn a_watch_sees_a_bucket_that_was_made_anew() {
    let (mut server, nats) = server().await;
    let locks = Bucket::<SectorLock>::open(&nats, BucketName::Locks).await.unwrap();
    let lock = SectorLock { place: place(), agent: agent(), generation: 1, incarnation: Incarnation::FIRST };
    for number in 0..20 {
        locks.create(&format!("f01000.{number}"), &lock).await.unwrap();
    }
    let mut watch = locks.watch(">").await.unwrap();
    for _ in 0..20 {
        watch.next().await.unwrap();
    }
    server.wipe().await;
    let nats = server.connect_with_layout(ACK_WAIT).await;
    let anew = Bucket::<SectorLock>::open(&nats, BucketName::Locks).await.unwrap();
    anew.create("f01000.77", &lock).await.unwrap();
    let seen = tokio::time::timeout(SOON * 3, watch.next()).await.unwrap().unwrap();
    let streams::kv::Change::Put(entry) = seen else { panic!("{seen:?}") };
    assert_eq!(entry.key, "f01000.77");
}
