//! A replica is published whole, and again.

use std::path::Path;

use streams::{id::Timestamp, proof::Bytes32};

use super::*;
use crate::sample::allocated;

fn store(path: &Path) -> PersistentStore {
    let identity = identity::init(path, true, Timestamp(1)).unwrap();
    PersistentStore::new(identity.store, path.to_owned())
}

fn sealed_sector(store: &Path) -> SectorPaths {
    let files = SectorPaths::new(store, allocated(17).id);
    fs::create_dir_all(files.cache()).unwrap();
    durable::write(&files.sealed(), b"replica").unwrap();
    for name in ["p_aux", "t_aux", "sc-02-data-tree-r-last.dat", "sc-02-data-layer-1.dat"] {
        durable::write(&files.cache().join(name), name.as_bytes()).unwrap();
    }
    files
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_proving_needs_is_copied_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_sector(&dir.path().join("local"));
    let store = store(&dir.path().join("kept"));
    let manifest = Manifest::new(&allocated(17), 0, Timestamp(1));
    let digest = store.keep(&from, &manifest).unwrap();

    assert_eq!(digest, sha256(b"replica"));
    let to = store.files(allocated(17).id);
    assert_eq!(fs::read(&to.sealed).unwrap(), b"replica");
    assert_eq!(names(&to.cache), ["p_aux", "sc-02-data-tree-r-last.dat", "t_aux"]);
    assert!(store.has(allocated(17).id));
    assert_eq!(store.replicas(), 1);
    assert_eq!(names(&dir.path().join("kept/scratch")), Vec::<String>::new());
}

#[test]
fn done_again_it_replaces_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_sector(&dir.path().join("local"));
    let store = store(&dir.path().join("kept"));
    let manifest = Manifest::new(&allocated(17), 0, Timestamp(1));
    let to = store.files(allocated(17).id);
    // What a crash may leave: an older cache, half a copy of the file.
    fs::create_dir_all(&to.cache).unwrap();
    durable::write(&to.cache.join("p_aux"), b"old").unwrap();
    store.keep(&from, &manifest).unwrap();
    store.keep(&from, &manifest).unwrap();
    assert_eq!(fs::read(to.cache.join("p_aux")).unwrap(), b"p_aux");
    assert_eq!(names(&dir.path().join("kept/scratch")), Vec::<String>::new());
}

#[test]
fn a_replica_with_a_missing_tree_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_sector(&dir.path().join("local"));
    fs::remove_file(from.cache().join("sc-02-data-tree-r-last.dat")).unwrap();
    let store = store(&dir.path().join("kept"));
    let error = store.keep(&from, &Manifest::new(&allocated(17), 0, Timestamp(1))).unwrap_err();
    assert!(matches!(error, StoreError::Incomplete { what: "tree-r-last", .. }), "{error}");
    assert!(!store.has(allocated(17).id));
}

#[test]
fn a_lost_mount_is_not_filled() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_sector(&dir.path().join("local"));
    let store = store(&dir.path().join("kept"));
    fs::remove_file(store.path.join(paths::IDENTITY)).unwrap();
    let refused = store.keep(&from, &Manifest::new(&allocated(17), 0, Timestamp(1))).unwrap_err();
    assert!(matches!(refused, StoreError::Away { store: id, .. } if id == store.id), "{refused}");
    assert!(matches!(store.room_for(allocated(17).proof, 0), Err(StoreError::Away { .. })));
    assert_eq!(names(&store.path), Vec::<String>::new());
}

fn sha256(bytes: &[u8]) -> Bytes32 {
    use sha2::Digest as _;
    Bytes32(sha2::Sha256::digest(bytes).into())
}
