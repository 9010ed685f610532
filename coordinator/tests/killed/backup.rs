//! Backups and restores that are cut off: what counts is whole, and the next run comes to the end.

use std::{fs, path::PathBuf};

use serde_json::Value;
use streams::{
    id::{Incarnation, SectorId},
    proof::SealProof,
};

use crate::{cluster::Cluster, world::World};

const KEEP: (&str, &str) = ("SEALSTREAM_COORDINATOR_BACKUP__KEEP", "1");
/// The coordinator's own come at their own time.
const NONE_BY_ITSELF: (&str, &str) = ("SEALSTREAM_COORDINATOR_BACKUP__EVERY", "0s");

async fn world_with_sectors() -> (World, Vec<SectorId>) {
    let verifier = std::sync::Arc::new(prover::fake::FakeVerifier);
    let world = World::with(SealProof::Drg2KiBV1_1, verifier, &[KEEP, NONE_BY_ITSELF]).await;
    let coordinator = world.cluster.coordinator().await;
    let sectors = world.submit(3);
    drop(coordinator);
    (world, sectors)
}

/// The folders of whole backups.
fn listed(cluster: &Cluster) -> Vec<PathBuf> {
    let (_, rows, talk) = cluster.ask("coordinator", &["backup", "list"]);
    let rows = rows.as_array().unwrap_or_else(|| panic!("{talk}")).clone();
    rows.iter().map(|row| PathBuf::from(row["path"].as_str().unwrap())).collect()
}

fn taken(cluster: &Cluster) -> PathBuf {
    let (code, rows, talk) = cluster.ask("coordinator", &["backup", "now"]);
    assert_eq!(code, Some(0), "{talk}");
    PathBuf::from(rows[0]["path"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_cut_off_is_none_and_leaves_nothing() {
    let (world, _) = world_with_sectors().await;
    for (failpoint, counts) in [
        ("coordinator.backup.stream-copied", false),
        ("coordinator.backup.filled", false),
        ("coordinator.backup.published", true),
        ("coordinator.backup.set-aside", true),
    ] {
        let before = listed(&world.cluster);
        world.cluster.spawn_to_die("coordinator", &["backup", "now"], failpoint).has_died().await;
        let after = listed(&world.cluster);
        let is_new = after.iter().any(|path| !before.contains(path));
        assert_eq!(is_new, counts, "{failpoint}: {before:?}, then {after:?}");

        let whole = taken(&world.cluster);
        assert_eq!(listed(&world.cluster), std::slice::from_ref(&whole), "{failpoint}: one is kept");
        let left: Vec<_> = fs::read_dir(whole.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [whole], "{failpoint}: nothing else is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_off_keeps_everybody_out_until_it_is_done() {
    let (world, sectors) = world_with_sectors().await;
    let folder = taken(&world.cluster).display().to_string();
    let restore = ["restore", &folder, "--replace", "--wait", "20s"];
    // Its stores are asked; it seals nothing.
    let _agent = world.agent("keeper", &["post-io"]);
    let (mut life, mut given) = (Incarnation::FIRST, sectors[2]);
    for failpoint in [
        "coordinator.backup.restore-begun",
        "coordinator.backup.restore-remembered",
        "coordinator.backup.stream-deleted",
        "coordinator.backup.stream-restored",
    ] {
        world.cluster.spawn_to_die("coordinator", &restore, failpoint).has_died().await;
        let refused = world.cluster.run("coordinator", &["run"]);
        let talk = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && talk.contains("`coordinator restore`"), "{failpoint}: {talk}");

        let (code, report, talk) = world.cluster.ask("coordinator", &restore);
        assert_eq!((code, &report["parked"]), (Some(0), &Value::Array(Vec::new())), "{failpoint}: {talk}");
        let coordinator = world.cluster.coordinator().await;
        let records = world.records().await;
        let back: Vec<SectorId> = records.iter().map(|record| record.id).collect();
        assert_eq!(back, sectors, "{failpoint}");
        let lives: Vec<Incarnation> = records.iter().map(|record| record.incarnation).collect();
        assert!(lives.iter().all(|now| *now > life && *now == lives[0]), "{failpoint}: {lives:?} after {life}");
        life = lives[0];
        let fresh = world.submit(1)[0];
        assert!(fresh.number.0 > given.number.0 + 1, "{failpoint}: {fresh} may have been given before, after {given}");
        given = fresh;
        drop(coordinator);
    }
}
