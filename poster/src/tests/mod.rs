//! The poster on a real nats-server and the embedded devnet. Only the agents are made up, and with them the proofs: a
//! proof is a digest of what it proves, which poster and devnet check as they would check a real one.

mod agents;
mod cluster;
mod forks;

use std::time::Duration;

use cluster::{Cluster, NORMAL};
use streams::testing::wait_for;

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proving_day_on_a_real_queue_and_chain() {
    let cluster = Cluster::start(NORMAL).await;
    let poster = cluster.poster("one");
    cluster.prove_windows(6).await;
    let (verdicts, faults) = (cluster.verdicts(), cluster.faults().await);
    assert!(verdicts.iter().all(|verdict| verdict.valid), "{verdicts:?}");
    let partitions: usize = verdicts.iter().map(|verdict| verdict.partitions.len()).sum();
    assert_eq!(partitions, cluster.records().await.len(), "one message a partition, and no message twice");
    assert!(faults.is_empty(), "{faults:?}");
    poster.stop().await;
    assert!(cluster.leases().await.is_empty(), "a poster that ends lets its windows go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_proofs_are_thrown_away_and_unreadable_sectors_skipped() {
    let cluster = Cluster::start(agents::Behaviour { first_snark_is_garbage: true, unreadable: Some(2) }).await;
    let poster = cluster.poster("one");
    cluster.prove_windows(6).await;
    let (verdicts, faults) = (cluster.verdicts(), cluster.faults().await);
    assert!(!verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.valid), "no bad proof reached the chain");
    assert_eq!(faults, [2], "the sector that nobody could read, and no other");
    let records = cluster.records().await;
    let skipped: Vec<_> = records.iter().flat_map(|record| record.skipped.clone()).collect();
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0].1.contains("cannot be read"), "{}", skipped[0].1);
    poster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_poster_takes_over_from_a_dead_one() {
    let cluster = Cluster::start(NORMAL).await;
    let dead = cluster.poster("first");
    let window = cluster.next_window().await;
    cluster.advance_to(window.challenge + 1).await;
    wait_for(LIMIT, || async {
        let leases = cluster.leases().await;
        if leases.is_empty() { Err("nobody took the window".to_owned()) } else { Ok(()) }
    })
    .await;
    dead.die();
    let poster = cluster.poster("second");
    cluster.prove_windows(6).await;
    let (verdicts, faults) = (cluster.verdicts(), cluster.faults().await);
    assert!(verdicts.iter().all(|verdict| verdict.valid), "{verdicts:?}");
    assert!(faults.is_empty(), "{faults:?}");
    poster.stop().await;
}
