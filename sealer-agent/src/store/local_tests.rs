//! Room, and what a stage finds when it begins.

use std::fs;

use streams::{
    id::Incarnation,
    proof::{Bytes32, Drawn},
};

use super::*;
use crate::sample::allocated;

fn store(dir: &Path) -> LocalStore {
    let identity = identity::init(dir, false, Timestamp(1)).unwrap();
    LocalStore::new(identity.store, dir.to_owned())
}

fn ticket(byte: u8) -> Drawn {
    Drawn { epoch: 5, value: Bytes32([byte; 32]) }
}

fn mark() -> Mark {
    Mark { incarnation: Incarnation::FIRST, generation: 1, ticket: None }
}

#[test]
fn room_is_promised_once_and_counts_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let one = allocated(1);
    assert_eq!(store.reserve(&one, 0, Timestamp(1)).unwrap(), Reserved::Yes);
    assert_eq!(store.reserve(&one, 0, Timestamp(2)).unwrap(), Reserved::Yes);
    let usage = store.usage().unwrap();
    assert_eq!((usage.sectors, usage.reserved), (1, footprint::sealing_bytes(one.proof)));
    assert_eq!(store.manifest(one.id).unwrap().placed_at, Timestamp(1));
}

#[test]
fn a_sector_without_room_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let refused = store.reserve(&allocated(1), u64::MAX, Timestamp(1)).unwrap();
    assert!(matches!(refused, Reserved::NoRoom { room: 0 }), "{refused:?}");
    assert!(matches!(store.manifest(allocated(1).id), Err(StoreError::SectorMissing { .. })));
    assert_eq!(store.usage().unwrap().sectors, 0);
}

#[test]
fn the_manifest_keeps_the_last_ticket() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let one = allocated(1);
    let mark = |generation, byte: Option<u8>| Mark { generation, ticket: byte.map(ticket), ..mark() };
    store.reserve(&one, 0, Timestamp(1)).unwrap();
    store.begin(one.id, Stage::TreeD, mark(1, None)).unwrap();
    assert_eq!(store.manifest(one.id).unwrap().mark.ticket, None);
    store.begin(one.id, Stage::Pc1, mark(1, Some(1))).unwrap();
    store.begin(one.id, Stage::Pc2, mark(1, None)).unwrap();
    assert_eq!(store.manifest(one.id).unwrap().mark, mark(1, Some(1)));
    store.begin(one.id, Stage::Pc1, mark(2, Some(2))).unwrap();
    assert_eq!(store.manifest(one.id).unwrap().mark, mark(2, Some(2)));
    assert!(store.files(one.id).cache().is_dir());
}

#[test]
fn a_stage_done_again_takes_back_what_came_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let one = allocated(1);
    store.reserve(&one, 0, Timestamp(1)).unwrap();
    store.finish(one.id, Facts::AddPiece { pieces: vec![] }, mark()).unwrap();
    store.finish(one.id, Facts::TreeD { comm_d: Bytes32([1; 32]) }, mark()).unwrap();
    store.finish(one.id, Facts::Pc1 {}, mark()).unwrap();
    store.begin(one.id, Stage::TreeD, mark()).unwrap();
    let manifest = store.manifest(one.id).unwrap();
    assert!(manifest.has(Stage::AddPiece) && !manifest.has(Stage::TreeD) && !manifest.has(Stage::Pc1));
}

#[test]
fn finalize_gives_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let one = allocated(1);
    store.reserve(&one, 0, Timestamp(1)).unwrap();
    let files = store.files(one.id);
    durable::write(&files.staged(), b"data").unwrap();
    durable::write(&files.sealed(), b"replica").unwrap();
    store.finish(one.id, Facts::Finalize {}, mark()).unwrap();
    assert!(!files.staged().exists() && files.sealed().exists());
    assert_eq!(store.usage().unwrap().reserved, footprint::replica_bytes(one.proof));
}

#[test]
fn a_lost_mount_is_not_filled() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    fs::remove_file(dir.path().join(paths::IDENTITY)).unwrap();
    let refused = store.reserve(&allocated(1), 0, Timestamp(1)).unwrap_err();
    assert!(matches!(refused, StoreError::Away { store: id, .. } if id == store.id), "{refused}");
    let refused = store.begin(allocated(1).id, Stage::TreeD, mark()).unwrap_err();
    assert!(matches!(refused, StoreError::Away { .. }), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn another_disk_at_the_path_is_another_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore { id: StoreId(uuid::Uuid::nil()), ..store(dir.path()) };
    let refused = store.reserve(&allocated(1), 0, Timestamp(1)).unwrap_err();
    assert!(matches!(refused, StoreError::Away { .. }), "{refused}");
}

#[test]
fn a_sector_with_an_unreadable_manifest_counts_as_much_as_the_one_that_asks() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (one, two) = (allocated(1), allocated(2));
    store.reserve(&one, 0, Timestamp(1)).unwrap();
    store.reserve(&two, 0, Timestamp(1)).unwrap();
    let needed = footprint::sealing_bytes(one.proof);
    durable::write(&store.files(two.id).manifest(), b"{}").unwrap();
    let promised: Vec<u64> = store.promises().unwrap().assuming(7 * needed).map(|promise| promise.reserved).collect();
    assert_eq!(promised, [needed, 7 * needed]);
    assert_eq!(store.reserve(&allocated(3), 0, Timestamp(1)).unwrap(), Reserved::Yes);
    assert!(
        matches!(store.reserve(&two, 0, Timestamp(1)), Err(StoreError::Text { .. })),
        "its promise is not written over"
    );
    assert_eq!(store.usage().unwrap().sectors, 2);
    store.begin(one.id, Stage::TreeD, mark()).unwrap();
}
