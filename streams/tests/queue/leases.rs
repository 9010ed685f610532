//! Roles held for a time.

use std::time::Duration;

use streams::{lease::Lease, nats::Nats, testing::wait_for};

use crate::fixture::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(2);

async fn take(nats: &Nats, holder: &str, ttl: Duration) -> Option<Lease> {
    Lease::try_take(nats, "coordinator", holder, ttl).await.unwrap()
}

/// Waits until `holder` gets the lease, and says how long that took.
async fn wait_to_take(nats: &Nats, holder: &str) -> (Lease, Duration) {
    let started = tokio::time::Instant::now();
    let lease = wait_for(SOON, || async { take(nats, holder, SHORT).await.ok_or_else(|| "held".to_owned()) }).await;
    (lease, started.elapsed())
}

#[tokio::test]
async fn one_holds_it_and_others_do_not() {
    let (_server, nats) = server().await;
    let first = take(&nats, "a", LONG).await.unwrap();
    assert!(first.is_held());
    assert!(take(&nats, "b", LONG).await.is_none());
    assert!(first.renew().await.unwrap());
    assert!(take(&nats, "b", LONG).await.is_none());
    first.release().await.unwrap();
    assert!(!first.is_held());
    assert!(take(&nats, "b", LONG).await.is_some(), "released, it is free at once");
    assert!(!first.renew().await.unwrap(), "what another holds is not renewed");
}

#[tokio::test]
async fn it_really_expires_after_an_earlier_delete_marker_and_after_an_expiry_marker() {
    let (_server, nats) = server().await;
    take(&nats, "a", LONG).await.unwrap().release().await.unwrap();
    let second = take(&nats, "b", SHORT).await.unwrap();
    let (third, waited) = wait_to_take(&nats, "c").await;
    assert!(waited >= SHORT / 2, "it was free after {waited:?}");
    assert!(!second.is_held(), "the holder stopped before the server gave it away");
    let (_fourth, waited) = wait_to_take(&nats, "d").await;
    assert!(waited >= SHORT / 2, "it was free after {waited:?}");
    assert!(!third.is_held());
}

#[tokio::test]
async fn renewals_keep_it_past_its_first_end() {
    let (_server, nats) = server().await;
    let lease = take(&nats, "a", SHORT).await.unwrap();
    let until = tokio::time::Instant::now() + SHORT * 2;
    while tokio::time::Instant::now() < until {
        assert!(lease.renew().await.unwrap());
        assert!(lease.is_held());
        assert!(take(&nats, "b", SHORT).await.is_none());
    }
}

#[tokio::test]
async fn a_holder_that_was_away_too_long_knows_it() {
    let (_server, nats) = server().await;
    let first = take(&nats, "a", SHORT).await.unwrap();
    let (_second, _) = wait_to_take(&nats, "b").await;
    assert!(!first.is_held());
    assert!(!first.renew().await.unwrap());
    first.release().await.unwrap();
    assert!(take(&nats, "c", SHORT).await.is_none(), "a late release takes nothing from the new holder");
}

#[tokio::test]
async fn the_same_run_takes_its_own_lease_again() {
    let (_server, nats) = server().await;
    let lost_answer = take(&nats, "a", LONG).await.unwrap();
    let again = take(&nats, "a", LONG).await.unwrap();
    assert!(again.renew().await.unwrap());
    assert!(lost_answer.renew().await.unwrap(), "it is the same holder");
}
