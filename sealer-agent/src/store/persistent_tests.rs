//! A replica is copied whole, again, and in parts; and never onto another disk.

use std::{path::Path, process::Command, sync::Arc, thread};

use streams::{id::Timestamp, proof::Bytes32};

use super::*;
use crate::{
    sample::{self, allocated},
    store::{condition::Condition, identity, manifest::Manifest},
};

const SECTOR_BYTES: usize = 2048;

fn store(path: &Path) -> PersistentStore {
    let identity = identity::init(path, true, Timestamp(1)).unwrap();
    PersistentStore { checkpoint_bytes: 1 << 20, ..PersistentStore::new(identity.store, path.to_owned()) }
}

/// A sealed sector of so many bytes, no two blocks alike.
fn sealed_of(store: &Path, bytes: usize) -> SectorPaths {
    let files = SectorPaths::new(store, allocated(17).id);
    fs::create_dir_all(files.cache()).unwrap();
    let replica: Vec<u8> = (0..bytes).map(|at| u8::try_from((at / 4096 + at) % 251).unwrap()).collect();
    durable::write(&files.sealed(), &replica).unwrap();
    for name in ["p_aux", "t_aux", "sc-02-data-tree-r-last.dat", "sc-02-data-layer-1.dat"] {
        durable::write(&files.cache().join(name), name.as_bytes()).unwrap();
    }
    files
}

fn sealed_sector(store: &Path) -> SectorPaths {
    sealed_of(store, SECTOR_BYTES)
}

fn manifest() -> Manifest {
    Manifest::new(&allocated(17), 0, Timestamp(1))
}

fn copy(store: &PersistentStore, from: &SectorPaths) -> Result<Sha256, StoreError> {
    store.copy(from, &manifest(), &Pulse::default())
}

/// Copies and vouches.
fn keep(store: &PersistentStore, from: &SectorPaths) -> Sha256 {
    let digest = copy(store, from).unwrap();
    store.vouch(&manifest(), digest).unwrap();
    digest
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn sha256(path: &Path) -> Bytes32 {
    use sha2::Digest as _;
    Bytes32(sha2::Sha256::digest(fs::read(path).unwrap()).into())
}

#[test]
fn what_proving_needs_is_copied_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_sector(&dir.path().join("local"));
    let store = store(&dir.path().join("kept"));
    let digest = copy(&store, &from).unwrap();

    let to = store.files(allocated(17).id);
    assert_eq!(digest, sha256(&from.sealed()));
    assert_eq!(sha256(&to.sealed), digest);
    assert_eq!(names(&to.cache), ["p_aux", "sc-02-data-tree-r-last.dat", "t_aux"]);
    assert!(!store.has(allocated(17).id), "nobody has proven it yet");
    store.vouch(&manifest(), digest).unwrap();
    assert!(store.has(allocated(17).id));
    assert_eq!(store.usage().unwrap().sectors, 1);
    assert_eq!(store.kept(allocated(17).id).unwrap().sealed_sha256(), Some(digest));
    assert_eq!(names(&dir.path().join("kept/partial")), Vec::<String>::new());
}

#[test]
fn done_again_it_replaces_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_sector(&dir.path().join("local"));
    let store = store(&dir.path().join("kept"));
    let to = store.files(allocated(17).id);
    // What a crash may leave: an older cache, half a copy of the file.
    fs::create_dir_all(&to.cache).unwrap();
    durable::write(&to.cache.join("p_aux"), b"old").unwrap();
    keep(&store, &from);
    keep(&store, &from);
    assert_eq!(fs::read(to.cache.join("p_aux")).unwrap(), b"p_aux");
    assert_eq!(names(&dir.path().join("kept/partial")), Vec::<String>::new());
}

#[test]
fn a_copy_that_waits_to_be_proven_is_not_made_twice() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_sector(&dir.path().join("local"));
    let store = store(&dir.path().join("kept"));
    let digest = copy(&store, &from).unwrap();
    let to = store.files(allocated(17).id);
    let before = fs::metadata(&to.sealed).unwrap().modified().unwrap();
    assert_eq!(copy(&store, &from).unwrap(), digest);
    assert_eq!(fs::metadata(&to.sealed).unwrap().modified().unwrap(), before);
    store.vouch(&manifest(), digest).unwrap();
    assert_eq!(copy(&store, &from).unwrap(), digest);
    assert_eq!(fs::metadata(&to.sealed).unwrap().modified().unwrap(), before, "its result was lost, and not the copy");
    // Half of it is not it.
    fs::OpenOptions::new().write(true).open(&to.sealed).unwrap().set_len(1000).unwrap();
    assert_eq!(copy(&store, &from).unwrap(), digest);
    assert_eq!(sha256(&to.sealed), digest);
}

#[test]
fn a_copy_that_cannot_be_proven_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_sector(&dir.path().join("local"));
    let store = store(&dir.path().join("kept"));
    keep(&store, &from);
    store.retract(allocated(17).id).unwrap();
    for folder in ["sealed", "cache", "manifests", "partial"] {
        assert_eq!(names(&store.path.join(folder)), Vec::<String>::new(), "{folder}");
    }
}

#[test]
fn a_replica_with_a_missing_tree_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_sector(&dir.path().join("local"));
    fs::remove_file(from.cache().join("sc-02-data-tree-r-last.dat")).unwrap();
    let store = store(&dir.path().join("kept"));
    let error = copy(&store, &from).unwrap_err();
    assert!(matches!(error, StoreError::Incomplete { what: "tree-r-last", .. }), "{error}");
    assert!(!store.has(allocated(17).id));
}

#[test]
fn a_flipped_bit_is_told_with_store_sector_and_file_and_not_built_upon() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("kept"));
    let from = sealed_sector(&dir.path().join("local"));
    let sector = allocated(17).id;
    let held = Held::open(&store.path, store.id).unwrap();
    let origin = Origin::of(&from.sealed(), manifest().mark).unwrap();
    let mut partial = Partial::take(held.root(), sector, origin, 0).unwrap();
    let expected = Bytes32(durable::copy_with_sha256(&from.sealed(), &partial.sealed()).unwrap());
    let mut bytes = fs::read(partial.sealed()).unwrap();
    bytes[1000] ^= 4;
    durable::write(&partial.sealed(), &bytes).unwrap();
    let written = [(partial.sealed(), expected)];
    let error = store.require_same(&held, sector, &written, &mut partial, &Pulse::default()).unwrap_err();
    let words = error.to_string();
    for part in ["f01000/17", &store.id.to_string(), "kept/partial/s-t01000-17/sealed", "memory changes bytes"] {
        assert!(words.contains(part), "{words}");
    }
    assert_eq!(partial.left(), None);
    drop(partial);
    assert_eq!(copy(&store, &from).unwrap(), expected);
}

#[test]
fn a_lost_mount_is_not_filled() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_sector(&dir.path().join("local"));
    let store = store(&dir.path().join("kept"));
    fs::remove_file(store.path.join(paths::IDENTITY)).unwrap();
    let refused = copy(&store, &from).unwrap_err();
    assert!(matches!(refused, StoreError::Away { store: id, .. } if id == store.id), "{refused}");
    let words = refused.to_string();
    assert!(words.contains(&store.path.display().to_string()) && words.contains(&store.id.to_string()), "{words}");
    assert!(matches!(store.room(allocated(17).id, 0), Err(StoreError::Away { .. })));
    assert_eq!(names(&store.path), Vec::<String>::new());
}

/// Copies a large replica, does `lose` when some of it is copied, and says how the copy ended.
fn losing(store: &PersistentStore, from: &SectorPaths, lose: impl FnOnce()) -> StoreError {
    let pulse = Arc::new(Pulse::default());
    let (on, files, beat) = (store.clone(), SectorPaths { root: from.root.clone() }, Arc::clone(&pulse));
    let copying = thread::spawn(move || on.copy(&files, &manifest(), &beat));
    while pulse.done() < 4 << 20 {
        assert!(!copying.is_finished(), "it ended early");
        thread::yield_now();
    }
    lose();
    copying.join().unwrap().unwrap_err()
}

/// The copy of it takes many checkpoints.
const LARGE: usize = 48 << 20;

#[test]
fn a_disk_that_goes_mid_copy_leaves_its_mount_point_empty_and_the_copy_goes_on_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_of(&dir.path().join("local"), LARGE);
    let (path, away) = (dir.path().join("kept"), dir.path().join("away"));
    let store = store(&path);
    let ended = losing(&store, &from, || {
        durable::rename(&path, &away).unwrap();
        fs::create_dir(&path).unwrap();
    });
    assert!(matches!(ended, StoreError::Away { found: None, .. }), "{ended}");
    assert_eq!(names(&path), Vec::<String>::new());

    fs::remove_dir(&path).unwrap();
    durable::rename(&away, &path).unwrap();
    let pulse = Pulse::default();
    let digest = store.copy(&from, &manifest(), &pulse).unwrap();
    assert!(pulse.resumed() >= 2 << 20, "it began anew at {}", pulse.resumed());
    assert_eq!((digest, sha256(&store.files(allocated(17).id).sealed)), (sha256(&from.sealed()), digest));
}

/// A file system of its own; none where this user may not mount one.
struct Mounted(PathBuf);

impl Mounted {
    fn at(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let options = format!("size={size}");
        let _forks = sample::forks();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path.to_owned()));
        }
        eprintln!("skipped: this user may not mount a tmpfs");
        None
    }

    fn remount_read_only(&self) {
        let _forks = sample::forks();
        assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap().success());
    }

    fn unmount(path: &Path) {
        let _forks = sample::forks();
        drop(Command::new("umount").arg("-l").arg(path).output());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Self::unmount(&self.0);
    }
}

#[test]
fn a_real_mount_that_goes_mid_copy_leaves_its_mount_point_empty() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_of(&dir.path().join("local"), LARGE);
    let path = dir.path().join("kept");
    let Some(_mounted) = Mounted::at(&path, "128m") else { return };
    let store = store(&path);
    let ended = losing(&store, &from, || Mounted::unmount(&path));
    assert!(matches!(ended, StoreError::Away { found: None, .. }), "{ended}");
    assert_eq!(names(&path), Vec::<String>::new());
}

#[test]
fn a_disk_that_fills_mid_copy_and_one_that_is_read_only_have_names() {
    let dir = tempfile::tempdir().unwrap();
    let from = sealed_of(&dir.path().join("local"), 8 << 20);
    let path = dir.path().join("kept");
    let Some(mounted) = Mounted::at(&path, "4m") else { return };
    let store = store(&path);
    let full = copy(&store, &from).unwrap_err();
    assert_eq!(Condition::told_by(&full), Some(Condition::Full), "{full}");
    let words = format!("{:#}", anyhow::Error::from(full));
    assert!(words.contains(&path.display().to_string()) && !words.contains("/proc/self"), "{words}");
    assert!(from.sealed().is_file());

    mounted.remount_read_only();
    let read_only = copy(&store, &from).unwrap_err();
    assert_eq!(Condition::told_by(&read_only), Some(Condition::ReadOnly), "{read_only}");
}
