//! The follower over a real nats-server.
#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "each test program uses its part of it")]
mod scripted;

use std::{sync::Arc, time::Duration};

use chain::follower::{FollowerConfig, HeadWatch, deadline_key, follow};
use host::clock::SystemClock;
use scripted::Scripted;
use streams::{
    id::MinerId,
    kv::{Bucket, BucketName},
    records::DeadlineNow,
    testing::TestServer,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_holder_tells_each_head_with_the_deadlines_and_lets_the_role_go() {
    let server = TestServer::start().await;
    let nats = server.connect_with_layout(Duration::from_secs(60)).await;
    let chain = Scripted::default();
    let miner = MinerId(1000);
    let (_miners, watched) = watch::channel(vec![miner]);
    let cancel = CancellationToken::new();
    let config = FollowerConfig {
        holder: "one".to_owned(),
        poll: Duration::from_millis(20),
        lease_ttl: Duration::from_secs(20),
        silence_max: LIMIT,
    };
    let told = async {
        let mut heads = HeadWatch::open(&nats).await.unwrap();
        let first = heads.wait_for(100, LIMIT).await.unwrap().unwrap();
        assert_eq!((first.epoch, first.network.as_str(), first.block_delay_secs), (100, "scripted", 1));
        chain.set(|s| s.height = 103);
        assert_eq!(heads.wait_for(102, LIMIT).await.unwrap().unwrap().epoch, 103);
        let deadlines: Bucket<DeadlineNow> = Bucket::open(&nats, BucketName::Chain).await.unwrap();
        let deadline = deadlines.get(&deadline_key(miner)).await.unwrap().unwrap();
        assert_eq!((deadline.value.epoch, deadline.value.miner), (103, miner));
        assert!(heads.wait_for(10_000, Duration::from_millis(50)).await.unwrap().is_none());
        cancel.cancel();
    };
    let following = follow(&nats, Arc::new(chain.clone()), watched, &config, Arc::new(SystemClock), &cancel);
    let (followed, ()) = tokio::join!(following, told);
    followed.unwrap();
    // The lease was given back, so another may lead at once.
    let lease = streams::lease::Lease::try_take(&nats, chain::follower::LEASE, "two", LIMIT).await.unwrap();
    assert!(lease.is_some());
}
