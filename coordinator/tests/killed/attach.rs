//! A folder of sectors is taken over by programs that die on the way.

use std::{path::Path, sync::Arc};

use prover::RealVerifier;
use serde_json::Value;
use streams::{
    kv::{Bucket, BucketName},
    records::NumberGiven,
};

use crate::{
    cluster::{Beginning, Cluster},
    folder::{Folder, PROOF, sector},
};

async fn arrived(root: &Path) -> (Folder, Cluster) {
    let folder = Folder::new(root);
    let sealed = [(1, folder.seal(1))];
    let env = [("SEALSTREAM_COORDINATOR_LEASE__TTL", "2s")];
    let beginning = Beginning { proof: PROOF, sectors: &sealed, verifier: Arc::new(RealVerifier::new()), env: &env };
    (folder, Cluster::start(root, &beginning).await)
}

/// Everything is as if nobody had died.
async fn it_is_taken_over(folder: &Folder, cluster: &Cluster, failpoint: &str) {
    let path = folder.path.display().to_string();
    let (code, answer, talk) = cluster.ask("sealer-agent", &["store", "attach", &path]);
    let verdict = answer[0]["verdict"].as_str().unwrap_or_default().to_owned();
    assert!(code == Some(0) && verdict.starts_with("attached"), "{failpoint}: {verdict}: {talk}");
    assert!(folder.at("manifests/s-t01000-1.json").is_file(), "{failpoint}");
    let (_, stores, talk) = cluster.ask("sealer-agent", &["store", "list"]);
    assert_eq!(stores.as_array().map(Vec::len), Some(1), "{failpoint}: {stores}: {talk}");
    let (_, listed, talk) = cluster.ask("coordinator", &["sectors", "list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{failpoint}: {listed}: {talk}");
    let (_, record, _) = cluster.ask("coordinator", &["sectors", "show", "f01000/1"]);
    assert_eq!(record["state"]["is"], Value::from("proving"), "{failpoint}: {record}");
    let numbers: Bucket<NumberGiven> = Bucket::open(&cluster.nats().await, BucketName::Numbers).await.unwrap();
    assert_eq!(numbers.keys(">").await.unwrap(), [sector(1).key()], "{failpoint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_while_attaching_goes_on_with_the_next_run() {
    for failpoint in [
        "agent.attach.identity_written",
        "agent.attach.registered",
        "agent.attach.prover_ended",
        "agent.attach.proven",
        "agent.attach.manifest_written",
        "agent.attach.recorded",
    ] {
        let root = tempfile::tempdir().unwrap();
        let (folder, cluster) = arrived(root.path()).await;
        let _coordinator = cluster.coordinator().await;
        let before = folder.digests();
        let path = folder.path.display().to_string();
        cluster.spawn_to_die("sealer-agent", &["store", "attach", &path], failpoint).has_died().await;
        it_is_taken_over(&folder, &cluster, failpoint).await;
        assert_eq!(folder.digests(), before, "{failpoint}: the sectors' own files are only read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_dies_over_the_number_keeps_it_after_its_next_start() {
    for failpoint in ["coordinator.attach.number_remembered", "coordinator.attach.number_kept"] {
        let root = tempfile::tempdir().unwrap();
        let (folder, cluster) = arrived(root.path()).await;
        let dying = cluster.spawn_to_die("coordinator", &["run"], failpoint);
        cluster.until_led().await;
        let path = folder.path.display().to_string();
        let attaching = cluster.spawn("sealer-agent", &["store", "attach", &path]);
        dying.has_died().await;
        drop(attaching);
        let _coordinator = cluster.coordinator().await;
        it_is_taken_over(&folder, &cluster, failpoint).await;
    }
}
