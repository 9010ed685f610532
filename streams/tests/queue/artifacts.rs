//! Large things.

use std::{fs, io::Write as _};

use streams::{artifact::Artifacts, error::QueueError, message::ArtifactRef, proof::Bytes32};
use tempfile::TempDir;

use crate::fixture::server;

/// More than one chunk, and no chunk like another.
fn large() -> Vec<u8> {
    (0..400_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

#[tokio::test]
async fn an_artifact_comes_back_whole() {
    let (_server, nats) = server().await;
    let dir = TempDir::new().unwrap();
    let artifacts = Artifacts::open(&nats).await.unwrap();
    for (name, bytes) in [("c1.f01000.17.1", large()), ("empty", Vec::new())] {
        let from = dir.path().join("from");
        fs::File::create(&from).unwrap().write_all(&bytes).unwrap();
        let stored = artifacts.put(name, &from).await.unwrap();
        assert_eq!((stored.name.as_str(), stored.bytes), (name, u64::try_from(bytes.len()).unwrap()));
        let to = dir.path().join("to");
        artifacts.get(&stored, &to).await.unwrap();
        assert!(fs::read(&to).unwrap() == bytes, "{name} differs");
    }
}

#[tokio::test]
async fn other_bytes_than_the_reference_names_are_never_left_behind() {
    let (_server, nats) = server().await;
    let dir = TempDir::new().unwrap();
    let artifacts = Artifacts::open(&nats).await.unwrap();
    let from = dir.path().join("from");
    fs::File::create(&from).unwrap().write_all(b"vanilla").unwrap();
    let stored = artifacts.put("vanilla", &from).await.unwrap();
    let to = dir.path().join("out/to");
    fs::create_dir(dir.path().join("out")).unwrap();
    let wrong = ArtifactRef { sha256: Bytes32([0; 32]), ..stored.clone() };
    assert!(matches!(artifacts.get(&wrong, &to).await, Err(QueueError::Corrupt { .. })));
    let missing = ArtifactRef { name: "nothing".to_owned(), ..stored.clone() };
    assert!(matches!(artifacts.get(&missing, &to).await, Err(QueueError::Missing { .. })));
    assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn deleting_twice_is_deleting() {
    let (_server, nats) = server().await;
    let dir = TempDir::new().unwrap();
    let artifacts = Artifacts::open(&nats).await.unwrap();
    let from = dir.path().join("from");
    fs::File::create(&from).unwrap().write_all(b"vanilla").unwrap();
    let stored = artifacts.put("vanilla", &from).await.unwrap();
    artifacts.delete("vanilla").await.unwrap();
    artifacts.delete("vanilla").await.unwrap();
    assert!(matches!(artifacts.get(&stored, &dir.path().join("to")).await, Err(QueueError::Missing { .. })));
}
